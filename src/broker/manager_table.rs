//! The managers by id, by connection, and in order of their registration; no caller can put these
//! out of step.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use super::liveness::Silence;
use super::tasks_in_doubt::GivenUp;
use super::ticket::InFlight;
use super::{ConnectionId, Now, Origin};
use protocol::{ManagerId, NodeInfo, Registration, TaskId};

/// Names one registration. A place in the table is used again; its generation tells who is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    place: u32,
    generation: u32,
}

impl Slot {
    #[cfg(test)]
    pub(super) fn numbered(generation: u32) -> Self {
        Self {
            place: 0,
            generation,
        }
    }

    /// Small, and nobody else's while the registration lasts: an index for tables of others.
    pub(super) fn place(self) -> usize {
        self.place as usize
    }
}

/// One manager's record. Held, draining and suspect are independent of each other: each is set and
/// reported by itself, and any of them keeps tasks away.
pub(super) struct Manager<B> {
    pub(super) id: ManagerId,
    pub(super) registration: Rc<Registration<B>>,
    /// In order of dispatch. Results come in about that order, so a search from the front is short.
    pub(super) in_flight: VecDeque<InFlight>,
    pub(super) held: bool,
    pub(super) draining: bool,
    /// It does not take what it is sent as fast as that is sent.
    pub(super) clogged: bool,
    /// Since when it has had no connection, as far as is known; on the awake clock, as below.
    pub(super) suspect_since: Option<Duration>,
    pub(super) origin: Origin,
    /// The connection by which it last spoke, whatever has become of that since.
    pub(super) spoke_by: Option<ConnectionId>,
    /// The connection that its registration came by.
    pub(super) registered_by: Option<ConnectionId>,
    /// On the clock of [`super::liveness::Liveness::awake`].
    pub(super) last_heard: Duration,
    pub(super) last_heartbeat_wall_s: f64,
    pub(super) idle_since: Option<Now>,
    /// Tasks that it gave a result for.
    pub(super) tasks_done: u64,
    /// By when the first of its tasks in doubt has to be answered, as [`super::liveness`] watches
    /// it while there is a connection.
    pub(super) doubts_watched: Option<Duration>,
    pub(super) given_up: GivenUp,
    /// Its turn among the registrations; 0 before the table gave it one.
    order: u64,
}

impl<B> Manager<B> {
    pub(super) fn new(
        id: ManagerId,
        registration: Registration<B>,
        now: Now,
        heard: Duration,
    ) -> Self {
        Self {
            id,
            registration: Rc::new(registration),
            in_flight: VecDeque::new(),
            held: false,
            draining: false,
            clogged: false,
            suspect_since: None,
            origin: Origin::default(),
            spoke_by: None,
            registered_by: None,
            last_heard: heard,
            last_heartbeat_wall_s: now.wall_s,
            idle_since: Some(now),
            tasks_done: 0,
            doubts_watched: None,
            given_up: GivenUp::default(),
            order: 0,
        }
    }

    /// Stands where its earlier registration stood when managers are listed, as in Parsl.
    pub(super) fn take_place_of(&mut self, earlier: &Self) {
        self.order = earlier.order;
    }

    pub(super) fn free_capacity(&self) -> usize {
        self.registration
            .max_capacity
            .saturating_sub(self.in_flight.len())
    }

    pub(super) fn is_suspect(&self) -> bool {
        self.suspect_since.is_some()
    }

    pub(super) fn silence(&self) -> Silence {
        Silence {
            last_heard: self.last_heard,
            suspect_since: self.suspect_since,
            doubts_watched: self.doubts_watched,
        }
    }

    pub(super) fn is_eligible(&self) -> bool {
        let is_kept_away = self.held || self.draining || self.clogged || self.is_suspect();
        self.free_capacity() > 0 && !is_kept_away
    }

    /// Takes a task out of its hands.
    pub(super) fn take(&mut self, task: TaskId) -> Option<InFlight> {
        let is_it = |held: &InFlight| held.task() == task;
        // The one that was dispatched first, in nearly all runs of equal tasks.
        if self.in_flight.front().is_some_and(is_it) {
            return self.in_flight.pop_front();
        }
        let place = self.in_flight.iter().position(is_it)?;
        self.in_flight.remove(place)
    }

    pub(super) fn task_ids(&self) -> impl Iterator<Item = TaskId> {
        self.in_flight.iter().map(InFlight::task)
    }

