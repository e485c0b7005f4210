//! The broker is killed, and another one resumes from the same journal.
//!
//! Message bodies have no bytes in these tests, so queued tasks and managers' registrations are
//! kept beside the journal.

use std::collections::BTreeMap;
use std::mem;

use broker::{Broker, Left, LeftManager, LeftTask, Now, Settings, TakenOver};
use journal::{Journal, Memory};
use protocol::{Registration, Task};

use super::super::needs;
use super::super::world::{Body, Departure, World, manager_id};
use super::{Line, Player, registration, seconds, selector, task};

/// The state that outlives a broker.
pub(super) struct Kept {
    settings: Settings,
    memory: Memory,
    /// Queued tasks.
    tasks: BTreeMap<i64, LeftTask<Body>>,
    /// Registrations by the manager's name.
    registrations: BTreeMap<String, LeftManager<Body>>,
    /// Registrations that the broker did not receive.
    unheard: Vec<LeftManager<Body>>,
    /// The tasks of the last batch.
    sent: Vec<LeftTask<Body>>,
    restarts: u32,
}

impl Kept {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            memory: Memory::on_heap(),
            tasks: BTreeMap::new(),
            registrations: BTreeMap::new(),
            unheard: Vec::new(),
            sent: Vec::new(),
            restarts: 0,
        }
    }

    /// Opens the journal for a new broker.
    pub(super) fn open(&mut self, world: &mut World) -> TakenOver {
        let (journal, records) = Journal::open(&self.memory).expect("there is memory");
        let managers = self.registrations.values().map(copy_of_manager);
        let managers: Vec<_> = managers.chain(self.unheard.drain(..)).collect();
        for left in &managers {
            let (name, left) = (left.id.to_text(), copy_of_manager(left));
            self.registrations.insert(name, left);
        }
        let tasks = self.tasks.values().map(copy_of_task).collect();
        let left = Left {
            managers,
            tasks,
            records,
        };
        world.broker.take_over(journal, left, None, world.now)
    }

    pub(super) fn write_registration(
        &mut self,
        name: &str,
        registration: &Registration<Body>,
        now: Now,
    ) {
        let left = left_manager(name, registration, now);
        self.registrations.insert(name.to_owned(), left);
    }

    /// Deletes the bytes of dispatched tasks.
    pub(super) fn note_departures(&mut self, departures: &[Departure]) {
        for departure in departures {
            if let Departure::Batch(_, shipment) = departure {
                let tasks = shipment.ids();
                self.sent = tasks.iter().flat_map(|id| self.tasks.remove(id)).collect();
            }
        }
    }

    /// Deletes the registrations of managers that are gone.
    fn forget_gone(&mut self, broker: &Broker<Body>, now: Now) {
        let known = broker.snapshot(now).managers;
        let is_known = |name: &str| known.iter().any(|view| view.id == manager_id(name));
        self.registrations.retain(|name, _| is_known(name));
    }
}

impl Player {
    pub(super) fn submit_one(&mut self, task: Task<Body>, weight: usize) {
        let (broker, now) = (&mut self.world.broker, self.world.now);
        let rejected = broker.snapshot(now).tally.tasks_rejected;
        let left = left_task(&task, weight, now);
        broker.handle_task(task, weight, now);
        if let Some(kept) = &mut self.kept
            && broker.snapshot(now).tally.tasks_rejected == rejected
        {
            kept.tasks.insert(left.task.id.0, left);
        }
    }

    /// Plays a command about restarts. `> written task 7 priority=2`, `> written register m2`: the
    /// message is only written down before the broker is killed. `> unsent`: the bytes of the last
    /// batch still exist. `> killed 0.5`: the broker is killed, and another one resumes after that
    /// many seconds.
    pub(super) fn survive(&mut self, line: &mut Line) -> Vec<String> {
        let now = self.world.now;
        match (line.verb.as_str(), line.objects.first().map(String::as_str)) {
            ("written", Some("register")) => {
                let name = line.object(1).to_owned();
                let it = registration(&name, line, self);
                let left = left_manager(&name, &it, now);
                self.kept().unheard.push(left);
            }
            ("written", _) => {
                let mut task = task(line.number(1), line.text("priority").as_deref());
                task.needs = needs::of(line).map(Box::new);
                let left = left_task(&task, 1, now);
                self.kept().tasks.insert(task.id.0, left);
            }
            ("unsent", _) => {
                let kept = self.kept();
                for left in kept.sent.drain(..) {
                    kept.tasks.insert(left.task.id.0, left);
                }
            }
            _ => return vec![self.kill(line)],
        }
        Vec::new()
    }

    fn kept(&mut self) -> &mut Kept {
        self.kept.as_mut().expect("with journal=kept")
    }

    /// Kills the broker. Returns what the next one restored.
    fn kill(&mut self, line: &Line) -> String {
        let mut kept = self.kept.take().expect("with journal=kept");
        let down = seconds(line.number(0));
        kept.restarts += 1;
        kept.forget_gone(&self.world.broker, self.world.now);
        self.world.pass(down);
        let settings = kept.settings.clone();
        let selector = selector(self.selector.as_deref());
        let broker = Broker::new(settings, selector, self.world.now);
        mem::forget(mem::replace(&mut self.world.broker, broker));
        self.unreachable.extend(self.world.cut_all());
        let TakenOver {
            managers,
            queued,
            in_flight,
        } = kept.open(&mut self.world);
        let broker = &mut self.world.broker;
        broker.tell_restart(kept.restarts, "killed", down.as_secs_f64());
        self.kept = Some(kept);
        format!("taken over: queued {queued}, in flight {in_flight}, managers {managers}")
    }
}

fn left_task(task: &Task<Body>, weight: usize, now: Now) -> LeftTask<Body> {
    LeftTask {
        task: Task {
            id: task.id,
            priority: task.priority,
            foreign_name: task.foreign_name.clone(),
            needs: task.needs.clone(),
            body: task.body.clone(),
        },
        weight,
        since: now.monotonic,
    }
}

fn copy_of_task(left: &LeftTask<Body>) -> LeftTask<Body> {
    let now = Now {
        monotonic: left.since,
        wall_s: 0.0,
    };
    left_task(&left.task, left.weight, now)
}

fn left_manager(name: &str, it: &Registration<Body>, now: Now) -> LeftManager<Body> {
    LeftManager {
        id: manager_id(name),
        registration: Registration {
            block: it.block.clone(),
            max_capacity: it.max_capacity,
            worker_count: it.worker_count,
            hostname: it.hostname.clone(),
            parsl_version: it.parsl_version.clone(),
            python_version: it.python_version.clone(),
            drain_time_s: it.drain_time_s,
            start_time_s: it.start_time_s,
            cpu_count: it.cpu_count,
            total_memory_mb: it.total_memory_mb,
            tells_capacity: it.tells_capacity,
            has_packages: it.has_packages,
            message: it.message.clone(),
        },
        came: now.monotonic,
    }
}

fn copy_of_manager(left: &LeftManager<Body>) -> LeftManager<Body> {
    let now = Now {
        monotonic: left.came,
        wall_s: 0.0,
    };
    left_manager(&left.id.to_text(), &left.registration, now)
}
