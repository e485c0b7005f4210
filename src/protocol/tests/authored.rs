//! Results, short messages and batches that this crate creates, as the other side reads them.

use protocol::{
    Failure, ManagerId, Opaque, Stay, Task, TaskId, ToManager, UnreadWords, encode_batch,
};

use super::python;

/// The executor's handling of a result: it reads the dict, and passes `exception` to the
/// deserializer that the header names.
const EXCEPTION: &str = "(lambda e: (e[:3], pickle.loads(e[3:])))(x['exception'])";

fn lost(manager: &[u8], hostname: &str) -> Vec<u8> {
    let failure = Failure::ManagerLost {
        task: TaskId(70_000),
        manager: ManagerId::new(manager),
        hostname: hostname.to_owned(),
        lost_at_s: 1_790_000_000.25,
    };
    failure.encode()
}

#[test]
fn an_authored_result_has_the_keys_of_a_result() {
    for (failure, task) in [
        (lost(b"abc", "node1"), "70000"),
        (
            Failure::Unreadable {
                task: TaskId(3),
                reason: "r".into(),
            }
            .encode(),
            "3",
        ),
        (
            Failure::VersionMismatch {
                interchange: "a".into(),
                manager: "b".into(),
            }
            .encode(),
            "-1",
        ),
        (Failure::Broken { reason: "r".into() }.encode(), "-1"),
    ] {
        let seen = "list(x), x['type'], x['task_id'], type(x['exception']), x['exception'][:3]";
        let expected = format!(
            "(['type', 'task_id', 'exception'], 'result', {task}, <class 'bytes'>, b'02\\n')"
        );
        assert_eq!(python::load(&failure, seen), expected);
    }
}

/// The wrapper has all four attributes, and raises Parsl's own class.
#[test]
fn the_loss_of_a_manager_in_parsls_wrapper() {
    let wrapper = format!("{EXCEPTION}[1]");
    for (seen, expected) in [
        (
            "type(w).__module__, type(w).__name__",
            "('parsl.app.errors', 'RemoteExceptionWrapper')",
        ),
        (
            "sorted(vars(w))",
            "['cause', 'e_traceback', 'e_type', 'e_value']",
        ),
        ("w.cause, w.e_traceback", "(None, None)"),
        ("w.get_exception() is w.e_value", "True"),
        (
            "w.e_type is parsl.executors.high_throughput.errors.ManagerLost",
            "True",
        ),
        ("type(w.e_value) is w.e_type", "True"),
        (
            "w.e_value",
            "Task failure due to loss of manager abc on host nöde1",
        ),
        (
            "w.e_value.manager_id, w.e_value.hostname",
            "(b'abc', 'nöde1')",
        ),
        ("w.e_value.tstamp", "1790000000.25"),
        ("w.e_value.args", "(b'abc', 'nöde1')"),
    ] {
        let expression = format!("(lambda w: ({seen}))({wrapper})");
        assert_eq!(python::load(&lost(b"abc", "nöde1"), &expression), expected);
    }
}

#[test]
fn the_loss_of_a_manager_whose_id_is_no_text_can_be_printed() {
    let text = python::load(&lost(b"\xff\x00", "h"), &format!("{EXCEPTION}[1].e_value"));
    assert_eq!(
        text,
        "Task failure due to loss of manager \u{fffd}\u{0} on host h"
    );
}

#[test]
fn other_failures_are_bare_exceptions() {
    let mismatch = Failure::VersionMismatch {
        interchange: "py.v=3.11 parsl.v=2026.10.26".into(),
        manager: "py.v=3.12 parsl.v=2026.10.26".into(),
    };
    let seen = "(lambda e: (type(e).__module__, type(e).__name__, e.interchange_version, \
                e.manager_version))";
    assert_eq!(
        python::load(&mismatch.encode(), &format!("{seen}({EXCEPTION}[1])")),
        "('parsl.executors.high_throughput.errors', 'VersionMismatch', \
         'py.v=3.11 parsl.v=2026.10.26', 'py.v=3.12 parsl.v=2026.10.26')"
    );
    let reason = "é\n".repeat(1000);
    let unreadable = Failure::Unreadable {
        task: TaskId(1),
        reason: reason.clone(),
    };
    let seen = "(lambda e: type(e).__module__ + '|' + e.reason)";
    assert_eq!(
        python::load(&unreadable.encode(), &format!("{seen}({EXCEPTION}[1])")),
        format!("parsl.serialize.errors|{reason}")
    );
    let broken = Failure::Broken {
        reason: reason.clone(),
    };
    let seen = "(lambda e: type(e).__name__ + '|' + str(e))";
    assert_eq!(
        python::load(&broken.encode(), &format!("{seen}({EXCEPTION}[1])")),
        format!("RuntimeError|{reason}")
    );
}

/// The expected bytes are written by hand, opcode by opcode, from guide/protocol, P-1.8.2 and
/// P-1.8.3.
#[test]
fn a_failure_in_bytes() {
    let failure = Failure::VersionMismatch {
        interchange: "a".into(),
        manager: "b".into(),
    };
    let exception = b"02\n\x80\x04\x8c\x26parsl.executors.high_throughput.errors\
        \x8c\x0fVersionMismatch\x93(\x8c\x01a\x8c\x01btR.";
    let expected = [
        b"\x80\x04}(\x8c\x04type\x8c\x06result\x8c\x07task_idJ\xff\xff\xff\xff",
        &b"\x8c\x09exceptionC"[..],
        &[exception.len() as u8],
        exception,
        b"u.",
    ];
    assert_eq!(failure.encode().escape_ascii().to_string(), {
        expected.concat().escape_ascii().to_string()
    });
}

