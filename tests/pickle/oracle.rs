//! The Rust end of `oracle.py`: one CPython process for the whole run.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

static ORACLE: Mutex<Option<Oracle>> = Mutex::new(None);

struct Oracle {
    _child: Child,
    requests: ChildStdin,
    answers: ChildStdout,
}

/// What loading an original and a batch that carries it came to, by one unpickler.
#[derive(Debug)]
pub struct Verdict {
    /// "ok" or an error.
    pub original: String,
    /// "same", an error, or what is wrong.
    pub batch: String,
}

impl Verdict {
    pub fn original_loads(&self) -> bool {
        self.original == "ok"
    }
}

/// Judges a batch `[left, X, right]` by the unpickler in C and by the one in Python.
pub fn judge(original: &[u8], batch: &[u8], beside: &[Vec<u8>; 2], passage: &str) -> [Verdict; 2] {
    let [left, right] = beside;
    let answer = ask_text(b'J', &[original, batch, left, right, passage.as_bytes()]);
    let mut fields = answer.split('\t').map(str::to_owned);
    let mut field = || fields.next().expect("the oracle answers in four fields");
    [(), ()].map(|()| Verdict {
        original: field(),
        batch: field(),
    })
}

/// What `pickle.loads` says, in C and in Python: "ok" or an error.
pub fn load(original: &[u8]) -> [String; 2] {
    let answer = ask_text(b'L', &[original]);
    let (c, python) = answer.split_once('\t').expect("two fields");
    [c.to_owned(), python.to_owned()]
}

/// A description of what the pickle holds, in the words of `describe.rs`; an error if it does not
/// load, and `None` if it holds instances or classes.
pub fn describe(original: &[u8]) -> Result<Option<String>, String> {
    let answer = ask_text(b'D', &[original]);
    match answer.split_once('\t') {
        Some(("plain", text)) => Ok(Some(text.to_owned())),
        Some(("odd", _)) => Ok(None),
        _ => Err(answer),
    }
}

/// A pickle of random objects.
pub fn generate(seed: u64, protocol: u8) -> Vec<u8> {
    let (seed, protocol) = (seed.to_string(), protocol.to_string());
    ask(b'G', &[seed.as_bytes(), protocol.as_bytes()])
}

fn ask_text(kind: u8, parts: &[&[u8]]) -> String {
    String::from_utf8(ask(kind, parts)).expect("the oracle answers in UTF-8")
}

fn ask(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut request = vec![0; 4];
    request.push(kind);
    for part in parts {
        request.extend(length(part.len()));
        request.extend_from_slice(part);
    }
    let size = length(request.len() - 4);
    request[..4].copy_from_slice(&size);

    // A failed test poisons the lock between two requests, never within one.
    let mut guard = ORACLE.lock().unwrap_or_else(PoisonError::into_inner);
    let oracle = guard.get_or_insert_with(start);
    oracle
        .requests
        .write_all(&request)
        .expect("the oracle listens");
    let mut size = [0; 4];
    oracle
        .answers
        .read_exact(&mut size)
        .expect("the oracle answers");
    let mut answer = vec![0; u32::from_le_bytes(size) as usize];
    oracle
        .answers
        .read_exact(&mut answer)
        .expect("the oracle answers");
    answer
}

fn length(size: usize) -> [u8; 4] {
    u32::try_from(size)
        .expect("test data is small")
        .to_le_bytes()
}

fn start() -> Oracle {
    let python = std::env::var("HTEX_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pickle/oracle.py");
    let mut child = Command::new(&python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{python}: {error}; set HTEX_TEST_PYTHON"));
    Oracle {
        requests: child.stdin.take().expect("piped"),
        answers: child.stdout.take().expect("piped"),
        _child: child,
    }
}
