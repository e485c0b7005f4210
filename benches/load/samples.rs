//! What a soak measures period by period: round trips, and everything that could grow.

use std::collections::HashMap;
use std::io::Write;
use std::time::Instant;

use super::proc_fs::{self, Meter, Resident};
use super::report::Report;
use super::scenarios::quantile;
use super::session::Session;
use super::trouble::Outcome;
use super::words;

const MB: f64 = 1e6;

/// The round trips of some tasks.
#[derive(Default)]
pub(crate) struct Watch {
    sent: HashMap<u64, Instant>,
    taken_us: Vec<f64>,
}

impl Watch {
    pub(crate) fn note_submitted(&mut self, id: u64) {
        self.sent.insert(id, Instant::now());
    }

    pub(crate) fn note_answer(&mut self, id: u64) {
        if self.sent.is_empty() {
            return;
        }
        if let Some(sent) = self.sent.remove(&id) {
            self.taken_us.push(sent.elapsed().as_secs_f64() * 1e6);
        }
    }

    /// Forgets tasks that have no result yet, because the submit side will be busy with others.
    pub(crate) fn forget_open(&mut self) {
        self.sent.clear();
    }
}

/// Writes one sample per period to standard error.
pub(crate) struct Sampler {
    begin: Instant,
    last: Meter,
    ended: u64,
}

impl Sampler {
    pub(crate) fn new(session: &Session) -> Outcome<Self> {
        let last = session.meter()?;
        Ok(Self {
            begin: last.at,
            last,
            ended: 0,
        })
    }

    /// Ends a period. The tasks are at rest then but for those of managers that died.
    pub(crate) fn write(&mut self, session: &mut Session) -> Outcome<()> {
        let now = session.meter()?;
        let used = now.since(&self.last);
        let pid = session.interchange.pid();
        let outstanding = session
            .side
            .ask("OUTSTANDING_C", &mut session.interchange)?;
        let side = &mut session.side;
        let ended = side.answered + side.lost;
        let resident = Resident::of(pid)?.now as f64 / MB;
        let mut taken_us = std::mem::take(&mut side.watch.taken_us);
        let mut sample = Report::default();
        sample
            .add("at_s", (now.at - self.begin).as_secs_f64())
            .add("done", side.answered)
            .add("lost", side.lost)
            .add("tasks_per_s", (ended - self.ended) as f64 / used.wall_s)
            .add(
                "outstanding",
                words::read_number(&outstanding).map_or(f64::NAN, |n| n as f64),
            )
            .add("rss_mb", resident)
            .add("descriptors", proc_fs::descriptors_of(pid)?)
            .add("threads", proc_fs::threads_of(pid)?)
            .add("round_trips", taken_us.len())
            .add("p50_us", quantile(&mut taken_us, 0.5))
            .add("p99_us", quantile(&mut taken_us, 0.99))
            .add("cpu_s", used.interchange_ns as f64 / 1e9)
            .add("cpu_wait_s", used.interchange_wait_ns as f64 / 1e9)
            .add("generator_cpu_s", used.generator_ns as f64 / 1e9)
            .add("log_mb", session.log_bytes()? as f64 / MB);
        if let Some(keeper) = session.interchange.keeper_pid() {
            sample.add("keeper_rss_mb", Resident::of(keeper)?.now as f64 / MB);
        }
        let told = session.managers.shared.coming_and_going();
        sample
            .add("connected", told.connected)
            .add("died", told.counts.died)
            .add("usurped", told.counts.usurped)
            .add("drained", told.counts.drained)
            .add("reconnected", told.counts.reconnected);
        drop(told);
        let _ = writeln!(std::io::stderr(), "{}", sample.to_json());
        self.last = now;
        self.ended = ended;
        Ok(())
    }
}
