//! What became of a run's blocks, according to the files that Parsl's providers keep beside their
//! scripts.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::shared::finding::Finding;
use crate::shared::log_file::ends_of;
use crate::shared::words::counted;

use super::causes::Causes;
use super::log::shown;
use super::parsl_log::ParslLog;
use super::places::SCRIPTS;
use super::providers::{Name, Part, WITHOUT_FILES, provider_of};

const FILES_MAX: usize = 20_000;
/// Maximum number of an executor's files whose ends are read.
const READ_MAX: usize = 2_000;
const END_BYTES: u64 = 16 << 10;
/// What a shell prints behind a command that it does not find.
const NOT_FOUND: &str = ": command not found";
const WORKER_POOL: &str = "process_worker_pool.py";
/// Messages of a manager that cannot reach the interchange.
const NO_CONNECTION: [&str; 4] = [
    "Connection refused",
    "No route to host",
    "Network is unreachable",
    "No viable ZMQ url",
];

/// What the blocks of one executor left behind.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// Blocks by number; in runs of old releases, by the time when they were created.
    blocks: BTreeMap<String, Block>,
    /// The last line of a block's standard error, as evidence.
    last_words: Option<String>,
    /// Evidence that blocks failed: their exit statuses.
    statuses: Vec<String>,
    pub(super) causes: Causes,
    pub(super) stderr_read: u64,
    /// Descriptions of what could not be read.
    pub(super) not_read: Vec<String>,
}

#[derive(Debug, Default)]
struct Block {
    script: Option<PathBuf>,
    has_ended: bool,
    has_failed: bool,
    parts: Vec<Part>,
    /// The batch system's id of the block's job, from parsl.log.
    job: Option<String>,
}

impl Blocks {
    /// Reads the files of executor `label` in a run's directory.
    pub(super) fn of(run: &Path, label: &str, parsl: &ParslLog) -> Self {
        let mut blocks = Self::default();
        for (block, job) in parsl.launched(label) {
            blocks.blocks.entry(block).or_default().job = Some(job);
        }
        let place = run.join(SCRIPTS);
        match fs::read_dir(&place) {
            Ok(entries) => {
                let mut files: Vec<PathBuf> = entries
                    .flatten()
                    .map(|entry| entry.path())
                    .take(FILES_MAX)
                    .collect();
                files.sort();
                blocks.read(&files, label);
            }
            Err(error) => blocks
                .not_read
                .push(format!("blocks' files in {} ({error})", place.display())),
        }
        for (provider, way) in WITHOUT_FILES {
            if parsl.has_provider(provider) {
                blocks.not_read.push(format!(
                    "the standard error of {provider}'s blocks, which is not stored in a file here \
                     ({way})"
                ));
            }
        }
        blocks.name_unread(parsl, label);
        blocks
    }

    /// Returns the number of blocks whose submission did not fail, as far as parsl.log shows.
    pub(super) fn submitted(&self, parsl: &ParslLog, label: &str) -> u64 {
        let launched = parsl.launched(label).len();
        let scripts = self
            .blocks
            .len()
            .saturating_sub(parsl.submissions_failed(label));
        launched.max(scripts) as u64
    }

    /// Reports that no manager of these blocks registered. A job that has not begun has written
    /// nothing. With `starts`, blocks may still be starting, so that their output does not prove a
    /// failure.
    pub(super) fn never_registered(&self, submitted: u64, starts: bool) -> Finding {
        let blocks = counted(submitted, "block");
        if starts {
            let what = format!("{blocks} submitted, but no manager has registered yet.");
            let finding = Finding::warning("never-registered", what);
            let finding = self.with_evidence(finding.because(format!(
                "Nothing shows that a block has ended. The blocks may wait in the batch system's \
                 queue, or may still be starting. {}",
                self.said()
            )));
            return finding.remedy(
                "Ask the batch system whether they run. If a block has run for long, check whether \
                 its worker_init hangs, and whether its node can reach the interchange's address.",
            );
        }
        let what = format!("{blocks} submitted, but no manager registered.");
        let finding = match self.last_words.is_some() || self.have_ended() {
            false => Finding::warning("never-registered", what),
            true => Finding::problem("never-registered", what),
        };
        let finding = self.with_evidence(finding.because(self.said()));
        finding.remedy(self.remedy())
    }

    /// Returns what to do about the blocks' last message, or about their memory.
    fn remedy(&self) -> String {
        if let Some(remedy) = self.causes.memory_remedy() {
            return remedy.to_owned();
        }
        let words = self.last_words.as_deref().unwrap_or_default();
        match words.split_once(NOT_FOUND).map(|(before, _)| before) {
            Some(before) if before.ends_with(WORKER_POOL) => {
                "Let the provider's worker_init enter the submit side's environment.".to_owned()
            }
            Some(before) => {
                let command = before.rsplit(' ').next().unwrap_or_default();
                format!("worker_init or launch_cmd uses {command}, which the node lacks.")
            }
            None if NO_CONNECTION.iter().any(|mark| words.contains(mark)) => {
                "Set the executor's address to one that the nodes can reach.".to_owned()
            }
            None => "If the error is \"command not found\", let the provider's worker_init enter \
                     the submit side's environment. If a manager cannot connect, set another \
                     address. If a job has not started yet, wait."
                .to_owned(),
        }
    }

