//! A queue of unsent items that tracks their total size.

use std::collections::VecDeque;

/// The capacity that an empty queue keeps.
const KEPT: usize = 64;

/// A queue of items, each with its size in bytes.
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
    /// Returns the total size of the queue in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the number of items.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether the queue is empty.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Appends an item.
    pub fn push(&mut self, bytes: usize, item: T) {
        self.bytes += bytes;
        self.waiting.push_back((bytes, item));
    }

    /// Puts an item back to the front, if it was taken out and could not be sent.
    pub fn push_front(&mut self, bytes: usize, item: T) {
        self.bytes += bytes;
        self.waiting.push_front((bytes, item));
    }

    /// Takes the oldest item.
    pub fn pop(&mut self) -> Option<T> {
        let (bytes, item) = self.waiting.pop_front()?;
        self.bytes -= bytes;
        if self.waiting.is_empty() {
            self.waiting.shrink_to(KEPT);
        }
        Some(item)
    }
}
