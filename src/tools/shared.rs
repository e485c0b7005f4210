//! Code that several tools share, whatever the tools are about.

pub(crate) mod charset;
pub(crate) mod child;
pub(crate) mod coded;
pub(crate) mod endpoint;
pub(crate) mod finding;
pub(crate) mod log_file;
pub(crate) mod occupant;
pub(crate) mod output;
pub(crate) mod pager;
pub(crate) mod paper;
pub(crate) mod process;
pub(crate) mod pth;
pub(crate) mod put;
pub(crate) mod python;
pub(crate) mod words;
