//! The tasks that parsl.log says failed, by what they failed with.

use std::collections::BTreeMap;

use super::log::{Level, Log};
use crate::shared::finding::{Finding, Severity};
use crate::shared::words::counted;

pub(super) const FAILED: &str = " failed after ";
pub(super) const TRY_FAILED: &str = " failed with exception of type ";
/// What Parsl raises itself, not the function of a task.
const OWN_EXCEPTIONS: [&str; 14] = [
    "BadStateException",
    "CommandClientTimeoutError",
    "DeserializationError",
    "InterchangeError",
    "ManagerLost",
    "ScaleOutFailed",
    "ScalingFailed",
    "SerializationError",
    "DependencyError",
    "JoinError",
    "SubmitException",
    "TooManyJobFailuresError",
    "VersionMismatch",
    "WorkerLost",
];

/// By the exceptions that they failed with.
pub(super) fn finding(log: &Log) -> Option<Finding> {
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    let mut last_tries: BTreeMap<&str, &str> = BTreeMap::new();
    let mut last = None;
    for line in &log.lines {
        if let Some((named, kind)) = line.message.split_once(TRY_FAILED) {
            last_tries.insert(task_of(named)?, kind.trim());
        }
        let is_failed = line.level == Level::Error && line.message.starts_with("Task ");
        if is_failed && let Some((named, _)) = line.message.split_once(FAILED) {
            let kind = task_of(named).and_then(|task| last_tries.get(task).copied());
            let kind = kind.or_else(|| raised(&line.more)).unwrap_or_default();
            *kinds.entry(kind.to_owned()).or_default() += 1;
            last = Some(line);
        }
    }
    let last = last?;
    let told: Vec<String> = kinds
        .iter()
        .map(|(kind, count)| match kind.as_str() {
            "" => format!("{count} by what is not told"),
            kind => format!("{count} by {kind}"),
        })
        .collect();
    let is_own = |kind: &String| OWN_EXCEPTIONS.contains(&kind.as_str()) || kind.is_empty();
    let of_parsl: Vec<&str> = kinds
        .keys()
        .filter(|kind| is_own(kind) && !kind.is_empty())
        .map(String::as_str)
        .collect();
    let failed = counted(kinds.values().sum(), "task");
    let what = format!(
        "{failed} failed, by the end of parsl.log: {}.",
        told.join(", ")
    );
    let (severity, why) = if !of_parsl.is_empty() {
        let why = format!(
            "Parsl itself raises {}, not a task's function.",
            of_parsl.join(" and ")
        );
        (Severity::Warning, why)
    } else if kinds.contains_key("") {
        (
            Severity::Note,
            "parsl.log does not show what each of them raised.".to_owned(),
        )
    } else {
        let why = "What parsl.log shows was raised while a task's own function ran.";
        (Severity::Note, why.to_owned())
    };
    let finding = Finding::new("tasks-failed", severity, what).because(why);
    Some(finding.shown_by(log.shown(last)))
}

/// `Task 3` and `Task 3 try 0`.
fn task_of(named: &str) -> Option<&str> {
    named.split(' ').nth(1)
}

/// The type that a traceback ends with.
fn raised(traceback: &[String]) -> Option<&str> {
    let begin = traceback
        .iter()
        .rposition(|text| text.starts_with("Traceback "))?;
    let is_end = |text: &&String| !text.is_empty() && !text.starts_with([' ', '\t']);
    let end = traceback[begin + 1..].iter().find(is_end)?;
    end.split(':').next()?.rsplit('.').next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::run::parsl_log::{ParslLog, record};

    #[test]
    fn tasks_are_counted_by_what_they_raised() {
        let failed = |task: u32, kind: &str| {
            record(
                "INFO",
                &format!("Task {task} try 0 failed with exception of type {kind}"),
            ) + &record(
                "ERROR",
                &format!("Task {task} failed after 0 retry attempts"),
            )
        };
        let told = |text: &str| {
            let found = ParslLog::from(text).findings(true);
            (found[0].severity, found[0].what.clone() + &found[0].why)
        };
        let (severity, own) = told(&(failed(1, "ValueError") + &failed(2, "ValueError")));
        assert!(
            severity == Severity::Note && own.contains("2 tasks failed, by the end"),
            "{own}"
        );
        assert!(
            own.contains("2 by ValueError") && own.contains("own function"),
            "{own}"
        );
        let (severity, lost) = told(&(failed(1, "ValueError") + &failed(2, "ManagerLost")));
        assert!(
            severity == Severity::Warning && lost.contains("1 by ManagerLost"),
            "{lost}"
        );
        assert!(!lost.contains("while a task's own function ran"), "{lost}");
        let (_, bare) = told(&record("ERROR", "Task 3 failed after 0 retry attempts"));
        assert!(bare.contains("does not show"), "{bare}");
        let traceback = "Task 3 failed after 0 retry attempts\nTraceback (most recent call):\n  \
                         File x\nparsl.executors.errors.BadStateException: Executor x\n\tError";
        let (_, old) = told(&record("ERROR", traceback));
        assert!(old.contains("1 by BadStateException"), "{old}");
    }
}
