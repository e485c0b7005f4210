//! Messages of managers in every supported dialect, and bytes that are not messages.

use protocol::{BlockId, FromManager, Malformed, Opaque, Registration, TaskId};

use super::python;

type Message = FromManager<Opaque<Vec<u8>>>;

/// Returns a registration of 2026.10.26 with one key changed, added or (`...`) left out.
fn registration_with(key: &str, value: &str) -> String {
    let mut fields = vec![
        ("type", "'registration'"),
        ("parsl_v", "'2026.10.26'"),
        ("python_v", "'3.11.7'"),
        ("packages", "{'parsl': '2026.10.26', None: '1'}"),
        ("worker_count", "4"),
        ("uid", "'abc'"),
        ("block_id", "'0'"),
        ("start_time", "1790000000.5"),
        ("drain_time", "1790000060.25"),
        ("prefetch_capacity", "2"),
        ("max_capacity", "6"),
        ("os", "'Linux'"),
        ("hostname", "'node1'"),
        ("dir", "'/x'"),
        ("cpu_count", "None"),
        ("total_memory", "2**40"),
    ];
    fields.retain(|(known, _)| *known != key);
    if value != "..." && !key.is_empty() {
        fields.push((key, value));
    }
    let texts = fields
        .iter()
        .map(|(key, value)| format!("'{key}': {value}"));
    format!("{{{}}}", texts.collect::<Vec<_>>().join(", "))
}

fn registration(key: &str, value: &str) -> Registration<Opaque<Vec<u8>>> {
    let message = one(4, &registration_with(key, value));
    let FromManager::Registration(registration) = message else {
        panic!("{message:?}");
    };
    *registration
}

fn one(protocol: u8, expression: &str) -> Message {
    let frame = python::pickle(protocol, expression);
    FromManager::parse(frame).unwrap_or_else(|error| panic!("{expression}: {error}"))
}

/// Parses frames as the worker port delivers them: one frame, or a marker and the items after it.
fn messages_of(mut frames: Vec<Vec<u8>>) -> Vec<Result<Message, Malformed>> {
    match frames.len() {
        1 => vec![FromManager::parse(frames.remove(0))],
        _ => FromManager::parse_marked(frames),
    }
}

fn refusal(frames: &[&str]) -> String {
    let frames = frames.iter().map(|text| python::pickle(4, text)).collect();
    match &messages_of(frames)[..] {
        [Err(error)] => error.to_string(),
        messages => panic!("{messages:?}"),
    }
}

#[test]
fn plain_messages_in_every_protocol() {
    for protocol in 0..=5 {
        for (text, kind) in [
            ("{'type': 'heartbeat'}", "heartbeat"),
            ("{'type': 'drain'}", "drain"),
            ("{'type': 'connection_probe'}", "connection_probe"),
            ("{'type': 'heartbeat', 'more': [1, {2}]}", "heartbeat"),
            ("{'type': 'monitoring', 'payload': (1, {})}", "monitoring"),
            ("{'type': 'monitoring', 'payload': None}", "monitoring"),
        ] {
            assert_eq!(one(protocol, text).kind(), kind);
        }
        let text = registration_with("", "");
        assert_eq!(one(protocol, &text).kind(), "registration");
    }
}

#[test]
fn a_registration_of_today() {
    for protocol in 0..=5 {
        let FromManager::Registration(known) = one(protocol, &registration_with("", "")) else {
            panic!("a registration");
        };
        assert_eq!(known.block, BlockId::Text("0".into()));
        assert_eq!((known.max_capacity, known.worker_count), (6, 4));
        assert_eq!(known.hostname, "node1");
        assert_eq!(known.parsl_version, "2026.10.26");
        assert_eq!(
            (known.python_version.as_str(), known.python_minor()),
            ("3.11.7", "3.11")
        );
        assert_eq!(
            (known.start_time_s, known.drain_time_s),
            (1_790_000_000.5, 1_790_000_060.25)
        );
        assert!(known.has_packages);
    }
}

