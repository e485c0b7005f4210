//! What Python said, and what this program runs with.
//!
//! HTEX writes one pickled dict to our standard input. [`RawConfig`] finds the values in it and
//! checks their types; [`Config`] is what the rest of the program sees, with every choice made.
//! Keys and their history are in guide/protocol, 1.2: one that is missing has the meaning that its
//! absence had in the releases that did not send it; one that is unknown is logged and ignored,
//! so that the next release of Parsl does not stop us.

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

/// A config beyond this is none: HTEX's has 600 bytes, and what the user's own selector holds.
const CONFIG_BYTES_MAX: usize = 48 << 20;
/// Parsl's own module of selectors.
const SELECTORS: &str = "parsl.executors.high_throughput.manager_selector";
/// That of the package that is installed with this program.
const OWN_SELECTORS: &str = "htex_interchange.selectors";

/// Why there is no config to run with: names the key and what was expected.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Standard input has no dict in a pickle.
    #[error("the start-up configuration on standard input cannot be read: {0}")]
    Unreadable(#[from] Unreadable),
    /// A key is absent, or None where that means nothing.
    #[error("the start-up configuration has no '{key}', which should be {expected}")]
    Missing {
        /// The key.
        key: &'static str,
        /// What it should be, in words.
        expected: &'static str,
    },
    /// A value is of another type than it should be, or out of its bounds.
    #[error("'{key}' in the start-up configuration should be {expected}, not {found}")]
    Wrong {
        /// The key.
        key: &'static str,
        /// What its value should be, in words.
        expected: &'static str,
        /// What it is: a short value, or the name of its type.
        found: String,
    },
    /// The executor is older than the releases that are served.
    #[error(
        "this Parsl gives the interchange 'worker_ports', as releases before 2025.06.30 did; \
         htex-interchange serves Parsl {OLDEST_TESTED} and newer"
    )]
    TooOld,
}

/// Why standard input has no dict in a pickle.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is no pickle.
    #[error(transparent)]
    Pickle(#[from] PickleError),
    /// The system gives nothing to read.
    #[error(transparent)]
    Input(#[from] io::Error),
    /// The writer closed it too early.
    #[error("it ends after {0} bytes, before its pickle does")]
    Ends(usize),
    /// It goes on and on.
    #[error("it has more than {CONFIG_BYTES_MAX} bytes")]
    TooLong,
    /// The pickle holds something else, by Python's word for its type.
    #[error("it should be a dict, not {0}")]
    NoDict(&'static str),
}

/// Everything this program needs to run.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where the executor is.
    pub submit_side: SubmitSide,
    /// Where managers connect to; None for every address of the machine.
    pub interchange_address: Option<Address>,
    /// Which port they connect to.
    pub worker_port: PortChoice,
    /// The monitoring hub, if there is monitoring.
    pub hub: Option<HubAddress>,
    /// Where the log goes.
    pub logging: Logging,
    /// A manager that says nothing for so long is lost; above 0.
    pub heartbeat_threshold: Duration,
    /// Who decides which manager gets tasks first.
    pub selector: SelectorChoice,
    /// Parsl's name of the run, for monitoring; None where HTEX is used without a DataFlowKernel.
    pub run_id: Option<String>,
    /// Which versions of a manager have to agree.
    pub version_check: VersionCheck,
    /// For the log: keys that no release of Parsl had when this program was written.
    pub unknown_keys: Vec<String>,
}

/// Where the executor listens, and how it is talked to. This much is enough to tell it why nothing
/// starts.
#[derive(Debug, Clone, PartialEq)]
pub struct SubmitSide {
    /// The address of its three ports.
    pub address: Address,
    /// Tasks come from here.
    pub task_port: u16,
    /// Results go here.
    pub result_port: u16,
    /// Commands come from here, and are answered.
    pub command_port: u16,
    /// With certificates everything is encrypted, without nothing is.
    pub cert_dir: Option<PathBuf>,
}

/// Where monitoring listens.
#[derive(Debug, Clone, PartialEq)]
pub struct HubAddress {
    /// The hub's machine, which is the submit side's.
    pub address: Address,
    /// Its ZeroMQ port.
    pub port: u16,
}

/// The port for managers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortChoice {
    /// This one.
    Fixed(u16),
    /// Any free one from `first` on, below `end`.
    Range {
        /// The lowest.
        first: u16,
        /// One above the highest, up to 65,536.
        end: u32,
    },
}

/// HTEX's `manager_selector`.
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
    /// A class that only Python can run; its name is for the log.
    User(String),
}

