//! What the lines of an interchange's log mean. Lines of htex-interchange are recognized by their
//! codes and have counts in fields. Lines of Parsl's own interchange are recognized by their words.

use std::collections::HashSet;

use codes::Code;

use super::kinds::{KINDS, LineKind};
use super::log::{Level, Line, Log};
use super::parsl_log::{Ending, ParslLog};
use crate::shared::finding::{Finding, Severity};
use crate::shared::words::counted;

const SAMPLE_CHARACTERS_MAX: usize = 400;

/// Kinds of endings after which another process may have continued the run.
const ENDS_THE_RUN: [&str; 2] = ["internal-error", "interchange-killed"];

/// Messages of Parsl's own interchange.
mod stock {
    pub(super) const REGISTERED: &str = "Registered manager ";
    pub(super) const LOST: &str = " - removing manager";
    pub(super) const HELD: &str = "Received HOLD_MANAGER for ";
    pub(super) const TASKS_LOST: &str = "Cancelling htex tasks ";
    /// One of these messages is the last or the second to last of a complete log.
    pub(super) const ENDINGS: [&str; 2] = ["has incompatible version info", "Processed "];
}

/// Codes of lines that count the tasks without a result at the interchange's end.
const UNANSWERED: [&Code; 3] = [
    &codes::TASKS_UNANSWERED,
    &codes::EXITING,
    &codes::KEEPER_GONE,
];
/// Codes of warnings that need no finding, or have a finding that is not a [`LineKind`].
const KNOWN: [&Code; 4] = [
    &codes::MANAGER_LOST,
    &codes::TASKS_LOST,
    &codes::TASKS_UNANSWERED,
    // Another line, with codes::KEY_REFUSED, reports the same peer.
    &codes::PEER_REFUSED,
];

/// Returns the findings that the lines of one log show.
pub(super) fn findings(log: &Log, parsl: &ParslLog) -> Vec<Finding> {
    let mut found: Vec<Finding> = KINDS.iter().filter_map(|kind| of_kind(kind, log)).collect();
    found.extend(lost_managers(log));
    found.extend(unanswered(log, parsl));
    found.extend(the_rest(log));
    found
}

/// Whether the log shows its interchange's end.
pub(super) fn has_ending(lines: &[Line]) -> bool {
    let has = |line: &Line| match line.coded.code {
        Some(_) => line.coded.is_end() || line.is(&codes::TASKS_UNANSWERED),
        None => stock::ENDINGS
            .iter()
            .any(|mark| line.coded.message.contains(mark)),
    };
    behind_restarts(lines).iter().rev().take(20).any(has)
}

/// Returns the lines after the last restart. An ending before a restart does not count, because
/// another process continued the run.
fn behind_restarts(lines: &[Line]) -> &[Line] {
    let restarted = lines.iter().rposition(|line| line.is(&codes::RESTARTED));
    &lines[restarted.map_or(0, |place| place + 1)..]
}

pub(super) fn is_registration(line: &Line) -> bool {
    match line.coded.code {
        Some(_) => line.is(&codes::MANAGER_REGISTERED),
        None => line.coded.message.contains(stock::REGISTERED),
    }
}

fn of_kind(kind: &LineKind, log: &Log) -> Option<Finding> {
    let lines = match ENDS_THE_RUN.contains(&kind.kind.id) {
        true => behind_restarts(&log.lines),
        false => &log.lines,
    };
    let of_it: Vec<&Line> = lines.iter().filter(|line| kind.is_of(line)).collect();
    let last = of_it.last()?;
    let count = match of_it.len() {
        1 => String::new(),
        count => format!(" ({count} lines, of which this is the last)"),
    };
    let what = format!(
        "{}{count}: {}",
        kind.kind.what,
        shortened(&last.coded.message)
    );
    Some(kind.kind.finding(what).shown_by(log.shown(last)))
}

