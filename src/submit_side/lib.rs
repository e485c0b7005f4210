//! What the submit side said at the start, and what can be found out about it.
//!
//! | file | what is in it |
//! | --- | --- |
//! | [`address`] | an IP address, with the zone that it may need |
//! | [`config`] | what the executor wrote to our standard input, checked |
//! | [`curve`] | the certificates that it wrote, and the verdict on whoever shakes hands |
//! | [`versions`] | the Python and the Parsl that it runs, which managers are checked against |
//! | [`releases`] | which Parsl this program is tested with |
//! | [`children`] | what a process that we start gets of us |
//!
//! `config` reads addresses; `versions` starts an interpreter as its last resort, and names
//! `children` for that; both name `releases`. Otherwise they name nothing of each other. No
//! sockets: the event loop has them.

pub mod address;
pub mod children;
pub mod config;
pub mod curve;
pub mod releases;
pub mod versions;
