//! The memory figures that the kernel counts for this process.

use std::fs;

use super::system_calls;

/// A field of /proc/self/statm, numbered by its position in the line.
#[derive(Debug, Clone, Copy)]
pub(super) enum Statm {
    Mapped = 0,
    Resident = 1,
    Data = 5,
}

impl Statm {
    /// Returns the value in bytes; 0 if the system does not expose it.
    pub(super) fn bytes(self) -> usize {
        let pages = || -> Option<usize> {
            let statm = fs::read_to_string("/proc/self/statm").ok()?;
            let page = statm.split_ascii_whitespace().nth(self as usize)?;
            page.parse().ok()
        };
        pages().unwrap_or(0) * system_calls::page_bytes()
    }
}
