//! Log files as users and Parsl's own tests read them.
//!
//! A process can have only one global subscriber. So the tests of `start` run a test of this file
//! in a child process with its own log.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use logging::{self, LogSpec, PARSL_FORMAT};
use tempfile::TempDir;
use tracing::{Dispatch, dispatcher};

const LONG: Duration = Duration::from_secs(20);
/// Capacity of a pipe.
const PIPE_BYTES: usize = 65_536;

#[test]
fn the_default_line_is_as_in_stock() {
    let dir = TempDir::new().unwrap();
    let logdir = dir.path().join("runinfo/000/htex");
    let file = logdir.join("interchange.log");
    log_to(&LogSpec::parsl_file(&logdir, 10), || {
        assert!(file.exists(), "the file is there before the first line");
        tracing::info!("Connected to client");
    });
    let text = fs::read_to_string(&file).unwrap();
    // <epoch.6> date time MainProcess-pid thread-id name:line function LEVEL: message
    let words: Vec<&str> = text.trim_end().splitn(8, ' ').collect();
    let [created, date, time, process, thread, logger, function, rest] = words[..] else {
        panic!("{text:?}")
    };
    let (seconds, micros) = created.split_once('.').unwrap();
    assert!(
        seconds.parse::<u64>().unwrap() > 1_700_000_000 && micros.len() == 6,
        "{created}"
    );
    assert_eq!((date.len(), time.len()), (10, 8));
    assert_eq!(process, format!("MainProcess-{}", std::process::id()));
    let (name, id) = thread.rsplit_once('-').unwrap();
    assert_eq!(name, "the_default_line_is_as_in_stock");
    assert!(id.parse::<u64>().unwrap() > 0);
    let line = logger
        .strip_prefix("parsl.executors.high_throughput.interchange:")
        .unwrap();
    assert!(line.parse::<u32>().unwrap() > 0);
    assert_eq!((function, rest), ("logging", "INFO: Connected to client"));
    assert!(text.ends_with('\n') && text.lines().count() == 1);
}

#[test]
fn fields_follow_the_message_and_peers_forge_nothing() {
    let text = logged("%(levelname)s|%(message)s", 10, || {
        let peer = "x\n1790000000.0 forged \u{1b}[31m";
        tracing::warn!(manager = peer, tasks = 3, "odd {}", peer);
        tracing::debug!(manager = "m0", reason = ?Some("a\nb"), error = %"c\rd", "plain");
        tracing::debug!(alone = true);
    });
    assert_eq!(
        text,
        "WARNING|odd x\\n1790000000.0 forged \\x1b[31m \
         manager=\"x\\n1790000000.0 forged \\u{1b}[31m\" tasks=3\n\
         DEBUG|plain manager=m0 reason=Some(\"a\\nb\") error=c\\rd\n\
         DEBUG| alone=true\n"
    );
}

#[test]
fn a_code_stands_at_the_very_end_and_has_its_level() {
    let lines = || {
        let host = "n [started]";
        codes::log!(MANAGER_LOST, host, tasks = 4, "Too many heartbeats missed");
        codes::log!(INTERNAL_ERROR, "index {} is out of range", 7);
        codes::log!(STARTED, "a version");
        tracing::info!(code = "no-such-code", "not of the table");
        tracing::info!("without one");
    };
    let text = logged("%(levelname)s|%(message)s|%(msg)s", 10, lines);
    assert_eq!(
        text,
        "WARNING|Too many heartbeats missed host=\"n [started]\" tasks=4 [manager-lost]|\
         Too many heartbeats missed\n\
         ERROR|index 7 is out of range [internal-error]|index 7 is out of range\n\
         INFO|a version [started]|a version\n\
         INFO|not of the table code=no-such-code|not of the table\n\
         INFO|without one|without one\n"
    );
    let dir = TempDir::new().unwrap();
    log_to(&LogSpec::json_logging(dir.path(), 10), lines);
    let json = fs::read_to_string(dir.path().join("interchange.jsonlog")).unwrap();
    let ends: Vec<&str> = json
        .lines()
        .filter_map(|line| Some(line.split_once("\"formatted\": ")?.1))
        .collect();
    assert_eq!(
        ends,
        [
            r#""Too many heartbeats missed host=\"n [started]\" tasks=4", "code": "manager-lost"}"#,
            r#""index 7 is out of range", "code": "internal-error"}"#,
            r#""a version", "code": "started"}"#,
            r#""not of the table code=no-such-code"}"#,
            r#""without one"}"#,
        ]
    );
}

