//! A run that was: what its files say went wrong.

mod blocks;
mod events;
mod log;
mod still_running;

use std::fs;
use std::path::{Path, PathBuf};

use super::disk;
use crate::doctor::diagnosis::Diagnosis;
use crate::shared::finding::Finding;
use crate::shared::log_file::{NAMES, ends_of};
use crate::shared::process::command_line;
use crate::shared::words::counted;

use blocks::Blocks;
use log::{Line, Log};

const PARSL_LOG: &str = "parsl.log";
const PARSL_LOG_BYTES: u64 = 2 << 20;
const REFUSAL: &str = "htex-interchange refused to start: ";

/// It is no run's directory.
#[derive(Debug, thiserror::Error)]
#[error("{}: neither a run's directory (with parsl.log) nor an executor's in it", .0.display())]
pub(super) struct NoRun(PathBuf);

/// All that the files in `directory` say, and the interchange if it still runs.
///
/// # Errors
/// It is no run's directory.
pub(super) fn examine(directory: &Path) -> Result<Diagnosis, NoRun> {
    let found = places(directory);
    let (run, executors) = found.ok_or_else(|| NoRun(directory.to_owned()))?;
    let mut diagnosis = Diagnosis::new(format!("The run in {}", run.display()));
    let parsl = ends_of(&run.join(PARSL_LOG), 0, PARSL_LOG_BYTES).ok();
    let parsl = parsl.as_ref().map(|(text, _)| text.as_str());
    for executor in &executors {
        examine_executor(&run, executor, parsl.unwrap_or_default(), &mut diagnosis);
    }
    diagnosis.add(disk::room_left(&run, &run));
    match parsl {
        Some(text) => {
            diagnosis.examined("parsl.log");
            diagnosis.add(of_parsl_log(text, executors.is_empty()));
        }
        None => diagnosis.not_examined("parsl.log, which is not there"),
    }
    Ok(diagnosis)
}

/// The run's directory, and those of its executors.
fn places(directory: &Path) -> Option<(PathBuf, Vec<PathBuf>)> {
    if log_of(directory).is_some() {
        let absolute = directory.canonicalize().ok()?;
        let run = absolute.parent()?.to_owned();
        return Some((run, vec![absolute]));
    }
    let entries = fs::read_dir(directory).ok()?.flatten();
    let mut inside: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    inside.sort();
    let executors: Vec<PathBuf> = inside
        .iter()
        .filter(|path| log_of(path).is_some())
        .cloned()
        .collect();
    if !executors.is_empty() || directory.join(PARSL_LOG).is_file() {
        return Some((directory.to_owned(), executors));
    }
    // All runs of a program: the last one is meant.
    let is_run = |path: &&PathBuf| path.join(PARSL_LOG).is_file();
    let last = inside.iter().rev().find(is_run)?;
    places(last)
}

fn log_of(directory: &Path) -> Option<PathBuf> {
    NAMES
        .iter()
        .map(|name| directory.join(name))
        .find(|log| log.is_file())
}

fn examine_executor(run: &Path, directory: &Path, parsl: &str, diagnosis: &mut Diagnosis) {
    let label = directory.file_name().unwrap_or_default().to_string_lossy();
    let log = log_of(directory).map(|path| Log::read(&path));
    let Some(Ok(log)) = log else {
        diagnosis.not_examined(&format!("the interchange's log of {label}"));
        return;
    };
    diagnosis.examined("the interchange's log");
    if !log.is_whole {
        diagnosis.not_examined("the middle of the interchange's log, which is long");
    }
    let mut found = events::findings(&log.lines);
    found.extend(not_ours(&log.lines));
    let running = still_running::of(directory);
    match &running {
        Some(document) => found.extend(still_running::findings(document)),
        None => found.extend(no_ending(&log.lines, was_ended_by_parsl(parsl))),
    }
    let blocks = Blocks::of(run, &label);
    diagnosis.examined("blocks' standard error");
    let refused = found.iter().any(|finding| finding.id == "refused-start");
    let registered = log.lines.iter().any(events::is_registration);
    // One that was just submitted, and has said nothing, may still begin.
    let is_early = running.as_ref().is_some_and(still_running::is_early) && !blocks.have_spoken();
    if blocks.submitted > 0 && !registered && log.is_whole && !refused && !is_early {
        found.push(blocks.never_registered());
    } else {
        found.extend(blocks.failed());
    }
    diagnosis.add_about(&label, found);
}

