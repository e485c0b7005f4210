//! What `/proc` tells of a process.

use std::fs;

/// In the kernel's words: `T (stopped)`. None if there is no such process. Read by ourselves:
/// procfs takes all fifty lines apart for this one, in 50 KB of code.
pub(crate) fn state_of(pid: u32) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let state = status
        .lines()
        .find_map(|line| line.strip_prefix("State:"))?;
    Some(state.trim().to_owned())
}

/// With blanks between its words; empty if it cannot be read. Read by ourselves: procfs gives none
/// that is not UTF-8.
pub(crate) fn command_line(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_runs_and_nobody_has_the_last_number() {
        let own = std::process::id();
        assert!(state_of(own).is_some_and(|state| state.starts_with(['R', 'S'])));
        let program = std::env::args().next().unwrap();
        assert!(command_line(own).starts_with(&program));
        assert_eq!(
            (state_of(u32::MAX), command_line(u32::MAX)),
            (None, String::new())
        );
    }
}
