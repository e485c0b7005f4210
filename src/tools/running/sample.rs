//! A status document for tests: an interchange without tasks and without managers.

use status::document::{
    About, BackPressure, Document, Event, FORMAT, Manager, Process, Queue, Rate, Rates, Restart,
    State, Totals, Traffic, WorkerPort,
};

pub(crate) const STARTED_AT_S: f64 = 1_700_000_000.0;
pub(crate) const UPTIME_S: f64 = 3_600.0;

pub(crate) fn document() -> Document {
    Document {
        format: FORMAT,
        interchange: about(),
        state: State::Running,
        queue: Queue {
            tasks: 0,
            bytes: 0,
            oldest_s: None,
            priorities: Vec::new(),
            more_priorities: 0,
            looked_at: 0,
            asking: 0,
            unmet: Vec::new(),
        },
        in_flight: 0,
        managers: Vec::new(),
        reservation: None,
        rates: Rates {
            last_5_s: Rate::default(),
            last_60_s: Rate::default(),
        },
        totals: totals(),
        traffic: Traffic::default(),
        back_pressure: BackPressure {
            held_bytes: 0,
            bound_bytes: 1 << 30,
            takes_tasks: true,
            unsent_results_bytes: 0,
            dispatches: true,
        },
        hub: None,
        metrics: None,
        event_file: None,
        worker_port: WorkerPort {
            port: 54321,
            address: None,
            connections: 0,
            lets_in: true,
            keys_refused: 0,
            handshakes_failed: 0,
            bad_messages: 0,
        },
        process: Process {
            resident_bytes: 6 << 20,
            cpu_s: 1.5,
            descriptors: 30,
            descriptor_limit: 1024,
            log_lines_dropped: 0,
            log_moved_to: None,
            event_lines_dropped: None,
        },
        restart: None,
        events: Vec::new(),
    }
}

/// A restart `ago_s` seconds before the document.
pub(crate) fn restart(number: u32, ago_s: f64) -> Restart {
    Restart {
        number,
        why: "was killed (SIGKILL), as by the kernel".to_owned(),
        down_s: 0.024,
        at_s: STARTED_AT_S + UPTIME_S - ago_s,
        ago_s,
    }
}

/// An idle manager with four workers.
pub(crate) fn manager(block: &str, host: &str) -> Manager {
    Manager {
        id: format!("{host}-manager"),
        block: block.to_owned(),
        host: host.to_owned(),
        address: Some("10.0.0.1".to_owned()),
        workers: 4,
        capacity: 4,
        in_flight: 0,
        slots: 4,
        busy_slots: 0,
        reserved: false,
        oldest_task_s: None,
        oldest_task: None,
        tasks_done: 0,
        failing: None,
        held: false,
        clogged: false,
        in_doubt: 0,
        doubt_ends_in_s: None,
        draining: false,
        suspect_s: None,
        awaited: false,
        last_heard_s: 1.0,
        idle_s: Some(10.0),
        python: "3.12.3".to_owned(),
        parsl: "2026.10.26".to_owned(),
    }
}

/// A manager that has as many tasks as it can hold.
pub(crate) fn full_manager(block: &str, host: &str) -> Manager {
    let mut manager = manager(block, host);
    manager.in_flight = manager.capacity;
    manager.busy_slots = manager.capacity;
    manager.idle_s = None;
    manager.oldest_task_s = Some(7.0);
    manager.oldest_task = Some(17);
    manager
}

/// An event `ago_s` seconds before the document.
pub(crate) fn event(ago_s: f64, change: &str, tasks_lost: usize) -> Event {
    Event {
        number: 1,
        at_s: STARTED_AT_S + UPTIME_S - ago_s,
        ago_s,
        manager: "n1-manager".to_owned(),
        change: change.to_owned(),
        detail: "silent for 120.0 s".to_owned(),
        tasks_lost,
        was_held: false,
    }
}

fn about() -> About {
    About {
        version: "0.1.0".to_owned(),
        pid: 4711,
        host: "login1".to_owned(),
        logdir: "/runs/runinfo/003/htex".to_owned(),
        logdir_bytes: None,
        log: Some("/runs/runinfo/003/htex/interchange.log".to_owned()),
        started_at_s: STARTED_AT_S,
        uptime_s: UPTIME_S,
        python: Some("3.12.3".to_owned()),
        parsl: Some("2026.10.26".to_owned()),
        parsl_newest_tested: Some("2026.10.26".to_owned()),
        encrypted: true,
        selector: "random".to_owned(),
        heartbeat_threshold_s: 120.0,
        run_id: Some("a-run".to_owned()),
        submit_side: "127.0.0.1, ports 50001, 50002, 50003".to_owned(),
        submit_pid: Some(4700),
        submit_state: Some('S'),
    }
}

fn totals() -> Totals {
    Totals {
        tasks_received: 0,
        tasks_rejected: 0,
        tasks_dispatched: 0,
        tasks_done: 0,
        tasks_lost: 0,
        tasks_unreadable: 0,
        late_results: 0,
        managers_registered: 0,
        managers_lost: 0,
        managers_lost_held: 0,
        managers_drained: 0,
        managers_failing: 0,
        disconnects: 0,
        queued_mean_s: None,
        queued_longest_s: 0.0,
        in_flight_mean_s: None,
        in_flight_longest_s: 0.0,
    }
}
