//! Decides what to send, and sends it.

use super::Turn;
use super::transport::{NotTaken, Outgoing, Transport};
use broker::{BatchRoom, Now, Recipient, StopReason};
use interchange::{Parcel, Transmit};

/// Maximum number of tasks dispatched in a turn, so that commands do not wait longer.
const HANDED_OUT_TASKS_MAX: usize = 1024;
/// Maximum number of effects carried out in a turn: a lost manager may have a million tasks.
const EFFECTS_MAX: usize = 4096;
/// Maximum size of tasks dispatched in a turn, unless a single task is larger.
const HANDED_OUT_BYTES_MAX: usize = 8 << 20;

impl<F: AsRef<[u8]>> Turn<F> {
    pub(super) fn send<T: Transport<Frame = F>>(
        &mut self,
        transport: &mut T,
        now: Now,
    ) -> Option<StopReason> {
        self.results.flush(transport);
        self.effects_left = EFFECTS_MAX;
        let mut stop = self.carry_out(transport);
        self.regulate_dispatch(transport);
        if stop.is_none() {
            self.hand_out(transport, now);
            stop = self.carry_out(transport);
        }
        self.words.flush(transport, &mut self.interchange, now);
        // A control message without a connection may end its manager, which causes more effects.
        stop.or_else(|| self.carry_out(transport))
    }

    /// Allows or stops the dispatch of tasks: it stops while too many results are unsent.
    pub(super) fn regulate_dispatch<T: Transport<Frame = F>>(&mut self, transport: &T) {
        let may_dispatch = self.may_dispatch(transport);
        let broker = self.interchange.broker_mut();
        broker.handle_dispatching(may_dispatch);
    }

    /// Dispatches queued tasks to managers with room, in the selector's order.
    fn hand_out<T: Transport<Frame = F>>(&mut self, transport: &mut T, now: Now) {
        let mut left = BatchRoom {
            tasks: HANDED_OUT_TASKS_MAX,
            weight: HANDED_OUT_BYTES_MAX,
        };
        while left.tasks > 0
            && left.weight > 0
            && let Some(to) = self.interchange.broker_mut().next_recipient(now)
        {
            let next_bytes = self.interchange.broker().next_weight(&to);
            let Some(room) = self.owed.room(&to.id, next_bytes, now) else {
                self.owed.clog(&mut self.interchange, &to.id, now);
                continue;
            };
            match transport.address(&to.id) {
                Ok(()) => {
                    let weight = room.min(left.weight);
                    let room = BatchRoom { weight, ..left };
                    let (tasks, bytes) = self.send_batch(transport, &to, room, now);
                    left.tasks = left.tasks.saturating_sub(tasks);
                    left.weight = left.weight.saturating_sub(bytes);
                }
                Err(NotTaken::Full) => {
                    self.owed.clog(&mut self.interchange, &to.id, now);
                }
                Err(NotTaken::NoConnection) => {
                    let broker = self.interchange.broker_mut();
                    broker.handle_unreachable(&to.id, now);
                }
            }
        }
    }

    /// Sends the batch whose address was accepted. Returns how many tasks and bytes are in it.
    fn send_batch<T: Transport<Frame = F>>(
        &mut self,
        transport: &mut T,
        to: &Recipient,
        room: BatchRoom,
        now: Now,
    ) -> (usize, usize) {
        let (tasks, batch) = self.interchange.hand_out(to, room, now);
        let bytes = batch.len();
        self.batches += 1;
        self.traffic.batches_bytes += bytes as u64;
        // The monitoring record is sent before the batch: clients read there where a task runs,
        // right after the task is done. No control message is sent here, because the batch's
        // message has begun.
        let stop = self.carry_out(transport);
        debug_assert!(stop.is_none(), "dispatching does not end the process");
        let receipt = self.owed.hand_over(&to.id, bytes, now);
        transport.send(&to.id, Outgoing::Batch(batch, receipt));
        (tasks, bytes)
    }

    /// Carries out the interchange's effects. Control messages are only collected here, and sent
    /// once per turn.
    fn carry_out<T: Transport<Frame = F>>(&mut self, transport: &mut T) -> Option<StopReason> {
        while self.effects_left > 0
            && let Some(transmit) = self.interchange.poll_transmit()
        {
            self.effects_left -= 1;
            match transmit {
                Transmit::Manager { to, message } => self.words.add(to, message),
                Transmit::Result(parcel) => {
                    let frame = match parcel {
                        Parcel::Frame(frame) => frame,
                        Parcel::Bytes(bytes) => T::frame_of(bytes),
                    };
                    self.traffic.results_bytes += frame.as_ref().len() as u64;
                    self.results.send(transport, frame);
                }
                Transmit::Report(record) => transport.report(record),
                Transmit::Event(line) => transport.tell_event(&line),
                Transmit::Rank(question) => transport.ask_selector(&question),
                Transmit::Forget(manager) => {
                    self.words.forget(&manager);
                    self.owed.forget(&manager);
                }
                Transmit::Stop(reason) => return Some(reason),
            }
        }
        None
    }
}
