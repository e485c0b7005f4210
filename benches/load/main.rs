//! `load`: plays the submit side and N managers against any interchange command. It checks every
//! byte that arrives, and measures what the interchange uses.
//!
//! ```text
//! load --scenario throughput --encrypted -- htex-interchange
//! ```
//!
//! The result is one JSON object on standard output, with exit status 0. A violation is one line on
//! standard error, with exit status 1: a task was lost, doubled, changed or out of order, or a
//! manager had more tasks than slots. Exit status 3 means that the measurement was not possible.

#![expect(clippy::print_stderr, reason = "a program for the terminal")]

mod arguments;
mod batch_reader;
mod certificates;
mod checker;
mod child;
mod churn;
mod crew;
mod direct;
mod manager;
mod managers;
mod message;
mod order;
mod pattern;
mod proc_fs;
mod report;
mod samples;
mod scenarios;
mod self_test;
mod session;
mod shared;
mod soak;
mod submit_side;
mod trouble;
mod words;

use std::ffi::OsString;
use std::io::Write;
use std::process::exit;

use clap::Parser;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;

use arguments::Arguments;
use trouble::{Outcome, Trouble, failure};

const VIOLATION: i32 = 1;
const WRONG_USAGE: i32 = 2;
const FAILURE: i32 = 3;

/// Each manager's socket uses one descriptor for its mailbox and one for its connection.
const DESCRIPTORS_PER_MANAGER: u64 = 2;
const DESCRIPTORS_EXTRA: u64 = 64;

fn main() {
    let words: Vec<OsString> = std::env::args_os().collect();
    let is_help = |word: &OsString| word == "--help" || word == "-h";
    if !words
        .iter()
        .any(|word| word == "--scenario" || is_help(word))
    {
        // `cargo test` and `cargo bench` start the program without `--scenario`.
        self_test::run();
        eprintln!("load: its self-test passed; see --help for measurements");
        return;
    }
    let arguments = Arguments::parse_from(words);
    if let Err(wrong) = arguments.check() {
        eprintln!("load: {wrong}");
        exit(WRONG_USAGE);
    }
    match prepare(&arguments).and_then(|()| scenarios::run(&arguments)) {
        Ok(report) => {
            let _ = writeln!(std::io::stdout(), "{}", report.to_json());
        }
        Err(trouble) => {
            eprintln!("load: {trouble}");
            exit(match trouble {
                Trouble::Violation(_) => VIOLATION,
                Trouble::Failure(_) => FAILURE,
            });
        }
    }
    // The managers' thread and their sockets need not be closed.
    exit(0);
}

/// Sets limits and the processor. This must run before the first thread and the interchange start,
/// because both inherit the settings.
fn prepare(arguments: &Arguments) -> Outcome<()> {
    if arguments.heartbeat_period() >= arguments.heartbeat_threshold() {
        return failure(
            "--heartbeat-s must be shorter than the heartbeat threshold, or all managers are lost",
        );
    }
    let needed = arguments.managers as u64 * DESCRIPTORS_PER_MANAGER + DESCRIPTORS_EXTRA;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if setrlimit(Resource::RLIMIT_NOFILE, hard.max(needed), hard.max(needed)).is_err() {
        return failure(format!(
            "{needed} descriptors are needed, but the limit is {hard} (ulimit -Hn)"
        ));
    }
    if let Some(processor) = arguments.pin {
        let mut set = CpuSet::new();
        set.set(processor)?;
        sched_setaffinity(Pid::from_raw(0), &set)?;
    }
    Ok(())
}
