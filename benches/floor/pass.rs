//! The loop: it reads and forwards all available messages, and waits only after a whole turn
//! without any.

use std::collections::VecDeque;
use std::os::fd::{BorrowedFd, RawFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use zmq::{Message, Socket};

use super::Outcome;
use super::commands;
use super::fault::{Fault, Faults};
use super::managers::Managers;
use super::sockets::Sockets;

/// Largest number of messages that are read from one socket in a turn, as in the interchange.
const BUDGET_MESSAGES: usize = 256;
/// Number of busy turns after which the other sockets are checked.
const LOOK_AROUND_EVERY: u32 = 16;

/// Length of the beginning of a task or result: PROTO and its number, FRAME and its length.
const HEAD: usize = 11;
/// Length of the end of a task or result: STOP.
const TAIL: usize = 1;
/// The bytes after this beginning, in a result from a manager.
const RESULT: &[u8] = b"}\x94(\x8c\x04type\x94\x8c\x06result\x94";
/// The beginning of a batch: PROTO 4, EMPTY_LIST, MARK. The tasks follow, then APPENDS and STOP.
const BATCH_HEAD: &[u8] = b"\x80\x04](";
const BATCH_TAIL: &[u8] = b"e.";

pub(crate) struct PassThrough {
    sockets: Sockets,
    queue: VecDeque<Message>,
    managers: Managers,
    faults: Faults,
    echo: Vec<u8>,
}

impl PassThrough {
    pub(crate) fn new(sockets: Sockets, faults: Faults) -> Self {
        Self {
            sockets,
            queue: VecDeque::new(),
            managers: Managers::default(),
            faults,
            echo: commands::heartbeat_echo(),
        }
    }

    /// Runs the loop. A socket's descriptor becomes readable once when messages arrive, and again
    /// only after the socket was found empty. Sending may consume this event as well. So a socket
    /// is read from its event, or from a send on it, until it is empty, and no other socket is
    /// read.
    pub(crate) fn run(mut self) -> Outcome<()> {
        let descriptors = [
            self.sockets.tasks.get_fd()?,
            self.sockets.workers.get_fd()?,
            self.sockets.commands.get_fd()?,
        ];
        let mut ready = Ready::EVERYWHERE;
        let mut turns = 0_u32;
        loop {
            if ready.tasks {
                ready.tasks = self.take_tasks()?;
            }
            if ready.workers {
                ready.workers = self.take_from_managers()?;
            }
            ready.workers |= self.dispatch()?;
            if ready.commands {
                self.answer_commands()?;
                ready.commands = false;
            }
            turns = turns.wrapping_add(1);
            let is_busy = ready.tasks || ready.workers;
            if !is_busy || turns.is_multiple_of(LOOK_AROUND_EVERY) {
                ready.look(descriptors, is_busy)?;
            }
        }
    }

    /// Reads tasks. Returns whether there may be more.
    fn take_tasks(&mut self) -> Outcome<bool> {
        for _ in 0..BUDGET_MESSAGES {
            match receive(&self.sockets.tasks)? {
                Some(task) => self.queue.push_back(task),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Reads messages of managers. Returns whether there may be more.
    fn take_from_managers(&mut self) -> Outcome<bool> {
        let mut has_sent = false;
        for _ in 0..BUDGET_MESSAGES {
            let Some(identity) = receive(&self.sockets.workers)? else {
                return Ok(has_sent);
            };
            let Some(message) = receive(&self.sockets.workers)? else {
                continue;
            };
            if message.get(HEAD..HEAD + RESULT.len()) == Some(RESULT) {
                self.pass_result(&identity, message)?;
            } else {
                self.answer_manager(identity, &message)?;
                has_sent = true;
            }
        }
        Ok(true)
    }

    fn pass_result(&mut self, identity: &[u8], mut message: Message) -> Outcome<()> {
        if let Some(number) = self.managers.number_of(identity) {
            self.managers.free(number, 1);
        }
        if self.faults.strikes(Fault::LoseResult) {
            return Ok(());
        }
        if self.faults.strikes(Fault::FlipResult) {
            let middle = message.len() - HEAD;
            message[middle] ^= 1;
        }
        if self.faults.strikes(Fault::DoubleResult) {
            self.sockets.results.send(&message[..], 0)?;
        }
        Ok(self.sockets.results.send(message, 0)?)
    }

    fn answer_manager(&mut self, identity: Message, message: &[u8]) -> Outcome<()> {
        let says = |word: &[u8]| message.windows(word.len()).any(|part| part == word);
        let answer = if says(b"heartbeat") {
            self.echo.as_slice()
        } else if says(b"connection_probe") {
            b""
        } else {
            if let Some((block, slots)) = commands::read_registration(message) {
                let is_starved = self.faults.is(Fault::Starve) && self.managers.all().is_empty();
                let slots = if is_starved { 0 } else { slots };
                self.managers.add(&identity, block, slots);
            }
            return Ok(());
        };
        self.sockets.workers.send(identity, zmq::SNDMORE)?;
        Ok(self.sockets.workers.send(answer, 0)?)
    }

    /// Sends each manager as many tasks as it has free slots. Returns whether anything was sent.
    fn dispatch(&mut self) -> Outcome<bool> {
        let mut has_sent = false;
        while !self.queue.is_empty() {
            self.spoil_queue();
            let Some((manager, mut count)) = self.managers.take(self.queue.len()) else {
                break;
            };
            if count < self.queue.len() && self.faults.strikes(Fault::Overfill) {
                count += 1;
            }
            let bodies = self.queue.iter().take(count);
            let bytes: usize = bodies.map(|task| task.len() - HEAD - TAIL).sum();
            let mut batch = Vec::with_capacity(BATCH_HEAD.len() + bytes + BATCH_TAIL.len());
            batch.extend_from_slice(BATCH_HEAD);
            for task in self.queue.drain(..count) {
                batch.extend_from_slice(&task[HEAD..task.len() - TAIL]);
            }
            batch.extend_from_slice(BATCH_TAIL);
            let workers = &self.sockets.workers;
            workers.send(&manager.identity[..], zmq::SNDMORE)?;
            workers.send(batch, 0)?;
            has_sent = true;
        }
        Ok(has_sent)
    }

    /// Applies the chosen fault to the queue.
    fn spoil_queue(&mut self) {
        if self.queue.len() < 2 {
            return;
        }
        if self.faults.strikes(Fault::Lose) {
            self.queue.pop_front();
        }
        if self.faults.strikes(Fault::Double) {
            let copy = Message::from(&self.queue[0][..]);
            self.queue.push_front(copy);
        }
        if self.faults.strikes(Fault::Swap) {
            self.queue.swap(0, 1);
        }
        if self.faults.strikes(Fault::Flip) {
            let middle = self.queue[0].len() / 2;
            self.queue[0][middle] ^= 1;
        }
    }

    /// Answers all pending commands. Sending a reply may consume the event of another request, so
    /// reading is the last step.
    fn answer_commands(&mut self) -> Outcome<()> {
        let commands = &self.sockets.commands;
        while let Some(request) = receive(commands)? {
            let reply = commands::reply(&request, &self.managers, self.sockets.worker_port);
            commands.send(reply, 0)?;
        }
        Ok(())
    }
}

fn receive(socket: &Socket) -> Outcome<Option<Message>> {
    match socket.recv_msg(zmq::DONTWAIT) {
        Ok(message) => Ok(Some(message)),
        Err(zmq::Error::EAGAIN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The sockets that must be read.
struct Ready {
    tasks: bool,
    workers: bool,
    commands: bool,
}

impl Ready {
    /// All sockets: a descriptor shows no event for messages that arrived before its socket was
    /// first found empty.
    const EVERYWHERE: Self = Self {
        tasks: true,
        workers: true,
        commands: true,
    };

    /// Adds the sockets whose descriptors are readable. Waits for one, unless the loop is busy.
    fn look(&mut self, descriptors: [RawFd; 3], is_busy: bool) -> Outcome<()> {
        let mut items = descriptors.map(|descriptor| {
            // SAFETY: the sockets of these descriptors live as long as the loop.
            let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
            PollFd::from_borrowed_fd(descriptor, PollFlags::IN)
        });
        let at_once = Timespec::default();
        match poll(&mut items, is_busy.then_some(&at_once)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [tasks, workers, commands] = items.map(|item| !item.revents().is_empty());
        self.tasks |= tasks;
        self.workers |= workers;
        self.commands |= commands;
        Ok(())
    }
}
