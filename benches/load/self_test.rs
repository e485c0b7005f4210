//! Checks this program's own functions against pickles that Python made. `cargo test` runs it.

use std::sync::Arc;

use super::arguments::Priorities;
use super::batch_reader::{BatchReader, Read};
use super::checker::{Checker, Ids};
use super::crew::source_of;
use super::order::{Order, priority_of};
use super::pattern::{Kind, Pattern, Sizes};
use super::report::Report;
use super::shared::Shared;
use super::trouble::Trouble;
use super::words;

/// Runs all checks. Panics if one fails.
pub(crate) fn run() {
    frames_are_pythons();
    batches_of_both_kinds_are_read();
    malformed_batches_are_refused();
    every_change_of_a_result_is_seen();
    every_fault_of_a_task_is_seen();
    the_order_by_priority_is_stable();
    ids_are_counted_once();
    reports_are_json();
    sizes_vary();
    losses_are_read();
    sources_differ();
}

fn pattern(seed: u64, task: usize, result: usize) -> Pattern {
    Pattern::new(seed, Sizes::Fixed { task, result })
}

/// The bytes around the contents, as `pickle.dumps` of Python 3.11 wrote them.
fn frames_are_pythons() {
    let mut out = Vec::new();
    let small = pattern(1, 16, 300);
    small.write_task(70_000, None, &mut out);
    assert!(out.starts_with(
        b"\x80\x04\x95<\0\0\0\0\0\0\0}\x94(\x8c\x07task_id\x94Jp\x11\x01\0\x8c\x07context\x94}\x94\
          \x8c\x06buffer\x94C\x10"
    ));
    assert!(out.ends_with(b"\x94u.") && out.len() == 71);
    small.write_task(7, Some(300), &mut out);
    assert!(out.starts_with(
        b"\x80\x04\x95[\0\0\0\0\0\0\0}\x94(\x8c\x07task_id\x94K\x07\x8c\x07context\x94}\x94\
          \x8c\rresource_spec\x94}\x94\x8c\x08priority\x94M,\x01ss\x8c\x06buffer\x94C\x10"
    ));
    small.write_result(70_000, &mut out);
    assert!(out.starts_with(
        b"\x80\x04\x95X\x01\0\0\0\0\0\0}\x94(\x8c\x04type\x94\x8c\x06result\x94\x8c\x07task_id\
          \x94Jp\x11\x01\0h\x02B,\x01\0\0"
    ));
    assert!(out.len() == 355);
    let large = pattern(1, 70_000, 70_000);
    large.write_task(70_000, None, &mut out);
    assert!(out.starts_with(b"\x80\x04\x95'\0\0\0\0\0\0\0}\x94(") && out.len() == 70_058);
    large.write_result(70_000, &mut out);
    assert!(out.starts_with(b"\x80\x04\x95$\0\0\0\0\0\0\0}\x94(") && out.len() == 70_055);
    assert_eq!(large.read_result(&out), Some(70_000));
}

