//! Tests of `src/broker/`: what it promises, as texts and as a simulation.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test names what it is about, and takes the rest alike"
)]

/// What is logged.
use support::events;

/// A broker with a clock, and everybody around it by name.
mod world;

/// A broker's effects in words.
mod words;

/// What tasks ask for, and what is shown of it.
mod needs;

/// The commands of a scenario.
mod script;

/// Behaviour, theme by theme, as texts in `scenarios/`.
mod scenarios;

/// Chance, and what is remembered for a while only.
mod bounds;

/// What the simulation compares a broker with.
mod model;

/// Connections, and what stands unread.
#[path = "simulation/network.rs"]
mod network;

/// What may happen, and who does it.
#[path = "simulation/plot.rs"]
mod plot;

/// The broker's loop, without sockets.
#[path = "simulation/host.rs"]
mod host;

/// A world around the broker, from a seed.
mod simulation;

/// Tasks that ask for something of their manager, against a model that tries everything.
mod placement;

/// Very many managers and kinds.
mod crowds;

/// Managers that fail everything, against a model that looks at every result again.
mod failing;
