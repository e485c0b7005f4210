//! The shapes that Parsl sends, pickled by CPython in protocols 0 to 5 (`golden.py`). The expected
//! content is written here by hand.

use std::path::PathBuf;

use pickle::{Tree, View, scan};

/// The golden files that hold whole messages.
pub(crate) const MESSAGES: [&str; 6] = [
    "task_plain",
    "task_priority",
    "registration",
    "result",
    "heartbeat",
    "command",
];

/// Returns the bytes of a golden file.
pub(crate) fn read(name: &str, protocol: u8) -> Vec<u8> {
    let mut path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    path.extend(["tests", "golden", &format!("{name}.{protocol}.pickle")]);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Calls `look` with the root of a shape, once for every protocol.
fn each_protocol(name: &str, look: impl Fn(u8, View<'_, '_>)) {
    for protocol in 0..=5 {
        let bytes = read(name, protocol);
        let program = scan(&bytes).expect("well formed");
        assert_eq!(program.end(), bytes.len());
        assert!(protocol >= 3 || !program.is_spliceable(), "{protocol}");
        let tree = Tree::read(&bytes).expect("well formed");
        look(protocol, tree.root());
    }
}

/// Returns the content of a bytes object. Protocols 0 to 2 write bytes as `_codecs.encode(text,
/// "latin1")`, and empty bytes as `bytes()`.
fn bytes_of(view: View<'_, '_>) -> Vec<u8> {
    if let Some(bytes) = view.as_bytes() {
        return bytes.to_vec();
    }
    let call = view.instance().expect("a call");
    assert_eq!(call.callable.class_name(), Some(("_codecs", "encode")));
    let arguments: Vec<_> = call.arguments.items().expect("a tuple").collect();
    assert_eq!(arguments[1].as_str(), Some("latin1"));
    let text = arguments[0].as_str().expect("text");
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).expect("Latin-1"))
        .collect()
}

fn keys(view: View<'_, '_>) -> Vec<String> {
    let entries = view.entries().expect("a dict");
    entries
        .map(|(key, _)| key.as_str().expect("a str").to_owned())
        .collect()
}

/// Returns the class of an instance, for each way in which a protocol can make the instance.
fn class_of<'t>(view: View<'t, '_>) -> (&'t str, &'t str) {
    let instance = view.instance().expect("an instance");
    match instance.callable.class_name().expect("a class") {
        ("copy_reg" | "copyreg", "_reconstructor") => {
            let class = instance.arguments.items().expect("a tuple").next();
            class.and_then(View::class_name).expect("a class")
        }
        class => class,
    }
}

#[test]
fn tasks() {
    each_protocol("task_plain", |_, task| {
        assert_eq!(keys(task), ["task_id", "context", "buffer"]);
        assert_eq!(task.get("task_id").and_then(View::as_i64), Some(7));
        assert_eq!(
            task.get("context")
                .and_then(View::entries)
                .expect("a dict")
                .count(),
            0
        );
        assert_eq!(bytes_of(task.get("buffer").expect("there")), b"\x04payload");
        assert!(task.get("type").is_none());
    });
    each_protocol("task_priority", |_, task| {
        assert_eq!(task.get("task_id").and_then(View::as_i64), Some(70_000));
        let context = task.get("context").expect("there");
        let spec = context.get("resource_spec").expect("there");
        assert_eq!(spec.get("priority").and_then(View::as_i64), Some(-3));
        assert_eq!(
            bytes_of(task.get("buffer").expect("there")),
            vec![b'x'; 300]
        );
    });
}

#[test]
fn only_tasks_without_memo_reads_of_new_protocols_are_spliced() {
    for (name, first_spliced) in [("task_plain", 3), ("task_priority", 3), ("task_odd", 6)] {
        for protocol in 0..=5 {
            let bytes = read(name, protocol);
            let program = scan(&bytes).expect("well formed");
            assert_eq!(
                program.is_spliceable(),
                protocol >= first_spliced,
                "{name} {protocol}"
            );
        }
    }
}

