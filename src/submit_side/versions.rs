//! The Python and the Parsl of the submit side, which managers are checked against.
//!
//! The start-up configuration has neither. They are needed when the first manager registers,
//! and found in the order of [`find`]. The stock interchange compares with the environment that
//! its own script runs in, so for us the nearest likeness of that comes first.
//!
//! Everything is read from text and names of files; Parsl's metadata is of no use, as it says
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

/// Where a version was learned; shown in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// It was given on the command line.
    Flag,
    /// This program is installed in an environment.
    BesideBinary(PathBuf),
    /// So is the stock `interchange.py` on PATH.
    BesideScript(PathBuf),
    /// The files that the submit process has mapped.
    Starter(u32),
    /// The interpreter of the stock script told.
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

/// A version and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known<T> {
    /// The version.
    pub version: T,
    /// Where it comes from.
    pub source: Source,
}

/// The submit side's versions, as far as they could be found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubmitVersions {
    /// Python's.
    pub python: Option<Known<PythonVersion>>,
    /// Parsl's `VERSION`, to the letter.
    pub parsl: Option<Known<String>>,
    /// The directory of that Parsl's modules.
    pub package: Option<PathBuf>,
}

/// Looks for both versions. Each half may stay unknown; the first manager then sets the measure.
///
/// The order, of which each step is taken only if a half is still missing:
/// 1. the flags: exact, and the only way if a wrapper starts us;
/// 2. the environment that this program is installed in: it is where the user put the pair;
/// 3. the environment of the stock `interchange.py` on PATH: what stock would compare with;
/// 4. the submit process's memory map. It would be the best witness if it always spoke; but it may
///    be out of sight behind a wrapper, and `--user` or editable installs of Parsl leave no trace
///    in it. Steps 2 and 3 normally agree with it;
/// 5. the interpreter of the stock script is run and asked where Parsl is. It alone knows
///    editable installs and PYTHONPATH, and costs about 20 ms, at most 2 s.
///
/// A place that contradicts what is known already is another environment, and none of it counts.
/// Several environments in one place count only if one of them agrees with what is known.
///
/// It reads files that may be on a stalled file system: call it where that may take its time,
/// such as through [`Search`].
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

/// What a Python script would run with: its interpreter is asked, which takes 2 s at the most.
#[must_use]
pub fn of_script(script: &Path, path: &OsStr) -> SubmitVersions {
    let mut found = SubmitVersions::default();
    if let Some(interpreter) = interpreter_of(script, path) {
        let told = ask_interpreter::environment_of(&interpreter, script, ask_interpreter::LIMIT);
        found.learn(&told, || Source::Interpreter(interpreter.clone()));
    }
    found
}

/// A [`find`] on a thread of its own, so that a stalled file system stalls nobody else.
#[derive(Debug)]
pub struct Search {
    answer: Receiver<SubmitVersions>,
}

impl Search {
    /// Begins it.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(hints: Hints) -> io::Result<Self> {
        let (sender, answer) = mpsc::sync_channel(1);
        std::thread::Builder::new()
            .name("htex-versions".to_owned())
            .spawn(move || {
                // Nobody waits any longer: then nobody misses it.
                let _ = sender.send(find(&hints));
            })?;
        Ok(Self { answer })
    }

    /// The answer, if there is one within `limit`; it is given once.
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

    /// Whether nothing is left to be found.
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
