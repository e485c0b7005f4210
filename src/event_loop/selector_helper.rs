//! The process that runs a user's own manager selector: Python with a small script that is part of
//! this program. The two processes talk over the helper's standard input and output. Nothing here
//! blocks, except for the first start.

mod keeper;

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use protocol::{Malformed, SelectorAnswer};

use keeper::{Kept, Start};

const SCRIPT: &str = include_str!("selector_helper.py");
/// Maximum size of an answer. An answer names managers, at 255 bytes each; a longer one is invalid.
const ANSWER_BYTES_MAX: usize = 64 << 20;
const HEAD_BYTES: usize = 8;
/// Maximum number of reads, of 16 KiB each, at a time.
const CHUNKS_AT_A_TIME: usize = 256;
/// How long Python may take to start and to import the user's module, before the start is refused.
const LOADED_WITHIN: Duration = Duration::from_secs(30);

/// The command that runs the helper.
#[derive(Debug, Clone)]
pub struct SelectorHelperCommand {
    /// The submit side's interpreter, which can import the selector's module.
    pub python: PathBuf,
    /// The start-up configuration as received: it contains the selector.
    pub config: Vec<u8>,
}

/// Why the selector cannot be used; the start is refused with it.
#[derive(Debug, thiserror::Error)]
pub enum SelectorHelperError {
    /// The system refuses to run the interpreter.
    #[error("{} cannot be run: {error}", python.display())]
    NotRun {
        /// The interpreter of the command.
        python: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The process ended before it sent anything.
    #[error("its process has ended: {0}")]
    Ended(#[source] io::Error),
    /// The import of the user's module takes too long.
    #[error("it was not loaded in {} s", LOADED_WITHIN.as_secs())]
    NotLoaded,
    /// The selector raised an exception: the last line of Python's traceback.
    #[error("{0}")]
    Raised(String),
    /// The process sent an order of managers, although none was requested yet.
    #[error("its process sent an order of managers that was not requested")]
    NotAsked,
    /// The answer is malformed.
    #[error("its process sent a malformed answer: {0}")]
    Unreadable(#[source] Malformed),
}

/// A running helper.
pub struct SelectorHelper {
    command: SelectorHelperCommand,
    state: State,
    restarted: bool,
}

enum State {
    Starting(Start),
    Running(Running),
}

struct Running {
    process: Kept,
    unsent: VecDeque<u8>,
    unread: Vec<u8>,
}

/// What happened to the helper.
#[derive(Debug)]
pub(super) enum HelperEvent {
    Answer(Vec<u8>),
    /// The process ended and was started once more.
    StartedAgain,
    /// The process ended and is not started again.
    Ended(HelperEnd),
}

/// Why the helper does not run any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum HelperEnd {
    #[error("its process has ended twice: {0}")]
    Twice(#[source] io::Error),
    #[error("its process cannot be started again: {0}")]
    NotStartedAgain(#[source] io::Error),
}

impl SelectorHelper {
    /// Starts the helper, and waits until the selector is loaded.
    ///
    /// # Errors
    /// Python's traceback, or what else prevented the loading; the start is to be refused with it.
    pub fn start(command: SelectorHelperCommand) -> Result<Self, SelectorHelperError> {
        Self::start_by(command, Instant::now() + LOADED_WITHIN)
    }

    fn start_by(command: SelectorHelperCommand, end: Instant) -> Result<Self, SelectorHelperError> {
        let mut running = match Running::started_by(&command, end) {
            Ok(Some(running)) => running,
            Ok(None) => return Err(SelectorHelperError::NotLoaded),
            Err(error) => {
                let python = command.python;
                return Err(SelectorHelperError::NotRun { python, error });
            }
        };
        running.wait_until_loaded(end)?;
        Ok(Self {
            command,
            state: State::Running(running),
            restarted: false,
        })
    }

    pub(super) fn ask(&mut self, question: &[u8]) {
        // While the helper starts, questions are dropped: it first has to report that it is loaded.
        if let State::Running(running) = &mut self.state {
            running.queue(question);
            // An error appears when the answers are read.
            let _ = running.flush();
        }
    }

    /// Starts, writes and reads as far as possible without waiting.
    pub(super) fn advance(&mut self) -> Vec<HelperEvent> {
        if let Err(error) = self.become_running() {
            return vec![HelperEvent::Ended(HelperEnd::NotStartedAgain(error))];
        }
        let State::Running(running) = &mut self.state else {
            return Vec::new();
        };
        match running.flush().and_then(|()| running.read()) {
            Ok(answers) => answers.into_iter().map(HelperEvent::Answer).collect(),
            Err(error) => vec![self.start_again(error)],
        }
    }

    /// Returns the descriptor that becomes readable when an answer arrives or the start is over.
    pub(super) fn answers(&self) -> RawFd {
        match &self.state {
            State::Starting(start) => start.descriptor(),
            State::Running(running) => running.process.answers.as_raw_fd(),
        }
    }

    /// Returns the descriptor for questions, while some are unsent.
    pub(super) fn unsent_questions(&self) -> Option<RawFd> {
        match &self.state {
            State::Running(running) if !running.unsent.is_empty() => {
                Some(running.process.questions.as_raw_fd())
            }
            State::Running(_) | State::Starting(_) => None,
        }
    }

    /// Switches to the running state once the process has started.
    fn become_running(&mut self) -> io::Result<()> {
        if let State::Starting(start) = &self.state
            && let Some(outcome) = start.outcome()
        {
            self.state = State::Running(Running::of(outcome?, &self.command.config)?);
        }
        Ok(())
    }

    fn start_again(&mut self, error: io::Error) -> HelperEvent {
        if self.restarted {
            return HelperEvent::Ended(HelperEnd::Twice(error));
        }
        self.restarted = true;
        match Start::begin(self.command.process()) {
            Ok(start) => {
                self.state = State::Starting(start);
                HelperEvent::StartedAgain
            }
            Err(error) => HelperEvent::Ended(HelperEnd::NotStartedAgain(error)),
        }
    }
}

impl SelectorHelperCommand {
    fn process(&self) -> Command {
        let mut process = Command::new(&self.python);
        process
            .args(["-u", "-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A Ctrl-C in the terminal of the submit process must not reach the helper.
            .process_group(0);
        process
    }
}

impl Running {
    fn started_by(command: &SelectorHelperCommand, end: Instant) -> io::Result<Option<Self>> {
        let start = Start::begin(command.process())?;
        let left = end.saturating_duration_since(Instant::now());
        let outcome = start.outcome_within(left);
        outcome
            .map(|process| Self::of(process?, &command.config))
            .transpose()
    }

    fn of(process: Kept, config: &[u8]) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&process.questions, true)?;
        rustix::io::ioctl_fionbio(&process.answers, true)?;
        let (unsent, unread) = (VecDeque::new(), Vec::new());
        let mut running = Self {
            process,
            unsent,
            unread,
        };
        running.queue(config);
        Ok(running)
    }

    fn wait_until_loaded(&mut self, end: Instant) -> Result<(), SelectorHelperError> {
        loop {
            let _ = self.flush();
            match self.read() {
                Ok(answers) => {
                    if let Some(first) = answers.first() {
                        return loaded(first);
                    }
                }
                Err(error) => return Err(SelectorHelperError::Ended(error)),
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(SelectorHelperError::NotLoaded);
            }
            self.wait(left);
        }
    }

    fn queue(&mut self, message: &[u8]) {
        self.unsent.extend((message.len() as u64).to_le_bytes());
        self.unsent.extend(message);
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            // A pipe takes few bytes at a time. A VecDeque drops the sent part without moving the
            // rest.
            match self.process.questions.write(self.unsent.as_slices().0) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Returns the complete answers that have arrived. Reads only a bounded part of an endless
    /// stream.
    fn read(&mut self) -> io::Result<Vec<Vec<u8>>> {
        let mut chunk = [0; 16 * 1024];
        let mut ended = None;
        for _ in 0..CHUNKS_AT_A_TIME {
            match self.process.answers.read(&mut chunk) {
                Ok(0) => ended = Some(io::Error::from(io::ErrorKind::UnexpectedEof)),
                Ok(count) => {
                    self.unread.extend_from_slice(&chunk[..count]);
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => ended = Some(error),
            }
            break;
        }
        let mut answers = Vec::new();
        while let Some(answer) = self.take_answer()? {
            answers.push(answer);
        }
        // Answers that were sent before the process ended still count.
        match ended {
            Some(error) if answers.is_empty() => Err(error),
            _ => Ok(answers),
        }
    }

    fn take_answer(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(head) = self.unread.first_chunk::<HEAD_BYTES>() else {
            return Ok(None);
        };
        let length = u64::from_le_bytes(*head);
        if length > ANSWER_BYTES_MAX as u64 {
            return Err(io::Error::other("an answer that is too long"));
        }
        let end = HEAD_BYTES + length as usize;
        if self.unread.len() < end {
            return Ok(None);
        }
        let answer = self.unread[HEAD_BYTES..end].to_vec();
        self.unread.drain(..end);
        Ok(Some(answer))
    }

    fn wait(&self, limit: Duration) {
        let events = if self.unsent.is_empty() {
            PollFlags::empty()
        } else {
            PollFlags::OUT
        };
        let mut items = [
            PollFd::from_borrowed_fd(self.process.answers.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.process.questions.as_fd(), events),
        ];
        let timeout = Timespec::try_from(limit).ok();
        // An interrupted poll counts as one that found nothing.
        let _ = poll(&mut items, timeout.as_ref());
    }
}

fn loaded(answer: &[u8]) -> Result<(), SelectorHelperError> {
    match SelectorAnswer::parse(answer) {
        Ok(SelectorAnswer::Loaded) => Ok(()),
        // The last line of a traceback names the exception.
        Ok(SelectorAnswer::Failed { traceback, .. }) => {
            let last = traceback.trim_end().lines().next_back();
            let raised = last.unwrap_or("no reason given").to_owned();
            Err(SelectorHelperError::Raised(raised))
        }
        Ok(SelectorAnswer::Order { .. }) => Err(SelectorHelperError::NotAsked),
        Err(malformed) => Err(SelectorHelperError::Unreadable(malformed)),
    }
}

#[cfg(test)]
mod tests;
