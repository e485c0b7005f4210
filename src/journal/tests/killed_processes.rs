//! Writers that are real processes, which are killed by signals and stopped by limits.

use std::collections::BTreeMap;
use std::io::{Read, Write, pipe};
use std::sync::OnceLock;

use journal::{Journal, Memory, Record};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

const KILLS: u64 = 50;
/// Largest number of steps before a kill.
const STEPS_MAX: u64 = 400;
const RECORDS_MAX: usize = 150;

/// The expected records by the step that wrote them, which is a record's first field.
type Model = BTreeMap<u64, ([u64; 4], Vec<u8>)>;

/// Each writer continues where the one before was killed.
#[test]
fn all_reported_steps_of_a_killed_process_are_found() {
    let memory = Memory::create().expect("the kernel has such files");
    let mut step = 0;
    let mut model = Model::new();
    for seed in 0..KILLS {
        let (told, ended) = killed_writer(&memory, step, mixed(seed) % STEPS_MAX, seed);
        assert_eq!(ended, Some(Signal::SIGKILL));
        for done in step..step + told {
            tell(done, &mut model);
        }
        step += told;
        let left = memory.copied().expect("readable");
        let (_journal, found) = Journal::open(&left).expect("opened");
        let found: Model = found.iter().map(said).collect();
        if found != model {
            // The writer was killed between its last step and the report of this step.
            tell(step, &mut model);
            step += 1;
            assert!(found == model, "killed at {step}, seed {seed}");
        }
    }
    assert!(step > KILLS * STEPS_MAX / 4, "{step} steps are many");
}

/// Without the check of the limit, the kernel's signal would end the process.
#[test]
fn a_limit_for_files_is_an_error() {
    let memory = Memory::create().expect("the kernel has such files");
    let child = forked(|| {
        let (_, most) = getrlimit(Resource::RLIMIT_FSIZE).expect("told");
        setrlimit(Resource::RLIMIT_FSIZE, 1 << 20, most).expect("lowered");
        let (journal, _) = Journal::open(&memory).expect("opened");
        let write = |_: &i32| journal.write(0, [0; 4], &[&[0; 9000]]).ok();
        let written: Vec<Record> = (0..1000).map_while(|index| write(&index)).collect();
        written.len() > 90 && written.len() < 200 && Memory::create().is_ok()
    });
    assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
}

/// Runs a writer and kills it. Returns how many steps it has reported, and the signal that ended
/// it.
fn killed_writer(memory: &Memory, first: u64, told_min: u64, seed: u64) -> (u64, Option<Signal>) {
    let (mut reader, mut writer) = pipe().expect("made");
    let child = forked(|| {
        let (journal, found) = Journal::open(memory).expect("opened");
        let mut records: BTreeMap<u64, Record> = found
            .into_iter()
            .map(|record| (record.field(0), record))
            .collect();
        for step in first.. {
            run(step, &journal, &mut records);
            writer.write_all(&[1]).expect("the parent reads");
        }
        false
    });
    drop(writer);
    let mut told = 0;
    let mut some = [0; 256];
    while told < told_min {
        told += reader.read(&mut some).expect("readable") as u64;
    }
    // The kill happens at some moment within a step.
    (0..mixed(!seed) % 20_000).for_each(|turn| {
        std::hint::black_box(turn);
    });
    kill(child, Signal::SIGKILL).expect("it is ours");
    loop {
        match reader.read(&mut some).expect("readable") {
            0 => break,
            more => told += more as u64,
        }
    }
    match waitpid(child, None) {
        Ok(WaitStatus::Signaled(_, signal, _)) => (told, Some(signal)),
        _ => (told, None),
    }
}

/// Runs `run` in a child process, which exits with 0 if `run` returns true.
fn forked(run: impl FnOnce() -> bool) -> Pid {
    // SAFETY: of all locks that other threads may hold, the child needs only the allocator's, which
    // the C library keeps consistent across a fork.
    match unsafe { fork() }.expect("forked") {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            let run = std::panic::AssertUnwindSafe(run);
            let is_well = std::panic::catch_unwind(run).unwrap_or(false);
            // SAFETY: `_exit` ends the process and runs no code of the parent's.
            unsafe { nix::libc::_exit(i32::from(!is_well)) }
        }
    }
}

enum Step {
    Write(usize),
    Drop(usize),
    Set(usize),
}

/// Returns the action of a step, given the number of existing records.
fn planned(step: u64, records: usize) -> Step {
    let chance = mixed(step);
    let whom = (chance >> 32) as usize % records.max(1);
    match chance % 8 {
        0..=3 if records < RECORDS_MAX => Step::Write(match chance >> 8 & 7 {
            0 => 200_000 + (chance >> 16) as usize % 400_000,
            1 => 8_000 + (chance >> 16) as usize % 120_000,
            _ => (chance >> 16) as usize % 2_000,
        }),
        4 => Step::Set(whom),
        _ => Step::Drop(whom),
    }
}

fn run(step: u64, journal: &Journal, records: &mut BTreeMap<u64, Record>) {
    match planned(step, records.len()) {
        Step::Write(length) => {
            let bytes = bytes_of(step, length);
            let written = journal.write(7, fields_of(step), &[&bytes]);
            records.insert(step, written.expect("there is memory"));
        }
        Step::Drop(whom) => {
            let key = records.keys().nth(whom).copied();
            key.and_then(|key| records.remove(&key));
        }
        Step::Set(whom) => {
            if let Some(record) = records.values().nth(whom) {
                record.set_field(2, step);
            }
        }
    }
}

fn tell(step: u64, model: &mut Model) {
    match planned(step, model.len()) {
        Step::Write(length) => {
            model.insert(step, (fields_of(step), bytes_of(step, length)));
        }
        Step::Drop(whom) => {
            let key = model.keys().nth(whom).copied();
            key.and_then(|key| model.remove(&key));
        }
        Step::Set(whom) => {
            if let Some((fields, _)) = model.values_mut().nth(whom) {
                fields[2] = step;
            }
        }
    }
}

fn said(record: &Record) -> (u64, ([u64; 4], Vec<u8>)) {
    assert_eq!(record.kind(), 7);
    let fields = [0, 1, 2, 3].map(|index| record.field(index));
    (fields[0], (fields, record.bytes().to_vec()))
}

fn fields_of(step: u64) -> [u64; 4] {
    [step, !step, 0, mixed(step)]
}

fn bytes_of(step: u64, length: usize) -> Vec<u8> {
    static WORDS: OnceLock<Vec<u8>> = OnceLock::new();
    let words = WORDS.get_or_init(|| (0..80_000).flat_map(|at| mixed(at).to_le_bytes()).collect());
    words[step as usize % 32_000..][..length].to_vec()
}

/// The generator splitmix64.
fn mixed(value: u64) -> u64 {
    let mut mixed = value.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}
