//! The submit side: binds three sockets, submits, reads results, asks.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use zmq::{Context, Message, Socket, SocketType};

use super::arguments::{Arguments, Priorities};
use super::certificates::Certificates;
use super::checker::Ids;
use super::child::Interchange;
use super::message::message_of;
use super::order::priority_of;
use super::pattern::Pattern;
use super::shared::Shared;
use super::trouble::{Outcome, Trouble, failure, violation};
use super::words;

/// Tasks that are submitted before results are looked at again.
const TURN_TASKS: u64 = 256;
/// How often a rest is broken to see whether something is wrong.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// HTEX sets no limit. Here a large backlog would lie about twice otherwise.
const TASKS_HIGH_WATER: i32 = 10_000;
/// How long HTEX waits for the first answer.
const START_WITHIN: Duration = Duration::from_secs(120);

pub(crate) struct SubmitSide {
    context: Context,
    tasks: Socket,
    results: Socket,
    commands: Socket,
    pattern: Arc<Pattern>,
    priorities: Priorities,
    seed: u64,
    patience: Duration,
    is_answered: Ids,
    pub submitted: u64,
    pub answered: u64,
    /// The most bytes that were on their way, on both legs together.
    pub underway_peak_bytes: u64,
    buffer: Vec<u8>,
    message: Message,
}

/// How far to go; all counts are from the start of the program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Goal {
    /// Submit until so many were.
    pub submitted: u64,
    /// Go on until so many were answered; with 0, until all are submitted.
    pub answered: u64,
    /// Most tasks that are outstanding at once.
    pub window: u64,
}

impl Goal {
    fn is_reached(self, submitted: u64, answered: u64) -> bool {
        match self.answered {
            0 => submitted >= self.submitted,
            wanted => answered >= wanted,
        }
    }
}

/// Near its beginning a message has this that is no result, but for an executor that keeps books.
const NOTICE: &[u8] = b"htex-interchange-";

impl SubmitSide {
    pub(crate) fn open(
        arguments: &Arguments,
        certificates: Option<&Certificates>,
        pattern: Arc<Pattern>,
        last_id: u64,
    ) -> Outcome<Self> {
        let context = Context::new();
        let open = |kind| open(&context, kind, certificates);
        let tasks = open(zmq::DEALER)?;
        tasks.set_sndhwm(TASKS_HIGH_WATER)?;
        let results = open(zmq::DEALER)?;
        results.set_rcvhwm(0)?;
        let commands = open(zmq::REQ)?;
        for socket in [&tasks, &results, &commands] {
            socket.bind("tcp://127.0.0.1:*")?;
        }
        Ok(Self {
            context,
            tasks,
            results,
            commands,
            pattern,
            priorities: arguments.priorities,
            seed: arguments.seed,
            patience: arguments.patience(),
            is_answered: Ids::up_to(last_id),
            submitted: 0,
            answered: 0,
            underway_peak_bytes: 0,
            buffer: Vec::new(),
            message: Message::new(),
        })
    }

    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// Tasks, results, commands.
    pub(crate) fn ports(&self) -> Outcome<[u16; 3]> {
        Ok([
            port_of(&self.tasks)?,
            port_of(&self.results)?,
            port_of(&self.commands)?,
        ])
    }

    /// One command and its answer.
    pub(crate) fn ask(&self, word: &str, interchange: &mut Interchange) -> Outcome<Vec<u8>> {
        let begin = Instant::now();
        let mut is_sent = false;
        loop {
            let wanted = if is_sent { zmq::POLLIN } else { zmq::POLLOUT };
            if self.commands.poll(wanted, LOOK_EVERY.as_millis() as i64)? != 0 {
                if is_sent {
                    return Ok(self.commands.recv_bytes(zmq::DONTWAIT)?);
                }
                self.commands.send(words::command(word), zmq::DONTWAIT)?;
                is_sent = true;
                continue;
            }
            interchange.check_running()?;
            if begin.elapsed() > START_WITHIN {
                return violation(format!("{word} was not answered"));
            }
        }
    }

    /// Submits and collects until the goal is reached.
    ///
    /// # Errors
    /// A violation: of a result, of a task at a manager, or that nothing came for too long.
    pub(crate) fn pump(
        &mut self,
        goal: Goal,
        shared: &Shared,
        interchange: &mut Interchange,
    ) -> Outcome<()> {
        let mut last_moved = Instant::now();
        loop {
            let before = (self.submitted, self.answered);
            let is_blocked = self.turn(goal, shared)?;
            if goal.is_reached(self.submitted, self.answered) {
                return Ok(());
            }
            shared.check()?;
            if (self.submitted, self.answered) != before {
                last_moved = Instant::now();
                continue;
            }
            self.rest(is_blocked)?;
            if last_moved.elapsed() > LOOK_EVERY {
                interchange.check_running()?;
            }
            if last_moved.elapsed() > self.patience {
                return violation(self.silence(shared));
            }
        }
    }

    /// Collects and submits what can be now; true if libzmq takes no more tasks.
    pub(crate) fn turn(&mut self, goal: Goal, shared: &Shared) -> Outcome<bool> {
        self.collect(goal.answered)?;
        self.submit(goal, shared)
    }

    fn silence(&self, shared: &Shared) -> String {
        format!(
            "nothing came for {} s: {} tasks were submitted, {} came to managers, {} results were \
             sent, {} came back",
            self.patience.as_secs_f64(),
            self.submitted,
            shared.received(),
            shared.results_sent(),
            self.answered
        )
    }

