//! The turn's only view of the sockets: this trait. `event_loop` implements it on libzmq, and the
//! tests of this crate implement it in memory.

use account::Receipt;
use broker::{ConnectionId, Now, Origin};
use interchange::Complaints;
use protocol::{ManagerId, ToManager};

/// A source of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Events of managers' connections.
    Connections,
    /// The executor's commands.
    Commands,
    /// The executor's tasks.
    Tasks,
    /// All messages of managers.
    Managers,
}

/// A message of a manager, before it is parsed.
#[derive(Debug)]
pub struct Arrived<F> {
    /// The peer's identity.
    pub identity: F,
    /// The descriptor of the message's connection at this time; another connection may get the same
    /// number later.
    pub via: Option<i32>,
    /// The first frame of the message.
    pub first: F,
    /// Further frames, in the message format of older releases; newer ones allocate nothing here.
    pub more: Vec<F>,
}

/// Why a message to a manager cannot be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    /// The manager's connection is full for now.
    Full,
    /// The manager has no connection.
    NoConnection,
}

/// A message to a manager.
#[derive(Debug)]
pub enum Outgoing {
    /// A control message.
    Word(ToManager),
    /// Tasks, and a receipt that is dropped when the transport releases them. The transport
    /// releases the messages to one manager in their order.
    Batch(Vec<u8>, Receipt),
}

/// The sockets, and the outputs for monitoring and events. No method ever blocks.
pub trait Transport {
    /// A message's bytes, which are forwarded without a copy.
    type Frame: AsRef<[u8]>;

    /// Whether there may be something to receive. This is true after a wake-up, after a receive,
    /// and after a send by the same socket, until a receive finds nothing.
    fn may_have_more(&mut self, channel: Channel) -> bool;

    /// Returns the connections that have closed since the last call.
    fn closed_connections(&mut self, complaints: &Complaints, now: Now) -> Vec<ConnectionId>;
    /// Receives the next command. [`Self::reply`] must answer it before the next one is received.
    fn receive_command(&mut self) -> Option<Self::Frame>;
    /// Answers the command that was received last.
    fn reply(&mut self, bytes: Vec<u8>);
    /// Receives the next task. Also returns whether its message had only this frame; further frames
    /// are dropped.
    fn receive_task(&mut self) -> Option<(Self::Frame, bool)>;
    /// Receives the next message of a manager.
    fn receive_from_manager(&mut self) -> Option<Arrived<Self::Frame>>;
    /// Returns which manager sent a message and by which connection, if that manager has sent by
    /// this connection before. If None, use [`Self::sender`] after reading all events of
    /// connections.
    fn known_sender(&self, via: Option<i32>, identity: &[u8]) -> Option<(ManagerId, Origin)>;
    /// Returns which manager sent a message, and by which connection.
    fn sender(&mut self, via: Option<i32>, identity: &[u8]) -> (ManagerId, Origin);

    /// Notes that this message is being processed, so that it can be named if it ends the process.
    fn begin_message(&mut self, _channel: Channel, _bytes: &[u8]) {}
    /// Notes that no message is being processed.
    fn end_messages(&mut self) {}

    /// Begins a message to a manager. After a success the next call for managers must be
    /// [`Self::send`].
    fn address(&mut self, to: &ManagerId) -> Result<(), NotTaken>;
    /// Completes the message that was begun. This cannot fail.
    fn send(&mut self, to: &ManagerId, what: Outgoing);

    /// Creates a frame of these bytes.
    fn frame_of(bytes: Vec<u8>) -> Self::Frame;
    /// Sends a result to the executor.
    ///
    /// # Errors
    /// There is no room for it now.
    fn send_result(&mut self, frame: Self::Frame) -> Result<(), Self::Frame>;
    /// Returns the bytes of large results that the transport has taken and that the executor may
    /// not have received yet.
    fn results_in_transit(&self) -> usize;

    /// Requests a wake-up: the next release of a batch or of a large result ends the loop's wait,
    /// and [`Self::has_released`] is then true once.
    fn await_release(&mut self);
    /// Whether an awaited release has happened.
    fn has_released(&mut self) -> bool;

    /// Sends a record to the monitoring hub.
    fn report(&mut self, record: Vec<u8>);
    /// Writes a line to the file of events.
    fn tell_event(&mut self, line: &[u8]);
    /// Sends a question to the process that runs the user's manager selector.
    fn ask_selector(&mut self, question: &[u8]);
}
