//! The interchange that the submit side's Parsl contains, and the protocol that its executor uses.

use std::ffi::OsString;
use std::path::PathBuf;

use super::files::read_text;
use super::hints::Hints;
use super::stock_script::Script;
use super::{SubmitVersions, find};
use crate::releases::{Standing, standing};

const MODULE: &str = "parsl.executors.high_throughput.interchange";
/// The executor's source below Parsl's directory; it has 40 KB in 2026.
const EXECUTOR: &str = "executors/high_throughput/executor.py";
const MAX_EXECUTOR_BYTES: u64 = 4 << 20;
/// A message type in the source of executors that receive observations instead of sending commands.
const MARK: &str = "manager-observation";

/// Parsl's own interchange: it reads the same start-up configuration as this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnInterchange {
    /// The program's file.
    pub program: PathBuf,
    /// The program's arguments.
    pub arguments: Vec<OsString>,
}

/// Returns the interchange that HTEX would start without this program: the script on PATH, else the
/// module in the environment with the Parsl that was found. A wrapper that is not a Python script
/// is skipped, because it may start this program again.
#[must_use]
pub fn own_interchange(hints: &Hints, found: &SubmitVersions) -> Option<OwnInterchange> {
    let script = Script::on_path(&hints.path, &hints.own_exe);
    if let Some(script) = script.filter(|script| script.interpreter.is_some()) {
        return Some(OwnInterchange {
            program: script.path,
            arguments: Vec::new(),
        });
    }
    // The package is <prefix>/lib/python3.11/site-packages/parsl.
    let prefix = found.package.as_deref()?.ancestors().nth(4)?;
    let names = found
        .python
        .iter()
        .map(|known| format!("python{}", known.version))
        .chain(["python3".to_owned()]);
    let mut programs = names.map(|name| prefix.join("bin").join(name));
    Some(OwnInterchange {
        program: programs.find(|program| program.is_file())?,
        arguments: vec!["-m".into(), MODULE.into()],
    })
}

/// Whether the executor waits for observations instead of sending commands. The executor's source
/// decides. If it cannot be read, the executor waits if its release is newer than the tested ones.
#[must_use]
pub fn awaits_observations(hints: &Hints) -> bool {
    // The flags are left out: they give versions but no directories.
    let found = find(&Hints {
        python_flag: None,
        parsl_flag: None,
        ..hints.clone()
    });
    let source = found
        .package
        .as_deref()
        .and_then(|package| read_text(&package.join(EXECUTOR), MAX_EXECUTOR_BYTES));
    let named = hints.parsl_flag.as_ref();
    let release = named.or(found.parsl.as_ref().map(|known| &known.version));
    match source {
        Some(source) => source.contains(MARK),
        None => release.is_some_and(|release| standing(release) == Standing::Newer),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            Self(tempfile::TempDir::new().unwrap())
        }

        fn put(&self, name: &str, text: &str) -> PathBuf {
            let file = self.0.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
            file
        }

        fn parsl(&self, version: &str, executor: Option<&str>) {
            let package = "lib/python3.11/site-packages/parsl";
            let text = format!("VERSION = '{version}'\n");
            self.put(&format!("{package}/version.py"), &text);
            if let Some(text) = executor {
                self.put(&format!("{package}/{EXECUTOR}"), text);
            }
        }

        /// Hints as if this program were installed in this directory.
        fn hints(&self, path: &str) -> Hints {
            Hints {
                python_flag: None,
                parsl_flag: None,
                starter_pid: None,
                path: self.0.path().join(path).into(),
                own_exe: self.put("bin/htex-interchange", "\u{7f}ELF"),
            }
        }
    }

    #[test]
    fn the_executors_source_decides_its_protocol() {
        let asks = "self.command_client.run('WORKER_BINDS')";
        let waits = "elif msg['type'] == 'manager-observation':";
        for (version, executor, is_told) in [
            ("2026.10.26", Some(asks), false),
            ("9999.01.04", Some(asks), false),
            ("1.3.0-dev", Some(waits), true),
            ("2026.10.26", Some(waits), true),
            ("9999.01.04", None, true),
            ("2026.10.26", None, false),
        ] {
            let place = Place::new();
            place.parsl(version, executor);
            let hints = place.hints("bin");
            assert_eq!(
                awaits_observations(&hints),
                is_told,
                "{version} {executor:?}"
            );
            let told = Hints {
                parsl_flag: Some("2026.10.26".to_owned()),
                ..hints
            };
            assert_eq!(awaits_observations(&told), executor == Some(waits));
        }
        let nowhere = Place::new().hints("bin");
        assert!(!awaits_observations(&nowhere));
    }

    #[test]
    fn its_own_interchange_is_the_script_on_path_or_the_module() {
        let place = Place::new();
        place.parsl("9999.01.04", None);
        let hints = place.hints("scripts");
        let found = find(&hints);
        assert_eq!(own_interchange(&hints, &found), None);
        let python = place.put("bin/python3.11", "");
        let own = own_interchange(&hints, &found).unwrap();
        assert_eq!(own.arguments, ["-m", MODULE]);
        assert_eq!(
            fs::canonicalize(own.program).unwrap(),
            fs::canonicalize(python).unwrap()
        );
        place.put(
            "scripts/interchange.py",
            "#!/bin/sh\nexec htex-interchange\n",
        );
        assert_eq!(own_interchange(&hints, &found).unwrap().arguments.len(), 2);
        let script = place.put("scripts/interchange.py", "#!/usr/bin/python3\n");
        let own = own_interchange(&hints, &found).unwrap();
        assert_eq!((own.program, own.arguments), (script, Vec::new()));
    }
}