fn lost_managers(log: &Log) -> Option<Finding> {
    let lines = &log.lines;
    let lost = losses(lines);
    let tasks: u64 = lines.iter().filter_map(tasks_lost).sum();
    let last = lost.last()?;
    let mut hosts: Vec<&str> = lost
        .iter()
        .filter_map(|line| line.coded.field("host"))
        .collect();
    hosts.sort_unstable();
    hosts.dedup();
    let on = match hosts.len() {
        0 => String::new(),
        1..=8 => format!(" on {}", hosts.join(", ")),
        more => format!(" on {more} hosts, for example {}", hosts[0]),
    };
    let what = format!(
        "Lost: {}{on}, with {}. The last loss: {}",
        counted(lost.len() as u64, "manager"),
        counted(tasks, "task"),
        shortened(&last.coded.message)
    );
    let finding = match tasks {
        0 => Finding::warning("manager-lost", what),
        _ => Finding::problem("manager-lost", what),
    };
    Some(
        finding
            .because("Tasks of a lost manager fail with ManagerLost, unless Parsl retries them.")
            .remedy(
                "Look at the end of that manager's manager.log and at the block's standard error. \
                 The batch job may have ended, memory may have run out, or the node may have \
                 failed. With Config(retries=1), Parsl would run such tasks again.",
            )
            .shown_by(log.shown(last)),
    )
}

/// Returns the lines that report lost managers. Managers that were held and had no task do not
/// count: Parsl holds the managers of a block that it is about to remove, so their loss is
/// intended.
fn losses(lines: &[Line]) -> Vec<&Line> {
    let mut held: HashSet<&str> = HashSet::new();
    let mut found = Vec::new();
    for (line, place) in lines.iter().zip(1..) {
        if line.is(&codes::MANAGER_LOST) {
            let was_held = line.coded.field("held") == Some("true");
            if !was_held || line.coded.number("tasks") != Some(0) {
                found.push(line);
            }
        }
        if line.coded.code.is_some() {
            continue;
        }
        let message = line.coded.message.as_str();
        if let Some((_, named)) = message.split_once(stock::HELD) {
            held.insert(named.trim());
        } else if is_registration(line) {
            manager_of(message).map(|manager| held.remove(manager));
        } else if message.contains(stock::LOST) {
            // The tasks of the lost manager are in a line that follows.
            let is_loss = |line: &Line| line.coded.message.contains(stock::LOST);
            let mut below = lines[place..].iter().take_while(|next| !is_loss(next));
            let tasks = below.find_map(tasks_lost);
            let was_held = manager_of(message).is_some_and(|manager| held.remove(manager));
            if !was_held || tasks.unwrap_or_default() > 0 {
                found.push(line);
            }
        }
    }
    found
}

/// Returns the manager's id from a line of Parsl's own interchange: `… manager b'eff9c8a286a8' …`.
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

/// Returns how many tasks a line reports as lost. Parsl's own interchange lists the tasks' ids.
fn tasks_lost(line: &Line) -> Option<u64> {
    if line.is(&codes::TASKS_LOST) {
        return line.coded.number("tasks");
    }
    let message = &line.coded.message;
    if line.coded.code.is_some() || !message.contains(stock::TASKS_LOST) {
        return None;
    }
    let (_, listed) = message.rsplit_once('[')?;
    let listed = listed.split(']').next().unwrap_or_default();
    let ids = listed.split(',').filter(|id| !id.trim().is_empty()).count();
    u64::try_from(ids).ok()
}

/// Reports the tasks that had no result when the interchange ended.
fn unanswered(log: &Log, parsl: &ParslLog) -> Option<Finding> {
    let of_it = |line: &&Line| UNANSWERED.iter().any(|code| line.is(code));
    let last = log.lines.iter().rev().find(of_it)?;
    let number = |key| last.coded.number(key);
    let (queued, in_flight) = (number("queued")?, number("in_flight")?);
    if queued + in_flight == 0 {
        return None;
    }
    let were = if in_flight == 1 { "was" } else { "were" };
    let queued = counted(queued, "task");
    let what = format!("At the end {queued} waited, and {in_flight} {were} in flight on managers.");
    let finding = Finding::warning("tasks-unanswered", what).shown_by(log.shown(last));
    Some(why_unanswered(finding, log, parsl))
}

