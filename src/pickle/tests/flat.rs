//! Compares the reader of flat dicts with the tree. The flat reader may decline a pickle, but must
//! not return anything that differs from the tree.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use crate::agreement::agrees;
use crate::golden;
use crate::programs::{edited, edits};

#[test]
fn messages_of_managers_and_tasks_are_flat() {
    for name in ["task_plain", "task_priority", "result", "heartbeat"] {
        let bytes = golden::read(name, 4);
        assert_eq!(agrees(&bytes), Ok(true), "{name}");
    }
    assert_eq!(agrees(&golden::read("command", 4)), Ok(false));
}

#[test]
fn mutated_messages_are_read_alike_or_not_at_all() {
    let mut config = ProptestConfig::with_cases(10_000);
    config.rng_seed = RngSeed::Fixed(20_261_026);
    config.failure_persistence = None;
    let source = (prop::sample::select(&golden::MESSAGES[..]), 3_u8..=5);
    let flat = std::cell::Cell::new(0);
    proptest!(config, |((name, protocol) in source, edits in edits())| {
        let bytes = edited(golden::read(name, protocol), &edits);
        match agrees(&bytes) {
            Ok(is_flat) => flat.set(flat.get() + u32::from(is_flat)),
            Err(reason) => prop_assert!(false, "{reason}: {}", bytes.escape_ascii()),
        }
    });
    assert!(flat.get() > 500, "only {} were flat", flat.get());
}

/// Random instructions for nested dicts that are filled one by one, in groups, twice, and through
/// the memo. Few of these programs are valid; the tree decides which.
#[test]
fn instructions_at_random_are_read_alike_or_not_at_all() {
    const TOKENS: [&[u8]; 12] = [
        b"}",
        b"}",
        b"(",
        b"u",
        b"s",
        b"s",
        b"\x8c\x01a",
        b"\x8c\x01b",
        b"K\x01",
        b"\x94",
        b"h\x00",
        b"h\x01",
    ];
    let cases = std::env::var("HTEX_TEST_CASES").map_or(30_000, |text| text.parse().unwrap());
    let mut random = SmallRng::seed_from_u64(20_261_121);
    let mut flat = 0;
    for _ in 0..cases {
        let count = random.random_range(1..16);
        let mut bytes = b"\x80\x04}".to_vec();
        for _ in 0..count {
            bytes.extend_from_slice(TOKENS[random.random_range(0..TOKENS.len())]);
        }
        bytes.push(b'.');
        match agrees(&bytes) {
            Ok(is_flat) => flat += u32::from(is_flat),
            Err(reason) => panic!("{reason}: {}", bytes.escape_ascii()),
        }
    }
    assert!(flat > cases / 1000, "only {flat} of {cases} were flat");
}