#[test]
fn every_attribute_has_a_value() {
    let format = "%(name)s %(process)05d %(processName)s %(threadName).8s %(filename)s %(module)s \
                  %(pathname)s %(funcName)s %(levelname)-8s|%(levelno)s %(msecs)03d \
                  %(relativeCreated)d %(taskName)s %(exc_info)s %(msg)s %(args)s 100%%";
    let text = logged(format, 10, || tracing::error!(k = 1, "said"));
    let words: Vec<&str> = text.split_whitespace().collect();
    let pid = format!("{:05}", std::process::id());
    assert_eq!(
        words[..4],
        [
            "parsl.executors.high_throughput.interchange",
            &pid,
            "MainProcess",
            "every_at"
        ]
    );
    assert_eq!(words[4..6], ["logging.rs", "logging"]);
    assert!(words[6].ends_with("tests/logging.rs"), "{text}");
    assert_eq!(words[7..10], ["logging", "ERROR", "|40"]);
    assert!(
        words[10].len() == 3 && words[10].parse::<u16>().is_ok(),
        "{text}"
    );
    assert!(words[11].parse::<i64>().is_ok(), "{text}");
    assert_eq!(words[12..], ["None", "None", "said", "()", "100%"]);
}

#[test]
fn levels_are_numbers_of_python() {
    for (level, shown) in [
        (-1, "TDIWE"),
        (0, "TDIWE"),
        (1, "TDIWE"),
        (9, "TDIWE"),
        (10, "DIWE"),
        (11, "IWE"),
        (20, "IWE"),
        (30, "WE"),
        (40, "E"),
        (41, ""),
        (50, ""),
        (i64::MAX, ""),
        (i64::MIN, "TDIWE"),
    ] {
        let text = logged("%(message)s", level, one_of_each);
        assert_eq!(text.replace('\n', ""), shown, "level {level}");
    }
    let names = logged("%(levelname)s", 5, one_of_each);
    assert_eq!(names, "DEBUG\nDEBUG\nINFO\nWARNING\nERROR\n");
}

#[test]
fn a_text_log_is_appended_to_and_a_json_log_is_overwritten() {
    let dir = TempDir::new().unwrap();
    for _ in 0..2 {
        log_to(
            &LogSpec::file_logging(dir.path(), "%(message)s", 10).unwrap(),
            one_of_each,
        );
        log_to(&LogSpec::json_logging(dir.path(), 30), one_of_each);
    }
    let text = fs::read_to_string(dir.path().join("interchange.log")).unwrap();
    assert_eq!(text, "D\nI\nW\nE\nD\nI\nW\nE\n");
    let json = fs::read_to_string(dir.path().join("interchange.jsonlog")).unwrap();
    assert_eq!(json.lines().count(), 2);
}

