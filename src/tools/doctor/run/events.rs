//! What an interchange's log says in so many words, and what it means. Parsl's own interchange
//! uses some of the same words.

use std::collections::HashSet;

use super::kind::Kind;
use super::log::{Level, Line, Log};
use super::parsl_log::{Ending, ParslLog, REFUSAL};
use crate::shared::endings::{ENDS, KILLED, OWN_FAULT, SUBMIT_SIDE_GONE};
use crate::shared::finding::{Finding, Severity};
use crate::shared::words::counted;

const SAMPLE_CHARACTERS_MAX: usize = 400;

/// The number of such lines stands behind what is the case.
const KINDS: [Kind; 13] = [
    Kind {
        id: "refused-start",
        severity: Severity::Problem,
        marks: &[REFUSAL],
        what: "The interchange refused to start",
        why: "parsl.load() raised with this reason.",
        remedy: "`htex-interchange doctor CONFIG.py` tells what to change.",
    },
    Kind {
        id: "version-mismatch",
        severity: Severity::Problem,
        marks: &["has incompatible version info"],
        what: "A manager had other versions than the submit side",
        why: "As in Parsl, one such manager ends the run: every task fails with VersionMismatch.",
        remedy: "Let the provider's worker_init enter an environment with the same Python and \
                 Parsl.",
    },
    Kind {
        id: "own-fault",
        severity: Severity::Problem,
        marks: &[OWN_FAULT],
        what: "The interchange ended by a fault of its own",
        why: "Every task failed with the reason.",
        remedy: "Please report it, with the log.",
    },
    Kind {
        id: "interchange-killed",
        severity: Severity::Problem,
        marks: &KILLED,
        what: "The interchange was killed",
        why: "Every task without a result failed, and the managers were told to exit.",
        remedy: "The kernel's log (dmesg) tells of memory that ran out. Report other signals.",
    },
    Kind {
        id: "descriptors-ran-out",
        severity: Severity::Problem,
        marks: &["because descriptors run out"],
        what: "Managers were not let in, because descriptors ran out",
        why: "Each manager takes one; those that were connected were served.",
        remedy: "Raise the hard limit (ulimit -Hn) where the run is started, or ask for fewer \
                 blocks.",
    },
    Kind {
        id: "descriptors-scarce",
        severity: Severity::Warning,
        marks: &["descriptors are in use. Each manager needs one"],
        what: "Descriptors became scarce",
        why: "At 95 % of the limit no more managers are let in.",
        remedy: "Raise the hard limit (ulimit -Hn) where the run is started.",
    },
    Kind {
        id: "keys-refused",
        severity: Severity::Warning,
        marks: &["Handshake refused to "],
        what: "Peers were refused, whose key is not in the certificate directory",
        why: "They may be managers of another run, or of an earlier one, or strangers.",
        remedy: "If they should belong to this run: managers must read the very files of cert_dir.",
    },
    Kind {
        id: "handshakes-failed",
        severity: Severity::Warning,
        marks: &["Handshake failed with "],
        what: "Connections to the worker port failed",
        why: "Who speaks otherwise than the port (encrypted or not) is no manager of this run, or \
              has another server's key.",
        remedy: "Look at the addresses in the log.",
    },
    Kind {
        id: "suspended",
        severity: Severity::Warning,
        marks: &["This process did not run for "],
        what: "The interchange's process did not run for a time",
        why: "It may have been stopped (SIGSTOP, a suspended machine) or got no processor; no \
              manager is blamed for that time, and no task was moved in it.",
        remedy: "If nobody stopped it: the machine is overloaded, or its memory is.",
    },
    Kind {
        id: "selector-failed",
        severity: Severity::Warning,
        marks: &[
            "The manager selector failed",
            "The manager selector is not used any more",
            "The manager selector took too long",
            "The process of the manager selector has ended",
        ],
        what: "The manager selector did not do its work",
        why: "Managers were taken at random instead.",
        remedy: "Its traceback is in the log.",
    },
    Kind {
        id: "held-up",
        severity: Severity::Warning,
        marks: &["of unsent results are held: no more tasks are taken"],
        what: "Tasks waited in the submit process, because the interchange held too many bytes",
        why: "More may have come than managers took, or the executor may not have taken results.",
        remedy: "More workers would help, or a larger --max-queued-bytes.",
    },
    Kind {
        id: "no-manager-fits",
        severity: Severity::Warning,
        marks: &[
            " for a block whose managers can hold ",
            ", which runs others of the same affinity and cannot hold ",
        ],
        what: "Tasks asked for more than any manager had",
        why: "Such a task waits until a block comes that has it; each kind of them is told once.",
        remedy: "Ask for what a manager has (cores, memory, running_time_min, node), or for other \
                 blocks.",
    },
    Kind {
        id: "bad-messages",
        severity: Severity::Warning,
        marks: &[
            "Failed to read manager message",
            "Dropping a task message",
            "cannot be read and is failed",
            "cannot be passed on",
            "Failed to read a command",
        ],
        what: "Messages could not be read",
        why: "Who sent them may speak another release's words, or be no part of Parsl.",
        remedy: "Look at their senders in the log.",
    },
];

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
    lines.iter().rev().take(20).any(has)
}

pub(super) fn is_registration(line: &Line) -> bool {
    line.message.contains("Registration of manager ")
        || line.message.contains("Registered manager ")
}

fn is_of(kind: &Kind, line: &Line) -> bool {
    kind.marks.iter().any(|mark| line.message.contains(mark))
}

fn of_kind(kind: &Kind, log: &Log) -> Option<Finding> {
    let of_it: Vec<&Line> = log.lines.iter().filter(|line| is_of(kind, line)).collect();
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
