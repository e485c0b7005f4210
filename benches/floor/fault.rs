//! Deliberate faults, so that `load` is seen to find each of them.

use clap::ValueEnum;

/// By so many batches everything is in full flow.
const STRIKES_AT: u64 = 300;

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A task is lost.
    Lose,
    /// A task is sent twice.
    Double,
    /// Two tasks change places.
    Swap,
    /// A byte of a task is changed.
    Flip,
    /// A manager gets one task more than it has slots.
    Overfill,
    /// A manager's slots are forgotten.
    Starve,
    /// A result is lost.
    LoseResult,
    /// A result is sent twice.
    DoubleResult,
    /// A byte of a result is changed.
    FlipResult,
}

pub(crate) struct Faults {
    kind: Option<Fault>,
    count: u64,
}

impl Faults {
    pub(crate) fn new(kind: Option<Fault>) -> Self {
        Self { kind, count: 0 }
    }

    /// True once: the time that it is due.
    #[inline]
    pub(crate) fn strikes(&mut self, kind: Fault) -> bool {
        self.kind == Some(kind) && self.is_due()
    }

    /// True always.
    pub(crate) fn is(&self, kind: Fault) -> bool {
        self.kind == Some(kind)
    }

    #[cold]
    fn is_due(&mut self) -> bool {
        self.count += 1;
        self.count == STRIKES_AT
    }
}