#[test]
fn python_reads_a_json_log() {
    let dir = TempDir::new().unwrap();
    log_to(&LogSpec::json_logging(dir.path(), 10), || {
        tracing::info!(manager = "m \"0\"", "é\u{1F600}\n\u{2028}\0\u{7f}\\");
    });
    let check = "
import json, sys
[line] = open(sys.argv[1], newline='\\n').read().splitlines()
d = json.loads(line)
assert list(d) == ['created', 'process', 'processName', 'threadName', 'thread', 'name', 'lineno',
                   'funcname', 'levelname', 'msg', 'formatted'], d
assert [type(v).__name__ for v in d.values()] == \
    'float int str str int str int str str str str'.split(), d
assert d['msg'] == 'é\\U0001f600\\n\\u2028\\0\\x7f\\\\', d
assert d['formatted'] == d['msg'] + ' manager=\"m \\\\\"0\\\\\"\"', d
assert line == json.dumps(d), line
";
    let file = dir.path().join("interchange.jsonlog");
    let python = Command::new("python3")
        .arg("-c")
        .arg(check)
        .arg(file)
        .output()
        .unwrap();
    assert!(
        python.status.success(),
        "{}",
        String::from_utf8_lossy(&python.stderr)
    );
}

#[test]
fn no_log_makes_no_file_and_no_subscriber() {
    let (dispatch, guard) = logging::open(&LogSpec::noop()).unwrap();
    assert!(dispatch.is_none());
    assert!(guard.flush_for(Duration::ZERO));
    assert_eq!(guard.dropped_lines(), 0);
}

#[test]
fn a_full_disk_is_counted_and_survived() {
    let dir = TempDir::new().unwrap();
    symlink("/dev/full", dir.path().join("interchange.log")).unwrap();
    let spec = LogSpec::parsl_file(dir.path(), 10);
    let dropped = log_to(&spec, || (0..100).for_each(|n| tracing::info!(n, "lost")));
    assert_eq!(dropped, 100);
}

#[test]
fn a_directory_that_cannot_be_made_is_an_error() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let spec = LogSpec::parsl_file(&dir.path().join("file/logs"), 10);
    assert!(logging::open(&spec).is_err());
}

/// A pipe that no process empties stands for a file system that does not respond.
#[test]
fn a_stalled_log_blocks_nobody() {
    let dir = TempDir::new().unwrap();
    let fifo = dir.path().join("interchange.log");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut reader = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&fifo)
        .unwrap();
    let (dispatch, guard) = logging::open(&LogSpec::parsl_file(dir.path(), 10)).unwrap();
    let began = Instant::now();
    dispatcher::with_default(&dispatch.unwrap(), || {
        for n in 0..40_000 {
            tracing::debug!(n, "Put task onto pending_task_queue");
        }
    });
    assert!(
        guard.dropped_lines() > 20_000,
        "{} dropped",
        guard.dropped_lines()
    );
    let flushing = Instant::now();
    assert!(!guard.flush_for(Duration::from_millis(200)));
    assert!(
        flushing.elapsed() < Duration::from_secs(1),
        "{:?}",
        flushing.elapsed()
    );
    drop(guard);
    assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
    // The lines that were accepted are in order.
    let mut head = [0; 4096];
    reader.read_exact(&mut head).unwrap();
    let head = String::from_utf8_lossy(&head).into_owned();
    for (n, line) in head.lines().take(10).enumerate() {
        assert!(line.ends_with(&format!("queue n={n}")), "{line}");
    }
}

/// A reader may come later and then reads from the first line on.
#[test]
fn an_unread_pipe_blocks_neither_start_nor_end() {
    log_to_a_pipe_alone("interchange.log", LogSpec::parsl_file);
    log_to_a_pipe_alone("interchange.jsonlog", LogSpec::json_logging);
}

