//! What the logs below a directory show about interchanges that do not answer.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::shared::coded::Coded;
use crate::shared::log_file::{Writer, ends_of, here, is_log};
use crate::shared::words::plain;

/// Directory levels from a directory of projects' runs to a log: `runinfo/NNN/LABEL`.
const DEPTH: usize = 3;
/// A directory with more entries than this is not a directory of runs.
const ENTRIES_MAX: usize = 20_000;
/// Bytes read from each end of a log.
const END_BYTES: u64 = 64 << 10;
const NO_PLACE: &str = "no directory is suitable for the status socket: ";

/// Returns a line for each log of the latest run below `directories`; empty if there is none.
pub(crate) fn told_below(directories: &[PathBuf]) -> String {
    let mut logs = Vec::new();
    for directory in directories {
        find(directory, DEPTH, &mut ENTRIES_MAX.clone(), &mut logs);
    }
    logs.sort();
    let run_of = |log: &Path| log.parent().and_then(Path::parent).map(Path::to_owned);
    let newest = logs.last().and_then(|(_, log)| run_of(log));
    let of_it = logs.iter().filter(|(_, log)| run_of(log) == newest);
    of_it
        .map(|(_, log)| format!("{}: {}\n", log.display(), told(log)))
        .collect()
}

/// Finds logs, with the times of their last changes.
fn find(
    directory: &Path,
    depth: usize,
    entries_left: &mut usize,
    logs: &mut Vec<(SystemTime, PathBuf)>,
) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let Some(left) = entries_left.checked_sub(1) else {
            return;
        };
        *entries_left = left;
        let path = entry.path();
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        if metadata.is_dir() && depth > 0 {
            find(&path, depth - 1, entries_left, logs);
        } else if metadata.is_file() && is_log(&path) {
            let written = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            logs.push((written, path));
        }
    }
}

/// Describes what became of the interchange that wrote this log.
fn told(log: &Path) -> String {
    let (Ok((head, _)), Ok((tail, _))) = (ends_of(log, END_BYTES, 0), ends_of(log, 0, END_BYTES))
    else {
        return "it cannot be read".to_owned();
    };
    let of_code = |line: &str, code| Coded::of_line(line).filter(|line| line.has(code));
    let started = head.lines().find_map(|line| of_code(line, &codes::STARTED));
    let Some(started) = started else {
        return "it belongs to another interchange, perhaps Parsl's own, which offers no status"
            .to_owned();
    };
    let is_restart = |line: &&str| of_code(line, &codes::RESTARTED).is_some();
    let restarted = tail.lines().rev().find(is_restart);
    let goes_on = |line: &&str| Some(*line) != restarted;
    if let Some(words) = (tail.lines().rev().take_while(goes_on)).find_map(last_words) {
        return format!("it has ended. {}", plain(&words));
    }
    let first = || head.lines().find_map(process_of);
    let Some(pid) = restarted.and_then(process_of).or_else(first) else {
        return "it does not show the interchange's state".to_owned();
    };
    let no_place = [&head, &tail].into_iter().find_map(|part| {
        let place = part.find(NO_PLACE)? + NO_PLACE.len();
        part[place..].lines().next().map(plain)
    });
    let logdir = log.parent().unwrap_or(log);
    where_it_is(
        pid,
        Writer::of(logdir, Some(pid), started.field("host").map(str::to_owned)),
        no_place,
    )
}

/// Describes where the process is whose log has no ending. `no_place`: why the process has no
/// socket.
fn where_it_is(pid: u32, writer: Writer, no_place: Option<String>) -> String {
    match (writer, no_place) {
        (Writer::RunsHere, Some(reason)) => format!(
            "its process {pid} runs here but serves no status, because no directory was suitable \
             for its socket: {reason}"
        ),
        (Writer::RunsHere, None) => format!(
            "its process {pid} runs here, but none of these sockets belongs to it: it uses another \
             {}, or its socket was removed, for example by a job that cleans /tmp. The run \
             continues; its log shows its progress (the line \"Serving status at\" names the \
             socket)",
            status::asking::DIRECTORY_VARIABLE
        ),
        (Writer::Hidden, _) => format!(
            "its process {pid} may be the one that runs here as another user; only that user can \
             query it"
        ),
        (Writer::WasHere, _) => {
            format!("its process {pid} ran here and was killed: its log does not report an end")
        }
        (Writer::Elsewhere(host), _) => format!(
            "its process {pid} was started on {}, and this is {}: run status there. Its log does \
             not report an end",
            plain(&host),
            here()
        ),
        (Writer::Unknown, _) => format!(
            "its process {pid} does not run here, and its log does not report an end: it runs on \
             another machine, or was killed"
        ),
    }
}

/// Returns the message if the line reports the interchange's end.
fn last_words(line: &str) -> Option<String> {
    let line = Coded::of_line(line)?;
    line.is_end().then_some(line.message)
}

/// Returns the process id in a line. Parsl's line format has `MainProcess-4711`, JSON has
/// `"process": 4711`.
fn process_of(line: &str) -> Option<u32> {
    let marks = ["MainProcess-", "\"process\": ", "\"process\":"];
    let after = marks
        .iter()
        .find_map(|mark| line.split_once(mark).map(|(_, after)| after))?;
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_before_a_restart_does_not_count() {
        let place = tempfile::tempdir().unwrap();
        let log = place.path().join("interchange.log");
        let line = |pid: u32, text: &str| format!("1.5 2026-11-30 MainProcess-{pid} {text}\n");
        let text = [
            line(4, "INFO: a start host=nowhere [started]"),
            line(4, "ERROR: oh [internal-error]"),
            line(5, "WARNING: number 1 [restarted]"),
        ]
        .concat();
        fs::write(&log, &text).unwrap();
        let without = told(&log);
        assert!(
            without.contains("its process 5 was started on nowhere"),
            "{without}"
        );
        fs::write(
            &log,
            text + &line(5, "INFO: Exiting on SIGTERM queued=0 in_flight=0 [exiting]"),
        )
        .unwrap();
        assert_eq!(told(&log), "it has ended. Exiting on SIGTERM");
    }

    #[test]
    fn a_log_without_an_end_is_described_by_where_its_process_is() {
        let told = |writer| where_it_is(5, writer, None);
        assert!(told(Writer::Elsewhere("login2".to_owned())).contains("started on login2"));
        assert!(told(Writer::WasHere).contains("was killed"));
        assert!(told(Writer::Hidden).contains("another user"));
        assert!(told(Writer::RunsHere).contains("The run continues"));
        let reason = Some("full".to_owned());
        assert!(where_it_is(5, Writer::RunsHere, reason).ends_with("socket: full"));
    }
}
