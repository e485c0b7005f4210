//! What `status` and `top` share: finding interchanges, asking them, and making sense of what they
//! say.

pub mod asking;
pub mod crews;
pub mod findings;
pub mod format;
pub mod last_words;
pub mod paint;

#[cfg(test)]
pub mod sample;