#[test]
fn a_task_with_an_odd_context() {
    each_protocol("task_odd", |protocol, task| {
        let context = task.get("context").expect("there");
        let get = |key| context.get(key).unwrap_or_else(|| panic!("{key}"));
        let spec = get("resource_spec");
        let priority = spec
            .get("priority")
            .and_then(View::instance)
            .expect("a Decimal");
        assert_eq!(priority.callable.class_name(), Some(("decimal", "Decimal")));
        let argument = priority.arguments.items().expect("a tuple").next();
        assert_eq!(argument.and_then(View::as_str), Some("2.5"));
        assert_eq!(spec.get("cores").and_then(View::as_i64), Some(2));

        assert_eq!(class_of(get("fraction")), ("fractions", "Fraction"));
        assert_eq!(get("set").kind_name() == "set", protocol >= 4);
        assert_eq!(
            get("bytes").as_bytes(),
            (protocol >= 3).then_some(&b"\xff"[..])
        );
        let shared: Vec<_> = get("shared").items().expect("a list").collect();
        assert!(
            shared.len() == 2
                && shared[0].index() == shared[1].index()
                && shared[0].kind_name() == "tuple"
        );
        let me: Vec<_> = get("loop").items().expect("a list").collect();
        assert!(
            me.len() == 2 && me[0].as_str() == Some("me") && me[1].index() == get("loop").index()
        );
        assert_eq!(get("float").as_f64(), Some(-0.5));
        assert_eq!(get("huge").as_i64(), None);
        assert_eq!(
            get("huge").as_big_int(),
            Some(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1][..])
        );
        assert_eq!(get("minus").as_i64(), Some(i64::MIN));
        assert_eq!(get("text").as_str(), Some("hé 😀"));
        assert_eq!(get("flag").as_bool(), Some(true));
        assert_eq!(get("flag").as_i64(), None);
    });
}

#[test]
fn a_big_buffer_stands_outside_of_the_frames() {
    // CPython writes a buffer of 64 KiB or more in this way. It closes the frame before the buffer,
    // and the few bytes after the buffer are too short for another frame.
    let head =
        b"\x80\x04\x95\x24\0\0\0\0\0\0\0}\x94(\x8c\x07task_id\x94K\x09\x8c\x07context\x94}\x94\
        \x8c\x06buffer\x94B\xd0\x01\x01\x00";
    let bytes = [&head[..], &[b'z'; 66_000], b"\x94u."].concat();
    let program = scan(&bytes).expect("well formed");
    assert!(program.is_spliceable());
    assert_eq!(program.appended_len(), bytes.len() - 2 - 9 - 1);
    let mut body = Vec::new();
    program.append_to(&bytes, &mut body);
    assert_eq!(body, bytes[11..bytes.len() - 1]);
    let tree = Tree::read(&bytes).expect("well formed");
    let buffer = tree.root().get("buffer").and_then(View::as_bytes);
    assert_eq!(buffer.map(<[u8]>::len), Some(66_000));
}

