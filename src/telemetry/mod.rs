//! What people and programs outside are told of a run: the document behind `status` and `top`,
//! metrics, and the file of events. Words only; who listens is `io`'s business, and what it is made
//! of the broker's.

pub mod asking;
pub mod document;
pub mod event_line;
pub mod open_metrics;

mod of_snapshot;

pub use of_snapshot::{Surroundings, document};
