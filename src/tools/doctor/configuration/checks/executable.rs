//! Whether the system would run a file that is there.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, StatVfsMountFlags, access, statvfs};

use crate::shared::finding::Finding;
use crate::shared::words::shell_word;

pub(super) const WHY: &str = "Parsl cannot start its interchange, and parsl.load() raises.";
/// Of an ELF file: where its machine stands, and those by the names that Rust has for them.
const MACHINE_AT: usize = 18;
const MACHINES: [(&str, u16); 5] = [
    ("aarch64", 183),
    ("powerpc64", 21),
    ("riscv64", 243),
    ("s390x", 22),
    ("x86_64", 62),
];

/// Why `file`, which has the right bits, is not run all the same: it, or what runs it.
pub(super) fn why_not_run(file: &Path, interpreter: Option<PathBuf>) -> Option<Finding> {
    let all = [Some(file.to_owned()), interpreter];
    let mut all = all.into_iter().flatten();
    all.find_map(|file| {
        gone(&file)
            .or_else(|| on_noexec(&file))
            .or_else(|| not_for_us(&file))
            .or_else(|| of_another_machine(&file))
    })
}

/// What runs a script may not be there.
fn gone(file: &Path) -> Option<Finding> {
    (!file.exists()).then(|| {
        not_executable(
            file,
            "is to run the interchange, and is not there",
            "Correct the first line of the script, or install what it names.",
        )
    })
}

/// `what` is the case with `file`.
pub(super) fn not_executable(file: &Path, what: &str, remedy: impl Into<String>) -> Finding {
    let word = shell_word(file);
    Finding::problem(
        "launch-not-executable",
        format!("{} {what}.", file.display()),
    )
    .because(WHY)
    .remedy(remedy)
    .shown_by(format!("`ls -l {word}`"))
}

fn on_noexec(file: &Path) -> Option<Finding> {
    let flags = statvfs(file).ok()?.f_flag;
    flags.contains(StatVfsMountFlags::NOEXEC).then(|| {
        Finding::problem(
            "launch-noexec",
            format!(
                "{} lies on a file system that runs no programs.",
                file.display()
            ),
        )
        .because(WHY)
        .remedy("Install it elsewhere, or have the file system mounted without noexec.")
        .shown_by(format!(
            "`findmnt -no TARGET,OPTIONS -T {}` has noexec",
            shell_word(file)
        ))
    })
}

fn not_for_us(file: &Path) -> Option<Finding> {
    access(file, Access::EXEC_OK).is_err().then(|| {
        let remedy = format!("chmod +x {}, by its owner", shell_word(file));
        not_executable(file, "may not be run by this user", remedy)
    })
}

/// An emulator may run it, which cannot be known.
fn of_another_machine(file: &Path) -> Option<Finding> {
    let mut head = Vec::new();
    File::open(file)
        .ok()?
        .take(64)
        .read_to_end(&mut head)
        .ok()?;
    let is = machine_of(&head)?;
    let (ours, number) = MACHINES
        .iter()
        .find(|(name, _)| *name == std::env::consts::ARCH)?;
    (is != *number).then(|| {
        let known = MACHINES.iter().find(|(_, number)| *number == is);
        let name = known.map_or_else(|| format!("machine {is}"), |(name, _)| (*name).to_owned());
        Finding::warning(
            "launch-other-machine",
            format!(
                "{} is a program for {name}, and this machine is {ours}.",
                file.display()
            ),
        )
        .because("Without an emulator it does not run, and parsl.load() raises.")
        .remedy("Install the one for this machine.")
        .shown_by(format!("`file -L {}`", shell_word(file)))
    })
}

fn machine_of(head: &[u8]) -> Option<u16> {
    const BIG_ENDIAN: u8 = 2;
    let bytes = head
        .starts_with(b"\x7fELF")
        .then(|| head.get(MACHINE_AT..MACHINE_AT + 2))??;
    let bytes = [bytes[0], bytes[1]];
    Some(match head[5] == BIG_ENDIAN {
        true => u16::from_be_bytes(bytes),
        false => u16::from_le_bytes(bytes),
    })
}

#[cfg(test)]
mod tests {
    use std::env::current_exe;
    use std::fs;

    use super::*;

    #[test]
    fn a_program_is_for_one_machine() {
        assert_eq!(of_another_machine(&current_exe().unwrap()), None);
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("program");
        let mut bytes = fs::read(current_exe().unwrap()).unwrap();
        bytes.truncate(64);
        bytes[MACHINE_AT..MACHINE_AT + 2].copy_from_slice(&999_u16.to_le_bytes());
        fs::write(&file, &bytes).unwrap();
        let found = of_another_machine(&file).unwrap();
        assert!(found.what.contains("for machine 999"), "{}", found.what);
        fs::write(&file, "#!/bin/sh\n").unwrap();
        assert_eq!(of_another_machine(&file), None);
    }

    #[test]
    fn what_runs_a_script_must_run_itself() {
        let place = tempfile::tempdir().unwrap();
        let [script, interpreter] = ["script", "interpreter"].map(|name| place.path().join(name));
        for file in [&script, &interpreter] {
            fs::write(file, "").unwrap();
        }
        let id = |file: &Path| why_not_run(file, Some(interpreter.clone())).map(|found| found.id);
        assert_eq!(id(Path::new("/bin/sh")), Some("launch-not-executable"));
        assert_eq!(why_not_run(Path::new("/bin/sh"), None), None);
        let nowhere = place.path().join("nowhere");
        let found = why_not_run(Path::new("/bin/sh"), Some(nowhere)).unwrap();
        assert!(found.what.contains("is not there"), "{}", found.what);
    }
}
