//! A manager's account of itself, with which it registers.

use crate::ids::{BlockId, ManagerId};
use crate::malformed::Malformed;
use crate::opaque::{Opaque, Stay};
use crate::placement::amount;
use pickle::{self, Program, Tree, View};

/// A capacity that no manager has: what is claimed beyond it is cut to it.
const CAPACITY_MAX: i64 = 1 << 24;
/// A registration is kept for as long as its manager is; real ones have some kilobytes, most of it
/// names of packages.
const BYTES_MAX: usize = 4 << 20;
/// Its texts stand in log lines, in lists of the latest changes, and blocks are remembered.
const TEXT_BYTES_MAX: usize = 1024;
const BYTES_PER_MB: f64 = (1 << 20) as f64;

/// A manager's account of itself.
#[derive(Debug)]
pub struct Registration<B> {
    /// The block that it belongs to.
    pub block: BlockId,
    /// Most tasks that it may hold at a time, prefetched ones included.
    pub max_capacity: usize,
    /// How many workers it starts. What it gets goes by its capacity.
    pub worker_count: i64,
    /// Its node's name, by its own account.
    pub hostname: String,
    /// `parsl.version.VERSION` where it runs.
    pub parsl_version: String,
    /// Its Python, as in 3.11.7.
    pub python_version: String,
    /// Seconds since the epoch, on the manager's clock; infinite if it never drains by itself.
    pub drain_time_s: f64,
    /// When it started, on its own clock; 0 if it does not say.
    pub start_time_s: f64,
    /// Processor cores of its node, if it says (`psutil`'s, without hyperthreads).
    pub cpu_count: Option<f64>,
    /// Memory of its node in MB of 2²⁰ bytes, if it says.
    pub total_memory_mb: Option<f64>,
    /// Whether the message tells the capacity itself: stock reports it as 0 where it does not.
    pub tells_capacity: bool,
    /// Whether the message tells the node's Python packages (since 2025.02.17).
    pub has_packages: bool,
    /// The whole message, as monitoring and MANAGERS_PACKAGES pass it on.
    pub message: B,
}

impl<B> Registration<B> {
    /// `3.11` of `3.11.7`: what is compared, as Parsl compares it.
    pub fn python_minor(&self) -> &str {
        match self.python_version.rsplit_once('.') {
            Some((minor, _)) => minor,
            None => &self.python_version,
        }
    }

    /// How a manager is shown in a log line with where it runs.
    pub fn place(&self, id: &ManagerId) -> String {
        format!("{id} on {} (block {})", self.hostname, self.block)
    }
}

impl Registration<()> {
    /// Reads a message of so many bytes whose type says that it is one.
    pub(crate) fn read(message: View<'_, '_>, bytes: usize) -> Result<Self, Malformed> {
        if bytes > BYTES_MAX {
            return Err(Malformed::shape(format!(
                "a registration of {bytes} bytes; more than {BYTES_MAX} are not taken"
            )));
        }
        let block = bounded(message, "block_id")?.and_then(BlockId::read);
        let block = block.ok_or_else(|| {
            Malformed::shape("a registration needs a 'block_id', a str or an int")
        })?;
        let told_capacity = message.get("max_capacity");
        // Stock takes one that does not tell its capacity, and never gives it anything.
        let max_capacity = match told_capacity {
            None => 0,
            Some(view) => view.as_i64().ok_or_else(|| {
                Malformed::shape("a registration's 'max_capacity' should be an int")
            })?,
        };
        // A manager that has no room gets nothing; that is its own affair.
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

    /// And the message itself.
    pub(crate) fn with<F: AsRef<[u8]>>(
        self,
        frame: F,
        program: Program,
    ) -> Registration<Opaque<F>> {
        self.beside(Opaque::object(frame, program, Stay::Long))
    }

    /// Of a frame that was read before, and is kept as it is.
    ///
    /// # Errors
    /// It is no registration.
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

/// The value of a key, unless it is a text that is too long.
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

/// How much there is of something that no node is without.
fn some_of(view: Option<View<'_, '_>>) -> Option<f64> {
    let amount = amount(view?)?.get();
    (amount > 0.0).then_some(amount)
}

/// A point in time as a number of seconds; NaN is none.
fn seconds(view: Option<View<'_, '_>>) -> Option<f64> {
    let view = view?;
    view.as_f64()
        .or_else(|| view.as_i64().map(|s| s as f64))
        .filter(|s| !s.is_nan())
}
