//! A manager's registration: the manager's description of itself and its node.

use crate::ids::{BlockId, ManagerId};
use crate::malformed::Malformed;
use crate::opaque::{Opaque, Stay};
use crate::placement::amount;
use pickle::{self, Program, Tree, View};

/// Maximum capacity of a manager; a larger value is reduced to this. No real manager has so much.
const CAPACITY_MAX: i64 = 1 << 24;
/// Maximum size of a registration, which is kept as long as its manager is registered. Real
/// registrations have a few kilobytes, mostly names of packages.
const BYTES_MAX: usize = 4 << 20;
/// Maximum length of a text in a registration. Such texts appear in log lines and lists of recent
/// changes, and block ids are kept.
const TEXT_BYTES_MAX: usize = 1024;
const BYTES_PER_MB: f64 = (1 << 20) as f64;

/// A manager's description of itself, sent to register.
#[derive(Debug)]
pub struct Registration<B> {
    /// The block that the manager belongs to.
    pub block: BlockId,
    /// Maximum number of tasks that the manager may hold at a time, including prefetched ones.
    pub max_capacity: usize,
    /// Number of workers that the manager starts. Dispatch depends on `max_capacity`, not on this
    /// number.
    pub worker_count: i64,
    /// Name of the manager's node, as reported by the manager.
    pub hostname: String,
    /// The manager's `parsl.version.VERSION`.
    pub parsl_version: String,
    /// The manager's Python version, such as 3.11.7.
    pub python_version: String,
    /// When the manager begins to drain, in seconds since the epoch on the manager's clock.
    /// Infinite if it never drains automatically.
    pub drain_time_s: f64,
    /// When the manager started, in seconds on its own clock; 0 if not reported.
    pub start_time_s: f64,
    /// Processor cores of the node (`psutil`'s count without hyperthreads), if reported.
    pub cpu_count: Option<f64>,
    /// Memory of the node in MB of 2²⁰ bytes, if reported.
    pub total_memory_mb: Option<f64>,
    /// Whether the message contains the capacity. Parsl's own interchange reports a missing one as
    /// 0.
    pub tells_capacity: bool,
    /// Whether the message contains the node's Python packages (since 2025.02.17).
    pub has_packages: bool,
    /// The whole message, which monitoring and MANAGERS_PACKAGES pass on.
    pub message: B,
}

impl<B> Registration<B> {
    /// Returns the Python version without its last part (`3.11` of `3.11.7`). Parsl compares this
    /// part.
    pub fn python_minor(&self) -> &str {
        match self.python_version.rsplit_once('.') {
            Some((minor, _)) => minor,
            None => &self.python_version,
        }
    }

    /// Returns the manager's id, host name and block, for a log line.
    pub fn place(&self, id: &ManagerId) -> String {
        format!("{id} on {} (block {})", self.hostname, self.block)
    }
}

impl Registration<()> {
    /// Reads a registration from a message of that type, which has the given number of bytes.
    pub(crate) fn read(message: View<'_, '_>, bytes: usize) -> Result<Self, Malformed> {
        if bytes > BYTES_MAX {
            return Err(Malformed::shape(format!(
                "a registration of {bytes} bytes; at most {BYTES_MAX} are accepted"
            )));
        }
        let block = bounded(message, "block_id")?.and_then(BlockId::read);
        let block = block.ok_or_else(|| {
            Malformed::shape("a registration needs a 'block_id', a str or an int")
        })?;
        let told_capacity = message.get("max_capacity");
        // Parsl's own interchange accepts a registration without a capacity, and never dispatches
        // to it.
        let max_capacity = match told_capacity {
            None => 0,
            Some(view) => view.as_i64().ok_or_else(|| {
                Malformed::shape("a registration's 'max_capacity' should be an int")
            })?,
        };
        // A manager without capacity is accepted, but gets no tasks.
        let max_capacity = max_capacity.clamp(0, CAPACITY_MAX) as usize;
        Ok(Self {
            block,
            max_capacity,
            worker_count: message
                .get("worker_count")
                .and_then(View::as_i64)
                .unwrap_or(0),
            hostname: text(message, "hostname")?.unwrap_or_else(|| "unknown".to_owned()),
            parsl_version: needed(message, "parsl_v")?,
            python_version: needed(message, "python_v")?,
            drain_time_s: seconds(message.get("drain_time")).unwrap_or(f64::INFINITY),
            start_time_s: seconds(message.get("start_time")).unwrap_or(0.0),
            cpu_count: some_of(message.get("cpu_count")),
            total_memory_mb: some_of(message.get("total_memory")).map(|b| b / BYTES_PER_MB),
            tells_capacity: told_capacity.is_some(),
            has_packages: message.get("packages").is_some(),
            message: (),
        })
    }

    /// Adds the message to the facts that were read from it.
    pub(crate) fn with<F: AsRef<[u8]>>(
        self,
        frame: F,
        program: Program,
    ) -> Registration<Opaque<F>> {
        self.beside(Opaque::object(frame, program, Stay::Long))
    }

    /// Reads a registration from a frame that is already in the journal, without copying the frame.
    ///
    /// # Errors
    /// The frame is not a registration.
    pub fn of_kept<F: AsRef<[u8]>>(frame: F) -> Result<Registration<Opaque<F>>, Malformed> {
        let bytes = frame.as_ref();
        let tree = Tree::read(bytes)?;
        let facts = Self::read(tree.root(), bytes.len())?;
        let program = pickle::scan(bytes)?;
        Ok(facts.beside(Opaque::object(frame, program, Stay::Short)))
    }

    fn beside<B>(self, message: B) -> Registration<B> {
        Registration {
            block: self.block,
            max_capacity: self.max_capacity,
            worker_count: self.worker_count,
            hostname: self.hostname,
            parsl_version: self.parsl_version,
            python_version: self.python_version,
            drain_time_s: self.drain_time_s,
            start_time_s: self.start_time_s,
            cpu_count: self.cpu_count,
            total_memory_mb: self.total_memory_mb,
            tells_capacity: self.tells_capacity,
            has_packages: self.has_packages,
            message,
        }
    }
}

/// Returns the value of a key. A text that is too long is an error.
fn bounded<'t, 'a>(message: View<'t, 'a>, key: &str) -> Result<Option<View<'t, 'a>>, Malformed> {
    let value = message.get(key);
    match value.and_then(View::as_str) {
        Some(text) if text.len() > TEXT_BYTES_MAX => Err(Malformed::shape(format!(
            "a registration's '{key}' is longer than {TEXT_BYTES_MAX} bytes"
        ))),
        _ => Ok(value),
    }
}

fn text(message: View<'_, '_>, key: &str) -> Result<Option<String>, Malformed> {
    let value = bounded(message, key)?;
    Ok(value.and_then(View::as_str).map(str::to_owned))
}

fn needed(message: View<'_, '_>, key: &str) -> Result<String, Malformed> {
    let text = text(message, key)?;
    text.ok_or_else(|| Malformed::shape(format!("a registration needs '{key}', a str")))
}

/// Reads an amount that cannot be zero on any node.
fn some_of(view: Option<View<'_, '_>>) -> Option<f64> {
    let amount = amount(view?)?.get();
    (amount > 0.0).then_some(amount)
}

/// Reads a point in time in seconds. NaN is refused.
fn seconds(view: Option<View<'_, '_>>) -> Option<f64> {
    let view = view?;
    view.as_f64()
        .or_else(|| view.as_i64().map(|s| s as f64))
        .filter(|s| !s.is_nan())
}
