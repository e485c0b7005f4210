//! The process that runs a user's own manager selector: Python, started with a small script that is
//! part of this program, and spoken to over its standard input and output.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use protocol::{Malformed, SelectorAnswer};
use submit_side::children;

const SCRIPT: &str = include_str!("selector_helper.py");
/// An answer names managers, at 255 bytes each; beyond this it is none.
const ANSWER_BYTES_MAX: usize = 64 << 20;
const HEAD_BYTES: usize = 8;
/// How long the user's module may take to be imported before the start is refused.
const LOADED_WITHIN: Duration = Duration::from_secs(30);

/// How to run it.
#[derive(Debug, Clone)]
pub struct SelectorHelperCommand {
    /// The submit side's interpreter, which can import the selector's module.
    pub python: PathBuf,
    /// The start-up configuration as it came: the selector is in it.
    pub config: Vec<u8>,
}

/// Why the selector cannot be used; the start is refused with it.
#[derive(Debug, thiserror::Error)]
pub enum SelectorHelperError {
    /// The system refuses to run the interpreter.
    #[error("{} cannot be run: {error}", python.display())]
    NotRun {
        /// Of the command.
        python: PathBuf,
        /// The system's.
        error: io::Error,
    },
    /// It ended before it had said anything.
    #[error("its process has ended: {0}")]
    Ended(#[source] io::Error),
    /// The user's module does not come to its end.
    #[error("it was not loaded in {} s", LOADED_WITHIN.as_secs())]
    NotLoaded,
    /// The last line of Python's traceback.
    #[error("{0}")]
    Raised(String),
    /// An order of managers, though none was asked for yet.
    #[error("its process answers what was not asked")]
    NotAsked,
    /// The answer is none.
    #[error("its process does not answer as it should: {0}")]
    Unreadable(#[source] Malformed),
}

/// A running helper.
pub struct SelectorHelper {
    command: SelectorHelperCommand,
    running: Running,
    restarted: bool,
}

struct Running {
    child: Child,
    questions: ChildStdin,
    answers: ChildStdout,
    unsent: VecDeque<u8>,
    unread: Vec<u8>,
}

/// What has come of it.
#[derive(Debug)]
pub(super) enum HelperEvent {
    Answer(Vec<u8>),
    /// It ended, and was started once more.
    StartedAgain,
    /// It ended for good.
    Ended(HelperEnd),
}

/// Why it does not run any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum HelperEnd {
    #[error("its process has ended twice: {0}")]
    Twice(#[source] io::Error),
    #[error("its process cannot be started again: {0}")]
    NotStartedAgain(#[source] io::Error),
}

impl SelectorHelper {
    /// Starts it, and waits until the selector is loaded.
    ///
    /// # Errors
    /// Python's traceback, or what else kept it from being loaded: a start is refused with it.
    pub fn start(command: SelectorHelperCommand) -> Result<Self, SelectorHelperError> {
        let running = match Running::start(&command) {
            Ok(running) => running,
            Err(error) => {
                let python = command.python;
                return Err(SelectorHelperError::NotRun { python, error });
            }
        };
        let mut helper = Self {
            command,
            running,
            restarted: false,
        };
        helper.wait_until_loaded()?;
        Ok(helper)
    }

    pub(super) fn ask(&mut self, question: &[u8]) {
        self.running.queue(question);
        // An error shows when its answers are read.
        let _ = self.running.flush();
    }

    /// Does what can be done without waiting.
    pub(super) fn advance(&mut self) -> Vec<HelperEvent> {
        match self.running.flush().and_then(|()| self.running.read()) {
            Ok(answers) => answers.into_iter().map(HelperEvent::Answer).collect(),
            Err(error) => vec![self.start_again(error)],
        }
    }

    /// What to wait for: its answers, and room for questions while some are unsent.
    pub(super) fn waits_on(&self) -> [Option<(RawFd, PollFlags)>; 2] {
        let unsent = !self.running.unsent.is_empty();
        [
            Some((self.running.answers.as_raw_fd(), PollFlags::IN)),
            unsent.then(|| (self.running.questions.as_raw_fd(), PollFlags::OUT)),
        ]
    }

    fn start_again(&mut self, error: io::Error) -> HelperEvent {
        if self.restarted {
            return HelperEvent::Ended(HelperEnd::Twice(error));
        }
        self.restarted = true;
        match Running::start(&self.command) {
            Ok(running) => {
                self.running = running;
                HelperEvent::StartedAgain
            }
            Err(error) => HelperEvent::Ended(HelperEnd::NotStartedAgain(error)),
        }
    }

    fn wait_until_loaded(&mut self) -> Result<(), SelectorHelperError> {
        let end = Instant::now() + LOADED_WITHIN;
        loop {
            let _ = self.running.flush();
            match self.running.read() {
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
            self.running.wait(left);
        }
    }
}

fn loaded(answer: &[u8]) -> Result<(), SelectorHelperError> {
    match SelectorAnswer::parse(answer) {
        Ok(SelectorAnswer::Loaded) => Ok(()),
        // The last line of a traceback says what it was.
        Ok(SelectorAnswer::Failed { traceback, .. }) => {
            let last = traceback.trim_end().lines().next_back();
            let raised = last.unwrap_or("no reason given").to_owned();
            Err(SelectorHelperError::Raised(raised))
        }
        Ok(SelectorAnswer::Order { .. }) => Err(SelectorHelperError::NotAsked),
        Err(malformed) => Err(SelectorHelperError::Unreadable(malformed)),
    }
}

impl Running {
    fn start(command: &SelectorHelperCommand) -> io::Result<Self> {
        // libzmq's epoll descriptors would be passed on.
        children::keep_descriptors_to_ourselves();
        let mut child = Command::new(&command.python)
            .args(["-u", "-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A Ctrl-C at the submit process is none of its business.
            .process_group(0)
            .spawn()?;
        let (Some(questions), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("no pipes to the process"));
        };
        rustix::io::ioctl_fionbio(&questions, true)?;
        rustix::io::ioctl_fionbio(&answers, true)?;
        let (unsent, unread) = (VecDeque::new(), Vec::new());
        let mut running = Self {
            child,
            questions,
            answers,
            unsent,
            unread,
        };
        running.queue(&command.config);
        Ok(running)
    }

    fn queue(&mut self, message: &[u8]) {
        self.unsent.extend((message.len() as u64).to_le_bytes());
        self.unsent.extend(message);
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            // A pipe takes little at a time: what has left goes without a move of all the rest.
            match self.questions.write(self.unsent.as_slices().0) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whole answers that have come.
    fn read(&mut self) -> io::Result<Vec<Vec<u8>>> {
        let mut chunk = [0; 16 * 1024];
        let mut ended = None;
        loop {
            match self.answers.read(&mut chunk) {
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
        // What it said before it ended still counts.
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
            return Err(io::Error::other("an answer of absurd length"));
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
            PollFd::from_borrowed_fd(self.answers.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.questions.as_fd(), events),
        ];
        let timeout = Timespec::try_from(limit).ok();
        // An interrupted poll is one that found nothing.
        let _ = poll(&mut items, timeout.as_ref());
    }
}

/// Nothing of ours outlives us.
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
