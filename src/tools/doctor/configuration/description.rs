//! What the user's Python reports about a configuration. An attribute is None if the Parsl release
//! lacks it or if its value has another type.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The answer of the script `question.py`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct SetUp {
    /// The Python's version, for example 3.11.7.
    pub(super) python: String,
    /// PATH after the user's file was loaded.
    pub(super) path: String,
    pub(super) parsl: Option<String>,
    /// Why Parsl could not be imported.
    pub(super) parsl_trouble: Option<String>,
    /// Whether the Python has any Parsl.
    #[serde(default)]
    pub(super) has_parsl: bool,
    /// The package of which the file was imported as a part, if it could not be loaded alone.
    #[serde(default)]
    pub(super) package: Option<Package>,
    /// Whether the libzmq of this Python supports encryption.
    pub(super) curve: Option<bool>,
    /// Exceptions that ended the file, or functions of the file, early.
    #[serde(default)]
    pub(super) troubles: Vec<Trouble>,
    /// Side effects of the file that were prevented.
    #[serde(default)]
    pub(super) not_done: Vec<NotDone>,
    /// Functions that may make a configuration, but whose arguments are unknown.
    #[serde(default)]
    pub(super) not_called: Vec<String>,
    #[serde(default)]
    pub(super) executors: Vec<Executor>,
    /// Executors that are no HighThroughputExecutor.
    #[serde(default)]
    pub(super) others: Vec<String>,
    /// The names that configurations and executors have in the file.
    #[serde(default)]
    pub(super) names: Vec<String>,
}

impl SetUp {
    /// Returns those troubles that are errors of the file itself.
    pub(super) fn faults(&self) -> impl Iterator<Item = &Trouble> {
        self.troubles.iter().filter(|trouble| trouble.is_fault)
    }
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Package {
    /// The directory that contains the package.
    #[serde(deserialize_with = "path_of_bytes")]
    pub(super) above: PathBuf,
    /// The file's name as a module: `package.module`.
    pub(super) member: String,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Trouble {
    /// The function that was called; None for the file as a whole.
    pub(super) of: Option<String>,
    /// Whether the file itself is wrong, and not its surroundings.
    pub(super) is_fault: bool,
    /// What the file uses of Parsl that this release lacks: `parsl.channels`.
    #[serde(default)]
    pub(super) lacks: Option<String>,
    pub(super) why: String,
    /// The place in the file: `line 3: import nowhere`.
    pub(super) line: Option<String>,
    /// The last lines of the traceback.
    pub(super) lines: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct NotDone {
    pub(super) line: Option<String>,
    /// The prevented side effect: `remove tmp`.
    pub(super) would: String,
}

/// The attributes of an executor that are examined.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Executor {
    #[serde(deserialize_with = "lenient")]
    pub(super) label: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) address: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) all_addresses: Option<Words>,
    #[serde(deserialize_with = "lenient")]
    pub(super) loopback_address: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) interchange_launch_cmd: Option<Words>,
    #[serde(deserialize_with = "lenient")]
    pub(super) launch_cmd: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) worker_port: Option<i64>,
    #[serde(deserialize_with = "lenient")]
    pub(super) worker_port_range: Option<(i64, i64)>,
    #[serde(deserialize_with = "lenient")]
    pub(super) interchange_port_range: Option<PortRange>,
    #[serde(deserialize_with = "truth")]
    pub(super) encrypted: Option<bool>,
    #[serde(deserialize_with = "lenient_path")]
    pub(super) cert_dir: Option<PathBuf>,
    #[serde(deserialize_with = "lenient")]
    pub(super) heartbeat_period: Option<f64>,
    #[serde(deserialize_with = "lenient")]
    pub(super) heartbeat_threshold: Option<f64>,
    #[serde(deserialize_with = "lenient")]
    pub(super) max_workers_per_node: Option<f64>,
    #[serde(deserialize_with = "truth")]
    pub(super) enable_mpi_mode: Option<bool>,
    #[serde(deserialize_with = "lenient")]
    pub(super) mpi_launcher: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) manager_selector: Option<Selector>,
    #[serde(deserialize_with = "lenient")]
    pub(super) provider: Option<Provider>,
    #[serde(deserialize_with = "lenient_path")]
    pub(super) run_dir: Option<PathBuf>,
    #[serde(deserialize_with = "lenient")]
    pub(super) strategy: Option<String>,
    /// Identifies the Config that the executor belongs to; None for an executor outside of any
    /// Config.
    #[serde(deserialize_with = "lenient")]
    pub(super) config: Option<i64>,
    #[serde(deserialize_with = "lenient")]
    pub(super) monitoring: Option<bool>,
    /// Monitoring's UDP port, if the configuration names one.
    #[serde(deserialize_with = "lenient")]
    pub(super) monitoring_port: Option<i64>,
    /// The address at which managers' machines reach `monitoring_port`.
    #[serde(deserialize_with = "lenient")]
    pub(super) monitoring_address: Option<String>,
    /// Attributes of a HighThroughputExecutor that this Parsl's executor lacks.
    #[serde(deserialize_with = "lenient")]
    pub(super) unknown: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Selector {
    pub(super) class: String,
    /// Whether the selector has a method `sort_managers`.
    pub(super) sorts: bool,
    /// Why another process could not load the selector.
    pub(super) trouble: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Provider {
    pub(super) class: String,
    #[serde(deserialize_with = "lenient")]
    pub(super) init_blocks: Option<i64>,
    #[serde(deserialize_with = "lenient")]
    pub(super) max_blocks: Option<i64>,
    #[serde(deserialize_with = "lenient")]
    pub(super) nodes_per_block: Option<i64>,
    #[serde(deserialize_with = "lenient")]
    pub(super) launcher: Option<String>,
    /// Shell commands that the launcher puts before the managers' command.
    #[serde(deserialize_with = "lenient")]
    pub(super) launcher_prepend: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) worker_init: Option<String>,
    /// Names of the provider's class and of the base classes whose commands the provider runs.
    #[serde(deserialize_with = "lenient")]
    pub(super) kinds: Option<Vec<String>>,
    /// In releases with channels: the class by which the provider's commands are run.
    #[serde(deserialize_with = "lenient")]
    pub(super) channel: Option<String>,
}