/// Adds the cause of unanswered tasks to the finding, if a log shows the cause.
fn why_unanswered(finding: Finding, log: &Log, parsl: &ParslLog) -> Finding {
    if let Some(shown) = parsl.bad_state() {
        let why = "Parsl had already given up on the executor, and had failed these tasks.";
        return finding.because(why).shown_by(shown);
    }
    let mut gone = log.lines.iter().rev();
    let gone = gone.find(|line| line.is(&codes::SUBMIT_SIDE_GONE));
    let gone = gone.map(|line| log.shown(line));
    match (parsl.ending(), gone) {
        (Ending::Exit(shown), _) => finding
            .because(
                "The program's Python ended before these tasks, without Parsl's cleanup: at its \
                 normal end, by an exception, or by Ctrl-C; the log does not show which.",
            )
            .shown_by(shown),
        (Ending::BrokenOff | Ending::Untold, Some(gone)) => finding
            .because(
                "The submit process ended first, without Parsl's cleanup: it may have been killed, \
                 or may have ended before its tasks were done.",
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
            .because(
                "Parsl's cleanup began while these tasks were not done, and nothing had failed.",
            )
            .remedy(
                "Unless it was interrupted, the program did not wait for its tasks. To get all \
                 results, let it wait for its futures.",
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
                    "Parsl's cleanup began while these tasks were not done. An earlier failure, \
                     which parsl.log shows, may have ended the program."
                }
                false => {
                    "Parsl had a final state for each of its tasks: these tasks may have been \
                     cancelled, may have failed, or may have run elsewhere."
                }
            })
            .shown_by(shown),
        (Ending::BrokenOff | Ending::Untold, None) => finding.because(
            "The interchange was ended before these tasks were done; the logs do not show why.",
        ),
    }
}