/// One batch was pickled by Python, with keys from the memo; one was joined from two bodies.
fn batches_of_both_kinds_are_read() {
    let anew = b"\x80\x04\x95B\0\0\0\0\0\0\0]\x94(}\x94(\x8c\x07task_id\x94K\x01\x8c\x07context\
                 \x94}\x94\x8c\x06buffer\x94C\x03abc\x94u}\x94(h\x02K\x02h\x03}\x94h\x05C\x01x\
                 \x94ue.";
    let linked = b"\x80\x04](}\x94(\x8c\x07task_id\x94Jp\x11\x01\0\x8c\x07context\x94}\x94\x8c\
                   \rresource_spec\x94}\x94\x8c\x08priority\x94J\xfd\xff\xff\xffss\x8c\x06buffer\
                   \x94C\x04defg\x94u}\x94(\x8c\x07task_id\x94K\x09\x8c\x07context\x94}\x94\x8c\
                   \x06buffer\x94B\x01\0\0\0h\x94ue.";
    let single = b"\x80\x04]\x94}\x94(\x8c\x07task_id\x94K\x01\x8c\x07context\x94}\x94\x8c\x06\
                   buffer\x94C\x03xxx\x94ua.";
    assert_eq!(
        tasks_of(anew),
        [(1, None, b"abc".to_vec()), (2, None, b"x".to_vec())]
    );
    assert_eq!(
        tasks_of(linked),
        [
            (70_000, Some(-3), b"defg".to_vec()),
            (9, None, b"h".to_vec())
        ]
    );
    assert_eq!(tasks_of(single), [(1, None, b"xxx".to_vec())]);
    let mut reader = BatchReader::default();
    let echo = b"\x80\x04\x95\x08\0\0\0\0\0\0\0\x8a\x05\xff\xff\xff\xff\0.";
    assert_eq!(reader.read(echo), Ok(Read::Number(0xffff_ffff)));
}

fn tasks_of(message: &[u8]) -> Vec<(u64, Option<i64>, Vec<u8>)> {
    let mut reader = BatchReader::default();
    match reader.read(message) {
        Ok(Read::Tasks(tasks)) => tasks
            .iter()
            .map(|task| (task.id, task.priority, task.buffer.of(message).to_vec()))
            .collect(),
        other => panic!("{other:?}"),
    }
}

fn malformed_batches_are_refused() {
    let mut reader = BatchReader::default();
    let whole = b"\x80\x04]\x94}\x94(\x8c\x07task_id\x94K\x01\x8c\x07context\x94}\x94\x8c\x06\
                  buffer\x94C\x03xxx\x94ua.";
    for len in 0..whole.len() {
        assert!(reader.read(&whole[..len]).is_err(), "{len} bytes");
    }
    let surplus = [&whole[..], b"."].concat();
    for wrong in [
        &surplus[..],
        b"\x80\x04]\x94N.",
        b"\x80\x04]\x94Na.",
        b"\x80\x04]\x94}\x94a.",
        b"\x80\x04e.",
        b"\x80\x04h\x07.",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\xff.",
        b"\x80\x04c.",
    ] {
        assert!(reader.read(wrong).is_err(), "{}", wrong.escape_ascii());
    }
}

fn every_change_of_a_result_is_seen() {
    let pattern = pattern(3, 100, 100);
    let mut result = Vec::new();
    pattern.write_result(300, &mut result);
    assert_eq!(pattern.read_result(&result), Some(300));
    for place in 0..result.len() {
        result[place] ^= 1;
        assert_eq!(pattern.read_result(&result), None, "byte {place}");
        result[place] ^= 1;
    }
    result.push(b'.');
    assert_eq!(pattern.read_result(&result), None);
}

fn every_fault_of_a_task_is_seen() {
    let pattern = Arc::new(pattern(5, 64, 64));
    let mut message = Vec::new();
    let mut batch = |id: u64, spoil: &dyn Fn(&mut Vec<u8>)| {
        pattern.write_task(id, None, &mut message);
        let mut batch = [b"\x80\x04]", &message[11..message.len() - 1], b"a."].concat();
        spoil(&mut batch);
        batch
    };
    let none = (Priorities::None, 5);
    let mut checker = Checker::new(Arc::clone(&pattern), Order::Submission, none, 10);
    let mut reader = BatchReader::default();
    let mut last = None;
    let mut check = |batch: Vec<u8>| {
        let Ok(Read::Tasks(&[task])) = reader.read(&batch) else {
            panic!("{}", batch.escape_ascii());
        };
        checker.check(&task, &batch, &mut last, 4)
    };
    let is_violation = |outcome| matches!(outcome, Err(Trouble::Violation(_)));
    assert_eq!(check(batch(2, &|_| {})), Ok(()));
    assert!(is_violation(check(batch(2, &|_| {}))), "twice");
    assert!(is_violation(check(batch(1, &|_| {}))), "out of order");
    assert!(is_violation(check(batch(11, &|_| {}))), "never submitted");
    let middle = |batch: &mut Vec<u8>| {
        let place = batch.len() - 30;
        batch[place] ^= 1;
    };
    assert!(is_violation(check(batch(3, &middle))), "changed");
    assert!(is_violation(check(batch(7, &|_| {}))), "too far ahead");
    assert_eq!(check(batch(4, &|_| {})), Ok(()));
    assert!(!pattern.is(Kind::Task, 1, &[0; 64]) && !pattern.is(Kind::Task, 1, b""));
}

