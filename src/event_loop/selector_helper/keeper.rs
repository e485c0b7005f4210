//! Starts a process on a separate thread, which then waits for the end of the process.
//!
//! Starting a program may take as long as a file system stalls, and a process that the kernel
//! blocks may take long to end. Neither may block the tasks. The thread lives as long as the
//! process, because a process with a parent-death signal (`PR_SET_PDEATHSIG`) ends with the
//! *thread* that started it.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsRawFd, RawFd};
use std::process::{Child, ChildStdin, ChildStdout, Command};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use submit_side::children;

/// A process that is being started.
pub(super) struct Start {
    outcome: Receiver<io::Result<Kept>>,
    /// The read end of a pipe whose write end closes when there is an outcome.
    told: PipeReader,
}

/// A process that was started; dropping this kills it.
pub(super) struct Kept {
    pub(super) questions: ChildStdin,
    pub(super) answers: ChildStdout,
    process: Arc<Mutex<Process>>,
}

/// The state of the process. Once a process is reaped, its pid may pass to another process.
enum Process {
    Running(Child),
    Collected,
}

impl Start {
    /// Begins to start the process. The command's standard input and output must be pipes.
    pub(super) fn begin(command: Command) -> io::Result<Self> {
        let (told, tell) = io::pipe()?;
        let (sender, outcome) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name("htex-selector".to_owned())
            .spawn(move || keep(command, &sender, tell))?;
        Ok(Self { outcome, told })
    }

    /// Returns the outcome, if there is one; only once.
    pub(super) fn outcome(&self) -> Option<io::Result<Kept>> {
        match self.outcome.try_recv() {
            Ok(outcome) => Some(outcome),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(io::Error::other("its thread has ended"))),
        }
    }

    /// Returns the outcome, if there is one within `limit`.
    pub(super) fn outcome_within(&self, limit: Duration) -> Option<io::Result<Kept>> {
        match self.outcome.recv_timeout(limit) {
            Ok(outcome) => Some(outcome),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => self.outcome(),
        }
    }

    /// Returns a descriptor that is readable once there is an outcome.
    pub(super) fn descriptor(&self) -> RawFd {
        self.told.as_raw_fd()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.process
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .kill();
    }
}

impl Process {
    fn kill(&mut self) {
        match self {
            Self::Running(child) => {
                // Fails only if the process has ended.
                let _ = child.kill();
            }
            Self::Collected => {}
        }
    }
}

fn keep(mut command: Command, sender: &SyncSender<io::Result<Kept>>, tell: PipeWriter) {
    // Otherwise the process would inherit libzmq's epoll descriptors.
    children::keep_descriptors_to_ourselves();
    let started = command.spawn().and_then(kept);
    let (outcome, process) = match started {
        Ok((kept, pid)) => {
            let process = Arc::clone(&kept.process);
            (Ok(kept), Some((process, pid)))
        }
        Err(error) => (Err(error), None),
    };
    // If the receiver is gone, the outcome is dropped, which kills the process.
    let _ = sender.send(outcome);
    drop(tell);
    if let Some((process, pid)) = process {
        collect(&process, pid);
    }
}

fn kept(mut child: Child) -> io::Result<(Kept, Pid)> {
    let pid = Pid::from_child(&child);
    let (Some(questions), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::Error::other("no pipes to the process"));
    };
    let process = Arc::new(Mutex::new(Process::Running(child)));
    let kept = Kept {
        questions,
        answers,
        process,
    };
    Ok((kept, pid))
}

/// Waits for the end of the process, however long that takes, reaps it, and prevents later signals
/// to its pid.
fn collect(process: &Mutex<Process>, pid: Pid) {
    let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while waitid(WaitId::Pid(pid), ended).is_err_and(|error| error == Errno::INTR) {}
    let mut process = process.lock().unwrap_or_else(PoisonError::into_inner);
    if let Process::Running(child) = &mut *process {
        // The process has ended, so this call returns at once.
        let _ = child.wait();
    }
    *process = Process::Collected;
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    /// `keep` returns when the process is reaped, long before the ten minutes of the sleep are
    /// over.
    #[test]
    fn process_started_after_the_caller_gave_up_is_killed() {
        let (sender, outcome) = mpsc::sync_channel(1);
        drop(outcome);
        let (_told, tell) = io::pipe().unwrap();
        let mut command = Command::new("sleep");
        command
            .arg("600")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let (done, is_done) = mpsc::sync_channel(1);
        thread::spawn(move || {
            keep(command, &sender, tell);
            done.send(()).unwrap();
        });
        is_done.recv_timeout(Duration::from_secs(20)).unwrap();
    }
}
