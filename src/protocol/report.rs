//! What monitoring is told: one frame a record, a pickled pair of a message type and a dict.

use std::rc::Rc;

use crate::ids::TaskId;
use crate::opaque::Opaque;
use crate::registration::Registration;
use pickle::Encoder;

/// The number of `MessageType.NODE_INFO`.
const NODE_INFO: i64 = 3;

/// One record for the monitoring hub.
#[derive(Debug)]
pub enum Report<B> {
    /// What has changed at a node.
    NodeInfo(Box<NodeInfo<B>>),
    /// A manager's own message, whose payload is passed on as it came.
    Relayed(B),
}

/// The state of a node: at its registration, when it gets tasks, returns one, is held, drained or
/// lost (guide/protocol, P-1.11.1). Times are seconds since the epoch.
#[derive(Debug)]
pub struct NodeInfo<B> {
    /// What its manager said of itself; the record lies over that.
    pub registration: Rc<Registration<B>>,
    /// What it has in hand.
    pub tasks: Vec<TaskId>,
    /// False once it is held or lost.
    pub active: bool,
    /// It is drained, or about to be.
    pub draining: bool,
    /// When it was heard of last.
    pub last_heartbeat_s: f64,
    /// None while it is busy.
    pub idle_since_s: Option<f64>,
    /// When the record was made.
    pub timestamp_s: f64,
}

impl<F: AsRef<[u8]>> Report<Opaque<F>> {
    /// `run_id` is Parsl's name of the run; None where HTEX is used without a DataFlowKernel.
    pub fn encode(&self, run_id: Option<&str>) -> Vec<u8> {
        match self {
            Self::NodeInfo(info) => info.encode(run_id),
            Self::Relayed(message) => {
                let mut out = Encoder::with_capacity(message.appended_len() + 64);
                message.append_item_to("payload", &mut out);
                out.finish()
            }
        }
    }
}

impl<F: AsRef<[u8]>> NodeInfo<Opaque<F>> {
    fn encode(&self, run_id: Option<&str>) -> Vec<u8> {
        let facts = &self.registration;
        let mut out = Encoder::with_capacity(facts.message.appended_len() + 600);
        out.begin_tuple();
        out.global("parsl.monitoring.message_type", "MessageType");
        out.begin_tuple().int(NODE_INFO).end_tuple().reduce();
        self.encode_record(&mut out);
        out.begin_update();
        out.str("last_heartbeat");
        encode_datetime(self.last_heartbeat_s, &mut out);
        out.str("timestamp");
        encode_datetime(self.timestamp_s, &mut out);
        out.str("run_id");
        match run_id {
            Some(run_id) => out.str(run_id),
            None => out.none(),
        };
        out.end_dict();
        out.end_tuple();
        out.finish()
    }

    /// The registration as it came, and what the interchange knows laid over it: what stock's
    /// manager record holds, whatever the release.
    pub(crate) fn encode_record(&self, out: &mut Encoder) {
        let facts = &self.registration;
        facts.message.append_to(out);
        out.begin_update();
        out.str("start_time").float(facts.start_time_s);
        out.str("drain_time").float(facts.drain_time_s);
        out.str("worker_count").int(facts.worker_count);
        if !facts.tells_capacity {
            out.str("max_capacity").int(facts.max_capacity as i64);
        }
        out.str("parsl_version").str(&facts.parsl_version);
        out.str("python_version").str(&facts.python_version);
        self.encode_changing(out);
        out.end_dict();
    }

    /// The keys and values of a record that change while a manager is registered.
    pub(crate) fn encode_changing(&self, out: &mut Encoder) {
        out.str("tasks").begin_list();
        for task in &self.tasks {
            out.int(task.0);
        }
        out.end_list();
        out.str("active").bool(self.active);
        out.str("draining").bool(self.draining);
        out.str("last_heartbeat").float(self.last_heartbeat_s);
        out.str("idle_since");
        match self.idle_since_s {
            Some(since_s) => out.float(since_s),
            None => out.none(),
        };
    }
}

/// A naive local `datetime`, which the database insists on. Its own constructor works it out where
/// it is loaded: the hub runs on this machine, so its time zone is ours.
fn encode_datetime(epoch_s: f64, out: &mut Encoder) {
    out.global("datetime", "datetime.fromtimestamp");
    out.begin_tuple().float(epoch_s).end_tuple().reduce();
}
