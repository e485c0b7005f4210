//! A new broker resumes the run of a killed one from the contents of the journal.
//!
//! Managers are restored before they speak, each without a connection, so that none counts as lost
//! before it had time to reconnect. Queued tasks keep their order and their age. A dispatched task
//! is in doubt, as after a broken connection ([`super::tasks_in_doubt`]), and its requirements are
//! still reserved for it. The executor is sent all ids that were ever accepted and all that are
//! still live, so that it can compare. Tasks that were never accepted are sent again by the
//! executor; the results of accepted tasks that are no longer live are lost.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use journal::{Journal, Record};
use tracing::debug;

use super::Broker;
use super::books::{self, Books, InFlightEntry, ManagerEntry};
use super::change::ManagerChange;
use super::demand::Demand;
use super::link::Link;
use super::looks::LookFor;
use super::manager::Manager;
use super::now::{Now, nanoseconds};
use super::output::Output;
use super::slot::Slot;
use super::tally::Tally;
use super::ticket::{self, InFlight, Ticket};
use protocol::{Affinity, ManagerId, Needs, Notice, Registration, Task, TaskId};

/// How many tasks are accepted before the executor is notified.
const TELL_EVERY_TASKS: u32 = 256;
/// How long an accepted task waits at most until the executor is notified.
const TELL_WITHIN: Duration = Duration::from_secs(1);

/// The state that an earlier broker left, decoded where decoding needs more than the broker's
/// records.
#[derive(Debug)]
pub struct Left<B> {
    /// Managers that were registered or about to register.
    pub managers: Vec<LeftManager<B>>,
    /// Tasks that were queued.
    pub tasks: Vec<LeftTask<B>>,
    /// All other records.
    pub records: Vec<Record>,
}

/// A manager, by its registration.
#[derive(Debug)]
pub struct LeftManager<B> {
    /// The manager's identity.
    pub id: ManagerId,
    /// The registration, decoded again.
    pub registration: Registration<B>,
    /// When the registration arrived: of two under one identity, the later one counts.
    pub came: Duration,
}

/// A task that was queued.
#[derive(Debug)]
pub struct LeftTask<B> {
    /// The task, decoded again.
    pub task: Task<B>,
    /// The weight, as for [`Broker::handle_task`].
    pub weight: usize,
    /// Since when the task has been waiting.
    pub since: Duration,
}

/// How an earlier broker ended, as far as that matters for the messages that it had not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Death {
    /// When that broker ended (monotonic clock).
    pub at: Duration,
    /// For how long that broker had been suspended by then.
    pub stopped: Duration,
}

/// How much of an earlier broker's state was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TakenOver {
    /// Registered managers.
    pub managers: usize,
    /// Queued tasks.
    pub queued: usize,
    /// Tasks that managers hold.
    pub in_flight: usize,
}

/// The state of a run that survives restarts, beside its journal records.
#[derive(Debug, Default)]
pub(super) struct Survival {
    /// How many tasks were accepted since the executor was last notified.
    accepted: u32,
    least: Option<TaskId>,
    /// Length of the time before the restart in which no messages of managers were read.
    pub(super) unheard: Duration,
}

/// Journal records, sorted by kind.
#[derive(Default)]
struct Sorted {
    managers: HashMap<ManagerId, ManagerEntry>,
    /// Managers that did not take what was sent to them, by their order number.
    clogged: HashSet<u64>,
    in_flight: Vec<InFlightEntry>,
    departed: Vec<Record>,
    blocks: Vec<Record>,
    runs: Vec<Record>,
    tally: Option<Record>,
}

impl Sorted {
    fn of(records: Vec<Record>) -> Self {
        let mut sorted = Self::default();
        for record in records {
            match record.kind() {
                books::MANAGER => {
                    let entry = ManagerEntry::of(record);
                    sorted.clogged.extend(entry.clogged.then_some(entry.order));
                    let before = sorted.managers.get(&entry.id);
                    if before.is_none_or(|before| before.written <= entry.written) {
                        sorted.managers.insert(entry.id.clone(), entry);
                    }
                }
                books::IN_FLIGHT => sorted.in_flight.push(InFlightEntry::of(record)),
                books::DEPARTED => sorted.departed.push(record),
                books::BLOCK => sorted.blocks.push(record),
                books::ACCEPTED => sorted.runs.push(record),
                books::TALLY => sorted.tally = Some(record),
                _ => {}
            }
        }
        sorted
            .in_flight
            .sort_by_key(|entry| (entry.dispatched, entry.task));
        sorted
    }
}

