//! Starts a process on a thread of its own, which then waits for its end.
//!
//! To run a program may take as long as a file system stalls, and so may the end of one that the
//! kernel holds: neither may hold up tasks. The thread lives as long as the process, because a
//! process that asks to end with its parent (`PR_SET_PDEATHSIG`) ends with the *thread* that
//! started it.

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
    /// Its other end closes when there is an outcome.
    told: PipeReader,
}

/// A process that was started; it is killed when this goes.
pub(super) struct Kept {
    pub(super) questions: ChildStdin,
    pub(super) answers: ChildStdout,
    process: Arc<Mutex<Process>>,
}

/// A number is free for another process as soon as it is collected.
enum Process {
    Running(Child),
    Collected,
}

impl Start {
    /// Begins it. Standard input and output have to be pipes.
    ///
    /// # Errors
    /// The system refuses a pipe or a thread.
    pub(super) fn begin(command: Command) -> io::Result<Self> {
        let (told, tell) = io::pipe()?;
        let (sender, outcome) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name("htex-selector".to_owned())
            .spawn(move || keep(command, &sender, tell))?;
        Ok(Self { outcome, told })
    }

    /// What has come of it, if anything has; it is told once.
    pub(super) fn outcome(&self) -> Option<io::Result<Kept>> {
        match self.outcome.try_recv() {
            Ok(outcome) => Some(outcome),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(io::Error::other("its thread has ended"))),
        }
    }

    /// The same, if there is one within `limit`.
    pub(super) fn outcome_within(&self, limit: Duration) -> Option<io::Result<Kept>> {
        match self.outcome.recv_timeout(limit) {
            Ok(outcome) => Some(outcome),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => self.outcome(),
        }
    }

    /// It is readable when there is an outcome.
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
                // Fails only if it has ended.
                let _ = child.kill();
            }
            Self::Collected => {}
        }
    }
}

fn keep(mut command: Command, sender: &SyncSender<io::Result<Kept>>, tell: PipeWriter) {
    // libzmq's epoll descriptors would be passed on.
    children::keep_descriptors_to_ourselves();
    let started = command.spawn().and_then(kept);
    let (outcome, process) = match started {
        Ok((kept, pid)) => {
            let process = Arc::clone(&kept.process);
            (Ok(kept), Some((process, pid)))
        }
        Err(error) => (Err(error), None),
    };
    // Nobody waits any longer: then it is killed here.
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

/// Waits for its end, however long that takes, and lets nobody signal it from then on.
fn collect(process: &Mutex<Process>, pid: Pid) {
    let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while waitid(WaitId::Pid(pid), ended).is_err_and(|error| error == Errno::INTR) {}
    let mut process = process.lock().unwrap_or_else(PoisonError::into_inner);
    if let Process::Running(child) = &mut *process {
        // It has ended: this takes no time.
        let _ = child.wait();
    }
    *process = Process::Collected;
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    /// It comes back when the process is collected, and not in ten minutes.
    #[test]
    fn what_is_started_when_nobody_waits_any_more_is_ended() {
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
