//! Tests with a Python that is slow to start. A lease on its file makes the kernel block every
//! process that opens the file, like a file server that does not answer.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::*;
use crate::process::{Process, ProcessStat};
use crate::system_calls::lent;

const WITHIN: Duration = Duration::from_secs(20);
/// Far shorter than the time for which the file is stalled.
const AT_ONCE: Duration = Duration::from_secs(5);
/// The pickle of `{"manager_selector": None}`.
const CONFIG: &[u8] = b"\x80\x04}\x8c\x10manager_selectorNs.";

#[test]
fn restart_on_a_stalled_file_system_blocks_nobody() {
    let place = Place::new();
    let mut helper = SelectorHelper::start(place.command()).unwrap();
    let stall = place.stall();
    let first = place.started();
    kill_process(first.pid, Signal::KILL).unwrap();
    let events = next_events(&mut helper);
    assert!(
        matches!(events[..], [HelperEvent::StartedAgain]),
        "{events:?}"
    );
    // Before the process has started there is no event, and the descriptor is not ready.
    assert!(timed(|| helper.advance()).is_empty());
    assert!(!is_ready(&helper, Duration::from_millis(100)));
    wait_until(|| ProcessStat::read(first.number()).is_err());

    drop(stall);
    let events = next_events(&mut helper);
    let [HelperEvent::Answer(answer)] = &events[..] else {
        panic!("{events:?}");
    };
    assert!(matches!(
        SelectorAnswer::parse(answer),
        Ok(SelectorAnswer::Loaded)
    ));
}

#[test]
fn a_first_start_on_a_stalled_file_system_has_a_deadline() {
    let place = Place::new();
    let stall = place.stall();
    let begun = Instant::now();
    let refused = SelectorHelper::start_by(place.command(), begun + Duration::from_millis(300));
    assert!(matches!(refused, Err(SelectorHelperError::NotLoaded)));
    assert!(begun.elapsed() < Duration::from_millis(300) + AT_ONCE);
    drop(stall);
}

#[test]
fn dropped_helper_is_killed_and_reaped() {
    let place = Place::new();
    let helper = SelectorHelper::start(place.command()).unwrap();
    let process = place.started();
    kill_process(process.pid, Signal::STOP).unwrap();
    timed(|| drop(helper));
    wait_until(|| ProcessStat::read(process.number()).is_err());
}

#[test]
fn missing_python_is_refused() {
    let mut command = Place::new().command();
    command.python = PathBuf::from("/nowhere/python3");
    let refused = SelectorHelper::start(command).map(|_| ());
    let told = refused.unwrap_err().to_string();
    assert!(
        told.starts_with("/nowhere/python3 cannot be run: "),
        "{told}"
    );
}

/// A directory with a program `python3`, which records its pid and then runs Python.
struct Place(TempDir);

impl Place {
    /// Creates the directory. A separate shell writes the program, so that this process never has
    /// the file open for writing. Otherwise a child process that another test starts at that moment
    /// would inherit the descriptor, and the program could not be run.
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let text = "#!/bin/sh\necho $$ >> \"$(dirname \"$0\")/started\"\nexec python3 \"$@\"\n";
        let script = "printf %s \"$1\" > \"$0\" && chmod 700 \"$0\"";
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).arg(place.python()).arg(text);
        assert!(shell.status().unwrap().success());
        place
    }

    fn python(&self) -> PathBuf {
        self.0.path().join("python3")
    }

    fn command(&self) -> SelectorHelperCommand {
        SelectorHelperCommand {
            python: self.python(),
            config: CONFIG.to_vec(),
        }
    }

    fn stall(&self) -> Stall {
        Stall::of(&self.python())
    }

    /// Returns the process that was started last.
    fn started(&self) -> Process {
        let file = self.0.path().join("started");
        let latest = || -> Option<i32> {
            let text = fs::read_to_string(&file).ok()?;
            text.strip_suffix('\n')?.lines().last()?.parse().ok()
        };
        wait_until(|| latest().is_some());
        Process::of(latest().and_then(Pid::from_raw).unwrap())
    }
}

/// While a stall exists, every process that runs the file is blocked.
struct Stall {
    holder: Child,
}

impl Stall {
    fn of(file: &Path) -> Self {
        const HOLDER: &str = "\
import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
fcntl.fcntl(os.open(sys.argv[1], os.O_RDONLY), fcntl.F_SETLEASE, fcntl.F_WRLCK)
print('held', flush=True)
signal.pause()
";
        let mut holder = Command::new("python3")
            .args(["-c", HOLDER])
            .arg(file)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut told = BufReader::new(holder.stdout.take().unwrap());
        told.read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
        Self { holder }
    }
}

impl Drop for Stall {
    fn drop(&mut self) {
        self.holder.kill().unwrap();
        self.holder.wait().unwrap();
    }
}

/// Returns the first events that arrive; each call of `advance` must be quick.
fn next_events(helper: &mut SelectorHelper) -> Vec<HelperEvent> {
    let end = Instant::now() + WITHIN;
    loop {
        assert!(is_ready(
            helper,
            end.saturating_duration_since(Instant::now())
        ));
        let events = timed(|| helper.advance());
        if !events.is_empty() {
            return events;
        }
    }
}

fn is_ready(helper: &SelectorHelper, within: Duration) -> bool {
    let questions = helper.unsent_questions();
    let waits_on = questions.map(|descriptor| (descriptor, PollFlags::OUT));
    let mut items: Vec<PollFd<'_>> = [(helper.answers(), PollFlags::IN)]
        .into_iter()
        .chain(waits_on)
        .map(|(descriptor, flags)| PollFd::from_borrowed_fd(lent(descriptor), flags))
        .collect();
    let timeout = Timespec::try_from(within).unwrap();
    poll(&mut items, Some(&timeout)).unwrap() > 0
}

fn timed<T>(what: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let outcome = what();
    assert!(begun.elapsed() < AT_ONCE, "it took {:?}", begun.elapsed());
    outcome
}

fn wait_until(condition: impl Fn() -> bool) {
    let end = Instant::now() + WITHIN;
    while !condition() {
        assert!(Instant::now() < end, "it does not come to be");
        std::thread::yield_now();
    }
}