impl<B> Broker<B> {
    /// Restores what an earlier broker left, and writes all records into this journal from now on.
    /// Call it before any other message is handled. `death` says how the earlier broker ended, if
    /// that is known.
    pub fn take_over(
        &mut self,
        journal: Journal,
        left: Left<B>,
        death: Option<Death>,
        now: Now,
    ) -> TakenOver {
        let Sorted {
            managers,
            clogged,
            in_flight,
            departed,
            blocks,
            runs,
            tally,
        } = Sorted::of(left.records);
        self.books = Books::open(journal.clone());
        self.live.keep(journal, runs);
        for record in departed {
            let id = ManagerId::new(record.bytes());
            self.departed.remember(&id, Some(record));
        }
        for record in blocks {
            let block = books::block(&record);
            Rc::make_mut(&mut self.block_history).push(block.clone());
            self.books.adopt_block(block, record);
        }
        if let Some(record) = tally {
            self.tally = Tally::of_bytes(record.bytes());
            let at = death.map_or(now.monotonic, |death| death.at);
            self.survival.unheard = match death {
                // An idle process wakes up for any message, so messages were unread only while it
                // was suspended.
                Some(death) if books::rested(&record) => death.stopped,
                _ => at.saturating_sub(books::heard_until(&record)),
            };
            self.books.adopt_tally(record);
        }
        let slots = self.restore_managers(left.managers, managers, now);
        let queued: HashSet<TaskId> = left.tasks.iter().map(|left| left.task.id).collect();
        for entry in in_flight.iter().filter(|it| clogged.contains(&it.manager)) {
            // A clogged manager may not have received its batch.
            books::note_doubt(&entry.record, now.monotonic);
        }
        self.restore_in_flight(in_flight, &slots, &queued, now);
        for slot in slots.values() {
            self.begin_again(*slot, now);
        }
        self.begin_to_set_aside();
        self.restore_queue(left.tasks, now);
        TakenOver {
            managers: slots.len(),
            queued: self.queued(),
            in_flight: self.in_flight(),
        }
    }

    /// Sends the executor what it compares its own records with; must come before any other output.
    /// `why` says how the earlier broker ended, and `down_s` how many seconds ago.
    pub fn tell_restart(&mut self, number: u32, why: &str, down_s: f64) {
        if !self.books.is_kept() {
            return;
        }
        let mut live: Vec<_> = self.queue.ids().chain(self.managers.task_ids()).collect();
        live.sort_unstable();
        self.outputs.push_back(Output::Notice(Notice::Restarted {
            number,
            why: why.to_owned(),
            down_s,
            accepted: self.live.accepted(TaskId(i64::MIN)),
            live: ticket::runs(&live).collect(),
        }));
    }

    /// Records whether the process is idle, with nothing left to read.
    pub fn note_rest(&self, rests: bool) {
        self.books.note_rest(rests);
    }

    /// Writes the manager's journal record when it registers.
    pub(super) fn write_down(&mut self, slot: Slot, now: Now) {
        if self.books.is_kept() {
            let manager = self.managers.get_mut(slot);
            let (id, order, started) = (&manager.id, manager.order, manager.started);
            manager.record = self.books.manager(id, order, started, now);
            manager.note_state();
        }
    }

    /// Notes an accepted id, where no id is ever accepted twice. If `is_fresh` is false, the id was
    /// accepted before.
    pub(super) fn note_accepted(&mut self, id: TaskId, is_fresh: bool, now: Now) {
        if !is_fresh {
            debug!("Dropping task {id}: it was accepted before");
            return;
        }
        let survival = &mut self.survival;
        survival.accepted += 1;
        survival.least = Some(survival.least.map_or(id, |least| least.min(id)));
        if survival.accepted >= TELL_EVERY_TASKS {
            self.tell_accepted();
        } else if survival.accepted == 1 {
            let at = now.monotonic.saturating_add(TELL_WITHIN);
            self.looks.set(LookFor::Accepted, Some(at));
        }
    }

    pub(super) fn tell_accepted_when_due(&mut self, now: Now) {
        if self.looks.is_due(LookFor::Accepted, now.monotonic) {
            self.tell_accepted();
        }
    }

    fn tell_accepted(&mut self) {
        self.looks.set(LookFor::Accepted, None);
        self.survival.accepted = 0;
        if let Some(least) = self.survival.least.take() {
            let runs = self.live.accepted(least);
            self.outputs
                .push_back(Output::Notice(Notice::Accepted { runs }));
        }
    }

    /// Restores the managers. Returns them by their order number among the registrations.
    fn restore_managers(
        &mut self,
        left: Vec<LeftManager<B>>,
        mut entries: HashMap<ManagerId, ManagerEntry>,
        now: Now,
    ) -> BTreeMap<u64, Slot> {
        let mut latest: BTreeMap<ManagerId, LeftManager<B>> = BTreeMap::new();
        for manager in left {
            let before = latest.get(&manager.id);
            if before.is_none_or(|before| before.came <= manager.came) {
                latest.insert(manager.id.clone(), manager);
            }
        }
        let mut known: Vec<_> = latest
            .into_values()
            .map(|left| (entries.remove(&left.id), left))
            .collect();
        // Managers that were about to register come after all others.
        known.sort_by_key(|(entry, left)| match entry {
            Some(entry) => (false, entry.order, Duration::ZERO),
            None => (true, 0, left.came),
        });
        let mut slots = BTreeMap::new();
        for (entry, left) in known {
            let (slot, order) = self.restore_manager(entry, left, now);
            slots.insert(order, slot);
        }
        slots
    }