    /// Reports the blocks that ended with an error.
    pub(super) fn failed(&self) -> Option<Finding> {
        let failed = self
            .blocks
            .values()
            .filter(|block| block.has_failed)
            .count() as u64;
        (failed > 0).then(|| {
            let all = counted(self.blocks.len() as u64, "block");
            let finding = Finding::warning(
                "blocks-failed",
                format!("{failed} of {all} ended with an error."),
            );
            self.with_evidence(finding.because(self.said()))
                .remedy("Look at the files of that block, in submit_scripts.")
        })
    }

    /// Whether a file shows that a block has ended: by its exit status, or by the cause of its end.
    pub(super) fn have_ended(&self) -> bool {
        self.blocks.values().any(|block| block.has_ended) || !self.causes.are_none()
    }

    fn read(&mut self, files: &[PathBuf], label: &str) {
        let (mut unknown, mut left_out) = (0_u64, 0_u64);
        for file in files {
            let text = file.file_name().unwrap_or_default().to_string_lossy();
            let Some(name) = Name::of(&text) else {
                unknown += 1;
                continue;
            };
            if !name.is_of(label) {
                continue;
            }
            let block = self.blocks.entry(name.block.to_owned()).or_default();
            block.parts.push(name.part);
            match name.part {
                Part::Script => block.script = Some(file.clone()),
                Part::ExitStatus => {
                    let status = fs::read_to_string(file).unwrap_or_default();
                    let status_told = status_of(&status);
                    block.has_ended = status_told.is_some();
                    block.has_failed = status_told.is_some_and(|status| status != 0);
                    if block.has_failed {
                        self.statuses.push(shown(file, 1, &status));
                    }
                }
                Part::Stderr | Part::Stdout | Part::JobLog => {}
            }
            let is_told = matches!(name.part, Part::Stderr | Part::Stdout | Part::JobLog);
            match is_told && self.stderr_read >= READ_MAX as u64 {
                true => left_out += 1,
                false if is_told => self.hear(file, name.part),
                false => {}
            }
        }
        if unknown > 0 {
            let files = counted(unknown, "file");
            self.not_read.push(format!(
                "{files} in {SCRIPTS} that no known provider writes"
            ));
        }
        if left_out > 0 {
            let files = counted(left_out, "file");
            self.not_read
                .push(format!("{files} more of blocks, because there are many"));
        }
    }

    fn hear(&mut self, file: &Path, part: Part) {
        let Ok((text, is_whole)) = ends_of(file, 0, END_BYTES) else {
            self.not_read
                .push(format!("{}, which cannot be read", file.display()));
            return;
        };
        let above = is_whole.then_some(0);
        match part == Part::JobLog {
            true => self.causes.hear_job_log(file, &text, above),
            false => self.causes.hear(file, &text, above),
        }
        if part != Part::Stderr {
            return;
        }
        self.stderr_read += 1;
        let lines = text.lines().zip(1..);
        let last = lines.filter(|(line, _)| !line.trim().is_empty()).last();
        if let Some((line, number)) = last {
            self.last_words = Some(match is_whole {
                true => shown(file, number, line),
                false => format!("{}, its last line: {}", file.display(), line.trim()),
            });
        }
    }

    /// Lists the blocks that left no standard error as not read, with their provider.
    fn name_unread(&mut self, parsl: &ParslLog, label: &str) {
        let silent: Vec<&Block> = self
            .blocks
            .values()
            .filter(|block| !block.parts.contains(&Part::Stderr))
            .collect();
        let submitted = self.submitted(parsl, label);
        let Some(some) = silent.last().filter(|_| submitted > 0) else {
            return;
        };
        let provider = some.script.as_deref().and_then(|script| {
            let (text, _) = ends_of(script, END_BYTES, 0).ok()?;
            provider_of(&script.to_string_lossy(), &text, &some.parts)
        });
        let by = provider.map_or_else(String::new, |provider| match provider.keeps_stderr {
            true => format!(" of {} ({})", provider.name, provider.source),
            false => format!(
                " of {}, which stores it elsewhere ({})",
                provider.name, provider.source
            ),
        });
        let job = some
            .job
            .as_ref()
            .map_or_else(String::new, |job| format!(" (job {job} among them)"));
        let blocks = counted(silent.len() as u64, "block");
        self.not_read.push(format!(
            "the standard error of {blocks}{by}{job}, which is not in {SCRIPTS}"
        ));
    }

    fn with_evidence(&self, finding: Finding) -> Finding {
        let known = self.blocks.values().rev().find_map(|block| {
            let job = block
                .job
                .as_ref()
                .map(|job| format!("parsl.log: the last block is job {job}"));
            job.or_else(|| {
                block
                    .script
                    .as_ref()
                    .map(|script| script.display().to_string())
            })
        });
        let status = self.statuses.last().cloned();
        let words = self.last_words.clone().or(status).or(known);
        let words = words.unwrap_or_else(|| format!("ls {SCRIPTS}"));
        finding.shown_by(words)
    }

