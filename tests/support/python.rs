//! The Rust side of `python.py`: one CPython process for the whole run.

use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

static PYTHON: Mutex<Option<Python>> = Mutex::new(None);

struct Python {
    _child: Child,
    requests: ChildStdin,
    answers: ChildStdout,
}

/// Returns the pickle of an expression's value.
pub fn pickle(protocol: u8, expression: &str) -> Vec<u8> {
    ask(b'P', protocol.to_string().as_bytes(), expression)
}

/// Returns the text of an expression over `x`, the object that `bytes` load to. Both of Python's
/// unpicklers must agree. An error is returned as `Type: text`.
pub fn load(bytes: &[u8], expression: &str) -> String {
    let answer = ask(b'L', bytes, expression);
    let (len, texts) = answer.split_first_chunk().expect("a length");
    let (in_c, in_python) = texts.split_at(u32::from_le_bytes(*len) as usize);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(
        text(in_c),
        text(in_python),
        "Python's two unpicklers differ"
    );
    text(in_c)
}

fn ask(kind: u8, first: &[u8], second: &str) -> Vec<u8> {
    let mut request = vec![kind];
    for part in [first, second.as_bytes()] {
        let len = u32::try_from(part.len()).expect("test data is small");
        request.extend(len.to_le_bytes());
        request.extend_from_slice(part);
    }
    // A failed test may poison the lock, but only between two requests.
    let mut guard = PYTHON.lock().unwrap_or_else(PoisonError::into_inner);
    let python = guard.get_or_insert_with(start);
    python.exchange(&request).unwrap_or_else(|error| {
        // The next test starts another process.
        *guard = None;
        panic!("Python ended at {second}: {error}; its traceback is above")
    })
}

impl Python {
    fn exchange(&mut self, request: &[u8]) -> io::Result<Vec<u8>> {
        self.requests.write_all(request)?;
        let mut len = [0; 4];
        self.answers.read_exact(&mut len)?;
        let mut answer = vec![0; u32::from_le_bytes(len) as usize];
        self.answers.read_exact(&mut answer)?;
        Ok(answer)
    }
}

fn start() -> Python {
    let python = std::env::var("HTEX_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python.py");
    let mut child = Command::new(&python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{python}: {error}; set HTEX_TEST_PYTHON"));
    Python {
        requests: child.stdin.take().expect("piped"),
        answers: child.stdout.take().expect("piped"),
        _child: child,
    }
}