#[test]
fn a_configuration_keeps_its_classes() {
    each_protocol("config", |_, config| {
        let get = |key| config.get(key).unwrap_or_else(|| panic!("{key}"));
        assert_eq!(keys(config).len(), 16);
        assert_eq!(get("client_address").as_str(), Some("127.0.0.1"));
        assert!(get("hub_address").index() == get("client_address").index());
        let ports: Vec<_> = get("client_ports").items().expect("a tuple").collect();
        let ports: Vec<_> = ports.into_iter().filter_map(View::as_i64).collect();
        assert_eq!(ports, [55_001, 55_002, 55_003]);
        assert!(get("worker_port").is_none() && get("interchange_address").is_none());
        assert_eq!(get("_check_python_mismatch").as_bool(), Some(false));

        let selector = get("manager_selector");
        let module = "parsl.executors.high_throughput.manager_selector";
        assert_eq!(class_of(selector), (module, "RandomManagerSelector"));
        assert!(selector.instance().expect("an instance").state.is_none());
        assert_eq!(selector.kind_name(), "an instance");

        let path = get("cert_dir").instance().expect("a path");
        assert_eq!(
            path.callable.class_name(),
            Some(("pathlib", "PurePosixPath"))
        );
        let parts: Vec<_> = path.arguments.items().expect("a tuple").collect();
        let parts: Vec<_> = parts.into_iter().filter_map(View::as_str).collect();
        assert_eq!(parts, ["/", "runs", "certs"]);

        assert_eq!(
            class_of(get("log_config")),
            ("parsl.logconfigs.file", "FileLogging")
        );
        let state = get("log_config")
            .instance()
            .and_then(|logging| logging.state);
        let state = state.expect("a state");
        assert_eq!(keys(state), ["uuid", "format_string", "level"]);
        assert_eq!(
            class_of(state.get("uuid").expect("there")),
            ("uuid", "UUID")
        );
        assert_eq!(state.get("level").and_then(View::as_i64), Some(10));
    });
}

#[test]
fn messages_of_managers() {
    each_protocol("registration", |_, message| {
        let get = |key| message.get(key).unwrap_or_else(|| panic!("{key}"));
        assert_eq!(get("type").as_str(), Some("registration"));
        assert_eq!(get("start_time").as_f64(), Some(1_700_000_000.25));
        assert_eq!(get("drain_time").as_f64(), Some(f64::INFINITY));
        assert_eq!(get("total_memory").as_i64(), Some(1 << 38));
        assert_eq!(get("cpu_count").as_i64(), Some(128));
        assert_eq!(keys(get("packages")), ["parsl", "typeguard"]);
    });
    // The key "result" is the same interned str as the value of "type", so it is read from the
    // memo.
    each_protocol("result", |_, message| {
        assert_eq!(keys(message), ["type", "task_id", "result"]);
        assert_eq!(message.get("task_id").and_then(View::as_i64), Some(1));
        assert_eq!(
            bytes_of(message.get("result").expect("there")),
            b"\x80\x04K*."
        );
    });
    each_protocol("exception", |_, message| {
        let exception = message.get("exception").expect("there");
        assert_eq!(
            class_of(exception),
            ("parsl.app.errors", "RemoteExceptionWrapper")
        );
        let state = exception
            .instance()
            .and_then(|wrapper| wrapper.state)
            .expect("a state");
        assert_eq!(keys(state), ["e_type", "cause"]);
    });
    each_protocol("heartbeat", |_, message| {
        assert_eq!(
            message.get("type").and_then(View::as_str),
            Some("heartbeat")
        );
    });
}

#[test]
fn monitoring_messages_and_commands() {
    each_protocol("node_info", |_, message| {
        let parts: Vec<_> = message.items().expect("a tuple").collect();
        assert!(message.kind_name() == "tuple" && parts.len() == 2);
        assert_eq!(
            class_of(parts[0]),
            ("parsl.monitoring.message_type", "MessageType")
        );
        let number = parts[0].instance().expect("a call").arguments.items();
        assert_eq!(
            number.expect("a tuple").next().and_then(View::as_i64),
            Some(3)
        );
        let beat = parts[1]
            .get("last_heartbeat")
            .and_then(View::instance)
            .expect("a datetime");
        assert_eq!(beat.callable.class_name(), Some(("datetime", "datetime")));
        let packed = bytes_of(
            beat.arguments
                .items()
                .expect("a tuple")
                .next()
                .expect("one"),
        );
        assert_eq!(packed, [0x07, 0xea, 10, 26, 1, 2, 3, 0, 0, 4]);
        assert!(parts[1].get("cpu_count").expect("there").is_none());
    });
    each_protocol("command", |_, message| {
        assert!(message.is_list());
        let words: Vec<_> = message
            .items()
            .expect("a list")
            .filter_map(View::as_str)
            .collect();
        assert_eq!(words, ["HOLD_MANAGER", "ab12"]);
    });
}
