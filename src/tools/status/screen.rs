//! The description of one interchange, for one screen.

#[cfg(test)]
mod tests;

use super::table::Table;
use crate::running::findings::{findings, verdict};
use crate::running::labels::{name_of, told_of};
use crate::running::manager_counts::{ManagerCounts, by_block};
use crate::shared::finding::{Finding, Severity};
use crate::shared::paper::Paper;
use crate::shared::words::{
    bytes, clipped, count, duration, moment, plain, rate, some, width, wrapped,
};
use status::document::{Document, Event, Manager, ManagerState, Priority, Restart, State};

/// Width of the column with labels.
const LABEL_COLUMNS: usize = 15;
/// Maximum number of managers' events shown.
const EVENTS_SHOWN: usize = 8;
const PRIORITIES_SHOWN: usize = 6;

/// Describes everything. With `managers`, each manager has a line; otherwise each block has one.
pub(super) fn full(document: &Document, paper: &Paper, managers: bool) -> String {
    let mut screen = Screen::new(*paper);
    screen.head(document);
    screen.findings(&findings(document), true);
    screen.blank();
    screen.about(document);
    screen.tasks(document);
    screen.memory(document);
    screen.connections(document);
    screen.blank();
    match managers {
        true => screen.managers(document),
        false => screen.blocks(document),
    }
    screen.events(document);
    screen.text
}

/// Describes what is wrong, and the most important numbers.
pub(super) fn short(document: &Document, paper: &Paper) -> String {
    let mut screen = Screen::new(*paper);
    screen.head(document);
    screen.findings(&findings(document), false);
    let counts = ManagerCounts::of(&document.managers);
    let done = document.rates.last_60_s.done;
    screen.line(
        "In short",
        &format!(
            "{} queued, {} in flight, {} with {}, {} done a second",
            count(document.queue.tasks),
            count(document.in_flight),
            some(counts.managers, "manager"),
            some(workers(&counts), "worker"),
            rate(done)
        ),
    );
    screen.text
}

fn restarted(restart: &Restart) -> String {
    format!(
        "{}, the last {} ago, after {} without service: the old process {}",
        some(restart.number, "time"),
        duration(restart.ago_s),
        duration(restart.down_s),
        plain(&restart.why)
    )
}

fn workers(counts: &ManagerCounts<'_>) -> u64 {
    u64::try_from(counts.workers).unwrap_or(0)
}

struct Screen {
    paper: Paper,
    text: String,
}

impl Screen {
    fn new(paper: Paper) -> Self {
        Self {
            paper,
            text: String::new(),
        }
    }

