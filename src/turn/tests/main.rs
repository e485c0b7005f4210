//! Tests of `src/turn/`: a turn among a transport in memory, from a seed and in every order.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test names what it is about, and takes the rest alike"
)]

/// What is logged.
use support::events;

/// What executor and managers write and read.
mod messages;

/// What tasks ask for, and whom they fit.
mod needs;

/// What wakes the loop.
mod doors;

/// Connections, and the transport's thread.
mod network;

/// Managers and the executor.
mod peers;

/// What is known beside the turn.
mod books;

/// All of these, as the turn's transport.
mod world;

/// The process is killed at any step, and another one goes on.
mod restart;

/// The loop around the turn, and what must hold whenever it rests.
mod host;

/// A run from a seed.
mod simulation;

/// Every order of few events.
mod small_worlds;

/// Many that do not read.
mod crowds;
