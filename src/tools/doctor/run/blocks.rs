//! What became of a run's blocks, by the files that Parsl's providers keep beside their scripts.

use std::fs;
use std::path::{Path, PathBuf};

use crate::shared::finding::Finding;
use crate::shared::log_file::ends_of;
use crate::shared::words::counted;

const SCRIPTS: &str = "submit_scripts";
const FILES_MAX: usize = 10_000;
const STDERR_BYTES: u64 = 4 << 10;
const LINE_CHARACTERS_MAX: usize = 300;

/// What blocks of one executor left behind.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// Scripts that were given to the provider.
    pub(super) submitted: u64,
    /// Blocks that ended with another status than 0.
    failed: u64,
    /// The last line of a failed block's standard error, and its file.
    last_words: Option<(String, PathBuf)>,
}

impl Blocks {
    /// Of the executor `label`, in a run's directory.
    pub(super) fn of(run: &Path, label: &str) -> Self {
        let mut blocks = Self::default();
        let begins = format!("parsl.{label}.block-");
        let entries = fs::read_dir(run.join(SCRIPTS))
            .into_iter()
            .flatten()
            .flatten();
        let mut files: Vec<PathBuf> = entries
            .take(FILES_MAX)
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(&begins))
            .map(|entry| entry.path())
            .collect();
        files.sort();
        for file in files {
            let extension = file.extension().and_then(|extension| extension.to_str());
            match extension {
                Some("sh" | "submit") => blocks.submitted += 1,
                Some("ec") => blocks.failed += u64::from(has_failed(&file)),
                Some("err" | "stderr") => blocks.hear(file),
                _ => {}
            }
        }
        blocks
    }

    /// None of them registered.
    pub(super) fn never_registered(&self) -> Finding {
        Finding::problem(
            "never-registered",
            format!(
                "{} submitted, and no manager registered.",
                counted(self.submitted, "block")
            ),
        )
        .because(self.said())
        .remedy(
            "`command not found` wants the submit side's environment entered in the provider's \
             worker_init; a manager that finds no way wants another address; a job that has not \
             begun wants patience.",
        )
    }

    /// Some of them failed, and others did not.
    pub(super) fn failed(&self) -> Option<Finding> {
        (self.failed > 0).then(|| {
            Finding::warning(
                "blocks-failed",
                format!(
                    "{} of {} ended with an error.",
                    self.failed,
                    counted(self.submitted, "block")
                ),
            )
            .because(self.said())
            .remedy("Look at the files of that block, in submit_scripts.")
        })
    }

    pub(super) fn have_spoken(&self) -> bool {
        self.last_words.is_some()
    }

    fn hear(&mut self, file: PathBuf) {
        let Ok((text, _)) = ends_of(&file, 0, STDERR_BYTES) else {
            return;
        };
        let last = text.lines().rev().find(|line| !line.trim().is_empty());
        if let Some(line) = last {
            let line = line.trim().chars().take(LINE_CHARACTERS_MAX).collect();
            self.last_words = Some((line, file));
        }
    }

    fn said(&self) -> String {
        match &self.last_words {
            Some((line, file)) => format!("The last words of one are: {line} ({})", file.display()),
            None => "Nothing stands in their standard error.".to_owned(),
        }
    }
}

/// LocalProvider writes the status of a block there, and a dash until then.
fn has_failed(file: &Path) -> bool {
    let status = fs::read_to_string(file).unwrap_or_default();
    status.trim().parse::<i32>().is_ok_and(|status| status != 0)
}
