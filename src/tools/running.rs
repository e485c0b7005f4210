//! Interchanges that run, for `status`, `top` and `doctor`: finding them, asking them, and making
//! sense of what they say.

pub(crate) mod client;
pub(crate) mod findings;
pub(crate) mod labels;
pub(crate) mod last_words;
pub(crate) mod manager_counts;
pub(crate) mod search;

#[cfg(test)]
pub(crate) mod sample;