/// A range of ports, or an explicit None in Python. If the release lacks the attribute, the
/// executor's field is None instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum PortRange {
    Ends(i64, i64),
    None,
}

/// A value that Parsl accepts as one text or as several.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum Words {
    One(String),
    Many(Vec<String>),
}

/// Where an executor's managers run, as far as the provider's class shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Where {
    Here,
    Elsewhere,
    Unknown,
}

impl Executor {
    pub(super) fn label(&self) -> &str {
        self.label.as_deref().unwrap_or("without a label")
    }

    /// Returns `address`. Parsl treats an empty address as none.
    pub(super) fn named_address(&self) -> Option<&str> {
        self.address.as_deref().filter(|text| !text.is_empty())
    }

    /// Whether the interchange listens at all addresses of the machine.
    pub(super) fn is_reached_everywhere(&self) -> bool {
        matches!(self.named_address(), None | Some("*"))
    }

    /// Whether both executors belong to the same Config, and so are started together.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        self.config.is_some() && self.config == other.config
    }

    /// Returns the program that Parsl starts as the interchange, and its arguments.
    pub(super) fn command(&self) -> Option<(&str, &[String])> {
        match self.interchange_launch_cmd.as_ref()? {
            // Popen takes a single text as the program's name, including blanks.
            Words::One(program) => Some((program, &[])),
            Words::Many(words) => {
                let (program, arguments) = words.split_first()?;
                Some((program, arguments))
            }
        }
    }

    /// Returns the addresses that managers would try if the executor has no address.
    pub(super) fn addresses(&self) -> Vec<String> {
        match &self.all_addresses {
            None => Vec::new(),
            Some(Words::One(text)) => text.split(',').map(str::to_owned).collect(),
            Some(Words::Many(all)) => all.clone(),
        }
    }

    pub(super) fn managers_run(&self) -> Where {
        let Some(provider) = &self.provider else {
            return Where::Unknown;
        };
        match provider.package() {
            Some("local") if provider.is_one_manager_a_block() => Where::Here,
            // These launchers start managers on the other nodes of an allocation.
            Some("local") if provider.has_launcher(&ACROSS_NODES) => Where::Elsewhere,
            Some("local") | None => Where::Unknown,
            Some(_) => Where::Elsewhere,
        }
    }

    /// Returns the maximum number of managers at a time.
    pub(super) fn managers_max(&self) -> Option<usize> {
        let provider = self.provider.as_ref()?;
        let nodes = match provider.is_one_manager_a_block() {
            true => 1,
            false => usize::try_from(provider.nodes_per_block?).ok()?,
        };
        // Parsl starts the first blocks even if they are more than max_blocks.
        let blocks = provider.max_blocks?.max(provider.init_blocks.unwrap_or(0));
        let blocks = usize::try_from(blocks).ok()?;
        Some(blocks.saturating_mul(nodes))
    }
}

