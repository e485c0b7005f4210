//! Facts about the loop's process and sockets, for the status document.

use nix::sys::resource::{UsageWho, getrusage};

use crate::hub::HubSender;
use crate::process::ProcessStat;
use crate::{EventLoop, memory};
use broker::Now;
use interchange::{Complaint, Surroundings};
use status::document::{About, BackPressure, Process, WorkerPort};

impl EventLoop {
    pub(super) fn surroundings(&mut self, now: Now) -> Surroundings {
        let worker_port = self.worker_port();
        let telemetry = &self.status_server.telemetry;
        let about = &telemetry.about;
        let held = self.turn.held_bytes(&self.ports);
        let unsent_results_bytes = held.unsent_results;
        let connections = self.ports.connections.count();
        Surroundings {
            interchange: About {
                uptime_s: now.monotonic.as_secs_f64(),
                submit_state: about.submit_pid.and_then(state_of),
                ..about.clone()
            },
            queued_bytes: held.queued,
            traffic: self.turn.traffic(),
            back_pressure: BackPressure {
                held_bytes: held.all(),
                bound_bytes: self.turn.bound_bytes(),
                takes_tasks: self.turn.takes_tasks(),
                unsent_results_bytes,
                dispatches: self.turn.may_dispatch(&self.ports),
            },
            hub: self.ports.hub.as_mut().map(HubSender::view),
            metrics: self.status_server.metrics.told(),
            event_file: (telemetry.event_file)(),
            worker_port,
            restart: (self.status_server.restarted.as_ref())
                .map(|restarted| restarted.at(now.monotonic)),
            process: Process {
                resident_bytes: memory::resident_bytes(),
                cpu_s: cpu_s(),
                descriptors: connections.descriptors,
                descriptor_limit: connections.descriptor_limit,
                log_lines_dropped: (telemetry.log_lines_dropped)(),
                log_moved_to: (telemetry.log_moved_to)().map(|to| to.display().to_string()),
                event_lines_dropped: telemetry.events.as_ref().map(|sink| sink.dropped_lines()),
            },
        }
    }

    fn worker_port(&mut self) -> WorkerPort {
        let connections = self.ports.connections.count();
        let bound = &self.status_server.port;
        let complaints = self.turn.interchange().complaints();
        WorkerPort {
            port: bound.port,
            address: bound.address.as_ref().map(ToString::to_string),
            connections: connections.open,
            lets_in: connections.lets_in,
            keys_refused: complaints.total(Complaint::PeerRefused),
            handshakes_failed: complaints.total(Complaint::HandshakeFailed),
            bad_messages: complaints.total(Complaint::UnreadableMessage),
        }
    }
}

/// Returns the state of a process, as the kernel's letter.
fn state_of(pid: u32) -> Option<char> {
    Some(ProcessStat::read(pid).ok()?.state)
}

/// Returns the CPU time of all threads, user and system together.
fn cpu_s() -> f64 {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else {
        return 0.0;
    };
    let seconds =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}
