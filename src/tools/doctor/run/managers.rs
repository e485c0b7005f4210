//! What managers and workers wrote to their own logs, below an executor's directory.

use std::fs;
use std::path::{Path, PathBuf};

use super::causes::Causes;
use super::log::{Level, Line, Log, shown_near_end};
use crate::shared::finding::Finding;
use crate::shared::log_file::ends_of;
use crate::shared::words::counted;

/// Directory levels down to a manager's log: `block-N/MANAGER/manager.log`.
const DEPTH: usize = 2;
const ENTRIES_MAX: usize = 20_000;
const READ_MAX: usize = 300;
const END_BYTES: u64 = 64 << 10;
const DIED: &str = " has died";
const BUSY: &str = " was busy when it died";

/// What the logs of one executor's managers show.
#[derive(Debug, Default)]
pub(super) struct Managers {
    pub(super) read: usize,
    /// The last error that a manager logged, as evidence.
    pub(super) last_error: Option<String>,
    /// Number of workers that died while they ran a task, and evidence of the last of them.
    workers_died: (u64, Option<String>),
    /// Description of the logs that were not read.
    pub(super) not_read: Option<String>,
}

impl Managers {
    /// Reads the logs of managers and workers below `directories`. Adds what ended them to
    /// `causes`.
    pub(super) fn of(directories: &[PathBuf], causes: &mut Causes) -> Self {
        let mut files = Vec::new();
        let mut left = ENTRIES_MAX;
        for directory in directories {
            find(directory, DEPTH, &mut left, &mut files);
        }
        // Reads managers' logs before workers' logs.
        files.sort_by_key(|file| (!is_managers(file), file.clone()));
        let mut managers = Self::default();
        for file in files.iter().take(READ_MAX) {
            managers.hear(file, causes);
        }
        let more = files.len().saturating_sub(READ_MAX);
        if more > 0 || left == 0 {
            let logs = counted(more as u64, "log");
            managers.not_read = Some(format!("{logs} more of managers and workers"));
        }
        managers
    }

    fn hear(&mut self, file: &Path, causes: &mut Causes) {
        let Ok((text, is_whole)) = ends_of(file, 0, END_BYTES) else {
            return;
        };
        self.read += 1;
        causes.hear(file, &text, is_whole.then_some(0));
        if !is_managers(file) {
            return;
        }
        let log = Log::of_text(file, &text);
        self.hear_of_workers(&log, is_whole);
        let last = log
            .lines
            .iter()
            .rev()
            .find(|line| line.level == Level::Error);
        self.last_error = last
            .map(|line| place_of(&log, line, is_whole))
            .or(self.last_error.take());
    }

    fn hear_of_workers(&mut self, log: &Log, is_whole: bool) {
        let (count, last) = &mut self.workers_died;
        for (line, place) in log.lines.iter().zip(0..) {
            // A worker without a task died with its manager or was asked to end, and does not
            // count.
            let Some(worker) = line.coded.message.strip_suffix(BUSY) else {
                continue;
            };
            let is_death = |line: &&Line| line.coded.message.strip_suffix(DIED) == Some(worker);
            let death = log.lines[..place].iter().rev().find(is_death);
            *count += 1;
            *last = Some(place_of(log, death.unwrap_or(line), is_whole));
        }
    }

    /// Reports the workers whose process ended while it ran a task.
    pub(super) fn died(&self) -> Option<Finding> {
        let (count, shown) = &self.workers_died;
        let workers = match count {
            1 => "1 worker's process".to_owned(),
            count => format!("The processes of {count} workers"),
        };
        let what = format!("{workers} ended while running a task.");
        Some(
            Finding::warning("workers-died", what)
                .because(
                    "Such a task failed with WorkerLost, and its manager started a new worker. \
                     Memory may have run out, the task may have called sys.exit() or os._exit(), \
                     or compiled code may have crashed.",
                )
                .remedy(
                    "manager.log has the task's number below that line, and worker_N.log shows \
                     what the worker did last. The node's log (dmesg) shows crashes, and whether \
                     memory ran out.",
                )
                .shown_by(shown.as_ref()?),
        )
    }
}

/// Formats a line of a manager's log as evidence.
fn place_of(log: &Log, line: &Line, is_whole: bool) -> String {
    match is_whole {
        true => log.shown(line),
        false => shown_near_end(&log.path, &line.coded.message),
    }
}

fn is_managers(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default();
    name == "manager.log" || name == "manager.jsonlog"
}

fn find(directory: &Path, depth: usize, left: &mut usize, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if *left == 0 {
            return;
        }
        *left -= 1;
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_worker = name.starts_with("worker_") && name.ends_with("log");
        if path.is_dir() && depth > 0 {
            find(&path, depth - 1, left, files);
        } else if is_worker || is_managers(&path) {
            files.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::run::causes::Ended;

    #[test]
    fn the_last_error_of_a_manager_is_shown() {
        let place = tempfile::tempdir().unwrap();
        let logs = place.path().join("block-0/abc");
        fs::create_dir_all(&logs).unwrap();
        let text = "2024-01-02 19:30:03.1 parsl:7 r [INFO]  a\n\
                    2024-01-02 19:30:04.1 parsl:8 r [CRITICAL]  Missing contact with interchange\n";
        fs::write(logs.join("manager.log"), text).unwrap();
        fs::write(logs.join("worker_0.log"), "MemoryError\n").unwrap();
        let mut causes = Causes::default();
        let managers = Managers::of(&[place.path().to_owned()], &mut causes);
        assert_eq!(managers.read, 2);
        let told = managers.last_error.clone().unwrap();
        assert!(
            told.ends_with("manager.log, line 2: Missing contact with interchange"),
            "{told}"
        );
        assert_eq!(causes.findings(Ended::Something)[0].id, "out-of-memory");
        assert_eq!(managers.died(), None);
    }

    #[test]
    fn a_worker_that_died_with_a_task_is_reported() {
        let place = tempfile::tempdir().unwrap();
        let logs = place.path().join("block-0/abc");
        fs::create_dir_all(&logs).unwrap();
        let line = |text: &str| format!("2024-01-02 19:30:03.1 parsl:7 r {text}\n");
        let busy =
            line("[ERROR]  Worker 0 has died") + &line("[INFO]  Worker 0 was busy when it died");
        let idle = line("[ERROR]  Worker 1 has died")
            + &line("[INFO]  Worker 1 was not busy when it died");
        let told = |text: String| {
            fs::write(logs.join("manager.log"), text).unwrap();
            Managers::of(&[place.path().to_owned()], &mut Causes::default()).died()
        };
        assert_eq!(told(idle.clone()), None);
        let died = told(busy.clone() + &idle).unwrap();
        assert_eq!(died.what, "1 worker's process ended while running a task.");
        assert!(died.evidence[0].ends_with("manager.log, line 1: Worker 0 has died"));
        let died = told(busy.clone() + &busy).unwrap();
        assert!(died.what.contains("of 2 workers"), "{died:?}");
    }
}