    fn push(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    fn blank(&mut self) {
        self.push("");
    }

    fn line(&mut self, label: &str, text: &str) {
        let room = self.paper.line_columns.saturating_sub(LABEL_COLUMNS);
        let label = self.paper.bold(&format!("{label:LABEL_COLUMNS$}"));
        self.push(&(label + &clipped(text, room)));
    }

    fn head(&mut self, document: &Document) {
        let about = &document.interchange;
        let left = name_of(document);
        let state = match document.state {
            State::Running => "up",
            State::Leaving => "ENDING, up",
        };
        let right = format!(
            "process {} on {}, {state} {}",
            about.pid,
            plain(&about.host),
            duration(about.uptime_s)
        );
        let columns = self.paper.text_columns.min(self.paper.line_columns);
        let gap = columns.saturating_sub(width(&left) + width(&right)).max(2);
        let line = self.paper.bold(&left) + &" ".repeat(gap) + &right;
        match columns < width(&left) + width(&right) + gap {
            true => {
                let left = clipped(&left, columns);
                self.push(&self.paper.bold(&left));
                self.push(&clipped(&right, columns));
            }
            false => self.push(&line),
        }
    }

    fn findings(&mut self, found: &[Finding], with_evidence: bool) {
        let verdict = verdict(found);
        self.push(&self.paper.bold(&verdict));
        for finding in found {
            // Output to a pipe, for `grep` and mail, has one line for each finding.
            let columns = match self.paper.is_terminal {
                true => self.paper.text_columns.saturating_sub(LABEL_COLUMNS),
                false => usize::MAX,
            };
            let label = finding.severity.name();
            let gap = " ".repeat(LABEL_COLUMNS.saturating_sub(label.len()));
            let mut label = self.paper.severity(finding.severity) + &gap;
            let indent = " ".repeat(LABEL_COLUMNS);
            for line in wrapped(&finding.what, columns) {
                self.push(&(label + &line));
                label = indent.clone();
            }
            let mut behind = vec![finding.advice()];
            // A note needs no evidence, because the screen itself shows the state.
            if with_evidence && finding.severity != Severity::Note {
                let shown = finding.evidence.iter();
                behind.extend(shown.map(|shown| format!("Shown by: {shown}")));
            }
            for text in behind.iter().filter(|text| !text.is_empty()) {
                for line in wrapped(text, columns) {
                    let line = self.paper.dim(&line);
                    self.push(&(indent.clone() + &line));
                }
            }
        }
    }

    fn about(&mut self, document: &Document) {
        let about = &document.interchange;
        let unknown = || "not known yet".to_owned();
        self.line(
            "Run",
            &format!(
                "Parsl {}, Python {}, {}, htex-interchange {}, since {}",
                about.parsl.as_deref().map_or_else(unknown, plain),
                about.python.as_deref().map_or_else(unknown, plain),
                match about.encrypted {
                    true => "encrypted",
                    false => "not encrypted",
                },
                about.version,
                moment(about.started_at_s, about.started_at_s + about.uptime_s)
            ),
        );
        if let Some(restart) = &document.restart {
            self.line("Restarted", &restarted(restart));
        }
        self.line("Logs", &plain(&about.logdir));
        let run = about
            .run_id
            .as_deref()
            .map_or(String::new(), |run| format!(", run {}", plain(run)));
        self.line(
            "Submit side",
            &format!("{}{run}", plain(&about.submit_side)),
        );
        let port = &document.worker_port;
        let address = port.address.as_deref().unwrap_or("every address");
        self.line(
            "Worker port",
            &format!(
                "{} of {address}, {}; selector {}; heartbeat timeout {}",
                port.port,
                some(port.connections, "connection"),
                plain(&about.selector),
                duration(about.heartbeat_threshold_s)
            ),
        );
    }

    fn tasks(&mut self, document: &Document) {
        let queue = &document.queue;
        let mut waiting = format!("{}, {}", some(queue.tasks, "task"), bytes(queue.bytes));
        if let Some(oldest) = queue.oldest_s {
            waiting += &format!(", the oldest for {}", duration(oldest));
        }
        waiting += &priorities(document);
        waiting += &unmet(document);
        self.line("Queue", &waiting);
        let counts = ManagerCounts::of(&document.managers);
        self.line(
            "In flight",
            &format!(
                "{}{}{}; {} with {} on {}",
                some(document.in_flight, "task"),
                counts.slots_in_hand(),
                counts.longest_in_hand(),
                some(counts.managers, "manager"),
                some(workers(&counts), "worker"),
                some(counts.hosts.len(), "host")
            ),
        );
        let (lately, minute) = (document.rates.last_5_s, document.rates.last_60_s);
        let shown = |five, sixty| format!("{} ({})", rate(five), rate(sixty));
        self.line(
            "Tasks/s",
            &format!(
                "received {}, dispatched {}, done {}; over 5 s (over a minute)",
                shown(lately.received, minute.received),
                shown(lately.dispatched, minute.dispatched),
                shown(lately.done, minute.done)
            ),
        );
        self.totals(document);
    }

    fn totals(&mut self, document: &Document) {
        let totals = &document.totals;
        let times = |mean: Option<f64>, longest| match mean {
            Some(mean) => format!("{} (at most {})", duration(mean), duration(longest)),
            None => "-".to_owned(),
        };
        self.line(
            "Since start",
            &format!(
                "{} received, {} done; queued {}, in flight {}",
                count(totals.tasks_received),
                count(totals.tasks_done),
                times(totals.queued_mean_s, totals.queued_longest_s),
                times(totals.in_flight_mean_s, totals.in_flight_longest_s)
            ),
        );
        let mut lost = format!(
            "{} with {}",
            some(totals.tasks_lost, "task"),
            some(totals.managers_missed(), "manager")
        );
        for (number, what) in [
            (totals.tasks_unreadable, "unreadable"),
            (totals.tasks_rejected, "rejected"),
            (totals.late_results, "late results"),
        ] {
            if number > 0 {
                lost += &format!(", {} {what}", count(number));
            }
        }
        if totals.managers_lost_held > 0 {
            lost += &format!("; {} lost while held", count(totals.managers_lost_held));
        }
        lost += &format!(
            "; {} drained, {}",
            some(totals.managers_drained, "manager"),
            some(totals.disconnects, "disconnect")
        );
        self.line("Lost", &lost);
    }

    fn memory(&mut self, document: &Document) {
        let (process, pressure) = (&document.process, &document.back_pressure);
        let share = match document.interchange.uptime_s {
            uptime if uptime > 0.0 => 100.0 * process.cpu_s / uptime,
            _ => 0.0,
        };
        self.line(
            "Process",
            &format!(
                "{} resident, CPU {} ({share:.1} %), {} of {} descriptors",
                bytes(process.resident_bytes),
                duration(process.cpu_s),
                count(process.descriptors),
                count(process.descriptor_limit)
            ),
        );
        let mut held = format!(
            "{} of {} held, {} of results not taken by the executor",
            bytes(pressure.held_bytes),
            bytes(pressure.bound_bytes),
            bytes(pressure.unsent_results_bytes)
        );
        if !pressure.takes_tasks {
            held += "; NO TASKS ARE ACCEPTED";
        }
        if !pressure.dispatches {
            held += "; NO TASKS ARE DISPATCHED";
        }
        self.line("Back-pressure", &held);
    }

    fn connections(&mut self, document: &Document) {
        let port = &document.worker_port;
        if port.keys_refused + port.handshakes_failed + port.bad_messages > 0 || !port.lets_in {
            self.line(
                "Rejected",
                &format!(
                    "{}, {}, {}{}",
                    some(port.keys_refused, "key"),
                    some(port.handshakes_failed, "handshake"),
                    some(port.bad_messages, "bad message"),
                    if port.lets_in {
                        ""
                    } else {
                        "; NO MANAGER IS ACCEPTED"
                    }
                ),
            );
        }
        for (label, service) in [
            ("Metrics", &document.metrics),
            ("Events", &document.event_file),
        ] {
            if let Some(service) = service {
                let not_there = || format!("not running at {}", plain(&service.asked_for));
                self.line(label, &service.at.as_deref().map_or_else(not_there, plain));
            }
        }
        if let Some(hub) = &document.hub {
            self.line(
                "Monitoring",
                &format!(
                    "{}, {}, {} waiting, {} dropped",
                    plain(&hub.address),
                    match hub.answers {
                        true => "answers",
                        false => "does not answer",
                    },
                    bytes(hub.held_bytes),
                    some(hub.dropped, "record")
                ),
            );
        }
    }

    fn blocks(&mut self, document: &Document) {
        let mut heads = vec!["BLOCK", "MANAGERS", "HOSTS", "WORKERS", "IN FLIGHT"];
        // Columns that only tasks with requirements need are shown only if there are such tasks.
        let all = ManagerCounts::of(&document.managers);
        if all.has_wide_tasks {
            heads.push("SLOTS");
        }
        let is_shown = |state: &ManagerState| {
            *state != ManagerState::Reserved || all.count(ManagerState::Reserved) > 0
        };
        let states: Vec<ManagerState> = ManagerState::ALL.into_iter().filter(is_shown).collect();
        let names: Vec<String> = states.iter().map(|it| it.name().to_uppercase()).collect();
        heads.extend(names.iter().map(String::as_str));
        heads.push("SILENT");
        let mut table = Table::new(&heads);
        for (block, counts) in by_block(document) {
            let mut row = vec![
                plain(block),
                count(counts.managers),
                count(counts.hosts.len()),
                count(workers(&counts)),
                format!("{}/{}", count(counts.in_flight), count(counts.capacity)),
            ];
            if all.has_wide_tasks {
                row.push(slots(counts.busy_slots, counts.slots));
            }
            let numbers = states.iter().map(|state| match counts.count(*state) {
                0 => "·".to_owned(),
                managers => count(managers),
            });
            row.extend(numbers);
            row.push(duration(counts.silent_s));
            table.push(row);
        }
        self.table(&table, document.managers.is_empty());
    }

    fn managers(&mut self, document: &Document) {
        let mut heads = vec!["BLOCK", "MANAGER", "HOST", "STATE", "IN FLIGHT"];
        let has_wide_tasks = document.managers.iter().any(Manager::has_wide_tasks);
        if has_wide_tasks {
            heads.push("SLOTS");
        }
        heads.extend(["WORKERS", "DONE", "OLDEST", "SILENT", "IDLE"]);
        let mut table = Table::new(&heads);
        let or_dash = |time: Option<f64>| time.map_or("-".to_owned(), duration);
        for manager in &document.managers {
            let mut row = vec![
                plain(&manager.block),
                plain(&manager.id),
                plain(&manager.host),
                states(manager),
                format!("{}/{}", count(manager.in_flight), count(manager.capacity)),
            ];
            if has_wide_tasks {
                row.push(slots(manager.busy_slots, manager.slots));
            }
            row.extend([
                count(manager.workers),
                count(manager.tasks_done),
                or_dash(manager.oldest_task_s),
                duration(manager.last_heard_s),
                or_dash(manager.idle_s),
            ]);
            table.push(row);
        }
        self.table(&table, document.managers.is_empty());
    }

    fn table(&mut self, table: &Table, nobody: bool) {
        if nobody {
            self.push("No manager is registered.");
            return;
        }
        for (place, line) in table.lines().iter().enumerate() {
            let line = clipped(line.trim_end(), self.paper.line_columns);
            match place {
                0 => self.push(&self.paper.dim(&line)),
                _ => self.push(&line),
            }
        }
    }

    fn events(&mut self, document: &Document) {
        if document.events.is_empty() {
            return;
        }
        self.blank();
        let shown = document.events.iter().rev().take(EVENTS_SHOWN);
        let shown: Vec<&Event> = shown.collect();
        let title = "Latest changes of managers";
        self.push(&self.paper.dim(title));
        for event in shown.into_iter().rev() {
            let line = clipped(&told_of(event), self.paper.line_columns);
            self.push(&line);
        }
    }
}

/// Lists all states of a manager: `held, draining`.
fn states(manager: &Manager) -> String {
    let first = manager.state();
    let mut told = vec![first.name()];
    if manager.draining && first != ManagerState::Draining {
        told.push("draining");
    }
    if manager.held && first != ManagerState::Held {
        told.push("held");
    }
    if manager.reserved && first != ManagerState::Reserved {
        told.push("reserved");
    }
    told.join(", ")
}

/// Formats busy slots and all slots: `8/16`.
fn slots(busy: usize, all: usize) -> String {
    format!("{}/{}", count(busy), count(all))
}

/// Returns the number of tasks that fit no manager: `; 12 fit no manager`.
fn unmet(document: &Document) -> String {
    match document.queue.unmet_tasks() {
        0 => String::new(),
        1 => "; 1 fits no manager".to_owned(),
        tasks => format!("; {} fit no manager", count(tasks)),
    }
}

fn priorities(document: &Document) -> String {
    let queue = &document.queue;
    let is_plain = matches!(
        queue.priorities.as_slice(),
        [] | [Priority { priority: None, .. }]
    );
    if is_plain {
        return String::new();
    }
    let shown = queue.priorities.iter().take(PRIORITIES_SHOWN);
    let told: Vec<String> = shown
        .map(|priority| match priority.priority {
            Some(number) => format!("{number}: {}", count(priority.tasks)),
            None => format!("none: {}", count(priority.tasks)),
        })
        .collect();
    let more = queue.priorities.len().saturating_sub(PRIORITIES_SHOWN) + queue.more_priorities;
    let rest = match more {
        0 => String::new(),
        more => format!(", {more} more"),
    };
    format!("; by priority {}{rest}", told.join(", "))
}
