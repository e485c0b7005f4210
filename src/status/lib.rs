//! The document that a running interchange is seen by. Words only: who listens is the event loop's
//! business, and what the document is made of the interchange's.
//!
//! * [`document`]: everything that is told of an interchange, behind `status`, `top` and
//!   `status --json`; a field that is added there stands in every one of them.
//! * [`side_service`]: metrics and events, as the document tells of them.
//! * [`asking`]: how the document is asked for: the request, its limits, and where the socket lies.
//! * [`socket_name`]: what a socket is called, and which may be taken for deserted.
//! * [`open_metrics`]: the same document as a page of metrics.

pub mod asking;
pub mod document;
pub mod open_metrics;
pub mod side_service;
pub mod socket_name;
