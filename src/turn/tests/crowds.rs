//! Many that do not read, and large tasks: what that costs, and that whoever reads is found.

use std::time::Duration;

use super::host::{Beginning, Host};
use super::messages::Saying;
use super::needs::Site;
use super::network::Sizes;
use super::peers::Reading;
use super::world::ms;
use broker::{Patience, Placement};

const BOUND_BYTES: usize = 1_000_000;
/// What may be owed to all, and to each.
const ALL_BYTES_MAX: usize = BOUND_BYTES / 4;
const EACH_BYTES_MAX: usize = ALL_BYTES_MAX / 8;
const LARGE_TASK_BYTES: usize = 200_000;
const THRESHOLD: Duration = Duration::from_secs(60);

fn host() -> Host {
    let mut host = Host::new(Beginning {
        seed: None,
        sizes: Sizes {
            high_water: 1000,
            kernel: 100,
        },
        bound_bytes: BOUND_BYTES,
        threshold: THRESHOLD,
        grace: None,
        patience: Patience::Fixed(ms(2_000)),
        told: Placement::default(),
        tells: false,
        survives: false,
    });
    host.world.heartbeat_period = Some(THRESHOLD / 4);
    host
}

fn start(host: &mut Host, name: &str, reads: Reading) -> usize {
    let peer = host.world.start(name, Site::of_capacity(1_000));
    host.world.peers[peer].reads = reads;
    peer
}

fn owed_tasks(host: &Host) -> usize {
    host.turn.held_bytes(&host.world).unsent_batches / LARGE_TASK_BYTES
}

#[test]
fn a_crowd_that_does_not_read_costs_a_task_at_a_time_and_hides_nobody_who_reads() {
    const TASKS: usize = 40;
    let mut host = host();
    for number in 0..12 {
        start(&mut host, &format!("deaf{number}"), Reading::Not);
    }
    for _ in 0..TASKS {
        host.submit(LARGE_TASK_BYTES, None);
    }
    host.pass(ms(100)).unwrap();
    // The second is more than may be owed to all, and another one is tried.
    assert_eq!(owed_tasks(&host), 3);
    host.pass(ms(10_000)).unwrap();
    assert_eq!(owed_tasks(&host), 8);
    // The others are as good as this one, and each try takes longer.
    let reader = start(&mut host, "reader", Reading::Fast);
    host.pass(ms(10_000) * 5).unwrap();
    assert_eq!(host.world.executor.answers.len(), TASKS - owed_tasks(&host));
    host.world.exit(reader);
    host.end();
}

#[test]
fn who_has_read_since_does_not_wait_for_those_who_have_not() {
    const TASKS: usize = 40;
    let mut host = host();
    for number in 0..4 {
        start(&mut host, &format!("deaf{number}"), Reading::Not);
    }
    for _ in 0..TASKS {
        host.submit(LARGE_TASK_BYTES, None);
    }
    host.pass(ms(200)).unwrap();
    start(&mut host, "reader", Reading::Fast);
    // Once it has been its turn, it is known.
    host.pass(ms(10_000)).unwrap();
    assert_eq!(host.world.executor.answers.len(), TASKS - owed_tasks(&host));
    host.end();
}

#[test]
fn who_registers_again_and_again_is_still_owed_what_stands_in_its_connection() {
    let mut host = host();
    let deaf = start(&mut host, "deaf", Reading::Not);
    for _ in 0..500 {
        host.submit(3_000, None);
    }
    for _ in 0..5 {
        host.pass(ms(1_000)).unwrap();
        let owed = host.world.owed_to("deaf");
        assert!(owed > EACH_BYTES_MAX / 2, "{owed} bytes");
        assert!(owed < EACH_BYTES_MAX + EACH_BYTES_MAX / 8, "{owed} bytes");
        host.world.peers[deaf].beats = false;
        host.pass(THRESHOLD * 2).unwrap();
        assert!(host.world.books.borrow().managers.is_empty());
        assert_eq!(host.turn.held_bytes(&host.world).unsent_batches, 0);
        host.world.peers[deaf].beats = true;
        let site = Site::of_capacity(1_000);
        host.world.say(deaf, Saying::Register(site));
    }
    host.end();
}
