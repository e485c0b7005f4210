//! What can be wrong with a set-up. Each check takes facts and gives findings; those that look at
//! this machine say so, and leave it as it was.

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
