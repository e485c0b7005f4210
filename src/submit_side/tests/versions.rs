//! Environments laid out as pip leaves them, and real processes that show or report their Python.

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use submit_side::versions::{Hints, PythonVersion, Search, Source, SubmitVersions, find};
use tempfile::TempDir;

#[test]
fn flags_are_used_without_a_search() {
    let place = Place::new();
    let own = place.environment("own", &[("3.9", "2026.08.10")]);
    let mut hints = place.hints();
    hints.own_exe = own.join("bin/htex-interchange");
    hints.python_flag = Some("3.11.7".parse().unwrap());
    hints.parsl_flag = Some("1.3.0-dev".to_owned());
    let found = find(&hints);
    assert_eq!(said(&found), ("3.11", "1.3.0-dev"));
    assert_eq!(sources(&found), [Some(Source::Flag), Some(Source::Flag)]);
}

#[test]
fn beside_the_binary_comes_before_the_stock_script() {
    let place = Place::new();
    let own = place.environment("own", &[("3.12", "2026.10.05")]);
    let stock = place.environment("stock", &[("3.11", "2026.10.26")]);
    place.script(&stock.join("bin/interchange.py"), "#!/bin/sh\n");
    let mut hints = place.hints();
    hints.path = stock.join("bin").into();
    let found = find(&hints);
    assert_eq!(said(&found), ("3.11", "2026.10.26"));
    let source = Source::BesideScript(stock.join("bin/interchange.py"));
    assert_eq!(sources(&found), [Some(source.clone()), Some(source)]);

    hints.own_exe = own.join("bin/htex-interchange");
    let found = find(&hints);
    assert_eq!(
        said(&found),
        ("3.12", "2026.10.05"),
        "zero-padded as VERSION is"
    );
    let source = Source::BesideBinary(hints.own_exe);
    assert_eq!(sources(&found), [Some(source.clone()), Some(source)]);
}

#[test]
fn several_environments_count_only_if_one_can_be_identified() {
    let place = Place::new();
    let own = place.environment("own", &[("3.9", "2026.08.10"), ("3.11", "2026.10.26")]);
    let mut hints = place.hints();
    hints.own_exe = own.join("bin/htex-interchange");
    assert_eq!(find(&hints), SubmitVersions::default());

    hints.python_flag = Some(PythonVersion {
        major: 3,
        minor: 11,
    });
    assert_eq!(said(&find(&hints)), ("3.11", "2026.10.26"));
    hints.python_flag = Some(PythonVersion {
        major: 3,
        minor: 12,
    });
    assert_eq!(said(&find(&hints)), ("3.12", ""));
    hints.python_flag = None;
    hints.parsl_flag = Some("2026.08.10".to_owned());
    assert_eq!(said(&find(&hints)), ("3.9", "2026.08.10"));

    // The first line of the stock script may name the Python.
    hints.parsl_flag = None;
    hints.own_exe = place.hints().own_exe;
    hints.path = own.join("bin").into();
    place.script(
        &own.join("bin/interchange.py"),
        "#!/none/such/bin/python3.9\n",
    );
    assert_eq!(said(&find(&hints)), ("3.9", "2026.08.10"));
}

#[test]
fn a_script_outside_leads_to_the_environment_of_its_interpreter() {
    let place = Place::new();
    let stock = place.environment("stock", &[("3.11", "2026.10.26")]);
    let shebang = format!("#!{}/bin/python\n", stock.display());
    place.script(&place.dir().join("bin/interchange.py"), &shebang);
    let mut hints = place.hints();
    hints.path = place.dir().join("bin").into();
    assert_eq!(said(&find(&hints)), ("3.11", "2026.10.26"));

    // A link to a script inside the environment leads there as well.
    place.script(&stock.join("bin/interchange.py"), "#!/bin/sh\n");
    fs::create_dir_all(place.dir().join("links")).unwrap();
    let link = place.dir().join("links/interchange.py");
    symlink(stock.join("bin/interchange.py"), link).unwrap();
    hints.path = place.dir().join("links").into();
    assert_eq!(said(&find(&hints)), ("3.11", "2026.10.26"));
}

