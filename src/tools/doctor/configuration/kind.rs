//! The kind of a file, by its name and first line: only Python is loaded.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::shared::words::command;

const FIRST_LINE_BYTES_MAX: u64 = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::doctor) enum Kind {
    Python,
    Notebook,
    /// The format of Globus Compute's configurations.
    Yaml,
    Shell,
    Other,
}

impl Kind {
    pub(super) fn of(file: &Path) -> Self {
        let ending = file.extension().unwrap_or_default().to_string_lossy();
        match ending.to_lowercase().as_str() {
            "py" | "pyw" => Self::Python,
            "ipynb" => Self::Notebook,
            "yaml" | "yml" | "j2" => Self::Yaml,
            _ => match interpreter(file) {
                line if line.contains("python") => Self::Python,
                line if line.contains("sh") => Self::Shell,
                _ if matches!(&*ending, "sh" | "bash" | "sbatch" | "slurm" | "pbs") => Self::Shell,
                _ => Self::Other,
            },
        }
    }

    /// Returns what the file is, and which file to name instead.
    pub(super) fn advice(self, file: &Path) -> String {
        let advice = match self {
            Self::Python => "Python",
            Self::Notebook => {
                let convert = command("jupyter nbconvert --to script", file);
                return format!(
                    "a notebook, whose cells doctor does not run; {convert} converts it to a \
                     Python file, which may need --run"
                );
            }
            Self::Yaml => {
                "YAML, probably of a Globus Compute endpoint; name the endpoint's directory \
                 (~/.globus_compute/NAME)"
            }
            Self::Shell => "a shell script; name the Python file that it starts",
            Self::Other => "not a Python file (NAME.py)",
        };
        advice.to_owned()
    }
}

/// Returns the first line after `#!`; empty if the file does not begin with `#!`.
fn interpreter(file: &Path) -> String {
    let mut bytes = Vec::new();
    let read =
        File::open(file).and_then(|file| file.take(FIRST_LINE_BYTES_MAX).read_to_end(&mut bytes));
    let text = String::from_utf8_lossy(&bytes);
    match (
        read,
        text.lines().next().and_then(|line| line.strip_prefix("#!")),
    ) {
        (Ok(_), Some(line)) => line.to_owned(),
        _ => String::new(),
    }
}
