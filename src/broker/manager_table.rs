//! The managers by id, by connection, and in order of registration. The three indexes cannot
//! contradict each other, because only this module changes them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::link::LinkState;
use super::manager::Manager;
use super::origin::ConnectionId;
use super::slot::Slot;
use protocol::{ManagerId, TaskId};

pub(super) struct ManagerTable<B> {
    places: Vec<Place<B>>,
    free: Vec<u32>,
    /// Looked up with every message. The keys are from accepted peers, so a fast hash is good
    /// enough.
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

    pub(super) fn slot_of(&self, id: &ManagerId) -> Option<Slot> {
        self.by_id.get(id).copied()
    }

    pub(super) fn slot_by_connection(&self, connection: ConnectionId) -> Option<Slot> {
        self.by_connection.get(&connection).copied()
    }

    /// Returns the manager; None once the registration has ended.
    pub(super) fn find(&self, slot: Slot) -> Option<&Manager<B>> {
        let place = self.places.get(slot.place as usize)?;
        if place.generation != slot.generation {
            return None;
        }
        place.manager.as_ref()
    }

    /// Returns the manager of a slot that the caller has just looked up.
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

    /// Adds a manager, whose id must not be in the table.
    pub(super) fn insert(&mut self, mut manager: Manager<B>) -> Slot {
        if manager.order == 0 {
            self.registrations += 1;
            manager.order = self.registrations;
        }
        // A manager that registered before this process began has its order already.
        self.registrations = self.registrations.max(manager.order);
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
        debug_assert!(earlier.is_none(), "{} is already in the table", manager.id);
        entry.manager = Some(manager);
        slot
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Manager<B> {
        self.release(slot);
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

    /// Marks a manager's connection as closed.
    pub(super) fn close(&mut self, slot: Slot, since: Duration) {
        self.release(slot);
        self.get_mut(slot).link.state = LinkState::Closed(since);
    }

    /// Removes a manager's connection from the index, if it has one.
    fn release(&mut self, slot: Slot) {
        if let Some(connection) = self.get(slot).link.connection() {
            self.by_connection.remove(&connection);
        }
    }

    /// Assigns a connection to the manager that spoke on it last. Returns the manager that had it
    /// before.
    pub(super) fn open(
        &mut self,
        slot: Slot,
        connection: ConnectionId,
        address: Option<IpAddr>,
    ) -> Option<Slot> {
        self.release(slot);
        self.get_mut(slot).link.open(connection, address);
        let other = self.by_connection.insert(connection, slot)?;
        self.get_mut(other).link.claim();
        Some(other)
    }

    /// Returns all managers, by their place in the table.
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

    /// Returns the ids of the tasks that all managers hold.
    pub(super) fn task_ids(&self) -> impl Iterator<Item = TaskId> {
        self.iter().flat_map(|(_, manager)| manager.task_ids())
    }

    pub(super) fn in_order_of_registration(&self) -> impl Iterator<Item = &Manager<B>> {
        let mut managers: Vec<_> = self.iter().map(|(_, manager)| manager).collect();
        managers.sort_unstable_by_key(|manager| manager.order);
        managers.into_iter()
    }
}
