//! What the executor is told without asking, in the dialect that has no questions (Parsl #4133 and
//! its branch `benc-htex-control-channel-remove` of July 2026): each value by itself, on the result
//! channel.
//!
//! `{'type': 'observation', 'key': …, 'value': …}` of the run, and `{'type': 'manager-observation',
//! 'manager': …, 'key': …, 'value': …}` of a manager, whose id is bytes there. Executors of every
//! release so far end their result thread on such a message.

use std::rc::Rc;

use crate::command::{ManagerFact, encode_packages_of};
use crate::ids::{BlockId, ManagerId};
use crate::opaque::Opaque;
use crate::registration::Registration;
use pickle::Encoder;

/// One value, and of what.
#[derive(Debug, Clone)]
pub enum Observation<B> {
    /// Which port managers connect to: the executor waits for it.
    WorkerPort(u16),
    /// Which blocks have ever had a manager.
    ConnectedBlocks(Rc<Vec<BlockId>>),
    /// Something about a manager.
    Manager {
        /// Which one.
        manager: ManagerId,
        /// What.
        what: OfManager<B>,
    },
}

/// What is told of a manager.
#[derive(Debug, Clone)]
pub enum OfManager<B> {
    /// Which Python packages its node has.
    Packages(Rc<Registration<B>>),
    /// What a question for it would tell.
    Fact(ManagerFact),
}

impl<F: AsRef<[u8]>> Observation<Opaque<F>> {
    /// The whole message for the result channel.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.begin_dict().str("type");
        match self {
            Self::WorkerPort(port) => {
                out.str("observation").str("key").str("worker_port");
                out.str("value").int((*port).into());
            }
            Self::ConnectedBlocks(blocks) => {
                out.str("observation").str("key").str("connected_blocks");
                out.str("value").begin_list();
                blocks.iter().for_each(|block| block.encode(&mut out));
                out.end_list();
            }
            Self::Manager { manager, what } => {
                out.str("manager-observation");
                out.str("manager").bytes(manager.as_bytes());
                out.str("key");
                match what {
                    OfManager::Packages(registration) => {
                        out.str("packages").str("value");
                        encode_packages_of(registration, &mut out);
                    }
                    OfManager::Fact(ManagerFact::Manager(id)) => {
                        out.str("manager").str("value").bytes(id.as_bytes());
                    }
                    OfManager::Fact(fact) => {
                        out.str(fact.key()).str("value");
                        fact.encode(&mut out);
                    }
                }
            }
        }
        out.end_dict();
        out.finish()
    }
}
