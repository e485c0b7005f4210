//! What the turn knows of sockets: this trait and nothing else. `event_loop` implements it on
//! libzmq, and the tests of this crate in memory.

use account::Receipt;
use broker::{ConnectionId, Now, Origin};
use interchange::Complaints;
use protocol::{ManagerId, ToManager};

/// What messages come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// What becomes of managers' connections.
    Connections,
    /// The executor's commands.
    Commands,
    /// The executor's tasks.
    Tasks,
    /// Everything that managers say.
    Managers,
}

/// A message of a manager, before anybody has looked at it.
#[derive(Debug)]
pub struct Arrived<F> {
    /// The name that the peer took.
    pub identity: F,
    /// The number under which the transport knows its connection now; another connection may have
    /// it later.
    pub via: Option<i32>,
    /// What it sent.
    pub first: F,
    /// In the form of older releases; newer ones allocate nothing here.
    pub more: Vec<F>,
}

/// Why a message for a manager cannot go now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    /// Its connection takes nothing for now.
    Full,
    /// It has no connection.
    NoConnection,
}

/// What a manager is sent.
#[derive(Debug)]
pub enum Outgoing {
    /// One of the few words.
    Word(ToManager),
    /// Tasks, and what is dropped when the transport has done with them. What goes to one manager
    /// is done with in its order.
    Batch(Vec<u8>, Receipt),
}

/// The sockets, and what is told outside. Nothing here ever waits.
pub trait Transport {
    /// The bytes of a message, which is passed on without a copy.
    type Frame: AsRef<[u8]>;

    /// Whether there may be something to receive: after a wake-up, after something was received,
    /// and after something was sent by the same socket, until a receive has found nothing.
    fn may_have_more(&mut self, channel: Channel) -> bool;

    /// The connections that have closed since this was asked last.
    fn closed_connections(&mut self, complaints: &Complaints, now: Now) -> Vec<ConnectionId>;
    /// The next command. It is answered by [`Self::reply`] before the next one is received.
    fn receive_command(&mut self) -> Option<Self::Frame>;
    /// The answer to the command that was received last.
    fn reply(&mut self, bytes: Vec<u8>);
    /// The next task, and whether its message had this frame alone; others are dropped.
    fn receive_task(&mut self) -> Option<(Self::Frame, bool)>;
    /// The next message of a manager.
    fn receive_from_manager(&mut self) -> Option<Arrived<Self::Frame>>;
    /// Who sent it and by which connection, if that one has spoken by it before. None: it is to be
    /// asked for by [`Self::sender`], once all that has become of connections is known.
    fn known_sender(&self, via: Option<i32>, identity: &[u8]) -> Option<(ManagerId, Origin)>;
    /// Who sent it, and by which connection.
    fn sender(&mut self, via: Option<i32>, identity: &[u8]) -> (ManagerId, Origin);

    /// This message is read from now on: should that end the process, it can be named.
    fn begin_message(&mut self, _channel: Channel, _bytes: &[u8]) {}
    /// Nothing that came is being read.
    fn end_messages(&mut self) {}

    /// Begins a message for a manager. Once this has succeeded, [`Self::send`] follows, and nothing
    /// else to managers before that.
    ///
    /// # Errors
    /// Nothing was begun.
    fn address(&mut self, to: &ManagerId) -> Result<(), NotTaken>;
    /// Ends the message that was begun. It is taken in any case.
    fn send(&mut self, to: &ManagerId, what: Outgoing);

    /// A frame of these bytes.
    fn frame_of(bytes: Vec<u8>) -> Self::Frame;
    /// Sends a result to the executor.
    ///
    /// # Errors
    /// There is no room for it now.
    fn send_result(&mut self, frame: Self::Frame) -> Result<(), Self::Frame>;
    /// Bytes of large results that were taken, and that the executor may not have.
    fn results_in_transit(&self) -> usize;

    /// From now on, the next time that a receipt was dropped, or that something of these bytes is
    /// done with, ends a rest, and [`Self::has_released`] is true once.
    fn await_release(&mut self);
    /// Whether something that was awaited has been done with.
    fn has_released(&mut self) -> bool;

    /// A record for the monitoring hub.
    fn report(&mut self, record: Vec<u8>);
    /// A line for the file of events.
    fn tell_event(&mut self, line: &[u8]);
    /// A question for the process that runs the user's manager selector.
    fn ask_selector(&mut self, question: &[u8]);
}
