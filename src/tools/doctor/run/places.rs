//! Finds the run that a directory belongs to, and the logs of its executors.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::parsl_log;
use crate::shared::log_file::NAMES;

/// Directory levels that are searched, as in `status`: from a directory of projects' runs to an
/// executor's directory.
const DEPTH: usize = 3;
/// A directory with more entries than this is not a directory of runs.
const ENTRIES_MAX: usize = 20_000;
/// A directory that identifies a run even if all of its logs are missing.
pub(super) const SCRIPTS: &str = "submit_scripts";
const DATABASE: &str = "monitoring.db";

/// A run's directory, and the directories of its executors.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) run: PathBuf,
    pub(super) executors: Vec<PathBuf>,
}

impl Places {
    /// Finds the run of `directory`: a run's directory, an executor's, or one above several runs,
    /// of which the latest is taken.
    pub(super) fn of(directory: &Path) -> Option<Self> {
        let directory = directory.canonicalize().ok()?;
        if log_of(&directory).is_some() {
            let run = directory.parent()?.to_owned();
            return Some(Self {
                run,
                executors: vec![directory],
            });
        }
        let mut left = ENTRIES_MAX;
        let runs = runs_below(&directory, DEPTH, &mut left);
        let run = runs.into_iter().max_by_key(|run| age_of(run))?;
        let mut executors = directories_in(&run, &mut { ENTRIES_MAX });
        executors.retain(|path| log_of(path).is_some());
        Some(Self { run, executors })
    }
}

pub(super) fn log_of(directory: &Path) -> Option<PathBuf> {
    let files = NAMES.iter().map(|name| directory.join(name));
    files.into_iter().find(|log| log.is_file())
}

/// Finds runs at or below `directory`. Directories below a run belong to the run and are not
/// searched.
fn runs_below(directory: &Path, depth: usize, left: &mut usize) -> Vec<PathBuf> {
    let inside = directories_in(directory, left);
    let is_run = inside.iter().any(|path| log_of(path).is_some())
        || directory.join(SCRIPTS).exists()
        || parsl_log::file_of(directory).is_some();
    if is_run {
        return vec![directory.to_owned()];
    }
    if depth == 0 {
        return Vec::new();
    }
    let below = inside
        .iter()
        .flat_map(|path| runs_below(path, depth - 1, left));
    let below: Vec<PathBuf> = below.collect();
    // Monitoring's database is beside the runs by default, or in a run's directory.
    let has_database = directory.join(DATABASE).exists();
    match below.is_empty() && has_database {
        true => vec![directory.to_owned()],
        false => below,
    }
}

/// Returns the time of a run's last log entry, and the run's number. The number decides between
/// equal times. Parsl numbers the runs of a program from 000 on.
fn age_of(run: &Path) -> (SystemTime, u64) {
    let name = run.file_name().unwrap_or_default().to_string_lossy();
    let number = name.parse().unwrap_or(0);
    let written = |path: &Path| fs::metadata(path).and_then(|found| found.modified()).ok();
    let logs = directories_in(run, &mut { ENTRIES_MAX });
    let logs = logs.iter().filter_map(|path| log_of(path));
    let last = logs
        .chain(parsl_log::file_of(run))
        .filter_map(|log| written(&log))
        .max();
    (
        last.or_else(|| written(run))
            .unwrap_or(SystemTime::UNIX_EPOCH),
        number,
    )
}

fn directories_in(directory: &Path, left: &mut usize) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut inside: Vec<PathBuf> = entries
        .take(*left)
        .inspect(|_| *left -= 1)
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    inside.sort();
    inside
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(files: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let all = place.path().canonicalize().unwrap();
        for file in files {
            let file = all.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        (place, all)
    }

    fn run_of(directory: &Path) -> Option<(PathBuf, usize)> {
        let places = Places::of(directory)?;
        Some((places.run, places.executors.len()))
    }

    #[test]
    fn a_run_is_found_from_above_and_from_within() {
        let files = [
            "999/parsl.log",
            "999/htex/interchange.log",
            "1000/htex/interchange.jsonlog",
        ];
        let (_place, all) = made(&files);
        let last = Some((all.join("1000"), 1));
        assert_eq!(run_of(&all.join("1000/htex")), last);
        assert_eq!(run_of(&all.join("1000")), last);
        // The files have the same time, so the run's number decides, not the order of the names.
        for file in files {
            let file = fs::File::open(all.join(file)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        }
        assert_eq!(run_of(&all), last);
        let project = all.parent().unwrap().join(all.file_name().unwrap());
        assert_eq!(run_of(&project), last);
    }

    #[test]
    fn a_run_is_known_by_any_of_its_parts() {
        for (file, executors) in [
            ("parsl.jsonlog", 0),
            ("a/interchange.log", 1),
            ("submit_scripts/parsl.a.block-0.1796016713.5", 0),
            ("monitoring.db", 0),
        ] {
            let (_place, all) = made(&[file]);
            assert_eq!(run_of(&all), Some((all.clone(), executors)), "{file}");
        }
        let (_place, all) = made(&["deep/er/001/a/interchange.log", "deep/other.txt"]);
        assert_eq!(run_of(&all), Some((all.join("deep/er/001"), 1)));
        let (_place, all) = made(&["some.txt"]);
        assert_eq!(run_of(&all), None);
        assert_eq!(run_of(&all.join("gone")), None);
        fs::write(
            all.join("my.log"),
            "x INFO: Starting DataFlowKernel with config",
        )
        .unwrap();
        assert_eq!(run_of(&all), Some((all.clone(), 0)));
    }
}
