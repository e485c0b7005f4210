//! Reports to the executor why a start failed. `parsl.load()` then raises at once, instead of
//! waiting two minutes for an answer.

use std::io;
use std::time::{Duration, Instant};

use super::aside::Aside;
use super::frame::Frame;
use super::frame_socket::{FrameSocket, Part};
use super::socket_monitor::{SocketEvent, SocketMonitor};
use super::sockets::SubmitSockets;
use super::{sockets, zmq_calls};
use submit_side::config::SubmitSide;
use submit_side::curve::Certificates;

/// Time within which a running executor has connected.
const CONNECTED_WITHIN: Duration = Duration::from_millis(700);
/// Time within which a connected executor sends its first command. It does so at once, unless its
/// machine is very slow.
const ASKED_WITHIN: Duration = Duration::from_secs(10);
/// Read-ahead of tasks: the minimum, because a refused start takes no tasks.
const NO_TASKS_READ: usize = 1;
/// How long the answer may take to be sent.
const ANSWER_LINGER_MS: i32 = 1000;

/// Answers the executor's first command with a pickle that raises `reason` there. Returns true if a
/// command arrived.
///
/// # Errors
/// No socket could be opened, or there are no threads for them.
pub fn refuse(
    side: &SubmitSide,
    certificates: Option<&Certificates>,
    reason: &str,
) -> io::Result<bool> {
    let aside = Aside::open(certificates)?;
    let mut commands = SubmitSockets::open(aside.context(), certificates, NO_TASKS_READ)?.commands;
    commands.set_linger(ANSWER_LINGER_MS)?;
    let monitor = SocketMonitor::of(&commands, aside.context(), "refusal")?;
    zmq_calls::connect(
        commands.socket_mut(),
        &sockets::endpoint(&side.address.zmq_host()?, side.command_port),
    )?;
    let asked = wait_for_command(&commands, &monitor, &aside);
    if asked {
        let _ = commands.receive();
        let answer = Frame::of_bytes(protocol::refusal(reason));
        commands
            .send(answer, Part::Last)
            .map_err(|not_sent| io::Error::other(not_sent.to_string()))?;
    }
    Ok(asked)
}

fn wait_for_command(commands: &FrameSocket, monitor: &SocketMonitor, aside: &Aside) -> bool {
    let started = Instant::now();
    let mut patience = CONNECTED_WITHIN;
    loop {
        let left = patience.saturating_sub(started.elapsed());
        if left.is_zero() {
            return false;
        }
        aside.wait([commands, monitor.socket()], left);
        if zmq_calls::is_readable(commands) {
            return true;
        }
        while let Some(event) = monitor.next() {
            match event {
                SocketEvent::Connected => patience = ASKED_WITHIN,
                // The executor was connected and is gone.
                SocketEvent::Disconnected(_) => return false,
                SocketEvent::Listening(_)
                | SocketEvent::Accepted(_)
                | SocketEvent::AcceptFailed(_)
                | SocketEvent::Closed
                | SocketEvent::HandshakeSucceeded
                | SocketEvent::HandshakeFailed(_) => {}
            }
        }
    }
}
