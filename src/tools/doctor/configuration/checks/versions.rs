//! The releases of Parsl and Python: the submit side's, the managers', and those that the
//! interchange would assume for the submit side.

use std::ffi::OsStr;
use std::path::Path;

use crate::doctor::configuration::description::{Executor, SetUp};
use crate::shared::finding::Finding;
use crate::shared::words::shell_word;
use submit_side::releases::{self, NEWEST_TESTED, OLDEST_TESTED, Standing};
use submit_side::versions::{self, Hints, PythonVersion, SubmitVersions};

/// Reports a release of Parsl that is not served or not tested.
pub(in crate::doctor) fn window(parsl: &str) -> Option<Finding> {
    let finding = match releases::standing(parsl) {
        Standing::Tested => return None,
        Standing::Unknown => Finding::note(
            "parsl-unknown",
            format!("Parsl's version is {parsl}, which is not a release that doctor knows."),
        )
        .because(format!(
            "htex-interchange is tested with releases {OLDEST_TESTED} to {NEWEST_TESTED}."
        )),
        Standing::Older => {
            Finding::problem("parsl-too-old", format!("This Python has Parsl {parsl}."))
                .because(format!(
                    "htex-interchange serves Parsl {OLDEST_TESTED} and newer, and refuses to start \
                     for older releases."
                ))
                .remedy("Install a newer Parsl, both on the submit side and for the managers.")
                .shown_by(format!("parsl.version.VERSION is {parsl}"))
        }
        Standing::Newer => Finding::note("parsl-newer", format!("This Python has Parsl {parsl}."))
            .because(format!(
                "It is newer than {NEWEST_TESTED}, the last release that this program was tested \
                 with. The interchange serves it as long as its protocol is the same."
            ))
            .remedy("If anything is odd, look for a newer htex-interchange."),
    };
    Some(finding)
}

/// Reports wrong versions that htex-interchange at `program`, started with `arguments`, would
/// assume for the submit side.
pub(in crate::doctor) fn found_by_interchange(
    set_up: &SetUp,
    program: &Path,
    arguments: &[String],
) -> Option<Finding> {
    let given = |flag: &str| flag_of(arguments, flag);
    let found = versions::find(&Hints {
        python_flag: given("--python-version").and_then(|text| text.parse().ok()),
        parsl_flag: given("--parsl-version").map(str::to_owned),
        starter_pid: None,
        path: set_up.path.clone().into(),
        own_exe: program
            .canonicalize()
            .unwrap_or_else(|_| program.to_owned()),
    });
    let wrong = differences(set_up, &found);
    (!wrong.is_empty()).then(|| {
        Finding::problem(
            "versions-differ",
            format!(
                "The interchange would assume wrong versions of the submit side: {}.",
                wrong.join(" and ")
            ),
        )
        .because(
            "It would then refuse managers with the submit side's versions, and the run would end \
             with VersionMismatch.",
        )
        .remedy(
            "Install the interchange in the environment of this Python, or add the arguments \
             --python-version and --parsl-version to interchange_launch_cmd.",
        )
        .shown_by(wrong.join("; "))
    })
}

/// Returns the value of a flag, written as `--flag value` or `--flag=value`.
fn flag_of<'a>(arguments: &'a [String], flag: &str) -> Option<&'a str> {
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == flag {
            return rest.next().map(String::as_str);
        }
        let value = argument
            .strip_prefix(flag)
            .and_then(|rest| rest.strip_prefix('='));
        if value.is_some() {
            return value;
        }
    }
    None
}

