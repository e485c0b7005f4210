//! Converts the broker's data into the status document.

use std::time::Duration;

use super::event_line::name_of;
use broker::{
    Happening, Histogram, ManagerChange, ManagerView, QueueView, ReservationView, Snapshot, Tally,
    What,
};
use status::document::{
    About, BackPressure, Document, Event, FORMAT, Hub, Lack, Manager, Priority, Process, Queue,
    Rate, Rates, Reservation, Restart, State, Totals, Traffic, Unmet, WorkerPort,
};
use status::open_metrics::{Durations, Timings};
use status::side_service::SideService;

/// Maximum number of priorities that are listed.
const PRIORITIES_MAX: usize = 16;

/// The data that is known outside the broker.
pub struct Surroundings {
    /// Identity and location of this process.
    pub interchange: About,
    /// Approximate memory of the queued tasks, in bytes.
    pub queued_bytes: usize,
    /// Bytes by channel since the start.
    pub traffic: Traffic,
    /// Bytes that are held, and their limit.
    pub back_pressure: BackPressure,
    /// The sender to the monitoring hub, if monitoring is in use.
    pub hub: Option<Hub>,
    /// The metrics service, if it was requested.
    pub metrics: Option<SideService>,
    /// The file of events, if it was requested.
    pub event_file: Option<SideService>,
    /// The port that managers connect to.
    pub worker_port: WorkerPort,
    /// The last restart of the broker, if there was one.
    pub restart: Option<Restart>,
    /// The kernel's figures on this process.
    pub process: Process,
}

/// Builds the status document.
pub fn document(snapshot: &Snapshot, around: Surroundings) -> Document {
    let (lately, minute) = (snapshot.lately, snapshot.minute);
    Document {
        format: FORMAT,
        interchange: About {
            python: snapshot.python.clone(),
            parsl: snapshot.parsl.clone(),
            ..around.interchange
        },
        state: match snapshot.leaving {
            true => State::Leaving,
            false => State::Running,
        },
        queue: queue(&snapshot.queue, around.queued_bytes),
        in_flight: snapshot.in_flight,
        managers: snapshot.managers.iter().map(manager).collect(),
        reservation: snapshot.reservation.as_ref().map(reservation),
        rates: Rates {
            last_5_s: rate(lately),
            last_60_s: rate(minute),
        },
        totals: totals(&snapshot.tally),
        traffic: around.traffic,
        back_pressure: BackPressure {
            dispatches: snapshot.dispatching,
            ..around.back_pressure
        },
        hub: around.hub,
        metrics: around.metrics,
        event_file: around.event_file,
        worker_port: around.worker_port,
        restart: around.restart,
        process: around.process,
        events: snapshot
            .recent
            .iter()
            .filter_map(|(number, happening)| event(*number, happening, snapshot.monotonic))
            .collect(),
    }
}

/// Returns the durations of tasks, and of dispatching as measured by the event loop.
pub fn timings(snapshot: &Snapshot, dispatch: &Histogram) -> Timings {
    Timings {
        queued: durations(&snapshot.tally.queued_for),
        in_flight: durations(&snapshot.tally.in_flight_for),
        dispatch: durations(dispatch),
    }
}

fn durations(histogram: &Histogram) -> Durations {
    Durations {
        classes: histogram.classes().collect(),
        count: histogram.count(),
        sum: histogram.sum(),
    }
}

fn queue(view: &QueueView, bytes: usize) -> Queue {
    let listed = view.priorities.iter().take(PRIORITIES_MAX);
    Queue {
        tasks: view.tasks,
        bytes,
        oldest_s: view.oldest.map(|oldest| oldest.as_secs_f64()),
        priorities: listed
            .map(|(priority, tasks)| Priority {
                priority: Some(priority.to_f64()).filter(|number| number.is_finite()),
                tasks: *tasks,
            })
            .collect(),
        more_priorities: view.priorities.len().saturating_sub(PRIORITIES_MAX),
        looked_at: view.looked_at,
        asking: view.asking,
        unmet: view.unmet.iter().map(unmet).collect(),
    }
}

fn unmet(unmet: &broker::Unmet) -> Unmet {
    Unmet {
        tasks: unmet.tasks,
        needs: unmet.needs.clone(),
        lack: match &unmet.lack {
            broker::Lack::Managers => Lack::Managers,
            broker::Lack::Node => Lack::Node,
            broker::Lack::Slots { needed, largest } => Lack::Slots {
                slots_needed: *needed,
                slots_largest: *largest,
            },
            broker::Lack::Time { longest_s } => Lack::Time {
                longest_s: *longest_s,
            },
            broker::Lack::Affinity(manager) => Lack::Affinity {
                manager: manager.to_text(),
            },
        },
    }
}

fn reservation(view: &ReservationView) -> Reservation {
    Reservation {
        manager: view.manager.to_text(),
        needs: view.needs.clone(),
        tasks: view.tasks,
        reserved_s: view.reserved_for.as_secs_f64(),
        passed_s: view.passed_for.as_secs_f64(),
    }
}

fn manager(view: &ManagerView) -> Manager {
    Manager {
        id: view.id.to_text(),
        block: view.block.to_string(),
        host: view.hostname.clone(),
        address: view.address.map(|address| address.to_string()),
        workers: view.workers,
        capacity: view.capacity,
        in_flight: view.in_flight,
        in_doubt: view.in_doubt,
        doubt_ends_in_s: view.doubt_ends_in.map(|time| time.as_secs_f64()),
        slots: view.slots,
        busy_slots: view.busy_slots,
        reserved: view.reserved,
        oldest_task_s: view.oldest_task.map(|(_, time)| time.as_secs_f64()),
        oldest_task: view.oldest_task.map(|(task, _)| task.0),
        tasks_done: view.tasks_done,
        failing: view.failing,
        held: view.held,
        clogged: view.clogged,
        draining: view.draining,
        suspect_s: view.suspect_for.map(|time| time.as_secs_f64()),
        awaited: view.awaited,
        last_heard_s: view.last_heard.as_secs_f64(),
        idle_s: view.idle_for.map(|time| time.as_secs_f64()),
        python: view.python.clone(),
        parsl: view.parsl.clone(),
    }
}

