//! The start-up configuration that HTEX sends, in every form that it may have, pickled by CPython.

use std::ffi::OsString;
use std::net::IpAddr;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::time::Duration;

use protocol::VersionCheck;
use submit_side::address::Address;
use submit_side::config::{
    Config, ConfigError, HubAddress, LoggingKind, PortChoice, RawConfig, SelectorChoice,
};

/// Tests of reading the configuration from a stream.
mod reading;

/// CPython, which pickles the configurations as HTEX does.
use support::python;

/// The dict of release 2026.10.26 in its order, with keys changed, added or left out (`...`). One
/// string is used twice, as in HTEX, so that the pickle refers to the memo the second time.
fn dict(changes: &[(&str, &str)]) -> String {
    let mut fields = vec![
        ("client_address", "a"),
        ("client_ports", "(50001, 50002, 50003)"),
        ("interchange_address", "None"),
        ("worker_port", "None"),
        ("worker_port_range", "(54000, 55000)"),
        ("hub_address", "a"),
        ("hub_zmq_port", "None"),
        ("logdir", "'/runs/000/htex'"),
        ("heartbeat_threshold", "120"),
        ("poll_period", "10"),
        ("logging_level", "20"),
        ("cert_dir", "None"),
        (
            "manager_selector",
            "parsl.executors.high_throughput.manager_selector.RandomManagerSelector()",
        ),
        ("run_id", "'run-7'"),
        ("log_config", "None"),
        ("_check_python_mismatch", "True"),
    ];
    for (key, value) in changes {
        match fields.iter_mut().find(|(known, _)| known == key) {
            Some(field) => field.1 = value,
            None => fields.push((key, value)),
        }
    }
    fields.retain(|(_, value)| *value != "...");
    let fields = fields
        .iter()
        .map(|(key, value)| format!("'{key}': {value}"));
    let fields = fields.collect::<Vec<_>>().join(", ");
    format!("(lambda a: {{{fields}}})('127.0.0.1')")
}

fn check(protocol: u8, changes: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let bytes = python::pickle(protocol, &dict(changes));
    RawConfig::read(&bytes).and_then(|raw| raw.check())
}

fn good(changes: &[(&str, &str)]) -> Config {
    check(4, changes).unwrap_or_else(|error| panic!("{changes:?}: {error}"))
}

