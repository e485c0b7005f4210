//! The Python and the Parsl of the submit side, which managers are checked against.
//!
//! The start-up configuration contains neither. They are needed when the first manager registers,
//! and [`find`] describes the order of the search. The stock interchange compares with the
//! environment that its script runs in, so the most similar environment is searched first.
//!
//! All versions are read from texts and file names. Parsl's metadata is not used, because it says
//! `2026.10.5` where `parsl.version.VERSION` says `2026.10.05`.

mod ask_interpreter;
mod environment;
mod files;
mod hints;
mod interpreter;
mod layout;
mod memory_map;
mod own_interchange;
mod python_version;
mod stock_script;

pub use files::candidates;
pub use hints::Hints;
pub use interpreter::python;
pub use own_interchange::{OwnInterchange, awaits_observations, own_interchange};
pub use python_version::{BadPythonVersion, PythonVersion};
pub use stock_script::interpreter_of;

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use environment::Environment;
use stock_script::Script;

/// The source of a version; it appears in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A flag on the command line.
    Flag,
    /// The environment that this program is installed in; the field is this program's file.
    BesideBinary(PathBuf),
    /// The environment of the stock `interchange.py` on PATH; the field is the script's file.
    BesideScript(PathBuf),
    /// The memory map of the submit process; the field is its process id.
    Starter(u32),
    /// The answer of the stock script's interpreter; the field is the interpreter's file.
    Interpreter(PathBuf),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("the command line"),
            Self::BesideBinary(path) => write!(f, "the environment of {}", path.display()),
            Self::BesideScript(path) => write!(f, "the environment of {}", path.display()),
            Self::Starter(pid) => write!(f, "the memory map of process {pid}"),
            Self::Interpreter(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A version and its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known<T> {
    /// The version.
    pub version: T,
    /// The source of the version.
    pub source: Source,
}

/// The submit side's versions, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubmitVersions {
    /// The version of Python.
    pub python: Option<Known<PythonVersion>>,
    /// Parsl's `VERSION`, unchanged.
    pub parsl: Option<Known<String>>,
    /// The directory of the modules of this Parsl.
    pub package: Option<PathBuf>,
}

/// Searches for both versions. Either may stay unknown; then the first manager's version becomes
/// the reference.
///
/// The search takes these steps in order, each only while a version is missing:
/// 1. the flags: they are exact, and the only source if a wrapper starts this program;
/// 2. the environment that this program is installed in, because the user chose it;
/// 3. the environment of the stock `interchange.py` on PATH, which the stock interchange would use;
/// 4. the submit process's memory map. It would be the best source if it were always available. But
///    a wrapper may hide the process, and `--user` or editable installs of Parsl leave no trace in
///    the map. Steps 2 and 3 normally agree with it;
/// 5. the stock script's interpreter, which is run and asked where Parsl is. Only this step finds
///    editable installs and PYTHONPATH. It takes about 20 ms, at most 2 s.
///
/// A source that contradicts a known version describes another environment and is ignored entirely.
/// If a source shows several environments, it counts only if exactly one of them agrees with the
/// known versions.
///
/// The search reads files that may be on a stalled file system. Call it where it may block, for
/// example through [`Search`].
#[must_use]
pub fn find(hints: &Hints) -> SubmitVersions {
    let mut found = SubmitVersions::given(hints);
    if !found.is_complete() {
        let source = || Source::BesideBinary(hints.own_exe.clone());
        found.learn_of_prefix(layout::prefix_of(&hints.own_exe), None, source);
    }
    if found.is_complete() {
        return found;
    }
    let script = Script::on_path(&hints.path, &hints.own_exe);
    if let Some(script) = &script {
        let named = script.named_python();
        for prefix in script.prefixes() {
            let source = || Source::BesideScript(script.path.clone());
            found.learn_of_prefix(Some(prefix), named, source);
        }
    }
    if let (false, Some(pid)) = (found.is_complete(), hints.starter_pid) {
        found.learn(&memory_map::environment_of(pid), || Source::Starter(pid));
    }
    if let (false, Some(script)) = (found.is_complete(), &script)
        && let Some(interpreter) = &script.interpreter
    {
        let told =
            ask_interpreter::environment_of(interpreter, &script.path, ask_interpreter::LIMIT);
        found.learn(&told, || Source::Interpreter(interpreter.clone()));
    }
    found
}

/// Finds the versions that a Python script would run with. Its interpreter is run and asked, which
/// takes at most 2 s.
#[must_use]
pub fn of_script(script: &Path, path: &OsStr) -> SubmitVersions {
    let mut found = SubmitVersions::default();
    if let Some(interpreter) = interpreter_of(script, path) {
        let told = ask_interpreter::environment_of(&interpreter, script, ask_interpreter::LIMIT);
        found.learn(&told, || Source::Interpreter(interpreter.clone()));
    }
    found
}

/// A [`find`] on a separate thread, so that a stalled file system blocks no other work.
#[derive(Debug)]
pub struct Search {
    answer: Receiver<SubmitVersions>,
}

impl Search {
    /// Starts the search.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn start(hints: Hints) -> io::Result<Self> {
        let (sender, answer) = mpsc::sync_channel(1);
        std::thread::Builder::new()
            .name("htex-versions".to_owned())
            .spawn(move || {
                // Sending fails if the receiver is dropped; then the result is not needed.
                let _ = sender.send(find(&hints));
            })?;
        Ok(Self { answer })
    }

    /// Returns the result of the search if it arrives within `limit`. The result is returned only
    /// once.
    #[must_use]
    pub fn wait(&self, limit: Duration) -> Option<SubmitVersions> {
        self.answer.recv_timeout(limit).ok()
    }
}

impl SubmitVersions {
    fn given(hints: &Hints) -> Self {
        Self {
            python: hints.python_flag.map(|version| Known {
                version,
                source: Source::Flag,
            }),
            parsl: hints.parsl_flag.clone().map(|version| Known {
                version,
                source: Source::Flag,
            }),
            package: None,
        }
    }

    /// Whether both versions are known.
    fn is_complete(&self) -> bool {
        self.python.is_some() && self.parsl.is_some()
    }

    fn learn_of_prefix(
        &mut self,
        prefix: Option<PathBuf>,
        named: Option<PythonVersion>,
        source: impl Fn() -> Source,
    ) {
        let Some(prefix) = prefix else { return };
        let mut candidates = layout::environments_under(&prefix);
        candidates.retain(|candidate| self.agrees_with(candidate));
        candidates.retain(|candidate| named.is_none() || candidate.python == named);
        if let [only] = &candidates[..] {
            self.learn(only, source);
        }
    }

    fn learn(&mut self, environment: &Environment, source: impl Fn() -> Source) {
        if !self.agrees_with(environment) {
            return;
        }
        if self.python.is_none() {
            self.python = environment.python.map(|version| Known {
                version,
                source: source(),
            });
        }
        if self.parsl.is_none() {
            let parsl = environment.parsl.clone();
            self.package = environment.package.clone();
            self.parsl = parsl.map(|version| Known {
                version,
                source: source(),
            });
        }
    }

    fn agrees_with(&self, environment: &Environment) -> bool {
        let python = self.python.as_ref().map(|known| known.version);
        let parsl = self.parsl.as_ref().map(|known| &known.version);
        agree(python, environment.python) && agree(parsl, environment.parsl.as_ref())
    }
}

fn agree<T: PartialEq>(known: Option<T>, said: Option<T>) -> bool {
    match (known, said) {
        (Some(known), Some(said)) => known == said,
        (None, _) | (_, None) => true,
    }
}
