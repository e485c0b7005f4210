//! What an interchange's log says in so many words, and what it means. Parsl's own interchange
//! uses some of the same words.

use std::collections::HashSet;

use super::kind::Kind;
use super::kinds::KINDS;
use super::log::{Level, Line, Log};
use super::parsl_log::{Ending, ParslLog};
use crate::shared::endings::{ENDS, RESTARTED, SUBMIT_SIDE_GONE};
use crate::shared::finding::{Finding, Severity};
use crate::shared::words::counted;

const SAMPLE_CHARACTERS_MAX: usize = 400;

/// Those that another process may have gone on from.
const ENDS_THE_RUN: [&str; 2] = ["own-fault", "interchange-killed"];

/// Who does not come back is lost later; at a run's end every manager goes so.
const DISCONNECTED: &str = " is disconnected, with ";
const LOST: &str = " - removing manager";
const HELD: &str = "Received HOLD_MANAGER for ";
const TASKS_LOST: [&str; 2] = [
    "Reported tasks lost with manager ",
    "Cancelling htex tasks ",
];
const UNANSWERED: &str = "Without an answer: ";
/// Each is the last thing but one that an interchange says, or the last.
const ENDINGS: [&str; 3] = [
    UNANSWERED,
    "has incompatible version info",
    // Parsl's own.
    "Processed ",
];

/// What the lines of one log mean.
pub(super) fn findings(log: &Log, parsl: &ParslLog) -> Vec<Finding> {
    let mut found: Vec<Finding> = KINDS.iter().filter_map(|kind| of_kind(kind, log)).collect();
    found.extend(lost_managers(log));
    found.extend(unanswered(log, parsl));
    found.extend(the_rest(log));
    found
}

/// Whether the log tells of its end.
pub(super) fn has_ending(lines: &[Line]) -> bool {
    let has = |line: &Line| {
        ENDINGS
            .iter()
            .chain(&ENDS)
            .any(|mark| line.message.contains(mark))
    };
    behind_restarts(lines).iter().rev().take(20).any(has)
}

/// What tells of an end before another process went on tells of none.
fn behind_restarts(lines: &[Line]) -> &[Line] {
    let restarted = lines
        .iter()
        .rposition(|line| line.message.contains(RESTARTED));
    &lines[restarted.map_or(0, |place| place + 1)..]
}

pub(super) fn is_registration(line: &Line) -> bool {
    line.message.contains("Registration of manager ")
        || line.message.contains("Registered manager ")
}

fn is_of(kind: &Kind, line: &Line) -> bool {
    kind.marks.iter().any(|mark| line.message.contains(mark))
}

fn of_kind(kind: &Kind, log: &Log) -> Option<Finding> {
    let lines = match ENDS_THE_RUN.contains(&kind.id) {
        true => behind_restarts(&log.lines),
        false => &log.lines,
    };
    let of_it: Vec<&Line> = lines.iter().filter(|line| is_of(kind, line)).collect();
    let last = of_it.last()?;
    let count = match of_it.len() {
        1 => String::new(),
        count => format!(" ({count} lines, of which this is the last)"),
    };
    let what = format!("{}{count}: {}", kind.what, shortened(&last.message));
    Some(kind.finding(what).shown_by(log.shown(last)))
}

fn lost_managers(log: &Log) -> Option<Finding> {
    let lines = &log.lines;
    let lost_lines = losses(lines);
    let lost: Vec<&str> = lost_lines.iter().map(|line| &*line.message).collect();
    let tasks: u64 = lines
        .iter()
        .filter_map(|line| tasks_lost(&line.message))
        .sum();
    let last = lost.last()?;
    let mut hosts: Vec<&str> = lost.iter().filter_map(|message| host_of(message)).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let on = match hosts.len() {
        0 => String::new(),
        1..=8 => format!(" on {}", hosts.join(", ")),
        more => format!(" on {more} hosts, {} among them", hosts[0]),
    };
    let what = format!(
        "Lost: {}{on}, with {}. The last of them: {}",
        counted(lost.len() as u64, "manager"),
        counted(tasks, "task"),
        shortened(last)
    );
    let finding = match tasks {
        0 => Finding::warning("managers-lost", what),
        _ => Finding::problem("managers-lost", what),
    };
    Some(
        finding
            .because("Tasks of a lost manager fail with ManagerLost, unless Parsl tries again.")
            .remedy(
                "Look at the end of that manager's manager.log and at the block's standard error: \
                 it may be a batch job's end, memory that ran out, or a node that went. \
                 Config(retries=1) would run such tasks again.",
            )
            .shown_by(log.shown(lost_lines.last()?)),
    )
}

