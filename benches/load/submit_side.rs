//! The submit side: binds three sockets, submits tasks, reads results, and sends commands.

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
use super::samples::Watch;
use super::shared::Shared;
use super::trouble::{Outcome, Trouble, failure, violation};
use super::words;

/// Number of tasks that are submitted before results are read again.
const TURN_TASKS: u64 = 256;
/// How often a wait is interrupted to check for errors.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// High-water mark for tasks. HTEX sets no limit; here a large backlog would otherwise be in memory
/// twice.
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
    /// Tasks whose manager was lost. None may be, unless `excuses` is set.
    pub lost: u64,
    /// Knows the managers that may be lost.
    pub excuses: Option<Arc<Shared>>,
    pub watch: Watch,
    /// The largest number of bytes that were in transit, on the ways to and from the managers
    /// together.
    pub underway_peak_bytes: u64,
    buffer: Vec<u8>,
    message: Message,
}

/// The end of a phase; all counts are from the start of the program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Goal {
    /// Number of tasks to submit.
    pub submitted: u64,
    /// Number of results to wait for; 0 to wait only until all tasks are submitted.
    pub answered: u64,
    /// Largest number of outstanding tasks.
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

/// Text near the beginning of a message that is a notice for an executor that watches its
/// interchange, and not a result.
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
            lost: 0,
            excuses: None,
            watch: Watch::default(),
            underway_peak_bytes: 0,
            buffer: Vec::new(),
            message: Message::new(),
        })
    }

    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// Returns the ports for tasks, results and commands.
    pub(crate) fn ports(&self) -> Outcome<[u16; 3]> {
        Ok([
            port_of(&self.tasks)?,
            port_of(&self.results)?,
            port_of(&self.commands)?,
        ])
    }

    /// Sends one command and returns its reply.
    pub(crate) fn ask(&self, word: &str, interchange: &mut Interchange) -> Outcome<Vec<u8>> {
        self.ask_this(&words::command(word), word, interchange)
    }

    /// Sends one command, which messages call `word`, and returns its reply.
    pub(crate) fn ask_this(
        &self,
        command: &[u8],
        word: &str,
        interchange: &mut Interchange,
    ) -> Outcome<Vec<u8>> {
        let begin = Instant::now();
        let mut is_sent = false;
        loop {
            let wanted = if is_sent { zmq::POLLIN } else { zmq::POLLOUT };
            if self.commands.poll(wanted, LOOK_EVERY.as_millis() as i64)? != 0 {
                if is_sent {
                    return Ok(self.commands.recv_bytes(zmq::DONTWAIT)?);
                }
                self.commands.send(command, zmq::DONTWAIT)?;
                is_sent = true;
                continue;
            }
            interchange.check_running()?;
            if begin.elapsed() > START_WITHIN {
                return violation(format!("{word} was not answered"));
            }
        }
    }

    /// Submits tasks and reads results until the goal is reached.
    ///
    /// # Errors
    /// A violation: a wrong result, a wrong task at a manager, or no message for too long.
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

    /// Reads and submits as much as possible without waiting. Returns true if libzmq accepts no
    /// more tasks.
    pub(crate) fn turn(&mut self, goal: Goal, shared: &Shared) -> Outcome<bool> {
        self.collect(goal.answered)?;
        self.submit(goal, shared)
    }

    fn silence(&self, shared: &Shared) -> String {
        format!(
            "no message arrived for {} s: {} tasks were submitted, {} reached managers, {} results \
             were sent, {} came back",
            self.patience.as_secs_f64(),
            self.submitted,
            shared.received(),
            shared.results_sent(),
            self.answered
        )
    }

    /// Reads results until `until` tasks are answered, or no result is left.
    pub(crate) fn collect(&mut self, until: u64) -> Outcome<()> {
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
                if let Some(excuses) = &self.excuses
                    && let Some((id, manager)) = words::read_loss(&self.message)
                {
                    excuses.check_loss(id, &manager)?;
                    self.note_end(id)?;
                    self.lost += 1;
                    continue;
                }
                let begin = self.message.escape_ascii().take(200).map(char::from);
                let begin: String = begin.collect();
                return violation(format!("a result arrived that no manager sent: {begin}"));
            };
            self.note_answer(id)?;
        }
        Ok(())
    }

    /// Counts the result of a task.
    pub(crate) fn note_answer(&mut self, id: u64) -> Outcome<()> {
        self.note_end(id)?;
        self.watch.note_answer(id);
        self.answered += 1;
        Ok(())
    }

    /// Notes that a task has its result or is lost, which happens once.
    fn note_end(&mut self, id: u64) -> Outcome<()> {
        if id == 0 || id > self.submitted {
            return violation(format!(
                "a result arrived for task {id}, which was not submitted"
            ));
        }
        if self.is_answered.insert(id) != Some(true) {
            return violation(format!("the result of task {id} arrived twice"));
        }
        Ok(())
    }

    /// Returns the number of tasks that are submitted, have no result and are not lost.
    pub(crate) fn outstanding(&self) -> u64 {
        self.submitted - self.answered - self.lost
    }

    /// Whether the goal and its window allow more tasks.
    pub(crate) fn can_submit(&self, goal: Goal) -> bool {
        self.submitted < goal.submitted && self.submitted - self.answered < goal.window
    }

    /// Submits as many tasks as the goal and its window allow. Returns true if libzmq accepts no
    /// more now.
    fn submit(&mut self, goal: Goal, shared: &Shared) -> Outcome<bool> {
        let room = goal.window.saturating_sub(self.submitted - self.answered);
        let left = goal.submitted.saturating_sub(self.submitted);
        let count = room.min(left).min(TURN_TASKS);
        let mut is_blocked = false;
        for _ in 0..count {
            if !self.submit_next()? {
                is_blocked = true;
                break;
            }
        }
        if count > 0 {
            self.note_underway(shared);
        }
        Ok(is_blocked)
    }

    /// Submits one task. Returns false if libzmq does not accept it now.
    pub(crate) fn submit_next(&mut self) -> Outcome<bool> {
        let id = self.submitted + 1;
        let priority = priority_of(self.priorities, self.seed, id);
        self.pattern.write_task(id, priority, &mut self.buffer);
        match self.tasks.send(message_of(&mut self.buffer), zmq::DONTWAIT) {
            Ok(()) => self.submitted += 1,
            Err(zmq::Error::EAGAIN) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        Ok(true)
    }

    fn note_underway(&mut self, shared: &Shared) {
        let tasks = self.submitted.saturating_sub(shared.received());
        let results = shared.results_sent().saturating_sub(self.answered);
        let Some((task, result)) = self.pattern.fixed_bytes() else {
            return;
        };
        let bytes = tasks * task + results * result;
        self.underway_peak_bytes = self.underway_peak_bytes.max(bytes);
    }

    /// Waits for a result; with `for_room`, also for libzmq to accept tasks.
    fn rest(&self, for_room: bool) -> Outcome<()> {
        self.rest_within(for_room, LOOK_EVERY)
    }

    /// The same, for so long at most.
    pub(crate) fn rest_within(&self, for_room: bool, patience: Duration) -> Outcome<()> {
        if !for_room {
            return wait_readable_within(&[&self.results], patience);
        }
        // The event since the last check may have been consumed already.
        if self.tasks.get_events()?.contains(zmq::POLLOUT) {
            return Ok(());
        }
        wait_readable_within(&[&self.results, &self.tasks], patience)
    }

    /// Checks that no further result arrives.
    ///
    /// # Errors
    /// A violation if an unexpected result arrives.
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
            false => violation("more results arrived than tasks were submitted"),
        }
    }

    /// Waits for the first answer, which is the port for managers.
    pub(crate) fn await_start(&self, interchange: &mut Interchange) -> Outcome<u16> {
        let reply = self.ask("WORKER_BINDS", interchange)?;
        let port = words::read_number(&reply).and_then(|port| u16::try_from(port).ok());
        port.ok_or_else(|| Trouble::Failure("the reply to WORKER_BINDS is not a port".to_owned()))
    }
}

