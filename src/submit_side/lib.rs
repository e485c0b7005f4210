//! The submit side: the configuration that it sends at the start, and its versions and
//! certificates.
//!
//! | file | what is in it |
//! | --- | --- |
//! | [`address`] | an IP address, with an optional zone |
//! | [`config`] | the executor's configuration from standard input, checked |
//! | [`curve`] | the certificates that the executor writes, and the decision on each peer |
//! | [`versions`] | the Python and Parsl of the submit side, which managers must match |
//! | [`releases`] | the releases of Parsl that this program is tested with |
//! | [`children`] | the descriptors that child processes inherit |
//!
//! `config` uses `address`; `versions` uses `children` when it runs an interpreter as a last
//! resort; both use `releases`. There are no other dependencies between these modules. The sockets
//! are in the event loop.

pub mod address;
pub mod children;
pub mod config;
pub mod curve;
pub mod releases;
pub mod versions;
