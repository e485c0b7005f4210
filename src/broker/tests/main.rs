//! Tests of `src/broker/`: its promises, as texts and as a simulation.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test names what it is about, and takes the rest alike"
)]

/// Captured log lines.
use support::events;

/// A broker with a clock, and managers by short names.
mod world;

/// A broker's effects as text.
mod words;

/// Requirements of tasks, and what the broker shows of them.
mod needs;

/// The commands of a scenario.
mod script;

/// Behaviour, theme by theme, as texts in `scenarios/`.
mod scenarios;

/// The transitions between states that the design page lists.
mod transitions;

/// Random selection, and state that is remembered only for a while.
mod bounds;

/// The model that the simulation compares a broker with.
mod model;

/// Connections and unread messages.
#[path = "simulation/network.rs"]
mod network;

/// The events of the simulation, and the managers.
#[path = "simulation/plot.rs"]
mod plot;

/// The broker's loop, without sockets.
#[path = "simulation/host.rs"]
mod host;

/// A simulated world around the broker, from a seed.
mod simulation;

/// Tasks with requirements, compared with a model that tries everything.
mod placement;

/// Very many managers and kinds.
mod crowds;

/// Managers that fail every task, compared with a model that checks every result again.
mod failing;
