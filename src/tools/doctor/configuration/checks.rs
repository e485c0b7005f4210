//! Checks of a configuration. Each check takes facts and returns findings. Checks that look at this
//! machine say so, and leave the machine unchanged.

pub(super) mod address;
pub(super) mod capacity;
pub(super) mod certificates;
pub(super) mod commands;
mod executable;
pub(super) mod flags;
pub(super) mod ports;
pub(super) mod program;
pub(super) mod run_dir;
pub(super) mod selector;
pub(super) mod versions;
