//! The file of events: one JSON object per line, one line per change.
//!
//! Every line has `t` (seconds since the epoch) and `event`: `start`, `restart` (another process
//! replaces one that ended), `task`, `manager`, `dropped` (lines that were lost before this line)
//! or `end`. The guide's page `operate` lists the fields.

use serde::Serialize;

use broker::{FailedBy, Happening, ManagerChange, TaskChange, What};
use protocol::{BlockId, ManagerId, TaskId};

/// Version of the meaning of the fields.
pub const FORMAT: u32 = 1;

#[derive(Serialize)]
struct Line<'a> {
    t: f64,
    #[serde(flatten)]
    event: Event<'a>,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Event<'a> {
    Start {
        format: u32,
        version: &'a str,
        pid: u32,
        host: &'a str,
        logdir: &'a str,
        label: &'a str,
    },
    Restart {
        number: u32,
        why: &'a str,
        down_s: f64,
    },
    Task(TaskLine<'a>),
    Manager(ManagerLine<'a>),
    Dropped {
        lines: u64,
    },
    End {
        reason: &'a str,
    },
}

#[derive(Serialize, Default)]
struct TaskLine<'a> {
    task: i64,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    needs: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    manager: Option<String>,
    /// Number of slots, if more than one. Nearly every task takes one slot, and there are many
    /// lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    slots: Option<usize>,
}

#[derive(Serialize, Default)]
struct ManagerLine<'a> {
    manager: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    block: Option<Block<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workers: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capacity: Option<usize>,
    /// Number of tasks that the manager held, or that raised in a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    tasks: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    silent_s: Option<f64>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Block<'a> {
    Number(i64),
    Text(&'a str),
}

/// The process that writes the file.
pub struct Writer<'a> {
    /// Version of this program.
    pub version: &'a str,
    /// Process id of the writer.
    pub pid: u32,
    /// Name of the node on which the writer runs.
    pub host: &'a str,
    /// The log directory. The last part of its path is the executor's label.
    pub logdir: &'a str,
}

/// Encodes the first line of each file, and of each process that continues a file. All processes of
/// a run write the start time of the first process.
pub fn of_start(writer: &Writer<'_>, wall_s: f64) -> Vec<u8> {
    let label = writer.logdir.trim_end_matches('/').rsplit('/').next();
    line(
        wall_s,
        Event::Start {
            format: FORMAT,
            version: writer.version,
            pid: writer.pid,
            host: writer.host,
            logdir: writer.logdir,
            label: label.unwrap_or_default(),
        },
    )
}

/// Encodes the second line of a process that replaces one that ended.
pub fn of_restart(number: u32, why: &str, down_s: f64, wall_s: f64) -> Vec<u8> {
    line(
        wall_s,
        Event::Restart {
            number,
            why,
            down_s,
        },
    )
}

/// Encodes a count of lines that were not written to the file. Its time is that of the next line,
/// `behind`.
pub fn of_dropped(lines: u64, behind: &[u8]) -> Vec<u8> {
    #[derive(serde::Deserialize)]
    struct Time {
        t: f64,
    }
    let behind = serde_json::from_slice::<Time>(behind);
    line(behind.map_or(0.0, |time| time.t), Event::Dropped { lines })
}

/// Encodes the last line.
pub fn of_end(reason: &str, wall_s: f64) -> Vec<u8> {
    line(wall_s, Event::End { reason })
}

/// Encodes one change.
pub fn of_happening(happening: &Happening) -> Vec<u8> {
    let event = match &happening.what {
        What::Task { task, change } => Event::Task(of_task(*task, change)),
        What::Manager { manager, change } => Event::Manager(of_manager(manager, change)),
    };
    line(happening.wall_s, event)
}

fn of_task(task: TaskId, change: &TaskChange) -> TaskLine<'_> {
    let of = |state| TaskLine {
        task: task.0,
        state,
        ..TaskLine::default()
    };
    match change {
        TaskChange::Queued { needs } => TaskLine {
            needs: needs.as_deref(),
            ..of("queued")
        },
        TaskChange::Dispatched { manager, slots } => TaskLine {
            manager: Some(manager.to_text()),
            slots: (*slots > 1).then_some(*slots),
            ..of("dispatched")
        },
        TaskChange::Done { manager } => TaskLine {
            manager: Some(manager.to_text()),
            ..of("done")
        },
        TaskChange::Failed { reason, manager } => TaskLine {
            reason: Some(match reason {
                FailedBy::ManagerLost => "ManagerLost",
                FailedBy::Unreadable => "Unreadable",
            }),
            manager: manager.as_ref().map(ManagerId::to_text),
            ..of("failed")
        },
    }
}