    pub(super) fn info(&self, now: Now) -> NodeInfo<B> {
        NodeInfo {
            registration: Rc::clone(&self.registration),
            tasks: self.task_ids().collect(),
            active: !self.held,
            draining: self.draining,
            last_heartbeat_s: self.last_heartbeat_wall_s,
            idle_since_s: self.idle_since.map(|since| since.wall_s),
            timestamp_s: now.wall_s,
        }
    }
}

pub(super) struct ManagerTable<B> {
    places: Vec<Place<B>>,
    free: Vec<u32>,
    /// Asked with every message, by peers that were let in: a fast hash is good enough.
    by_id: HashMap<ManagerId, Slot, foldhash::fast::RandomState>,
    by_connection: HashMap<ConnectionId, Slot>,
    registrations: u64,
}

struct Place<B> {
    generation: u32,
    manager: Option<Manager<B>>,
}

impl<B> ManagerTable<B> {
    pub(super) fn new() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            by_id: HashMap::default(),
            by_connection: HashMap::new(),
            registrations: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn slot_of(&self, id: &ManagerId) -> Option<Slot> {
        self.by_id.get(id).copied()
    }

    pub(super) fn slot_by_connection(&self, connection: ConnectionId) -> Option<Slot> {
        self.by_connection.get(&connection).copied()
    }

    /// None once the registration has ended.
    pub(super) fn find(&self, slot: Slot) -> Option<&Manager<B>> {
        let place = self.places.get(slot.place as usize)?;
        if place.generation != slot.generation {
            return None;
        }
        place.manager.as_ref()
    }

    /// For a slot that the caller has just looked up.
    pub(super) fn get(&self, slot: Slot) -> &Manager<B> {
        self.find(slot)
            .expect("a slot that was just looked up is taken")
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> &mut Manager<B> {
        let place = self.places.get_mut(slot.place as usize);
        place
            .filter(|place| place.generation == slot.generation)
            .and_then(|place| place.manager.as_mut())
            .expect("a slot that was just looked up is taken")
    }

    /// The id must not be in the table.
    pub(super) fn insert(&mut self, mut manager: Manager<B>) -> Slot {
        if manager.order == 0 {
            self.registrations += 1;
            manager.order = self.registrations;
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place {
                generation: 0,
                manager: None,
            });
            (self.places.len() - 1) as u32
        });
        let entry = &mut self.places[place as usize];
        let slot = Slot {
            place,
            generation: entry.generation,
        };
        let earlier = self.by_id.insert(manager.id.clone(), slot);
        debug_assert!(earlier.is_none(), "{} is in the table already", manager.id);
        entry.manager = Some(manager);
        slot
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Manager<B> {
        self.set_origin(slot, Origin::default());
        let place = &mut self.places[slot.place as usize];
        let manager = place
            .manager
            .take()
            .expect("a slot that was just looked up is taken");
        place.generation = place.generation.wrapping_add(1);
        self.free.push(slot.place);
        self.by_id.remove(&manager.id);
        manager
    }

    pub(super) fn set_origin(&mut self, slot: Slot, origin: Origin) {
        let manager = self.get_mut(slot);
        let before = std::mem::replace(&mut manager.origin, origin);
        manager.spoke_by = origin.connection.or(manager.spoke_by);
        if let Some(connection) = before.connection {
            self.by_connection.remove(&connection);
        }
        // A message that stood unread while its connection closed may name the next one that got
        // its descriptor. A connection belongs to whoever spoke by it last.
        if let Some(connection) = origin.connection
            && let Some(other) = self.by_connection.insert(connection, slot)
            && other != slot
        {
            self.get_mut(other).origin.connection = None;
        }
    }

    /// By place in the table.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &Manager<B>)> {
        self.places.iter().enumerate().filter_map(|(place, entry)| {
            let slot = Slot {
                place: place as u32,
                generation: entry.generation,
            };
            entry.manager.as_ref().map(|manager| (slot, manager))
        })
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Manager<B>> {
        self.places
            .iter_mut()
            .filter_map(|place| place.manager.as_mut())
    }

    pub(super) fn in_order_of_registration(&self) -> Vec<&Manager<B>> {
        let mut managers: Vec<_> = self.iter().map(|(_, manager)| manager).collect();
        managers.sort_unstable_by_key(|manager| manager.order);
        managers
    }
}