/// But for those that were held and had no task: Parsl holds the managers of a block that it takes
/// away, and they go as they were meant to.
fn losses(lines: &[Line]) -> Vec<&Line> {
    let mut held: HashSet<&str> = HashSet::new();
    let mut found = Vec::new();
    for (line, place) in lines.iter().zip(1..) {
        let message = line.message.as_str();
        if let Some((_, named)) = message.split_once(HELD) {
            held.insert(named.trim());
        } else if is_registration(line) {
            manager_of(message).map(|manager| held.remove(manager));
        } else if is_loss(line) {
            let manager = manager_of(message);
            // What it had in hand is told next; stock's line names nobody.
            let is_its = |next: &&Line| {
                let named = manager_of(&next.message);
                named.is_none() || named == manager
            };
            let below = lines[place..].iter().take_while(|next| !is_loss(next));
            let tasks = below
                .filter(is_its)
                .find_map(|next| tasks_lost(&next.message));
            let was_held = manager.is_some_and(|manager| held.remove(manager));
            if !was_held || tasks.unwrap_or_default() > 0 {
                found.push(line);
            }
        }
    }
    found
}

fn is_loss(line: &Line) -> bool {
    line.message.contains(LOST)
}

/// `… manager b'eff9c8a286a8' …`.
fn manager_of(message: &str) -> Option<&str> {
    let (_, named) = message.split_once("anager b")?;
    let quote = named
        .chars()
        .next()
        .filter(|first| matches!(first, '\'' | '"'))?;
    let end = named[1..].find(quote)?;
    let begin = message.len() - named.len() - 1;
    message.get(begin..begin + 1 + end + 2)
}

/// `… on node17 (block 3) …`.
fn host_of(message: &str) -> Option<&str> {
    let (before, _) = message.split_once(" (block ")?;
    Some(before.rsplit_once(" on ")?.1)
}

/// Ours says `: 4 [1-3, 9]`, stock a list of ids.
fn tasks_lost(message: &str) -> Option<u64> {
    if !TASKS_LOST.iter().any(|mark| message.contains(mark)) {
        return None;
    }
    let (before, listed) = message.rsplit_once('[')?;
    let counted = before
        .rsplit(": ")
        .next()
        .and_then(|text| text.trim().parse().ok());
    let listed = listed.split(']').next().unwrap_or_default();
    let ids = listed.split(',').filter(|id| !id.trim().is_empty()).count();
    counted.or(u64::try_from(ids).ok())
}

/// Tasks that were there when the interchange ended.
fn unanswered(log: &Log, parsl: &ParslLog) -> Option<Finding> {
    let of_it = |line: &&Line| line.message.contains(UNANSWERED);
    let last = log.lines.iter().rev().find(of_it)?;
    let (_, told) = last.message.split_once(UNANSWERED)?;
    let number = |word: &str| -> Option<u64> {
        let (_, rest) = told.split_once(word)?;
        rest.trim_start().split(' ').next()?.parse().ok()
    };
    let (queued, in_flight) = (number("queued")?, number("in flight")?);
    if queued + in_flight == 0 {
        return None;
    }
    let were = if in_flight == 1 { "was" } else { "were" };
    let queued = counted(queued, "task");
    let what = format!("At the end {queued} waited, and {in_flight} {were} in managers' hands.");
    let finding = Finding::warning("tasks-unanswered", what).shown_by(log.shown(last));
    Some(why_unanswered(finding, log, parsl))
}

