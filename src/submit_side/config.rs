//! The start-up configuration: what HTEX sends, and the settings that this program runs with.
//!
//! HTEX writes one pickled dict to the standard input of the interchange. [`RawConfig`] finds the
//! values in it and checks their types; [`Config`] holds the resulting settings, which the rest of
//! the program uses. guide/protocol, 1.2 lists the keys and their history. A missing key has the
//! meaning that its absence had in the releases that did not send it. An unknown key is logged and
//! ignored, so that the next release of Parsl does not stop this program.

mod descriptors;
mod file_name;

pub use descriptors::DescriptorBudget;

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use crate::address::Address;
use crate::releases::OLDEST_TESTED;
use pickle::{PickleError, Scanner, Tree, View};
use protocol::VersionCheck;

/// Longest start-up configuration that is read. HTEX's has 600 bytes, plus the pickled state of a
/// user's own selector.
const CONFIG_BYTES_MAX: usize = 48 << 20;
/// Parsl's module of manager selectors.
const SELECTORS: &str = "parsl.executors.high_throughput.manager_selector";
/// The module of manager selectors in the Python package that is installed with this program.
const OWN_SELECTORS: &str = "htex_interchange.selectors";

/// Why the start-up configuration is refused. Names the key and what was expected.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Standard input does not hold a pickled dict.
    #[error("the start-up configuration on standard input cannot be read: {0}")]
    Unreadable(#[from] Unreadable),
    /// A required key is absent or None.
    #[error("the start-up configuration has no '{key}', which should be {expected}")]
    Missing {
        /// The key.
        key: &'static str,
        /// Description of the value that the key should have.
        expected: &'static str,
    },
    /// A value has the wrong type or is out of its bounds.
    #[error("'{key}' in the start-up configuration should be {expected}, not {found}")]
    Wrong {
        /// The key.
        key: &'static str,
        /// Description of the value that the key should have.
        expected: &'static str,
        /// The value found: a short value, or the name of its type.
        found: String,
    },
    /// The executor is older than the oldest release that this program serves.
    #[error(
        "this Parsl configures the interchange with 'worker_ports', as releases before 2025.06.30 \
         did; htex-interchange serves Parsl {OLDEST_TESTED} and newer"
    )]
    TooOld,
}

/// Why no pickled dict can be read from standard input.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The bytes are not a valid pickle.
    #[error(transparent)]
    Pickle(#[from] PickleError),
    /// Reading from standard input fails.
    #[error(transparent)]
    Input(#[from] io::Error),
    /// Standard input ends after this many bytes, before the pickle is complete.
    #[error("it ends after {0} bytes, before the end of its pickle")]
    Ends(usize),
    /// The configuration is longer than the limit of 48 MiB.
    #[error("it has more than {CONFIG_BYTES_MAX} bytes")]
    TooLong,
    /// The pickle holds a value that is not a dict; the field is Python's name of its type.
    #[error("it should be a dict, not {0}")]
    NoDict(&'static str),
}

/// The settings that this program runs with.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The addresses of the executor.
    pub submit_side: SubmitSide,
    /// The address that managers connect to; None for every address of the machine.
    pub interchange_address: Option<Address>,
    /// The port that managers connect to.
    pub worker_port: PortChoice,
    /// The monitoring hub; None without monitoring.
    pub hub: Option<HubAddress>,
    /// The log's directory and format.
    pub logging: Logging,
    /// Time without a heartbeat after which a manager counts as lost; above 0.
    pub heartbeat_threshold: Duration,
    /// The selector that ranks the managers for dispatch.
    pub selector: SelectorChoice,
    /// Parsl's id of the run, for monitoring; None where HTEX is used without a DataFlowKernel.
    pub run_id: Option<String>,
    /// Which versions of a manager must agree with the submit side's.
    pub version_check: VersionCheck,
    /// Keys that no release of Parsl had when this program was written; they are logged.
    pub unknown_keys: Vec<String>,
}

/// Where the executor listens, and how to talk to it. This part suffices to report to the executor
/// why the interchange does not start.
#[derive(Debug, Clone, PartialEq)]
pub struct SubmitSide {
    /// The address of the executor's three ports.
    pub address: Address,
    /// The port that sends tasks.
    pub task_port: u16,
    /// The port that receives results.
    pub result_port: u16,
    /// The port that sends commands and receives their replies.
    pub command_port: u16,
    /// The directory of certificates: all sockets are encrypted if it is given, none otherwise.
    pub cert_dir: Option<PathBuf>,
}

/// Where the monitoring hub listens.
#[derive(Debug, Clone, PartialEq)]
pub struct HubAddress {
    /// The address of the hub's machine, which is the submit side's.
    pub address: Address,
    /// The hub's ZeroMQ port.
    pub port: u16,
}

/// The port that managers connect to: one port, or a range to choose from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortChoice {
    /// The given port.
    Fixed(u16),
    /// Any free port that is at least `first` and below `end`.
    Range {
        /// The lowest port of the range.
        first: u16,
        /// One above the highest port of the range, up to 65,536.
        end: u32,
    },
}

