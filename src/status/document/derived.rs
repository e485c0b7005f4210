//! Values that are computed from the document, for its readers.

use super::{Event, Manager, Totals};

impl Totals {
    /// Returns the number of managers that were lost unexpectedly.
    pub fn managers_missed(&self) -> u64 {
        self.managers_lost.saturating_sub(self.managers_lost_held)
    }
}

impl Event {
    /// Whether the event is a loss: of tasks, or of a manager that was not held before.
    pub fn is_loss(&self) -> bool {
        self.tasks_lost > 0 || (self.change == "lost" && !self.was_held)
    }
}

impl Manager {
    /// Whether the manager would get a task that fits.
    pub fn takes_tasks(&self) -> bool {
        matches!(
            self.state(),
            ManagerState::Reserved | ManagerState::Busy | ManagerState::Idle
        )
    }

    /// Whether the manager may leave without any loss: it is held and has no tasks. Parsl holds the
    /// managers of a block just before it cancels the block.
    pub fn may_go(&self) -> bool {
        self.held && self.in_flight == 0
    }

    /// Returns how many more one-slot tasks the manager may hold.
    pub fn room(&self) -> usize {
        let (load, most) = self.load();
        most.saturating_sub(load)
    }

    /// Returns the manager's load and the maximum load. The unit is slots if a task takes several
    /// slots, because nothing is prefetched beside such a task. Otherwise the unit is tasks.
    pub fn load(&self) -> (usize, usize) {
        match self.has_wide_tasks() {
            true => (self.busy_slots, self.slots),
            false => (self.in_flight, self.capacity),
        }
    }

    /// Whether one of the manager's tasks takes several slots.
    pub fn has_wide_tasks(&self) -> bool {
        self.busy_slots > self.in_flight
    }

    /// Returns the manager's main state: the first state, in their order, that applies.
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

/// The main state of a manager, for tables. In the document, held, draining and suspect are
/// independent of each other. A held manager without tasks is expected to leave, so it does not
/// count as suspect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ManagerState {
    /// The manager has no connection. It gets no tasks until it sends a message.
    Suspect,
    /// The end of the manager's `drain_period` is near. It gets no more tasks.
    Draining,
    /// The manager gets no more tasks, for good.
    Held,
    /// Other managers of its block have vanished. The manager gets no tasks until it sends a
    /// message.
    Awaited,
    /// The manager has as many tasks as it may hold.
    Full,
    /// The manager has room, but is reserved for a task that needs more.
    Reserved,
    /// The manager has tasks and accepts more.
    Busy,
    /// The manager has no tasks.
    Idle,
}

impl ManagerState {
    /// All states, in order of precedence: the first that applies counts.
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

    /// Returns the name in tables, which is also the label of the metric.
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
