//! Pickles that arrive in pieces. Whatever the pieces, the scanner must find the end where `scan`
//! finds it.

use pickle::{Fault, Scanner, scan};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::golden;
use crate::programs::{edited, edits, programs};

/// Passes growing prefixes of the bytes to a scanner, and compares each result with that of `scan`.
fn agrees(bytes: &[u8], pieces: &[usize]) -> Result<(), String> {
    let mut scanner = Scanner::new();
    let mut len = 0;
    for piece in pieces.iter().cycle() {
        let arrived = &bytes[..len];
        match (scanner.advance(arrived), scan(arrived)) {
            (Ok(true), Ok(_)) => return Ok(()),
            (Ok(false), Err(error)) if error.fault == Fault::Truncated => {}
            (Err(ours), Err(theirs)) if ours == theirs => return Ok(()),
            // `scan` limits a memo index by the length of the prefix; the scanner does not limit
            // it.
            (_, Err(error)) if matches!(error.fault, Fault::MemoIndexTooLarge(_)) => return Ok(()),
            (ours, theirs) => {
                return Err(format!(
                    "{ours:?} after {len} bytes, where scan says {theirs:?}"
                ));
            }
        }
        if len == bytes.len() {
            return Ok(());
        }
        len = bytes.len().min(len + piece);
    }
    Err("no pieces".to_owned())
}

#[test]
fn the_shapes_that_parsl_sends_in_pieces_of_every_size() {
    for name in golden::MESSAGES {
        for protocol in 0..=5 {
            let bytes = golden::read(name, protocol);
            for piece in 1..20 {
                assert_eq!(agrees(&bytes, &[piece]), Ok(()), "{name}.{protocol}");
            }
        }
    }
}

#[test]
fn mutated_and_random_pickles_in_random_pieces() {
    let mut config = ProptestConfig::with_cases(3_000);
    config.rng_seed = RngSeed::Fixed(20_261_129);
    config.failure_persistence = None;
    let source = prop_oneof![
        programs(),
        (prop::sample::select(&golden::MESSAGES[..]), 0_u8..=5)
            .prop_map(|(name, protocol)| golden::read(name, protocol)),
    ];
    let pieces = prop::collection::vec(1_usize..40, 1..6);
    proptest!(config, |(bytes in source, edits in edits(), pieces in pieces)| {
        let bytes = edited(bytes, &edits);
        if let Err(reason) = agrees(&bytes, &pieces) {
            prop_assert!(false, "{reason}: {}", bytes.escape_ascii());
        }
    });
}
