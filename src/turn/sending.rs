//! Decides what leaves, and sends it.

use super::Turn;
use super::transport::{NotTaken, Outgoing, Transport};
use broker::{BatchRoom, Now, Recipient, StopReason};
use interchange::{Parcel, Transmit};

/// Most tasks that are handed out in a turn. Beyond that a command must not wait.
const HANDED_OUT_TASKS_MAX: usize = 1024;
/// And most effects that are carried out: a manager may be lost with a million tasks.
const EFFECTS_MAX: usize = 4096;
/// Most bytes of tasks, unless it is a single one.
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
        // That a word has no connection to go by may be the end of its manager.
        stop.or_else(|| self.carry_out(transport))
    }

    /// Tasks leave as long as not too many results cannot.
    pub(super) fn regulate_dispatch<T: Transport<Frame = F>>(&mut self, transport: &T) {
        let may_dispatch = self.may_dispatch(transport);
        let broker = self.interchange.broker_mut();
        broker.handle_dispatching(may_dispatch);
    }

    /// Hands out what waits to managers with room, the selector's best first.
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

    /// The batch that was begun. Returns how many tasks and bytes are in it.
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
        // Its record leaves before the batch: clients read from it where a task runs, right after
        // the task is done. No word leaves here: the batch is begun.
        let stop = self.carry_out(transport);
        debug_assert!(stop.is_none(), "handing out does not end the process");
        let receipt = self.owed.hand_over(&to.id, bytes, now);
        transport.send(&to.id, Outgoing::Batch(batch, receipt));
        (tasks, bytes)
    }

    /// Sends everything that the interchange has to say, but for words, which are sent once for a
    /// turn.
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
