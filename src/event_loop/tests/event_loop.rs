//! The loop on real sockets, driven from within: what cannot be provoked in the finished program.

#![expect(clippy::unwrap_used, reason = "a test, and its helpers, fail by it")]

use std::net::IpAddr;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use broker::{Candidate, Patience, Placement, Selector, Settings, Slot, Versions};
use event_loop::{
    Ancestry, End, EventLoop, OnFailure, Signals, Start, Telemetry, WatchTarget, WatchedProcess,
};
use pickle::{Encoder, Tree};
use protocol::VersionCheck;
use status::document::About;
use submit_side::address::Address;
use submit_side::config::{Config, Logging, LoggingKind, PortChoice, SelectorChoice, SubmitSide};
use zmq::{Context, Socket};

const WITHIN_MS: i64 = 5_000;

/// A policy with a fault, which no peer can bring about in a program without one.
struct FakeFaultySelector;

impl Selector for FakeFaultySelector {
    fn offer(&mut self, _: Candidate<'_>) {}
    fn withdraw(&mut self, _: Slot) {}
    fn best(&mut self) -> Option<Slot> {
        panic!("the selector has a fault");
    }
    fn best_of(&mut self, _: &mut dyn FnMut(Slot) -> bool) -> Option<(Slot, usize)> {
        panic!("the selector has a fault");
    }
    fn is_empty(&self) -> bool {
        false
    }
    fn another(&self) -> Box<dyn Selector> {
        Box::new(Self)
    }
}

#[test]
fn a_panic_fails_every_future_with_its_reason() {
    let context = Context::new();
    let [tasks, results, commands] =
        [zmq::DEALER, zmq::DEALER, zmq::REQ].map(|kind| listen(&context, kind));
    let side = SubmitSide {
        address: Address::from(IpAddr::from([127, 0, 0, 1])),
        task_port: port_of(&tasks),
        result_port: port_of(&results),
        command_port: port_of(&commands),
        cert_dir: None,
    };
    let interchange = thread::spawn(move || serve(side));

    commands
        .send(
            pickled(|out| {
                out.str("WORKER_BINDS");
            }),
            0,
        )
        .unwrap();
    let reply = receive(&commands);
    let port = Tree::read(&reply).unwrap().root().as_i64().unwrap();
    assert!(port > 0);
    tasks.send(a_task(), 0).unwrap();

    let message = receive(&results);
    let tree = Tree::read(&message).unwrap();
    let field = |key: &str| tree.root().get(key).unwrap();
    assert_eq!(field("type").as_str(), Some("result"));
    assert_eq!(field("task_id").as_i64(), Some(-1));
    let exception = field("exception").as_bytes().unwrap();
    let body = exception
        .strip_prefix(b"02\n")
        .expect("the header that every release reads");
    let exception = Tree::read(body).unwrap();
    let exception = exception.root().instance().unwrap();
    assert_eq!(
        exception.callable.class_name(),
        Some(("builtins", "RuntimeError"))
    );
    let text = exception.arguments.items().unwrap().next().unwrap();
    assert!(text.as_str().unwrap().contains("the selector has a fault"));
    assert_eq!(interchange.join().unwrap(), End::Broken);
}

fn serve(submit_side: SubmitSide) -> End {
    let config = Config {
        submit_side,
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
    let event_loop = EventLoop::open(Start {
        max_queued_bytes: None,
        config: &config,
        certificates: None,
        io_threads: 2,
        signals: Signals::open().unwrap(),
        kept: None,
        watched: WatchedProcess::of(WatchTarget::Nobody, &Ancestry::read(), &config.submit_side),
        selector: Box::new(FakeFaultySelector),
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

fn receive(socket: &Socket) -> Vec<u8> {
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
