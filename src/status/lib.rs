//! The document that a running interchange is seen by: behind `status` and `top`, and as a page of
//! metrics. Words only: who listens is the event loop's business, and what it is made of the
//! interchange's.

pub mod asking;
pub mod document;
pub mod open_metrics;
