//! Tests of `src/broker/`: what it promises, as texts and as a simulation.

/// What is logged.
#[path = "support/events.rs"]
mod events;

/// A broker with a clock, and everybody around it by name.
#[path = "broker/world.rs"]
mod world;

/// A broker's effects in words.
#[path = "broker/words.rs"]
mod words;

/// The commands of a scenario.
#[path = "broker/script.rs"]
mod script;

/// Behaviour, theme by theme, as texts in `tests/broker/scenarios/`.
#[path = "broker/scenarios.rs"]
mod scenarios;

/// Chance, and what is remembered for a while only.
#[path = "broker/bounds.rs"]
mod bounds;

/// What the simulation compares a broker with.
#[path = "broker/model.rs"]
mod model;

/// Connections, and what stands unread.
#[path = "broker/simulation/network.rs"]
mod network;

/// What may happen, and who does it.
#[path = "broker/simulation/plot.rs"]
mod plot;

/// The broker's loop, without sockets.
#[path = "broker/simulation/host.rs"]
mod host;

/// A world around the broker, from a seed.
#[path = "broker/simulation.rs"]
mod simulation;
