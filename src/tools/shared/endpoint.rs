//! Endpoints of Globus Compute, identified by their directories.
//!
//! A person creates an endpoint with a name: `~/.globus_compute/NAME`. The processes that an
//! endpoint starts for its users are *user endpoints*. A user endpoint's directory is beside the
//! endpoint's: `uep.ID.USER_ID`, where ID is the id of the endpoint. Endpoints of older releases
//! have no user endpoints: the engine, and the interchange's log, are in the endpoint's own
//! directory.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The directory of all endpoints, unless an environment variable names another.
const HOME: &str = ".globus_compute";
const USER_ENDPOINT: &str = "uep.";
/// Characters of a user endpoint's id that are enough to distinguish it.
const ID_SHOWN: usize = 8;
/// The configuration with which an endpoint is created.
const CONFIG: &str = "config.yaml";
pub(crate) const TEMPLATE: &str = "user_config_template.yaml.j2";
pub(crate) const ENVIRONMENT: &str = "user_environment.yaml";
const REGISTERED: &str = "endpoint.json";

/// The file that an endpoint writes after its registration.
#[derive(Deserialize)]
struct Registered {
    endpoint_id: String,
}

/// Whether `directory` is an endpoint that a person created.
pub(crate) fn is_endpoint(directory: &Path) -> bool {
    directory.join(TEMPLATE).is_file() || is_at_home(directory) && directory.join(CONFIG).is_file()
}

/// Returns `endpoint NAME` if `logdir`, the directory of an executor's log, is in the directory of
/// an endpoint. Otherwise returns None.
pub(crate) fn name_of_run(logdir: &Path) -> Option<String> {
    let directory = logdir.parent()?;
    let own = directory.file_name()?.to_string_lossy();
    let Some((id, user_id)) = ids_of(&own) else {
        return is_at_home(directory).then(|| format!("endpoint {own}"));
    };
    // The name of an endpoint in another person's home is unknown here; only its id is known.
    let name = siblings(directory)
        .find(|sibling| id_of(sibling).as_deref() == Some(id))
        .and_then(|sibling| Some(sibling.file_name()?.to_string_lossy().into_owned()));
    let user_id: String = user_id.chars().take(ID_SHOWN).collect();
    Some(format!(
        "endpoint {}, user endpoint {user_id}",
        name.as_deref().unwrap_or(id)
    ))
}

/// Returns `directory`. If that is an endpoint's, also returns the directories of its user
/// endpoints.
pub(crate) fn with_user_endpoints(directory: &Path) -> Vec<PathBuf> {
    let mut all = user_endpoints(directory);
    all.insert(0, directory.to_owned());
    all
}

/// Returns the directories of an endpoint's user endpoints, in the order of their ids.
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

/// Splits the name of a user endpoint's directory into the id of the endpoint and that of the user
/// endpoint.
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
    fn a_run_is_named_after_its_endpoint() {
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
    fn a_run_outside_of_endpoints_has_no_endpoint_name() {
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
