//! Many managers that do not read, and large tasks: the memory that these cost, and that managers
//! that read still get tasks.

use std::time::Duration;

use super::host::{Beginning, Host};
use super::messages::Saying;
use super::needs::Site;
use super::network::Sizes;
use super::peers::Reading;
use super::world::ms;
use broker::{Patience, Placement};

const BOUND_BYTES: usize = 1_000_000;
/// Maximum of pending bytes of all managers, and of each.
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
fn non_readers_cost_one_task_at_a_time_and_readers_are_still_found() {
    const TASKS: usize = 40;
    let mut host = host();
    for number in 0..12 {
        start(&mut host, &format!("deaf{number}"), Reading::Not);
    }
    for _ in 0..TASKS {
        host.submit(LARGE_TASK_BYTES, None);
    }
    host.pass(ms(100)).unwrap();
    // The second task exceeds the limit of all managers, and one more manager is tried.
    assert_eq!(owed_tasks(&host), 3);
    host.pass(ms(10_000)).unwrap();
    assert_eq!(owed_tasks(&host), 8);
    // The selector ranks the other managers as high as this one, and each try takes longer.
    let reader = start(&mut host, "reader", Reading::Fast);
    host.pass(ms(10_000) * 5).unwrap();
    assert_eq!(host.world.executor.answers.len(), TASKS - owed_tasks(&host));
    host.world.exit(reader);
    host.end();
}

#[test]
fn manager_known_to_read_does_not_wait_for_non_readers() {
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
    // Once the reader has been tried, it is known to read.
    host.pass(ms(10_000)).unwrap();
    assert_eq!(host.world.executor.answers.len(), TASKS - owed_tasks(&host));
    host.end();
}

#[test]
fn unread_bytes_still_count_after_repeated_registration() {
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
