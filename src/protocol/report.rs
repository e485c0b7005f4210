//! Monitoring records. Each is one frame: a pickled pair of a message type and a dict.

use std::rc::Rc;

use crate::ids::TaskId;
use crate::opaque::Opaque;
use crate::registration::Registration;
use pickle::Encoder;

/// The value of Parsl's `MessageType.NODE_INFO`.
const NODE_INFO: i64 = 3;

/// One record for the monitoring hub.
#[derive(Debug)]
pub enum Report<B> {
    /// The current state of a node.
    NodeInfo(Box<NodeInfo<B>>),
    /// A manager's own message, whose payload is passed on unchanged.
    Relayed(B),
}

/// The state of a node. It is sent when its manager registers, gets tasks, returns one, is held,
/// drained or lost (guide/protocol, P-1.11.1). Times are seconds since the epoch.
#[derive(Debug)]
pub struct NodeInfo<B> {
    /// The manager's registration. The other fields override its entries in the record.
    pub registration: Rc<Registration<B>>,
    /// Tasks that the manager holds.
    pub tasks: Vec<TaskId>,
    /// False once the manager is held or lost.
    pub active: bool,
    /// Whether the manager is drained or draining.
    pub draining: bool,
    /// When the last message from the manager arrived.
    pub last_heartbeat_s: f64,
    /// Since when the manager has been without tasks; None while it has tasks.
    pub idle_since_s: Option<f64>,
    /// When the record was made.
    pub timestamp_s: f64,
}

impl<F: AsRef<[u8]>> Report<Opaque<F>> {
    /// Encodes the record. `run_id` is Parsl's name of the run; None if HTEX is used without a
    /// DataFlowKernel.
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

    /// Encodes the registration unchanged, with the interchange's own values added. The result has
    /// the content of Parsl's manager record, whatever the release.
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

    /// Encodes the keys and values of a record that change while a manager is registered.
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

/// Encodes a naive local `datetime`, which the monitoring database requires. The hub calls its
/// constructor when it loads the record. The hub runs on this machine, so it has the same time
/// zone.
fn encode_datetime(epoch_s: f64, out: &mut Encoder) {
    out.global("datetime", "datetime.fromtimestamp");
    out.begin_tuple().float(epoch_s).end_tuple().reduce();
}
