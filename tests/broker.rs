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

/// Faults that the simulation must find.
#[path = "broker/tamper.rs"]
mod tamper;

/// Random events from a seed.
#[path = "broker/simulation.rs"]
mod simulation;
