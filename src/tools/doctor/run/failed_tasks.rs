//! The tasks that failed according to parsl.log, grouped by their exceptions.

use std::collections::BTreeMap;

use super::log::{Level, Line, Log};
use crate::shared::finding::{Finding, Severity};
use crate::shared::words::counted;

pub(super) const FAILED: &str = " failed after ";
pub(super) const TRY_FAILED: &str = " failed with exception of type ";
/// Logged at level DEBUG, and only for join tasks.
pub(super) const JOIN_FAILED: &str = " failed due to failure of ";
/// Exception of a task that lacks another task's result. Parsl does not retry such a task, and logs
/// no line with `FAILED` for it.
const DEPENDENCY: &str = "DependencyError";
const JOIN: &str = "JoinError";
/// Exception that Parsl raises for a task whose worker process ended while it ran the task.
pub(super) const WORKER_LOST: &str = "WorkerLost";
/// Exceptions that Parsl itself raises, not the function of a task.
const OWN_EXCEPTIONS: [&str; 12] = [
    "BadStateException",
    "CommandClientTimeoutError",
    "DeserializationError",
    "InterchangeError",
    "ManagerLost",
    "ScaleOutFailed",
    "ScalingFailed",
    "SerializationError",
    "SubmitException",
    "TooManyJobFailuresError",
    "VersionMismatch",
    WORKER_LOST,
];

/// Reports the failed tasks, counted by exception.
pub(super) fn finding(log: &Log) -> Option<Finding> {
    let mut failed: BTreeMap<&str, &str> = BTreeMap::new();
    let mut last_tries: BTreeMap<&str, &str> = BTreeMap::new();
    let mut last = None;
    for line in &log.lines {
        let Some((named, kind)) = failure(line, &mut last_tries) else {
            continue;
        };
        failed.insert(named, kind);
        last = Some(line);
    }
    let last = last?;
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for kind in failed.into_values() {
        *kinds.entry(kind).or_default() += 1;
    }
    let told: Vec<String> = kinds
        .iter()
        .map(|(kind, count)| match *kind {
            "" => format!("{count} for an unknown reason"),
            kind => format!("{count} with {kind}"),
        })
        .collect();
    let failed = counted(kinds.values().sum(), "task");
    let what = format!(
        "{failed} failed, according to parsl.log: {}.",
        told.join(", ")
    );
    let (severity, why) = why(&kinds);
    let remedy = match kinds.contains_key(WORKER_LOST) {
        true => {
            "WorkerLost: the worker's process ended while it ran the task. Memory ran out, the \
             task called sys.exit() or os._exit(), or compiled code crashed. parsl.log has the \
             task's name and number: run it alone, and look at its node's log (dmesg)."
        }
        false => "",
    };
    let finding = Finding::new("tasks-failed", severity, what)
        .because(why)
        .remedy(remedy);
    Some(finding.shown_by(log.shown(last)))
}

/// Returns the task that a line reports as failed for good, and the exception's type.
fn failure<'a>(
    line: &'a Line,
    last_tries: &mut BTreeMap<&'a str, &'a str>,
) -> Option<(&'a str, &'a str)> {
    if let Some((named, kind)) = line.coded.message.split_once(TRY_FAILED) {
        let (task, kind) = (task_of(named)?, kind.trim());
        last_tries.insert(task, kind);
        return (kind == DEPENDENCY).then_some((task, kind));
    }
    if !line.coded.message.starts_with("Task ") {
        return None;
    }
    if let Some((named, _)) = line.coded.message.split_once(JOIN_FAILED) {
        return Some((task_of(named)?, JOIN));
    }
    let (named, _) = line
        .coded
        .message
        .split_once(FAILED)
        .filter(|_| is_one(line))?;
    let task = task_of(named)?;
    let kind = last_tries.get(task).copied();
    let kind = kind.or_else(|| raised(&line.more)).unwrap_or_default();
    Some((task, kind))
}

/// Whether a line reports a failed task, with the exception below.
pub(super) fn is_one(line: &Line) -> bool {
    line.level == Level::Error
        && line.coded.message.starts_with("Task ")
        && line.coded.message.contains(FAILED)
}