/// The choices for HTEX's `manager_selector`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SelectorChoice {
    /// `RandomManagerSelector`, the default.
    Random,
    /// `BlockIdManagerSelector`: the greatest block id first.
    BlockId,
    /// `SpreadManagerSelector` of `htex_interchange`: the least busy first.
    Spread,
    /// `PackManagerSelector` of `htex_interchange`: the busiest with a free worker first.
    Pack,
    /// A class that only Python can run; its name appears in the log.
    User(String),
}

/// Where the log is written and how it is formatted. Levels are Python's numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Logging {
    /// The directory of the log file.
    pub logdir: PathBuf,
    /// The log's file name and format.
    pub kind: LoggingKind,
}

/// The choices for HTEX's `log_config`, which exists since 2026.05.18.
#[derive(Debug, Clone, PartialEq)]
pub enum LoggingKind {
    /// Parsl's own format in `interchange.log`.
    Default {
        /// The lowest level that is logged.
        level: i64,
    },
    /// `FileLogging`: a %-format in `interchange.log`.
    File {
        /// The %-format; None for the default format.
        format: Option<String>,
        /// The lowest level that is logged.
        level: i64,
    },
    /// `JSONLogging`: `interchange.jsonlog`.
    Json {
        /// The lowest level that is logged.
        level: i64,
    },
    /// `NoopLogging`: no log is written.
    Noop,
    /// A user's own class, which only Python could run. The default log is written instead, and a
    /// warning names the class.
    Unknown {
        /// The class's module and name.
        class: String,
        /// The lowest level that is logged.
        level: i64,
    },
}

/// Reads one pickle from `input` up to its STOP and returns its bytes. The writer does not need to
/// close the stream.
pub fn read_pickle(mut input: impl Read) -> Result<Vec<u8>, ConfigError> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 * 1024];
    let mut scanner = Scanner::new();
    loop {
        if scanner.advance(&bytes).map_err(Unreadable::Pickle)? {
            return Ok(bytes);
        }
        let count = match input.read(&mut chunk) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Unreadable::Input(error).into()),
        };
        if count == 0 {
            return Err(Unreadable::Ends(bytes.len()).into());
        }
        bytes.extend_from_slice(&chunk[..count]);
        if bytes.len() > CONFIG_BYTES_MAX {
            return Err(Unreadable::TooLong.into());
        }
    }
}

/// The unpickled start-up configuration. It is read one value at a time, so that a bad value still
/// leaves the rest usable when the start is refused.
pub struct RawConfig<'a> {
    bytes: &'a [u8],
    tree: Tree<'a>,
}

impl<'a> RawConfig<'a> {
    /// Reads the dict in the bytes that came from standard input.
    ///
    /// # Errors
    /// [`ConfigError::Unreadable`] only: each value is checked when it is requested.
    pub fn read(bytes: &'a [u8]) -> Result<Self, ConfigError> {
        // A trusted read does not limit the number of objects: the user's own objects, such as a
        // table in a selector, may be large.
        let tree = Tree::read_trusted(bytes).map_err(Unreadable::Pickle)?;
        if !tree.root().is_dict() {
            return Err(Unreadable::NoDict(tree.root().kind_name()).into());
        }
        Ok(Self { bytes, tree })
    }