fn rate(rates: broker::Rates) -> Rate {
    Rate {
        received: rates.received,
        dispatched: rates.dispatched,
        done: rates.done,
    }
}

fn totals(tally: &Tally) -> Totals {
    Totals {
        tasks_received: tally.tasks_received,
        tasks_rejected: tally.tasks_rejected,
        tasks_dispatched: tally.tasks_dispatched,
        tasks_done: tally.tasks_done,
        tasks_lost: tally.tasks_lost,
        tasks_unreadable: tally.tasks_unreadable,
        late_results: tally.late_results,
        managers_registered: tally.managers_registered,
        managers_lost: tally.managers_lost,
        managers_lost_held: tally.managers_lost_held,
        managers_drained: tally.managers_drained,
        managers_failing: tally.managers_failing,
        disconnects: tally.disconnects,
        queued_mean_s: mean_s(&tally.queued_for),
        queued_longest_s: tally.queued_for.longest().as_secs_f64(),
        in_flight_mean_s: mean_s(&tally.in_flight_for),
        in_flight_longest_s: tally.in_flight_for.longest().as_secs_f64(),
    }
}

fn mean_s(histogram: &Histogram) -> Option<f64> {
    let count = histogram.count();
    (count > 0).then(|| histogram.sum().as_secs_f64() / count as f64)
}

/// Formats a count: `1 worker`, `2 workers`.
fn counted(number: i64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

fn tasks(number: usize) -> String {
    counted(i64::try_from(number).unwrap_or(i64::MAX), "task")
}

/// Converts a manager's change. Returns `None` for changes of tasks, which are too many for the
/// document.
fn event(number: u64, happening: &Happening, now: Duration) -> Option<Event> {
    let What::Manager { manager, change } = &happening.what else {
        return None;
    };
    let (detail, tasks_lost) = match change {
        ManagerChange::Registered {
            block,
            hostname,
            workers,
            capacity,
        } => {
            let workers = counted(*workers, "worker");
            let room = format!("{workers}, capacity {capacity}");
            (format!("block {block} on {hostname}, {room}"), 0)
        }
        ManagerChange::Held | ManagerChange::Draining | ManagerChange::Drained => {
            (String::new(), 0)
        }
        ManagerChange::Failing { tasks } => (format!("{tasks} tasks raised in a row"), 0),
        ManagerChange::Awaited => ("other managers of its block vanished".to_owned(), 0),
        ManagerChange::Suspect { in_flight } => (
            format!("its connection closed, {} in flight", tasks(*in_flight)),
            0,
        ),
        ManagerChange::Back { in_flight } => (format!("{} in flight", tasks(*in_flight)), 0),
        ManagerChange::Lost {
            tasks: lost,
            silent,
            was_held,
        } => {
            let silent = silent.as_secs_f64();
            let held = if *was_held { "held before, " } else { "" };
            let text = format!("{held}silent for {silent:.1} s, {} lost", tasks(*lost));
            (text, *lost)
        }
        ManagerChange::GaveUp { tasks: lost } => {
            let text = format!("{} lost with a connection that broke", tasks(*lost));
            (text, *lost)
        }
        ManagerChange::Replaced { tasks: lost } => {
            let text = format!("by another process with its name, {} lost", tasks(*lost));
            (text, *lost)
        }
    };
    Some(Event {
        number,
        at_s: happening.wall_s,
        ago_s: now.saturating_sub(happening.monotonic).as_secs_f64(),
        manager: manager.to_text(),
        change: name_of(change).to_owned(),
        detail,
        tasks_lost,
        was_held: matches!(change, ManagerChange::Lost { was_held: true, .. }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::ManagerId;

    #[test]
    fn unmet_tasks_are_reported_by_what_is_lacking() {
        let manager = ManagerId::new(b"ab12");
        let lacks = [
            broker::Lack::Managers,
            broker::Lack::Node,
            broker::Lack::Slots {
                needed: 8,
                largest: 4,
            },
            broker::Lack::Time { longest_s: 1.5 },
            broker::Lack::Affinity(manager.clone()),
        ];
        let view = QueueView {
            tasks: 9,
            asking: 7,
            unmet: lacks
                .into_iter()
                .map(|lack| broker::Unmet {
                    tasks: 1,
                    needs: "8 cores".to_owned(),
                    lack,
                })
                .collect(),
            ..QueueView::default()
        };
        let told = queue(&view, 100);
        assert_eq!((told.tasks, told.asking, told.unmet_tasks()), (9, 7, 5));
        let names: Vec<&str> = told.unmet.iter().map(|unmet| unmet.lack.name()).collect();
        assert_eq!(names, Lack::NAMES);
        let slots = Lack::Slots {
            slots_needed: 8,
            slots_largest: 4,
        };
        assert_eq!(told.unmet[2].lack, slots);
        let told = reservation(&ReservationView {
            manager,
            needs: "8 cores".to_owned(),
            tasks: 3,
            reserved_for: Duration::from_millis(500),
            passed_for: Duration::from_millis(5500),
        });
        assert_eq!(told.manager, "ab12");
        assert_eq!((told.reserved_s, told.passed_s), (0.5, 5.5));
    }
}