/// Reports wrong versions of managers that run on this machine, in the submit process's
/// environment.
pub(in crate::doctor) fn of_worker_pool(set_up: &SetUp, pool: &Path) -> Option<Finding> {
    let found = versions::of_script(pool, OsStr::new(&set_up.path));
    let wrong = differences(set_up, &found);
    (!wrong.is_empty()).then(|| {
        Finding::problem(
            "manager-versions",
            format!(
                "Managers are started with {}, which has {}.",
                pool.display(),
                wrong.join(" and ")
            ),
        )
        .because(
            "The interchange refuses a manager whose versions differ from the submit side's, and \
             the run ends with VersionMismatch.",
        )
        .remedy(
            "Put the scripts of the submit side's environment first on PATH (activate the \
             environment).",
        )
        .shown_by(format!(
            "`head -n1 {}`: {}",
            shell_word(pool),
            wrong.join("; ")
        ))
    })
}

fn differences(set_up: &SetUp, found: &SubmitVersions) -> Vec<String> {
    let mut wrong = Vec::new();
    let python = set_up.python.parse::<PythonVersion>().ok();
    if let (Some(found), Some(is)) = (&found.python, python)
        && found.version != is
    {
        wrong.push(format!(
            "Python {} (the submit side has {is}), according to {}",
            found.version, found.source
        ));
    }
    if let (Some(found), Some(is)) = (&found.parsl, &set_up.parsl)
        && found.version != *is
    {
        wrong.push(format!(
            "Parsl {} (the submit side has {is}), according to {}",
            found.version, found.source
        ));
    }
    wrong
}

/// Notes that `worker_init` may give managers another environment.
pub(in crate::doctor) fn worker_init(executor: &Executor, set_up: &SetUp) -> Option<Finding> {
    let provider = executor.provider.as_ref()?;
    let init = provider.worker_init.as_deref()?;
    let enters = ["activate", "module load", "module use", "PATH=", "conda "];
    enters.iter().any(|word| init.contains(word)).then(|| {
        let python = set_up
            .python
            .rsplit_once('.')
            .map_or("", |(minor, _)| minor);
        Finding::note(
            "worker-environment",
            "worker_init sets up an environment for the managers.",
        )
        .because(format!(
            "It must have Python {python} and Parsl {}, or the run ends with VersionMismatch. \
             doctor does not examine it.",
            set_up
                .parsl
                .as_deref()
                .unwrap_or("of the same version as here"),
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_of_the_window_is_no_finding() {
        let id = |parsl| window(parsl).map(|finding| finding.id);
        assert_eq!(id("2025.06.02"), Some("parsl-too-old"));
        assert_eq!(id(OLDEST_TESTED), None);
        assert_eq!(id(NEWEST_TESTED), None);
        assert_eq!(id("9999.01.04"), Some("parsl-newer"));
        assert_eq!(id("2024.12.10a0"), Some("parsl-unknown"));
    }

    #[test]
    fn flags_have_two_forms() {
        let words = |text: &str| -> Vec<String> { text.split(' ').map(str::to_owned).collect() };
        let split = words("--a 1 --parsl-version 2 --b=3");
        assert_eq!(flag_of(&split, "--parsl-version"), Some("2"));
        assert_eq!(flag_of(&split, "--b"), Some("3"));
        assert_eq!(flag_of(&split, "--c"), None);
        assert_eq!(flag_of(&words("--bc=3"), "--b"), None);
    }

    #[test]
    fn only_what_is_known_on_both_sides_differs() {
        let set_up = SetUp {
            python: "3.11.7".to_owned(),
            parsl: Some("2026.10.26".to_owned()),
            ..SetUp::default()
        };
        assert!(differences(&set_up, &SubmitVersions::default()).is_empty());
        let found = |python: &str, parsl: &str| {
            versions::find(&Hints {
                python_flag: python.parse().ok(),
                parsl_flag: Some(parsl.to_owned()),
                starter_pid: None,
                path: "".into(),
                own_exe: "/".into(),
            })
        };
        assert!(differences(&set_up, &found("3.11", "2026.10.26")).is_empty());
        assert_eq!(differences(&set_up, &found("3.12", "2026.10.26")).len(), 1);
        assert_eq!(differences(&set_up, &found("3.12", "2026.10.05")).len(), 2);
    }
}
