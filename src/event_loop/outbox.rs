//! What waits to leave, counted in bytes: the queues behind the sockets.

use std::collections::{HashMap, VecDeque};

use protocol::ManagerId;

/// A queue that knows its weight.
pub(super) struct Outbox<T> {
    waiting: VecDeque<(usize, T)>,
    bytes: usize,
}

impl<T> Outbox<T> {
    pub(super) fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            bytes: 0,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn push(&mut self, bytes: usize, item: T) {
        self.bytes += bytes;
        self.waiting.push_back((bytes, item));
    }

    /// For what was taken out and did not leave.
    pub(super) fn push_front(&mut self, bytes: usize, item: T) {
        self.bytes += bytes;
        self.waiting.push_front((bytes, item));
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        let (bytes, item) = self.waiting.pop_front()?;
        self.bytes -= bytes;
        if self.waiting.is_empty() {
            self.waiting.shrink_to(64);
        }
        Some(item)
    }
}

/// Per manager, what its connection does not take for now. Each is bounded by the manager's
/// capacity, because what waits here counts as in flight.
pub(super) struct ManagerOutboxes<T> {
    by_manager: HashMap<ManagerId, VecDeque<T>>,
}

impl<T> ManagerOutboxes<T> {
    pub(super) fn new() -> Self {
        Self {
            by_manager: HashMap::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_manager.is_empty()
    }

    pub(super) fn is_waiting(&self, manager: &ManagerId) -> bool {
        !self.by_manager.is_empty() && self.by_manager.contains_key(manager)
    }

    pub(super) fn push(&mut self, manager: &ManagerId, item: T) {
        self.by_manager
            .entry(manager.clone())
            .or_default()
            .push_back(item);
    }

    pub(super) fn managers(&self) -> Vec<ManagerId> {
        let mut managers: Vec<ManagerId> = self.by_manager.keys().cloned().collect();
        managers.sort_unstable();
        managers
    }

    pub(super) fn take(&mut self, manager: &ManagerId) -> VecDeque<T> {
        self.by_manager.remove(manager).unwrap_or_default()
    }

    pub(super) fn put_back(&mut self, manager: &ManagerId, items: VecDeque<T>) {
        if !items.is_empty() {
            self.by_manager.insert(manager.clone(), items);
        }
    }

    /// Whether an item of this kind waits for the manager already.
    pub(super) fn any(&self, manager: &ManagerId, is: impl Fn(&T) -> bool) -> bool {
        self.by_manager
            .get(manager)
            .is_some_and(|items| items.iter().any(is))
    }
}