    /// The pickled bytes, unchanged.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns where the executor listens.
    pub fn submit_side(&self) -> Result<SubmitSide, ConfigError> {
        let expected = "a tuple of three ports (tasks, results, commands)";
        let ports = self.needed("client_ports", expected)?;
        let wrong = || wrong("client_ports", expected, ports);
        let numbers: Vec<View<'_, '_>> = ports.items().ok_or_else(wrong)?.take(4).collect();
        let [tasks, results, commands] = numbers.as_slice() else {
            return Err(wrong());
        };
        let port = |view: &View<'_, '_>| port_number(*view).ok_or_else(wrong);
        Ok(SubmitSide {
            address: self
                .address("client_address")?
                .ok_or_else(|| missing("client_address", ADDRESS))?,
            task_port: port(tasks)?,
            result_port: port(results)?,
            command_port: port(commands)?,
            cert_dir: self.path("cert_dir")?,
        })
    }

    /// Returns where and how to log. A bad log configuration must not keep a run from starting, so
    /// only a missing `logdir` is an error.
    pub fn logging(&self) -> Result<Logging, ConfigError> {
        let expected = "the path of a directory";
        // An empty `pathlib` path means the working directory; an empty str is no directory.
        let is_named = self.get("logdir").and_then(View::as_str) != Some("");
        let logdir = self
            .path("logdir")?
            .filter(|_| is_named)
            .ok_or_else(|| missing("logdir", expected))?;
        let level = self
            .get("logging_level")
            .and_then(View::as_i64)
            .unwrap_or(20);
        let kind = match self.given("log_config") {
            None => LoggingKind::Default { level },
            Some(object) => logging_kind(object, level),
        };
        Ok(Logging { logdir, kind })
    }

    /// Checks every key and returns the settings.
    pub fn check(&self) -> Result<Config, ConfigError> {
        if self.tree.root().get("worker_ports").is_some() {
            return Err(ConfigError::TooOld);
        }
        Ok(Config {
            submit_side: self.submit_side()?,
            interchange_address: self.interchange_address()?,
            worker_port: self.worker_port()?,
            hub: self.hub()?,
            logging: self.logging()?,
            heartbeat_threshold: self.heartbeat_threshold()?,
            selector: self.selector()?,
            run_id: self.run_id()?,
            version_check: self.version_check(),
            unknown_keys: self.unknown_keys(),
        })
    }

    fn worker_port(&self) -> Result<PortChoice, ConfigError> {
        if let Some(port) = self.given("worker_port") {
            let port = port_number(port)
                .ok_or_else(|| wrong("worker_port", "None or a port number", port))?;
            return Ok(PortChoice::Fixed(port));
        }
        let expected = "a pair of port numbers, the first below the second";
        let range = self.needed("worker_port_range", expected)?;
        let wrong = || wrong("worker_port_range", expected, range);
        let ends: Vec<View<'_, '_>> = range.items().ok_or_else(wrong)?.take(3).collect();
        let [first, end] = ends.as_slice() else {
            return Err(wrong());
        };
        let first = port_number(*first).ok_or_else(wrong)?;
        let end = end
            .as_i64()
            .filter(|end| (1..=65536).contains(end))
            .ok_or_else(wrong)? as u32;
        if u32::from(first) >= end {
            return Err(wrong());
        }
        Ok(PortChoice::Range { first, end })
    }

    /// Returns the hub's address and port if both are given. The address alone does not enable
    /// monitoring: releases since 2025.03.10 always send it.
    fn hub(&self) -> Result<Option<HubAddress>, ConfigError> {
        // The stock interchange tests both for None, and for nothing else.
        let (Some(port), Some(_)) = (self.get("hub_zmq_port"), self.get("hub_address")) else {
            return Ok(None);
        };
        let port = port_number(port)
            .ok_or_else(|| wrong("hub_zmq_port", "None or a port number", port))?;
        Ok(self
            .address("hub_address")?
            .map(|address| HubAddress { address, port }))
    }

