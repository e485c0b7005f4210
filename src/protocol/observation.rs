//! Values that are sent to the executor without a request, in the dialect without a control channel
//! (Parsl #4133 and its branch `benc-htex-control-channel-remove` of July 2026). Each value is a
//! separate message on the result channel.
//!
//! The messages are `{'type': 'observation', 'key': …, 'value': …}` about the run, and `{'type':
//! 'manager-observation', 'manager': …, 'key': …, 'value': …}` about a manager, whose id is bytes.
//! In executors of all releases so far, such a message ends the result thread.

use std::rc::Rc;

use crate::command::{ManagerFact, encode_packages_of};
use crate::ids::{BlockId, ManagerId};
use crate::opaque::Opaque;
use crate::registration::Registration;
use pickle::Encoder;

/// A value about the run or about a manager.
#[derive(Debug, Clone)]
pub enum Observation<B> {
    /// The port that managers connect to. The executor waits for this message.
    WorkerPort(u16),
    /// The blocks that have ever had a manager.
    ConnectedBlocks(Rc<Vec<BlockId>>),
    /// A value about a manager.
    Manager {
        /// The manager's id.
        manager: ManagerId,
        /// The value.
        what: OfManager<B>,
    },
}

/// A value about a manager.
#[derive(Debug, Clone)]
pub enum OfManager<B> {
    /// The Python packages on the manager's node, from its registration.
    Packages(Rc<Registration<B>>),
    /// A value that the command MANAGERS would report.
    Fact(ManagerFact),
}

impl<F: AsRef<[u8]>> Observation<Opaque<F>> {
    /// Encodes the whole message for the result channel.
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
