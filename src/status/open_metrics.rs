//! The page of metrics, in OpenMetrics' text format.
//!
//! Names follow the conventions of Prometheus: the prefix `htex_interchange_`, base units, and the
//! suffix `_total` for counters. Metrics of the process have their usual names. The guide's page
//! `operate` lists all metrics.

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::document::{Document, Lack, ManagerState};

const BYTES: Option<&Unit> = Some(&Unit::Bytes);
const SECONDS: Option<&Unit> = Some(&Unit::Seconds);

/// The value of the HTTP header `Content-Type`.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Distributions of durations.
#[derive(Debug)]
pub struct Timings {
    /// Time from acceptance to dispatch.
    pub queued: Durations,
    /// Time from dispatch to result.
    pub in_flight: Durations,
    /// Time from the beginning of the turn in which a batch was made until the batch was handed to
    /// the transport.
    pub dispatch: Durations,
}

/// A histogram of durations.
#[derive(Debug)]
pub struct Durations {
    /// The upper bound of each class and the number of durations in the class. The last class has
    /// no bound.
    pub classes: Vec<(Option<Duration>, u64)>,
    /// Number of durations.
    pub count: u64,
    /// Sum of the durations.
    pub sum: Duration,
}

/// Returns the whole page.
pub fn page(document: Document, timings: Timings) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Page { document, timings }));
    let mut text = String::new();
    if encode(&mut text, &registry).is_err() {
        debug_assert!(false, "a text takes whatever is written to it");
    }
    text
}

#[derive(Debug)]
struct Page {
    document: Document,
    timings: Timings,
}

/// A total that never decreases. A counter without a value is left out.
struct Counter {
    name: &'static str,
    help: &'static str,
    value: fn(&Document) -> Option<u64>,
}

/// A value that can increase and decrease. `name` is without the unit, which is appended.
struct Gauge {
    name: &'static str,
    help: &'static str,
    unit: Option<&'static Unit>,
    value: fn(&Document) -> Option<f64>,
}

const COUNTERS: &[Counter] = &[
    Counter {
        name: "htex_interchange_tasks_received",
        help: "Tasks accepted from the submit side",
        value: |told| Some(told.totals.tasks_received),
    },
    Counter {
        name: "htex_interchange_tasks_rejected",
        help: "Tasks rejected because a pending task had the same id, or because the interchange \
               was ending",
        value: |told| Some(told.totals.tasks_rejected),
    },
    Counter {
        name: "htex_interchange_tasks_dispatched",
        help: "Times that a task was sent to a manager",
        value: |told| Some(told.totals.tasks_dispatched),
    },
    Counter {
        name: "htex_interchange_tasks_done",
        help: "Tasks that ended with their own result",
        value: |told| Some(told.totals.tasks_done),
    },
    Counter {
        name: "htex_interchange_tasks_lost",
        help: "Tasks that failed because their manager was lost",
        value: |told| Some(told.totals.tasks_lost),
    },
    Counter {
        name: "htex_interchange_tasks_unreadable",
        help: "Tasks that failed because they, or their results, could not be read",
        value: |told| Some(told.totals.tasks_unreadable),
    },
    Counter {
        name: "htex_interchange_late_results",
        help: "Results that arrived after their task had been given up",
        value: |told| Some(told.totals.late_results),
    },
    Counter {
        name: "htex_interchange_managers_registered",
        help: "Registrations of managers",
        value: |told| Some(told.totals.managers_registered),
    },
    Counter {
        name: "htex_interchange_managers_lost",
        help: "Managers declared lost",
        value: |told| Some(told.totals.managers_lost),
    },
    Counter {
        name: "htex_interchange_managers_drained",
        help: "Managers that were drained",
        value: |told| Some(told.totals.managers_drained),
    },
    Counter {
        name: "htex_interchange_managers_failing",
        help: "Managers found to fail every task while others did not",
        value: |told| Some(told.totals.managers_failing),
    },
    Counter {
        name: "htex_interchange_manager_disconnects",
        help: "Times that a registered manager's connection closed",
        value: |told| Some(told.totals.disconnects),
    },
    Counter {
        name: "htex_interchange_handshake_failures",
        help: "Connections that failed before their first message",
        value: |told| Some(told.worker_port.handshakes_failed),
    },
    Counter {
        name: "htex_interchange_keys_refused",
        help: "Peers whose key is not in the certificate directory",
        value: |told| Some(told.worker_port.keys_refused),
    },
    Counter {
        name: "htex_interchange_bad_messages",
        help: "Messages of the worker port that could not be read",
        value: |told| Some(told.worker_port.bad_messages),
    },
    Counter {
        name: "htex_interchange_restarts",
        help: "Times that a new process took over after the interchange's process had ended \
               (--survive)",
        value: |told| Some(told.restart.as_ref().map_or(0, |it| it.number.into())),
    },
    Counter {
        name: "htex_interchange_log_lines_dropped",
        help: "Lines that could not be written to the log",
        value: |told| Some(told.process.log_lines_dropped),
    },
    Counter {
        name: "htex_interchange_event_lines_dropped",
        help: "Lines that could not be written to the events file",
        value: |told| told.process.event_lines_dropped,
    },
    Counter {
        name: "htex_interchange_hub_records_dropped",
        help: "Records dropped because the monitoring hub did not read them",
        value: |told| told.hub.as_ref().map(|hub| hub.dropped),
    },
];

