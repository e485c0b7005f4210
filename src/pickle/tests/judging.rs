//! Compares the scanner, the splicer and the tree with CPython on one pickle.

use pickle::op;
use pickle::{Encoder, Fault, Program, Tree, scan};

use super::describe::describe;
use super::oracle;

/// The reasons why a case has no verdict.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// A promise of the crate was broken.
    Broken(String),
    /// CPython ended, because the object exhausts it. Such an object shows nothing about this
    /// crate.
    OracleEnded,
}

impl From<String> for Trouble {
    fn from(broken: String) -> Self {
        Self::Broken(broken)
    }
}

impl From<oracle::Ended> for Trouble {
    fn from(_: oracle::Ended) -> Self {
        Self::OracleEnded
    }
}

/// A pickle, and a number that selects its two neighbours in a batch.
pub(crate) struct Case {
    pub(crate) original: Vec<u8>,
    neighbours: u8,
}

impl Case {
    pub(crate) fn new(original: Vec<u8>, neighbours: u8) -> Self {
        Self {
            original,
            neighbours,
        }
    }

    /// Returns the results in a few words for the tally, or an error if a promise was broken.
    pub(crate) fn judge(&self) -> Result<Vec<String>, Trouble> {
        match scan(&self.original) {
            Ok(program) => self.judge_accepted(&program),
            Err(error) => {
                if Tree::read(&self.original).is_ok() {
                    return Err(format!("scan refuses what the tree reads: {error}").into());
                }
                self.judge_refused(error.fault)
            }
        }
    }

    fn judge_refused(&self, fault: Fault) -> Result<Vec<String>, Trouble> {
        let documented = matches!(fault, Fault::MemoIndexTooLarge(_) | Fault::OutOfBandBuffer);
        let [c, python] = oracle::load(&self.original)?;
        // A line of protocol 0 must be valid for both unpicklers.
        let differs = fault == Fault::BadNumber && python != "ok";
        if c == "ok" && !documented && !differs {
            return Err(format!("refused as {fault:?}, but C says {c}, Python {python}").into());
        }
        let fault = format!("{fault:?}");
        let name = fault.split('(').next().unwrap_or_default();
        Ok(vec![format!(
            "refused, {name}; {}",
            if c == "ok" { "C loads it" } else { "rightly" }
        )])
    }

    fn judge_accepted(&self, program: &Program) -> Result<Vec<String>, Trouble> {
        let beside = neighbours(self.neighbours);
        let batch = batch(program, &self.original, &beside);
        let passage = if program.is_spliceable() {
            "spliced"
        } else {
            "nested"
        };
        let mut classes = Vec::new();
        let verdicts = oracle::judge(&self.original, &batch, &beside, passage)?;
        for (name, verdict) in ["C", "Python"].iter().zip(verdicts) {
            let summary = if verdict.original_loads() {
                if verdict.batch != "same" {
                    return Err(format!("{passage}, {name}: {}", verdict.batch).into());
                }
                "the same".to_owned()
            } else if is_structural(&verdict.original, name, &self.original) {
                return Err(format!("accepted, but {name} says {}", verdict.original).into());
            } else if *name == "C" && verdict.batch.starts_with("loads although") {
                return Err(
                    format!("{passage}: {} after {}", verdict.batch, verdict.original).into(),
                );
            } else {
                verdict
                    .original
                    .split(':')
                    .next()
                    .unwrap_or_default()
                    .to_owned()
            };
            classes.push(format!("{passage}, {name}: {summary}"));
        }
        classes.push(self.judge_tree()?);
        Ok(classes)
    }

    /// Checks that the tree holds the same as Python, or refuses a pickle that Python cannot load
    /// either.
    fn judge_tree(&self) -> Result<String, Trouble> {
        match (
            Tree::read(&self.original),
            oracle::describe(&self.original)?,
        ) {
            (Ok(tree), Ok(Some(expected))) => match describe(&tree) {
                Some(ours) if ours == expected => Ok("tree: the same".to_owned()),
                Some(ours) => Err(format!("tree: {ours}\n      {expected}").into()),
                None => Ok("tree: plain after calls".to_owned()),
            },
            (Ok(_), Ok(None)) => Ok("tree: with instances".to_owned()),
            (Ok(_), Err(_)) => Ok("tree: reads what fails".to_owned()),
            (Err(error), Err(_)) => Ok(format!("tree: refused, {:?}", error.fault)),
            (Err(error), Ok(_)) if oracle::load(&self.original)?[1] != "ok" => {
                Ok(format!("tree: refused, {:?}, as by Python", error.fault))
            }
            (Err(error), Ok(_)) => {
                // The tree refuses assignments into a list and additions to a bytearray by design.
                let fills = [op::APPEND, op::APPENDS, op::SETITEM, op::SETITEMS];
                if error.fault == Fault::WrongType && fills.contains(&self.original[error.offset]) {
                    return Ok("tree: refuses lawful changes".to_owned());
                }
                Err(format!("tree: {error}, but it loads").into())
            }
        }
    }
}

/// Whether the error is of a kind that scanning must detect.
fn is_structural(error: &str, unpickler: &str, original: &[u8]) -> bool {
    let semantic = [
        "STACK_GLOBAL requires str",
        "UnpicklingError: NEWOBJ",
        "state is not a dictionary",
    ];
    let frames = [
        "pickle exhausted before end of frame",
        "beginning of a new frame before end of current frame",
    ];
    let only_python = unpickler == "Python" && frames.iter().any(|text| error.contains(text));
    let kinds = ["UnpicklingError", "EOFError", "UnicodeDecodeError"];
    // Errors of other kinds may quote these words from the pickle.
    let is_argument = error.starts_with("ValueError: ")
        && (error.contains("could not convert string to") || error.contains("protocol"));
    (is_argument || kinds.iter().any(|kind| error.starts_with(kind)))
        && !only_python
        && !semantic.iter().any(|text| error.contains(text))
        && !calls_what_says_the_same(original)
}

/// Whether the pickle may call a function whose own error messages resemble the unpickler's. Such a
/// pickle can be valid.
fn calls_what_says_the_same(original: &[u8]) -> bool {
    let names: [&[u8]; 3] = [b"loads", b"float", b"str"];
    names
        .iter()
        .any(|name| original.windows(name.len()).any(|part| part == *name))
}

/// Returns two neighbours of different protocols, which contain shared objects.
fn neighbours(pick: u8) -> [Vec<u8>; 2] {
    let [left, right] = [pick % 16, pick / 16];
    [left, right].map(|each| {
        let pickles: [&[u8]; 4] = [
            b"\x80\x04]\x94(h\x00K\x01e.",
            b"\x80\x04}\x94(\x8c\x01a\x94]\x94\x8c\x01b\x94(K\x01tu.",
            b"(lp0\nI01\na.",
            b"\x80\x05\x95\x03\x00\x00\x00\x00\x00\x00\x00C\x01x\x94\x85\x94.",
        ];
        pickles[usize::from(each % 4)].to_vec()
    })
}

fn batch(program: &Program, original: &[u8], [left, right]: &[Vec<u8>; 2]) -> Vec<u8> {
    let mut encoder = Encoder::new();
    encoder.begin_list();
    encoder.object(&scan(left).expect("well formed"), left);
    let mut linked = Vec::new();
    program.append_to(original, &mut linked);
    assert_eq!(linked.len(), program.appended_len());
    encoder.object(program, original);
    encoder.object(&scan(right).expect("well formed"), right);
    encoder.end_list();
    encoder.finish()
}
