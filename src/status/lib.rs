//! The status document of a running interchange. This crate contains only the data: the event loop
//! serves the socket, and the crate `interchange` fills the document.
//!
//! * [`document`]: all data of the document, for `status`, `top` and `status --json`. A field that
//!   is added there appears in all of them.
//! * [`side_service`]: the state of metrics and events in the document.
//! * [`asking`]: the request for the document, its limits, and the location of the socket.
//! * [`socket_name`]: the name of a socket, and which sockets may be treated as abandoned.
//! * [`open_metrics`]: the document as a page of metrics.

pub mod asking;
pub mod document;
pub mod open_metrics;
pub mod side_service;
pub mod socket_name;