#[test]
fn registrations_of_older_releases_lack_keys() {
    assert_eq!(
        registration("drain_time", "...").drain_time_s,
        f64::INFINITY
    );
    assert_eq!(registration("start_time", "...").start_time_s, 0.0);
    assert!(!registration("packages", "...").has_packages);
    assert_eq!(registration("worker_count", "...").worker_count, 0);
    assert_eq!(registration("hostname", "...").hostname, "unknown");
    assert_eq!(registration("uid", "...").max_capacity, 6);
}

#[test]
fn odd_but_lawful_values() {
    assert_eq!(registration("block_id", "0").block, BlockId::Number(0));
    assert_eq!(registration("block_id", "-7").block, BlockId::Number(-7));
    assert_eq!(
        registration("block_id", "''").block,
        BlockId::Text("".into())
    );
    for (value, expected) in [
        ("float('inf')", f64::INFINITY),
        ("float('-inf')", f64::NEG_INFINITY),
        ("0", 0.0),
        ("-1", -1.0),
        ("1e300", 1e300),
        // NaN is not a time. In Parsl such a drain time is never reached.
        ("float('nan')", f64::INFINITY),
        ("None", f64::INFINITY),
        ("'soon'", f64::INFINITY),
    ] {
        assert_eq!(
            registration("drain_time", value).drain_time_s,
            expected,
            "{value}"
        );
    }
    for (value, expected) in [("0", 0), ("-5", 0), ("1", 1), ("2**40", 1 << 24)] {
        assert_eq!(
            registration("max_capacity", value).max_capacity,
            expected,
            "{value}"
        );
    }
    assert_eq!(
        registration("worker_count", "-2**63").worker_count,
        i64::MIN
    );
    assert_eq!(registration("worker_count", "'many'").worker_count, 0);
    assert_eq!(registration("hostname", "7").hostname, "unknown");
    assert_eq!(registration("hostname", "'nöde'").hostname, "nöde");
    assert!(registration("packages", "None").has_packages);
    for (python, minor) in [
        ("3.13.0", "3.13"),
        ("3.14.0rc1", "3.14"),
        ("3", "3"),
        ("", ""),
    ] {
        let known = registration("python_v", &format!("'{python}'"));
        assert_eq!(known.python_minor(), minor);
    }
}

#[test]
fn a_refused_registration_names_the_faulty_key() {
    for (key, values) in [
        ("block_id", ["...", "None", "1.5", "b'0'", "True", "2**64"]),
        (
            "max_capacity",
            ["b''", "None", "1.5", "'4'", "True", "2**64"],
        ),
        (
            "parsl_v",
            ["...", "None", "1.5", "b'0'", "True", "('2026',)"],
        ),
        (
            "python_v",
            ["...", "None", "3.11", "b'0'", "True", "(3, 11)"],
        ),
    ] {
        for value in values {
            let told = refusal(&[&registration_with(key, value)]);
            assert!(told.contains(&format!("'{key}'")), "{key} {value}: {told}");
        }
    }
}

/// Parsl's own interchange accepts such a registration too, and never dispatches to it.
#[test]
fn a_registration_without_capacity_has_none() {
    assert_eq!(registration("max_capacity", "...").max_capacity, 0);
}

/// The task is done, and the executor must be notified that its outcome cannot be passed on.
#[test]
fn results_without_an_outcome_name_their_task() {
    for (item, expected) in [
        ("{'type': 'result', 'task_id': 1}", "'exception'"),
        (
            "{'type': 'result', 'task_id': 1, 'result': 'text'}",
            "bytes",
        ),
        ("{'type': 'result', 'task_id': 1, 'result': None}", "bytes"),
        ("{'type': 'result', 'task_id': 1, 'exception': 5}", "bytes"),
    ] {
        let FromManager::SpoiltResult { task, reason } = one(4, item) else {
            panic!("{item} is spoilt");
        };
        assert_eq!(task, TaskId(1));
        assert!(reason.contains(expected), "{item}: {reason}");
    }
}

