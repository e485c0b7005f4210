//! What the broker looks like from outside at one moment.

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

/// Of a longer queue only so many tasks are looked at: a look must not hold up the tasks.
const LOOKED_AT_MAX: usize = 200_000;

/// The broker at one moment. Times are durations until then.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// When it was taken, on the monotonic clock.
    pub monotonic: Duration,
    /// What waits.
    pub queue: QueueView,
    /// Tasks in the hands of all managers.
    pub in_flight: usize,
    /// In order of registration.
    pub managers: Vec<ManagerView>,
    /// The manager that is let run empty for a task, if there is one.
    pub reservation: Option<ReservationView>,
    /// Everything counted since the start.
    pub tally: Tally,
    /// Over the last five seconds.
    pub lately: Rates,
    /// Over the last minute.
    pub minute: Rates,
    /// Changes of managers with their numbers, oldest first.
    pub recent: Vec<(u64, Happening)>,
    /// False while results cannot leave.
    pub dispatching: bool,
    /// The submit side is gone, or all is over.
    pub leaving: bool,
    /// What managers are compared with, as far as it is known.
    pub python: Option<String>,
    /// As Parsl's `VERSION`: `2026.08.10`.
    pub parsl: Option<String>,
}

/// The tasks that wait, summed up.
#[derive(Debug, Clone, Default)]
pub struct QueueView {
    /// How many there are.
    pub tasks: usize,
    /// How long the one that has waited longest has waited.
    pub oldest: Option<Duration>,
    /// How many tasks of each priority, the first to be served first.
    pub priorities: Vec<(Priority, usize)>,
    /// How many tasks the two above were taken from: fewer than `tasks` in a very long queue.
    pub looked_at: usize,
    /// Of all tasks, those that ask for something of their manager. Only these may wait although a
    /// manager has room.
    pub asking: usize,
    /// Tasks that fit no manager that is here.
    pub unmet: Vec<Unmet>,
}

/// For whom a manager is let run empty.
#[derive(Debug, Clone)]
pub struct ReservationView {
    /// Which one.
    pub manager: ManagerId,
    /// What the tasks ask for that it is reserved for, in words.
    pub needs: String,
    /// How many of these wait.
    pub tasks: usize,
    /// How long that manager has been reserved.
    pub reserved_for: Duration,
    /// How long others have gone before the first of them.
    pub passed_for: Duration,
}

/// One manager at that moment.
#[derive(Debug, Clone)]
pub struct ManagerView {
    /// Its identity on the worker socket.
    pub id: ManagerId,
    /// The block that it was submitted in.
    pub block: BlockId,
    /// The node, in its own words.
    pub hostname: String,
    /// Where it speaks from, as far as is known.
    pub address: Option<IpAddr>,
    /// How many it says it has.
    pub workers: i64,
    /// Most tasks that it may hold: workers and prefetch.
    pub capacity: usize,
    /// Tasks in its hands.
    pub in_flight: usize,
    /// How many of these may have died with a connection or an earlier broker, and when the first
    /// of them is given up if no result comes.
    pub in_doubt: usize,
    /// None for those that are never given up.
    pub doubt_ends_in: Option<Duration>,
    /// How many tasks its workers can run at a time.
    pub slots: usize,
    /// How many of these have a task, or a share of one.
    pub busy_slots: usize,
    /// It is let run empty for a task that needs much.
    pub reserved: bool,
    /// The one that it has had for longest, and for how long.
    pub oldest_task: Option<(TaskId, Duration)>,
    /// Tasks that it gave a result for.
    pub tasks_done: u64,
    /// How many of its tasks raised in a row, if it is known to fail everything.
    pub failing: Option<u64>,
    /// By HOLD_MANAGER, or because it fails everything: it gets nothing more.
    pub held: bool,
    /// It does not take what it was sent.
    pub clogged: bool,
    /// It gets nothing more, and goes after its last task.
    pub draining: bool,
    /// For how long it has had no connection, if it has none.
    pub suspect_for: Option<Duration>,
    /// Others of its block vanished, and it has not spoken since: it gets nothing until it does.
    pub awaited: bool,
    /// Not counting the time in which this process slept.
    pub last_heard: Duration,
    /// None while it has a task.
    pub idle_for: Option<Duration>,
    /// As it told when it registered: `3.11.7`.
    pub python: String,
    /// And of Parsl: `2026.10.26`.
    pub parsl: String,
}

impl<B> Broker<B> {
    /// A look from outside: a walk over everything.
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