    /// Reads results until that many were answered, or none is left.
    fn collect(&mut self, until: u64) -> Outcome<()> {
        while self.answered < until {
            match self.results.recv(&mut self.message, zmq::DONTWAIT) {
                Ok(()) => {}
                Err(zmq::Error::EAGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            if self.message.get_more() {
                return violation("a result has several frames");
            }
            if self
                .message
                .windows(NOTICE.len())
                .take(64)
                .any(|at| at == NOTICE)
            {
                continue;
            }
            let Some(id) = self.pattern.read_result(&self.message) else {
                let begin = self.message.escape_ascii().take(200).map(char::from);
                let begin: String = begin.collect();
                return violation(format!("this is no result that a manager sent: {begin}"));
            };
            self.note_answer(id)?;
        }
        Ok(())
    }

    /// A result for this task has come.
    pub(crate) fn note_answer(&mut self, id: u64) -> Outcome<()> {
        if id == 0 || id > self.submitted {
            return violation(format!(
                "a result came for task {id}, which was not submitted"
            ));
        }
        if self.is_answered.insert(id) != Some(true) {
            return violation(format!("the result of task {id} came twice"));
        }
        self.answered += 1;
        Ok(())
    }

    /// Whether the goal and its window allow more tasks.
    pub(crate) fn can_submit(&self, goal: Goal) -> bool {
        self.submitted < goal.submitted && self.submitted - self.answered < goal.window
    }

    /// Submits as many as the goal and its window allow; true if libzmq takes no more now.
    fn submit(&mut self, goal: Goal, shared: &Shared) -> Outcome<bool> {
        let room = goal.window.saturating_sub(self.submitted - self.answered);
        let left = goal.submitted.saturating_sub(self.submitted);
        let count = room.min(left).min(TURN_TASKS);
        let mut is_blocked = false;
        for _ in 0..count {
            let id = self.submitted + 1;
            let priority = priority_of(self.priorities, self.seed, id);
            self.pattern.write_task(id, priority, &mut self.buffer);
            match self.tasks.send(message_of(&mut self.buffer), zmq::DONTWAIT) {
                Ok(()) => self.submitted += 1,
                Err(zmq::Error::EAGAIN) => {
                    is_blocked = true;
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        if count > 0 {
            self.note_underway(shared);
        }
        Ok(is_blocked)
    }

    fn note_underway(&mut self, shared: &Shared) {
        let tasks = self.submitted.saturating_sub(shared.received());
        let results = shared.results_sent().saturating_sub(self.answered);
        let bytes = tasks * self.pattern.task_bytes() + results * self.pattern.result_bytes();
        self.underway_peak_bytes = self.underway_peak_bytes.max(bytes);
    }

    /// Until a result comes, or a task can leave if that is what is waited for.
    fn rest(&self, for_room: bool) -> Outcome<()> {
        if !for_room {
            return wait_readable(&[&self.results]);
        }
        // What came since the last look may have been told of already.
        if self.tasks.get_events()?.contains(zmq::POLLOUT) {
            return Ok(());
        }
        wait_readable(&[&self.results, &self.tasks])
    }

    /// # Errors
    /// A violation if a result comes that nobody waits for.
    pub(crate) fn check_nothing_more(&mut self) -> Outcome<()> {
        if self
            .results
            .poll(zmq::POLLIN, LOOK_EVERY.as_millis() as i64)?
            == 0
        {
            return Ok(());
        }
        let answered = self.answered;
        self.collect(u64::MAX)?;
        match self.answered == answered {
            true => Ok(()),
            false => violation("more results came than tasks were submitted"),
        }
    }

    /// Waits for the first answer: the port for managers.
    pub(crate) fn await_start(&self, interchange: &mut Interchange) -> Outcome<u16> {
        let reply = self.ask("WORKER_BINDS", interchange)?;
        let port = words::read_number(&reply).and_then(|port| u16::try_from(port).ok());
        port.ok_or_else(|| Trouble::Failure("WORKER_BINDS was not answered by a port".to_owned()))
    }
}

/// What the submit side's sockets share. It binds, and yet is the CURVE client.
fn open(
    context: &Context,
    kind: SocketType,
    certificates: Option<&Certificates>,
) -> Outcome<Socket> {
    let socket = context.socket(kind)?;
    socket.set_linger(0)?;
    if let Some(certificates) = certificates {
        certificates.make_client(&socket)?;
    }
    Ok(socket)
}

/// The port that a socket is bound to.
pub(crate) fn port_of(socket: &Socket) -> Outcome<u16> {
    let endpoint = socket.get_last_endpoint()?.unwrap_or_default();
    let port = endpoint.rsplit(':').next();
    match port.and_then(|port| port.trim_end_matches('\0').parse().ok()) {
        Some(port) => Ok(port),
        None => failure("libzmq does not tell the port it bound"),
    }
}

/// Rests until the descriptor of one of these sockets tells of something, or a moment has passed.
/// Each must have been asked and found empty since something was last sent by it.
pub(crate) fn wait_readable(sockets: &[&Socket]) -> Outcome<()> {
    let mut items = Vec::with_capacity(sockets.len());
    for socket in sockets {
        // SAFETY: the descriptor belongs to the socket, which is borrowed for longer.
        let descriptor = unsafe { BorrowedFd::borrow_raw(socket.get_fd()?) };
        items.push(PollFd::from_borrowed_fd(descriptor, PollFlags::IN));
    }
    let patience = Timespec::try_from(LOOK_EVERY).unwrap_or_default();
    match poll(&mut items, Some(&patience)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
