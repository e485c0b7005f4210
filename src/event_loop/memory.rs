//! Releases memory to the system after a long queue has drained.
//!
//! The allocator keeps freed memory for later. After a backlog of a million tasks that is a
//! gigabyte, on a login node that other users share; so it is after results that the executor did
//! not read for a while. So some time after tasks or results arrived, when few tasks are queued and
//! no result waits, the process checks its size. If it has grown, memory is released in small
//! steps, with other work in between. Without traffic there are no checks and no wake-ups.

use std::path::Path;
use std::time::Duration;
use std::{fmt, fs};

use rustix::process::{Resource, getrlimit};
use tracing::{debug, info};

use super::heap_release::HeapRelease;
use super::statm::Statm;
use super::system_calls;
use broker::Now;

/// Delay between the traffic and the check. Long enough to cost nothing, and shorter than a user
/// would wait.
const LOOK_AFTER: Duration = Duration::from_millis(1500);
/// With more queued tasks than this, memory is in use and is not released.
const FEW_TASKS: usize = 2048;
/// Bound if the user names none: this fraction (1/4) of the memory of the machine or of this
/// process's part of it.
const SHARE_OF_MEMORY: usize = 4;
/// Bound if the size of the memory is unknown.
const BOUND_IF_UNKNOWN_BYTES: usize = 1 << 30;
/// A smaller growth is not worth a walk through the heap.
const WORTH_BYTES: usize = 8 << 20;
/// If less memory than this is left, large messages may not fit; messages of this size are rare.
const SCARCE_BYTES: usize = 2 << 30;

pub(super) struct Memory {
    look_at: Option<Duration>,
    /// The release in progress, if any.
    release: Option<Release>,
    /// Resident bytes after the last release, or at the start.
    usual_bytes: usize,
}

struct Release {
    steps: HeapRelease,
    bytes_before: usize,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self {
            look_at: None,
            release: None,
            usual_bytes: resident_bytes(),
        }
    }

    /// Schedules a check, since tasks or results have arrived.
    pub(super) fn handle_traffic(&mut self, now: Now) {
        if self.look_at.is_none() {
            self.look_at = Some(now.monotonic + LOOK_AFTER);
        }
    }

    pub(super) fn handle_time(&mut self, queued: usize, unsent_results: usize, now: Now) {
        let is_in_use = queued > FEW_TASKS || unsent_results > 0;
        self.advance_release(is_in_use, now);
        if self.look_at.is_none_or(|at| at > now.monotonic) {
            return;
        }
        if is_in_use {
            self.look_at = Some(now.monotonic + LOOK_AFTER);
            return;
        }
        self.look_at = None;
        let bytes_before = resident_bytes();
        if self.release.is_none() && bytes_before > self.usual_bytes + WORTH_BYTES {
            self.release = Some(Release {
                steps: HeapRelease::begin(),
                bytes_before,
            });
        }
    }

    /// When [`Self::handle_time`] has work to do; at once while a release is in progress.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        match self.release {
            Some(_) => Some(Duration::ZERO),
            None => self.look_at,
        }
    }

    fn advance_release(&mut self, is_in_use: bool, now: Now) {
        let Some(mut release) = self.release.take() else {
            return;
        };
        if is_in_use {
            // The memory is needed again. Another check follows.
            self.look_at.get_or_insert(now.monotonic + LOOK_AFTER);
            return;
        }
        if release.steps.advance() {
            self.release = Some(release);
            return;
        }
        system_calls::trim_heap();
        self.usual_bytes = resident_bytes();
        debug!(
            "Gave memory back to the system: {} MB resident before, {} MB now",
            release.bytes_before >> 20,
            self.usual_bytes >> 20
        );
    }
}

/// Returns the bound on tasks and unsent results: the value from the command line, or a share of
/// the memory. Logs the bound.
pub(super) fn bound_bytes(named: Option<usize>) -> usize {
    let share = || match available_to_us_bytes() {
        Some(bytes) => bytes / SHARE_OF_MEMORY,
        None => BOUND_IF_UNKNOWN_BYTES,
    };
    let source = match named {
        Some(_) => "--max-queued-bytes",
        None => "a share of the memory; --max-queued-bytes sets another limit",
    };
    let bound = named.unwrap_or_else(share);
    info!(
        "Up to {:.1} MB of tasks and unsent results are held ({source})",
        bound as f64 / 1e6
    );
    bound
}

/// Returns how much of the machine's memory this process may use: all of it, or less if its control
/// groups or its own resource limits say so. None if the system does not expose this.
pub(super) fn available_to_us_bytes() -> Option<usize> {
    let machine = fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.and_then(|text| total_of(&text));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let groups = limits_of(&groups, Path::new("/sys/fs/cgroup"));
    let own = own_limits().map(|limit| limit.left_bytes);
    machine.into_iter().chain(groups).chain(own).min()
}

/// Reads the total memory from a line such as `MemTotal:       24689764 kB`.
fn total_of(meminfo: &str) -> Option<usize> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: usize = line.split_ascii_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

/// Returns the limits of this process's control group and of all enclosing groups, which are
/// mounted at `root`. Lines are `0::/a/b` (version 2) or `4:memory:/a/b` (version 1). A group
/// without a limit holds `max` or a huge number. Above `memory.high` the kernel kills no process,
/// but slows all processes of the group down until almost nothing moves.
fn limits_of(groups: &str, root: &Path) -> Vec<usize> {
    let mut limits = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(kind), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let (root, files) = match kind {
            "" => (root.to_owned(), &["memory.max", "memory.high"][..]),
            kind if kind.split(',').any(|kind| kind == "memory") => {
                (root.join("memory"), &["memory.limit_in_bytes"][..])
            }
            _ => continue,
        };
        for group in Path::new(path).ancestors() {
            let group = root.join(group.strip_prefix("/").unwrap_or(group));
            let texts = files
                .iter()
                .filter_map(|file| fs::read_to_string(group.join(file)).ok());
            limits.extend(texts.filter_map(|text| text.trim().parse::<usize>().ok()));
        }
    }
    limits
}

