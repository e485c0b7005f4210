//! Deliberate faults, to check that `load` detects each of them.

use clap::ValueEnum;

/// Number of the batch or result at which the fault happens; by then the load is at its full rate.
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

    /// Whether this fault happens now; true only once.
    #[inline]
    pub(crate) fn strikes(&mut self, kind: Fault) -> bool {
        self.kind == Some(kind) && self.is_due()
    }

    /// Whether this fault was chosen.
    pub(crate) fn is(&self, kind: Fault) -> bool {
        self.kind == Some(kind)
    }

    #[cold]
    fn is_due(&mut self) -> bool {
        self.count += 1;
        self.count == STRIKES_AT
    }
}
