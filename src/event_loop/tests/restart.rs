//! A panic of a loop after which another broker can continue: no loss is reported, and the next
//! broker serves the same port. The processes fork, so this test is a single-threaded program
//! without libtest.

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

/// The environment variable with the executor's ports, for the process that HTEX would start.
const PORTS: &str = "HTEX_TEST_PORTS";
const WITHIN: Duration = Duration::from_secs(10);
const FAULT: u8 = 70;

fn main() -> ExitCode {
    match env::var(PORTS) {
        Ok(ports) => interchange(&ports),
        Err(_) => {
            another_broker_continues_after_a_panic();
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

fn another_broker_continues_after_a_panic() {
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
    // A command sent before the restart could get lost with the first broker and remain unanswered.
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

/// A child process that is terminated when the test ends, even if the test fails.
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
