//! What the executor of `htex_interchange` is told beside results, on the result channel, if its
//! interchange is to survive its own end. No executor of Parsl's knows these messages.
//!
//! `{'type': 'htex-interchange-restart', 'restart': …, 'why': …, 'down_s': …, 'accepted': runs,
//! 'live': runs}` and `{'type': 'htex-interchange-accepted', 'runs': runs}`, where runs of task ids
//! are lists of `[first, last]`.

use crate::ids::TaskId;
use pickle::Encoder;

/// The first and the last of some ids without a gap.
pub type IdRun = (TaskId, TaskId);

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// Another broker goes on where one was killed.
    Restarted {
        /// How many there have been, this one included.
        number: u32,
        /// How the one before ended, in words.
        why: String,
        /// From its end to now, in seconds.
        down_s: f64,
        /// Every id that was ever accepted.
        accepted: Vec<IdRun>,
        /// Those of tasks that wait or are in managers' hands.
        live: Vec<IdRun>,
    },
    /// These were accepted: they need not be sent again.
    Accepted {
        /// Which.
        runs: Vec<IdRun>,
    },
}

impl Notice {
    /// The whole message for the result channel.
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
