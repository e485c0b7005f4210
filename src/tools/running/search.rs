//! Finds this user's interchanges on this machine, and those that a tool's DIR stands for.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use status::asking::{DIRECTORY_VARIABLE, SOCKET_SUFFIX, directories};
use status::socket_name;

use super::client::{Found, ask_one};
use super::last_words;
use crate::shared::endpoint;
use crate::shared::output::{Trouble, WRONG_ARGUMENTS, complain};
use crate::shared::words::command;

/// Maximum number of interchanges queried at a time.
const ASKED_AT_ONCE: usize = 16;
/// Permission bits of group and others, none of which the sockets' directory may have.
const NOT_OURS_ALONE: u32 = 0o077;
/// Maximum number of killed processes that are named.
const PIDS_NAMED: usize = 5;

/// The interchanges that were found, and the places that were searched.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// The interchanges, in the order of their starts.
    pub(crate) found: Vec<Found>,
    /// Each directory that was searched, and the result.
    pub(crate) places: Vec<(PathBuf, String)>,
}

/// Queries every interchange of this user on this machine for its status document.
pub(crate) fn survey() -> Survey {
    let mut survey = Survey::default();
    let mut looked_into = Vec::new();
    for directory in directories(rustix::process::getuid().as_raw()) {
        match sockets_in(&directory) {
            Ok(sockets) => looked_into.push((directory, sockets)),
            Err(error) => survey.places.push((directory, said(&error))),
        }
    }
    for (directory, sockets) in looked_into {
        let found = ask_all(&sockets);
        let unheard = |socket: &&PathBuf| !found.iter().any(|found| found.socket == **socket);
        let unheard: Vec<&PathBuf> = sockets.iter().filter(unheard).collect();
        survey
            .places
            .push((directory, told_of_sockets(found.len(), &unheard)));
        survey.found.extend(found);
    }
    survey.found.sort_by(|one, other| {
        let key = |found: &Found| (found.started_at_s(), found.socket.clone());
        let (one, other) = (key(one), key(other));
        one.0.total_cmp(&other.0).then(one.1.cmp(&other.1))
    });
    survey
}

fn ask_all(sockets: &[PathBuf]) -> Vec<Found> {
    let mut found = Vec::new();
    for some in sockets.chunks(ASKED_AT_ONCE) {
        thread::scope(|scope| {
            let asked: Vec<_> = some
                .iter()
                .map(|socket| scope.spawn(|| ask_one(socket)))
                .collect();
            let answers = asked.into_iter().filter_map(|thread| thread.join().ok());
            found.extend(answers.flatten());
        });
    }
    found
}

/// Describes the sockets in a directory: how many answered, which were left by killed processes and
/// removed, and how many stay because a process elsewhere may listen at them.
fn told_of_sockets(alive: usize, unheard: &[&PathBuf]) -> String {
    let (dead, foreign): (Vec<&PathBuf>, Vec<&PathBuf>) = unheard
        .iter()
        .partition(|socket| socket_name::is_left_behind(socket));
    let sockets = |number| match number {
        0 => "no socket".to_owned(),
        1 => "1 socket".to_owned(),
        several => format!("{several} sockets"),
    };
    let mut told = sockets(alive);
    if !foreign.is_empty() {
        told += &format!(
            "; {} kept at which no process listens here: they belong to other machines or \
             containers, are older than the last boot, or have the id of a running process",
            foreign.len()
        );
    }
    if dead.is_empty() {
        return told;
    }
    let mut pids: Vec<String> = dead
        .iter()
        .filter_map(|socket| Some(socket_name::pid_in(socket)?.to_string()))
        .collect();
    if pids.len() > PIDS_NAMED {
        pids.truncate(PIDS_NAMED);
        pids.push("others".to_owned());
    }
    format!(
        "{told}; {} left by killed processes ({}), now removed",
        dead.len(),
        pids.join(", ")
    )
}

fn sockets_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let found = fs::symlink_metadata(directory)?;
    let uid = rustix::process::getuid().as_raw();
    if !found.is_dir() || found.uid() != uid || found.mode() & NOT_OURS_ALONE != 0 {
        return Err(io::Error::other(
            "neither searched nor used by an interchange: it must be a directory of this user with \
             mode 0700",
        ));
    }
    let entries = fs::read_dir(directory)?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_socket = |path: &PathBuf| path.to_string_lossy().ends_with(SOCKET_SUFFIX);
    let mut sockets: Vec<PathBuf> = paths.filter(is_socket).collect();
    sockets.sort();
    Ok(sockets)
}

