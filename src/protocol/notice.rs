//! Messages on the result channel that are not results. Only the executor of `htex_interchange`
//! gets them, if its interchange is to survive its own end. None of Parsl's executors knows them.
//!
//! `{'type': 'htex-interchange-restart', 'restart': …, 'why': …, 'down_s': …, 'accepted': runs,
//! 'live': runs}` and `{'type': 'htex-interchange-accepted', 'runs': runs}`, where runs of task ids
//! are lists of `[first, last]`.

use crate::ids::TaskId;
use pickle::Encoder;

/// The first and the last id of a run of ids without a gap.
pub type IdRun = (TaskId, TaskId);

/// A message to the executor.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// A new broker has replaced one that was killed.
    Restarted {
        /// Number of restarts so far, including this one.
        number: u32,
        /// How the previous broker ended, in words.
        why: String,
        /// Seconds from the end of the previous broker until now.
        down_s: f64,
        /// All task ids that were ever accepted.
        accepted: Vec<IdRun>,
        /// Ids of the tasks that are queued or held by managers.
        live: Vec<IdRun>,
    },
    /// These tasks were accepted and need not be sent again.
    Accepted {
        /// Ids of the accepted tasks.
        runs: Vec<IdRun>,
    },
}

impl Notice {
    /// Encodes the whole message for the result channel.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.begin_dict().str("type");
        match self {
            Self::Restarted {
                number,
                why,
                down_s,
                accepted,
                live,
            } => {
                out.str("htex-interchange-restart");
                out.str("restart").int((*number).into());
                out.str("why").str(why);
                out.str("down_s").float(*down_s);
                encode_runs("accepted", accepted, &mut out);
                encode_runs("live", live, &mut out);
            }
            Self::Accepted { runs } => {
                out.str("htex-interchange-accepted");
                encode_runs("runs", runs, &mut out);
            }
        }
        out.end_dict();
        out.finish()
    }
}

fn encode_runs(key: &str, runs: &[IdRun], out: &mut Encoder) {
    out.str(key).begin_list();
    for (first, last) in runs {
        out.begin_list().int(first.0).int(last.0).end_list();
    }
    out.end_list();
}