/// Counters of bytes.
const BYTE_COUNTERS: &[Counter] = &[
    Counter {
        name: "htex_interchange_tasks",
        help: "Bytes of tasks from the submit side",
        value: |told| Some(told.traffic.tasks_bytes),
    },
    Counter {
        name: "htex_interchange_batches",
        help: "Bytes of batches sent to managers",
        value: |told| Some(told.traffic.batches_bytes),
    },
    Counter {
        name: "htex_interchange_from_managers",
        help: "Bytes of messages from managers",
        value: |told| Some(told.traffic.from_managers_bytes),
    },
    Counter {
        name: "htex_interchange_results",
        help: "Bytes of results sent to the submit side",
        value: |told| Some(told.traffic.results_bytes),
    },
];

const GAUGES: &[Gauge] = &[
    Gauge {
        name: "htex_interchange_queue_tasks",
        help: "Tasks that wait for a manager",
        unit: None,
        value: |told| Some(told.queue.tasks as f64),
    },
    Gauge {
        name: "htex_interchange_queue_asking_tasks",
        help: "Queued tasks that require something of their manager",
        unit: None,
        value: |told| Some(told.queue.asking as f64),
    },
    Gauge {
        name: "htex_interchange_queue",
        help: "Size of the queued tasks",
        unit: BYTES,
        value: |told| Some(told.queue.bytes as f64),
    },
    Gauge {
        name: "htex_interchange_queue_oldest",
        help: "Age of the oldest queued task",
        unit: SECONDS,
        value: |told| Some(told.queue.oldest_s.unwrap_or(0.0)),
    },
    Gauge {
        name: "htex_interchange_tasks_in_flight",
        help: "Tasks in flight on managers",
        unit: None,
        value: |told| Some(told.in_flight as f64),
    },
    Gauge {
        name: "htex_interchange_workers",
        help: "Workers of all registered managers",
        unit: None,
        value: |told| Some(told.managers.iter().map(|one| one.workers as f64).sum()),
    },
    Gauge {
        name: "htex_interchange_slots",
        help: "One-slot tasks that all registered managers can run at a time",
        unit: None,
        value: |told| Some(told.managers.iter().map(|one| one.slots as f64).sum()),
    },
    Gauge {
        name: "htex_interchange_busy_slots",
        help: "Slots occupied by tasks; a task may occupy several",
        unit: None,
        value: |told| Some(told.managers.iter().map(|one| one.busy_slots as f64).sum()),
    },
    Gauge {
        name: "htex_interchange_capacity_tasks",
        help: "Tasks that all registered managers may hold at a time",
        unit: None,
        value: |told| Some(told.managers.iter().map(|one| one.capacity as f64).sum()),
    },
    Gauge {
        name: "htex_interchange_held",
        help: "Size of the tasks and unsent results that are held",
        unit: BYTES,
        value: |told| Some(told.back_pressure.held_bytes as f64),
    },
    Gauge {
        name: "htex_interchange_held_bound",
        help: "Limit of held bytes, above which no task is accepted (--max-queued-bytes)",
        unit: BYTES,
        value: |told| Some(told.back_pressure.bound_bytes as f64),
    },
    Gauge {
        name: "htex_interchange_unsent_results",
        help: "Size of the results that the executor has not taken",
        unit: BYTES,
        value: |told| Some(told.back_pressure.unsent_results_bytes as f64),
    },
    Gauge {
        name: "htex_interchange_takes_tasks",
        help: "1 while the interchange accepts tasks from the submit side",
        unit: None,
        value: |told| Some(truth(told.back_pressure.takes_tasks)),
    },
    Gauge {
        name: "htex_interchange_dispatches",
        help: "1 while the interchange dispatches tasks; 0 while the executor takes no results",
        unit: None,
        value: |told| Some(truth(told.back_pressure.dispatches)),
    },
    Gauge {
        name: "htex_interchange_connections",
        help: "Open connections of the worker port",
        unit: None,
        value: |told| Some(told.worker_port.connections as f64),
    },
    Gauge {
        name: "htex_interchange_lets_workers_in",
        help: "1 while the interchange accepts managers; 0 when descriptors run out",
        unit: None,
        value: |told| Some(truth(told.worker_port.lets_in)),
    },
    Gauge {
        name: "htex_interchange_hub_held",
        help: "Size of the records held for the monitoring hub",
        unit: BYTES,
        value: |told| told.hub.as_ref().map(|hub| hub.held_bytes as f64),
    },
    Gauge {
        name: "process_resident_memory",
        help: "Resident memory of the interchange",
        unit: BYTES,
        value: |told| Some(told.process.resident_bytes as f64),
    },
    Gauge {
        name: "process_start_time",
        help: "Start time of the interchange, since the epoch",
        unit: SECONDS,
        value: |told| Some(told.interchange.started_at_s),
    },
    Gauge {
        name: "process_open_fds",
        help: "Open descriptors, including those kept in reserve",
        unit: None,
        value: |told| Some(told.process.descriptors as f64),
    },
    Gauge {
        name: "process_max_fds",
        help: "Maximum number of open descriptors",
        unit: None,
        value: |told| Some(told.process.descriptor_limit as f64),
    },
];

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut encoder;
        for (counters, unit) in [(COUNTERS, None), (BYTE_COUNTERS, BYTES)] {
            for Counter { name, help, value } in counters {
                if let Some(value) = value(&self.document) {
                    let encoder = out.encode_descriptor(name, help, unit, MetricType::Counter)?;
                    ConstCounter::new(value).encode(encoder)?;
                }
            }
        }
        for gauge in GAUGES {
            if let Some(value) = (gauge.value)(&self.document) {
                let (name, help) = (gauge.name, gauge.help);
                let encoder = out.encode_descriptor(name, help, gauge.unit, MetricType::Gauge)?;
                ConstGauge::new(value).encode(encoder)?;
            }
        }
        self.managers(out)?;
        self.unmet(out)?;
        self.cpu(out)?;
        self.timings(out)?;
        self.about(out)
    }
}

