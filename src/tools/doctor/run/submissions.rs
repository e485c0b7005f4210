//! Blocks that were offered to a provider and not accepted, according to parsl.log.

use super::log::{Level, Line, Log};
use super::parsl_log::{BAD_STATE, CLEANUP};
use crate::shared::finding::Finding;
use crate::shared::words::counted;

/// Parsl logs this at each check of the block's status, and when it gives up on the executor.
/// Meanwhile Parsl submits the next block. With Condor, no other line gives the reason.
pub(super) const FAILED_TO_START: &str = "Failed to start block ";
pub(super) const SUBMITTING: &str = "Submitting to provider with job_name parsl.";
pub(super) const LAUNCHED: &str = "Launched block ";
/// Beginnings of messages about a submit command that failed, or whose output was not understood.
const HEADS: [&str; 2] = ["Submit command failed", "Could not read job ID from submit"];
/// Parsl's sentences for a failed submission. The batch system's message is in the same line or
/// below.
const SENTENCES: [&str; 8] = [
    // Providers slurm, lsf and grid_engine.
    "Retcode:",
    // Provider pbspro.
    "Submit command '",
    // Provider torque.
    "' failed with return code ",
    // Provider cobalt.
    "Submission of command to scale_out failed",
    // Provider condor; any provider if Parsl reports a bad state.
    FAILED_TO_START,
    "Unable to scale out ",
    "Cannot launch job ",
    // All providers before 2023.
    "Scaling out failed: ",
];
/// Commands by which Parsl's providers submit blocks.
const COMMANDS: [&str; 4] = ["sbatch", "qsub", "bsub", "condor_submit"];
/// How the providers report the exit status of a command that the shell did not find.
const STATUSES: [&str; 4] = [
    "Retcode:127",
    "Return code: 127",
    "return code 127",
    "recode=127",
];
/// The dynamic loader also ends with status 127.
const LOADER: &str = "error while loading shared libraries";

/// Whether a line of parsl.log is about a failed submission.
pub(super) fn is_known(line: &Line) -> bool {
    SENTENCES.iter().any(|mark| line.has(mark))
        || HEADS
            .iter()
            .any(|head| line.coded.message.starts_with(head))
}

pub(super) fn finding(log: &Log) -> Option<Finding> {
    let has = |line: &Line| {
        SENTENCES
            .iter()
            .any(|mark| line.coded.message.contains(mark))
    };
    let errors: Vec<&Line> = log
        .lines
        .iter()
        .filter(|line| line.level == Level::Error && has(line))
        .collect();
    let given_up = log.find(BAD_STATE).filter(|line| line.has(FAILED_TO_START));
    let told: Vec<&Line> = log
        .lines
        .iter()
        .filter(|line| line.coded.message.contains(FAILED_TO_START))
        .collect();
    let untaken = untaken(log);
    let told_last = errors.last().copied().or(given_up);
    let told_last = told_last.or_else(|| told.last().copied());
    let last = told_last.or_else(|| untaken.last().copied())?;
    let below = given_up.map_or(0, |line| {
        let texts = line.more.iter();
        texts.filter(|text| text.contains(FAILED_TO_START)).count()
    });
    let counts = [errors.len(), below, told.len(), untaken.len()];
    let count = counts.into_iter().max().unwrap_or_default() as u64;
    let finding = Finding::problem(
        "submission-failed",
        format!("{} could not be submitted.", counted(count, "block")),
    )
    .because("These blocks never started. Tasks that had no other block waited in vain.");
    Some(match told_last {
        Some(_) => with_words(finding, log, last),
        None => finding
            .remedy(
                "parsl.log does not show why the provider rejected the block: submit its script, \
                 which is in submit_scripts, by hand.",
            )
            .shown_by(log.shown(last)),
    })
}

/// Adds the message of the last failed submission, and what to do about it.
fn with_words(finding: Finding, log: &Log, last: &Line) -> Finding {
    let mark = SENTENCES.iter().find(|mark| last.has(mark));
    let remedy = match is_missing(last) {
        true => {
            "The batch system's command is not on the program's PATH: run the program on a login \
             node, or load the batch system's module first."
        }
        false => {
            "The batch system's message is shown there. Submit that script by hand to repeat it."
        }
    };
    let finding = finding
        .remedy(remedy)
        .shown_by(log.shown_below(last, mark.unwrap_or(&FAILED_TO_START)));
    let words = last
        .more
        .iter()
        .find(|text| text.to_lowercase().contains("stderr"));
    match words {
        Some(words) => finding.shown_by(log.shown_below(last, words)),
        None => finding,
    }
}

