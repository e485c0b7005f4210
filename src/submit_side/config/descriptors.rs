//! How the descriptors that the system grants are shared out. Each manager's connection takes one.

/// Shares of the limit, in percent: where an operator is warned, where nobody is let in any more,
/// and below which the door is opened again.
const WARN_AT: usize = 80;
const SHUT_AT: usize = 95;
const OPEN_BELOW: usize = 90;
/// One in so many descriptors is kept back, within these bounds.
const KEPT_BACK_SHARE: usize = 32;
const KEPT_BACK: std::ops::RangeInclusive<usize> = 3..=64;

/// What may be open at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DescriptorBudget {
    /// How many the system grants, after the soft limit was raised.
    pub limit: usize,
}

impl DescriptorBudget {
    /// So many in use are worth a warning.
    pub fn warn_at(self) -> usize {
        self.percent(WARN_AT)
    }

    /// With so many in use no manager is let in.
    pub fn shut_at(self) -> usize {
        self.percent(SHUT_AT)
    }

    /// With fewer than so many in use they are let in again.
    pub fn open_below(self) -> usize {
        self.percent(OPEN_BELOW)
    }

    /// How many are kept for a helper process and for files. They count as in use.
    pub fn kept_back(self) -> usize {
        (self.limit / KEPT_BACK_SHARE).clamp(*KEPT_BACK.start(), *KEPT_BACK.end())
    }

    fn percent(self, share: usize) -> usize {
        self.limit.saturating_mul(share) / 100
    }
}
