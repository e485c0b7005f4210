//! Compares the results for a pickle with CPython's. A forwarded object must arrive unchanged
//! beside its neighbours in a batch. The keys that route a task or a message must have the values
//! that Python finds.

use std::sync::atomic::{AtomicU32, Ordering};

use pickle::{Tree, View};
use protocol::{FromManager, Priority, Stay};

use super::judging::{Case, Trouble};
use super::{oracle, task};

/// Largest number of consecutive inputs that may end CPython. Objects that exhaust it are rare, so
/// more of them mean that the oracle is broken.
const ENDED_IN_A_ROW_MAX: u32 = 200;

static ENDED_IN_A_ROW: AtomicU32 = AtomicU32::new(0);

pub fn run(data: &[u8]) {
    let neighbours = data.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte));
    let case = Case::new(data.to_vec(), neighbours);
    match case.judge().map(drop).and_then(|()| judge_messages(data)) {
        Ok(()) => ENDED_IN_A_ROW.store(0, Ordering::Relaxed),
        Err(Trouble::Broken(reason)) => panic!("{reason}"),
        Err(Trouble::OracleEnded) => {
            let ended = ENDED_IN_A_ROW.fetch_add(1, Ordering::Relaxed);
            assert!(ended < ENDED_IN_A_ROW_MAX, "the oracle does not answer");
        }
    }
}

fn judge_messages(data: &[u8]) -> Result<(), Trouble> {
    let task = task::parse(data, Stay::Short);
    if task.is_err() && FromManager::parse(data).is_err() {
        return Ok(());
    }
    let Some(facts) = oracle::facts(data)? else {
        return Ok(()); // Python cannot load it.
    };
    let is_plain = is_routed_plainly(data);
    if let Ok(task) = &task {
        judge_task(task.id.0, task.priority, &facts, is_plain)?;
        judge_batch(data, &task::batch(&task.body))?;
    }
    if let Ok(message) = FromManager::parse(data) {
        judge_message(&message, &facts, is_plain)?;
    }
    Ok(())
}

/// Checks that a batch with three tasks, of which the input is the second, loads in CPython if the
/// input does.
fn judge_batch(data: &[u8], batch: &[u8]) -> Result<(), Trouble> {
    match oracle::load(batch)? {
        [c, _] if c == "ok" => Ok(()),
        [c, _] => {
            let [alone, _] = oracle::load(data)?;
            match alone == "ok" {
                true => Err(format!("loads alone, but in a batch: {c}").into()),
                false => Ok(()),
            }
        }
    }
}

fn judge_task(id: i64, ours: Priority, facts: &[String], is_plain: bool) -> Result<(), Trouble> {
    let [_, task_id, buffer, .., priority] = facts else {
        return Err(format!("a task, but Python finds {facts:?}").into());
    };
    if !is_plain {
        return Ok(());
    }
    expect("task_id", &format!("i{}", int_text(id)), task_id)?;
    if buffer == "-" {
        return Err("a task without a buffer".to_owned().into());
    }
    match priority_of(priority) {
        Some(theirs) if theirs != ours => {
            Err(format!("priority {ours:?}, but Python finds {priority}").into())
        }
        _ => Ok(()),
    }
}

fn judge_message<B>(
    message: &FromManager<B>,
    facts: &[String],
    is_plain: bool,
) -> Result<(), Trouble> {
    let [kind, task_id, _, result, exception, payload, _] = facts else {
        return Err(format!("a message, but Python finds {facts:?}").into());
    };
    if !is_plain {
        return Ok(());
    }
    let ours: String = message
        .kind()
        .bytes()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    expect("type", &format!("s{ours}"), kind)?;
    match message {
        FromManager::Result {
            task, is_exception, ..
        } => {
            expect("task_id", &format!("i{}", int_text(task.0)), task_id)?;
            let theirs = result.as_str() == "-";
            expect("exception", &is_exception.to_string(), &theirs.to_string())?;
            let has_outcome = [result, exception]
                .iter()
                .any(|outcome| outcome.as_str() != "-");
            expect("outcome", "true", &has_outcome.to_string())
        }
        FromManager::SpoiltResult { task, .. } => {
            expect("task_id", &format!("i{}", int_text(task.0)), task_id)
        }
        FromManager::Monitoring { .. } if payload == "-" => {
            Err("monitoring without a payload".to_owned().into())
        }
        FromManager::Monitoring { .. }
        | FromManager::Registration(_)
        | FromManager::ConnectionProbe
        | FromManager::Heartbeat
        | FromManager::Drain => Ok(()),
    }
}

fn expect(what: &str, ours: &str, theirs: &str) -> Result<(), Trouble> {
    match ours == theirs {
        true => Ok(()),
        false => Err(format!("{what}: we say {ours}, Python finds {theirs}").into()),
    }
}

/// Reads a priority from the oracle's text; None if it is not a plain number.
fn priority_of(word: &str) -> Option<Priority> {
    let bytes = |digits: &str| -> Option<Vec<u8>> {
        let pairs = digits.as_bytes().chunks(2);
        pairs
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect()
    };
    match word.split_at_checked(1)? {
        ("-", _) => Some(Priority::LOWEST),
        ("o", flag) => Some(Priority::from_i64(i64::from(flag == "1"))),
        ("f", "nan") => Some(Priority::LOWEST),
        ("f", digits) => {
            let bits = u64::from_str_radix(digits, 16).ok()?;
            Priority::from_f64(f64::from_bits(bits))
        }
        ("i", digits) => {
            let bytes = bytes(digits)?;
            let fill = match bytes.last()? & 0x80 {
                0 => 0,
                _ => 0xff,
            };
            let mut wide = [fill; 8];
            wide.get_mut(..bytes.len())?.copy_from_slice(&bytes);
            Some(Priority::from_i64(i64::from_le_bytes(wide)))
        }
        _ => None,
    }
}

/// Formats an integer like `atom` in `oracle.py`.
fn int_text(value: i64) -> String {
    let bits = 64 - (value ^ (value >> 63)).leading_zeros();
    let bytes = value.to_le_bytes();
    let used = &bytes[..(bits / 8 + 1) as usize];
    used.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether routing depends on no function call. A key may be the result of a call and equal to a
/// text that is looked up here, but calls are never made here.
fn is_routed_plainly(data: &[u8]) -> bool {
    let Ok(tree) = Tree::read(data) else {
        return false;
    };
    let has_plain_keys = |dict: View<'_, '_>| {
        dict.is_dict()
            && dict
                .entries()
                .into_iter()
                .flatten()
                .all(|(key, _)| key.instance().is_none())
    };
    let root = tree.root();
    let context = root.get("context");
    let specs = [
        context.and_then(|context| context.get("resource_spec")),
        root.get("resource_spec"),
    ];
    let looked_into = [Some(root), context, specs[0], specs[1]];
    looked_into.into_iter().flatten().all(has_plain_keys)
}
