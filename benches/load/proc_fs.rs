//! What the kernel counts about processes: processor time by thread, and resident memory.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use super::trouble::{Outcome, failure};

/// Processor time of one process at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Cpu {
    /// By thread id: its name, nanoseconds on a processor, nanoseconds in wait for one.
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
            // A thread may end while it is looked at.
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
            true => failure(format!("the kernel tells no times of process {pid}")),
            false => Ok(Self { threads }),
        }
    }

    /// All threads but that one.
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

    /// Nanoseconds on a processor since then.
    pub(crate) fn used_since(&self, earlier: &Self) -> u64 {
        self.since(earlier).map(|(_, used, _)| used).sum()
    }

    /// Nanoseconds in which a thread ran or wanted to; of one that runs now, up to the last tick.
    pub(crate) fn busy_since(&self, earlier: &Self) -> u64 {
        self.since(earlier)
            .map(|(_, used, waited)| used + waited)
            .sum()
    }

    /// The same, summed over threads of one name.
    fn used_by_name(&self, earlier: &Self) -> BTreeMap<String, u64> {
        let mut names = BTreeMap::new();
        for (name, used, _) in self.since(earlier) {
            *names.entry(name.to_owned()).or_insert(0) += used;
        }
        names
    }
}

/// The clocks of everybody at one moment.
pub(crate) struct Meter {
    pub at: Instant,
    interchange: Cpu,
    generator: Cpu,
}

/// What passed between two moments.
pub(crate) struct Used {
    pub wall_s: f64,
    pub interchange_ns: u64,
    /// In which its threads wanted a processor and had none: how busy the machine was.
    pub interchange_wait_ns: u64,
    /// By thread name.
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
    /// The most since the start, or since [`forget_peak`].
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
            _ => failure(format!("the kernel tells no memory of process {pid}")),
        }
    }
}

/// What the process calls itself.
pub(crate) fn name_of(pid: u32) -> Outcome<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm"))?;
    Ok(name.trim_end().to_owned())
}

/// The first child of the process.
pub(crate) fn child_of(pid: u32) -> Outcome<u32> {
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(child) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // Behind the name, which may have spaces and parentheses: the state, and the parent.
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

/// Makes the peak what is resident now.
pub(crate) fn forget_peak(pid: u32) -> Outcome<()> {
    Ok(fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
}