fn said(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        return "does not exist".to_owned();
    }
    error.to_string()
}

/// Describes the places that were searched without success.
pub(crate) fn told_of(places: &[(PathBuf, String)]) -> String {
    let mut told = "Searched for sockets in:\n".to_owned();
    for (directory, what) in places {
        told += &format!("    {}: {what}\n", directory.display());
    }
    told + &format!(
        "Interchanges on other machines or of other users are found only there and by those users. \
         {DIRECTORY_VARIABLE} names another directory, and must be the same for the interchange \
         and this tool.\n"
    )
}

/// Returns the interchanges whose log directory is at or below `directory`. For an endpoint's
/// directory, also returns those of its user endpoints. Of several runs, returns only the latest
/// unless `all` is set. Also returns how many were left out.
pub(crate) fn below(found: Vec<Found>, directory: &Path, all: bool) -> (Vec<Found>, usize) {
    // A directory that was removed cannot be resolved, and keeps its name.
    let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
    let real = |path: PathBuf| fs::canonicalize(&path).unwrap_or_else(|_| absolute(path));
    let directories = endpoint::with_user_endpoints(&real(directory.to_owned()));
    let is_meant = |logdir: &Path| {
        directories
            .iter()
            .any(|directory| logdir.starts_with(directory))
    };
    let mut matching: Vec<(PathBuf, Found)> = found
        .into_iter()
        .filter_map(|found| Some((real(found.logdir()?), found)))
        .filter(|(logdir, _)| is_meant(logdir))
        .collect();
    let count = matching.len();
    // The log directories of one run's executors have the same parent.
    let newest = matching
        .last()
        .and_then(|(logdir, _)| logdir.parent().map(Path::to_owned));
    if !all {
        matching.retain(|(logdir, _)| logdir.parent() == newest.as_deref());
    }
    let left_out = count - matching.len();
    (
        matching.into_iter().map(|(_, found)| found).collect(),
        left_out,
    )
}

/// Describes where interchanges were searched, and what the logs there show.
pub(crate) fn none_found(directory: Option<&Path>, places: &[(PathBuf, String)]) -> String {
    // Resolves `.`, so that the text names the directory.
    let directory = directory.map(|named| named.canonicalize().unwrap_or_else(|_| named.into()));
    let directory = directory.as_deref();
    let mut text = match directory {
        Some(directory) => format!(
            "No running interchange of this user on this machine has its logs at or below {}.\n",
            directory.display()
        ),
        None => "No interchange of this user runs on this machine.\n".to_owned(),
    };
    text += &told_of(places);
    if directory.is_none() {
        text += "`htex-interchange status RUNDIR` shows what the logs of a run (runinfo/000) say \
                 about its end.\n";
    }
    if let Some(directory) = directory {
        let told = last_words::told_below(&endpoint::with_user_endpoints(directory));
        text += &match told.is_empty() {
            true => "No log of an interchange exists there, either.\n".to_owned(),
            false => format!(
                "{told}{} examines what went wrong.\n",
                command("htex-interchange doctor", directory)
            ),
        };
    }
    text
}

/// Runs `tool` if the named directory can be read, or if it was removed and a running interchange
/// has its logs there. Otherwise reports why not.
pub(crate) fn with_directory(
    directory: Option<&Path>,
    tool: impl FnOnce() -> Result<ExitCode, Trouble>,
) -> Result<ExitCode, Trouble> {
    match directory.map(|directory| (directory.display(), directory.read_dir())) {
        Some((named, Err(error))) if !is_removed(&error, directory) => {
            complain(format!("htex-interchange: {named}: {error}\n"));
            Ok(ExitCode::from(WRONG_ARGUMENTS))
        }
        _ => tool(),
    }
}