fn log_to_a_pipe_alone(name: &str, spec: fn(&Path, i64) -> LogSpec) {
    let dir = TempDir::new().expect("a directory");
    let fifo = dir.path().join(name);
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let spec = spec(dir.path(), 10);
    let (sender, opened) = mpsc::channel();
    std::thread::spawn(move || sender.send(logging::open(&spec)));
    let opened = opened.recv_timeout(LONG).expect("it does not wait");
    let (dispatch, guard) = opened.expect("it can be opened");
    dispatcher::with_default(&dispatch.unwrap_or_else(Dispatch::none), || {
        (0..PIPE_BYTES).for_each(|n| tracing::info!(n, "line"));
    });
    let ending = Instant::now();
    assert!(!guard.flush_last_lines(Duration::ZERO, Duration::ZERO));
    assert!(!guard.flush_for(Duration::from_millis(200)));
    assert!(ending.elapsed() < LONG, "{:?}", ending.elapsed());
    assert!(guard.dropped_lines() > 0);
    let mut reader = BufReader::new(fs::File::open(&fifo).expect("it can be read"));
    let mut first = String::new();
    reader.read_line(&mut first).expect("it is text");
    assert!(first.contains("line n=0"), "{name}: {first}");
}

/// When the process must end soon, a backlog is dropped, but the last few lines are still waited
/// for.
#[test]
fn the_last_few_lines_have_more_time_than_a_backlog() {
    let dir = TempDir::new().unwrap();
    let fifo = dir.path().join("interchange.log");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut pipe = fs::OpenOptions::new();
    pipe.read(true)
        .write(true)
        .custom_flags(nix::libc::O_NONBLOCK);
    let mut pipe = pipe.open(&fifo).unwrap();
    let (dispatch, guard) = logging::open(&LogSpec::parsl_file(dir.path(), 20)).unwrap();
    pipe.write_all(&[b'.'; PIPE_BYTES]).unwrap();
    let say = |lines| (0..lines).for_each(|n| tracing::info!(n, "line"));
    dispatcher::with_default(&dispatch.unwrap(), || {
        say(1000);
        assert!(!guard.flush_last_lines(Duration::ZERO, Duration::MAX));
        let mut room = vec![0; PIPE_BYTES];
        while !guard.flush_for(Duration::from_millis(1)) {
            while pipe.read(&mut room).is_ok() {}
        }
        while pipe.read(&mut room).is_ok() {}
        pipe.write_all(&[b'.'; PIPE_BYTES]).unwrap();
        say(3);
        assert!(!guard.flush_last_lines(Duration::ZERO, Duration::ZERO));
        let taking = std::thread::spawn(move || pipe.read(&mut room).map(|_| pipe));
        assert!(guard.flush_last_lines(Duration::ZERO, LONG));
        taking.join().unwrap().unwrap();
    });
}

#[test]
fn a_started_log_is_the_process_s_only_one() {
    let dir = TempDir::new().unwrap();
    let output = run_child("child_logs_and_exits", dir.path(), "");
    assert!(output.status.success(), "{output:?}");
    let text = fs::read_to_string(dir.path().join("interchange.log")).unwrap();
    assert_eq!(text.lines().count(), 5_000);
    assert!(
        text.ends_with(" INFO: line n=4999\n"),
        "{:?}",
        text.lines().last()
    );
}

#[test]
fn times_are_local_whatever_the_season() {
    for (zone, hours) in [
        ("UTC0", 0_i64),
        ("XXX-3", 3),
        ("XXX+9:30YYY,0/0,J365/25", -8),
    ] {
        let dir = TempDir::new().unwrap();
        let output = run_child("child_logs_and_exits", dir.path(), zone);
        assert!(output.status.success(), "{output:?}");
        let text = fs::read_to_string(dir.path().join("interchange.log")).unwrap();
        let line = text.lines().next().unwrap();
        let mut words = line.split([' ', '.']);
        let created: i64 = words.next().unwrap().parse().unwrap();
        let clock: Vec<i64> = words
            .nth(2)
            .unwrap()
            .split(':')
            .map(|part| part.parse().unwrap())
            .collect();
        let minutes = if hours < 0 { 30 } else { 0 };
        let offset = hours * 3600 - minutes * 60;
        let shown = clock[0] * 3600 + clock[1] * 60 + clock[2];
        assert_eq!(
            shown,
            (created + offset).rem_euclid(86_400),
            "{zone}: {line}"
        );
    }
}

