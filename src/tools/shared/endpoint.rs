//! Endpoints of Globus Compute, by their directories.
//!
//! A person makes one by a name: `~/.globus_compute/NAME`. What it starts for its users are *user
//! endpoints*, each with a directory beside that, `uep.ID.USER_ID`, where ID is the endpoint's own.
//! An endpoint of before these has its engine, and the interchange's log, in its own directory.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Where all of them are, unless an environment variable says otherwise.
const HOME: &str = ".globus_compute";
const USER_ENDPOINT: &str = "uep.";
/// As many characters of a user endpoint's id as tell it from its like.
const ID_SHOWN: usize = 8;
/// What an endpoint is made with.
const CONFIG: &str = "config.yaml";
pub(crate) const TEMPLATE: &str = "user_config_template.yaml.j2";
pub(crate) const ENVIRONMENT: &str = "user_environment.yaml";
const REGISTERED: &str = "endpoint.json";

/// What an endpoint writes down when it has registered.
#[derive(Deserialize)]
struct Registered {
    endpoint_id: String,
}

/// Whether a person has made an endpoint in `directory`.
pub(crate) fn is_endpoint(directory: &Path) -> bool {
    directory.join(TEMPLATE).is_file() || is_at_home(directory) && directory.join(CONFIG).is_file()
}

/// `endpoint NAME` for an interchange that logs into `logdir`, which is an executor's directory in
/// that of its endpoint. None if that is no endpoint's.
pub(crate) fn name_of_run(logdir: &Path) -> Option<String> {
    let directory = logdir.parent()?;
    let own = directory.file_name()?.to_string_lossy();
    let Some((id, user_id)) = ids_of(&own) else {
        return is_at_home(directory).then(|| format!("endpoint {own}"));
    };
    // Of a user endpoint in another person's home, the id is all that is known here.
    let name = siblings(directory)
        .find(|sibling| id_of(sibling).as_deref() == Some(id))
        .and_then(|sibling| Some(sibling.file_name()?.to_string_lossy().into_owned()));
    let user_id: String = user_id.chars().take(ID_SHOWN).collect();
    Some(format!(
        "endpoint {}, user endpoint {user_id}",
        name.as_deref().unwrap_or(id)
    ))
}

/// `directory`, and those of the user endpoints that it has started here if it is an endpoint's.
pub(crate) fn with_user_endpoints(directory: &Path) -> Vec<PathBuf> {
    let mut all = user_endpoints(directory);
    all.insert(0, directory.to_owned());
    all
}

/// In the order of their ids.
pub(crate) fn user_endpoints(directory: &Path) -> Vec<PathBuf> {
    let Some(id) = id_of(directory) else {
        return Vec::new();
    };
    let is_of_it = |sibling: &PathBuf| {
        let name = sibling.file_name().unwrap_or_default().to_string_lossy();
        ids_of(&name).is_some_and(|(of, _)| of == id)
    };
    let mut all: Vec<PathBuf> = siblings(directory).filter(is_of_it).collect();
    all.sort();
    all
}

/// The endpoint's and its own.
fn ids_of(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix(USER_ENDPOINT)?.split_once('.')
}

fn id_of(endpoint: &Path) -> Option<String> {
    let name = endpoint.file_name()?.to_str()?;
    if name.starts_with(USER_ENDPOINT) {
        return None;
    }
    let text = fs::read(endpoint.join(REGISTERED)).ok()?;
    let registered: Registered = serde_json::from_slice(&text).ok()?;
    Some(registered.endpoint_id)
}

fn is_at_home(directory: &Path) -> bool {
    let parent = directory.parent();
    parent.is_some_and(|parent| parent.file_name() == Some(HOME.as_ref()))
}

fn siblings(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let parent = directory.parent().unwrap_or(directory);
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    entries.map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4ade2ce0-9c00-4d8c-b996-4dff8fbb4bd0";
    const USER_ID: &str = "e9097f8f-dcfc-3bc0-1b42-0b4ad5e3922a";

    #[test]
    fn a_run_has_the_name_that_its_owner_gave() {
        let place = tempfile::tempdir().unwrap();
        let home = place.path().join(HOME);
        let mine = home.join("my endpoint");
        let user = home.join(format!("uep.{ID}.{USER_ID}"));
        fs::create_dir_all(&mine).unwrap();
        fs::create_dir_all(&user).unwrap();
        let name = |directory: &Path| name_of_run(&directory.join("Engine-HTEX"));
        let unknown = format!("endpoint {ID}, user endpoint e9097f8f");
        assert_eq!(name(&user), Some(unknown.clone()));
        assert_eq!(user_endpoints(&mine), [""; 0].map(PathBuf::from));
        for broken in ["", "[]", "{\"endpoint_id\": 3}"] {
            fs::write(mine.join(REGISTERED), broken).unwrap();
            assert_eq!(name(&user), Some(unknown.clone()));
        }
        fs::write(
            mine.join(REGISTERED),
            format!("{{\"endpoint_id\": \"{ID}\"}}"),
        )
        .unwrap();
        assert_eq!(
            name(&user).as_deref(),
            Some("endpoint my endpoint, user endpoint e9097f8f")
        );
        assert_eq!(user_endpoints(&mine), [user]);
        assert_eq!(name(&mine).as_deref(), Some("endpoint my endpoint"));
    }

    #[test]
    fn what_is_no_endpoints_has_no_such_name() {
        for logdir in ["/scratch/runinfo/003/htex", "/htex", "htex", "/"] {
            assert_eq!(name_of_run(Path::new(logdir)), None, "{logdir}");
        }
    }

    #[test]
    fn an_endpoint_is_known_by_its_files() {
        let place = tempfile::tempdir().unwrap();
        assert!(!is_endpoint(place.path()));
        fs::write(place.path().join(CONFIG), "").unwrap();
        assert!(!is_endpoint(place.path()));
        fs::write(place.path().join(TEMPLATE), "").unwrap();
        assert!(is_endpoint(place.path()));
        let old = place.path().join(HOME).join("old");
        fs::create_dir_all(&old).unwrap();
        fs::write(old.join(CONFIG), "").unwrap();
        assert!(is_endpoint(&old));
    }
}