#[test]
fn own_and_non_executable_files_are_not_the_stock_script() {
    let place = Place::new();
    let ours = place.environment("ours", &[("3.8", "1"), ("3.9", "2")]);
    let own_exe = ours.join("bin/htex-interchange");
    fs::write(&own_exe, "#!/usr/bin/python3.8\n").unwrap();
    fs::set_permissions(&own_exe, Permissions::from_mode(0o755)).unwrap();
    symlink(&own_exe, ours.join("bin/interchange.py")).unwrap();

    let copy = place.environment("copy", &[("3.7", "3")]);
    place.script(&copy.join("bin/interchange.py"), "\u{7f}ELF\n");
    let data = place.environment("data", &[("3.10", "4")]);
    fs::write(data.join("bin/interchange.py"), "#!/usr/bin/python3.10\n").unwrap();
    let directory = place.environment("directory", &[("3.10", "5")]);
    fs::create_dir(directory.join("bin/interchange.py")).unwrap();

    let stock = place.environment("stock", &[("3.11", "2026.10.26")]);
    place.script(&stock.join("bin/interchange.py"), "#!/bin/sh\n");
    let mut hints = place.hints();
    hints.own_exe = own_exe;
    let order = [&ours, &copy, &data, &directory, &stock].map(|prefix| prefix.join("bin"));
    hints.path = std::env::join_paths(order).unwrap();
    assert_eq!(said(&find(&hints)), ("3.11", "2026.10.26"));
}

#[test]
fn the_parents_memory_map_shows_python_and_parsl() {
    let _alone = alone();
    let place = Place::new();
    let version = real_python().version;
    let prefix = place.environment("v e", &[(&version.to_string(), "2026.10.05")]);
    let packages = prefix.join(format!("lib/python{version}/site-packages"));
    let other = prefix.join("other/site-packages");
    write(&other.join("parsl/version.py"), "VERSION = '1'");
    let parent = Parent::with_mapped(&[
        other.join("numpy/core/_x.abi3.so"),
        packages.join("zmq/backend/cython/_zmq.abi3.so"),
    ]);
    let mut hints = place.hints();
    hints.starter_pid = Some(parent.child.id());
    let found = find(&hints);
    assert_eq!(said(&found), (&*version.to_string(), "2026.10.05"));
    let source = Source::Starter(parent.child.id());
    assert_eq!(sources(&found), [Some(source.clone()), Some(source)]);

    // A known version is not replaced, and another environment adds nothing to it.
    hints.python_flag = Some(PythonVersion {
        major: 3,
        minor: 99,
    });
    assert_eq!(said(&find(&hints)), ("3.99", ""));
    hints.python_flag = Some(version);
    assert_eq!(sources(&find(&hints))[0], Some(Source::Flag));
    assert_eq!(said(&find(&hints)), (&*version.to_string(), "2026.10.05"));
}

#[test]
fn a_parent_that_is_not_python_or_has_ended_shows_nothing() {
    let _alone = alone();
    let place = Place::new();
    let mut hints = place.hints();
    // `cat` waits for its input; closing the input ends it.
    let mut cat = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    hints.starter_pid = Some(cat.id());
    assert_eq!(find(&hints), SubmitVersions::default());
    drop(cat.stdin.take());
    cat.wait().unwrap();
    assert_eq!(find(&hints), SubmitVersions::default());
}

/// An editable installation: Parsl is nowhere near the script, and only its Python finds it.
#[test]
fn the_interpreter_is_asked_when_nothing_else_knows() {
    let _alone = alone();
    let place = Place::new();
    let python = real_python();
    write(
        &place.dir().join("checkout/parsl/__init__.py"),
        "raise SystemExit('not imported')",
    );
    write(
        &place.dir().join("checkout/parsl/version.py"),
        "VERSION = '1.3.0-dev'",
    );
    let wrapper = place.dir().join("e/bin/python3");
    place.script(
        &wrapper,
        &format!(
            "#!/bin/sh\nPYTHONPATH={}/checkout exec {} \"$@\"\n",
            place.dir().display(),
            python.executable.display()
        ),
    );
    let stock = place.dir().join("e/bin/interchange.py");
    place.script(&stock, &format!("#!{}\n", wrapper.display()));
    let mut hints = place.hints();
    hints.path = place.dir().join("e/bin").into();
    let found = find(&hints);
    assert_eq!(said(&found), (&*python.version.to_string(), "1.3.0-dev"));
    let source = Source::Interpreter(wrapper);
    assert_eq!(sources(&found), [Some(source.clone()), Some(source)]);
}

