//! The connected managers and their free slots.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

pub(crate) struct Manager {
    pub identity: Box<[u8]>,
    pub block: String,
    pub slots: usize,
    pub free: usize,
    /// Whether the manager is in the list of those with free slots.
    is_ready: bool,
}

#[derive(Default)]
pub(crate) struct Managers {
    all: Vec<Manager>,
    numbers: HashMap<Box<[u8]>, usize, BuildHasherDefault<Folding>>,
    ready: Vec<usize>,
}

impl Managers {
    pub(crate) fn add(&mut self, identity: &[u8], block: String, slots: usize) {
        self.numbers.insert(identity.into(), self.all.len());
        self.all.push(Manager {
            identity: identity.into(),
            block,
            slots,
            free: 0,
            is_ready: false,
        });
        self.free(self.all.len() - 1, slots);
    }

    pub(crate) fn all(&self) -> &[Manager] {
        &self.all
    }

    pub(crate) fn number_of(&self, identity: &[u8]) -> Option<usize> {
        self.numbers.get(identity).copied()
    }

    /// Frees this many slots.
    pub(crate) fn free(&mut self, number: usize, slots: usize) {
        let manager = &mut self.all[number];
        manager.free += slots;
        if !manager.is_ready && manager.free > 0 {
            manager.is_ready = true;
            self.ready.push(number);
        }
    }

    /// Takes up to `wanted` slots of one manager that has free ones.
    pub(crate) fn take(&mut self, wanted: usize) -> Option<(&Manager, usize)> {
        let number = *self.ready.last()?;
        let manager = &mut self.all[number];
        let count = wanted.min(manager.free);
        manager.free -= count;
        if manager.free == 0 {
            manager.is_ready = false;
            self.ready.pop();
        }
        Some((manager, count))
    }
}

/// A fast hash with one multiplication per eight bytes. Nobody chooses names here to cause
/// collisions.
#[derive(Default)]
pub(crate) struct Folding(u64);

impl Hasher for Folding {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            let mixed = (self.0 ^ u64::from_ne_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            self.0 = mixed ^ (mixed >> 32);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