/// Where the log goes, and how it looks. Levels are Python's numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Logging {
    /// The directory of the log file.
    pub logdir: PathBuf,
    /// Its name and shape.
    pub kind: LoggingKind,
}

/// HTEX's `log_config`, since 2026.05.18.
#[derive(Debug, Clone, PartialEq)]
pub enum LoggingKind {
    /// Parsl's own format in `interchange.log`.
    Default {
        /// The least that is logged.
        level: i64,
    },
    /// `FileLogging`: a %-format in `interchange.log`.
    File {
        /// None for the default.
        format: Option<String>,
        /// The least that is logged.
        level: i64,
    },
    /// `JSONLogging`: `interchange.jsonlog`.
    Json {
        /// The least that is logged.
        level: i64,
    },
    /// `NoopLogging`: nothing.
    Noop,
    /// A class of the user's, which only Python could run: the default takes its place, and a
    /// warning names it.
    Unknown {
        /// Its module and name.
        class: String,
        /// The least that is logged.
        level: i64,
    },
}

/// The bytes of one pickle, read from `input` up to its STOP: the writer need not close it.
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

/// What Python said: typed access to the dict, one value at a time, so that a start can be refused
/// with as much of it as is sound.
pub struct RawConfig<'a> {
    bytes: &'a [u8],
    tree: Tree<'a>,
}

impl<'a> RawConfig<'a> {
    /// Looks into what was read from standard input.
    ///
    /// # Errors
    /// [`ConfigError::Unreadable`]: values are looked at when they are asked for.
    pub fn read(bytes: &'a [u8]) -> Result<Self, ConfigError> {
        // The user's own objects, such as a table in a selector, are as large as the user wants.
        let tree = Tree::read_trusted(bytes).map_err(Unreadable::Pickle)?;
        if !tree.root().is_dict() {
            return Err(Unreadable::NoDict(tree.root().kind_name()).into());
        }
        Ok(Self { bytes, tree })
    }

    /// As it came.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Where the executor is.
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

    /// Where to log. Whatever is wrong with the log configuration must not keep a run from
    /// starting, so only a missing `logdir` is an error.
    pub fn logging(&self) -> Result<Logging, ConfigError> {
        let expected = "the path of a directory";
        // A `pathlib` path without parts is the working directory; a text is no such name.
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

    /// Everything.
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

    /// The address alone means nothing: since 2025.03.10 it is always given.
    fn hub(&self) -> Result<Option<HubAddress>, ConfigError> {
        // Stock asks both whether they are None, and nothing else.
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
            // Less than a nanosecond is none.
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

    /// The flag came in 2025.09.15 and governed Python's version only; since 2026.05.18, which
    /// also brought `log_config`, it governs both.
    fn version_check(&self) -> VersionCheck {
        let key = "_check_python_mismatch";
        let has_log_config = self.tree.root().get("log_config").is_some();
        match self.tree.root().get(key) {
            // Stock takes the flag for what Python does.
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
            .map(|(key, _)| key.as_str().unwrap_or("a key that is no text"))
            .filter(|key| !KNOWN.contains(key))
            .map(str::to_owned)
            .collect()
    }

    /// None for whatever Python takes for false, where stock asks no more than that.
    fn given(&self, key: &str) -> Option<View<'_, 'a>> {
        self.get(key).filter(|view| !view.is_falsy())
    }

    /// None for a key that is absent or None: no key that is asked for here tells these apart.
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

    /// Stock hands it on unseen.
    fn run_id(&self) -> Result<Option<String>, ConfigError> {
        let key = "run_id";
        match self.get(key).map(|view| (view, view.as_str())) {
            None => Ok(None),
            Some((_, Some(text))) => Ok(Some(text.to_owned())),
            Some((view, None)) if view.is_falsy() => Ok(None),
            Some((view, None)) => Err(wrong(key, "None or a str", view)),
        }
    }

    /// `*` is stock's word for every address, and so is no address.
    fn interchange_address(&self) -> Result<Option<Address>, ConfigError> {
        let key = "interchange_address";
        match self.given(key).map(View::as_str) {
            None | Some(Some("*")) => Ok(None),
            Some(_) => self.address(key),
        }
    }

    /// IP addresses only, as in Parsl.
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

    /// A str, or a `pathlib` path: its class called with its parts.
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

/// The class of an instance, however it was pickled: by `object.__reduce_ex__(2)` and up it is the
/// callable itself (NEWOBJ), or the first argument of `copyreg`'s helpers (protocols 0 and 1).
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

/// Parsl's log configurations, told apart by class name alone: they have moved between modules.
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
    // Parsl's classes log everything unless told otherwise.
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
