//! The requirements of tasks in a scenario, what its managers offer, and what the broker shows of
//! both.

use std::time::Duration;

use broker::{Lack, Placement, Unmet};
use protocol::{Affinity, Amount, Needs, NodeNeeds, Registration, Routing};

use super::script::Line;
use super::world::{Body, World};

/// Parses `cores_per_worker=2 memory_per_worker=1000 walltime=60 routing=hard` of a `with` line.
pub(crate) fn placement(with: &mut Line) -> Placement {
    Placement {
        cores_per_worker: with.option("cores_per_worker"),
        memory_per_worker_mb: with.option("memory_per_worker"),
        walltime: with.option("walltime").map(Duration::from_secs_f64),
        routing: routing(with).unwrap_or_default(),
        ..Placement::default()
    }
}

/// Parses `cores=2 memory=1000 time=60 affinity=x type=a routing=hard host=gpu*,big* on_block=3
/// node_cores=16 node_memory=64000`. Returns None if there is none of them.
pub(crate) fn of(line: &mut Line) -> Option<Needs> {
    let names = |text: Option<String>| -> Vec<Box<str>> {
        let text = text.unwrap_or_default();
        let names = text.split(',').filter(|name| !name.is_empty());
        names.map(Box::from).collect()
    };
    let mut amount = |key| line.option(key).and_then(Amount::new);
    let node = NodeNeeds {
        cpu_count: amount("node_cores"),
        total_memory_mb: amount("node_memory"),
        ..NodeNeeds::default()
    };
    let amounts = Needs {
        cores: amount("cores"),
        memory_mb: amount("memory"),
        running_time_s: amount("time"),
        ..Needs::default()
    };
    let node = NodeNeeds {
        hostname: names(line.text("host")),
        block_id: names(line.text("on_block")),
        ..node
    };
    let needs = Needs {
        affinity: line.text("affinity").map(|it| Affinity::new(it.as_bytes())),
        task_type: line.text("type").map(String::into_boxed_str),
        routing: routing(line),
        node: (node != NodeNeeds::default()).then(|| Box::new(node)),
        ..amounts
    };
    (needs != Needs::default()).then_some(needs)
}

/// Parses `cores=16 memory=64000` of a registration: what the manager's node has.
pub(crate) fn tell_site(registration: &mut Registration<Body>, line: &mut Line) {
    registration.cpu_count = line.option("cores");
    registration.total_memory_mb = line.option("memory");
}

/// `12 tasks: 8 slots, the largest has 4`: what is shown of tasks that fit no manager.
pub(crate) fn unmet(world: &World) -> Vec<String> {
    let unmet = world.broker.snapshot(world.now).queue.unmet;
    unmet.iter().map(in_words).collect()
}

fn in_words(unmet: &Unmet) -> String {
    let lack = match &unmet.lack {
        Lack::Managers => "no manager".to_owned(),
        Lack::Node => "no such node".to_owned(),
        Lack::Slots { needed, largest } => format!("{needed} slots, the largest has {largest}"),
        Lack::Time { longest_s } => format!("the longest lasts {longest_s} s"),
        Lack::Affinity(manager) => format!("not for {}", manager.to_text()),
    };
    format!("unmet {}: {lack}", unmet.tasks)
}

/// `m1 is reserved for 12 tasks, since 2 s, passed for 5 s`: what is shown of the reservation.
pub(crate) fn reserved(world: &World) -> String {
    let snapshot = world.broker.snapshot(world.now);
    let marked = snapshot.managers.iter().filter(|manager| manager.reserved);
    let marked: Vec<_> = marked.map(|manager| &manager.id).collect();
    let Some(reservation) = &snapshot.reservation else {
        assert!(marked.is_empty(), "reserved for nobody: {marked:?}");
        return "nobody is reserved".to_owned();
    };
    assert_eq!(marked, [&reservation.manager]);
    let tasks = match reservation.tasks {
        1 => "1 task".to_owned(),
        tasks => format!("{tasks} tasks"),
    };
    format!(
        "{} is reserved for {tasks}, since {} s, passed for {} s",
        reservation.manager.to_text(),
        reservation.reserved_for.as_secs_f64(),
        reservation.passed_for.as_secs_f64()
    )
}

/// `m1 3/8`: the busy slots and all slots of each manager.
pub(crate) fn slots(world: &World) -> Vec<String> {
    let managers = world.broker.snapshot(world.now).managers;
    let of_one = |one: &broker::ManagerView| {
        let (busy, slots) = (one.busy_slots, one.slots);
        format!("{} {busy}/{slots}", one.id.to_text())
    };
    managers.iter().map(of_one).collect()
}

fn routing(line: &mut Line) -> Option<Routing> {
    let routing = line.text("routing")?;
    Some(match routing.as_str() {
        "soft" => Routing::Soft,
        "hard" => Routing::Hard,
        other => panic!("routing={other}"),
    })
}
