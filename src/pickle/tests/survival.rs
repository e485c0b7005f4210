//! Checks the promise of the splicer against CPython. An accepted pickle loads inside a batch as it
//! loads alone, and does not affect its neighbours. A pickle that loads alone is not refused.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use crate::judging::{Case, Trouble};
use crate::oracle;
use crate::programs::{edited, edits, programs};

/// Number of cases of each of the three properties, unless `HTEX_CASES` sets another number.
const CASES: u32 = 4_000;

#[test]
fn random_objects_of_python_survive_a_batch() {
    let strategy = (0_u64..1 << 40, 0_u8..=5, any::<u8>());
    check("objects", &strategy, |(seed, protocol, neighbours)| {
        Case::new(oracle::generate(seed, protocol), neighbours)
    });
}

#[test]
fn random_programs_survive_a_batch() {
    check(
        "programs",
        &(programs(), any::<u8>()),
        |(program, neighbours)| Case::new(program, neighbours),
    );
}

#[test]
fn mutated_pickles_survive_a_batch_or_are_refused() {
    let source = prop_oneof![
        (0_u64..1 << 40, 0_u8..=5).prop_map(|(seed, protocol)| Err((seed, protocol))),
        programs().prop_map(Ok),
    ];
    check(
        "mutations",
        &(source, edits(), any::<u8>()),
        |(source, edits, neighbours)| {
            let bytes = source.unwrap_or_else(|(seed, protocol)| oracle::generate(seed, protocol));
            Case::new(edited(bytes, &edits), neighbours)
        },
    );
}

/// Runs one property. The seed is fixed unless `HTEX_SEED` sets another, so a failure can be
/// repeated.
#[expect(
    clippy::print_stdout,
    reason = "shown if the test fails, and by --nocapture"
)]
fn check<S: Strategy>(name: &str, strategy: &S, case: impl Fn(S::Value) -> Case) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let mut config = Config::with_cases(number("HTEX_CASES").map_or(CASES, |n: u64| n as u32));
    config.rng_seed = RngSeed::Fixed(number("HTEX_SEED").unwrap_or(20_261_026));
    config.failure_persistence = None;
    config.max_shrink_iters = 3_000;
    let mut runner = TestRunner::new(config);
    let tally = std::cell::RefCell::new(BTreeMap::new());
    let outcome = runner.run(strategy, |value| {
        let case = case(value);
        match case.judge() {
            Ok(classes) => {
                for class in classes {
                    *tally.borrow_mut().entry(class).or_insert(0_u32) += 1;
                }
                Ok(())
            }
            Err(trouble) => {
                let reason = match trouble {
                    Trouble::Broken(reason) => reason,
                    Trouble::OracleEnded => "CPython ended".to_owned(),
                };
                let original = case.original.escape_ascii();
                Err(TestCaseError::fail(format!("{reason}\n{original}")))
            }
        }
    });
    println!("{name}:");
    for (class, count) in tally.into_inner() {
        println!("  {count:6}  {class}");
    }
    if let Err(error) = outcome {
        panic!("{name}: {error}");
    }
}
