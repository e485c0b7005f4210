//! Reads what has arrived, channel by channel, each within a budget.

use super::Turn;
use super::transport::{Arrived, Channel, Transport};
use broker::Now;
use interchange::Said;

/// Maximum number of messages read from one socket in a turn. Large enough for efficient batches,
/// and small enough that no other channel waits for more than about a millisecond.
const BUDGET_MESSAGES: usize = 256;
/// Maximum number of bytes, so that a turn with results of 10 MiB is short too.
const BUDGET_BYTES: usize = 8 << 20;
/// Maximum number of commands in a turn. Commands are rare and must not wait.
const BUDGET_COMMANDS: usize = 16;

impl<F: AsRef<[u8]>> Turn<F> {
    pub(super) fn learn<T: Transport<Frame = F>>(&mut self, transport: &mut T, now: Now) {
        if transport.may_have_more(Channel::Connections) {
            self.learn_of_connections(transport, now);
        }
        if transport.may_have_more(Channel::Commands) {
            self.read_commands(transport, now);
        }
        if self.intake.is_open() && transport.may_have_more(Channel::Tasks) {
            self.read_tasks(transport, now);
        }
        // No manager is declared lost for silence before the socket was read until it was empty.
        let deadline = self.interchange.next_deadline();
        let is_due = deadline.is_some_and(|at| at <= now.monotonic);
        let is_awaited = is_due || self.interchange.broker().is_listening();
        if is_awaited || transport.may_have_more(Channel::Managers) {
            self.read_managers(transport, now);
        }
        transport.end_messages();
        let released = transport.has_released();
        self.owed.look(&mut self.interchange, released, now);
        self.interchange.handle_time(now);
    }

    fn learn_of_connections<T: Transport<Frame = F>>(&mut self, transport: &mut T, now: Now) {
        for connection in transport.closed_connections(self.interchange.complaints(), now) {
            let broker = self.interchange.broker_mut();
            broker.handle_disconnected(connection, now);
        }
    }

    fn read_commands<T: Transport<Frame = F>>(&mut self, transport: &mut T, now: Now) {
        for _ in 0..BUDGET_COMMANDS {
            let Some(request) = transport.receive_command() else {
                return;
            };
            transport.begin_message(Channel::Commands, request.as_ref());
            let reply = self.interchange.handle_command(request.as_ref(), now);
            transport.reply(reply);
        }
    }

    fn read_tasks<T: Transport<Frame = F>>(&mut self, transport: &mut T, now: Now) {
        let mut bytes = 0;
        // The held bytes are checked only after the turn, so no more than fits is read before.
        let budget = BUDGET_BYTES.min(self.intake.room_bytes(self.held_bytes(transport)));
        for _ in 0..BUDGET_MESSAGES {
            if bytes >= budget {
                return;
            }
            let Some((frame, is_whole)) = transport.receive_task() else {
                return;
            };
            let len = frame.as_ref().len();
            self.traffic.tasks_bytes += len as u64;
            if !is_whole {
                codes::log!(
                    TASK_MESSAGE_DROPPED,
                    "Dropping a task message of several frames; a task must be one frame"
                );
                continue;
            }
            bytes += len;
            self.intake.note_task(len);
            transport.begin_message(Channel::Tasks, frame.as_ref());
            self.interchange.handle_task(frame, now);
        }
    }

    fn read_managers<T: Transport<Frame = F>>(&mut self, transport: &mut T, now: Now) {
        let mut inbox = std::mem::take(&mut self.inbox);
        let mut bytes = 0;
        let mut is_empty = false;
        while !is_empty && inbox.len() < BUDGET_MESSAGES && bytes < BUDGET_BYTES {
            match transport.receive_from_manager() {
                Some(arrived) => {
                    bytes += arrived.len();
                    inbox.push(arrived);
                }
                None => is_empty = true,
            }
        }
        self.traffic.from_managers_bytes += bytes as u64;
        if is_empty {
            let until = self.heard.until(now);
            let broker = self.interchange.broker_mut();
            broker.handle_workers_empty(until, now);
        }
        for arrived in inbox.drain(..) {
            self.hear(arrived, transport, now);
        }
        self.inbox = inbox;
    }

    fn hear<T: Transport<Frame = F>>(&mut self, arrived: Arrived<F>, transport: &mut T, now: Now) {
        let Arrived {
            identity,
            via,
            first,
            more,
        } = arrived;
        transport.begin_message(Channel::Managers, first.as_ref());
        let (said, identity) = (Said::read(first, more), identity.as_ref());
        // The monitor reports a new connection before its first message, but perhaps after the last
        // check; and a registration must find the manager's old connection closed. So the events of
        // connections are read first. A sender that is already known by this connection does not
        // need that. If another connection has the same descriptor by now, the manager is suspended
        // until its next message.
        let known = match said.registers() {
            true => None,
            false => transport.known_sender(via, identity),
        };
        let (manager, origin) = known.unwrap_or_else(|| {
            self.learn_of_connections(transport, now);
            transport.sender(via, identity)
        });
        self.interchange.handle_manager(&manager, said, origin, now);
    }
}

impl<F: AsRef<[u8]>> Arrived<F> {
    fn len(&self) -> usize {
        let more = self.more.iter().map(|frame| frame.as_ref().len());
        self.first.as_ref().len() + more.sum::<usize>()
    }
}
