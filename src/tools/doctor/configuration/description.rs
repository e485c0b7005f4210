//! What the user's Python tells about a configuration. What a release does not have, or has in
//! another shape, is None.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The answer of `question.py`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct SetUp {
    /// 3.11.7.
    pub(super) python: String,
    /// PATH, as the user's file leaves it.
    pub(super) path: String,
    pub(super) parsl: Option<String>,
    /// Why Parsl could not be imported.
    pub(super) parsl_trouble: Option<String>,
    /// Whether it is there at all.
    #[serde(default)]
    pub(super) has_parsl: bool,
    /// Of which the file was imported, where it could not be loaded alone.
    #[serde(default)]
    pub(super) package: Option<Package>,
    /// Whether that Python's libzmq can encrypt.
    pub(super) curve: Option<bool>,
    /// What kept the file, or functions of it, from coming to their end.
    #[serde(default)]
    pub(super) troubles: Vec<Trouble>,
    /// What the file would have done, and was not let.
    #[serde(default)]
    pub(super) not_done: Vec<NotDone>,
    /// What would make a configuration, if it was known how to call it.
    #[serde(default)]
    pub(super) not_called: Vec<String>,
    #[serde(default)]
    pub(super) executors: Vec<Executor>,
    /// Executors that are no HTEX.
    #[serde(default)]
    pub(super) others: Vec<String>,
    /// Where in the file they were found.
    #[serde(default)]
    pub(super) names: Vec<String>,
}

impl SetUp {
    /// What is wrong with the file itself.
    pub(super) fn faults(&self) -> impl Iterator<Item = &Trouble> {
        self.troubles.iter().filter(|trouble| trouble.is_fault)
    }
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Package {
    /// The directory that has it.
    #[serde(deserialize_with = "path_of_bytes")]
    pub(super) above: PathBuf,
    /// `package.module`.
    pub(super) member: String,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Trouble {
    /// The function that was called; None for the file as a whole.
    pub(super) of: Option<String>,
    /// Whether the file itself is wrong, whatever is around it.
    pub(super) is_fault: bool,
    /// What it asks of Parsl that this release has not: `parsl.channels`.
    #[serde(default)]
    pub(super) lacks: Option<String>,
    pub(super) why: String,
    /// `line 3: import nowhere`.
    pub(super) line: Option<String>,
    /// The last ones of its traceback.
    pub(super) lines: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct NotDone {
    pub(super) line: Option<String>,
    /// `remove tmp`.
    pub(super) would: String,
}

/// Only what is examined.
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
    /// Those of one Config have the same number, and one in none has none.
    #[serde(deserialize_with = "lenient")]
    pub(super) config: Option<i64>,
    #[serde(deserialize_with = "lenient")]
    pub(super) monitoring: Option<bool>,
    /// Of UDP, where one is named.
    #[serde(deserialize_with = "lenient")]
    pub(super) monitoring_port: Option<i64>,
    /// By which managers' machines reach that port.
    #[serde(deserialize_with = "lenient")]
    pub(super) monitoring_address: Option<String>,
    /// Attributes that it should have, and has not.
    #[serde(deserialize_with = "lenient")]
    pub(super) unknown: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Selector {
    pub(super) class: String,
    /// Whether it has the method.
    pub(super) sorts: bool,
    /// Why another process could not load it.
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
    /// What a launcher is told to put before the managers' command.
    #[serde(deserialize_with = "lenient")]
    pub(super) launcher_prepend: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) worker_init: Option<String>,
    /// Its class and those that it is made of.
    #[serde(deserialize_with = "lenient")]
    pub(super) kinds: Option<Vec<String>>,
    /// In releases that had channels: by what its commands are run.
    #[serde(deserialize_with = "lenient")]
    pub(super) channel: Option<String>,
}

/// Two ports, or None that was given: a release without the attribute gives neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum PortRange {
    Ends(i64, i64),
    None,
}

/// What Parsl takes as a text or as several.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum Words {
    One(String),
    Many(Vec<String>),
}