fn of_manager<'a>(manager: &ManagerId, change: &'a ManagerChange) -> ManagerLine<'a> {
    let line = ManagerLine {
        manager: manager.to_text(),
        state: name_of(change),
        ..ManagerLine::default()
    };
    match change {
        ManagerChange::Registered {
            block,
            hostname,
            workers,
            capacity,
        } => ManagerLine {
            block: Some(match block {
                BlockId::Number(number) => Block::Number(*number),
                BlockId::Text(text) => Block::Text(text),
            }),
            host: Some(hostname),
            workers: Some(*workers),
            capacity: Some(*capacity),
            ..line
        },
        ManagerChange::Held
        | ManagerChange::Draining
        | ManagerChange::Drained
        | ManagerChange::Awaited => line,
        ManagerChange::Failing { tasks } => ManagerLine {
            tasks: usize::try_from(*tasks).ok(),
            ..line
        },
        ManagerChange::Suspect { in_flight } | ManagerChange::Back { in_flight } => ManagerLine {
            tasks: Some(*in_flight),
            ..line
        },
        ManagerChange::Lost { tasks, silent, .. } => ManagerLine {
            tasks: Some(*tasks),
            silent_s: Some(silent.as_secs_f64()),
            ..line
        },
        ManagerChange::GaveUp { tasks } | ManagerChange::Replaced { tasks } => ManagerLine {
            tasks: Some(*tasks),
            ..line
        },
    }
}

/// Returns the name of a change, both for the file of events and for the status document.
pub(super) fn name_of(change: &ManagerChange) -> &'static str {
    match change {
        ManagerChange::Registered { .. } => "registered",
        ManagerChange::Failing { .. } => "failing",
        ManagerChange::Held => "held",
        ManagerChange::Draining => "draining",
        ManagerChange::Drained => "drained",
        ManagerChange::Suspect { .. } => "suspect",
        ManagerChange::Awaited => "awaited",
        ManagerChange::Back { .. } => "back",
        ManagerChange::Lost { .. } => "lost",
        ManagerChange::GaveUp { .. } => "gave_up",
        ManagerChange::Replaced { .. } => "replaced",
    }
}

fn line(wall_s: f64, event: Event<'_>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    let line = Line { t: wall_s, event };
    match serde_json::to_writer(&mut bytes, &line) {
        Ok(()) => bytes.push(b'\n'),
        Err(error) => {
            debug_assert!(false, "texts and numbers are always JSON: {error}");
            bytes.clear();
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn text(line: Vec<u8>) -> String {
        String::from_utf8(line).unwrap()
    }

    fn happening(what: What) -> String {
        let wall_s = 1700000000.25;
        text(of_happening(&Happening {
            wall_s,
            monotonic: Duration::ZERO,
            what,
        }))
    }

    #[test]
    fn a_task_line_has_needs_and_slots_if_any() {
        let manager = ManagerId::new(b"ab12");
        let of = |state: &str| {
            format!("{{\"t\":1700000000.25,\"event\":\"task\",\"task\":7,\"state\":\"{state}\"")
        };
        let line = |change| {
            happening(What::Task {
                task: TaskId(7),
                change,
            })
        };
        let needs = Some("2 cores, type \"a\"".to_owned());
        for (change, told) in [
            (TaskChange::Queued { needs: None }, of("queued") + "}\n"),
            (
                TaskChange::Queued { needs },
                of("queued") + ",\"needs\":\"2 cores, type \\\"a\\\"\"}\n",
            ),
            (
                TaskChange::Dispatched {
                    manager: manager.clone(),
                    slots: 1,
                },
                of("dispatched") + ",\"manager\":\"ab12\"}\n",
            ),
            (
                TaskChange::Dispatched { manager, slots: 2 },
                of("dispatched") + ",\"manager\":\"ab12\",\"slots\":2}\n",
            ),
        ] {
            assert_eq!(line(change), told);
        }
    }

    #[test]
    fn a_line_has_time_and_event() {
        let manager = ManagerId::new(b"ab12");
        let change = ManagerChange::Registered {
            block: BlockId::Text("3".into()),
            hostname: "node \"1\"\n".to_owned(),
            workers: 4,
            capacity: 8,
        };
        assert_eq!(
            happening(What::Manager { manager, change }),
            "{\"t\":1700000000.25,\"event\":\"manager\",\"manager\":\"ab12\",\
             \"state\":\"registered\",\"block\":\"3\",\"host\":\"node \\\"1\\\"\\n\",\
             \"workers\":4,\"capacity\":8}\n"
        );
    }

    #[test]
    fn a_file_begins_with_its_writer() {
        let writer = Writer {
            version: "1.2.3",
            pid: 5,
            host: "login1",
            logdir: "/runs/000/htex",
        };
        let line = text(of_start(&writer, 2.5));
        assert!(
            line.starts_with("{\"t\":2.5,\"event\":\"start\",\"format\":1,"),
            "{line}"
        );
        assert!(line.contains("\"label\":\"htex\""), "{line}");
        assert_eq!(
            text(of_dropped(12, &of_end("told to end", 3.0))),
            "{\"t\":3.0,\"event\":\"dropped\",\"lines\":12}\n"
        );
        assert_eq!(
            text(of_restart(2, "was killed (SIGKILL)", 0.25, 3.5)),
            "{\"t\":3.5,\"event\":\"restart\",\"number\":2,\
             \"why\":\"was killed (SIGKILL)\",\"down_s\":0.25}\n"
        );
        assert_eq!(
            text(of_end("SIGTERM", 4.0)),
            "{\"t\":4.0,\"event\":\"end\",\"reason\":\"SIGTERM\"}\n"
        );
    }
}