/// Whether the shell did not find the submit command. Batch systems report other missing things in
/// the same words.
fn is_missing(line: &Line) -> bool {
    let texts = || std::iter::once(&line.coded.message).chain(&line.more);
    let by_status = |text: &String| STATUSES.iter().any(|status| says_status(text, status));
    let by_loader = texts().any(|text| text.contains(LOADER));
    texts().any(|text| says_missing(text)) || (texts().any(by_status) && !by_loader)
}

fn says_status(text: &str, status: &str) -> bool {
    let mut rests = text.split(status).skip(1);
    rests.any(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
}

/// Whether a shell reports a submit command as missing: `sh: 1: qsub: not found`, `bash: line 1:
/// qsub: command not found`, `zsh: command not found: qsub`.
fn says_missing(text: &str) -> bool {
    COMMANDS.iter().any(|command| {
        let forms = [
            format!("{command}: not found"),
            format!("{command}: command not found"),
            format!("command not found: {command}"),
        ];
        forms.iter().any(|form| {
            text.match_indices(form.as_str()).any(|(place, _)| {
                let is_part = |near: char| near.is_alphanumeric() || "_-./".contains(near);
                let after = text[place + form.len()..].trim_start_matches(' ');
                !text[..place].ends_with(is_part) && !after.starts_with(char::is_alphanumeric)
            })
        })
    })
}

/// Returns the lines that offer a block for which no launch was logged, although Parsl went on to
/// the next block or cleaned up. The last offer may still be in progress.
fn untaken(log: &Log) -> Vec<&Line> {
    let mut untaken: Vec<(&Line, String)> = Vec::new();
    let mut open = None;
    for line in &log.lines {
        if let Some((_, name)) = line.coded.message.split_once(SUBMITTING) {
            untaken.push((line, name.trim().to_owned()));
            open = Some(line.number);
        } else if line.coded.message.contains(LAUNCHED) {
            untaken.retain(|(_, name)| {
                let taken = name.rsplit_once(".block-");
                taken.is_none_or(|(label, number)| {
                    launched(&line.coded.message, label).is_none_or(|(block, _)| block != number)
                })
            });
        } else if line.coded.message.contains(CLEANUP) {
            open = None;
        }
    }
    let lines = untaken.into_iter().map(|(line, _)| line);
    lines.filter(|line| Some(line.number) != open).collect()
}

/// Returns the block and the job id if the message reports a launched block of executor `label`:
/// `[Scaling executor LABEL] Launched block 0 with job ID 17`; from 2023 on `Launched block 0 on
/// executor LABEL with job ID 17`; before, `Launched block 0->17`.
pub(super) fn launched(message: &str, label: &str) -> Option<(String, String)> {
    let (before, rest) = message.split_once(LAUNCHED)?;
    if let Some((block, job)) = rest.split_once("->") {
        return (job != "None").then(|| (block.to_owned(), job.to_owned()));
    }
    let (block, job) = rest.split_once(" with job ID ")?;
    if let Some((block, of)) = block.split_once(" on executor ") {
        return (of == label).then(|| (block.to_owned(), job.to_owned()));
    }
    let is_of_it = before.trim_end() == format!("[Scaling executor {label}]");
    is_of_it.then(|| (block.to_owned(), job.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::run::parsl_log::{ParslLog, record};

    fn ids(text: &str) -> Vec<&'static str> {
        let found = ParslLog::from(text).findings(true);
        found.iter().map(|one| one.id).collect()
    }

    fn told(text: &str) -> Finding {
        ParslLog::from(text).findings(true).remove(0)
    }

    #[test]
    fn failed_submissions_of_each_provider_are_found() {
        let told = [
            record(
                "ERROR",
                "Retcode:127 STDOUT: STDERR:/bin/sh: 1: sbatch: not found",
            ),
            record(
                "ERROR",
                "Submit command 'qsub x' failed\n STDERR: qsub: command not found",
            ),
            record(
                "ERROR",
                "Command 'qsub x' failed with return code 127\nstderr:qsub: not found",
            ),
            record(
                "ERROR",
                "Submission of command to scale_out failed: qsub: not found",
            ),
            record(
                "ERROR",
                "Setting bad state due to exception\nE: 1:\n\tFailed to start block 0: Unable to \
                 scale out condor provider: condor_submit: not found",
            ),
        ];
        for text in told {
            let found = ids(&text);
            assert_eq!(found[0], "submission-failed", "{text}");
            assert!(!found.contains(&"parsl-errors"), "{text}");
        }
    }

    #[test]
    fn a_command_is_missing_where_the_shell_says_so() {
        for (words, is_missing) in [
            (
                "Retcode:127 STDOUT: STDERR:bash: sbatch: commande introuvable",
                true,
            ),
            (
                "Retcode:1 STDOUT: STDERR:/bin/sh: 1: sbatch: not found",
                true,
            ),
            (
                "Retcode:1 STDOUT: STDERR:zsh:1: command not found: bsub",
                true,
            ),
            (
                "Retcode:1 STDOUT: STDERR:/bin/sh: qsub: not found [No such file or directory]",
                true,
            ),
            (
                "Submit command 'qsub x' failed\n Return code: 127\n STDERR: ",
                true,
            ),
            ("Retcode:1 STDOUT: STDERR:Invalid account", false),
            (
                "Retcode:1 STDOUT: STDERR:sbatch: error: Unable to change directory to /x: No such \
                 file or directory",
                false,
            ),
            (
                "Retcode:1 STDOUT: STDERR:Unable to run job: queue \"q\" not found",
                false,
            ),
            (
                "Retcode:1 STDOUT: STDERR:qsub: not found in the queue",
                false,
            ),
            ("Retcode:1 STDOUT: STDERR:my-qsub: not found", false),
            ("Retcode:1270 STDOUT: STDERR:x", false),
            (
                "Submit command 'qsub x' failed\n Return code: 1\n STDERR: qsub: Request rejected. \
                 Reason: project 'foo' not found in the accounting database",
                false,
            ),
            (
                "Retcode:127 STDOUT: STDERR:sbatch: error while loading shared libraries: \
                 libslurm.so: cannot open shared object file: No such file or directory",
                false,
            ),
        ] {
            let found = told(&record("ERROR", words));
            assert_eq!(found.id, "submission-failed", "{words}");
            assert_eq!(found.remedy.contains("PATH"), is_missing, "{words}");
        }
    }

    #[test]
    fn a_block_that_failed_to_start_is_counted_once() {
        let status = |block: u32, state: &str| {
            let told = format!(
                "Rewriting job {block} from status {state} (Failed to start block {block}: Unable \
                 to scale out condor provider: Can't find address of local schedd) to MISSING"
            );
            record("DEBUG", &told)
        };
        let text = status(0, "FAILED") + &status(0, "MISSING") + &status(1, "FAILED");
        let log = ParslLog::from(&text);
        assert_eq!(log.log().unwrap().lines.len(), 2);
        let found = &log.findings(true)[0];
        assert_eq!(found.what, "2 blocks could not be submitted.");
        assert!(found.evidence[0].contains("address of local schedd"));
    }

    #[test]
    fn a_block_without_a_launch_is_reported() {
        let offer = |block: u32| {
            let told = format!("[Scaling executor a.b] {SUBMITTING}a.b.block-{block}");
            record("DEBUG", &told)
        };
        let taken = "[Scaling executor a.b] Launched block 1 with job ID 17";
        let text = offer(0) + &offer(1) + &record("DEBUG", taken) + &offer(2);
        let found = told(&text);
        assert_eq!(found.what, "1 block could not be submitted.");
        assert!(found.evidence[0].ends_with("block-0"), "{found:?}");
        let found = told(&(text + &record("INFO", CLEANUP)));
        assert_eq!(found.what, "2 blocks could not be submitted.");
        let other = "[Scaling executor a] Launched block 0 with job ID 17";
        assert_eq!(ids(&(offer(0) + &record("DEBUG", taken))), [""; 0]);
        let text = offer(0) + &record("DEBUG", other) + &offer(1) + &record("DEBUG", taken);
        assert_eq!(ids(&text), ["submission-failed"]);
    }
}