/// A resource limit of this process that is so low that single messages may not fit. libzmq then
/// closes the connection that carries such a message, and reports no reason.
pub(super) struct ScarceMemory(OwnLimit);

impl ScarceMemory {
    pub(super) fn found() -> Option<Self> {
        let scarcest = own_limits().min_by_key(|limit| limit.left_bytes)?;
        (scarcest.left_bytes < SCARCE_BYTES).then_some(Self(scarcest))
    }
}

impl fmt::Display for ScarceMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mb = |bytes: usize| bytes as f64 / 1e6;
        let OwnLimit {
            name,
            all_bytes,
            left_bytes,
        } = &self.0;
        write!(
            f,
            "`{name}` is {:.1} MB, of which {:.1} MB are free",
            mb(*all_bytes),
            mb(*left_bytes)
        )
    }
}

/// Logs scarce memory at the start: when a connection breaks by it later, no cause is visible.
pub(super) fn warn_if_scarce() {
    if let Some(scarce) = ScarceMemory::found() {
        codes::log!(
            MEMORY_LIMITED,
            "{scarce}. A larger task or result breaks the connection that carries it (the log then \
             shows a manager disconnected, or the connection for tasks broken), or ends this \
             process. Raise the limit where Parsl is started, or pass such data in files"
        );
    }
}

struct OwnLimit {
    name: &'static str,
    all_bytes: usize,
    left_bytes: usize,
}

/// Returns what `ulimit -v` and `ulimit -d` leave. Programs, libraries and the threads' stacks and
/// heaps count against these limits, whether their pages are touched or not.
fn own_limits() -> impl Iterator<Item = OwnLimit> {
    let limits = [
        ("ulimit -v", Resource::As, Statm::Mapped),
        ("ulimit -d", Resource::Data, Statm::Data),
    ];
    limits.into_iter().filter_map(|(name, resource, used)| {
        let all_bytes = usize::try_from(getrlimit(resource).current?).unwrap_or(usize::MAX);
        Some(OwnLimit {
            name,
            all_bytes,
            left_bytes: all_bytes.saturating_sub(used.bytes()),
        })
    })
}

/// Returns the resident bytes of this process; 0 if the system does not expose them.
pub(super) fn resident_bytes() -> usize {
    Statm::Resident.bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_a_long_queue_is_released_without_a_pause() {
        const TASKS: usize = 500_000;
        const PAUSE_MAX: Duration = Duration::from_millis(20);
        let mut memory = Memory::new();
        let at = |seconds| Now {
            monotonic: Duration::from_secs(seconds),
            wall_s: 0.0,
        };
        let before = resident_bytes();
        let mut queue: Vec<Box<[u8]>> = Vec::new();
        queue.resize_with(TASKS, || vec![7; 1200].into_boxed_slice());
        memory.handle_traffic(at(1));
        // Results that wait are in use.
        memory.handle_time(0, 1, at(3));
        assert!(memory.release.is_none() && memory.look_at.is_some());
        // A block above the queue stays allocated, as in a real heap.
        let behind = vec![7_u8; 1200];
        assert!(resident_bytes() > before + 500_000_000);
        queue.clear();
        let mut longest = Duration::ZERO;
        while memory.next_deadline().is_some() {
            let begun = thread_time();
            memory.handle_time(0, 0, at(10));
            longest = longest.max(thread_time() - begun);
        }
        assert!(longest < PAUSE_MAX, "a pause of {longest:?}");
        let left = resident_bytes().saturating_sub(before);
        assert!(left < 50_000_000, "{left} bytes are still here");
        drop(behind);
    }

    /// Returns the CPU time of this thread, which does not depend on the load of the machine.
    fn thread_time() -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::try_from(time).unwrap()
    }

    #[test]
    fn total_memory_is_read_from_meminfo() {
        assert_eq!(
            total_of("MemFree: 5 kB\nMemTotal:       24 kB\n"),
            Some(24 * 1024)
        );
        assert_eq!(total_of("MemFree: 5 kB\n"), None);
        assert!(available_to_us_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }

    #[test]
    fn missing_control_groups_set_no_limit() {
        let root = Path::new("/sys/fs/cgroup");
        let groups = "0::/no/such/group\n4:memory:/nor/this\n7:cpu,cpuacct:/\nnonsense\n";
        let own = limits_of("0::/\n4:memory:/\n", root);
        assert_eq!(limits_of(groups, root), own);
    }

    #[test]
    fn max_and_high_limits_of_all_enclosing_groups_count() {
        let root = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("memory.max", "max\n");
        write("a/memory.max", "5000\n");
        write("a/memory.high", "3000\n");
        write("a/b/memory.max", "max\n");
        write("a/b/memory.high", "4000\n");
        write("memory/c/memory.limit_in_bytes", "7000\n");
        let mut limits = limits_of("0::/a/b\n4:cpu,memory:/c\n", root.path());
        limits.sort_unstable();
        assert_eq!(limits, [3000, 4000, 5000, 7000]);
    }

    #[test]
    fn mapped_memory_exceeds_resident_and_data() {
        let mapped = Statm::Mapped.bytes();
        assert!(mapped > Statm::Resident.bytes());
        assert!(mapped > Statm::Data.bytes() && Statm::Data.bytes() > 0);
    }
}
