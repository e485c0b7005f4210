//! Monitoring records, as the hub reads them.

use std::rc::Rc;

use protocol::{FromManager, NodeInfo, Opaque, Registration, Report, TaskId};

use super::python;

/// A registration as a manager of 2026.10.26 sends it.
const REGISTRATION: &str = "{'type': 'registration', 'parsl_v': '2026.10.26', \
    'python_v': '3.11.7', 'packages': {'parsl': '2026.10.26'}, 'worker_count': 4, 'uid': 'abc', \
    'block_id': '0', 'start_time': 1790000000.5, 'drain_time': float('inf'), \
    'prefetch_capacity': 2, 'max_capacity': 6, 'os': 'Linux', 'hostname': 'node1', 'dir': '/x', \
    'cpu_count': None, 'total_memory': 2**40}";

fn registration(protocol: u8, text: &str) -> Rc<Registration<Opaque<Vec<u8>>>> {
    let frame = python::pickle(protocol, text);
    let message = FromManager::parse(frame).expect("a message");
    let FromManager::Registration(registration) = message else {
        panic!("{message:?}");
    };
    Rc::from(registration)
}

fn report(registration: Rc<Registration<Opaque<Vec<u8>>>>, tasks: &[i64]) -> Vec<u8> {
    let info = NodeInfo {
        registration,
        tasks: tasks.iter().copied().map(TaskId).collect(),
        active: false,
        draining: true,
        last_heartbeat_s: 1_790_000_001.25,
        idle_since_s: tasks.is_empty().then_some(1_790_000_000.75),
        timestamp_s: 1_790_000_002.5,
    };
    Report::NodeInfo(Box::new(info)).encode(Some("run-7"))
}

#[test]
fn a_node_is_reported_with_the_content_of_stocks_record() {
    for protocol in 0..=5 {
        let report = report(registration(protocol, REGISTRATION), &[1, 300, 70_000]);
        for (seen, expected) in [
            ("type(x), len(x)", "(<class 'tuple'>, 2)"),
            (
                "x[0] is parsl.monitoring.message_type.MessageType.NODE_INFO",
                "True",
            ),
            ("type(x[1])", "<class 'dict'>"),
            // Keys that the monitoring database requires.
            (
                "[x[1][k] for k in ('run_id', 'hostname', 'uid', 'block_id', 'cpu_count', \
                  'total_memory', 'active', 'worker_count', 'python_v')]",
                "['run-7', 'node1', 'abc', '0', None, 1099511627776, False, 4, '3.11.7']",
            ),
            (
                "[(type(x[1][k]).__name__, x[1][k].tzinfo) \
                  for k in ('timestamp', 'last_heartbeat')]",
                "[('datetime', None), ('datetime', None)]",
            ),
            (
                "x[1]['timestamp'] == datetime.datetime.fromtimestamp(1790000002.5)",
                "True",
            ),
            (
                "x[1]['last_heartbeat'] == datetime.datetime.fromtimestamp(1790000001.25)",
                "True",
            ),
            ("x[1]['tasks']", "[1, 300, 70000]"),
            ("x[1]['idle_since'], x[1]['draining']", "(None, True)"),
            (
                "x[1]['start_time'], x[1]['drain_time']",
                "(1790000000.5, inf)",
            ),
            (
                "x[1]['parsl_version'], x[1]['python_version']",
                "('2026.10.26', '3.11.7')",
            ),
            (
                "x[1]['packages'], x[1]['max_capacity']",
                "({'parsl': '2026.10.26'}, 6)",
            ),
        ] {
            assert_eq!(
                python::load(&report, seen),
                expected,
                "protocol {protocol}: {seen}"
            );
        }
    }
}

/// The expected keys are those of `ManagerRecord(...)`, of the registration, and those that
/// `_send_monitoring_info` adds.
#[test]
fn a_node_has_stocks_keys_and_no_others() {
    let report = report(registration(4, REGISTRATION), &[]);
    let stock = "{'block_id', 'start_time', 'tasks', 'worker_count', 'max_capacity', 'active', \
        'draining', 'drain_time', 'last_heartbeat', 'idle_since', 'parsl_version', \
        'python_version'} | {'type', 'parsl_v', 'python_v', 'packages', 'worker_count', 'uid', \
        'block_id', 'start_time', 'drain_time', 'prefetch_capacity', 'max_capacity', 'os', \
        'hostname', 'dir', 'cpu_count', 'total_memory'} | \
        {'timestamp', 'last_heartbeat', 'run_id'}";
    assert_eq!(
        python::load(&report, &format!("set(x[1]) ^ ({stock})")),
        "set()"
    );
    assert_eq!(
        python::load(&report, "x[1]['tasks'], x[1]['idle_since']"),
        "([], 1790000000.75)"
    );
}

#[test]
fn values_missing_in_older_registrations_get_defaults() {
    let text = "{'type': 'registration', 'parsl_v': '2025.06.30', 'python_v': '3.9.1', \
        'block_id': 0, 'uid': 'u', 'odd': (1, {2}, None)}";
    let report = report(registration(4, text), &[]);
    let seen = "[x[1][k] for k in ('block_id', 'drain_time', 'start_time', 'worker_count', \
        'max_capacity', 'odd')]";
    assert_eq!(
        python::load(&report, seen),
        "[0, inf, 0.0, 0, 0, (1, {2}, None)]"
    );
}

#[test]
fn a_run_without_a_dataflow_kernel_has_no_name() {
    let info = NodeInfo {
        registration: registration(4, REGISTRATION),
        tasks: Vec::new(),
        active: true,
        draining: false,
        last_heartbeat_s: 0.0,
        idle_since_s: None,
        timestamp_s: 0.0,
    };
    let report = Report::NodeInfo(Box::new(info)).encode(None);
    assert_eq!(
        python::load(&report, "x[1]['run_id'], x[1]['active']"),
        "(None, True)"
    );
}

/// A registration of more than 8 KiB stays in the buffer in which it arrived.
#[test]
fn a_large_registration() {
    let text = REGISTRATION.replace(
        "{'parsl': '2026.10.26'}",
        "{str(i): 'v' for i in range(2000)}",
    );
    for protocol in [2, 4, 5] {
        let report = report(registration(protocol, &text), &[5]);
        let seen = "len(x[1]['packages']), x[1]['tasks'], x[1]['run_id']";
        assert_eq!(python::load(&report, seen), "(2000, [5], 'run-7')");
    }
}

#[test]
fn records_of_managers_are_passed_on_unchanged() {
    let payloads = [
        "(parsl.monitoring.message_type.MessageType.RESOURCE_INFO, {'a': 1, 'when': \
          datetime.datetime(2026, 1, 2)})",
        "(1, 2, 3)",
        "None",
        "(lambda l: [l.append(l), l][1])([])",
        "b'x' * 100000",
    ];
    for protocol in 0..=5 {
        for payload in payloads {
            let text = format!("{{'type': 'monitoring', 'payload': {payload}}}");
            let frame = python::pickle(protocol, &text);
            let marker = python::pickle(protocol, "{'type': 'result'}");
            let mut behind_marker = FromManager::parse_marked(vec![marker, frame.clone()]);
            for message in [behind_marker.remove(0), FromManager::parse(frame)] {
                let Ok(FromManager::Monitoring { message }) = message else {
                    panic!("{payload}");
                };
                let report = Report::Relayed(message).encode(Some("run-7"));
                let expected = python::load(&python::pickle(protocol, payload), "repr(x)");
                assert_eq!(python::load(&report, "repr(x)"), expected);
            }
        }
    }
}
