//! A process, identified by its pid and its start time: a pid alone may pass to another process.

use std::fs;
use std::io;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// A process that existed when it was looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: Pid,
    /// Start time in clock ticks since boot. None if `/proc` does not show the process.
    started_ticks: Option<u64>,
}

impl Process {
    /// Returns the process that has this pid now.
    pub(super) fn of(pid: Pid) -> Self {
        let stat = ProcessStat::read(pid.as_raw_nonzero().get().unsigned_abs());
        let started_ticks = stat.ok().map(|stat| stat.started_ticks);
        Self { pid, started_ticks }
    }

    /// Whether the process runs or is stopped; a zombie counts as ended.
    pub(super) fn is_alive(self) -> bool {
        match ProcessStat::read(self.number()) {
            Ok(now) => {
                let is_same = |started| started == now.started_ticks;
                now.is_alive() && self.started_ticks.is_none_or(is_same)
            }
            // `/proc` hides the process, or no descriptor is left to read the file.
            Err(_) => test_kill_process(self.pid) != Err(Errno::SRCH),
        }
    }

    pub(super) fn number(self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }
}

/// The fields of `/proc/PID/stat` that this program uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProcessStat {
    /// The state, as the kernel's letter.
    pub(super) state: char,
    /// The parent's pid. None if the parent is outside of this pid namespace.
    pub(super) parent: Option<Pid>,
    threads: u32,
    started_ticks: u64,
}

impl ProcessStat {
    pub(super) fn read(pid: u32) -> io::Result<Self> {
        let line = fs::read(format!("/proc/{pid}/stat"))?;
        let line = String::from_utf8_lossy(&line);
        Self::parse(&line).ok_or_else(|| io::Error::other("a line in an unexpected format"))
    }

    /// Parses a line, whose second field is a name that may contain any character.
    fn parse(line: &str) -> Option<Self> {
        let (_, behind_name) = line.rsplit_once(')')?;
        let fields: Vec<&str> = behind_name.split_ascii_whitespace().collect();
        // proc(5) numbers these fields 3, 4, 20 and 22.
        let number = |place: usize| -> Option<u64> { fields.get(place)?.parse().ok() };
        Some(Self {
            state: fields.first()?.chars().next()?,
            parent: Pid::from_raw(i32::try_from(number(1)?).ok()?),
            threads: u32::try_from(number(17)?).ok()?,
            started_ticks: number(19)?,
        })
    }

    /// Whether any thread lives. If only the first thread has ended, the process lives on in the
    /// others.
    fn is_alive(self) -> bool {
        match self.state {
            'Z' => self.threads > 1,
            'X' | 'x' => false,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    const LINE: &str = "17 (a) 1 (b) S 12 17 17 0 -1 4194304 5 0 0 0 1 2 0 0 20 0 3 0 4711 9 9";

    #[test]
    fn process_name_with_brackets_is_skipped() {
        let stat = ProcessStat::parse(LINE).unwrap();
        assert_eq!((stat.state, stat.parent), ('S', Pid::from_raw(12)));
        assert_eq!((stat.threads, stat.started_ticks), (3, 4711));
        assert_eq!(ProcessStat::parse("17 (a) S 0 17"), None);
        assert_eq!(ProcessStat::parse(""), None);
    }

    #[test]
    fn a_process_lives_until_its_last_thread_has_ended() {
        let is_alive = |state: &str, threads: &str| {
            let line = LINE.replace(") S ", &format!(") {state} "));
            let line = line.replace(" 20 0 3 ", &format!(" 20 0 {threads} "));
            ProcessStat::parse(&line).unwrap().is_alive()
        };
        assert!(is_alive("S", "1") && is_alive("T", "1") && is_alive("D", "1"));
        assert!(is_alive("Z", "2"));
        assert!(!is_alive("Z", "1") && !is_alive("X", "1"));
    }

    #[test]
    fn reused_pid_is_not_the_same_process() {
        let here = Process::of(getpid());
        assert!(here.started_ticks.is_some() && here.is_alive());
        let earlier = here.started_ticks.map(|ticks| ticks - 1);
        let another = Process {
            started_ticks: earlier,
            ..here
        };
        assert!(!another.is_alive());
    }

    #[test]
    fn stopped_process_is_alive_and_zombie_is_not() {
        let mut child = waiting_child();
        let process = Process::of(Pid::from_child(&child));
        kill_process(process.pid, Signal::STOP).unwrap();
        wait_until("it is stopped", || state_of(process) == Some('T'));
        assert!(process.is_alive());
        kill_process(process.pid, Signal::KILL).unwrap();
        wait_until("it has ended", || state_of(process) == Some('Z'));
        assert!(!process.is_alive());
        child.wait().unwrap();
        assert!(!process.is_alive());
        let hidden = Process {
            started_ticks: None,
            ..process
        };
        assert!(!hidden.is_alive());
    }

    /// Starts a process that runs until its standard input ends.
    fn waiting_child() -> Child {
        let mut cat = Command::new("cat");
        cat.stdin(Stdio::piped()).spawn().unwrap()
    }

    fn state_of(process: Process) -> Option<char> {
        Some(ProcessStat::read(process.number()).ok()?.state)
    }

    fn wait_until(what: &str, condition: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        while !condition() {
            assert!(Instant::now() < end, "still not: {what}");
            std::thread::yield_now();
        }
    }
}
