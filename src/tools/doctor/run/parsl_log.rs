//! parsl.log: the errors that Parsl itself reports, in the sentences of all its releases, and how
//! the program's run ended.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::failed_tasks::{self, FAILED, JOIN_FAILED, TRY_FAILED, WORKER_LOST};
use super::kind::Kind;
use super::log::{Level, Line, Log, shown};
use super::submissions::{self, FAILED_TO_START, LAUNCHED, SUBMITTING, launched};
use crate::shared::finding::{Finding, Severity};
use crate::shared::log_file::ends_of;
use crate::shared::words::counted;

pub(super) const NAMES: [&str; 2] = ["parsl.log", "parsl.jsonlog"];
pub(super) const REFUSAL: &str = "htex-interchange refused to start: ";
/// A file with any other name is Parsl's log if its beginning contains this text.
const STARTING: &str = "Starting DataFlowKernel with config";
const HEAD_BYTES: u64 = 64 << 10;
const LOGS_MAX: usize = 50;

pub(super) const CLEANUP: &str = "DFK cleanup initiated";
const STATE: &str = "Tasks in state ";
const EXCEPTION: &str = "There was an exception - cleaning up";
const EXITING: &str = "Python is exiting with a DFK still running";
pub(super) const BAD_STATE: &str = "Setting bad state due to exception";
const TERMINATING: &str = "Terminating interchange";
/// Parsl logs this for a block that ended before any of its managers registered: `Rewriting job 17
/// from status … to MISSING`.
const MISSED: &str = "Rewriting job ";
/// Texts that identify lines to keep, although their level is only INFO or DEBUG.
const KEPT: [&str; 12] = [
    STARTING,
    TRY_FAILED,
    CLEANUP,
    STATE,
    EXCEPTION,
    TERMINATING,
    SUBMITTING,
    LAUNCHED,
    FAILED_TO_START,
    JOIN_FAILED,
    MISSED,
    "Adding executor ",
];
/// States of tasks that are not done, in Parsl's summary at cleanup.
const UNFINISHED: [&str; 5] = [
    "pending",
    "launched",
    "running",
    "fail_retryable",
    "joining",
];
const KINDS: [Kind; 6] = [
    Kind {
        id: "bad-state",
        severity: Severity::Problem,
        marks: &[BAD_STATE],
        what: "Parsl gave up on an executor.",
        why: "Every task of this executor that was not done failed with BadStateException, and so \
              does every later task. The reason is below that line of parsl.log.",
        remedy: "Correct what made the blocks fail. block_error_handler decides when Parsl gives \
                 up.",
    },
    Kind {
        id: "no-answer",
        severity: Severity::Problem,
        marks: &["Interchange has not completed initialization"],
        what: "The interchange did not answer Parsl within 120 s.",
        why: "It may not have started, or may have ended before it could report why.",
        remedy: "Look at the program's standard error.",
    },
    Kind {
        id: "disk-was-full",
        severity: Severity::Problem,
        marks: &["No space left on device", "Disk quota exceeded"],
        what: "A disk was full, or a quota was used up.",
        why: "Parsl writes its logs and the blocks' scripts there.",
        remedy: "Free some space, or set run_dir to another file system.",
    },
    Kind {
        id: "status-query-failed",
        severity: Severity::Warning,
        marks: &[
            "sacct/squeue failed with non-zero exit code",
            "squeue failed with non-zero exit code",
            "bjobs failed with non-zero exit code",
            "qstat failed with retcode",
        ],
        what: "The batch system did not report the state of blocks.",
        why: "Until it does, Parsl assumes that their state has not changed.",
        remedy: "Run that command by hand on the machine where the program runs.",
    },
    Kind {
        id: "cancel-failed",
        severity: Severity::Warning,
        marks: &[
            "Some jobs were not killed successfully",
            "Failed to kill PID",
        ],
        what: "Blocks could not be cancelled, and may still run.",
        why: "",
        remedy: "Look at the batch system's queue.",
    },
    Kind {
        id: "monitoring-failed",
        severity: Severity::Warning,
        marks: &[
            "Got a database OperationalError",
            "Exception in db loop",
            "dbm.start exception",
            "Hub failed to start",
            "monitoring router failed to start",
            "Failed to forward monitoring message",
        ],
        what: "Parsl's monitoring failed.",
        why: "Its database may be incomplete. Tasks do not need it.",
        remedy: "That line and the lines below it show the error.",
    },
];

