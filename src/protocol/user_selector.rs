//! The messages between the interchange and the process that runs a user's own manager selector.
//!
//! A question contains the changes of managers. The other process applies them to its own records,
//! so that it can pass to `sort_managers` the same records as Parsl. The answer is a list of ids or
//! a traceback.

use std::borrow::Cow;

use crate::ids::ManagerId;
use crate::malformed::Malformed;
use crate::opaque::Opaque;
use crate::report::NodeInfo;
use pickle::{Encoder, Tree, View};

/// A question for the order of the candidates.
#[derive(Debug)]
pub struct SelectorQuestion<B> {
    /// The question's number, which the answer repeats; from 1 up.
    pub number: u64,
    /// Managers whose records the other process does not have yet.
    pub joined: Vec<(ManagerId, NodeInfo<B>)>,
    /// Managers whose records have changed.
    pub changed: Vec<(ManagerId, NodeInfo<B>)>,
    /// Managers that are no longer registered.
    pub gone: Vec<ManagerId>,
    /// Managers that can take tasks.
    pub candidates: Vec<ManagerId>,
}

/// An answer of the selector's process.
#[derive(Debug, PartialEq)]
pub enum SelectorAnswer {
    /// The selector is loaded and ready for questions.
    Loaded,
    /// The order of the managers. As in Parsl, the best is last.
    Order {
        /// The question's number.
        number: u64,
        /// Ids of candidates, in the order that the selector returned.
        managers: Vec<ManagerId>,
    },
    /// The selector failed. The number 0 means that it could not be loaded.
    Failed {
        /// The question's number.
        number: u64,
        /// Python's traceback.
        traceback: String,
    },
}

impl<F: AsRef<[u8]>> SelectorQuestion<Opaque<F>> {
    /// Encodes the question as one frame.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.begin_dict();
        out.str("number").int(self.number as i64);
        out.str("joined").begin_dict();
        for (id, info) in &self.joined {
            out.bytes(id.as_bytes());
            info.encode_record(&mut out);
        }
        out.end_dict();
        out.str("changed").begin_dict();
        for (id, info) in &self.changed {
            out.bytes(id.as_bytes()).begin_dict();
            info.encode_changing(&mut out);
            out.end_dict();
        }
        out.end_dict();
        out.str("gone");
        encode_ids(&self.gone, &mut out);
        out.str("candidates");
        encode_ids(&self.candidates, &mut out);
        out.end_dict();
        out.finish()
    }
}

fn encode_ids(ids: &[ManagerId], out: &mut Encoder) {
    out.begin_list();
    for id in ids {
        out.bytes(id.as_bytes());
    }
    out.end_list();
}

impl SelectorAnswer {
    /// Reads `(number, ids, None)`, `(number, None, traceback)`, or `(0, [], None)` once loaded.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let malformed = || Malformed::shape("an answer must be a number, a list of ids and a text");
        let tree = Tree::read(bytes)?;
        let parts: Vec<View<'_, '_>> = tree.root().items().ok_or_else(malformed)?.collect();
        let [number, managers, traceback] = parts.as_slice() else {
            return Err(malformed());
        };
        let number = number.as_i64().ok_or_else(malformed)?;
        let number = u64::try_from(number).map_err(|_| malformed())?;
        if let Some(traceback) = traceback.as_wtf8() {
            let traceback: Cow<'_, str> = String::from_utf8_lossy(traceback);
            let traceback = traceback.into_owned();
            return Ok(Self::Failed { number, traceback });
        }
        if number == 0 {
            return Ok(Self::Loaded);
        }
        let managers = managers.items().ok_or_else(malformed)?;
        let managers: Option<Vec<ManagerId>> = managers
            .map(|id| id.as_bytes().map(ManagerId::new))
            .collect();
        let managers = managers.ok_or_else(malformed)?;
        Ok(Self::Order { number, managers })
    }
}