/// A cause is told where it is shown.
fn why_unanswered(finding: Finding, log: &Log, parsl: &ParslLog) -> Finding {
    if let Some(shown) = parsl.bad_state() {
        let why = "Parsl had given up on the executor before, and had failed them.";
        return finding.because(why).shown_by(shown);
    }
    let gone = log.find(SUBMIT_SIDE_GONE).map(|line| log.shown(line));
    match (parsl.ending(), gone) {
        (Ending::Exit(shown), _) => finding
            .because(
                "The program's Python ended before them, and did not clean Parsl up: at its end, \
                 by an exception or by Ctrl-C; the log does not tell which.",
            )
            .shown_by(shown),
        (Ending::BrokenOff | Ending::Untold, Some(gone)) => finding
            .because(
                "The submit process ended first, without cleaning Parsl up: it may have been \
                 killed, or may have left before its tasks were done.",
            )
            .shown_by(gone),
        (
            Ending::Cleanup {
                unfinished: 1..,
                shown,
                by_failure: false,
            },
            _,
        ) => finding
            .because("Parsl's cleanup began while they were not done, and nothing had failed.")
            .remedy(
                "Unless it was interrupted, the program did not wait: one that wants all results \
                 waits for its futures.",
            )
            .shown_by(shown),
        (
            Ending::Cleanup {
                shown, by_failure, ..
            },
            _,
        ) => finding
            .because(match by_failure {
                true => {
                    "Parsl's cleanup began while they were not done. Something had failed before, \
                     by which the program may have ended; parsl.log has it."
                }
                false => {
                    "Parsl had its answer to each of its tasks: these may have been cancelled, \
                     failed or run elsewhere."
                }
            })
            .shown_by(shown),
        (Ending::BrokenOff | Ending::Untold, None) => {
            finding.because("The interchange was ended before they were done; why is not shown.")
        }
    }
}

/// Warnings and errors that have no finding of their own.
fn the_rest(log: &Log) -> Vec<Finding> {
    let is_known = |line: &Line| {
        let marks = [
            LOST,
            DISCONNECTED,
            UNANSWERED,
            SUBMIT_SIDE_GONE,
            "Refused a peer at ",
        ];
        KINDS.iter().any(|kind| is_of(kind, line))
            || marks
                .iter()
                .chain(&TASKS_LOST)
                .any(|mark| line.message.contains(mark))
    };
    let mut found = Vec::new();
    for (level, severity, id, name) in [
        (Level::Error, Severity::Warning, "log-errors", "error"),
        (Level::Warning, Severity::Note, "log-warnings", "warning"),
    ] {
        let of_it = || {
            let lines = log.lines.iter();
            lines.filter(|line| line.level == level && !is_known(line))
        };
        let Some(last) = of_it().next_back() else {
            continue;
        };
        let what = format!(
            "The log has {} of no kind known here. The last of them: {}",
            counted(of_it().count() as u64, name),
            shortened(&last.message)
        );
        found.push(Finding::new(id, severity, what).shown_by(log.shown(last)));
    }
    found
}