/// Where an executor's managers run, as far as the provider's class tells.
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

    /// `address`, unless it is empty, which Parsl takes for none.
    pub(super) fn named_address(&self) -> Option<&str> {
        self.address.as_deref().filter(|text| !text.is_empty())
    }

    /// Whether the interchange listens at every address of the machine.
    pub(super) fn is_reached_everywhere(&self) -> bool {
        matches!(self.named_address(), None | Some("*"))
    }

    /// Whether both are started together, as far as is known.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        self.config.is_some() && self.config == other.config
    }

    /// The program that is the interchange, and its arguments.
    pub(super) fn command(&self) -> Option<(&str, &[String])> {
        match self.interchange_launch_cmd.as_ref()? {
            // Popen takes a text for the name of a program, blanks and all.
            Words::One(program) => Some((program, &[])),
            Words::Many(words) => {
                let (program, arguments) = words.split_first()?;
                Some((program, arguments))
            }
        }
    }

    /// What managers would try, without an address.
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
            // These take them to the other nodes of an allocation.
            Some("local") if provider.has_launcher(&ACROSS_NODES) => Where::Elsewhere,
            Some("local") | None => Where::Unknown,
            Some(_) => Where::Elsewhere,
        }
    }

    /// The most managers that there may be at once.
    pub(super) fn managers_max(&self) -> Option<usize> {
        let provider = self.provider.as_ref()?;
        let nodes = match provider.is_one_manager_a_block() {
            true => 1,
            false => usize::try_from(provider.nodes_per_block?).ok()?,
        };
        // The first blocks are started whatever the most may be.
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
    /// Below `parsl.providers`; None for a class that is not made of one of Parsl's.
    pub(super) fn package(&self) -> Option<&str> {
        let kinds = self.kinds.iter().flatten().map(String::as_str);
        let mut kinds = std::iter::once(self.class.as_str()).chain(kinds);
        let within = kinds.find_map(|kind| kind.strip_prefix("parsl.providers."))?;
        within.split('.').next()
    }

    /// Without its modules.
    pub(super) fn name(&self) -> &str {
        self.class.rsplit('.').next().unwrap_or_default()
    }

    /// Without its modules; None if it is not one of Parsl's.
    pub(super) fn parsls_launcher(&self) -> Option<&str> {
        const LAUNCHERS: &str = "parsl.launchers.launchers.";
        self.launcher.as_deref()?.strip_prefix(LAUNCHERS)
    }

    /// What takes its commands to another machine.
    pub(super) fn other_channel(&self) -> Option<&str> {
        let channel = self.channel.as_deref()?.rsplit('.').next()?;
        (channel != "LocalChannel").then_some(channel)
    }

    /// Whether a block has another environment than this process.
    pub(super) fn enters_something(&self) -> bool {
        let worker_init = self.worker_init.as_deref().unwrap_or_default();
        !worker_init.trim().is_empty()
    }

    /// Parsl's launchers that start what they are given once, however many nodes there are.
    fn is_one_manager_a_block(&self) -> bool {
        self.nodes_per_block == Some(1)
            || self.has_launcher(&["SimpleLauncher", "SingleNodeLauncher"])
    }

    fn has_launcher(&self, names: &[&str]) -> bool {
        let launcher = self.parsls_launcher();
        launcher.is_some_and(|launcher| names.contains(&launcher))
    }
}

/// The value if it has the expected shape.
fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Option<T>, D::Error> {
    let value = Value::deserialize(from)?;
    Ok(serde_json::from_value(value).ok())
}

/// What Python's `if` makes of it, as Parsl asks no more.
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

/// Its bytes, if that is what there is.
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
    fn what_has_another_shape_is_unknown() {
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
    fn a_directory_is_its_bytes() {
        let named = executor(r#"{"run_dir": [47, 90, 111, 235], "cert_dir": "/a"}"#);
        let expected = PathBuf::from(OsString::from_vec(b"/Zo\xeb".to_vec()));
        assert_eq!((named.run_dir, named.cert_dir), (Some(expected), None));
    }

    #[test]
    fn what_parsl_takes_for_absent_is_absent() {
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
    fn the_first_blocks_are_started_whatever_the_most_may_be() {
        let started =
            executor(r#"{"provider": {"init_blocks": 3, "max_blocks": 0, "nodes_per_block": 2}}"#);
        assert_eq!(started.managers_max(), Some(6));
    }
}