/// Parsl's launchers that start managers on every node of a block.
const ACROSS_NODES: [&str; 7] = [
    "AprunLauncher",
    "GnuParallelLauncher",
    "JsrunLauncher",
    "MpiExecLauncher",
    "MpiRunLauncher",
    "SrunLauncher",
    "SrunMPILauncher",
];

impl Provider {
    /// Returns the provider's package below `parsl.providers`; None for a class that does not
    /// derive from a provider of Parsl.
    pub(super) fn package(&self) -> Option<&str> {
        let kinds = self.kinds.iter().flatten().map(String::as_str);
        let mut kinds = std::iter::once(self.class.as_str()).chain(kinds);
        let within = kinds.find_map(|kind| kind.strip_prefix("parsl.providers."))?;
        within.split('.').next()
    }

    /// Returns the class name without its modules.
    pub(super) fn name(&self) -> &str {
        self.class.rsplit('.').next().unwrap_or_default()
    }

    /// Returns the launcher's class name without its modules; None if the launcher is not Parsl's.
    pub(super) fn parsls_launcher(&self) -> Option<&str> {
        const LAUNCHERS: &str = "parsl.launchers.launchers.";
        self.launcher.as_deref()?.strip_prefix(LAUNCHERS)
    }

    /// Returns the channel that runs the provider's commands on another machine.
    pub(super) fn other_channel(&self) -> Option<&str> {
        let channel = self.channel.as_deref()?.rsplit('.').next()?;
        (channel != "LocalChannel").then_some(channel)
    }

    /// Whether `worker_init` may give a block another environment than this process has.
    pub(super) fn enters_something(&self) -> bool {
        let worker_init = self.worker_init.as_deref().unwrap_or_default();
        !worker_init.trim().is_empty()
    }

    /// Whether each block has one manager: it has one node, or its launcher starts the command only
    /// once.
    fn is_one_manager_a_block(&self) -> bool {
        self.nodes_per_block == Some(1)
            || self.has_launcher(&["SimpleLauncher", "SingleNodeLauncher"])
    }

    fn has_launcher(&self, names: &[&str]) -> bool {
        let launcher = self.parsls_launcher();
        launcher.is_some_and(|launcher| names.contains(&launcher))
    }
}

/// Returns the value, or None if it has another type than expected.
fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Option<T>, D::Error> {
    let value = Value::deserialize(from)?;
    Ok(serde_json::from_value(value).ok())
}

/// Returns the truth value as Python's `if` does, because Parsl tests the value in this way.
fn truth<'de, D: Deserializer<'de>>(from: D) -> Result<Option<bool>, D::Error> {
    Ok(Some(match Value::deserialize(from)? {
        Value::Null => false,
        Value::Bool(value) => value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(all) => !all.is_empty(),
        Value::Object(all) => !all.is_empty(),
    }))
}