/// The frames that are forwarded equal the received frames.
#[test]
fn results_of_both_dialects_are_kept_byte_for_byte() {
    for protocol in 0..=5 {
        for item in [
            "{'type': 'result', 'task_id': 5, 'result': b'ok'}",
            "{'type': 'result', 'task_id': 5, 'exception': b'bad'}",
            "{'task_id': 5, 'exception': b'bad', 'type': 'result', 'more': [()]}",
            "{'type': 'result', 'task_id': 5, 'result': b'x' * 100000}",
            "{'type': 'result', 'task_id': 5, 'result': b''}",
        ] {
            let frame = python::pickle(protocol, item);
            let marker = python::pickle(protocol, "{'type': 'result'}");
            for frames in [vec![frame.clone()], vec![marker, frame.clone()]] {
                let mut messages = messages_of(frames);
                let Some(Ok(FromManager::Result {
                    task, frame: kept, ..
                })) = messages.pop()
                else {
                    panic!("{item}");
                };
                assert!(messages.is_empty());
                assert_eq!(task.0, 5);
                assert_eq!(kept.into_frame().unwrap(), frame, "{item}");
            }
        }
    }
}

/// The kind is recognised without opening the outcome: under the key "exception" it is an
/// exception.
#[test]
fn a_result_says_whether_it_is_an_exception() {
    for (outcome, expected) in [
        ("'result': b'ok'", false),
        ("'exception': b'bad'", true),
        ("'result': b'ok', 'exception': b'bad'", false),
        ("'exception': b'bad', 'result': b'ok'", false),
    ] {
        for protocol in 0..=5 {
            for odd in ["", ", 'more': ()"] {
                let item = format!("{{'type': 'result', 'task_id': 1, {outcome}{odd}}}");
                let FromManager::Result { is_exception, .. } = one(protocol, &item) else {
                    panic!("{item}");
                };
                assert_eq!(is_exception, expected, "{protocol}: {item}");
            }
        }
    }
}

#[test]
fn reported_resources_of_a_node() {
    for (value, expected) in [
        ("...", None),
        ("None", None),
        ("128", Some(128.0)),
        ("2.5", Some(2.5)),
        ("2**70", Some(2f64.powi(70))),
        ("numpy.of('i8', '<q', 16)", Some(16.0)),
        ("0", None),
        ("-1", None),
        ("float('nan')", None),
        ("float('inf')", None),
        ("True", None),
        ("'128'", None),
        ("[128]", None),
    ] {
        assert_eq!(registration("cpu_count", value).cpu_count, expected);
        let told = registration("total_memory", value).total_memory_mb;
        assert_eq!(told, expected.map(|bytes| bytes / 1_048_576.0));
    }
    let told = registration("total_memory", "2**38").total_memory_mb;
    assert_eq!(told, Some(262_144.0));
}

/// The bytes that Python writes for a worker's result. The key "result" is read from the memo,
/// because the value of `type` is the same string.
#[test]
fn a_result_key_is_read_from_the_memo() {
    let bytes = b"\x80\x04\x95\x2e\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x04type\x94\
        \x8c\x06result\x94\x8c\x07task_id\x94K\x01h\x02C\x0a02\n\x80\x04K\x02.\x94\x94u.";
    let bytes = &bytes[..];
    assert_eq!(python::load(&rebuilt(bytes), "x['task_id']"), "1");
    let message = FromManager::parse(rebuilt(bytes));
    assert!(matches!(message, Ok(FromManager::Result { task, .. }) if task.0 == 1));
}

/// Corrects the frame's length.
fn rebuilt(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let len = (bytes.len() - 11) as u64;
    bytes[3..11].copy_from_slice(&len.to_le_bytes());
    bytes
}

