//! Where a Python reads .pth files. The Python itself reports this, because distributions and
//! environments differ.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::{Enabled, Pair};
use crate::shared::child::ended_within;
use crate::shared::words::{clipped, plain};

const QUESTION: &str = include_str!("question.py");
/// Time limit for the answer. A Python starts in 20 ms from a warm disk, and may take long from a
/// network file system.
const ASKED_FOR: Duration = Duration::from_secs(20);
const ANSWER_BYTES_MAX: u64 = 256 << 10;
const SAID_COLUMNS_MAX: usize = 100;

/// The answer of the script `question.py`.
#[derive(Debug, Deserialize)]
pub(crate) struct Site {
    /// The Python's version, for example 3.11.7.
    pub(crate) version: String,
    #[serde(deserialize_with = "path")]
    purelib: PathBuf,
    /// The directory of the user's own packages, if this Python uses them.
    #[serde(deserialize_with = "path_or_none")]
    user: Option<PathBuf>,
    /// The directories in which the Python reads .pth files, in its order.
    #[serde(deserialize_with = "paths")]
    places: Vec<PathBuf>,
}

/// Why Python gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoSite {
    #[error("{} cannot be run: {error}", python.display())]
    NotRun { python: PathBuf, error: io::Error },
    #[error("{} did not answer in {} s", .0.display(), ASKED_FOR.as_secs())]
    Silent(PathBuf),
    #[error("{} is not a usable Python: {said}", python.display())]
    Unreadable { python: PathBuf, said: String },
}

impl Site {
    pub(crate) fn of(python: &Path) -> Result<Self, NoSite> {
        let (answer, said) = ask(python)?;
        // The answer is the last line: a sitecustomize may print other lines before.
        let document = last_line(&answer).unwrap_or_default();
        serde_json::from_str(document).map_err(|error| {
            let said = last_line(&said).map(|line| clipped(&plain(line), SAID_COLUMNS_MAX));
            NoSite::Unreadable {
                python: python.to_owned(),
                said: said.unwrap_or_else(|| error.to_string()),
            }
        })
    }

    /// Returns the place for files in this Python's packages. None if Python reads no .pth file
    /// there.
    pub(crate) fn own(&self) -> Option<Pair> {
        let is_read = self.places.contains(&self.purelib);
        is_read.then(|| Pair::below(&self.purelib))
    }

    /// Returns the place for files in the user's own packages. None if this Python does not use
    /// them.
    pub(crate) fn of_user(&self) -> Option<Pair> {
        self.user.as_deref().map(Pair::below)
    }

    /// Returns what this Python starts instead of Parsl's interchange. The first place with files
    /// counts.
    pub(crate) fn enabled(&self) -> Option<Enabled> {
        self.places
            .iter()
            .find_map(|place| Pair::below(place).read())
    }
}

/// Runs the script. Returns its standard output and its standard error.
fn ask(python: &Path) -> Result<(String, String), NoSite> {
    let not_run = |error| NoSite::NotRun {
        python: python.to_owned(),
        error,
    };
    let mut child = Command::new(python)
        .args(["-c", QUESTION])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(not_run)?;
    if ended_within(&mut child, ASKED_FOR)
        .map_err(not_run)?
        .is_none()
    {
        return Err(NoSite::Silent(python.to_owned()));
    }
    let answer = child.stdout.take().map(text_of).unwrap_or_default();
    let said = child.stderr.take().map(text_of).unwrap_or_default();
    Ok((answer, said))
}

fn last_line(text: &str) -> Option<&str> {
    text.trim_end().lines().next_back()
}

fn text_of(pipe: impl io::Read) -> String {
    let mut bytes = Vec::new();
    let _ = pipe.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn path<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
    Vec::deserialize(from).map(of_bytes)
}

fn path_or_none<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
    let bytes: Option<Vec<u8>> = Option::deserialize(from)?;
    Ok(bytes.map(of_bytes))
}

fn paths<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PathBuf>, D::Error> {
    let all: Vec<Vec<u8>> = Vec::deserialize(from)?;
    Ok(all.into_iter().map(of_bytes).collect())
}

fn of_bytes(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes))
}
