//! The kernel's counts for processes: processor time by thread, and resident memory.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use super::trouble::{Outcome, failure};

/// Processor time of one process at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Cpu {
    /// For each thread id: the thread's name, nanoseconds on a processor, and nanoseconds of
    /// waiting for one.
    threads: BTreeMap<u32, (String, u64, u64)>,
}

impl Cpu {
    pub(crate) fn of(pid: u32) -> Outcome<Self> {
        let mut threads = BTreeMap::new();
        for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
            let entry = entry?.path();
            let id = entry
                .file_name()
                .and_then(|name| name.to_str()?.parse().ok());
            // A thread may end while its files are read.
            let (Some(id), Ok(name), Ok(times)) = (
                id,
                fs::read_to_string(entry.join("comm")),
                fs::read_to_string(entry.join("schedstat")),
            ) else {
                continue;
            };
            let mut times = times
                .split_whitespace()
                .map(|field| field.parse().unwrap_or(0));
            let (used, waited) = (times.next().unwrap_or(0), times.next().unwrap_or(0));
            threads.insert(id, (name.trim().to_owned(), used, waited));
        }
        match threads.is_empty() {
            true => failure(format!("the kernel reports no CPU times of process {pid}")),
            false => Ok(Self { threads }),
        }
    }

    /// Removes one thread.
    pub(crate) fn without(mut self, thread: u32) -> Self {
        self.threads.remove(&thread);
        self
    }

    fn since(&self, earlier: &Self) -> impl Iterator<Item = (&str, u64, u64)> {
        self.threads.iter().map(|(id, (name, used, waited))| {
            let (used_before, waited_before) = match earlier.threads.get(id) {
                Some((_, used, waited)) => (*used, *waited),
                None => (0, 0),
            };
            (name.as_str(), used - used_before, waited - waited_before)
        })
    }

    /// Returns the nanoseconds on a processor since `earlier`.
    pub(crate) fn used_since(&self, earlier: &Self) -> u64 {
        self.since(earlier).map(|(_, used, _)| used).sum()
    }

    /// Returns the nanoseconds since `earlier` in which a thread ran or waited for a processor. For
    /// a thread that runs now, they count up to the last tick.
    pub(crate) fn busy_since(&self, earlier: &Self) -> u64 {
        self.since(earlier)
            .map(|(_, used, waited)| used + waited)
            .sum()
    }

    /// Returns the nanoseconds on a processor since `earlier`, summed over threads with the same
    /// name.
    fn used_by_name(&self, earlier: &Self) -> BTreeMap<String, u64> {
        let mut names = BTreeMap::new();
        for (name, used, _) in self.since(earlier) {
            *names.entry(name.to_owned()).or_insert(0) += used;
        }
        names
    }
}

/// The processor times of the interchange and of this program at one moment.
pub(crate) struct Meter {
    pub at: Instant,
    interchange: Cpu,
    generator: Cpu,
}

/// The time used between two moments.
pub(crate) struct Used {
    pub wall_s: f64,
    pub interchange_ns: u64,
    /// Nanoseconds in which the interchange's threads waited for a processor: how busy the machine
    /// was.
    pub interchange_wait_ns: u64,
    /// Nanoseconds on a processor by thread name.
    pub interchange_ns_by_thread: BTreeMap<String, u64>,
    pub generator_ns: u64,
}

impl Meter {
    pub(crate) fn read(interchange: u32) -> Outcome<Self> {
        Ok(Self {
            interchange: Cpu::of(interchange)?,
            generator: Cpu::of(std::process::id())?,
            at: Instant::now(),
        })
    }

    pub(crate) fn since(&self, earlier: &Self) -> Used {
        let interchange_ns = self.interchange.used_since(&earlier.interchange);
        let interchange_busy_ns = self.interchange.busy_since(&earlier.interchange);
        Used {
            wall_s: (self.at - earlier.at).as_secs_f64(),
            interchange_ns,
            interchange_wait_ns: interchange_busy_ns - interchange_ns,
            interchange_ns_by_thread: self.interchange.used_by_name(&earlier.interchange),
            generator_ns: self.generator.used_since(&earlier.generator),
        }
    }
}

/// Resident memory, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resident {
    pub now: u64,
    /// The maximum since the start, or since [`forget_peak`].
    pub peak: u64,
}

impl Resident {
    pub(crate) fn of(pid: u32) -> Outcome<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            let kib: u64 = line
                .trim_start_matches(':')
                .trim()
                .strip_suffix(" kB")?
                .parse()
                .ok()?;
            Some(kib * 1024)
        };
        match (field("VmRSS"), field("VmHWM")) {
            (Some(now), Some(peak)) => Ok(Self { now, peak }),
            _ => failure(format!("the kernel reports no memory of process {pid}")),
        }
    }
}

/// Returns how many descriptors the process has open.
pub(crate) fn descriptors_of(pid: u32) -> Outcome<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// Returns how many threads the process has.
pub(crate) fn threads_of(pid: u32) -> Outcome<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/task"))?.count())
}

/// Returns the name that the process has set for itself.
pub(crate) fn name_of(pid: u32) -> Outcome<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm"))?;
    Ok(name.trim_end().to_owned())
}

/// Returns the first child of the process.
pub(crate) fn child_of(pid: u32) -> Outcome<u32> {
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(child) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // The state and the parent follow the name, which may contain spaces and parentheses.
        let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        let parent = stat.rsplit_once(") ").and_then(|(_, behind)| {
            let parent = behind.split_whitespace().nth(1)?;
            parent.parse::<u32>().ok()
        });
        if parent == Some(pid) {
            return Ok(child);
        }
    }
    failure(format!("process {pid} has no child"))
}

/// Resets the peak to the currently resident memory.
pub(crate) fn forget_peak(pid: u32) -> Outcome<()> {
    Ok(fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
}