#[test]
fn several_items_behind_one_marker_of_which_one_is_bad() {
    let items = [
        "{'type': 'result'}",
        "{'type': 'result', 'task_id': 1, 'result': b'a'}",
        "{'type': 'monitoring', 'payload': (1, {})}",
        "{'type': 'heartbeat'}",
        "{'type': 'result', 'task_id': 2, 'exception': b'b'}",
    ];
    let frames = items.iter().map(|item| python::pickle(4, item)).collect();
    let messages = messages_of(frames);
    let kind = |message: &Result<Message, Malformed>| message.as_ref().map_or("bad", Message::kind);
    let kinds: Vec<_> = messages.iter().map(kind).collect();
    assert_eq!(kinds, ["result", "monitoring", "bad", "result"]);
}

/// A worker returns the id that it received, whichever int the id is.
#[test]
fn results_of_any_supported_id() {
    for (id, number) in [("True", 1), ("False", 0), ("-1", -1), ("-2**63", i64::MIN)] {
        for protocol in 0..=5 {
            for odd in ["", ", 'more': ()"] {
                let item = format!("{{'type': 'result', 'task_id': {id}, 'result': b'x'{odd}}}");
                let FromManager::Result { task, .. } = one(protocol, &item) else {
                    panic!("{item}");
                };
                assert_eq!(task, TaskId(number), "{item}");
            }
        }
    }
}

#[test]
fn results_without_a_task_are_refused() {
    for (item, reason) in [
        ("{'type': 'result'}", "'task_id'"),
        ("{'type': 'result', 'result': b''}", "'task_id'"),
        (
            "{'type': 'result', 'task_id': '1', 'result': b''}",
            "'task_id'",
        ),
        (
            "{'type': 'result', 'task_id': 1.0, 'result': b''}",
            "'task_id'",
        ),
        (
            "{'type': 'result', 'task_id': None, 'result': b''}",
            "'task_id'",
        ),
        (
            "{'type': 'result', 'task_id': 2**63, 'result': b''}",
            "'task_id'",
        ),
    ] {
        let told = refusal(&[item]);
        assert!(told.contains(reason), "{item}: {told}");
    }
}

#[test]
fn whatever_else_a_manager_sends_is_refused_with_the_reason() {
    for (frames, reason) in [
        (&["[1]"][..], "list"),
        (&["None"], "NoneType"),
        (&["'heartbeat'"], "str"),
        (&["collections.OrderedDict(type='heartbeat')"], "instance"),
        (&["{}"], "'type'"),
        (&["{'type': None}"], "'type'"),
        (&["{'type': b'heartbeat'}"], "'type'"),
        (&["{b'type': 'heartbeat'}"], "'type'"),
        (&["{'type': 'heartbeats'}"], "heartbeats"),
        (&["{'type': 'monitoring'}"], "'payload'"),
        (
            &["{'type': 'heartbeat'}", "{'type': 'heartbeat'}"],
            "marker",
        ),
        (
            &["{'type': 'result', 'task_id': 1, 'result': b''}", "1"],
            "marker",
        ),
        (&["{'type': 'result'}", "{'type': 'heartbeat'}"], "marker"),
        (&["{'type': 'result'}", "{'type': 'result'}"], "'task_id'"),
        (&["{'type': 'result'}", "7"], "int"),
        (&["1", "2", "3"], "marker"),
    ] {
        let told = refusal(frames);
        assert!(told.contains(reason), "{frames:?}: {told}");
    }
}

#[test]
fn text_of_a_peer_is_cut_for_the_log() {
    let told = refusal(&[&format!("{{'type': 'é{}'}}", "x".repeat(100_000))]);
    assert!(told.len() < 200, "{} bytes", told.len());
}

/// The bad messages of Parsl's own test: not a pickle, or not a dict.
#[test]
fn garbage_at_any_frame_count() {
    for garbage in [
        &b"FuzzyByte\rSTREAM"[..],
        b"{}",
        b"{\"type\":\"heartbeat\"}",
        b"",
        b".",
    ] {
        for count in 1..4 {
            let frames = vec![garbage.to_vec(); count];
            let messages = messages_of(frames);
            assert!(messages.iter().all(Result::is_err), "{garbage:?}");
        }
    }
}