/// How the program left its run, as far as parsl.log shows.
pub(super) enum Ending {
    /// parsl.log does not exist.
    Untold,
    /// parsl.log shows no end.
    BrokenOff,
    /// Python exited without a cleanup of Parsl.
    Exit(String),
    /// Parsl cleaned up. `unfinished` tasks were not done, and `shown` is the evidence.
    /// `by_failure`: whether something failed before, which may have ended the program.
    Cleanup {
        unfinished: u64,
        shown: String,
        by_failure: bool,
    },
}

/// The records of parsl.log that the diagnosis uses.
#[derive(Debug, Default)]
pub(super) struct ParslLog {
    log: Option<Log>,
}

impl ParslLog {
    /// Reads the log in a run's directory, found by its name or by its beginning.
    pub(super) fn of(run: &Path) -> Self {
        let log = file_of(run).and_then(|path| Log::chosen(&path, is_kept()).ok());
        Self { log }
    }

    pub(super) fn log(&self) -> Option<&Log> {
        self.log.as_ref()
    }

    /// Reports what parsl.log says went wrong. `alone`: no interchange's log exists.
    pub(super) fn findings(&self, alone: bool) -> Vec<Finding> {
        let Some(log) = &self.log else {
            return Vec::new();
        };
        let mut found = Vec::new();
        found.extend(submissions::finding(log));
        found.extend(KINDS.iter().filter_map(|kind| of_kind(kind, log)));
        found.extend(refusal(log).filter(|_| alone));
        found.extend(failed_tasks::finding(log));
        found.extend(the_rest(log));
        found
    }

    pub(super) fn ending(&self) -> Ending {
        let Some(log) = &self.log else {
            return Ending::Untold;
        };
        let Some(cleanup) = log.find(CLEANUP) else {
            return match log.find(EXITING) {
                Some(line) => Ending::Exit(log.shown(line)),
                None => Ending::BrokenOff,
            };
        };
        let states = log.lines.iter().filter_map(|line| {
            let (state, number) = line.coded.message.strip_prefix(STATE)?.split_once(": ")?;
            let state = state.trim_start_matches("States.");
            let number = UNFINISHED
                .contains(&state)
                .then(|| number.trim().parse().ok());
            Some((number??, line))
        });
        let states: Vec<(u64, &Line)> = states.filter(|(number, _)| *number > 0).collect();
        let shown = states.first().map_or(cleanup, |(_, line)| line);
        let failures = [FAILED, TRY_FAILED, EXCEPTION, EXITING, BAD_STATE];
        let has_errors = log.lines.iter().any(|line| line.level == Level::Error);
        Ending::Cleanup {
            unfinished: states.iter().map(|(number, _)| number).sum(),
            shown: log.shown(shown),
            by_failure: has_errors
                || submissions::finding(log).is_some()
                || failures.iter().any(|mark| log.has(mark)),
        }
    }

    /// Returns the place where Parsl says that it gives up on an executor.
    pub(super) fn bad_state(&self) -> Option<String> {
        let log = self.log.as_ref()?;
        Some(log.shown(log.find(BAD_STATE)?))
    }

    /// Whether a task failed because its manager or worker ended.
    pub(super) fn has_lost_workers(&self) -> bool {
        let kinds = [WORKER_LOST, "ManagerLost"];
        let lines = self.log.iter().flat_map(|log| &log.lines);
        lines
            .filter_map(|line| line.coded.message.split_once(TRY_FAILED))
            .any(|(_, kind)| kinds.contains(&kind.trim()))
    }

    /// Returns the place where Parsl says that it ends the interchange.
    pub(super) fn terminating(&self) -> Option<String> {
        let log = self.log.as_ref()?;
        Some(log.shown(log.find(TERMINATING)?))
    }

    /// Returns the block numbers and job ids of an executor's blocks that a provider accepted.
    pub(super) fn launched(&self, label: &str) -> Vec<(String, String)> {
        let lines = self.log.iter().flat_map(|log| &log.lines);
        lines
            .filter_map(|line| launched(&line.coded.message, label))
            .collect()
    }

    /// Whether parsl.log shows that a block of the executor ended before any of its managers
    /// registered, or that Parsl gave up on an executor.
    pub(super) fn has_missed_blocks(&self, label: &str) -> bool {
        let jobs = self.launched(label);
        let is_missed = |line: &Line| {
            let job = line.coded.message.split_once(MISSED);
            let job = job.and_then(|(_, rest)| rest.split_once(" from status "));
            job.is_some_and(|(job, _)| jobs.iter().any(|(_, launched)| launched == job))
        };
        let lines = self.log.iter().flat_map(|log| &log.lines);
        self.bad_state().is_some() || lines.into_iter().any(is_missed)
    }

