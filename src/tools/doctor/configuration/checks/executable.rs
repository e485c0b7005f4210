//! Checks whether the system would run an existing file.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, StatVfsMountFlags, access, statvfs};

use crate::shared::finding::Finding;
use crate::shared::words::shell_word;
use submit_side::versions::{candidates, interpreter_of};

pub(super) const WHY: &str = "Parsl cannot start its interchange, and parsl.load() raises.";
const HEAD_BYTES_MAX: u64 = 512;
/// Offset of the machine's number in an ELF file. `MACHINES` has the numbers by the names that Rust
/// uses for the machines.
const MACHINE_AT: usize = 18;
const MACHINES: [(&str, u16); 5] = [
    ("aarch64", 183),
    ("powerpc64", 21),
    ("riscv64", 243),
    ("s390x", 22),
    ("x86_64", 62),
];

/// Returns why the system does not run `file` despite its permission bits. The reason is the file
/// itself or its interpreter.
pub(super) fn why_not_run(file: &Path, path: &OsStr) -> Option<Finding> {
    kept_off(file).or_else(|| {
        let head = head_of(file)?;
        match first_line(&head) {
            Some(line) => of_script(file, &line, path),
            None => without_format(file, &head),
        }
    })
}

fn kept_off(file: &Path) -> Option<Finding> {
    on_noexec(file)
        .or_else(|| not_for_us(file))
        .or_else(|| of_another_machine(file))
}

fn head_of(file: &Path) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    let file = File::open(file).ok()?;
    file.take(HEAD_BYTES_MAX).read_to_end(&mut head).ok()?;
    Some(head)
}

/// Returns the text after `#!` as the kernel reads it: a carriage return is a part of the text.
fn first_line(head: &[u8]) -> Option<String> {
    let line = head
        .strip_prefix(b"#!")?
        .split(|byte| *byte == b'\n')
        .next()?;
    Some(
        String::from_utf8_lossy(line)
            .trim_matches([' ', '\t'])
            .to_owned(),
    )
}

/// Reports a script whose interpreter is missing or cannot be run.
fn of_script(file: &Path, line: &str, path: &OsStr) -> Option<Finding> {
    let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
    let named = PathBuf::from(words.next()?);
    if !named.exists() {
        return Some(gone(file, line, &named.to_string_lossy()));
    }
    if named.ends_with("env")
        && let Some(name) = words.find(|word| *word != "-S")
        && !name.starts_with('-')
        && !name.contains(['=', '/'])
        && candidates(path, name).next().is_none()
    {
        return Some(gone(file, line, name));
    }
    let python = interpreter_of(file, path);
    if let Some(python) = python.as_deref().filter(|python| !python.exists()) {
        return Some(gone(file, line, &python.to_string_lossy()));
    }
    kept_off(&named).or_else(|| kept_off(&python?))
}

fn gone(file: &Path, line: &str, what: &str) -> Finding {
    let what = format!(
        "needs the interpreter {}, which does not exist",
        what.escape_debug()
    );
    let remedy =
        "Correct the first lines of the script, or install the interpreter that they name.";
    not_executable(file, &what, remedy).shown_by(format!(
        "`head -n2 {}`, which begins with #!{}",
        shell_word(file),
        line.escape_debug()
    ))
}

/// Reports a text without `#!`, which only a shell runs.
fn without_format(file: &Path, head: &[u8]) -> Option<Finding> {
    // The kernel may support other formats of binary files.
    let is_text = !head.starts_with(b"\x7fELF") && !head.contains(&0);
    is_text.then(|| {
        let what = "is a text file whose first line names no interpreter";
        let remedy = "Begin the file with #! and its interpreter, as in #!/bin/sh.";
        not_executable(file, what, remedy).shown_by(format!("`head -n1 {}`", shell_word(file)))
    })
}

/// Makes the finding that `file` is not executable because of `what`. The caller adds the evidence.
pub(super) fn not_executable(file: &Path, what: &str, remedy: impl Into<String>) -> Finding {
    Finding::problem(
        "launch-not-executable",
        format!("{} {what}.", file.display()),
    )
    .because(WHY)
    .remedy(remedy)
}

pub(super) fn rights_of(file: &Path) -> String {
    format!("`ls -l {}`", shell_word(file))
}

fn on_noexec(file: &Path) -> Option<Finding> {
    let flags = statvfs(file).ok()?.f_flag;
    flags.contains(StatVfsMountFlags::NOEXEC).then(|| {
        Finding::problem(
            "launch-noexec",
            format!(
                "{} is on a file system that permits no programs to run.",
                file.display()
            ),
        )
        .because(WHY)
        .remedy("Install the program elsewhere, or have the file system mounted without noexec.")
        .shown_by(format!(
            "`findmnt -no TARGET,OPTIONS -T {}` has noexec",
            shell_word(file)
        ))
    })
}

fn not_for_us(file: &Path) -> Option<Finding> {
    access(file, Access::EXEC_OK).is_err().then(|| {
        let remedy = format!(
            "The owner of the file must run chmod +x {}.",
            shell_word(file)
        );
        not_executable(file, "cannot be run by this user", remedy).shown_by(rights_of(file))
    })
}

/// Warns about a program for another machine. An emulator, which is not visible here, may run it.
fn of_another_machine(file: &Path) -> Option<Finding> {
    let head = head_of(file)?;
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
                "{} is a program for {name}, but this machine is {ours}.",
                file.display()
            ),
        )
        .because("Without an emulator it cannot run, and parsl.load() raises.")
        .remedy("Install the program for this kind of machine.")
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
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_program_for_another_machine_is_reported() {
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
    fn the_interpreter_of_a_script_must_be_executable() {
        let place = tempfile::tempdir().unwrap();
        let [script, interpreter] = ["script", "interpreter"].map(|name| place.path().join(name));
        let written = |text: &str| {
            fs::write(&script, text).unwrap();
            fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
            why_not_run(&script, place.path().as_os_str()).map(|found| found.what)
        };
        fs::write(&interpreter, "").unwrap();
        let interpreter = interpreter.display();
        for sound in [
            "#!/bin/sh\n",
            "#! /bin/sh -e\n",
            "#!/usr/bin/env -S script -u\n",
            "#!/usr/bin/env script\n",
            "#!/usr/bin/env -i script\n",
            "\x7fELF",
            "\0asm",
        ] {
            assert_eq!(written(sound), None, "{sound:?}");
        }
        for (odd, told) in [
            (format!("#!{interpreter}\n"), "cannot be run by this user"),
            (
                "#!/nowhere/python\n".to_owned(),
                "interpreter /nowhere/python, which",
            ),
            (
                "#!/bin/sh\r\n".to_owned(),
                "interpreter /bin/sh\\r, which does",
            ),
            (
                "#!/usr/bin/env python9\n".to_owned(),
                "interpreter python9, which",
            ),
            (
                "#!/bin/sh\n'''exec' /nowhere/python \"$0\" \"$@\"\n".to_owned(),
                "interpreter /nowhere/python, which",
            ),
            ("exec htex-interchange\n".to_owned(), "names no interpreter"),
            (String::new(), "names no interpreter"),
        ] {
            let what = written(&odd).unwrap_or_default();
            assert!(what.contains(told), "{odd:?}: {what}");
        }
    }
}
