//! The messages of the executor and of managers, in Python's pickle format.

use super::needs::{Needs, Node, Site};
use pickle::{Encoder, Tree, View};
use protocol::Routing;

/// A message of a manager.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Saying {
    Register(Site),
    Heartbeat,
    Drain,
    Result { task: i64, size: usize },
}

impl Saying {
    /// Encodes the message as this manager writes it.
    pub(crate) fn encode(&self, name: &str) -> Vec<u8> {
        let mut out = Encoder::new();
        out.begin_dict().str("type");
        match self {
            Self::Register(site) => {
                out.str("registration");
                out.str("parsl_v").str("2026.10.26");
                out.str("python_v").str("3.11.7");
                // Each manager has its own block here: the broker's own simulation covers managers
                // of one block that vanish together.
                out.str("block_id").str(name);
                out.str("hostname").str(&host(site.host));
                out.str("worker_count").int(site.workers as i64);
                out.str("max_capacity").int(site.capacity as i64);
                if let Some(cpu_count) = site.cpu_count {
                    out.str("cpu_count").int(cpu_count);
                }
                if let Some(memory_mb) = site.memory_mb {
                    out.str("total_memory").int(memory_mb << 20);
                }
                out.str("start_time").float(1000.0);
                if let Some(drain_in_s) = site.drain_in_s {
                    out.str("drain_time").float(1000.0 + drain_in_s);
                }
            }
            Self::Heartbeat => {
                out.str("heartbeat");
            }
            Self::Drain => {
                out.str("drain");
            }
            Self::Result { task, size } => {
                out.str("result").str("task_id").int(*task);
                out.str("result").bytes(&vec![7; *size]);
            }
        }
        out.end_dict();
        out.finish()
    }
}

/// Encodes a task as `htex_interchange.HighThroughputExecutor` does.
pub(crate) fn task(id: i64, size: usize, priority: Option<i64>, needs: &Needs) -> Vec<u8> {
    let mut out = Encoder::new();
    out.begin_dict().str("task_id").int(id);
    out.str("context").begin_dict();
    if *needs != Needs::default() {
        write_placement(&mut out, needs);
    }
    out.str("resource_spec").begin_dict();
    if let Some(priority) = priority {
        out.str("priority").int(priority);
    }
    out.end_dict().end_dict();
    out.str("buffer").bytes(&vec![9; size]).end_dict();
    out.finish()
}

fn write_placement(out: &mut Encoder, needs: &Needs) {
    out.str("placement").begin_dict();
    if let Some(cores) = needs.cores {
        out.str("cores").float(cores);
    }
    if let Some(memory_mb) = needs.memory_mb {
        out.str("memory").int(memory_mb);
    }
    if let Some(time_s) = needs.running_time_s {
        out.str("running_time_min").float(time_s);
    }
    if let Some(affinity) = needs.affinity {
        out.str("manager_affinity").int(affinity);
    }
    if let Some(task_type) = needs.task_type {
        out.str("task_type").str(task_type);
    }
    if let Some(routing) = needs.routing {
        out.str("routing").str(match routing {
            Routing::Soft => "soft",
            Routing::Hard => "hard",
        });
    }
    if let Some(node) = needs.node {
        out.str("node").begin_dict();
        write_node(out, node);
        out.end_dict();
    }
    out.end_dict();
}

fn write_node(out: &mut Encoder, node: Node) {
    match node {
        Node::HostFrom(number) => {
            out.str("hostname").str(&host_from(number));
        }
        Node::Hosts(numbers) => {
            out.str("hostname").begin_list();
            for number in numbers {
                out.str(&host(number));
            }
            out.end_list();
        }
        Node::CpuCount(least) => {
            out.str("cpu_count").int(least);
        }
        Node::MemoryMb(least) => {
            out.str("total_memory").int(least);
        }
    }
}

fn host(number: usize) -> String {
    format!("node{number}")
}

fn host_from(number: usize) -> String {
    format!("node[{number}-9]")
}

pub(crate) fn outstanding() -> Vec<u8> {
    let mut out = Encoder::new();
    out.str("OUTSTANDING_C");
    out.finish()
}

pub(crate) fn hold(manager: &str) -> Vec<u8> {
    let mut out = Encoder::new();
    out.begin_list().str("HOLD_MANAGER").str(manager).end_list();
    out.finish()
}

pub(crate) fn tasks_of(batch: &[u8]) -> Vec<i64> {
    let tree = Tree::read(batch).expect("a batch can be read");
    let tasks = tree.root().items().expect("a batch is a list");
    tasks.map(task_of).collect()
}

/// Returns the task of a result, and whether the result is a failure.
pub(crate) fn task_of_result(result: &[u8]) -> (i64, bool) {
    let tree = Tree::read(result).expect("a result can be read");
    let is_failure = tree.root().get("exception").is_some();
    (task_of(tree.root()), is_failure)
}

fn task_of(message: View<'_, '_>) -> i64 {
    let task = message.get("task_id").and_then(View::as_i64);
    task.expect("it names its task")
}

/// A notice to the executor of an interchange that survives.
#[derive(Debug, Clone)]
pub(crate) enum Notice {
    Restarted { accepted: Runs, live: Runs },
    Accepted(Runs),
}

/// Task ids: first and last id of each run.
pub(crate) type Runs = Vec<(i64, i64)>;

pub(crate) fn notice_of(message: &[u8]) -> Option<Notice> {
    let tree = Tree::read(message).expect("a message can be read");
    let root = tree.root();
    match root.get("type")?.as_str()? {
        "htex-interchange-restart" => Some(Notice::Restarted {
            accepted: runs_of(root.get("accepted")?),
            live: runs_of(root.get("live")?),
        }),
        "htex-interchange-accepted" => Some(Notice::Accepted(runs_of(root.get("runs")?))),
        _ => None,
    }
}

fn runs_of(list: View<'_, '_>) -> Runs {
    let of_run = |run: View<'_, '_>| {
        let mut ends = run.items().expect("a run is a list").map(View::as_i64);
        let mut end = || ends.next().flatten().expect("a run has two ends");
        (end(), end())
    };
    list.items().expect("runs are a list").map(of_run).collect()
}

/// Returns the id in a task's message.
pub(crate) fn task_of_message(message: &[u8]) -> i64 {
    task_of(Tree::read(message).expect("a task can be read").root())
}

pub(crate) fn number_of(reply: &[u8]) -> Option<i64> {
    Tree::read(reply)
        .expect("a reply can be read")
        .root()
        .as_i64()
}
