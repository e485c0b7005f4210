//! Runs one step so that an instrument can count its instructions.
//!
//! ```text
//! valgrind --tool=callgrind --toggle-collect='*steps::measured*' counted STEP [RUNS]
//! ```
//!
//! prints how many operations the count is for. `counted --message NAME` writes the bytes of a
//! message that steps use. Without arguments the program lists the steps.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for the terminal"
)]

mod steps;

use std::io::{self, Write};
use std::process::ExitCode;

use steps::messages::MESSAGES;
use steps::{STEPS, measured};

/// Default number of operations: random effects (the seeds of hash tables) average out, and a run
/// takes a second or two under callgrind.
const OPERATIONS: u64 = 4_096;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        [] => list(),
        ["--message", name] => show(name),
        [name] => count(name, None),
        [name, runs] => match runs.parse() {
            Ok(runs) => count(name, Some(runs)),
            Err(_) => None,
        },
        _ => None,
    };
    match done {
        Some(()) => ExitCode::SUCCESS,
        None => {
            eprintln!("usage: counted [STEP [RUNS] | --message NAME]");
            ExitCode::from(2)
        }
    }
}

fn list() -> Option<()> {
    for step in &STEPS {
        println!("{}", step.name);
    }
    Some(())
}

fn show(name: &str) -> Option<()> {
    let (_, message) = MESSAGES.iter().find(|(known, _)| *known == name)?;
    io::stdout().write_all(&message()).ok()
}

fn count(name: &str, runs: Option<u64>) -> Option<()> {
    let step = STEPS.iter().find(|step| step.name == name)?;
    let runs = runs.unwrap_or(OPERATIONS / step.operations);
    let mut work = (step.set_up)();
    for _ in 0..runs {
        work.prepare();
        measured(&mut *work);
    }
    println!("{}", runs * step.operations);
    Some(())
}
