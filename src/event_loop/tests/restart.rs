//! A panic of a loop that another broker can go on from: nobody is told of a loss, and the next one
//! serves the same port. The processes fork, so that this is a program of one thread without
//! libtest's own.

#![expect(clippy::unwrap_used, reason = "a test, and its helpers, fail by it")]

mod common;

use std::env;
use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};

use event_loop::End;
use journal::Memory;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use zmq::Context;

use common::{FakeExecutor, serve};

/// Names the executor's ports, for the process that HTEX would start.
const PORTS: &str = "HTEX_TEST_PORTS";
const WITHIN: Duration = Duration::from_secs(10);
const FAULT: u8 = 70;

fn main() -> ExitCode {
    match env::var(PORTS) {
        Ok(ports) => interchange(&ports),
        Err(_) => {
            a_panic_is_gone_on_from();
            ExitCode::SUCCESS
        }
    }
}

fn interchange(ports: &str) -> ExitCode {
    let ports: Vec<u16> = ports.split(',').map(|port| port.parse().unwrap()).collect();
    let memory = Memory::create().unwrap();
    let kept = keeper::keep(|loss, _| panic!("a loss: {loss:?}"), |_| {}).unwrap();
    let end = serve(ports.try_into().unwrap(), Some(kept), Some(memory));
    match end {
        End::Terminated => ExitCode::SUCCESS,
        End::GoneOnFrom => ExitCode::from(FAULT),
        End::SubmitSideGone | End::VersionMismatch | End::Broken | End::KeeperGone => {
            ExitCode::FAILURE
        }
    }
}

fn a_panic_is_gone_on_from() {
    let executor = FakeExecutor::new(&Context::new());
    let ports = executor.ports().map(|port| port.to_string()).join(",");
    let started = Command::new(env::current_exe().unwrap())
        .env(PORTS, ports)
        .spawn();
    let mut interchange = Ended(started.unwrap());
    let port = executor.ask_for_worker_port();
    let keeper = interchange.0.id();
    let broker = broker_of(keeper);
    executor.submit();
    // A question that went with the broker would have no answer.
    wait_until("another broker", || {
        broker_of(keeper) != broker && broker_of(keeper).is_some()
    });
    assert_eq!(executor.ask_for_worker_port(), port);
    let told = executor.results.recv_bytes(0).unwrap();
    let notice = b"htex-interchange-restart";
    assert!(told.windows(notice.len()).any(|at| at == notice));
    assert_eq!(executor.results.poll(zmq::POLLIN, 0), Ok(0), "of no loss");
    interchange.terminate();
    assert_eq!(interchange.0.wait().unwrap().code(), Some(0));
}

/// Whatever becomes of the test.
struct Ended(Child);

impl Ended {
    fn terminate(&self) {
        let _ = kill(Pid::from_raw(self.0.id() as i32), Signal::SIGTERM);
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            self.terminate();
            let _ = self.0.wait();
        }
    }
}

fn broker_of(keeper: u32) -> Option<String> {
    let children = std::fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children"));
    children.ok()?.split_whitespace().next().map(str::to_owned)
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + WITHIN;
    while !condition() {
        assert!(Instant::now() < end, "still not: {what}");
        std::thread::yield_now();
    }
}
