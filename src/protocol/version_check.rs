//! What a manager's registration is compared for, as HTEX configures it.

/// `_check_python_mismatch`, which has meant two things (guide/protocol, P-1.9.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionCheck {
    /// Both versions must be the submit side's: Parsl's default.
    PythonAndParsl,
    /// `_check_python_mismatch` off, before 2026.05.18.
    ParslOnly,
    /// `_check_python_mismatch` off, since then.
    Off,
}