/// The script's own directory comes first on the module path, as for the stock interchange.
#[test]
fn the_interpreter_looks_beside_the_script() {
    let _alone = alone();
    let place = Place::new();
    let python = real_python();
    let bin = place.dir().join("e/bin");
    write(&bin.join("parsl/__init__.py"), "");
    write(&bin.join("parsl/version.py"), "VERSION = '2026.10.26'");
    place.script(
        &bin.join("interchange.py"),
        &format!("#!{}\n", python.executable.display()),
    );
    let mut hints = place.hints();
    hints.path = bin.into();
    assert_eq!(
        said(&find(&hints)),
        (&*python.version.to_string(), "2026.10.26")
    );
}

#[test]
fn an_interpreter_without_an_answer_is_killed_at_the_deadline() {
    let _alone = alone();
    let place = Place::new();
    let wrapper = place.dir().join("e/bin/python3");
    let pid_file = place.dir().join("pid");
    // `exec` replaces the shell, so that no process outlives the wrapper.
    place.script(
        &wrapper,
        &format!(
            "#!/bin/sh\necho $$ >{}\necho htex-python 3.11\nexec sleep 600\n",
            pid_file.display()
        ),
    );
    let stock = place.dir().join("e/bin/interchange.py");
    place.script(&stock, &format!("#!{}\n", wrapper.display()));
    let mut hints = place.hints();
    hints.path = place.dir().join("e/bin").into();
    let began = Instant::now();
    assert_eq!(find(&hints), SubmitVersions::default());
    let took = began.elapsed();
    assert!(
        took >= Duration::from_secs(2) && took < Duration::from_secs(20),
        "{took:?}"
    );
    // A killed process may need some time to end on a busy machine.
    let pid = fs::read_to_string(pid_file).unwrap();
    while let Ok(stat) = fs::read_to_string(format!("/proc/{}/stat", pid.trim()))
        && !stat.contains(") Z ")
    {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "it runs on: {stat}"
        );
        std::thread::yield_now();
    }
}

/// The interpreter has descriptors 0 to 2 open, and the one that lists them.
#[test]
fn an_interpreter_inherits_no_descriptor() {
    let _alone = alone();
    let place = Place::new();
    let seen = place.dir().join("seen");
    let wrapper = place.dir().join("e/bin/python3");
    place.script(
        &wrapper,
        &format!(
            "#!/bin/sh\nexec >{0}.part; ls /proc/$$/fd; mv {0}.part {0}\n",
            seen.display()
        ),
    );
    place.script(
        &place.dir().join("e/bin/interchange.py"),
        &format!("#!{}\n", wrapper.display()),
    );
    // `dup` makes a descriptor without close-on-exec, like libzmq's epoll descriptors.
    let stray = nix::unistd::dup(fs::File::open("/dev/null").unwrap()).unwrap();
    let mut hints = place.hints();
    hints.path = place.dir().join("e/bin").into();
    assert_eq!(find(&hints), SubmitVersions::default());
    drop(stray);
    let seen = fs::read_to_string(seen).unwrap();
    // A shell keeps its script open as descriptor 10 or above.
    let inherited: Vec<u32> = seen
        .split_whitespace()
        .map(|fd| fd.parse().unwrap())
        .filter(|&fd| fd < 10)
        .collect();
    assert_eq!(inherited, [0, 1, 2]);
}

#[test]
fn without_any_source_versions_stay_unknown() {
    let place = Place::new();
    assert_eq!(find(&place.hints()), SubmitVersions::default());
    let search = Search::start(place.hints()).unwrap();
    assert_eq!(
        search.wait(Duration::from_secs(20)),
        Some(SubmitVersions::default())
    );
    assert_eq!(
        search.wait(Duration::ZERO),
        None,
        "the answer is given once"
    );
}

