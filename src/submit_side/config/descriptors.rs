//! Shares of the file descriptors that the system grants. Each manager's connection uses one.

/// Shares of the limit, in percent. From `WARN_AT` on an operator is warned; from `SHUT_AT` on new
/// connections are not accepted; below `OPEN_BELOW` they are accepted again.
const WARN_AT: usize = 80;
const SHUT_AT: usize = 95;
const OPEN_BELOW: usize = 90;
/// One descriptor of this many is reserved, within the bounds of `KEPT_BACK`.
const KEPT_BACK_SHARE: usize = 32;
const KEPT_BACK: std::ops::RangeInclusive<usize> = 3..=64;

/// The number of descriptors that the process may have open at once, and the thresholds below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DescriptorBudget {
    /// The number that the system grants, after the soft limit was raised.
    pub limit: usize,
}

impl DescriptorBudget {
    /// The number in use from which on the log warns.
    pub fn warn_at(self) -> usize {
        self.percent(WARN_AT)
    }

    /// The number in use from which on no manager's connection is accepted.
    pub fn shut_at(self) -> usize {
        self.percent(SHUT_AT)
    }

    /// The number in use below which managers' connections are accepted again.
    pub fn open_below(self) -> usize {
        self.percent(OPEN_BELOW)
    }

    /// The number reserved for a helper process and for files. Reserved descriptors count as in
    /// use.
    pub fn kept_back(self) -> usize {
        (self.limit / KEPT_BACK_SHARE).clamp(*KEPT_BACK.start(), *KEPT_BACK.end())
    }

    fn percent(self, share: usize) -> usize {
        self.limit.saturating_mul(share) / 100
    }
}
