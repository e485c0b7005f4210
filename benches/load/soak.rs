//! The long run: a crowd of managers that come and go, and a load that changes from second to
//! second.
//!
//! Each period has ten steps. In most of them the submit side keeps a window full: twice what the
//! managers hold, and in one step much more, so that tasks of low priority wait. In some it does
//! not read for a second. In the last steps it submits tasks at a steady rate that leaves slots
//! free; their round trips are measured, and after them everything that could grow.

use std::time::{Duration, Instant};

use super::arguments::Arguments;
use super::crew::Order;
use super::order::Random;
use super::samples::Sampler;
use super::scenarios;
use super::session::Session;
use super::trouble::{Outcome, violation};
use super::words;

const STEPS: u32 = 10;
/// The last steps of a period, in which the load is light.
const LIGHT_STEPS: u32 = 3;
/// Windows, in multiples of what all managers hold.
const HEAVY: u64 = 2;
const BURST: u64 = 8;
const LIGHT_TASKS_PER_S: f64 = 1000.0;
/// One in so many heavy steps begins with a time in which the submit side does not read.
const STEPS_PER_DEAFNESS: u64 = 10;
const DEAF: Duration = Duration::from_secs(1);
/// One command comes within this time after the other.
const COMMAND_EVERY_MS: u64 = 500;
/// One in so many commands holds a manager.
const COMMANDS_PER_HOLD: u64 = 20;
/// Tasks that are submitted before results are read again.
const TURN_TASKS: u64 = 256;
const REST: Duration = Duration::from_millis(1);
/// How often an interchange that has ended is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long the last tasks and managers may take: tasks that a connection may have lost are given
/// up after 30 s, or three times the longest flight.
const END_WITHIN: Duration = Duration::from_secs(180);
/// No machine reaches this rate, and the ids of a run must be known before it.
const TASKS_PER_S_MAX: f64 = 100_000.0;

/// Returns the highest id that a run of this duration may use.
pub(crate) fn tasks_max(arguments: &Arguments) -> u64 {
    let wanted = (arguments.duration_s + arguments.sample_s) * TASKS_PER_S_MAX;
    (wanted as u64).min(i32::MAX as u64)
}

pub(crate) fn run(session: &mut Session) -> Outcome<()> {
    scenarios::enlist(session)?;
    session.side.excuses = Some(session.managers.shared.clone());
    let seed = session.arguments.seed;
    session.order(Order::Churn { seed })?;
    let mut soak = Soak::new(session);
    let mut sampler = Sampler::new(session)?;
    let begin = Instant::now();
    while begin.elapsed().as_secs_f64() < session.arguments.duration_s {
        soak.period(session)?;
        sampler.write(session)?;
    }
    let wall_s = begin.elapsed().as_secs_f64();
    soak.end(session)?;
    let log_mb = session.log_bytes()? as f64 / 1e6;
    let (answered, lost) = (session.side.answered, session.side.lost);
    let counts = session.managers.shared.coming_and_going().counts;
    session
        .report
        .add("wall_s", wall_s)
        .add("done", answered)
        .add("lost", lost)
        .add("tasks_per_s", (answered + lost) as f64 / wall_s)
        .add("died", counts.died)
        .add("usurped", counts.usurped)
        .add("drained", counts.drained)
        .add("reconnected", counts.reconnected)
        .add("held", soak.holds)
        .add("commands", soak.commands)
        .add("deaf", soak.deaf)
        .add("log_mb", log_mb);
    Ok(())
}

struct Soak {
    random: Random,
    step: Duration,
    /// Tasks that are outstanding at rest, because they were sent to managers that went.
    stuck: u64,
    /// Tasks that will never come to a manager, for the same reason.
    astray: u64,
    next_command: Instant,
    next_look: Instant,
    /// How many entries CONNECTED_BLOCKS had.
    blocks: usize,
    commands: u64,
    holds: u64,
    deaf: u64,
}

impl Soak {
    fn new(session: &Session) -> Self {
        let now = Instant::now();
        Self {
            random: Random::new(session.arguments.seed),
            step: Duration::from_secs_f64(session.arguments.sample_s) / STEPS,
            stuck: 0,
            astray: 0,
            next_command: now,
            next_look: now,
            blocks: 0,
            commands: 0,
            holds: 0,
            deaf: 0,
        }
    }

    fn period(&mut self, session: &mut Session) -> Outcome<()> {
        let heavy = STEPS - LIGHT_STEPS;
        // Not in the last heavy step, so that the queue is short when the light steps begin.
        let burst = self.random.below(u64::from(heavy) - 1) as u32;
        for number in 0..heavy {
            if self.random.below(STEPS_PER_DEAFNESS) == 0 {
                self.deaf += 1;
                std::thread::sleep(DEAF);
            }
            let windows = if number == burst { BURST } else { HEAVY };
            self.heavy(session, windows * session.arguments.capacity())?;
        }
        self.light(session, self.step * LIGHT_STEPS)
    }

