//! What the system counts of this process's memory.

use std::fs;

use super::system_calls;

/// A number of /proc/self/statm, by its place there.
#[derive(Debug, Clone, Copy)]
pub(super) enum Statm {
    Mapped = 0,
    Resident = 1,
    Data = 5,
}

impl Statm {
    /// 0 where the system does not tell.
    pub(super) fn bytes(self) -> usize {
        let pages = || -> Option<usize> {
            let statm = fs::read_to_string("/proc/self/statm").ok()?;
            let page = statm.split_ascii_whitespace().nth(self as usize)?;
            page.parse().ok()
        };
        pages().unwrap_or(0) * system_calls::page_bytes()
    }
}
