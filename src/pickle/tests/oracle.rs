//! The Rust side of `oracle.py`: one CPython process for the whole test run.

use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

static ORACLE: Mutex<Option<Oracle>> = Mutex::new(None);

struct Oracle {
    child: Child,
    requests: ChildStdin,
    answers: ChildStdout,
}

/// How one unpickler loads an original, and the batch that carries it.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// "ok" or an error.
    pub(crate) original: String,
    /// "same", an error, or a description of the difference.
    pub(crate) batch: String,
}

impl Verdict {
    pub(crate) fn original_loads(&self) -> bool {
        self.original == "ok"
    }
}

/// CPython ended or exceeded its time limit during a request, because the object exhausts it. The
/// next request starts another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended;

/// Compares an original with a batch `[left, original, right]`, in the unpickler in C and in
/// Python.
pub(crate) fn judge(
    original: &[u8],
    batch: &[u8],
    beside: &[Vec<u8>; 2],
    passage: &str,
) -> Result<[Verdict; 2], Ended> {
    let [left, right] = beside;
    let answer = ask_text(b'J', &[original, batch, left, right, passage.as_bytes()])?;
    let mut fields = answer.split('\t').map(str::to_owned);
    let mut field = || fields.next().expect("the oracle answers in four fields");
    Ok([(), ()].map(|()| Verdict {
        original: field(),
        batch: field(),
    }))
}

/// Returns the result of `pickle.loads` in C and in Python: "ok" or an error.
pub(crate) fn load(original: &[u8]) -> Result<[String; 2], Ended> {
    let answer = ask_text(b'L', &[original])?;
    let (c, python) = answer.split_once('\t').expect("two fields");
    Ok([c.to_owned(), python.to_owned()])
}

/// Returns a description of the pickle's content, in the words of `describe.rs`. Returns an error
/// if the pickle does not load, and `None` if it holds instances or classes.
pub(crate) fn describe(original: &[u8]) -> Result<Result<Option<String>, String>, Ended> {
    let answer = ask_text(b'D', &[original])?;
    Ok(match answer.split_once('\t') {
        Some(("plain", text)) => Ok(Some(text.to_owned())),
        Some(("odd", _)) => Ok(None),
        _ => Err(answer),
    })
}

/// Returns a pickle of random objects.
#[allow(dead_code, reason = "fuzzing has inputs of its own")]
pub(crate) fn generate(seed: u64, protocol: u8) -> Vec<u8> {
    let (seed, protocol) = (seed.to_string(), protocol.to_string());
    ask(b'G', &[seed.as_bytes(), protocol.as_bytes()]).expect("it makes objects of any seed")
}

/// Returns the values that Python finds under the keys of a message that are used for routing, in
/// the words of `facts` in `oracle.py`. Returns `None` if the message does not load.
#[allow(dead_code, reason = "only fuzzing asks for messages")]
pub(crate) fn facts(original: &[u8]) -> Result<Option<Vec<String>>, Ended> {
    let answer = ask_text(b'F', &[original])?;
    let loaded = answer.strip_prefix("loaded\t");
    Ok(loaded.map(|fields| fields.split('\t').map(str::to_owned).collect()))
}

fn ask_text(kind: u8, parts: &[&[u8]]) -> Result<String, Ended> {
    Ok(String::from_utf8(ask(kind, parts)?).expect("the oracle answers in UTF-8"))
}

fn ask(kind: u8, parts: &[&[u8]]) -> Result<Vec<u8>, Ended> {
    let mut request = vec![0; 4];
    request.push(kind);
    for part in parts {
        request.extend(length(part.len()));
        request.extend_from_slice(part);
    }
    let size = length(request.len() - 4);
    request[..4].copy_from_slice(&size);

    // A failed test can poison the lock only between two requests, so the state is still valid.
    let mut guard = ORACLE.lock().unwrap_or_else(PoisonError::into_inner);
    let oracle = guard.get_or_insert_with(start);
    oracle.exchange(&request).map_err(|_| {
        if let Some(mut ended) = guard.take() {
            // The process may still be ending, and must not be left behind.
            let _ = ended.child.kill();
            let _ = ended.child.wait();
        }
        Ended
    })
}

impl Oracle {
    fn exchange(&mut self, request: &[u8]) -> io::Result<Vec<u8>> {
        self.requests.write_all(request)?;
        let mut size = [0; 4];
        self.answers.read_exact(&mut size)?;
        let mut answer = vec![0; u32::from_le_bytes(size) as usize];
        self.answers.read_exact(&mut answer)?;
        Ok(answer)
    }
}

fn length(size: usize) -> [u8; 4] {
    u32::try_from(size)
        .expect("test data is small")
        .to_le_bytes()
}

fn start() -> Oracle {
    let python = std::env::var("HTEX_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut child = Command::new(&python)
        .args(["-c", include_str!("oracle.py")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{python}: {error}; set HTEX_TEST_PYTHON"));
    Oracle {
        requests: child.stdin.take().expect("piped"),
        answers: child.stdout.take().expect("piped"),
        child,
    }
}
