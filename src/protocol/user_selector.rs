//! What passes between us and the process that runs a user's own manager selector.
//!
//! A question tells what is new about managers, so that the other side's records are those that
//! Parsl hands to `sort_managers`; the answer is a list of ids, or a traceback.

use std::borrow::Cow;

use crate::ids::ManagerId;
use crate::malformed::Malformed;
use crate::opaque::Opaque;
use crate::report::NodeInfo;
use pickle::{Encoder, Tree, View};

/// "In which order?"
#[derive(Debug)]
pub struct SelectorQuestion<B> {
    /// Comes back with the answer; from 1 up.
    pub number: u64,
    /// Managers whose records the other side has not seen yet.
    pub joined: Vec<(ManagerId, NodeInfo<B>)>,
    /// Managers about which something has changed.
    pub changed: Vec<(ManagerId, NodeInfo<B>)>,
    /// Managers that are none any more.
    pub gone: Vec<ManagerId>,
    /// Who can take tasks.
    pub candidates: Vec<ManagerId>,
}

/// What comes back.
#[derive(Debug, PartialEq)]
pub enum SelectorAnswer {
    /// The selector is loaded and can be asked.
    Loaded,
    /// The best is last, as Parsl has it.
    Order {
        /// The question's.
        number: u64,
        /// Ids of candidates, in the order that the selector gave them.
        managers: Vec<ManagerId>,
    },
    /// Python's traceback; number 0 says that the selector could not even be loaded.
    Failed {
        /// The question's.
        number: u64,
        /// What Python printed.
        traceback: String,
    },
}

impl<F: AsRef<[u8]>> SelectorQuestion<Opaque<F>> {
    /// The question's one frame.
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
    /// `(number, ids, None)`, `(number, None, traceback)`, and `(0, [], None)` once loaded.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let malformed = || Malformed::shape("an answer is a number, a list of ids and a text");
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
