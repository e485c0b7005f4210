//! `floor`: the minimum that a program on libzmq needs in place of the interchange. The
//! interchange's own cost is what it needs beyond this.
//!
//! The program reads the same configuration and serves the same sockets with the same options. It
//! strips a task of PROTO, FRAME and STOP, and puts it into one list with the other tasks for the
//! same manager in the same turn. It forwards results unchanged. It keeps a queue in order of
//! arrival and the number of free slots of each manager, and nothing else: no liveness, no checks,
//! no log, no priorities. It uses one thread and libzmq's one I/O thread, and ends by SIGTERM.
//!
//! `--fault KIND` makes it do one thing wrong, once, to check that `load` detects it.

#![expect(clippy::print_stderr, reason = "a program for the terminal")]

mod commands;
mod fault;
mod managers;
mod pass;
mod sockets;

use std::io;
use std::process::exit;

use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use submit_side::config::{RawConfig, read_pickle};
use submit_side::curve::Certificates;

use fault::{Fault, Faults};
use pass::PassThrough;
use sockets::Sockets;

/// A pass-through on libzmq that does the least work possible for Parsl's managers.
#[derive(Parser)]
#[command(name = "floor")]
struct Arguments {
    /// The fault to make, once: a test of the load program's checks.
    #[arg(long)]
    fault: Option<Fault>,
    /// Ignored: cargo passes this flag when it runs benches.
    #[arg(long, hide = true)]
    bench: bool,
}

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() {
    let arguments = Arguments::parse();
    if arguments.bench {
        return;
    }
    if let Err(error) = run(arguments.fault) {
        eprintln!("floor: {error}");
        exit(1);
    }
}

fn run(fault: Option<Fault>) -> Outcome<()> {
    let bytes = read_pickle(io::stdin().lock())?;
    let config = RawConfig::read(&bytes)?.check()?;
    let directory = config.submit_side.cert_dir.as_deref();
    let certificates = directory.map(Certificates::load).transpose()?;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let sockets = Sockets::open(&config, certificates.as_ref())?;
    PassThrough::new(sockets, Faults::new(fault)).run()
}
