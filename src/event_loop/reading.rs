//! Takes in what has come, channel by channel, in bounded turns.

use std::time::Duration;

use tracing::warn;

use super::EventLoop;
use super::frame::Frame;
use super::frame_socket::FrameSocket;
use super::wait::Ready;
use broker::Now;
use interchange::{Complaint, Said};

/// Most messages taken from one socket in a turn. Large enough to make batches worth it, small
/// enough that no other channel waits for more than about a millisecond.
const BUDGET_MESSAGES: usize = 256;
/// And most bytes: a turn of 10 MiB results is a short one too.
const BUDGET_BYTES: usize = 8 << 20;
/// Commands are few and must not wait.
const BUDGET_COMMANDS: usize = 16;

/// A message of the worker port, before anybody has looked at it.
pub(super) struct Arrived {
    identity: Frame,
    first: Frame,
    /// In the form of older releases; newer ones allocate nothing here.
    more: Vec<Frame>,
}

impl EventLoop {
    /// Reads what is ready, and tells which channels may have more.
    pub(super) fn read(&mut self, ready: Ready, now: Now) -> Ready {
        if ready.submit_connections {
            self.submit_watch.read_events(now);
        }
        let is_due = |at: Option<Duration>| at.is_some_and(|at| at <= now.monotonic);
        if ready.connections || is_due(self.connections.next_deadline()) {
            self.read_worker_connections(now);
        }
        // Nobody is given up for silence before their socket has been read to its end.
        let workers = ready.workers || is_due(self.interchange.next_deadline());
        Ready {
            commands: ready.commands && self.read_commands(now),
            tasks: ready.tasks && self.intake.is_open() && self.read_tasks(now),
            workers: workers && self.read_workers(now),
            key_check: ready.key_check && self.answer_key_checks(now),
            ..Ready::default()
        }
    }

    fn read_commands(&mut self, now: Now) -> bool {
        for _ in 0..BUDGET_COMMANDS {
            let Some(request) = self.submit.commands.receive() else {
                return false;
            };
            // A request of several frames is none of Parsl's; its first frame is answered for all.
            self.submit.commands.skip_rest(&request);
            self.interchange.handle_command(request.as_ref(), now);
            // The next request is read only after this one's reply.
            let stop = self.transmit(now);
            debug_assert!(stop.is_none(), "no command ends the process");
        }
        true
    }

    fn read_tasks(&mut self, now: Now) -> bool {
        let mut bytes = 0;
        // A look at what is held follows the turn: no more than fits is taken before.
        let budget = BUDGET_BYTES.min(self.intake.room_bytes(self.held_bytes()));
        for _ in 0..BUDGET_MESSAGES {
            if bytes >= budget {
                return true;
            }
            let Some(frame) = self.submit.tasks.receive() else {
                return false;
            };
            self.status_server.traffic.tasks_bytes += frame.len() as u64;
            if frame.has_more() {
                self.submit.tasks.skip_rest(&frame);
                warn!("Dropping a task message of several frames; a task has one");
                continue;
            }
            bytes += frame.len();
            self.memory.handle_tasks(now);
            self.interchange.handle_task(frame, now);
        }
        true
    }

    fn read_workers(&mut self, now: Now) -> bool {
        let mut inbox = std::mem::take(&mut self.inbox);
        let mut bytes = 0;
        let mut more = true;
        while more && inbox.len() < BUDGET_MESSAGES && bytes < BUDGET_BYTES {
            match receive(&self.workers, &mut bytes) {
                Some(arrived) => inbox.push(arrived),
                None => more = false,
            }
        }
        self.status_server.traffic.from_managers_bytes += bytes as u64;
        if !more {
            self.interchange.broker_mut().handle_workers_empty(now);
        }
        for arrived in inbox.drain(..) {
            let Arrived {
                identity,
                first,
                more,
            } = arrived;
            let descriptor = first.descriptor();
            let said = Said::read(first, more);
            // A connection's ACCEPTED was written before its first message, but may have come
            // after the last look. Who is known by this connection need not be looked for; were it
            // another one under the same number since, it would be suspect until it speaks again.
            let known = match said.registers() {
                true => None,
                false => self.connections.known(descriptor, identity.as_ref()),
            };
            let (manager, origin) = known.unwrap_or_else(|| {
                self.read_worker_connections(now);
                self.connections.sender(descriptor, identity.as_ref())
            });
            self.interchange.handle_manager(&manager, said, origin, now);
        }
        self.inbox = inbox;
        more
    }

    fn answer_key_checks(&mut self, now: Now) -> bool {
        let Some(key_check) = &self.key_check else {
            return false;
        };
        let complaints = self.interchange.complaints();
        let may_say = |address: &[u8]| complaints.may_say(Complaint::PeerRefused, address, now);
        (0..BUDGET_MESSAGES).all(|_| key_check.answer_one(may_say))
    }

    fn read_worker_connections(&mut self, now: Now) {
        let complaints = self.interchange.complaints();
        for connection in self.connections.read_events(complaints, now) {
            self.interchange
                .broker_mut()
                .handle_disconnected(connection, now);
        }
    }
}

/// One whole message: the identity that the ROUTER puts first, and what the peer sent.
fn receive(workers: &FrameSocket, bytes: &mut usize) -> Option<Arrived> {
    let identity = workers.receive()?;
    // The frames of one message come together, and behind an identity there is one at least.
    let first = workers.receive()?;
    let mut has_more = first.has_more();
    let mut more = Vec::new();
    *bytes += first.len();
    while has_more {
        let frame = workers.receive()?;
        has_more = frame.has_more();
        *bytes += frame.len();
        more.push(frame);
    }
    Some(Arrived {
        identity,
        first,
        more,
    })
}
