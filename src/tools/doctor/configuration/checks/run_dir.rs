//! The run directory's name, which Parsl inserts into shell commands.

use std::os::unix::ffi::OsStrExt as _;

use crate::doctor::configuration::description::Executor;
use crate::shared::finding::Finding;

/// Characters that a shell does not take literally, or that `str.format` interprets. The managers'
/// command passes through `str.format` twice.
const SPECIAL: &[u8] = b" \t\n'\"`$&;|<>()\\{}";

/// Reports special characters in `run_dir`. Parsl's providers write the path of a block's script
/// without quotes, and so do managers' commands the paths of their logs and keys.
pub(in crate::doctor) fn name(executor: &Executor) -> Option<Finding> {
    let run_dir = executor.run_dir.as_deref()?;
    let shown = format!("run_dir={run_dir:?}");
    if run_dir.as_os_str().is_empty() {
        return Some(
            Finding::problem("run-dir-name", "run_dir is empty.")
                .because("No directory has an empty name, and Parsl cannot start.")
                .remedy("Leave run_dir out (the default is runinfo), or name a directory.")
                .shown_by(shown),
        );
    }
    executor.provider.as_ref()?.package()?;
    let absolute = std::path::absolute(run_dir).ok()?;
    let special = absolute.as_os_str().as_bytes().iter();
    let special = special.copied().find(|byte| SPECIAL.contains(byte))?;
    Some(
        Finding::problem(
            "run-dir-name",
            format!(
                "The path {} contains the character {:?}.",
                absolute.display(),
                char::from(special)
            ),
        )
        .because(
            "Parsl writes this path without quotes into the commands that start blocks and \
             managers. A shell would split or change it there, so no manager would register.",
        )
        .remedy("Set run_dir in the Config to a path of only letters, digits and -_.")
        .shown_by(shown),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::configuration::description::Provider;

    fn id(run_dir: &str, class: &str) -> Option<&'static str> {
        let executor = Executor {
            run_dir: Some(run_dir.into()),
            provider: Some(Provider {
                class: class.to_owned(),
                ..Provider::default()
            }),
            ..Executor::default()
        };
        name(&executor).map(|finding| finding.id)
    }

    #[test]
    fn characters_special_to_a_shell_are_reported() {
        let local = "parsl.providers.local.local.LocalProvider";
        for plain in [
            "runinfo",
            "/scratch/user/run_1.2-b",
            "/data/Zoë/run,1=a@b:+%",
            "/a/#1",
        ] {
            assert_eq!(id(plain, local), None, "{plain}");
        }
        for special in ["/my runs", "/it's", "/a$b", "/(1)", "/{a}", "", "/a\nb"] {
            assert_eq!(id(special, local), Some("run-dir-name"), "{special}");
        }
        // A provider that is not Parsl's may quote the path.
        assert_eq!(id("/my runs", "site.Provider"), None);
    }
}
