//! Running interchanges, for `status`, `top` and `doctor`: finds them, queries them, and interprets
//! their answers.

pub(crate) mod client;
pub(crate) mod findings;
pub(crate) mod labels;
pub(crate) mod last_words;
pub(crate) mod manager_counts;
pub(crate) mod search;

#[cfg(test)]
pub(crate) mod sample;