impl Page {
    fn managers(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let managers = &self.document.managers;
        let help = "Registered managers by state. A manager counts in the first state that \
                    applies: suspect (no connection), draining, held, awaited (others of its block \
                    disappeared), full, reserved (gets no tasks until it has room for a task that \
                    needs many slots), busy, idle";
        let name = "htex_interchange_managers";
        let mut family = out.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for state in ManagerState::ALL {
            let count = managers.iter().filter(|manager| manager.state() == state);
            let value = ConstGauge::new(count.count() as i64);
            value.encode(family.encode_family(&[("state", state.name())])?)?;
        }
        Ok(())
    }

    /// Writes a series for every possible lack, so that no series appears or vanishes.
    fn unmet(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Queued tasks that fit no registered manager, by what is missing: slots (of one \
                    manager), time (until it ends), node (its name, block or size), affinity (its \
                    manager cannot hold it), managers (none accepts tasks)";
        let name = "htex_interchange_queue_unmet_tasks";
        let mut family = out.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for lack in Lack::NAMES {
            let unmet = self.document.queue.unmet.iter();
            let of_it = unmet.filter(|unmet| unmet.lack.name() == lack);
            let value = ConstGauge::new(of_it.map(|unmet| unmet.tasks as i64).sum::<i64>());
            value.encode(family.encode_family(&[("lack", lack)])?)?;
        }
        Ok(())
    }

    fn cpu(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Processor time of the interchange";
        let counter = MetricType::Counter;
        let encoder = out.encode_descriptor("process_cpu", help, SECONDS, counter)?;
        ConstCounter::new(self.document.process.cpu_s).encode(encoder)
    }

    fn timings(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, histogram) in [
            (
                "htex_interchange_task_queued",
                "Time from a task's acceptance to its dispatch",
                &self.timings.queued,
            ),
            (
                "htex_interchange_task_in_flight",
                "Time from a task's dispatch to its result",
                &self.timings.in_flight,
            ),
            (
                "htex_interchange_dispatch_latency",
                "Time from the start of an event loop turn to the hand-over of its batches",
                &self.timings.dispatch,
            ),
        ] {
            encode_histogram(out, name, help, histogram)?;
        }
        Ok(())
    }

    fn about(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let about = &self.document.interchange;
        let (name, help) = ("htex_interchange", "Information about this interchange");
        let mut info = out.encode_descriptor(name, help, None, MetricType::Info)?;
        let labels = [
            ("version", about.version.as_str()),
            ("logdir", about.logdir.as_str()),
            ("host", about.host.as_str()),
        ];
        info.encode_info(&labels)
    }
}

fn truth(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

fn encode_histogram(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    durations: &Durations,
) -> fmt::Result {
    let mut encoder = out.encode_descriptor(name, help, SECONDS, MetricType::Histogram)?;
    let bound_s = |bound: Option<Duration>| bound.map_or(f64::INFINITY, |it| it.as_secs_f64());
    let classes = durations.classes.iter();
    let classes: Vec<(f64, u64)> = classes
        .map(|(bound, count)| (bound_s(*bound), *count))
        .collect();
    let sum_s = durations.sum.as_secs_f64();
    encoder.encode_histogram::<NoLabelSet>(sum_s, durations.count, &classes, None)
}
