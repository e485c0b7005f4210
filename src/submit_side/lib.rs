//! What the submit side said, and what can be found out about it.
//!
//! [`config`] is what the executor wrote to our standard input, checked; [`curve`] are its
//! certificates, and the verdict on whoever knocks; [`versions`] finds the Python and the Parsl
//! that it runs; [`children`] ends processes that are started for that.

pub mod children;
pub mod config;
pub mod curve;
pub mod versions;