/// Reports warnings and errors that have no finding of their own.
fn the_rest(log: &Log) -> Vec<Finding> {
    let is_known = |line: &Line| {
        let has = |mark| line.coded.message.contains(mark);
        let is_of_stock = line.coded.code.is_none() && (has(stock::LOST) || has(stock::TASKS_LOST));
        let is_of_kind = || KINDS.iter().any(|kind| kind.is_of(line));
        is_of_stock || KNOWN.iter().any(|code| line.is(code)) || is_of_kind()
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
            "The log has {} that doctor has no finding for. The last of them: {}",
            counted(of_it().count() as u64, name),
            shortened(&last.coded.message)
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
    fn a_good_log_has_no_findings() {
        let good = [
            (Level::Info, "any words [manager-disconnected]"),
            (Level::Info, "any words [manager-registered]"),
            (Level::Info, "any words queued=0 in_flight=0 [exiting]"),
        ];
        assert_eq!(ids(&good), []);
        assert!(has_ending(&log_of(&good).lines));
        assert!(!has_ending(&log_of(&good[..2]).lines));
    }

    #[test]
    fn an_end_before_a_restart_does_not_count() {
        let lines = [
            (Level::Error, "oh [internal-error]"),
            (Level::Error, "no socket [restart-failed]"),
            (Level::Warning, "number 2 [restarted]"),
            (Level::Error, "by SIGKILL [interchange-killed]"),
        ];
        let note = ("restarted", Severity::Note);
        assert_eq!(ids(&lines[..3]), [note]);
        assert!(!has_ending(&log_of(&lines[..3]).lines));
        let killed = ("interchange-killed", Severity::Problem);
        assert_eq!(ids(&lines), [killed, note]);
        assert!(has_ending(&log_of(&lines).lines));
    }

    #[test]
    fn the_severity_of_lost_managers_depends_on_their_tasks() {
        // The code of a line decides, whatever its text is.
        let lost = (
            Level::Warning,
            "any words host=n17 held=false tasks=4 [manager-lost]",
        );
        assert_eq!(ids(&[lost]), [("manager-lost", Severity::Warning)]);
        let tasks = (Level::Warning, "other words tasks=4 [tasks-lost]");
        let found = findings(&log_of(&[lost, lost, tasks]), &ParslLog::default());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].severity, Severity::Problem);
        assert!(
            found[0]
                .what
                .starts_with("Lost: 2 managers on n17, with 4 tasks")
        );
        let stock = "Cancelling htex tasks [5, 6] on removed manager";
        let stock = log_of(&[(Level::Warning, stock)]);
        assert_eq!(tasks_lost(&stock.lines[0]), Some(2));
    }

    #[test]
    fn a_held_manager_without_tasks_is_no_loss() {
        let warned = |text| (Level::Warning, text);
        let lost = |text| ids(&[warned(text)]);
        assert_eq!(lost("gone held=true tasks=0 [manager-lost]"), []);
        for bad in [
            "gone held=false tasks=0 [manager-lost]",
            "gone held=true tasks=1 [manager-lost]",
        ] {
            assert!(matches!(lost(bad)[..], [("manager-lost", _)]), "{bad}");
        }
        let held = (Level::Info, "Received HOLD_MANAGER for b'a'");
        let came = (Level::Info, "Registered manager b'a' with info");
        let stock = warned("Too many heartbeats missed for manager b'a' - removing manager");
        let none = warned("Cancelling htex tasks [] on removed manager");
        let some = warned("Cancelling htex tasks [5] on removed manager");
        for good in [
            &[held, stock, none][..],
            &[held, stock],
            &[held, stock, came, held, stock],
        ] {
            assert_eq!(ids(good), [], "{good:?}");
        }
        for bad in [
            &[stock, held][..],
            &[held, came, stock],
            &[held, stock, stock],
            &[held, stock, some],
        ] {
            let found = ids(bad);
            assert!(
                matches!(found[..], [("manager-lost", _)]),
                "{bad:?}: {found:?}"
            );
        }
    }

    #[test]
    fn tasks_without_an_answer_are_counted() {
        let gone = (Level::Info, "any words [submit-side-gone]");
        let left = (
            Level::Warning,
            "any words queued=1 in_flight=2 [tasks-unanswered]",
        );
        let found = findings(&log_of(&[gone, left]), &ParslLog::default());
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].what,
            "At the end 1 task waited, and 2 were in flight on managers."
        );
        assert!(found[0].why.contains("submit process ended first"));
    }

    #[test]
    fn advice_to_wait_is_given_only_if_the_program_did_not_wait() {
        let left = (
            Level::Warning,
            "any words queued=1 in_flight=2 [tasks-unanswered]",
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
            (&failed, false, "An earlier failure"),
            (&bad, false, "had already given up on the executor"),
            (&exit, false, "the log does not show which"),
            ("", false, "the logs do not show why"),
        ] {
            let found = findings(&log_of(&[left]), &ParslLog::from(text));
            assert!(found[0].why.contains(why), "{found:?}");
            assert_eq!(found[0].remedy.contains("wait for its futures"), waits);
        }
    }

    #[test]
    fn each_kind_has_its_finding_and_the_rest_is_counted() {
        for LineKind { kind, codes } in &KINDS {
            for code in *codes {
                let level = match codes::level_name(code.level) {
                    "ERROR" => Level::Error,
                    _ => Level::Warning,
                };
                let found = ids(&[(level, &format!("any words [{}]", code.name))]);
                assert_eq!(found, [(kind.id, kind.severity)]);
                let other = [(Level::Debug, &*format!("any words [{}]", code.name))];
                assert_eq!(ids(&other), [], "the level is the code's");
            }
            for mark in kind.marks {
                assert_eq!(ids(&[(Level::Error, mark)]), [(kind.id, kind.severity)]);
            }
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
