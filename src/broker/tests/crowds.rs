//! Very many managers and very many kinds of tasks: the work of one turn is bounded, and what is
//! shown is exact nevertheless.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use broker::{BlockIdSelector, Candidate, Lack, Selector, Settings, Slot, StopReason};
use protocol::{
    Affinity, Amount, Command, FromManager, ManagerId, Needs, NodeNeeds, Priority, Registration,
    Task, TaskId,
};

use super::world::{self, ANY_ROOM, Body, Departure, Way, World, manager_id};

const MANAGERS: usize = 300;
const WORKERS: usize = 4;

struct Crowd {
    world: World,
    tasks: i64,
}

impl Crowd {
    fn new(selector: Box<dyn Selector>) -> Self {
        let settings = Settings {
            heartbeat_threshold: Duration::from_secs(1_000_000),
            ..world::settings()
        };
        Self {
            world: World::new(settings, selector),
            tasks: 0,
        }
    }

    fn join(&mut self, name: &str, workers: usize) {
        let registration = Registration {
            max_capacity: workers,
            worker_count: workers as i64,
            ..world::registration(name)
        };
        let (id, origin, now) = (manager_id(name), self.world.origin(name), self.world.now);
        let message = FromManager::Registration(Box::new(registration));
        self.world.broker.handle_manager(&id, message, origin, now);
    }

    fn join_all(&mut self) {
        for number in 0..MANAGERS {
            self.join(&format!("m{number}"), WORKERS);
        }
    }

    fn submit(&mut self, needs: Needs) {
        self.tasks += 1;
        let task = Task {
            id: TaskId(self.tasks),
            priority: Priority::LOWEST,
            foreign_name: None,
            needs: Some(Box::new(needs)),
            body: Body::Task(self.tasks),
        };
        self.world.broker.handle_task(task, 1, self.world.now);
    }

    /// Plays one turn. Returns the tasks that are dispatched.
    fn turn(&mut self) -> Vec<i64> {
        self.world.pass(Duration::from_millis(1));
        self.world.broker.handle_time(self.world.now);
        self.hand_out()
    }

    fn hand_out(&mut self) -> Vec<i64> {
        let departures = self.world.dispatch(|_| Way::Open(ANY_ROOM));
        let batches = departures
            .into_iter()
            .filter_map(|departure| match departure {
                Departure::Batch(_, shipment) => Some(shipment.ids()),
                Departure::Output(_) => None,
            });
        batches.flatten().collect()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.world.broker.handle_stop(StopReason::SubmitSideGone);
    }
}

fn cores(number: usize) -> Needs {
    Needs {
        cores: Amount::new(number as f64),
        ..Needs::default()
    }
}

/// Counts how often the selector is notified that a manager has room.
struct Counting {
    all: BlockIdSelector,
    offers: Rc<Cell<usize>>,
}

impl Selector for Counting {
    fn offer(&mut self, candidate: Candidate<'_>) {
        self.offers.update(|offers| offers + 1);
        self.all.offer(candidate);
    }

    fn withdraw(&mut self, slot: Slot) {
        self.all.withdraw(slot);
    }

    fn best(&mut self) -> Option<Slot> {
        self.all.best()
    }

    fn best_of(&mut self, holds: &mut dyn FnMut(Slot) -> bool) -> Option<(Slot, usize)> {
        self.all.best_of(holds)
    }

    fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    fn another(&self) -> Box<dyn Selector> {
        Box::new(Self {
            all: BlockIdSelector::default(),
            offers: Rc::clone(&self.offers),
        })
    }
}

/// The managers are set aside, because the queued task needs a manager that is busy.
#[test]
fn a_new_class_is_offered_only_to_managers_that_get_its_tasks() {
    const A_FEW: usize = 8;
    let offers = Rc::new(Cell::new(0));
    let mut crowd = Crowd::new(Box::new(Counting {
        all: BlockIdSelector::default(),
        offers: Rc::clone(&offers),
    }));
    crowd.join_all();
    crowd.join("large", 2 * WORKERS);
    crowd.submit(cores(2 * WORKERS));
    crowd.submit(cores(2 * WORKERS));
    assert_eq!(crowd.turn(), [1]);
    for (id, wanted) in (3..).zip([3, 2, 3, 4]) {
        offers.set(0);
        crowd.submit(cores(wanted));
        assert_eq!(crowd.turn(), [id]);
        assert!(offers.get() < A_FEW, "{} offers", offers.get());
    }
    offers.set(0);
    for wanted in [5, 6, 7] {
        crowd.submit(cores(wanted));
    }
    assert!(crowd.turn().is_empty());
    assert_eq!(offers.get(), 0, "nobody has room for them");
}

#[test]
fn all_unmet_tasks_are_counted() {
    const KINDS: usize = 1_500;
    let mut crowd = Crowd::new(Box::new(BlockIdSelector::default()));
    crowd.join_all();
    for number in 0..KINDS {
        for _ in 0..1 + number % 3 {
            let node = NodeNeeds {
                hostname: vec![format!("elsewhere-{number}").into()],
                ..NodeNeeds::default()
            };
            crowd.submit(Needs {
                node: Some(Box::new(node)),
                ..Needs::default()
            });
        }
        crowd.submit(cores(WORKERS + 1 + number));
    }
    let unmet = crowd.world.broker.snapshot(crowd.world.now).queue.unmet;
    let mut sums = BTreeMap::new();
    for it in &unmet {
        let lack = match it.lack {
            Lack::Node => "node",
            Lack::Slots { .. } => "slots",
            _ => panic!("{it}"),
        };
        *sums.entry(lack).or_insert(0) += it.tasks;
    }
    let sums: Vec<_> = sums.into_iter().collect();
    assert_eq!(sums, [("node", 2 * KINDS), ("slots", KINDS)]);
    assert!(unmet.len() <= 102, "{} are shown", unmet.len());
    assert_eq!(unmet[0].tasks, 3, "those of most tasks come first");
    let others = unmet
        .iter()
        .filter(|it| it.needs.ends_with("other combinations)"));
    assert_eq!(others.count(), 2);
}

#[test]
fn tasks_bound_to_a_held_manager_move_in_portions() {
    const VALUES: usize = 10_000;
    const PORTION: usize = 4_096;
    let mut crowd = Crowd::new(Box::new(BlockIdSelector::default()));
    crowd.join("m1", VALUES);
    for value in (0..VALUES).chain(0..VALUES) {
        crowd.submit(Needs {
            affinity: Some(Affinity::new(&value.to_be_bytes())),
            ..Needs::default()
        });
    }
    // The second task of each value waits for the manager that holds the first one.
    let all: Vec<i64> = (1..=2 * VALUES as i64).collect();
    let others = &all[VALUES..];
    while crowd.world.broker.in_flight() < VALUES {
        crowd.turn();
    }
    let now = crowd.world.now;
    let hold = Command::Hold(ManagerId::new(b"m1"));
    let _ = crowd.world.broker.handle_command(hold, now);
    crowd.join("m2", VALUES);
    let mut gone = crowd.hand_out();
    assert_eq!(gone.len(), PORTION);
    while gone.len() < VALUES {
        let deadline = crowd.world.broker.next_deadline();
        assert_eq!(deadline, Some(crowd.world.now.monotonic), "it may not rest");
        let leave = crowd.turn();
        assert_eq!(leave.len(), PORTION.min(VALUES - gone.len()));
        gone.extend(leave);
    }
    let deadline = crowd.world.broker.next_deadline();
    assert!(deadline > Some(crowd.world.now.monotonic), "it rests");
    assert_eq!(gone, others);
}
