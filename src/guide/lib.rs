//! The guide: Markdown pages that people read in three ways. The repository shows them, rustdoc
//! shows them (one module for each page), and `htex-interchange guide` prints them.
//!
//! This crate holds texts and finds things in them. It names no other crate, and how a text looks
//! on a terminal is up to the tool.

pub mod findings;
