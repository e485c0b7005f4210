//! Examines a run that has ended or still goes on: what its files say went wrong.

mod blocks;
mod causes;
mod events;
mod failed_tasks;
mod kind;
mod kinds;
mod log;
mod managers;
mod no_ending;
mod parsl_log;
mod places;
mod providers;
mod still_running;
mod submissions;

use std::path::{Path, PathBuf};

use super::disk;
use crate::doctor::diagnosis::Diagnosis;
use crate::shared::finding::Finding;
use crate::shared::words::counted;

use blocks::Blocks;
use causes::Ended;
use log::Log;
use managers::Managers;
use parsl_log::ParslLog;
use places::{Places, log_of};

/// The directory does not belong to a run.
#[derive(Debug, thiserror::Error)]
#[error(
    "{}: neither a run's directory nor an executor's directory in a run. doctor looked for \
     parsl.log, parsl.jsonlog, EXECUTOR/interchange.log, EXECUTOR/interchange.jsonlog, \
     submit_scripts and monitoring.db, there and up to three directories below",
    .0.display()
)]
pub(super) struct NoRun(PathBuf);

/// Examines all files of the run that `directory` belongs to, and its interchanges if they still
/// run.
///
/// # Errors
/// `directory` does not belong to a run.
pub(super) fn examine(directory: &Path) -> Result<Diagnosis, NoRun> {
    let found = Places::of(directory);
    let Places { run, executors } = found.ok_or_else(|| NoRun(directory.to_owned()))?;
    let mut diagnosis = Diagnosis::new(format!("The run in {}", run.display()));
    let parsl = ParslLog::of(&run);
    diagnosis.add(parsl.findings(executors.is_empty()));
    match parsl.log() {
        Some(log) => {
            diagnosis.examined("parsl.log");
            if !log.is_whole {
                diagnosis.not_examined("the end of parsl.log, because the file is very long");
            }
        }
        None => diagnosis.not_examined("parsl.log, which does not exist"),
    }
    for executor in &executors {
        examine_executor(&run, executor, &parsl, &mut diagnosis);
    }
    if executors.is_empty() {
        diagnosis.not_examined("the interchange's log, which does not exist");
    }
    diagnosis.add(disk::room_left(&run, &run));
    Ok(diagnosis)
}

/// Queries the interchanges of a run that goes on although `directory` was removed. Returns None if
/// no such interchange runs.
pub(super) fn examine_removed(directory: &Path) -> Option<Diagnosis> {
    if directory.exists() {
        return None;
    }
    let documents = still_running::below(directory);
    let mut diagnosis = Diagnosis::new(format!(
        "The run in {}, which was removed while the run continues",
        directory.display()
    ));
    for document in &documents {
        let logdir = document.interchange.logdir_path();
        let label = logdir.file_name().unwrap_or_default().to_string_lossy();
        diagnosis.add_about(&label, still_running::findings(document));
    }
    diagnosis.examined("the status of the interchange");
    diagnosis.not_examined("the run's files, which do not exist any more");
    (!documents.is_empty()).then_some(diagnosis)
}

fn examine_executor(run: &Path, directory: &Path, parsl: &ParslLog, diagnosis: &mut Diagnosis) {
    let label = directory.file_name().unwrap_or_default().to_string_lossy();
    let log = log_of(directory).map(|path| Log::ends(&path));
    let Some(Ok(log)) = log else {
        diagnosis.not_examined(&format!("the interchange's log of {label}"));
        return;
    };
    diagnosis.examined("the interchange's log");
    if !log.is_whole {
        diagnosis.not_examined("the middle of the interchange's log, because the file is long");
    }
    let mut found = events::findings(&log, parsl);
    let stock = not_ours(&log);
    let is_ours = stock.is_none();
    found.extend(stock);
    let running = still_running::of(directory);
    let writer = no_ending::writer_of(directory, &log);
    match &running {
        Some(document) => found.extend(still_running::findings(document)),
        None => found.extend(no_ending::finding(&log, &writer, is_ours, parsl)),
    }
    let mut blocks = Blocks::of(run, &label, parsl);
    let may_run = running.is_some() || no_ending::may_run(&writer, &log);
    let is_early = running.as_ref().is_some_and(still_running::is_early);
    let never = never_registered(&blocks, &log, (parsl, &label), may_run, is_early);
    let has = |id| found.iter().any(|finding: &Finding| finding.id == id);
    let never = never.filter(|_| !has("start-refused"));
    let asked = has("manager-lost") || never.is_some() || parsl.has_lost_workers();
    let managers = match asked {
        true => Managers::of(&logdirs(directory, &label, parsl), &mut blocks.causes),
        false => Managers::default(),
    };
    found.extend(never.or_else(|| blocks.failed()));
    for finding in &mut found {
        let is_of_managers = matches!(finding.id, "manager-lost" | "never-registered");
        finding
            .evidence
            .extend(managers.last_error.clone().filter(|_| is_of_managers));
    }
    found.extend(managers.died());
    let causes = blocks.causes.findings(Ended::of(&found, parsl));
    found.extend(causes);
    tell_what_was_read(&blocks, &managers, diagnosis);
    drop_repeated(&mut found);
    diagnosis.add_about(&label, found);
}