/// Not a test: works only in the child process of the tests above.
#[test]
fn child_logs_and_exits() {
    let Some(logdir) = std::env::var_os("HTEX_TEST_LOGDIR") else {
        return;
    };
    let spec = LogSpec::parsl_file(Path::new(&logdir), 20);
    let guard = logging::start(&spec).unwrap();
    assert!(logging::start(&spec).is_err(), "one log per process");
    assert!(!tracing::enabled!(tracing::Level::DEBUG));
    for n in 0..5_000 {
        tracing::info!(n, "line");
        tracing::debug!(n, "not shown");
    }
    assert!(guard.flush_for(LONG));
    assert_eq!(guard.dropped_lines(), 0);
    let terminate = 1 << (nix::libc::SIGTERM - 1);
    assert_ne!(
        blocked_signals("htex-log") & terminate,
        0,
        "the writer takes no signals"
    );
    assert_eq!(
        blocked_signals("child_logs_and_") & terminate,
        0,
        "others still do"
    );
    // Ends like the program: no code runs after the flush.
    // SAFETY: the process ends here, so its remaining state does not matter.
    unsafe { nix::libc::_exit(0) }
}

fn one_of_each() {
    tracing::trace!("T");
    tracing::debug!("D");
    tracing::info!("I");
    tracing::warn!("W");
    tracing::error!("E");
}

fn logged(format: &str, level: i64, log: impl FnOnce()) -> String {
    let dir = TempDir::new().expect("a directory");
    log_to(
        &LogSpec::file_logging(dir.path(), format, level).expect("a format of Python's"),
        log,
    );
    fs::read_to_string(dir.path().join("interchange.log")).expect("the log is there")
}

/// Runs `log` with a log and returns how many lines were dropped.
fn log_to(spec: &LogSpec, log: impl FnOnce()) -> u64 {
    let (dispatch, guard) = logging::open(spec).expect("it can be opened");
    dispatcher::with_default(&dispatch.unwrap_or_else(Dispatch::none), log);
    assert!(guard.flush_for(LONG));
    guard.dropped_lines()
}

/// Returns the `SigBlk` of the thread whose name begins with `thread`.
fn blocked_signals(thread: &str) -> u64 {
    for task in fs::read_dir("/proc/self/task").expect("Linux has it") {
        let status = fs::read_to_string(task.expect("readable").path().join("status"));
        let status = status.expect("the thread lives");
        let entry = |key: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(key))
                .expect("each thread has it")
        };
        if entry("Name:").trim().starts_with(thread) {
            return u64::from_str_radix(entry("SigBlk:").trim(), 16).expect("hexadecimal");
        }
    }
    panic!("no thread {thread}")
}

/// Runs one test in a process of its own. Under emulation the kernel cannot start this program:
/// `HTEX_TEST_RUNNER` has the words that do.
fn run_child(test: &str, logdir: &Path, zone: &str) -> Output {
    let runner = std::env::var("HTEX_TEST_RUNNER").unwrap_or_default();
    let own = std::env::current_exe().expect("this test's file");
    let mut words = runner
        .split_whitespace()
        .map(OsStr::new)
        .chain([own.as_os_str()]);
    let mut child = Command::new(words.next().expect("at least this test's file"));
    child
        .args(words)
        .args([test, "--exact", "--nocapture"])
        .env("HTEX_TEST_LOGDIR", logdir);
    if !zone.is_empty() {
        child.env("TZ", zone);
    }
    child.output().expect("it runs")
}

#[test]
fn the_default_format_is_parsls() {
    let spec = LogSpec::file_logging(Path::new("x"), PARSL_FORMAT, 10).unwrap();
    let default = LogSpec::parsl_file(Path::new("x"), 10);
    assert_eq!(format!("{spec:?}"), format!("{default:?}"));
}
