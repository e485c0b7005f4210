//! The check of a manager's versions at registration, as HTEX configures it.

/// The setting `_check_python_mismatch`, whose meaning has changed once (guide/protocol, P-1.9.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionCheck {
    /// Python and Parsl must both match the submit side. This is Parsl's default.
    PythonAndParsl,
    /// Only Parsl must match: `_check_python_mismatch` is off, before 2026.05.18.
    ParslOnly,
    /// Nothing is checked: `_check_python_mismatch` is off, since 2026.05.18.
    Off,
}