/// Returns a path from its bytes, or None if the value has another type.
fn lenient_path<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
    let bytes: Option<Vec<u8>> = lenient(from)?;
    Ok(bytes.map(|bytes| PathBuf::from(OsString::from_vec(bytes))))
}

fn path_of_bytes<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
    Ok(lenient_path(from)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn executor(text: &str) -> Executor {
        serde_json::from_str(text).expect(text)
    }

    #[test]
    fn a_value_of_another_type_is_unknown() {
        let odd =
            executor(r#"{"label": 5, "worker_port": "many", "worker_port_range": [1], "x": 1}"#);
        assert_eq!(odd.label, None);
        assert_eq!(odd.worker_port, None);
        assert_eq!(odd.worker_port_range, None);
        assert_eq!(odd.command(), None);
        assert_eq!(odd.managers_run(), Where::Unknown);
        assert_eq!(odd.managers_max(), None);
    }

    #[test]
    fn a_directory_is_read_from_its_bytes() {
        let named = executor(r#"{"run_dir": [47, 90, 111, 235], "cert_dir": "/a"}"#);
        let expected = PathBuf::from(OsString::from_vec(b"/Zo\xeb".to_vec()));
        assert_eq!((named.run_dir, named.cert_dir), (Some(expected), None));
    }

    #[test]
    fn values_that_parsl_treats_as_absent_are_absent() {
        for false_one in ["null", "false", "0", "0.0", "\"\"", "[]", "{}"] {
            let text = format!(
                r#"{{"address": {false_one}, "worker_port": {false_one},
                "encrypted": {false_one}}}"#
            );
            let given = executor(&text);
            assert_eq!(given.named_address(), None, "{text}");
            assert!(matches!(given.worker_port, None | Some(0)), "{text}");
            assert_eq!(given.encrypted, Some(false), "{text}");
        }
        assert_eq!(executor(r#"{"encrypted": 1}"#).encrypted, Some(true));
    }

    #[test]
    fn a_command_is_a_word_or_words() {
        let one = executor(r#"{"interchange_launch_cmd": "a b"}"#);
        assert_eq!(one.command(), Some(("a b", &[][..])));
        let two = executor(r#"{"interchange_launch_cmd": ["a", "b"]}"#);
        assert_eq!(two.command(), Some(("a", &["b".to_owned()][..])));
        assert_eq!(
            executor(r#"{"interchange_launch_cmd": []}"#).command(),
            None
        );
    }

    #[test]
    fn managers_are_counted_by_the_launcher() {
        let provider = |class: &str, nodes: i64, launcher: &str| {
            executor(&format!(
                r#"{{"provider": {{"class": "{class}", "max_blocks": 5, "nodes_per_block": {nodes},
                "launcher": "parsl.launchers.launchers.{launcher}"}}}}"#
            ))
        };
        let local = "parsl.providers.local.local.LocalProvider";
        let here = provider(local, 1, "SrunLauncher");
        assert_eq!(
            (here.managers_max(), here.managers_run()),
            (Some(5), Where::Here)
        );
        let single = provider(local, 4, "SingleNodeLauncher");
        assert_eq!(
            (single.managers_max(), single.managers_run()),
            (Some(5), Where::Here)
        );
        let spread = provider(local, 4, "SrunLauncher");
        assert_eq!(
            (spread.managers_max(), spread.managers_run()),
            (Some(20), Where::Elsewhere)
        );
        let slurm = provider(
            "parsl.providers.slurm.slurm.SlurmProvider",
            4,
            "SrunLauncher",
        );
        assert_eq!(
            (slurm.managers_max(), slurm.managers_run()),
            (Some(20), Where::Elsewhere)
        );
        let own = provider("mine.Provider", 1, "SrunLauncher");
        assert_eq!(own.managers_run(), Where::Unknown);
    }

    #[test]
    fn init_blocks_may_exceed_max_blocks() {
        let started =
            executor(r#"{"provider": {"init_blocks": 3, "max_blocks": 0, "nodes_per_block": 2}}"#);
        assert_eq!(started.managers_max(), Some(6));
    }
}