#[test]
fn python_versions_are_read_from_flags() {
    let read = |text: &str| {
        text.parse::<PythonVersion>()
            .ok()
            .map(|python| python.to_string())
    };
    for (text, version) in [
        ("3.11", Some("3.11")),
        ("3.11.7", Some("3.11")),
        ("3.14.0rc1", Some("3.14")),
        ("3", None),
        ("3.", None),
        ("three.11", None),
        ("3.11rc1", None),
        ("", None),
    ] {
        assert_eq!(read(text).as_deref(), version, "{text:?}");
    }
}

/// Lets one test at a time start processes. A child that another test has just forked may still
/// hold a test script open for writing, and the kernel would refuse to run that script.
fn alone() -> MutexGuard<'static, ()> {
    static PROCESSES: Mutex<()> = Mutex::new(());
    PROCESSES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A directory in which tests lay out environments.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new().expect("a directory"))
    }

    fn dir(&self) -> &Path {
        self.0.path()
    }

    /// Returns hints that lead to no environment.
    fn hints(&self) -> Hints {
        Hints {
            python_flag: None,
            parsl_flag: None,
            starter_pid: None,
            path: self.dir().join("empty").into(),
            own_exe: self.dir().join("nowhere/bin/htex-interchange"),
        }
    }

    /// Makes `<name>/bin` and, for each Python, a Parsl of the given version.
    fn environment(&self, name: &str, pythons: &[(&str, &str)]) -> PathBuf {
        let prefix = self.dir().join(name);
        fs::create_dir_all(prefix.join("bin")).expect("it can be made");
        fs::create_dir_all(prefix.join("lib/pkgconfig")).expect("it can be made");
        for (python, parsl) in pythons {
            let packages = prefix.join(format!("lib/python{python}/site-packages"));
            let version = format!("\"\"\"Set module version.\n\"\"\"\nVERSION = '{parsl}'\n");
            write(&packages.join("parsl/version.py"), &version);
            // The metadata that pip writes must not be used.
            write(
                &packages.join("parsl-9.9.9.dist-info/METADATA"),
                "Version: 9.9.9\n",
            );
        }
        prefix
    }

    fn script(&self, path: &Path, content: &str) {
        write(path, content);
        fs::set_permissions(path, Permissions::from_mode(0o755)).expect("it is ours");
    }
}

/// A Python process that has mapped some files; dropping this value ends it.
struct Parent {
    child: Child,
}

impl Parent {
    fn with_mapped(files: &[PathBuf]) -> Self {
        let code = "
import mmap, sys
kept = []
for name in sys.argv[1:]:
    with open(name, 'rb') as file:
        kept.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
print('mapped', flush=True)
sys.stdin.read()
";
        for file in files {
            write(file, "mapped");
        }
        let mut child = Command::new(real_python().executable)
            .args(["-c", code])
            .args(files)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("it says so");
        assert_eq!(line, "mapped\n");
        Self { child }
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().expect("it ends");
    }
}

struct RealPython {
    executable: PathBuf,
    version: PythonVersion,
}

/// Returns the interpreter behind `python3`, which may be a shim.
fn real_python() -> RealPython {
    let code = "import sys; print('%d.%d' % sys.version_info[:2], sys.executable)";
    let output = Command::new("python3")
        .args(["-c", code])
        .output()
        .expect("python3 runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let (version, executable) = text.trim_end().split_once(' ').expect("two words");
    RealPython {
        executable: executable.into(),
        version: version.parse().expect("a version"),
    }
}

fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().expect("it has one")).expect("it can be made");
    fs::write(path, content).expect("it can be written");
}

fn said(found: &SubmitVersions) -> (&'static str, &'static str) {
    let python = found.python.as_ref().map(|known| known.version.to_string());
    let parsl = found.parsl.as_ref().map(|known| known.version.clone());
    // The strings are leaked, so that expectations can be string literals.
    (
        python.unwrap_or_default().leak(),
        parsl.unwrap_or_default().leak(),
    )
}

fn sources(found: &SubmitVersions) -> [Option<Source>; 2] {
    let python = found.python.as_ref().map(|known| known.source.clone());
    [
        python,
        found.parsl.as_ref().map(|known| known.source.clone()),
    ]
}