    fn heavy(&mut self, session: &mut Session, window: u64) -> Outcome<()> {
        let end = Instant::now() + self.step;
        let limit = window + self.stuck;
        while Instant::now() < end {
            let ended = session.side.answered + session.side.lost;
            session.side.collect(u64::MAX)?;
            let room = limit.saturating_sub(session.side.outstanding());
            let count = room.min(TURN_TASKS);
            let is_blocked = !self.submit(session, count)?;
            self.look(session)?;
            let is_idle = ended == session.side.answered + session.side.lost;
            if is_idle && (count == 0 || is_blocked) {
                session.side.rest_within(is_blocked, REST)?;
            }
        }
        Ok(())
    }

    /// Submits tasks at a steady rate. Round trips are measured once the queue is empty.
    fn light(&mut self, session: &mut Session, span: Duration) -> Outcome<()> {
        let begin = Instant::now();
        let mut count = 0;
        let mut is_settled = false;
        while begin.elapsed() < span {
            session.side.collect(u64::MAX)?;
            let due = (begin.elapsed().as_secs_f64() * LIGHT_TASKS_PER_S) as u64;
            let unseen = unseen(session);
            is_settled |= unseen < self.astray + session.arguments.capacity() / 4;
            while count < due {
                let id = session.side.submitted + 1;
                if is_settled {
                    session.side.watch.note_submitted(id);
                }
                if !self.submit(session, 1)? {
                    break;
                }
                count += 1;
            }
            self.look(session)?;
            session.side.collect(u64::MAX)?;
            session.side.rest_within(false, REST)?;
        }
        session.side.watch.forget_open();
        if is_settled {
            self.stuck = session.side.outstanding();
            self.astray = unseen(session);
        }
        Ok(())
    }

    /// Submits tasks. Returns false if libzmq accepts no more now.
    fn submit(&mut self, session: &mut Session, count: u64) -> Outcome<bool> {
        if session.side.submitted + count > tasks_max(&session.arguments) {
            return super::trouble::failure("there are more tasks than such a run can number");
        }
        for _ in 0..count {
            if !session.side.submit_next()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Looks for errors, and sends a command if it is time for one.
    fn look(&mut self, session: &mut Session) -> Outcome<()> {
        session.managers.shared.check()?;
        let now = Instant::now();
        if now >= self.next_look {
            session.interchange.check_running()?;
            self.next_look = now + LOOK_EVERY;
        }
        if now >= self.next_command {
            self.command(session)?;
            let wait = self.random.below(COMMAND_EVERY_MS);
            self.next_command = now + Duration::from_millis(wait);
        }
        Ok(())
    }

    fn command(&mut self, session: &mut Session) -> Outcome<()> {
        self.commands += 1;
        if self.random.below(COMMANDS_PER_HOLD) == 0 {
            return self.hold(session);
        }
        let word = ["OUTSTANDING_C", "CONNECTED_BLOCKS", "MANAGERS"][self.random.below(3) as usize];
        let outstanding = session.side.outstanding();
        let reply = session.side.ask(word, &mut session.interchange)?;
        let managers = session.arguments.managers;
        let is_right = match word {
            "OUTSTANDING_C" => words::read_number(&reply)
                .is_some_and(|count| (0..=outstanding as i64).contains(&count)),
            "CONNECTED_BLOCKS" => {
                let before = self.blocks;
                self.blocks = words::read_list_len(&reply).unwrap_or(0);
                self.blocks >= before.max(managers)
            }
            // Those that died are listed until they are lost.
            _ => words::read_managers(&reply).is_some_and(|list| list.len() <= 2 * managers),
        };
        match is_right {
            true => Ok(()),
            false => violation(format!(
                "the reply to {word} is wrong: {}",
                reply.escape_ascii()
            )),
        }
    }

    fn hold(&mut self, session: &mut Session) -> Outcome<()> {
        let working = session.managers.shared.coming_and_going().working.clone();
        if working.is_empty() {
            return Ok(());
        }
        let name = working[self.random.below(working.len() as u64) as usize].clone();
        let command = words::hold_command(&name);
        let reply = session
            .side
            .ask_this(&command, "HOLD_MANAGER", &mut session.interchange)?;
        if !words::is_none(&reply) {
            return violation("HOLD_MANAGER was not answered by None");
        }
        self.holds += 1;
        session.order(Order::Retire { name })
    }

    /// Waits until every task has ended and every manager is as at the start.
    fn end(&mut self, session: &mut Session) -> Outcome<()> {
        session.order(Order::Calm)?;
        let begin = Instant::now();
        loop {
            session.side.collect(u64::MAX)?;
            session.managers.shared.check()?;
            session.interchange.check_running()?;
            let open = session.side.outstanding();
            if open == 0 {
                let managers = session.check_managers();
                if managers.is_ok() || begin.elapsed() > END_WITHIN {
                    managers?;
                    break;
                }
            }
            if begin.elapsed() > END_WITHIN {
                return violation(format!(
                    "{open} tasks have no end {} s after the last was submitted",
                    END_WITHIN.as_secs()
                ));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let doomed = session.managers.shared.coming_and_going().doomed.len();
        match doomed {
            0 => Ok(()),
            _ => violation(format!(
                "{doomed} tasks were held by managers that died, and not reported lost"
            )),
        }
    }
}

/// Returns how many submitted tasks have not come to a manager.
fn unseen(session: &Session) -> u64 {
    let received = session.managers.shared.received();
    session.side.submitted.saturating_sub(received)
}
