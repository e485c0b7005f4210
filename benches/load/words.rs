//! The small pickles: the configuration and the commands for an interchange, and a manager's
//! messages other than results. The library's codec writes and reads them. Tasks, batches and
//! results, which are measured, have their own code in [`pattern`] and [`batch_reader`].
//!
//! [`pattern`]: super::pattern
//! [`batch_reader`]: super::batch_reader

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pickle::{Encoder, Tree};

/// The bytes are those that Python pickles.
pub(crate) const PROBE: &[u8] =
    b"\x80\x04\x95\x1e\0\0\0\0\0\0\0}\x94\x8c\x04type\x94\x8c\x10connection_probe\x94s.";
pub(crate) const HEARTBEAT: &[u8] =
    b"\x80\x04\x95\x17\0\0\0\0\0\0\0}\x94\x8c\x04type\x94\x8c\theartbeat\x94s.";
pub(crate) const DRAIN: &[u8] =
    b"\x80\x04\x95\x13\0\0\0\0\0\0\0}\x94\x8c\x04type\x94\x8c\x05drain\x94s.";
pub(crate) const HEARTBEAT_CODE: i64 = (1 << 32) - 1;
pub(crate) const SHUTDOWN_CODE: i64 = (1 << 32) - 2;

const ADDRESS: &str = "127.0.0.1";
/// The range for which Parsl lets the system choose a port.
const ANY_PORT: (i64, i64) = (49_152, 65_536);
/// Number of packages that a manager reports, as in an ordinary environment with Parsl.
const PACKAGES: usize = 44;
/// Length of the identities that managers have.
const MANAGER_NAME_BYTES: usize = 12;
const LOG_LEVEL_INFO: i64 = 20;
const POLL_PERIOD_MS: i64 = 10;

/// The start-up configuration of the interchange.
pub(crate) struct StartConfig<'a> {
    /// The ports for tasks, results and commands.
    pub client_ports: [u16; 3],
    pub logdir: &'a Path,
    pub cert_dir: Option<&'a Path>,
    pub check_versions: bool,
    pub heartbeat_threshold: Duration,
}

impl StartConfig<'_> {
    /// Returns the pickle, with the keys of Parsl 2026.10.26 in its order.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.begin_dict();
        out.str("client_address").str(ADDRESS);
        out.str("client_ports").begin_tuple();
        for port in self.client_ports {
            out.int(port.into());
        }
        out.end_tuple();
        out.str("interchange_address").str(ADDRESS);
        out.str("worker_port").none();
        out.str("worker_port_range").begin_tuple();
        out.int(ANY_PORT.0).int(ANY_PORT.1).end_tuple();
        out.str("hub_address").str(ADDRESS);
        out.str("hub_zmq_port").none();
        out.str("logdir").str(&self.logdir.to_string_lossy());
        let threshold_s = self.heartbeat_threshold.as_secs() as i64;
        out.str("heartbeat_threshold").int(threshold_s);
        out.str("poll_period").int(POLL_PERIOD_MS);
        out.str("logging_level").int(LOG_LEVEL_INFO);
        out.str("cert_dir");
        match self.cert_dir {
            Some(directory) => out.str(&directory.to_string_lossy()),
            None => out.none(),
        };
        out.str("manager_selector");
        out.global(
            "parsl.executors.high_throughput.manager_selector",
            "RandomManagerSelector",
        );
        out.empty_tuple().newobj();
        out.str("run_id").str("a-run");
        out.str("log_config").none();
        out.str("_check_python_mismatch").bool(self.check_versions);
        out.end_dict();
        out.finish()
    }
}

/// The contents of managers' registrations.
pub(crate) struct Registration {
    pub parsl_version: String,
    pub python_version: String,
    pub slots: usize,
}

impl Registration {
    /// Returns the pickle, with the fields of Parsl 2026.10.26 in its order.
    pub(crate) fn encode(&self, name: &str, block: usize) -> Vec<u8> {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        let mut out = Encoder::with_capacity(2048);
        out.begin_dict();
        out.str("type").str("registration");
        out.str("parsl_v").str(&self.parsl_version);
        out.str("python_v").str(&self.python_version);
        out.str("packages").begin_dict();
        for number in 0..PACKAGES {
            out.str(&format!("package-{number:02}")).str("1.2.3");
        }
        out.end_dict();
        out.str("worker_count").int(self.slots as i64);
        out.str("uid").str(name);
        out.str("block_id").str(&block.to_string());
        out.str("start_time")
            .float(since_epoch.map_or(0.0, |time| time.as_secs_f64()));
        out.str("drain_time").float(f64::INFINITY);
        out.str("prefetch_capacity").int(0);
        out.str("max_capacity").int(self.slots as i64);
        out.str("os").str("Linux");
        out.str("hostname").str("load");
        out.str("dir").str("/");
        out.str("cpu_count").int(self.slots as i64);
        out.str("total_memory").int(8 << 30);
        out.end_dict();
        out.finish()
    }
}

/// Returns the pickle of a command of one word.
pub(crate) fn command(word: &str) -> Vec<u8> {
    let mut out = Encoder::new();
    out.str(word);
    out.finish()
}

/// Returns the pickle of the command that holds a manager.
pub(crate) fn hold_command(manager: &str) -> Vec<u8> {
    let mut out = Encoder::new();
    out.begin_list();
    out.str("HOLD_MANAGER").str(manager);
    out.end_list();
    out.finish()
}

/// Returns the pickle of a number, as an interchange would send it to a manager.
pub(crate) fn number(value: i64) -> Vec<u8> {
    let mut out = Encoder::new();
    out.int(value);
    out.finish()
}

pub(crate) fn read_number(reply: &[u8]) -> Option<i64> {
    Tree::read(reply).ok()?.root().as_i64()
}

pub(crate) fn read_list_len(reply: &[u8]) -> Option<usize> {
    Some(Tree::read(reply).ok()?.root().items()?.count())
}

/// Whether the reply is None.
pub(crate) fn is_none(reply: &[u8]) -> bool {
    reply == b"\x80\x04N."
}

/// Returns the task and the manager of a result that says that the manager is lost.
pub(crate) fn read_loss(message: &[u8]) -> Option<(u64, String)> {
    let tree = Tree::read(message).ok()?;
    let root = tree.root();
    let id = u64::try_from(root.get("task_id")?.as_i64()?).ok()?;
    let exception = root.get("exception")?.as_bytes()?;
    let names_class = |class: &[u8]| exception.windows(class.len()).any(|at| at == class);
    if !names_class(b"ManagerLost") {
        return None;
    }
    // The first bytes object of the exception is the manager's identity.
    let head = [b'C', MANAGER_NAME_BYTES as u8];
    let at = exception.windows(2).position(|at| at == head)? + head.len();
    let name = exception.get(at..at + MANAGER_NAME_BYTES)?;
    Some((id, String::from_utf8(name.to_vec()).ok()?))
}

/// One entry of the reply to MANAGERS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ManagerEntry {
    pub is_active: bool,
    pub tasks: i64,
}

pub(crate) fn read_managers(reply: &[u8]) -> Option<Vec<ManagerEntry>> {
    let tree = Tree::read(reply).ok()?;
    let entries = tree.root().items()?;
    entries
        .map(|entry| {
            Some(ManagerEntry {
                is_active: entry.get("active")?.as_bool()?,
                tasks: entry.get("tasks")?.as_i64()?,
            })
        })
        .collect()
}
