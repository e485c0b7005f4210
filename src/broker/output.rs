//! Every effect that the broker may ask for.

use super::change::Happening;
use protocol::{
    Failure, ManagerId, Notice, Observation, Report, SelectorQuestion, TaskId, ToManager,
};

/// One effect, in the order in which it is to be carried out.
#[derive(Debug)]
pub enum Output<B> {
    /// One of the few words that managers are told beside their tasks. Whether the transport had a
    /// connection for it is told by [`super::Broker::handle_reachable`], even if the word has to
    /// wait, or [`super::Broker::handle_unreachable`].
    ToManager {
        /// Who is told.
        to: ManagerId,
        /// What.
        message: ToManager,
    },
    /// A manager's result, for the executor.
    Result(B),
    /// A result of our own making, for the executor.
    Failure(Failure),
    /// Something that the executor is told without asking.
    Observation(Observation<B>),
    /// For an executor whose interchange is to survive.
    Notice(Notice),
    /// A record for the monitoring hub.
    Report(Report<B>),
    /// A state change, for whoever follows the run.
    Happening(Happening),
    /// In which order should managers get tasks? For the process that runs a user's selector.
    Rank(SelectorQuestion<B>),
    /// The manager is not registered any more: what it has not taken need not reach it.
    Forgotten(ManagerId),
    /// The last output: what stands before it is sent, then the process ends.
    Stop(StopReason),
}

/// Why the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// Nobody is left to take results.
    SubmitSideGone,
    /// A manager of other versions came; Parsl ends the whole run then.
    VersionMismatch,
}

/// The tasks of one batch, for the transport that has taken it; the duty for them is with the
/// manager by then.
#[derive(Debug)]
pub struct Shipment<B> {
    tasks: Vec<(TaskId, B)>,
}

impl<B> Shipment<B> {
    pub(super) fn with_capacity(count: usize) -> Self {
        Self {
            tasks: Vec::with_capacity(count),
        }
    }

    pub(super) fn add(&mut self, task: TaskId, body: B) {
        self.tasks.push((task, body));
    }

    /// How many tasks are in it.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether it holds nothing: never, as the broker makes it.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// What is to stand in the batch, in this order.
    pub fn bodies(&self) -> impl Iterator<Item = &B> + Clone {
        self.tasks.iter().map(|(_, body)| body)
    }

    /// For log lines.
    pub fn ids(&self) -> Vec<i64> {
        self.tasks.iter().map(|(id, _)| id.0).collect()
    }
}
