//! The broker's state at one moment, for outside viewers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::Broker;
use super::change::Happening;
use super::manager::Manager;
use super::now::Now;
use super::tally::{Rates, Tally};
use super::unmet::Unmet;
use protocol::{BlockId, ManagerId, Priority, TaskId};

/// How many tasks of a long queue are examined, so that a snapshot does not delay tasks.
const LOOKED_AT_MAX: usize = 200_000;

/// The broker's state at one moment. Times are durations up to that moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// When the snapshot was taken, on the monotonic clock.
    pub monotonic: Duration,
    /// The queued tasks.
    pub queue: QueueView,
    /// Number of tasks that all managers hold.
    pub in_flight: usize,
    /// The managers in order of registration.
    pub managers: Vec<ManagerView>,
    /// The reservation, if a manager runs empty for a task.
    pub reservation: Option<ReservationView>,
    /// All counters since the start.
    pub tally: Tally,
    /// Rates over the last five seconds.
    pub lately: Rates,
    /// Rates over the last minute.
    pub minute: Rates,
    /// The latest changes of managers with their numbers, oldest first.
    pub recent: Vec<(u64, Happening)>,
    /// False while results cannot leave, so that no tasks are dispatched.
    pub dispatching: bool,
    /// Whether the submit side is gone or the run is over.
    pub leaving: bool,
    /// The Python version that managers must match, if it is known.
    pub python: Option<String>,
    /// The Parsl version that managers must match, in the form of Parsl's `VERSION`: `2026.08.10`.
    pub parsl: Option<String>,
}

/// A summary of the queued tasks.
#[derive(Debug, Clone, Default)]
pub struct QueueView {
    /// Number of queued tasks.
    pub tasks: usize,
    /// How long the oldest queued task has waited.
    pub oldest: Option<Duration>,
    /// Number of tasks of each priority, in the order in which they are served.
    pub priorities: Vec<(Priority, usize)>,
    /// Number of tasks that `oldest` and `priorities` cover: fewer than `tasks` in a very long
    /// queue.
    pub looked_at: usize,
    /// Number of tasks with requirements. Only these may wait although a manager has room.
    pub asking: usize,
    /// Tasks that no registered manager can hold.
    pub unmet: Vec<Unmet>,
}

/// The reservation of a manager that runs empty.
#[derive(Debug, Clone)]
pub struct ReservationView {
    /// The reserved manager.
    pub manager: ManagerId,
    /// The requirements of the tasks that the manager is reserved for, in words.
    pub needs: String,
    /// Number of queued tasks that the manager is reserved for.
    pub tasks: usize,
    /// How long the manager has been reserved.
    pub reserved_for: Duration,
    /// How long later tasks have been dispatched before the first of the tasks that the manager is
    /// reserved for.
    pub passed_for: Duration,
}

/// One manager at the moment of the snapshot.
#[derive(Debug, Clone)]
pub struct ManagerView {
    /// The manager's identity on the worker socket.
    pub id: ManagerId,
    /// The block that the manager was submitted in.
    pub block: BlockId,
    /// The node's name, as the manager reports it.
    pub hostname: String,
    /// The address that the manager connects from, if known.
    pub address: Option<IpAddr>,
    /// Number of workers that the manager reports.
    pub workers: i64,
    /// Most tasks that the manager may hold: workers and prefetch.
    pub capacity: usize,
    /// Number of tasks that the manager holds.
    pub in_flight: usize,
    /// Number of the manager's tasks that may be lost, by a broken connection or with an earlier
    /// broker.
    pub in_doubt: usize,
    /// Time until the first task in doubt is given up if no result arrives; None if none ever is.
    pub doubt_ends_in: Option<Duration>,
    /// Number of tasks that the manager's workers can run at a time.
    pub slots: usize,
    /// Number of slots that are occupied by tasks.
    pub busy_slots: usize,
    /// Whether the manager runs empty for a task with large requirements.
    pub reserved: bool,
    /// The task that the manager has held longest, and for how long.
    pub oldest_task: Option<(TaskId, Duration)>,
    /// Number of tasks that the manager returned a result for.
    pub tasks_done: u64,
    /// Number of the manager's tasks that raised in a row, if it is known to fail every task.
    pub failing: Option<u64>,
    /// Whether the manager is held (by HOLD_MANAGER or because it fails every task) and gets no
    /// more tasks.
    pub held: bool,
    /// Whether the manager does not take the messages sent to it.
    pub clogged: bool,
    /// Whether the manager gets no more tasks and exits after its last one.
    pub draining: bool,
    /// How long the manager has had no connection; None if it has one.
    pub suspect_for: Option<Duration>,
    /// Whether the manager gets no tasks until it speaks, because others of its block vanished.
    pub awaited: bool,
    /// Time since the manager was last heard, without the time in which this process was suspended.
    pub last_heard: Duration,
    /// How long the manager has had no task; None while it has one.
    pub idle_for: Option<Duration>,
    /// The manager's Python version, from its registration: `3.11.7`.
    pub python: String,
    /// The manager's Parsl version, from its registration: `2026.10.26`.
    pub parsl: String,
}