    fn said(&self) -> String {
        match (&self.last_words, self.stderr_read) {
            (Some(line), _) => format!("A block's last message is in {line}"),
            (None, 0) => "No block has left its standard error here.".to_owned(),
            (None, read) => format!(
                "The blocks wrote nothing to {}.",
                counted(read, "standard error file")
            ),
        }
    }
}

/// Reads an exit status. LocalProvider writes a dash until the block has ended.
fn status_of(text: &str) -> Option<i32> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::finding::Severity;

    fn blocks(files: &[(&str, &str)], label: &str) -> Blocks {
        let place = tempfile::tempdir().unwrap();
        let scripts = place.path().join(SCRIPTS);
        fs::create_dir(&scripts).unwrap();
        for (name, text) in files {
            fs::write(scripts.join(name), text).unwrap();
        }
        Blocks::of(place.path(), label, &ParslLog::default())
    }

    #[test]
    fn several_files_are_one_block_of_one_executor() {
        let files = [
            (
                "parsl.parsl.ht.block-0.1796016713.1.submit",
                "universe    = vanilla",
            ),
            ("parsl.parsl.ht.block-0.1796016713.1.script", ""),
            (
                "parsl.parsl.ht.block-0.1796016713.1.stderr",
                "bash: pool: command not found\n",
            ),
            ("parsl.htex.block-0.1796016713.1", "#SBATCH --x"),
            ("parsl.htex.block-1.1796016713.1", "#SBATCH --x"),
            ("cmd_1.sh", ""),
        ];
        let none = ParslLog::default();
        let condor = blocks(&files, "ht");
        assert_eq!((condor.submitted(&none, "ht"), condor.stderr_read), (1, 1));
        let told = condor.never_registered(1, false);
        assert!(told.why.contains("command not found"), "{told:?}");
        assert!(told.evidence[0].contains("line 1: bash: pool"), "{told:?}");
        let slurm = blocks(&files, "htex");
        assert_eq!((slurm.submitted(&none, "htex"), slurm.stderr_read), (2, 0));
        let unread = slurm.not_read.join("; ");
        assert!(
            unread.contains("1 file in submit_scripts that no known provider writes"),
            "{unread}"
        );
        assert!(
            unread.contains("standard error of 2 blocks of SlurmProvider"),
            "{unread}"
        );
        assert!(!slurm.have_ended());
        assert_eq!(slurm.never_registered(2, false).severity, Severity::Warning);
    }

    #[test]
    fn the_last_message_decides_the_remedy() {
        let remedy_of = |words: &str| {
            let files = [("parsl.htex.block-0.1796016713.1.stderr", words)];
            blocks(&files, "htex").never_registered(1, false).remedy
        };
        for (words, has) in [
            (
                "x.sh: line 5: process_worker_pool.py: command not found",
                "Let the provider's worker_init enter",
            ),
            (
                "x.sh: line 3: conda: command not found",
                "uses conda, which the node lacks",
            ),
            (
                "slurmstepd: error: Detected 1 oom_kill event",
                "Request more memory",
            ),
            (
                "ConnectionError: No viable ZMQ url from: tcp://10.0.0.7:54321",
                "Set the executor's address",
            ),
        ] {
            let remedy = remedy_of(words);
            assert!(
                remedy.contains(has) && !remedy.contains("wait"),
                "{words}: {remedy}"
            );
        }
        let unknown = remedy_of("Traceback");
        for has in ["command not found", "another address", "wait"] {
            assert!(unknown.contains(has), "{unknown}");
        }
    }

    #[test]
    fn output_of_a_starting_block_is_no_end() {
        let (script, begin) = (
            "parsl.htex.block-0.1796028124.7147827.sh",
            "Lmod: loading module conda\n",
        );
        let of = |words: &str, status: &str| {
            let names = ["", ".err", ".ec"].map(|end| format!("{script}{end}"));
            let files = [(&*names[0], ""), (&*names[1], words), (&*names[2], status)];
            blocks(&files, "htex")
        };
        let starting = of(begin, "-");
        assert!(!starting.have_ended());
        let told = starting.never_registered(1, true);
        assert_eq!(told.severity, Severity::Warning);
        assert!(told.what.contains("has registered yet") && told.why.contains("Lmod: loading"));
        // After the end of the run, no block starts any more.
        assert_eq!(
            starting.never_registered(1, false).severity,
            Severity::Problem
        );
        for (words, status) in [(begin, "0"), ("", "0"), ("", "1"), ("oom-kill", "-")] {
            let ended = of(words, status);
            assert!(ended.have_ended(), "{words} {status}");
            assert_eq!(ended.never_registered(1, false).severity, Severity::Problem);
        }
    }

    #[test]
    fn an_old_release_names_no_executor() {
        let files = [("parsl.pbspro.1676016713.1.submit", "#PBS -l select=1")];
        let old = blocks(&files, "any");
        assert_eq!(old.submitted(&ParslLog::default(), "any"), 1);
        assert!(
            old.not_read[0].contains("of PBSProProvider"),
            "{:?}",
            old.not_read
        );
    }
}