    /// Returns how many of the executor's blocks were offered to a provider and not accepted.
    pub(super) fn submissions_failed(&self, label: &str) -> usize {
        let name = format!("parsl.{label}.block-");
        let lines = self.log.iter().flat_map(|log| &log.lines);
        let offered = lines.filter(|line| {
            line.coded.message.contains(SUBMITTING) && line.coded.message.contains(&name)
        });
        offered.count().saturating_sub(self.launched(label).len())
    }

    /// Whether the configuration at the beginning of parsl.log has a provider of this class.
    pub(super) fn has_provider(&self, class: &str) -> bool {
        let class = format!("{class}(");
        self.log.as_ref().is_some_and(|log| log.has(&class))
    }

    /// Returns the directories of managers' logs that are outside of the executor's directory.
    pub(super) fn worker_logdir_roots(&self) -> Vec<PathBuf> {
        let lines = self
            .log
            .iter()
            .flat_map(|log| &log.lines)
            .flat_map(|line| &line.more);
        let named = lines.filter_map(|text| {
            let (_, value) = text.split_once("worker_logdir_root='")?;
            Some(PathBuf::from(value.split('\'').next()?))
        });
        named.collect()
    }
}

/// Returns the path of Parsl's log in a run's directory.
pub(super) fn file_of(run: &Path) -> Option<PathBuf> {
    let named = NAMES.iter().map(|name| run.join(name));
    if let Some(file) = named.into_iter().find(|file| file.is_file()) {
        return Some(file);
    }
    let mut logs: Vec<PathBuf> = fs::read_dir(run)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().contains("log") && path.is_file())
        .take(LOGS_MAX)
        .collect();
    logs.sort();
    logs.into_iter()
        .find(|path| ends_of(path, HEAD_BYTES, 0).is_ok_and(|(text, _)| text.contains(STARTING)))
}

/// Returns the filter for records to keep. Parsl logs a block that did not start at each check of
/// its status: only the first of these lines is kept.
fn is_kept() -> impl FnMut(&Line) -> bool {
    let mut failed = BTreeSet::new();
    move |line| {
        let is_grave = !matches!(line.level, Level::Debug | Level::Info);
        if let Some((_, told)) = line.coded.message.split_once(FAILED_TO_START) {
            return failed.insert(told.to_owned()) || is_grave;
        }
        is_grave || KEPT.iter().any(|mark| line.coded.message.contains(mark))
    }
}

fn of_kind(kind: &Kind, log: &Log) -> Option<Finding> {
    // Another finding reports the exceptions of tasks, which are no errors of Parsl's own.
    let own = || {
        log.lines
            .iter()
            .rev()
            .filter(|line| !failed_tasks::is_one(line))
    };
    let (mark, line) = kind
        .marks
        .iter()
        .find_map(|mark| Some((mark, own().find(|line| line.has(mark))?)))?;
    let mut finding = kind
        .finding(kind.what)
        .shown_by(log.shown_below(line, mark));
    let reason = line.more.iter().find(|text| text.starts_with('\t'));
    if let Some(reason) = reason.filter(|_| kind.id == "bad-state") {
        finding = finding.shown_by(log.shown_below(line, reason));
    }
    Some(finding)
}

fn refusal(log: &Log) -> Option<Finding> {
    let line = log.find(REFUSAL)?;
    let texts = std::iter::once(&line.coded.message).chain(&line.more);
    let reason = texts
        .filter_map(|text| text.split_once(REFUSAL))
        .next_back()?
        .1;
    let what = format!("The interchange refused to start: {reason}.");
    let finding = Finding::problem("start-refused", what);
    Some(
        finding
            .because("parsl.load() raised with this reason.")
            .shown_by(log.shown_below(line, REFUSAL)),
    )
}

/// Reports the errors in parsl.log that no other rule knows.
fn the_rest(log: &Log) -> Option<Finding> {
    let is_known = |line: &Line| {
        let kinds = KINDS.iter().flat_map(|kind| kind.marks);
        let mut marks = kinds.chain([&FAILED, &REFUSAL]);
        marks.any(|mark| line.has(mark)) || submissions::is_known(line)
    };
    let errors = log
        .lines
        .iter()
        .filter(|line| line.level == Level::Error && !is_known(line));
    let errors: Vec<&Line> = errors.collect();
    let last = errors.last()?;
    let count = counted(errors.len() as u64, "error");
    let what = format!("parsl.log has {count} that doctor has no finding for.");
    let finding = Finding::warning("parsl-errors", what).shown_by(log.shown(last));
    // The exception below a line says more than the line itself.
    Some(match failed_tasks::end_of(&last.more) {
        Some(place) => {
            let (text, number) = (&last.more[place], last.number + 1 + place);
            finding.shown_by(shown(&log.path, number, text))
        }
        None => finding,
    })
}