impl<B> Broker<B> {
    /// Takes a snapshot. This walks over the whole state.
    pub fn snapshot(&self, now: Now) -> Snapshot {
        let (lately, minute) = self.pace.rates(&self.tally, now.monotonic);
        let managers = self.managers.in_order_of_registration();
        Snapshot {
            monotonic: now.monotonic,
            queue: self.queue_view(now),
            in_flight: self.in_flight(),
            managers: managers
                .map(|manager| self.manager_view(manager, now))
                .collect(),
            reservation: self.reservation_view(now),
            tally: self.tally.clone(),
            lately,
            minute,
            recent: self.recent.latest().cloned().collect(),
            dispatching: self.dispatching,
            leaving: self.stopping || self.leaving_until.is_some(),
            python: self.versions.python.clone(),
            parsl: self.versions.parsl.clone(),
        }
    }

    fn queue_view(&self, now: Now) -> QueueView {
        let mut since_ns = None;
        let mut priorities = BTreeMap::new();
        for task in self.queue.iter().take(LOOKED_AT_MAX) {
            since_ns = Some(since_ns.map_or(task.since_ns, |first: u64| first.min(task.since_ns)));
            *priorities.entry(task.priority).or_insert(0) += 1;
        }
        QueueView {
            tasks: self.queue.len(),
            oldest: since_ns
                .map(|since_ns| Duration::from_nanos(now.monotonic_ns().saturating_sub(since_ns))),
            priorities: priorities.into_iter().collect(),
            looked_at: self.queue.len().min(LOOKED_AT_MAX),
            asking: self.queue.asking.len(),
            unmet: self.unmet(now),
        }
    }

    fn reservation_view(&self, now: Now) -> Option<ReservationView> {
        let held = self.reservation?;
        let (manager, class) = (
            self.managers.find(held.slot)?,
            self.queue.asking.find(held.class)?,
        );
        let since = |then: Duration| now.monotonic.saturating_sub(then);
        Some(ReservationView {
            manager: manager.id.clone(),
            needs: class.demand().needs.to_string(),
            tasks: class.tasks,
            reserved_for: since(held.since),
            passed_for: class.passed_since.map_or(Duration::ZERO, since),
        })
    }

    fn is_reserved(&self, manager: &Manager<B>) -> bool {
        let slot = self.reservation.map(|held| held.slot);
        slot.is_some() && self.managers.slot_of(&manager.id) == slot
    }

    fn manager_view(&self, manager: &Manager<B>, now: Now) -> ManagerView {
        let awake = self.liveness.awake(now);
        let since = |then: Duration| awake.saturating_sub(then);
        let registration = &manager.registration;
        ManagerView {
            id: manager.id.clone(),
            block: registration.block.clone(),
            hostname: registration.hostname.clone(),
            address: manager.link.address,
            workers: registration.worker_count,
            capacity: registration.max_capacity,
            in_flight: manager.in_flight.len(),
            in_doubt: manager.in_doubt(),
            doubt_ends_in: manager.first_doubt().map(|end| end.saturating_sub(awake)),
            slots: manager.site.slots,
            busy_slots: manager.busy_slots().min(manager.site.slots),
            reserved: self.is_reserved(manager),
            oldest_task: manager
                .in_flight
                .front()
                .map(|first| (first.task(), since(first.dispatched))),
            tasks_done: manager.tasks_done,
            failing: manager.failing(),
            held: manager.held,
            clogged: manager.clogged,
            draining: manager.draining,
            suspect_for: manager.link.closed_since().map(since),
            awaited: manager.link.is_awaited(),
            last_heard: since(manager.last_heard),
            idle_for: manager
                .idle_since
                .map(|idle| now.monotonic.saturating_sub(idle.monotonic)),
            python: registration.python_version.clone(),
            parsl: registration.parsl_version.clone(),
        }
    }
}
