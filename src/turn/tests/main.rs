//! Tests of `src/turn/`: a turn with a transport in memory, in random worlds from a seed and in
//! every order of few events.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test names what it is about, and takes the rest alike"
)]

/// Captured log lines.
use support::events;

/// Messages of the executor and of managers.
mod messages;

/// Placement needs of tasks, and the managers that fit them.
mod needs;

/// The wake-up sources of the loop.
mod doors;

/// Connections, and the transport's thread.
mod network;

/// Managers and the executor.
mod peers;

/// A separate record of what the turn has received and done, to check its steps.
mod books;

/// All of these together, as the turn's transport.
mod world;

/// The process is killed at any step, and another one continues.
mod restart;

/// The loop around the turn, and what must hold whenever it waits.
mod host;

/// A random run from a seed.
mod simulation;

/// Every order of few events.
mod small_worlds;

/// Many managers that do not read.
mod crowds;
