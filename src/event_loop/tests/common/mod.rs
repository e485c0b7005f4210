//! An event loop on real sockets; the test acts as the executor.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use broker::{Candidate, Patience, Placement, Selector, Settings, Slot, Versions};
use event_loop::{
    Ancestry, End, EventLoop, OnFailure, Signals, Start, Telemetry, WatchTarget, WatchedProcess,
};
use keeper::Kept;
use pickle::{Encoder, Tree};
use protocol::VersionCheck;
use status::document::About;
use submit_side::address::Address;
use submit_side::config::{Config, Logging, LoggingKind, PortChoice, SelectorChoice, SubmitSide};
use zmq::{Context, Socket};

const WITHIN_MS: i64 = 5_000;

/// A selector that panics, since no peer can make the program panic otherwise. In a broker that
/// continues after another one, it does not panic.
struct FakeFaultySelector {
    has_fault: bool,
}

impl FakeFaultySelector {
    fn fail(&self) {
        assert!(!self.has_fault, "the selector has a fault");
    }
}

impl Selector for FakeFaultySelector {
    fn offer(&mut self, _: Candidate<'_>) {}
    fn withdraw(&mut self, _: Slot) {}
    fn best(&mut self) -> Option<Slot> {
        self.fail();
        None
    }
    fn best_of(&mut self, _: &mut dyn FnMut(Slot) -> bool) -> Option<(Slot, usize)> {
        self.fail();
        None
    }
    fn is_empty(&self) -> bool {
        !self.has_fault
    }
    fn another(&self) -> Box<dyn Selector> {
        Box::new(Self {
            has_fault: self.has_fault,
        })
    }
}

/// The executor's sockets for tasks, results and commands.
pub(crate) struct FakeExecutor {
    pub(crate) tasks: Socket,
    pub(crate) results: Socket,
    pub(crate) commands: Socket,
}

impl FakeExecutor {
    pub(crate) fn new(context: &Context) -> Self {
        let [tasks, results, commands] =
            [zmq::DEALER, zmq::DEALER, zmq::REQ].map(|kind| listen(context, kind));
        Self {
            tasks,
            results,
            commands,
        }
    }

    pub(crate) fn ports(&self) -> [u16; 3] {
        [&self.tasks, &self.results, &self.commands].map(port_of)
    }

    /// Sends the command for the worker port, and returns the loop's answer.
    pub(crate) fn ask_for_worker_port(&self) -> i64 {
        let command = pickled(|out| {
            out.str("WORKER_BINDS");
        });
        self.commands.send(command, 0).unwrap();
        let reply = receive(&self.commands);
        Tree::read(&reply).unwrap().root().as_i64().unwrap()
    }

    pub(crate) fn submit(&self) {
        self.tasks.send(a_task(), 0).unwrap();
    }
}

/// Runs the loop to its end.
pub(crate) fn serve(
    [task_port, result_port, command_port]: [u16; 3],
    kept: Option<Kept>,
    memory: Option<journal::Memory>,
) -> End {
    let config = Config {
        submit_side: SubmitSide {
            address: Address::from(IpAddr::from([127, 0, 0, 1])),
            task_port,
            result_port,
            command_port,
            cert_dir: None,
        },
        interchange_address: Some(Address::from(IpAddr::from([127, 0, 0, 1]))),
        worker_port: PortChoice::Range {
            first: 49_152,
            end: 65_536,
        },
        hub: None,
        logging: Logging {
            logdir: PathBuf::new(),
            kind: LoggingKind::Noop,
        },
        heartbeat_threshold: Duration::from_secs(60),
        selector: SelectorChoice::Random,
        run_id: None,
        version_check: VersionCheck::Off,
        unknown_keys: Vec::new(),
    };
    let began = Instant::now();
    let follows_one = kept.as_ref().is_some_and(|kept| kept.restart().is_some());
    let selector = Box::new(FakeFaultySelector {
        has_fault: !follows_one,
    });
    let event_loop = EventLoop::open(Start {
        max_queued_bytes: None,
        config: &config,
        certificates: None,
        io_threads: 2,
        signals: Signals::open().unwrap(),
        kept,
        began,
        memory,
        watched: WatchedProcess::of(WatchTarget::Nobody, &Ancestry::read(), &config.submit_side),
        selector,
        helper: None,
        settings: Settings {
            heartbeat_threshold: config.heartbeat_threshold,
            disconnect_grace: None,
            reconnect_patience: Patience::Measured,
            version_check: VersionCheck::Off,
            monitoring: false,
            happenings: false,
            worker_port: 0,
            placement: Placement::default(),
        },
        find_versions: Box::new(Versions::default),
        awaits_observations: Box::new(|| false),
        telemetry: telemetry(),
    });
    event_loop.unwrap().run()
}

fn telemetry() -> Telemetry {
    Telemetry {
        about: About {
            version: String::new(),
            pid: 0,
            host: String::new(),
            logdir: String::new(),
            logdir_bytes: None,
            log: None,
            started_at_s: 0.0,
            uptime_s: 0.0,
            python: None,
            parsl: None,
            parsl_newest_tested: None,
            encrypted: false,
            selector: String::new(),
            heartbeat_threshold_s: 0.0,
            run_id: None,
            submit_side: String::new(),
            submit_pid: None,
            submit_state: None,
        },
        log_lines_dropped: Box::new(|| 0),
        log_moved_to: Box::new(|| None),
        metrics_at: None,
        metrics_port_file: None,
        events: None,
        event_file: Box::new(|| None),
        on_failure: OnFailure::GoOn,
    }
}

fn listen(context: &Context, kind: zmq::SocketType) -> Socket {
    let socket = context.socket(kind).unwrap();
    socket.set_linger(0).unwrap();
    socket.bind("tcp://127.0.0.1:*").unwrap();
    socket
}

fn port_of(socket: &Socket) -> u16 {
    let endpoint = socket.get_last_endpoint().unwrap().unwrap();
    endpoint.rsplit(':').next().unwrap().parse().unwrap()
}

pub(crate) fn receive(socket: &Socket) -> Vec<u8> {
    assert_eq!(
        socket.poll(zmq::POLLIN, WITHIN_MS),
        Ok(1),
        "nothing came in time"
    );
    socket.recv_bytes(0).unwrap()
}

fn pickled(write: impl FnOnce(&mut Encoder)) -> Vec<u8> {
    let mut out = Encoder::new();
    write(&mut out);
    out.finish()
}

fn a_task() -> Vec<u8> {
    pickled(|out| {
        out.begin_dict();
        out.str("task_id").int(1);
        out.str("context").begin_dict().end_dict();
        out.str("buffer").bytes(b"nothing");
        out.end_dict();
    })
}
