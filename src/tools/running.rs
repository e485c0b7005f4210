//! What `status` and `top` share: finding interchanges, asking them, and making sense of what they
//! say.

pub mod client;
pub mod crew;
pub mod findings;
pub mod last_words;

#[cfg(test)]
pub mod sample;
