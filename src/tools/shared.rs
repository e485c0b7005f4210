//! What several tools need, whatever they are about.

pub mod occupant;
pub mod paper;
pub mod words;
