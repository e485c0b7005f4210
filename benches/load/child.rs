//! The interchange's process, which is started and ended as HTEX does it.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::proc_fs;
use super::trouble::{Outcome, Trouble, failure, violation};

/// How long HTEX waits for the end after SIGTERM.
const END_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// The name of htex-interchange's first process, whose child is the broker.
const KEEPER: &str = "htex-keeper";
/// The environment variable by which htex-interchange recognises an executor that accepts reports
/// of restarts.
const WATCHED: &str = "HTEX_INTERCHANGE_WATCHED";

pub(crate) struct Interchange {
    process: Child,
    /// The process that serves: the started one, or its child.
    broker: u32,
    pub launched: Instant,
}

impl Interchange {
    /// Starts the command and writes the configuration to its standard input.
    pub(crate) fn launch(command: &[OsString], config: &[u8], command_port: u16) -> Outcome<Self> {
        let Some((program, arguments)) = command.split_first() else {
            return failure("no command for the interchange was given");
        };
        let mut command = Command::new(program);
        // Standard output of this program is for the result alone.
        command
            .args(arguments)
            .env(WATCHED, command_port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        // SAFETY: the call between fork and exec is a bare system call.
        unsafe {
            command.pre_exec(|| {
                // Not every interchange notices the end of its submit side.
                prctl::set_pdeathsig(Signal::SIGKILL).map_err(std::io::Error::from)
            });
        }
        let launched = Instant::now();
        let process = command.spawn().map_err(|error| {
            Trouble::Failure(format!("{} cannot be started: {error}", program.display()))
        })?;
        let mut interchange = Self {
            broker: process.id(),
            process,
            launched,
        };
        if let Some(mut input) = interchange.process.stdin.take() {
            input.write_all(config)?;
        }
        Ok(interchange)
    }

    /// Returns the id of the process that serves.
    pub(crate) fn pid(&self) -> u32 {
        self.broker
    }

    /// Returns the id of the process that watches over the one that serves, if there is one.
    pub(crate) fn keeper_pid(&self) -> Option<u32> {
        Some(self.process.id()).filter(|started| *started != self.broker)
    }

    /// Finds the process that serves. Call this once the interchange answers.
    pub(crate) fn find_broker(&mut self) -> Outcome<()> {
        let started = self.process.id();
        if proc_fs::name_of(started)? == KEEPER {
            self.broker = proc_fs::child_of(started)?;
        }
        Ok(())
    }

    /// Checks that the interchange has not ended.
    ///
    /// # Errors
    /// A violation if it has ended without being told to.
    pub(crate) fn check_running(&mut self) -> Outcome<()> {
        match self.process.try_wait()? {
            Some(status) => violation(format!("the interchange ended unexpectedly: {status}")),
            None => Ok(()),
        }
    }

    /// Sends SIGTERM, as HTEX does to end an interchange. Returns the time until the end in
    /// milliseconds.
    ///
    /// # Errors
    /// A violation if the interchange had ended before, or does not end.
    pub(crate) fn terminate(&mut self) -> Outcome<f64> {
        self.check_running()?;
        let begin = Instant::now();
        kill(Pid::from_raw(self.process.id() as i32), Signal::SIGTERM)?;
        while begin.elapsed() < END_WITHIN {
            if self.process.try_wait()?.is_some() {
                return Ok(begin.elapsed().as_secs_f64() * 1000.0);
            }
            std::thread::sleep(LOOK_EVERY);
        }
        violation(format!(
            "the interchange still runs {} s after SIGTERM",
            END_WITHIN.as_secs()
        ))
    }
}

impl Drop for Interchange {
    fn drop(&mut self) {
        // This has no effect on a process that has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
