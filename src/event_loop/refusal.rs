//! A start that fails tells the executor why, so that `parsl.load()` raises at once instead of
//! waiting two minutes for an answer.

use std::io;
use std::time::{Duration, Instant};

use zmq::Context;

use super::channel::Rest;
use super::frame::Frame;
use super::monitor::{Event, Monitor};
use super::sockets::SubmitSockets;
use super::zap::Doorkeeper;
use super::{open_doorkeeper, raw, sockets};
use protocol;
use submit_side::config::SubmitSide;
use submit_side::curve::Certificates;

/// An executor that is there is connected within this.
const CONNECTED_WITHIN: Duration = Duration::from_millis(700);
/// One that is connected asks at once, unless its machine is very slow.
const ASKED_WITHIN: Duration = Duration::from_secs(10);
/// How long the answer may take to leave.
const ANSWER_LINGER_MS: i32 = 1000;

/// Answers the executor's first command with a pickle that raises `reason` there. True if it was
/// asked for.
///
/// # Errors
/// No socket could be opened.
pub fn refuse(
    side: &SubmitSide,
    certificates: Option<&Certificates>,
    reason: &str,
) -> io::Result<bool> {
    let context = Context::new();
    let doorkeeper = open_doorkeeper(&context, certificates)?;
    let mut commands = SubmitSockets::open(&context, certificates)?.commands;
    commands.set_linger(ANSWER_LINGER_MS)?;
    let monitor = Monitor::of(&commands, &context, "refusal")?;
    raw::connect(
        commands.socket_mut(),
        &sockets::endpoint(Some(side.address), side.command_port),
    )?;
    let asked = wait_for_command(&commands, &monitor, doorkeeper.as_ref())?;
    if asked {
        let _ = commands.receive();
        let answer = Frame::of_bytes(protocol::refusal(reason));
        commands
            .send(answer, Rest::Last)
            .map_err(|not_sent| io::Error::other(not_sent.to_string()))?;
    }
    // Dropped in this order: the sockets linger, the context waits for them.
    Ok(asked)
}

fn wait_for_command(
    commands: &zmq::Socket,
    monitor: &Monitor,
    doorkeeper: Option<&Doorkeeper>,
) -> io::Result<bool> {
    let started = Instant::now();
    let mut patience = CONNECTED_WITHIN;
    loop {
        let left = patience.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Ok(false);
        }
        let mut items = vec![
            commands.as_poll_item(zmq::POLLIN),
            monitor.socket().as_poll_item(zmq::POLLIN),
        ];
        if let Some(doorkeeper) = doorkeeper {
            items.push(doorkeeper.socket().as_poll_item(zmq::POLLIN));
        }
        let _ = zmq::poll(&mut items, left.as_millis().max(1) as i64);
        if items[0].is_readable() {
            return Ok(true);
        }
        while let Some(event) = monitor.next() {
            match event {
                Event::Connected => patience = ASKED_WITHIN,
                // It was there, and is gone.
                Event::Disconnected(_) => return Ok(false),
                _ => {}
            }
        }
        while doorkeeper.is_some_and(|doorkeeper| doorkeeper.answer_one(|_| true)) {}
    }
}