/// Makes a socket with the options that all of the submit side's sockets have. They bind, but are
/// CURVE clients.
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

/// Returns the port that a socket is bound to.
pub(crate) fn port_of(socket: &Socket) -> Outcome<u16> {
    let endpoint = socket.get_last_endpoint()?.unwrap_or_default();
    let port = endpoint.rsplit(':').next();
    match port.and_then(|port| port.trim_end_matches('\0').parse().ok()) {
        Some(port) => Ok(port),
        None => failure("libzmq does not report the port that it bound"),
    }
}

/// Waits until the descriptor of one of these sockets is readable, or for a short time. Before,
/// each socket must have been found empty since the last message was sent on it.
pub(crate) fn wait_readable(sockets: &[&Socket]) -> Outcome<()> {
    wait_readable_within(sockets, LOOK_EVERY)
}

fn wait_readable_within(sockets: &[&Socket], patience: Duration) -> Outcome<()> {
    let mut items = Vec::with_capacity(sockets.len());
    for socket in sockets {
        // SAFETY: the descriptor belongs to the socket, which is borrowed for longer.
        let descriptor = unsafe { BorrowedFd::borrow_raw(socket.get_fd()?) };
        items.push(PollFd::from_borrowed_fd(descriptor, PollFlags::IN));
    }
    let patience = Timespec::try_from(patience).unwrap_or_default();
    match poll(&mut items, Some(&patience)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