fn the_order_by_priority_is_stable() {
    let count = 5000;
    let order = Order::by_priority(Priorities::Random, 9, count);
    let mut ids: Vec<u64> = (1..=count).collect();
    ids.sort_by_key(|id| (priority_of(Priorities::Random, 9, *id), *id));
    let mut last = None;
    for (received, id) in ids.iter().enumerate() {
        assert_eq!(order.check(*id, &mut last, received as u64, 1), Ok(()));
    }
    assert!(order.check(ids[3], &mut last, count, 1).is_err());
}

fn ids_are_counted_once() {
    let mut ids = Ids::up_to(64);
    assert_eq!((ids.insert(64), ids.insert(64)), (Some(true), Some(false)));
    assert_eq!(ids.insert(128), None);
}

fn reports_are_json() {
    let mut inner = Report::default();
    inner.add("a \"name\"", 3_u64);
    let mut report = Report::default();
    report
        .add("number", 1234.5678)
        .add("small", 0.000_123_456)
        .add("none", f64::NAN)
        .add("yes", true)
        .add("inner", inner);
    assert_eq!(
        report.to_json(),
        r#"{"number": 1234.57, "small": 0.000123456, "none": null, "yes": true, "inner": {"#
            .to_owned()
            + r#""a \"name\"": 3}}"#
    );
}

fn sizes_vary() {
    let varied = Pattern::new(1, Sizes::Varied);
    let mut sizes = Vec::new();
    let mut out = Vec::new();
    for id in 1..20_000 {
        varied.write_result(id, &mut out);
        assert_eq!(varied.read_result(&out), Some(id));
        varied.write_task(id, None, &mut out);
        sizes.push(out.len());
    }
    sizes.sort_unstable();
    assert!(sizes[0] < 100 && sizes[10_000] > 1000 && sizes[10_000] < 10_000);
    let large = sizes.iter().filter(|size| **size > 70_000).count();
    assert!((1..=12).contains(&large) && sizes[sizes.len() - 1] > 1 << 20);
}

/// The bytes are those of `src/protocol/failure.rs`, shortened.
fn losses_are_read() {
    let exception = b"02\n\x80\x04\x8c\x0bManagerLost\x94C\x0c001000000007\x94\x8c\x04load.";
    let mut out = pickle::Encoder::new();
    out.begin_dict();
    out.str("type").str("result").str("task_id").int(9);
    out.str("exception").bytes(exception);
    out.end_dict();
    let loss = out.finish();
    assert_eq!(
        words::read_loss(&loss),
        Some((9, "001000000007".to_owned()))
    );
    let shared = Shared::default();
    assert!(shared.check_loss(9, "001000000007").is_err());
    let mut told = shared.coming_and_going();
    told.excused.insert("001000000007".to_owned());
    drop(told);
    assert_eq!(shared.check_loss(9, "001000000007"), Ok(()));
    assert_eq!(words::read_loss(b"\x80\x04N."), None);
}

fn sources_differ() {
    let endpoint = "tcp://127.0.0.1:50000";
    assert_eq!(source_of(endpoint, 16_383), endpoint);
    assert_eq!(
        source_of(endpoint, 32_768),
        "tcp://127.0.0.3:0;127.0.0.1:50000"
    );
}
