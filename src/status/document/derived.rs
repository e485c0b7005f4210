//! What follows from a document's numbers, for whoever reads it.

use super::{Event, Manager, Totals};

impl Totals {
    /// Managers that were lost and not meant to go.
    pub fn managers_missed(&self) -> u64 {
        self.managers_lost.saturating_sub(self.managers_lost_held)
    }
}

impl Event {
    /// Whether anything was lost that nobody had given up before.
    pub fn is_loss(&self) -> bool {
        self.tasks_lost > 0 || (self.change == "lost" && !self.was_held)
    }
}

impl Manager {
    /// Whether it would be given a task that fits.
    pub fn takes_tasks(&self) -> bool {
        matches!(
            self.state(),
            ManagerState::Reserved | ManagerState::Busy | ManagerState::Idle
        )
    }

    /// Whether it may go and nothing is lost: nobody wants it any more, and it has nothing in hand.
    /// Parsl holds the managers of a block just before it takes it away.
    pub fn may_go(&self) -> bool {
        self.held && self.in_flight == 0
    }

    /// How many more tasks of one slot it may hold.
    pub fn room(&self) -> usize {
        let (load, most) = self.load();
        most.saturating_sub(load)
    }

    /// What it has in hand, and how much it may have, in the unit that says when it is full: slots
    /// where a task takes several, since nothing is prefetched beside such a task; else tasks.
    pub fn load(&self) -> (usize, usize) {
        match self.has_wide_tasks() {
            true => (self.busy_slots, self.slots),
            false => (self.in_flight, self.capacity),
        }
    }

    /// Whether one of its tasks takes several slots.
    pub fn has_wide_tasks(&self) -> bool {
        self.busy_slots > self.in_flight
    }

    /// What it is in the first place: the first of the states, in their order, that it is in.
    pub fn state(&self) -> ManagerState {
        match self {
            _ if self.suspect_s.is_some() && !self.may_go() => ManagerState::Suspect,
            _ if self.draining => ManagerState::Draining,
            _ if self.held => ManagerState::Held,
            _ if self.awaited => ManagerState::Awaited,
            _ if self.clogged || self.room() == 0 => ManagerState::Full,
            _ if self.reserved => ManagerState::Reserved,
            _ if self.in_flight > 0 => ManagerState::Busy,
            _ => ManagerState::Idle,
        }
    }
}

/// Held, draining and suspect are independent of each other; this is for tables. A held one without
/// tasks is expected to go, and is not suspect when it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ManagerState {
    /// Without a connection: nothing new is sent to it until it speaks.
    Suspect,
    /// Near the end of its `drain_period`: it gets no more tasks.
    Draining,
    /// It gets no more tasks, for good.
    Held,
    /// Others of its block have vanished: nothing new is sent to it until it speaks.
    Awaited,
    /// It has as many tasks as it may hold.
    Full,
    /// It has room, but is let run empty for a task that needs more.
    Reserved,
    /// It has tasks, and takes more.
    Busy,
    /// It has none.
    Idle,
}

impl ManagerState {
    /// In the order in which the first that holds is the one that counts.
    pub const ALL: [Self; 8] = [
        Self::Suspect,
        Self::Draining,
        Self::Held,
        Self::Awaited,
        Self::Full,
        Self::Reserved,
        Self::Busy,
        Self::Idle,
    ];

    /// As it stands in tables, and as the label of the metric.
    pub fn name(self) -> &'static str {
        match self {
            Self::Suspect => "suspect",
            Self::Draining => "draining",
            Self::Held => "held",
            Self::Awaited => "awaited",
            Self::Full => "full",
            Self::Reserved => "reserved",
            Self::Busy => "busy",
            Self::Idle => "idle",
        }
    }
}