/// Returns the severity and the explanation for these exceptions.
fn why(kinds: &BTreeMap<&str, u64>) -> (Severity, String) {
    let kinds_of = |is_of: fn(&str) -> bool| {
        let of_it: Vec<&str> = kinds.keys().copied().filter(|kind| is_of(kind)).collect();
        of_it.join(", ")
    };
    let of_parsl = kinds_of(|kind| OWN_EXCEPTIONS.contains(&kind));
    let of_others = kinds_of(|kind| [DEPENDENCY, JOIN].contains(&kind));
    let of_functions = kinds_of(|kind| {
        !kind.is_empty() && !OWN_EXCEPTIONS.contains(&kind) && ![DEPENDENCY, JOIN].contains(&kind)
    });
    let (severity, mut why) = if !of_parsl.is_empty() {
        let why =
            format!("Parsl itself raised these exceptions, not a task's function: {of_parsl}.");
        (Severity::Warning, why)
    } else if kinds.contains_key("") {
        let why = "parsl.log does not show which exception each of them raised.";
        (Severity::Note, why.to_owned())
    } else if !of_functions.is_empty() {
        let why = format!("A task's own function raised these exceptions: {of_functions}.");
        (Severity::Note, why)
    } else {
        (Severity::Note, String::new())
    };
    if !of_others.is_empty() {
        if !why.is_empty() {
            why.push(' ');
        }
        why +=
            &format!("These tasks needed the result of another task that had failed: {of_others}.");
    }
    (severity, why)
}

/// Returns the task's number from `Task 3` or `Task 3 try 0`.
fn task_of(named: &str) -> Option<&str> {
    named.split(' ').nth(1)
}

/// Returns the type of the exception that ends a traceback.
fn raised(traceback: &[String]) -> Option<&str> {
    let end = &traceback[end_of_traceback(traceback)?];
    end.split(':').next()?.rsplit('.').next()
}

/// Returns the index of the most informative line below a record: the exception that ends a
/// traceback, or else the last line.
pub(super) fn end_of(more: &[String]) -> Option<usize> {
    let last = || more.iter().rposition(|text| !text.trim().is_empty());
    end_of_traceback(more).or_else(last)
}

fn end_of_traceback(traceback: &[String]) -> Option<usize> {
    let begin = traceback
        .iter()
        .rposition(|text| text.starts_with("Traceback "))?;
    let is_end = |text: &String| !text.is_empty() && !text.starts_with([' ', '\t']);
    Some(begin + 1 + traceback[begin + 1..].iter().position(is_end)?)
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
            severity == Severity::Note && own.contains("2 tasks failed, according to"),
            "{own}"
        );
        assert!(
            own.contains("2 with ValueError") && own.contains("own function"),
            "{own}"
        );
        let (severity, lost) = told(&(failed(1, "ValueError") + &failed(2, "ManagerLost")));
        assert!(
            severity == Severity::Warning && lost.contains("1 with ManagerLost"),
            "{lost}"
        );
        assert!(!lost.contains("A task's own function"), "{lost}");
        assert!(!lost.contains("process ended"), "{lost}");
        let died = ParslLog::from(&failed(1, "WorkerLost"));
        let advice = died.findings(true)[0].advice();
        assert!(
            died.has_lost_workers() && advice.contains("process ended"),
            "{advice}"
        );
        let needs_another = failed(1, "ValueError")
            + &record(
                "INFO",
                "Task 2 try 0 failed with exception of type DependencyError",
            )
            + &record(
                "INFO",
                "Task 2 failed due to dependency failure so skipping retries",
            )
            + &record(
                "DEBUG",
                "Task 3 failed due to failure of an inner join future",
            );
        let (severity, told_of) = told(&needs_another);
        assert!(
            severity == Severity::Note
                && told_of.contains("3 tasks failed")
                && told_of.contains("1 with DependencyError, 1 with JoinError, 1 with ValueError")
                && told_of.contains("of another task that had failed: DependencyError, JoinError."),
            "{told_of}"
        );
        let (_, bare) = told(&record("ERROR", "Task 3 failed after 0 retry attempts"));
        assert!(bare.contains("does not show"), "{bare}");
        let traceback = "Task 3 failed after 0 retry attempts\nTraceback (most recent call):\n  \
                         File x\nparsl.executors.errors.BadStateException: Executor x\n\tError";
        let (_, old) = told(&record("ERROR", traceback));
        assert!(old.contains("1 with BadStateException"), "{old}");
    }
}
