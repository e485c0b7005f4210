//! Random selection, and state that is remembered only for a while.

use std::collections::BTreeMap;

use broker::{BlockIdSelector, Output, RandomSelector, Selector, StopReason};
use protocol::{FromManager, Priority, Task, TaskId, ToManager};

use super::world::{self, ANY_ROOM, Body, Departure, Way, World, manager_id, registration};

fn say(world: &mut World, name: &str, message: FromManager<Body>) -> Vec<Output<Body>> {
    let origin = world.origin(name);
    let (id, now) = (manager_id(name), world.now);
    world.broker.handle_manager(&id, message, origin, now);
    std::iter::from_fn(|| world.broker.poll_output()).collect()
}

fn register(world: &mut World, name: &str) {
    let message = FromManager::Registration(Box::new(registration(name)));
    let outputs = say(world, name, message);
    assert!(outputs.is_empty(), "{outputs:?}");
}

/// Counts which manager gets a single task, 2,000 times.
fn shares(selector: Box<dyn Selector>, managers: [&str; 4]) -> BTreeMap<String, u32> {
    let mut world = World::new(world::settings(), selector);
    for name in managers {
        register(&mut world, name);
    }
    let mut shares = BTreeMap::new();
    for id in 1..=2000 {
        let task = Task {
            id: TaskId(id),
            priority: Priority::LOWEST,
            foreign_name: None,
            needs: None,
            body: Body::Task(id),
        };
        world.broker.handle_task(task, 1, world.now);
        let departures = world.dispatch(|_| Way::Open(ANY_ROOM));
        let [Departure::Batch(to, _)] = &departures[..] else {
            panic!("one batch");
        };
        let name = to.to_text();
        *shares.entry(name.clone()).or_default() += 1;
        let frame = Body::Result {
            manager: name.clone(),
            task: id,
        };
        let task = TaskId(id);
        say(
            &mut world,
            &name,
            FromManager::Result {
                task,
                is_exception: false,
                frame,
            },
        );
    }
    shares
}

/// The mean is 500 for each, the standard deviation 19.
#[test]
fn the_random_selector_prefers_no_manager() {
    let shares = shares(Box::new(RandomSelector::new(7)), ["m1", "m2", "m3", "m4"]);
    assert_eq!(shares.len(), 4);
    for (name, share) in &shares {
        assert!((400..600).contains(share), "{name} got {share} of 2000");
    }
    let other_seed = RandomSelector::new(8);
    let others = self::shares(Box::new(other_seed), ["m1", "m2", "m3", "m4"]);
    assert_ne!(shares, others, "chance comes from the seed");
    let same = self::shares(Box::new(RandomSelector::new(7)), ["m1", "m2", "m3", "m4"]);
    assert_eq!(shares, same, "and from nothing else");
}

/// Identities come from peers, so the memory of departed managers is bounded. A forgotten manager
/// is treated as unknown, and ends by its own heartbeat threshold.
#[test]
fn departed_managers_are_remembered_for_a_while() {
    const REMEMBERED: usize = 16 * 1024;
    let mut world = World::new(world::settings(), Box::new(BlockIdSelector::default()));
    let name = |number: usize| format!("m{number}");
    for number in 0..=REMEMBERED {
        register(&mut world, &name(number));
        let told = say(&mut world, &name(number), FromManager::Drain);
        assert_eq!(told.len(), 2);
    }
    assert!(say(&mut world, &name(0), FromManager::Heartbeat).is_empty());
    for number in [1, 2, REMEMBERED] {
        let told = say(&mut world, &name(number), FromManager::Heartbeat);
        let is_shutdown = |output: &Output<Body>| {
            matches!(
                output,
                Output::ToManager {
                    message: ToManager::Shutdown,
                    ..
                }
            )
        };
        assert!(told.len() == 1 && is_shutdown(&told[0]), "{told:?}");
    }
    world.broker.handle_stop(StopReason::SubmitSideGone);
}