/// Ours says so in its first line.
fn not_ours(lines: &[Line]) -> Option<Finding> {
    let has = |words: &[&str]| {
        lines
            .iter()
            .any(|line| words.iter().all(|word| line.message.contains(word)))
    };
    let is_ours = has(&["htex-interchange ", " starts"]) || has(&[REFUSAL]);
    (!is_ours && has(&["Attempting connection to client at"])).then(|| {
        Finding::note(
            "stock",
            "This run was not served by htex-interchange, but by Parsl's own.",
        )
        .because("Its log tells less; what it tells is here.")
    })
}

/// Parsl says so before it does it.
fn was_ended_by_parsl(parsl_log: &str) -> bool {
    parsl_log.contains("Terminating interchange")
}

/// A log that breaks off.
fn no_ending(lines: &[Line], was_ended: bool) -> Option<Finding> {
    let pid = lines.iter().find_map(|line| line.pid);
    if let Some(pid) = pid.filter(|pid| is_interchange(*pid)) {
        return Some(Finding::note(
            "still-running",
            format!("It still runs, as process {pid}."),
        ));
    }
    let is_ours = not_ours(lines).is_none();
    (is_ours && !lines.is_empty() && !events::has_ending(lines)).then(|| {
        if was_ended {
            return Finding::note(
                "no-ending",
                "Parsl ended the interchange, and its log's last lines did not get to the disk.",
            )
            .because(
                "Its last lines have 200 ms, and the machine or its disk was busy for longer.",
            );
        }
        let who = pid.map_or_else(|| "its process".to_owned(), |pid| format!("process {pid}"));
        Finding::warning(
            "no-ending",
            format!("The interchange's log has no ending, and {who} does not run on this machine."),
        )
        .because(
            "It was killed (memory that ran out, kill -9, a batch job's end), or runs on another.",
        )
        .remedy("The kernel's log (dmesg) tells of memory that ran out.")
    })
}

fn is_interchange(pid: u32) -> bool {
    command_line(pid).contains("interchange")
}

/// What Parsl itself says.
fn of_parsl_log(text: &str, alone: bool) -> Vec<Finding> {
    let mut found = Vec::new();
    let failed = text
        .lines()
        .filter(|line| line.contains(" ERROR: Task ") && line.contains(" failed after "));
    let failed = failed.count();
    if failed > 0 {
        found.push(
            Finding::note(
                "tasks-failed",
                format!(
                    "{} failed, by the end of parsl.log.",
                    counted(failed as u64, "task")
                ),
            )
            .because("A task that raises is no fault of the run; its traceback is there."),
        );
    }
    // Otherwise its own log has it.
    if let Some((_, reason)) = text.rsplit_once(REFUSAL).filter(|_| alone) {
        let reason = reason.lines().next().unwrap_or_default();
        found.push(
            Finding::problem(
                "refused-start",
                format!("The interchange refused to start: {reason}."),
            )
            .because("parsl.load() raised with this reason."),
        );
    }
    if text.contains("Interchange has not completed initialization") {
        found.push(
            Finding::problem(
                "no-answer",
                "The interchange did not answer Parsl within 120 s.",
            )
            .because("It could not be started, or ended before it could say why.")
            .remedy("Look at what the program wrote to its standard error."),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_found_from_above_and_from_within() {
        let place = tempfile::tempdir().unwrap();
        let all = place.path().canonicalize().unwrap();
        for run in ["000", "001"] {
            fs::create_dir_all(all.join(run).join("htex")).unwrap();
            fs::write(all.join(run).join(PARSL_LOG), "").unwrap();
            fs::write(all.join(run).join("htex/interchange.log"), "").unwrap();
        }
        let last = (all.join("001"), vec![all.join("001/htex")]);
        assert_eq!(places(&all), Some(last.clone()));
        assert_eq!(places(&all.join("001")), Some(last.clone()));
        assert_eq!(places(&all.join("001/htex")), Some(last));
        fs::create_dir(all.join("empty")).unwrap();
        assert_eq!(places(&all.join("empty")), None);
    }

    #[test]
    fn parsls_log_is_asked_where_there_is_no_other() {
        let ids = |text, alone| -> Vec<&str> {
            of_parsl_log(text, alone)
                .iter()
                .map(|finding| finding.id)
                .collect()
        };
        let refused = "ValueError: 'htex-interchange refused to start: a reason'";
        assert_eq!(ids(refused, true), ["refused-start"]);
        assert_eq!(ids(refused, false), [""; 0]);
        assert_eq!(
            ids("x ERROR: Task 3 failed after 0 retry attempts", true),
            ["tasks-failed"]
        );
        assert_eq!(
            ids("Interchange has not completed initialization", false),
            ["no-answer"]
        );
    }
}