#[test]
fn short_messages_to_managers() {
    assert_eq!(ToManager::ProbeAnswer.encode(), b"");
    // Parsl's interchange sends 80 04 95 08 00*7 8a 05 ff ff ff ff 00 2e. The frame is optional.
    let word = |last: u8| [0x80, 4, 0x8a, 5, last, 0xff, 0xff, 0xff, 0, 0x2e];
    assert_eq!(ToManager::HeartbeatEcho.encode(), word(0xff));
    assert_eq!(ToManager::Shutdown.encode(), word(0xfe));
    assert_eq!(
        python::load(ToManager::HeartbeatEcho.encode(), "x == 2**32 - 1"),
        "True"
    );
    assert_eq!(
        python::load(ToManager::Shutdown.encode(), "x == 2**32 - 2"),
        "True"
    );
}

fn batch(tasks: &[Vec<u8>]) -> Vec<u8> {
    let bodies = |stay| -> Vec<Opaque<Vec<u8>>> {
        let parse = |bytes: &Vec<u8>| {
            Task::parse(bytes.clone(), stay, &mut UnreadWords::default())
                .expect("a task")
                .body
        };
        tasks.iter().map(parse).collect()
    };
    let in_their_frames = encode_batch(bodies(Stay::Short).iter());
    let bodies = bodies(Stay::Long);
    let batch = encode_batch(bodies.iter());
    assert_eq!(batch, in_their_frames);
    let parts: usize = bodies.iter().map(Opaque::appended_len).sum();
    // The six bytes are PROTO with its number, EMPTY_LIST, MARK, APPENDS and STOP.
    assert_eq!(batch.len(), parts + 6);
    batch
}

/// Objects of all kinds, including shared and cyclic ones, arrive as they were sent.
#[test]
fn tasks_of_all_kinds_in_one_batch() {
    let contexts = [
        "{}",
        "{'resource_spec': {'priority': 3}}",
        "{'task_executor': {'f': 'name', 'a': (uuid.UUID(int=7), None), 'k': {'p': \
          pathlib.PurePosixPath('/a'), 't': (1, (2, [3, {4}])), \
          'd': datetime.datetime(2026, 1, 2), \
          'n': decimal.Decimal('1.5'), 'b': bytearray(b'x'), 'o': collections.OrderedDict(a=1), \
          'c': 1j, 'r': range(3), 's': slice(1), 'e': Ellipsis, 'F': frozenset([1])}}}",
        "(lambda l: [l.append(l), {'circle': l, 'shared': (l, l)}][1])([])",
        "users.Number(5)",
    ];
    let mut tasks = Vec::new();
    for protocol in 0..=5 {
        for context in contexts {
            let id = tasks.len();
            let text = format!("{{'task_id': {id}, 'context': {context}, 'buffer': b'b' * {id}}}");
            tasks.push(python::pickle(protocol, &text));
        }
    }
    let loaded: Vec<String> = tasks
        .iter()
        .map(|task| python::load(task, "repr(x)"))
        .collect();
    let batch = batch(&tasks);
    assert_eq!(
        python::load(&batch, "type(x), len(x)"),
        "(<class 'list'>, 30)"
    );
    for (place, original) in loaded.iter().enumerate() {
        let arrived = python::load(&batch, &format!("repr(x[{place}])"));
        assert_eq!(&arrived, original);
    }
    let circle = "[(c['circle'][0] is c['circle'], c['shared'][0] is c['circle']) \
                  for c in (t['context'] for t in x) if 'circle' in str(c)]";
    let expected = format!("[{}]", ["(True, True)"; 6].join(", "));
    assert_eq!(python::load(&batch, circle), expected);
}

/// From 64 KiB on, Python closes the frame before the bytes, and may open another one after them.
#[test]
fn buffers_around_the_size_where_frames_break() {
    let tasks: Vec<Vec<u8>> = [65_470, 65_535, 65_536, 70_000, 300_000, 0, 1]
        .iter()
        .enumerate()
        .map(|(id, size)| {
            let buffer = format!("bytes(range(256)) * ({size} // 256) + b'x' * ({size} % 256)");
            let text = format!("{{'task_id': {id}, 'context': {{}}, 'buffer': {buffer}}}");
            python::pickle(4 + (id % 2) as u8, &text)
        })
        .collect();
    let seen = "[(t['task_id'], len(t['buffer']), t['buffer'][-1:]) for t in x][:5]";
    assert_eq!(
        python::load(&batch(&tasks), seen),
        "[(0, 65470, b'x'), (1, 65535, b'x'), (2, 65536, b'\\xff'), (3, 70000, b'x'), \
         (4, 300000, b'x')]"
    );
}

#[test]
fn a_batch_of_many_and_a_batch_of_none() {
    let task = python::pickle(4, "{'task_id': 1, 'context': {}, 'buffer': b'b'}");
    let many = batch(&vec![task; 2500]);
    let seen = "len(x), all(t == {'task_id': 1, 'context': {}, 'buffer': b'b'} for t in x)";
    assert_eq!(python::load(&many, seen), "(2500, True)");
    assert_eq!(python::load(&batch(&[]), "x"), "[]");
}

/// Splicing drops frame headers, so a memo index may exceed the length of the batch.
#[test]
fn a_memo_index_that_only_frame_headers_make_room_for() {
    let frames = b"\x95\0\0\0\0\0\0\0\0".repeat(40);
    let task = b"}(\x8c\x07task_idK\x05\x8c\x06bufferC\x01bur\x80\x01\0\0.";
    let task = [&b"\x80\x04"[..], &frames, task].concat();
    let batch = batch(&[task]);
    assert!(batch.len() < 0x180);
    assert_eq!(
        python::load(&batch, "x"),
        "[{'task_id': 5, 'buffer': b'b'}]"
    );
}
