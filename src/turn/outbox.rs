//! A queue of what waits to leave, which knows its weight.

use std::collections::VecDeque;

/// The room that an empty one keeps.
const KEPT: usize = 64;

/// Items, each with its bytes.
#[derive(Debug)]
pub struct Outbox<T> {
    waiting: VecDeque<(usize, T)>,
    bytes: usize,
}

impl<T> Default for Outbox<T> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            bytes: 0,
        }
    }
}

impl<T> Outbox<T> {
    /// Of all that waits.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Behind all others.
    pub fn push(&mut self, bytes: usize, item: T) {
        self.bytes += bytes;
        self.waiting.push_back((bytes, item));
    }

    /// For what was taken out and did not leave.
    pub fn push_front(&mut self, bytes: usize, item: T) {
        self.bytes += bytes;
        self.waiting.push_front((bytes, item));
    }

    /// The one that waits for longest.
    pub fn pop(&mut self) -> Option<T> {
        let (bytes, item) = self.waiting.pop_front()?;
        self.bytes -= bytes;
        if self.waiting.is_empty() {
            self.waiting.shrink_to(KEPT);
        }
        Some(item)
    }
}
