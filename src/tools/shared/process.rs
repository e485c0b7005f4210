//! Information about a process from `/proc`.

use std::fs;

/// Returns the process's state in the kernel's words: `T (stopped)`. None if the process does not
/// exist. Reads the file directly: procfs would parse all fifty lines for this one, with 50 KB of
/// code.
pub(crate) fn state_of(pid: u32) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let state = status
        .lines()
        .find_map(|line| line.strip_prefix("State:"))?;
    Some(state.trim().to_owned())
}

/// Returns the command line with blanks between its words; empty if unreadable. Reads the file
/// directly, because procfs fails for text that is not UTF-8.
pub(crate) fn command_line(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_a_state_and_an_unused_pid_has_none() {
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
