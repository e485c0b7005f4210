//! All effects that the broker may request.

use super::change::Happening;
use protocol::{
    Failure, ManagerId, Notice, Observation, Report, SelectorQuestion, TaskId, ToManager,
};

/// One effect. Effects are carried out in order.
#[derive(Debug)]
pub enum Output<B> {
    /// One of the few messages to managers other than tasks. The transport reports whether it had a
    /// connection for the message: [`super::Broker::handle_reachable`], even if the message has to
    /// wait, or [`super::Broker::handle_unreachable`].
    ToManager {
        /// The manager to send to.
        to: ManagerId,
        /// The message.
        message: ToManager,
    },
    /// A manager's result, for the executor.
    Result(B),
    /// A failure made by the interchange, for the executor.
    Failure(Failure),
    /// A status report that the executor is sent without a request.
    Observation(Observation<B>),
    /// A notice for an executor whose run survives restarts of the interchange.
    Notice(Notice),
    /// A record for the monitoring hub.
    Report(Report<B>),
    /// A state change, for observers of the run.
    Happening(Happening),
    /// A question in which order managers should get tasks, for the process that runs a user's
    /// selector.
    Rank(SelectorQuestion<B>),
    /// The manager is no longer registered: messages that it has not taken need not be delivered.
    Forgotten(ManagerId),
    /// The last effect: the effects before it are carried out, then the process ends.
    Stop(StopReason),
}

/// Why the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The submit side is gone, so that nobody takes results.
    SubmitSideGone,
    /// A manager of other versions registered; Parsl ends the whole run then.
    VersionMismatch,
}

/// The tasks of one batch, for the transport that has accepted it. The broker already counts them
/// as held by the manager.
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

    /// Returns the number of tasks.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether the batch is empty. The broker never makes an empty one.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Returns the bodies of the tasks, in the order in which the batch must have them.
    pub fn bodies(&self) -> impl Iterator<Item = &B> + Clone {
        self.tasks.iter().map(|(_, body)| body)
    }

    /// Returns the ids of the tasks, for log lines.
    pub fn ids(&self) -> Vec<i64> {
        self.tasks.iter().map(|(id, _)| id.0).collect()
    }
}
