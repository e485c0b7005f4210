//! The turn's [`Transport`] on libzmq: the sockets that carry tasks, results and control messages,
//! and the outputs to the monitoring hub and the file of events.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use account::Account;
use keeper::{MessageKind, Notes};
use turn::{Arrived, Channel, NotTaken, Outgoing, Transport};

use super::frame::Frame;
use super::frame_socket::{FrameSocket, NotSent, Part};
use super::hub::HubSender;
use super::release::Release;
use super::selector_helper::SelectorHelper;
use super::sockets::SubmitSockets;
use super::telemetry::EventSink;
use super::worker_connections::WorkerConnections;
use broker::{ConnectionId, Now, Origin};
use interchange::Complaints;
use protocol::ManagerId;

/// Results of at least this size are counted until libzmq releases them. Of smaller ones, libzmq's
/// high-water mark limits the number to a thousand.
const LARGE_RESULT_BYTES: usize = 4 * 1024;

pub(super) struct Ports {
    pub(super) submit: SubmitSockets,
    pub(super) workers: FrameSocket,
    pub(super) connections: WorkerConnections,
    /// Whether connections have events or are due.
    pub(super) has_connection_events: bool,
    pub(super) hub: Option<HubSender>,
    pub(super) helper: Option<SelectorHelper>,
    pub(super) events: Option<Rc<dyn EventSink>>,
    /// The notes that outlive this process; None without a keeper.
    pub(super) notes: Option<Arc<Notes>>,
    /// The identities of managers in the notes.
    pub(super) noted_managers: HashSet<Box<[u8]>>,
    /// Number of messages read in this turn.
    pub(super) messages: u64,
    pub(super) large_results: Account,
    pub(super) release: &'static Release,
    /// Whether the descriptor of `release` was readable.
    pub(super) has_released: bool,
}

impl Transport for Ports {
    type Frame = Frame;

    fn may_have_more(&mut self, channel: Channel) -> bool {
        match channel {
            Channel::Connections => self.has_connection_events,
            Channel::Commands => self.submit.commands.may_have_more(),
            Channel::Tasks => self.submit.tasks.may_have_more(),
            Channel::Managers => self.workers.may_have_more(),
        }
    }

    fn closed_connections(&mut self, complaints: &Complaints, now: Now) -> Vec<ConnectionId> {
        self.has_connection_events = false;
        self.connections.read_events(complaints, now)
    }

    /// Parsl never sends a request of several frames; if one arrives, its first frame decides the
    /// answer.
    fn receive_command(&mut self) -> Option<Frame> {
        let request = self.submit.commands.receive()?;
        self.submit.commands.skip_rest(&request);
        Some(request)
    }

    fn reply(&mut self, bytes: Vec<u8>) {
        let reply = Frame::of_bytes(bytes);
        if let Err(not_sent) = self.submit.commands.send(reply, Part::Last) {
            codes::log!(
                REPLY_UNSENT,
                "Could not send the reply to a command: {not_sent}"
            );
        }
    }

    fn receive_task(&mut self) -> Option<(Frame, bool)> {
        let frame = self.submit.tasks.receive()?;
        let is_whole = !frame.has_more();
        self.submit.tasks.skip_rest(&frame);
        Some((frame, is_whole))
    }

    /// Receives one whole message: the identity, which the ROUTER puts first, and the frames of the
    /// peer.
    fn receive_from_manager(&mut self) -> Option<Arrived<Frame>> {
        let identity = self.workers.receive()?;
        // The frames of one message arrive together, and at least one frame follows an identity.
        let first = self.workers.receive()?;
        let mut has_more = first.has_more();
        let mut more = Vec::new();
        while has_more {
            let frame = self.workers.receive()?;
            has_more = frame.has_more();
            more.push(frame);
        }
        Some(Arrived {
            identity,
            via: first.descriptor(),
            first,
            more,
        })
    }

    fn known_sender(&self, via: Option<i32>, identity: &[u8]) -> Option<(ManagerId, Origin)> {
        self.connections.known(via, identity)
    }

    fn sender(&mut self, via: Option<i32>, identity: &[u8]) -> (ManagerId, Origin) {
        // A manager may connect again every few seconds, and the notes only grow.
        if let Some(notes) = &self.notes
            && !self.noted_managers.contains(identity)
            && notes.add_manager(identity)
        {
            self.noted_managers.insert(identity.into());
        }
        self.connections.sender(via, identity)
    }

    fn begin_message(&mut self, channel: Channel, bytes: &[u8]) {
        let kind = match channel {
            Channel::Tasks => MessageKind::Task,
            Channel::Managers => MessageKind::Manager,
            Channel::Commands => MessageKind::Command,
            Channel::Connections => return,
        };
        if let Some(notes) = &self.notes {
            notes.begin_message(kind, bytes);
            self.messages += 1;
        }
    }

    fn end_messages(&mut self) {
        if let Some(notes) = &self.notes
            && self.messages > 0
        {
            notes.end_message();
            notes.add_progress(std::mem::take(&mut self.messages));
        }
    }

    /// Sends the address. A ROUTER decides by the address whether it can send the message; the body
    /// after it is always taken.
    fn address(&mut self, to: &ManagerId) -> Result<(), NotTaken> {
        let address = Frame::copy_of(to.as_bytes());
        match self.workers.send(address, Part::MoreFollows) {
            Ok(()) => Ok(()),
            Err(NotSent::Full(_)) => Err(NotTaken::Full),
            Err(NotSent::Refused(_)) => Err(NotTaken::NoConnection),
        }
    }

    fn send(&mut self, to: &ManagerId, what: Outgoing) {
        let body = match what {
            Outgoing::Word(word) => Frame::copy_of(word.encode()),
            Outgoing::Batch(bytes, receipt) => {
                Frame::of_bytes(bytes).counted(receipt, self.release)
            }
        };
        if let Err(not_sent) = self.workers.send(body, Part::Last) {
            codes::log!(
                MESSAGE_CUT_OFF,
                "A message for {to} was cut off by its connection: {not_sent}"
            );
        }
    }

    fn frame_of(bytes: Vec<u8>) -> Frame {
        Frame::of_bytes(bytes)
    }

    fn send_result(&mut self, frame: Frame) -> Result<(), Frame> {
        let frame = match frame.len() < LARGE_RESULT_BYTES {
            true => frame,
            false => {
                let receipt = self.large_results.hand_over(frame.len());
                frame.counted(receipt, self.release)
            }
        };
        match self.submit.results.send(frame, Part::Last) {
            Ok(()) => Ok(()),
            Err(NotSent::Full(frame)) => Err(frame.uncounted()),
            Err(NotSent::Refused(error)) => {
                codes::log!(RESULT_UNSENT, "Could not send a result: {error}");
                Ok(())
            }
        }
    }

    fn results_in_transit(&self) -> usize {
        self.large_results.bytes()
    }

    fn await_release(&mut self) {
        self.release.begin_waiting();
    }

    fn has_released(&mut self) -> bool {
        std::mem::take(&mut self.has_released)
    }

    fn report(&mut self, record: Vec<u8>) {
        if let Some(hub) = &mut self.hub {
            hub.send(record);
            hub.flush();
        }
    }

    fn tell_event(&mut self, line: &[u8]) {
        if let Some(events) = &self.events {
            events.write(line);
        }
    }

    fn ask_selector(&mut self, question: &[u8]) {
        if let Some(helper) = &mut self.helper {
            helper.ask(question);
        }
    }
}