/// Returns the error's text, which names the key and the expected value.
fn wrong(key: &str, value: &str) -> String {
    match check(4, &[(key, value)]) {
        Ok(config) => panic!("{key} = {value} is taken: {config:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_config_of_today_in_every_protocol() {
    let expected = good(&[]);
    assert_eq!(expected.submit_side.address, ip([127, 0, 0, 1]));
    let side = &expected.submit_side;
    assert_eq!(
        (side.task_port, side.result_port, side.command_port),
        (50001, 50002, 50003)
    );
    assert_eq!(side.cert_dir, None);
    assert_eq!(expected.interchange_address, None);
    assert_eq!(
        expected.worker_port,
        PortChoice::Range {
            first: 54000,
            end: 55000
        }
    );
    assert_eq!(expected.hub, None);
    assert_eq!(expected.logging.logdir, PathBuf::from("/runs/000/htex"));
    assert_eq!(expected.logging.kind, LoggingKind::Default { level: 20 });
    assert_eq!(expected.heartbeat_threshold, Duration::from_secs(120));
    assert_eq!(expected.selector, SelectorChoice::Random);
    assert_eq!(expected.run_id.as_deref(), Some("run-7"));
    assert_eq!(expected.version_check, VersionCheck::PythonAndParsl);
    assert!(expected.unknown_keys.is_empty());
    for protocol in 0..=5 {
        assert_eq!(
            check(protocol, &[]).unwrap(),
            expected,
            "protocol {protocol}"
        );
    }
}

#[test]
fn a_key_that_is_missing_or_none_has_the_meaning_of_its_absence() {
    for absent in ["...", "None"] {
        let config = good(&[
            ("interchange_address", absent),
            ("worker_port", absent),
            ("hub_address", absent),
            ("hub_zmq_port", absent),
            ("cert_dir", absent),
            ("manager_selector", absent),
            ("run_id", absent),
            ("logging_level", absent),
            ("poll_period", absent),
            ("log_config", absent),
        ]);
        assert_eq!(config.interchange_address, None);
        assert_eq!(config.hub, None);
        assert_eq!(config.submit_side.cert_dir, None);
        assert_eq!(config.selector, SelectorChoice::Random);
        assert_eq!(config.run_id, None);
        assert_eq!(config.logging.kind, LoggingKind::Default { level: 20 });
    }
}

/// The stock interchange tests each of these keys with `if`.
#[test]
fn false_values_mean_none_where_stock_tests_truth() {
    for false_one in [
        "None",
        "False",
        "0",
        "0.0",
        "-0.0",
        "''",
        "b''",
        "()",
        "[]",
        "{}",
        "set()",
        "frozenset()",
    ] {
        let config = good(&[
            ("interchange_address", false_one),
            ("worker_port", false_one),
            ("log_config", false_one),
            ("_check_python_mismatch", false_one),
            ("run_id", false_one),
        ]);
        assert_eq!(config.interchange_address, None, "{false_one}");
        assert_eq!(config.run_id.unwrap_or_default(), "", "{false_one}");
        let is_range = matches!(config.worker_port, PortChoice::Range { .. });
        assert!(is_range, "{false_one}");
        assert_eq!(config.logging.kind, LoggingKind::Default { level: 20 });
        assert_eq!(config.version_check, VersionCheck::Off, "{false_one}");
    }
    for true_one in [
        "1", "'no'", "(0,)", "[None]", "{'': 0}", "{0}", "-1", "2**70",
    ] {
        let config = good(&[("_check_python_mismatch", true_one)]);
        assert_eq!(
            config.version_check,
            VersionCheck::PythonAndParsl,
            "{true_one}"
        );
    }
}

/// The stock interchange only tests these keys for None, and fails with other false values.
#[test]
fn false_values_are_refused_where_stock_fails() {
    let hub = |port, address| check(4, &[("hub_zmq_port", port), ("hub_address", address)]);
    for false_one in ["0", "False", "''", "()"] {
        assert!(hub(false_one, "'127.0.0.1'").is_err(), "{false_one}");
        assert!(hub("55055", false_one).is_err(), "{false_one}");
        // If one of the two is None, there is no monitoring, whatever the other is.
        for (port, address) in [(false_one, "None"), ("None", false_one)] {
            assert_eq!(hub(port, address).unwrap().hub, None, "{false_one}");
        }
        for key in ["logdir", "client_address", "heartbeat_threshold"] {
            assert!(wrong(key, false_one).contains(key), "{key}={false_one}");
        }
    }
}

#[test]
fn a_needed_key_that_is_missing_or_none_is_named() {
    for key in [
        "client_address",
        "client_ports",
        "worker_port_range",
        "logdir",
        "heartbeat_threshold",
    ] {
        for absent in ["...", "None"] {
            let told = wrong(key, absent);
            assert!(told.contains(&format!("'{key}'")), "{told}");
        }
    }
    // A fixed port needs no range.
    good(&[("worker_port", "54321"), ("worker_port_range", "...")]);
}

#[test]
fn a_value_of_the_wrong_type_is_named_with_what_was_found() {
    for (key, value, found) in [
        ("client_address", "5", "5"),
        ("client_address", "'node.cluster'", "'node.cluster'"),
        ("client_address", "''", "''"),
        ("client_address", "'*'", "'*'"),
        ("client_address", "'127.0.0.1%lo'", "'127.0.0.1%lo'"),
        ("client_address", "'::1%'", "'::1%'"),
        ("client_address", "b'127.0.0.1'", "bytes"),
        ("client_ports", "50001", "50001"),
        ("client_ports", "(1, 2)", "tuple"),
        ("client_ports", "(1, 2, 3, 4)", "tuple"),
        ("client_ports", "(1, 2, 0)", "tuple"),
        ("client_ports", "(1, 2, -3)", "tuple"),
        ("client_ports", "(1, 2, 65536)", "tuple"),
        ("client_ports", "(1, 2, '3')", "tuple"),
        ("client_ports", "(1, 2, True)", "tuple"),
        ("client_ports", "{1: 2}", "dict"),
        ("interchange_address", "'0.0.0'", "'0.0.0'"),
        ("interchange_address", "7", "7"),
        ("interchange_address", "['127.0.0.1']", "list"),
        ("worker_port", "'54321'", "'54321'"),
        ("worker_port", "65536", "65536"),
        ("worker_port", "-1", "-1"),
        ("worker_port", "True", "bool"),
        ("worker_port", "1.5", "float"),
        ("worker_port_range", "54000", "54000"),
        ("worker_port_range", "(54000,)", "tuple"),
        ("worker_port_range", "(55000, 54000)", "tuple"),
        ("worker_port_range", "(54000, 54000)", "tuple"),
        ("worker_port_range", "(0, 54000)", "tuple"),
        ("worker_port_range", "(54000, 65537)", "tuple"),
        ("worker_port_range", "(54000, 2**70)", "tuple"),
        ("hub_zmq_port", "'55055'", "'55055'"),
        ("hub_zmq_port", "0", "0"),
        ("logdir", "7", "7"),
        ("logdir", "['a']", "list"),
        ("logdir", "uuid.UUID(int=1)", "an instance"),
        ("heartbeat_threshold", "0", "0"),
        ("heartbeat_threshold", "-1", "-1"),
        ("heartbeat_threshold", "'120'", "'120'"),
        ("heartbeat_threshold", "float('nan')", "float"),
        ("cert_dir", "5", "5"),
        ("manager_selector", "'random'", "'random'"),
        (
            "manager_selector",
            "parsl.executors.high_throughput.manager_selector.RandomManagerSelector",
            "a class",
        ),
        ("run_id", "7", "7"),
    ] {
        let told = wrong(key, value);
        let names = told.contains(&format!("'{key}'")) && told.contains("should be");
        assert!(
            names && told.ends_with(&format!("not {found}")),
            "{key} = {value}: {told}"
        );
        assert!(!told.contains('\n'));
    }
}

#[test]
fn long_values_are_cut_in_error_messages() {
    assert!(wrong("run_id", "[0] * 100000").len() < 200);
    assert!(wrong("heartbeat_threshold", "'x' * 100000").len() < 300);
    assert!(wrong("interchange_address", "'x' * 100000").len() < 300);
}

fn ip(octets: [u8; 4]) -> Address {
    IpAddr::from(octets).into()
}

#[test]
fn addresses() {
    for (text, expected) in [
        ("'127.0.0.1'", "127.0.0.1"),
        ("'::1'", "::1"),
        ("'[::1]'", "::1"),
        ("'localhost'", "127.0.0.1"),
        ("'fe80::1'", "fe80::1"),
        ("'0.0.0.0'", "0.0.0.0"),
        ("'fe80::1%eth0'", "fe80::1%eth0"),
        ("'::1%lo'", "::1%lo"),
        ("'[fe80::1%2]'", "fe80::1%2"),
    ] {
        let config = good(&[("client_address", text), ("interchange_address", text)]);
        let expected: Address = expected.parse().unwrap();
        assert_eq!(config.submit_side.address, expected);
        assert_eq!(config.interchange_address, Some(expected));
    }
    for all in ["'*'", "''", "None"] {
        let config = good(&[("interchange_address", all)]);
        assert_eq!(config.interchange_address, None, "{all}");
    }
}

#[test]
fn worker_ports() {
    let fixed = |text| good(&[("worker_port", text)]).worker_port;
    assert_eq!(fixed("54321"), PortChoice::Fixed(54321));
    assert_eq!(fixed("65535"), PortChoice::Fixed(65535));
    // 0 is false in Python, so it means that no port is given.
    assert_eq!(
        fixed("0"),
        PortChoice::Range {
            first: 54000,
            end: 55000
        }
    );
    let range = |text| good(&[("worker_port_range", text)]).worker_port;
    let whole = PortChoice::Range {
        first: 49152,
        end: 65536,
    };
    assert_eq!(range("(49152, 65536)"), whole);
    assert_eq!(range("[49152, 65536]"), whole);
    assert_eq!(range("(1, 2)"), PortChoice::Range { first: 1, end: 2 });
}

#[test]
fn a_hub_has_an_address_and_a_port() {
    let hub = |address, port| good(&[("hub_address", address), ("hub_zmq_port", port)]).hub;
    let address = ip([127, 0, 0, 1]);
    assert_eq!(
        hub("a", "55055"),
        Some(HubAddress {
            address,
            port: 55055
        })
    );
    let address = "::1".parse().unwrap();
    assert_eq!(hub("'::1'", "1"), Some(HubAddress { address, port: 1 }));
    assert_eq!(hub("None", "55055"), None);
    assert_eq!(hub("a", "None"), None);
    let hub_at_a_zone = hub("'fe80::1%eth0'", "1").unwrap();
    assert_eq!(hub_at_a_zone.address.to_string(), "fe80::1%eth0");
    assert!(wrong("hub_zmq_port", "65536").contains("'hub_zmq_port'"));
    // No single hub can be reached at an address that stands for all addresses.
    for nowhere in ["'*'", "''"] {
        let told = check(4, &[("hub_address", nowhere), ("hub_zmq_port", "1")]);
        let told = told.unwrap_err().to_string();
        assert!(told.contains("'hub_address'"), "{told}");
    }
}

#[test]
fn thresholds() {
    let threshold = |text| good(&[("heartbeat_threshold", text)]).heartbeat_threshold;
    assert_eq!(threshold("2"), Duration::from_secs(2));
    assert_eq!(threshold("2.5"), Duration::from_millis(2500));
    assert_eq!(threshold("float('inf')"), Duration::MAX);
    assert_eq!(threshold("1e300"), Duration::MAX);
}

#[test]
fn directories_as_texts_and_as_paths() {
    for protocol in 0..=5 {
        for (text, expected) in [
            ("'/runs/000'", "/runs/000"),
            ("'./htex'", "./htex"),
            ("'/nö/' + 'x' * 300", &*format!("/nö/{}", "x".repeat(300))),
            ("pathlib.PosixPath('/runs/000/htex')", "/runs/000/htex"),
            ("pathlib.PosixPath('runs') / '000'", "runs/000"),
            ("pathlib.PurePosixPath('/a')", "/a"),
            ("pathlib.PosixPath('.')", ""),
            // Only Python 3.13 pickles paths in this form.
            ("pathlib._local.PosixPath('/', 'runs', '000')", "/runs/000"),
        ] {
            let changes = [("logdir", text), ("cert_dir", text)];
            let config = check(protocol, &changes).unwrap();
            assert_eq!(
                config.logging.logdir,
                PathBuf::from(expected),
                "{protocol}: {text}"
            );
            assert_eq!(config.submit_side.cert_dir, Some(PathBuf::from(expected)));
        }
    }
    assert!(wrong("logdir", "users.Odd('/a')").contains("'logdir'"));
}

/// The expected bytes are those that `os.fsencode` makes of the name.
#[test]
fn directories_with_bytes_that_are_not_utf_8() {
    let expected = PathBuf::from(OsString::from_vec(
        b"/scratch/Zo\xeb/\xc3\xab/\x80\xff".to_vec(),
    ));
    let text = r"'/scratch/Zo\udceb/\xeb/\udc80\udcff'";
    let path = format!("pathlib.PosixPath({text})");
    for protocol in 0..=5 {
        for named in [text, &path] {
            let config = check(protocol, &[("logdir", named), ("cert_dir", named)]).unwrap();
            assert_eq!(config.logging.logdir, expected, "{protocol}: {named}");
            assert_eq!(config.submit_side.cert_dir.as_ref(), Some(&expected));
        }
    }
    for no_byte in [
        r"'/a/\ud800'",
        r"'/a/\udc7f'",
        r"pathlib.PosixPath('/a/\udfff')",
    ] {
        let told = wrong("logdir", no_byte);
        assert!(
            told.contains("'logdir'") && told.contains("path of a directory"),
            "{told}"
        );
    }
}

#[test]
fn selectors_in_every_protocol() {
    const PARSLS: &str = "parsl.executors.high_throughput.manager_selector.";
    const OURS: &str = "htex_interchange.selectors.";
    for protocol in 0..=5 {
        for (module, class, expected) in [
            (PARSLS, "RandomManagerSelector", SelectorChoice::Random),
            (PARSLS, "BlockIdManagerSelector", SelectorChoice::BlockId),
            (OURS, "SpreadManagerSelector", SelectorChoice::Spread),
            (OURS, "PackManagerSelector", SelectorChoice::Pack),
        ] {
            let text = format!("{module}{class}()");
            let config = check(protocol, &[("manager_selector", &text)]).unwrap();
            assert_eq!(config.selector, expected, "protocol {protocol}");
        }
        // A user's class, whatever its name and state: only Python can run it.
        for class in ["Selector", "RandomManagerSelector", "PackManagerSelector"] {
            let text = format!("users.{class}()");
            let config = check(protocol, &[("manager_selector", &text)]).unwrap();
            let expected = SelectorChoice::User(format!("users.{class}"));
            assert_eq!(config.selector, expected, "protocol {protocol}");
        }
    }
}

#[test]
fn log_configurations_in_every_protocol() {
    for protocol in 0..=5 {
        let kind = |text| {
            let changes = [("log_config", text), ("logging_level", "30")];
            check(protocol, &changes).unwrap().logging.kind
        };
        let file = |format: &str, level| LoggingKind::File {
            format: Some(format.to_owned()),
            level,
        };
        let unknown = |class: &str| LoggingKind::Unknown {
            class: class.to_owned(),
            level: 30,
        };
        for (text, expected) in [
            ("None", LoggingKind::Default { level: 30 }),
            (
                "parsl.logconfigs.file.FileLogging('X %(message)s')",
                file("X %(message)s", 10),
            ),
            (
                "parsl.logconfigs.file.FileLogging('X', level=40)",
                file("X", 40),
            ),
            (
                "parsl.logconfigs.file.FileLogging()",
                LoggingKind::File {
                    format: None,
                    level: 10,
                },
            ),
            (
                "parsl.logconfigs.json.JSONLogging()",
                LoggingKind::Json { level: 10 },
            ),
            (
                "parsl.logconfigs.json.JSONLogging(level=1)",
                LoggingKind::Json { level: 1 },
            ),
            ("parsl.logconfigs.noop.NoopLogging()", LoggingKind::Noop),
            ("users.Logging('X')", unknown("users.Logging")),
            ("'verbose'", unknown("str")),
            ("users.Logging", unknown("a class")),
        ] {
            assert_eq!(kind(text), expected, "protocol {protocol}: {text}");
        }
    }
}

/// A bad log configuration must not keep a run from starting.
#[test]
fn a_bad_logging_level_means_the_default() {
    for odd in ["'DEBUG'", "None", "1.5", "2**70"] {
        let kind = good(&[("logging_level", odd)]).logging.kind;
        assert_eq!(kind, LoggingKind::Default { level: 20 }, "{odd}");
    }
    let kind = good(&[("logging_level", "-5")]).logging.kind;
    assert_eq!(kind, LoggingKind::Default { level: -5 });
}

/// guide/protocol, P-1.9.5: the key `log_config` distinguishes the two meanings.
#[test]
fn the_version_flag_has_had_two_meanings() {
    let mode = |flag, log_config| {
        let changes = [("_check_python_mismatch", flag), ("log_config", log_config)];
        good(&changes).version_check
    };
    assert_eq!(mode("True", "None"), VersionCheck::PythonAndParsl);
    assert_eq!(mode("True", "..."), VersionCheck::PythonAndParsl);
    assert_eq!(mode("...", "..."), VersionCheck::PythonAndParsl);
    assert_eq!(mode("False", "..."), VersionCheck::ParslOnly);
    assert_eq!(mode("False", "None"), VersionCheck::Off);
    assert_eq!(
        mode("False", "parsl.logconfigs.noop.NoopLogging()"),
        VersionCheck::Off
    );
}

#[test]
fn a_release_with_two_worker_ports_is_too_old() {
    for ports in ["None", "(54001, 54002)"] {
        let changes = [("worker_ports", ports), ("worker_port", "...")];
        let error = check(4, &changes).unwrap_err();
        assert!(matches!(error, ConfigError::TooOld));
        assert!(error.to_string().contains("2025.06.30"));
        // The refusal can be reported: the addresses of the executor are valid.
        let bytes = python::pickle(4, &dict(&changes));
        let raw = RawConfig::read(&bytes).unwrap();
        assert_eq!(raw.submit_side().unwrap().command_port, 50003);
        assert_eq!(
            raw.logging().unwrap().logdir,
            PathBuf::from("/runs/000/htex")
        );
    }
}

#[test]
fn unknown_keys_are_ignored_and_remembered() {
    let config = good(&[("new_in_2027", "users.Odd()"), ("é", "1")]);
    assert_eq!(config.unknown_keys, ["new_in_2027", "é"]);
    let text = format!("{{**{}, 7: 8}}", dict(&[]));
    let bytes = python::pickle(4, &text);
    let config = RawConfig::read(&bytes).unwrap().check().unwrap();
    assert_eq!(config.unknown_keys.len(), 1);
}

#[test]
fn a_config_must_be_a_dict() {
    for (text, found) in [("[1]", "list"), ("None", "NoneType"), ("'x'", "str")] {
        let bytes = python::pickle(4, text);
        let error = RawConfig::read(&bytes).err().expect(text).to_string();
        assert!(error.contains("dict") && error.contains(found), "{error}");
    }
    assert!(RawConfig::read(b"not a pickle").is_err());
}