/// Drops findings that repeat a better one. The status of a running interchange shows which tasks
/// fit no manager now; its log shows only that there were some. If no manager ever registered, none
/// accepts tasks.
fn drop_repeated(found: &mut Vec<Finding>) {
    let has = |id| found.iter().any(|finding| finding.id == id);
    let never_registered = has("never-registered");
    let worst = found
        .iter()
        .filter(|finding| finding.id == "no-manager-fits");
    let worst = worst.map(|finding| finding.severity).min();
    let mut is_told = false;
    found.retain(|finding| match finding.id {
        "nobody-takes-tasks" => !never_registered,
        "no-manager-fits" => {
            let is_kept = !is_told && Some(finding.severity) == worst;
            is_told |= is_kept;
            is_kept
        }
        _ => true,
    });
}

/// Reports that no manager registered. `may_run`: the interchange runs, or nothing shows its end.
/// `is_early`: its first blocks have hardly had time to begin. Then the output of a block does not
/// count as a failure.
fn never_registered(
    blocks: &Blocks,
    log: &Log,
    (parsl, label): (&ParslLog, &str),
    may_run: bool,
    is_early: bool,
) -> Option<Finding> {
    let submitted = blocks.submitted(parsl, label);
    let registered = log.lines.iter().any(events::is_registration);
    let starts = may_run && !blocks.have_ended() && !parsl.has_missed_blocks(label);
    let never = submitted > 0 && !registered && log.is_whole && !(starts && is_early);
    never.then(|| blocks.never_registered(submitted, starts))
}

/// Returns the directories with managers' logs: the executor's own, and those below each
/// worker_logdir_root.
fn logdirs(directory: &Path, label: &str, parsl: &ParslLog) -> Vec<PathBuf> {
    let roots = parsl.worker_logdir_roots();
    let elsewhere = roots.iter().map(|root| root.join(label));
    std::iter::once(directory.to_owned())
        .chain(elsewhere)
        .collect()
}

fn tell_what_was_read(blocks: &Blocks, managers: &Managers, diagnosis: &mut Diagnosis) {
    if blocks.stderr_read > 0 {
        let files = counted(blocks.stderr_read, "file");
        diagnosis.examined(&format!("blocks' standard error ({files})"));
    }
    if managers.read > 0 {
        let logs = counted(managers.read as u64, "log");
        diagnosis.examined(&format!("managers' and workers' own logs ({logs})"));
    }
    for not_read in blocks.not_read.iter().chain(&managers.not_read) {
        diagnosis.not_examined(not_read);
    }
}

/// Reports that the log is not htex-interchange's, whose lines would have codes.
fn not_ours(log: &Log) -> Option<Finding> {
    if log.lines.iter().any(|line| line.coded.code.is_some()) {
        return None;
    }
    let stock = log.find("Attempting connection to client at")?;
    Some(
        Finding::note(
            "stock",
            "Parsl's own interchange served this run, not htex-interchange.",
        )
        .because("Its log has less information, so fewer findings are possible.")
        .shown_by(log.shown(stock)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::finding::Severity;

    #[test]
    fn a_finding_is_not_repeated() {
        let of_the_log = || Finding::warning("no-manager-fits", "Tasks required more.");
        let told = |found: Vec<Finding>| -> Vec<(&str, Severity)> {
            let mut found = found;
            drop_repeated(&mut found);
            let ids = found.iter().map(|finding| (finding.id, finding.severity));
            ids.collect()
        };
        let now = Finding::problem("no-manager-fits", "1 task fits no manager.");
        assert_eq!(
            told(vec![of_the_log(), now]),
            [("no-manager-fits", Severity::Problem)]
        );
        assert_eq!(told(vec![of_the_log()]).len(), 1);
        let nobody = || Finding::warning("nobody-takes-tasks", "1 task in the queue.");
        let never = Finding::warning("never-registered", "1 block submitted.");
        assert_eq!(
            told(vec![nobody(), never]),
            [("never-registered", Severity::Warning)]
        );
        assert_eq!(told(vec![nobody()]).len(), 1);
    }
}