/// Whether the directory was removed while an interchange with its logs there still runs.
fn is_removed(error: &io::Error, directory: Option<&Path>) -> bool {
    let is_gone = error.kind() == io::ErrorKind::NotFound;
    directory.is_some_and(|gone| is_gone && !below(survey().found, gone, true).0.is_empty())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use crate::running::client::Answer;
    use crate::running::sample;

    use super::*;

    fn found(logdir: &Path, started_at_s: f64) -> Found {
        let mut document = sample::document();
        document.interchange.logdir = logdir.display().to_string();
        document.interchange.started_at_s = started_at_s;
        Found {
            socket: PathBuf::from("/nowhere"),
            answer: Answer::Told {
                document: Box::new(document),
                json: String::new(),
            },
        }
    }

    fn logdirs(found: &[Found]) -> Vec<PathBuf> {
        found.iter().filter_map(Found::logdir).collect()
    }

    #[test]
    fn sockets_of_other_machines_are_counted_separately() {
        let [dead, other] = [
            PathBuf::from(socket_name::new(u32::MAX, 7)),
            PathBuf::from("8-0123456789ab-00000008.sock"),
        ];
        let told = told_of_sockets(2, &[&dead, &other]);
        assert!(
            told.starts_with(
                "2 sockets; 1 kept at which no process listens here: they belong to other"
            ),
            "{told}"
        );
        assert!(
            told.contains("1 left by killed processes (4294967295), now removed"),
            "{told}"
        );
    }

    #[test]
    fn a_directory_of_runs_stands_for_its_newest_run() {
        let runs = tempfile::tempdir().unwrap();
        let all = ["000/a", "001/a", "001/b"].map(|name| runs.path().join(name));
        for directory in &all {
            fs::create_dir_all(directory).unwrap();
        }
        let link = runs.path().join("link");
        std::os::unix::fs::symlink(runs.path().join("000"), &link).unwrap();
        let some = || {
            vec![
                found(&all[0], 1.0),
                found(&all[1], 2.0),
                found(&all[2], 2.5),
            ]
        };
        let (chosen, left_out) = below(some(), runs.path(), false);
        assert_eq!((logdirs(&chosen), left_out), (all[1..].to_vec(), 1));
        assert_eq!(below(some(), runs.path(), true).0.len(), 3);
        let (chosen, left_out) = below(some(), &link, false);
        assert_eq!((logdirs(&chosen), left_out), (all[..1].to_vec(), 0));
        assert_eq!(logdirs(&below(some(), &all[2], false).0), all[2..]);
        assert!(below(some(), Path::new("/"), true).0.len() == 3);
        // A directory whose name only begins with the same characters does not match.
        assert!(below(some(), &runs.path().join("00"), true).0.is_empty());
    }

    #[test]
    fn an_endpoint_has_its_runs_beside_it() {
        let place = tempfile::tempdir().unwrap();
        let [mine, run, other] =
            ["mine", "uep.ID.USER/htex", "uep.OTHER.USER/htex"].map(|name| place.path().join(name));
        for directory in [&mine, &run, &other] {
            fs::create_dir_all(directory).unwrap();
        }
        let some = || vec![found(&run, 1.0), found(&other, 2.0)];
        assert!(below(some(), &mine, false).0.is_empty());
        fs::write(mine.join("endpoint.json"), r#"{"endpoint_id": "ID"}"#).unwrap();
        let (chosen, left_out) = below(some(), &mine, false);
        assert_eq!((logdirs(&chosen), left_out), (vec![run], 0));
    }

    /// Such a name is not valid UTF-8: the document has its bytes beside a text.
    #[test]
    fn a_directory_whose_name_is_no_text_is_found() {
        let runs = tempfile::tempdir().unwrap();
        let directory = |name: &[u8]| runs.path().join(OsStr::from_bytes(name));
        let names = [directory(b"Zo\xeb"), directory(b"Zo\xec")];
        let said = names.each_ref().map(|directory| {
            fs::create_dir_all(directory).unwrap();
            let mut document = sample::document();
            document.interchange.logdir = directory.display().to_string();
            document.interchange.logdir_bytes = Some(directory.as_os_str().as_bytes().to_vec());
            serde_json::to_string(&document).unwrap()
        });
        let some = || {
            said.iter()
                .map(|json| Found {
                    socket: PathBuf::from("/nowhere"),
                    answer: Answer::Told {
                        document: Box::new(serde_json::from_str(json).unwrap()),
                        json: json.clone(),
                    },
                })
                .collect()
        };
        for directory in &names {
            let chosen = below(some(), directory, true).0;
            assert_eq!(logdirs(&chosen), std::slice::from_ref(directory));
        }
    }
}