    fn restore_manager(
        &mut self,
        entry: Option<ManagerEntry>,
        left: LeftManager<B>,
        now: Now,
    ) -> (Slot, u64) {
        let LeftManager {
            id, registration, ..
        } = left;
        // The manager's versions were checked when it registered. The call only sets the versions
        // that others are compared with.
        let _ = self.mismatch(&registration);
        let heard = self.liveness.awake(now);
        let (link, told) = (Link::new(None, heard), &self.settings.placement);
        let mut manager = Manager::new(id.clone(), registration, link, told, now, heard);
        let block = manager.registration.block.clone();
        let is_written_down = entry.is_some();
        if let Some(entry) = entry {
            manager.order = entry.order;
            (manager.held, manager.draining) = (entry.held, entry.draining);
            manager.started = entry.started;
            manager.record = Some(entry.record);
        } else {
            self.departed.forget(&id);
            self.remember_block(block.clone());
        }
        let slot = self.managers.insert(manager);
        if !is_written_down {
            self.write_down(slot, now);
        }
        self.blocks.join(block, slot);
        (slot, self.managers.get(slot).order)
    }

    /// Restores the tasks that managers hold. A task that is also queued had not been sent yet: its
    /// queue record is deleted only after sending.
    fn restore_in_flight(
        &mut self,
        entries: Vec<InFlightEntry>,
        slots: &BTreeMap<u64, Slot>,
        queued: &HashSet<TaskId>,
        now: Now,
    ) {
        let mut demands: HashMap<Needs, Rc<Demand>> = HashMap::new();
        let mut seen = HashSet::new();
        let (young, now) = (self.young(), self.liveness.awake(now));
        for entry in entries {
            let Some(slot) = slots.get(&entry.manager).copied() else {
                // The manager had left, and a failure for the task was being sent.
                continue;
            };
            if queued.contains(&entry.task) || !seen.insert(entry.task) {
                continue;
            }
            self.live.insert_restored(entry.task);
            if now.saturating_sub(entry.dispatched) <= young {
                books::note_doubt(&entry.record, now);
            }
            let manager = self.managers.get_mut(slot);
            manager.restored += 1;
            manager.idle_since = None;
            manager.in_flight.push_back(InFlight {
                ticket: Ticket::issue(entry.task),
                dispatched: entry.dispatched,
                link: manager.link.number,
                record: Some(entry.record),
            });
            if let Some((needs, affinity)) = entry.needs {
                let routing = self.settings.placement.routing;
                let demand = demands.entry(needs).or_insert_with_key(|needs| {
                    Rc::new(Demand::new(Rc::new(needs.clone()), routing))
                });
                let demand = Rc::clone(demand);
                self.place_again(slot, entry.task, &demand, affinity);
            }
        }
    }

    /// Reserves the requirements of a restored task on its manager.
    fn place_again(
        &mut self,
        slot: Slot,
        task: TaskId,
        demand: &Rc<Demand>,
        affinity: Option<Affinity>,
    ) {
        self.has_asked = true;
        if let Some(affinity) = &affinity {
            self.affinities.dispatched(affinity, slot);
        }
        let slots = demand.amounts.slots_on(&self.managers.get(slot).site);
        self.keep_place(slot, task, demand, affinity, slots);
    }

    /// Starts to wait for a restored manager.
    fn begin_again(&mut self, slot: Slot, now: Now) {
        let heard = self.liveness.awake(now);
        self.watch_from_now(slot, now);
        let manager = self.managers.get(slot);
        let (id, in_flight) = (manager.id.clone(), manager.in_flight.len());
        self.note_manager(&id, ManagerChange::Suspect { in_flight }, now);
        self.begin_grace(slot, heard, now);
        self.index(slot);
        self.finish_draining(slot, now);
    }

    fn restore_queue(&mut self, mut left: Vec<LeftTask<B>>, now: Now) {
        left.sort_by_key(|left| (left.task.priority, left.task.id));
        // If an id occurs twice, the second task was about to be dropped.
        let mut seen = HashSet::new();
        left.retain(|left| seen.insert(left.task.id));
        for LeftTask {
            task,
            weight,
            since,
        } in left
        {
            self.live.insert_restored(task.id);
            self.enqueue(task, weight, nanoseconds(since), now);
        }
    }
}