    fn heartbeat_threshold(&self) -> Result<Duration, ConfigError> {
        let expected = "a number of seconds above 0";
        let view = self.needed("heartbeat_threshold", expected)?;
        let seconds = view.as_f64().or_else(|| view.as_i64().map(|s| s as f64));
        seconds
            .filter(|seconds| *seconds > 0.0)
            .map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
            // A threshold below one nanosecond is rounded to zero, which is refused.
            .filter(|threshold| !threshold.is_zero())
            .ok_or_else(|| wrong("heartbeat_threshold", expected, view))
    }

    fn selector(&self) -> Result<SelectorChoice, ConfigError> {
        let Some(object) = self.get("manager_selector") else {
            return Ok(SelectorChoice::Random);
        };
        let Some((module, class)) = class_of(object) else {
            return Err(wrong(
                "manager_selector",
                "an instance of a ManagerSelector",
                object,
            ));
        };
        match (module.as_str(), class.as_str()) {
            (SELECTORS, "RandomManagerSelector") => Ok(SelectorChoice::Random),
            (SELECTORS, "BlockIdManagerSelector") => Ok(SelectorChoice::BlockId),
            (OWN_SELECTORS, "SpreadManagerSelector") => Ok(SelectorChoice::Spread),
            (OWN_SELECTORS, "PackManagerSelector") => Ok(SelectorChoice::Pack),
            _ => Ok(SelectorChoice::User(format!("{module}.{class}"))),
        }
    }

    /// The flag appeared in 2025.09.15 and governed Python's version only. Since 2026.05.18, which
    /// also introduced `log_config`, it governs both versions.
    fn version_check(&self) -> VersionCheck {
        let key = "_check_python_mismatch";
        let has_log_config = self.tree.root().get("log_config").is_some();
        match self.tree.root().get(key) {
            // The stock interchange tests the flag for truth, as Python's `if` does.
            Some(flag) if flag.is_falsy() && has_log_config => VersionCheck::Off,
            Some(flag) if flag.is_falsy() => VersionCheck::ParslOnly,
            Some(_) | None => VersionCheck::PythonAndParsl,
        }
    }

    fn unknown_keys(&self) -> Vec<String> {
        const KNOWN: [&str; 16] = [
            "client_address",
            "client_ports",
            "interchange_address",
            "worker_port",
            "worker_port_range",
            "hub_address",
            "hub_zmq_port",
            "logdir",
            "heartbeat_threshold",
            "poll_period",
            "logging_level",
            "cert_dir",
            "manager_selector",
            "run_id",
            "log_config",
            "_check_python_mismatch",
        ];
        let entries = self.tree.root().entries().into_iter().flatten();
        entries
            .map(|(key, _)| key.as_str().unwrap_or("a key that is not text"))
            .filter(|key| !KNOWN.contains(key))
            .map(str::to_owned)
            .collect()
    }

    /// The value of a key that the stock interchange tests for truth only: None if the value is
    /// absent or false in Python.
    fn given(&self, key: &str) -> Option<View<'_, 'a>> {
        self.get(key).filter(|view| !view.is_falsy())
    }

    /// The value of a key; None if the key is absent or its value is None. No key that is read here
    /// distinguishes the two.
    fn get(&self, key: &str) -> Option<View<'_, 'a>> {
        self.tree.root().get(key).filter(|view| !view.is_none())
    }

    fn needed(
        &self,
        key: &'static str,
        expected: &'static str,
    ) -> Result<View<'_, 'a>, ConfigError> {
        self.get(key).ok_or_else(|| missing(key, expected))
    }

    /// The stock interchange forwards the run id without checking it.
    fn run_id(&self) -> Result<Option<String>, ConfigError> {
        let key = "run_id";
        match self.get(key).map(|view| (view, view.as_str())) {
            None => Ok(None),
            Some((_, Some(text))) => Ok(Some(text.to_owned())),
            Some((view, None)) if view.is_falsy() => Ok(None),
            Some((view, None)) => Err(wrong(key, "None or a str", view)),
        }
    }

    /// `*`, the empty string and None stand for every address in the stock interchange.
    fn interchange_address(&self) -> Result<Option<Address>, ConfigError> {
        let key = "interchange_address";
        match self.given(key).map(View::as_str) {
            None | Some(Some("*")) => Ok(None),
            Some(_) => self.address(key),
        }
    }

