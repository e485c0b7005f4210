//! What is known of this process and its sockets, for who asks how things are.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use nix::sys::resource::{UsageWho, getrusage};

use super::EventLoop;
use super::memory;
use super::radio::Radio;
use super::starter;
use broker::Now;
use interchange::{Complaint, Surroundings};
use status::document::{About, BackPressure, Process, WorkerPort};

/// What is to be told outside, and where: given by who starts the loop.
pub struct Observing {
    pub about: About,
    /// Lines that the log could not take.
    pub log_lines_dropped: Box<dyn Fn() -> u64>,
    /// Where metrics are told, if anywhere.
    pub metrics_at: Option<SocketAddr>,
    /// Where state changes go, if the broker's settings have them told.
    pub events: Option<Rc<dyn EventSink>>,
}

/// Where managers connect to.
pub(super) struct BoundPort {
    /// None for every address of the machine.
    pub(super) address: Option<IpAddr>,
    pub(super) port: u16,
}

/// Takes lines for the file of events, and never waits.
pub trait EventSink {
    /// One line, with its end.
    fn write(&self, line: &[u8]);
    /// Lines that were lost.
    fn dropped_lines(&self) -> u64;
}

impl EventLoop {
    pub(super) fn surroundings(&mut self, now: Now) -> Surroundings {
        let worker_port = self.worker_port();
        let telling = &self.observers.telling;
        let about = &telling.about;
        let held = self.held_bytes();
        let unsent_results_bytes = held.unsent_results;
        let connections = self.connections.count();
        Surroundings {
            interchange: About {
                uptime_s: now.wall_s - about.started_at_s,
                submit_state: about.submit_pid.and_then(state_of),
                ..about.clone()
            },
            queued_bytes: held.queued,
            traffic: self.observers.traffic,
            back_pressure: BackPressure {
                held_bytes: held.all(),
                bound_bytes: self.intake.bound_bytes(),
                takes_tasks: self.intake.is_open(),
                unsent_results_bytes,
                dispatches: true,
            },
            hub: self.radio.as_mut().map(Radio::view),
            worker_port,
            process: Process {
                resident_bytes: memory::resident_bytes(),
                cpu_s: cpu_s(),
                descriptors: connections.descriptors,
                descriptor_limit: connections.descriptor_limit,
                log_lines_dropped: (telling.log_lines_dropped)(),
                event_lines_dropped: telling.events.as_ref().map(|sink| sink.dropped_lines()),
            },
        }
    }

    fn worker_port(&mut self) -> WorkerPort {
        let connections = self.connections.count();
        let bound = &self.observers.port;
        let complaints = self.interchange.complaints();
        WorkerPort {
            port: bound.port,
            address: bound.address.map(|address| address.to_string()),
            connections: connections.open,
            lets_in: connections.lets_in,
            keys_refused: complaints.total(Complaint::PeerRefused),
            handshakes_failed: complaints.total(Complaint::HandshakeFailed),
            bad_messages: complaints.total(Complaint::UnreadableMessage),
        }
    }
}

/// In the kernel's letter.
fn state_of(pid: u32) -> Option<char> {
    let line = starter::stat_of(pid)?;
    starter::fields_behind_name(&line)?.next()?.chars().next()
}

/// Of all threads, in the system and out of it.
fn cpu_s() -> f64 {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else {
        return 0.0;
    };
    let seconds =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}