fn shortened(message: &str) -> String {
    let mut text: String = message.chars().take(SAMPLE_CHARACTERS_MAX).collect();
    if text.len() < message.len() {
        text.push('…');
    }
    if !text.ends_with(['.', '…', '!']) {
        text.push('.');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::run::log::log_of;

    fn ids(texts: &[(Level, &str)]) -> Vec<(&'static str, Severity)> {
        let found = findings(&log_of(texts), &ParslLog::default());
        assert!(found.iter().all(|finding| !finding.evidence.is_empty()));
        found
            .iter()
            .map(|finding| (finding.id, finding.severity))
            .collect()
    }

    #[test]
    fn a_good_log_says_nothing() {
        let good = [
            (
                Level::Warning,
                "Manager b'a' is disconnected, with 0 tasks in flight; it gets no more",
            ),
            (
                Level::Info,
                "Registration of manager b'a' on n (block 0): capacity 1",
            ),
            (
                Level::Info,
                "Exiting on SIGTERM. Without an answer: queued 0 [], in flight 0 []",
            ),
        ];
        assert_eq!(ids(&good), []);
        assert!(has_ending(&log_of(&good).lines));
        assert!(!has_ending(&log_of(&good[..2]).lines));
    }

    #[test]
    fn an_end_that_another_process_went_on_from_is_none() {
        let lines = [
            (Level::Error, "A fault of htex-interchange itself: oh"),
            (Level::Error, "htex-interchange could not go on: no socket"),
            (
                Level::Warning,
                "Restarted after the interchange ended with status 70, 9 ms after its end; restart \
                 number 2",
            ),
            (Level::Error, "htex-interchange was killed (SIGKILL)"),
        ];
        let note = ("restarted", Severity::Note);
        assert_eq!(ids(&lines[..3]), [note]);
        assert!(!has_ending(&log_of(&lines[..3]).lines));
        let killed = ("interchange-killed", Severity::Problem);
        assert_eq!(ids(&lines), [killed, note]);
        assert!(has_ending(&log_of(&lines).lines));
    }

    #[test]
    fn lost_managers_weigh_by_their_tasks() {
        let lost = (
            Level::Warning,
            "Too many heartbeats missed for manager b'a' on n17 (block 0) - removing manager: \
             nothing heard for 4.0 s",
        );
        assert_eq!(ids(&[lost]), [("managers-lost", Severity::Warning)]);
        let tasks = (
            Level::Warning,
            "Reported tasks lost with manager b'a': 4 [1-3, 9]",
        );
        let found = findings(&log_of(&[lost, lost, tasks]), &ParslLog::default());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].severity, Severity::Problem);
        assert!(
            found[0]
                .what
                .starts_with("Lost: 2 managers on n17, with 4 tasks")
        );
        let stock = "Cancelling htex tasks [5, 6] on removed manager";
        assert_eq!(tasks_lost(stock), Some(2));
    }

    #[test]
    fn a_held_manager_without_tasks_goes_as_it_was_meant_to() {
        let held = (Level::Info, "Received HOLD_MANAGER for b'a'");
        let came = (Level::Info, "Registration of manager b'a' on n (block 0)");
        let lost = (
            Level::Warning,
            "Manager b'a' on n (block 0) has not come back in the 4.0 s since its connection \
             closed - removing manager",
        );
        let stock = (
            Level::Warning,
            "Too many heartbeats missed for manager b'a' - removing manager",
        );
        let none = (
            Level::Warning,
            "Cancelling htex tasks [] on removed manager",
        );
        let some = (
            Level::Warning,
            "Cancelling htex tasks [5] on removed manager",
        );
        let with = |name| (Level::Warning, name);
        let own = with("Reported tasks lost with manager b'a': 1 [5]");
        let other = with("Reported tasks lost with manager b'b': 1 [5]");
        for good in [
            &[held, lost][..],
            &[held, stock, none],
            &[held, lost, came, held, lost],
            &[held, lost, other],
        ] {
            assert_eq!(ids(good), [], "{good:?}");
        }
        for bad in [
            &[lost, held][..],
            &[held, came, lost],
            &[held, lost, lost],
            &[held, stock, some],
            &[held, lost, own],
        ] {
            let found = ids(bad);
            assert!(
                matches!(found[..], [("managers-lost", _)]),
                "{bad:?}: {found:?}"
            );
        }
    }

    #[test]
    fn tasks_without_an_answer_are_counted() {
        let gone = (
            Level::Info,
            "The submit side is gone (how); telling all managers to exit",
        );
        let left = (
            Level::Warning,
            "Without an answer: queued 1 [1], in flight 2 [2-3]",
        );
        let found = findings(&log_of(&[gone, left]), &ParslLog::default());
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].what,
            "At the end 1 task waited, and 2 were in managers' hands."
        );
        assert!(found[0].why.contains("submit process ended first"));
    }

    #[test]
    fn a_program_is_told_to_wait_only_where_it_did_not() {
        let left = (
            Level::Warning,
            "Without an answer: queued 1 [1], in flight 2 [2-3]",
        );
        let begin = "1796016713.5 2026-11-30 05:31:53 P-7 M-1 parsl.x:1 f";
        let cleanup = format!(
            "{begin} INFO: DFK cleanup initiated\n{begin} INFO: Tasks in state States.launched: 3\n"
        );
        let failed = format!("{begin} ERROR: Task 0 failed after 0 retry attempts\n{cleanup}");
        let bad = format!("{begin} ERROR: Setting bad state due to exception\n{cleanup}");
        let exit = format!("{begin} WARNING: Python is exiting with a DFK still running. You\n");
        for (text, waits, why) in [
            (cleanup.as_str(), true, "nothing had failed"),
            (&failed, false, "Something had failed before"),
            (&bad, false, "had given up on the executor"),
            (&exit, false, "the log does not tell which"),
            ("", false, "why is not shown"),
        ] {
            let found = findings(&log_of(&[left]), &ParslLog::from(text));
            assert!(found[0].why.contains(why), "{found:?}");
            assert_eq!(found[0].remedy.contains("waits for its futures"), waits);
        }
    }

    #[test]
    fn each_kind_has_its_finding_and_the_rest_is_counted() {
        for kind in &KINDS {
            let found = ids(&[(Level::Warning, kind.marks[0])]);
            assert_eq!(found, [(kind.id, kind.severity)]);
        }
        let rest = [
            (Level::Error, "x"),
            (Level::Warning, "y"),
            (Level::Info, "z"),
        ];
        let expected = [
            ("log-errors", Severity::Warning),
            ("log-warnings", Severity::Note),
        ];
        assert_eq!(ids(&rest), expected);
    }
}