    /// Reads an IP address or `localhost`. Other host names are refused, as in Parsl.
    fn address(&self, key: &'static str) -> Result<Option<Address>, ConfigError> {
        let Some(view) = self.get(key) else {
            return Ok(None);
        };
        let address = match view.as_str() {
            Some("localhost") => Some(Address::from(IpAddr::V4(Ipv4Addr::LOCALHOST))),
            Some(text) => text.parse().ok(),
            None => None,
        };
        address.map(Some).ok_or_else(|| wrong(key, ADDRESS, view))
    }

    /// Reads a path: a str, or a pickled `pathlib` object, which is a class called with the path's
    /// parts.
    fn path(&self, key: &'static str) -> Result<Option<PathBuf>, ConfigError> {
        let Some(view) = self.get(key) else {
            return Ok(None);
        };
        let not_a_path = || wrong(key, "the path of a directory", view);
        if let Some(text) = view.as_wtf8() {
            let path = file_name::encode(text).ok_or_else(not_a_path)?;
            return Ok(Some(PathBuf::from(path)));
        }
        let parts = view
            .instance()
            .filter(|i| {
                i.callable
                    .class_name()
                    .is_some_and(|(m, _)| m.starts_with("pathlib"))
            })
            .and_then(|instance| instance.arguments.items());
        let parts = parts.ok_or_else(not_a_path)?;
        let path: Option<PathBuf> = parts
            .map(|part| part.as_wtf8().and_then(file_name::encode))
            .collect();
        path.map(Some).ok_or_else(not_a_path)
    }
}

const ADDRESS: &str = "an IP address";

fn missing(key: &'static str, expected: &'static str) -> ConfigError {
    ConfigError::Missing { key, expected }
}

fn wrong(key: &'static str, expected: &'static str, found: View<'_, '_>) -> ConfigError {
    let found = match (found.as_str(), found.as_i64()) {
        (Some(text), _) => format!("'{}'", text.chars().take(80).collect::<String>()),
        (_, Some(number)) => number.to_string(),
        _ => found.kind_name().to_owned(),
    };
    ConfigError::Wrong {
        key,
        expected,
        found,
    }
}

fn port_number(view: View<'_, '_>) -> Option<u16> {
    u16::try_from(view.as_i64()?).ok().filter(|port| *port > 0)
}

/// The module and name of an instance's class, for every pickle protocol. The callable is the class
/// itself if `object.__reduce_ex__(2)` or newer pickled it (NEWOBJ). Protocols 0 and 1 call a
/// helper of `copyreg` with the class as the first argument.
fn class_of(object: View<'_, '_>) -> Option<(String, String)> {
    let instance = object.instance()?;
    let (module, name) = instance.callable.class_name()?;
    let helper = matches!(module, "copyreg" | "copy_reg");
    let (module, name) = match helper {
        true => instance.arguments.items()?.next()?.class_name()?,
        false => (module, name),
    };
    Some((module.to_owned(), name.to_owned()))
}

/// Reads a log configuration. Parsl's classes are identified by their names and not by their full
/// module paths, because Parsl has moved them between modules.
fn logging_kind(object: View<'_, '_>, default_level: i64) -> LoggingKind {
    let Some((module, class)) = class_of(object) else {
        let class = object.kind_name().to_owned();
        return LoggingKind::Unknown {
            class,
            level: default_level,
        };
    };
    let attribute = |name: &str| {
        object
            .instance()
            .and_then(|i| i.state)
            .and_then(|s| s.get(name))
    };
    // The default level of Parsl's classes is 10, which logs everything.
    let level = attribute("level").and_then(View::as_i64).unwrap_or(10);
    let of_parsl = module.starts_with("parsl.logconfigs");
    match class.as_str() {
        "FileLogging" if of_parsl => {
            let format = attribute("format_string")
                .and_then(View::as_str)
                .map(str::to_owned);
            LoggingKind::File { format, level }
        }
        "JSONLogging" if of_parsl => LoggingKind::Json { level },
        "NoopLogging" if of_parsl => LoggingKind::Noop,
        _ => LoggingKind::Unknown {
            class: format!("{module}.{class}"),
            level: default_level,
        },
    }
}