/// Formats a record as Parsl has written it since 2023.
#[cfg(test)]
pub(super) fn record(level: &str, message: &str) -> String {
    format!("1796016713.5 2026-11-30 05:31:53 P-7 M-1 parsl.x:1 f {level}: {message}\n")
}

#[cfg(test)]
impl ParslLog {
    pub(super) fn from(text: &str) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        let log = Log::chosen(file.path(), is_kept()).ok();
        Self { log }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(text: &str) -> Vec<&'static str> {
        let found = ParslLog::from(text).findings(true);
        found
            .iter()
            .inspect(|one| assert!(!one.evidence.is_empty()))
            .map(|one| one.id)
            .collect()
    }

    #[test]
    fn the_ending_of_a_program_is_recognized() {
        let ending = |text: &str| ParslLog::from(text).ending();
        let cleanup =
            record("INFO", CLEANUP) + &record("INFO", "Tasks in state States.launched: 2");
        match ending(&cleanup) {
            Ending::Cleanup {
                unfinished: 2,
                by_failure: false,
                shown,
            } => {
                assert!(shown.contains("line 2: Tasks in state"), "{shown}");
            }
            Ending::Cleanup { .. } | Ending::Untold | Ending::BrokenOff | Ending::Exit(_) => {
                panic!("it was a cleanup")
            }
        }
        let failed = record("ERROR", "Task 3 failed after 0 retry attempts") + &cleanup;
        assert!(matches!(
            ending(&failed),
            Ending::Cleanup {
                by_failure: true,
                ..
            }
        ));
        let refused = record(
            "DEBUG",
            "Rewriting job 0 from FAILED (Failed to start block 0: x)",
        );
        assert!(matches!(
            ending(&(refused + &cleanup)),
            Ending::Cleanup {
                by_failure: true,
                ..
            }
        ));
        assert!(matches!(
            ending(&record("WARNING", EXITING)),
            Ending::Exit(_)
        ));
        assert!(matches!(ending(&record("WARNING", "x")), Ending::BrokenOff));
        assert!(matches!(ParslLog::default().ending(), Ending::Untold));
    }

    #[test]
    fn jobs_are_read_in_logs_of_each_release() {
        let log = ParslLog::from(
            &(record(
                "DEBUG",
                "[Scaling executor a] Launched block 0 with job ID 17",
            ) + &record("DEBUG", "Launched block 1 on executor a with job ID 18")
                + &record("DEBUG", "Launched block 1 on executor a.b with job ID 19")),
        );
        let expect = [("0", "17"), ("1", "18")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(log.launched("a"), expect);
        assert_eq!(
            launched("Launched block 0->5", "x"),
            Some(("0".to_owned(), "5".to_owned()))
        );
    }

    #[test]
    fn a_block_that_ended_without_managers_is_recognized() {
        let launched = record("INFO", "Launched block 0 on executor a with job ID 17");
        let rewriting = |job| format!("Rewriting job {job} from status x (FAILED) to MISSING");
        let log = |job| ParslLog::from(&(launched.clone() + &record("DEBUG", &rewriting(job))));
        assert!(log("17").has_missed_blocks("a") && !log("17").has_missed_blocks("b"));
        assert!(!log("170").has_missed_blocks("a"));
    }

    #[test]
    fn other_sentences_have_their_finding() {
        for kind in &KINDS {
            for mark in kind.marks {
                assert_eq!(ids(&record("ERROR", mark)), [kind.id], "{mark}");
            }
        }
        assert_eq!(ids(&record("ERROR", "something else")), ["parsl-errors"]);
        let raised = "Callback threw\nTraceback (most recent call last):\n  File x\nKeyError: 'J'";
        let found = ParslLog::from(&record("ERROR", raised)).findings(true);
        let end = found[0].evidence.last().unwrap();
        assert!(end.ends_with("line 4: KeyError: 'J'"), "{end}");
        let refused = record(
            "ERROR",
            "x\nValueError: 'htex-interchange refused to start: a reason'",
        );
        assert_eq!(ids(&refused), ["start-refused"]);
        let of_task = "Task 0 failed after 0 retry attempts\nOSError: No space left on device";
        assert_eq!(ids(&record("ERROR", of_task)), ["tasks-failed"]);
        assert_eq!(ids(&record("INFO", "all is well")), [""; 0]);
    }
}
