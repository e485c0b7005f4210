//! Round trips without an interchange: the part of their time that the interchange does not cause.
//!
//! One more manager connects to a socket of the submit side itself, which plays the interchange's
//! part of the conversation.

use std::time::Instant;

use zmq::Socket;

use super::session::Session;
use super::submit_side::{port_of, wait_readable};
use super::trouble::{Outcome, violation};
use super::words;

/// Length of the beginning of a task's pickle: PROTO and its number, FRAME and its length.
const HEAD_BYTES: usize = 11;

/// Returns the duration in µs of each of `count` round trips.
pub(crate) fn round_trips_us(session: &mut Session, count: u64) -> Outcome<Vec<f64>> {
    let socket = session.side.context().socket(zmq::DEALER)?;
    socket.set_linger(0)?;
    if let Some(certificates) = &session.certificates {
        certificates.make_server(&socket)?;
    }
    socket.bind("tcp://127.0.0.1:*")?;
    let endpoint = format!("tcp://127.0.0.1:{}", port_of(&socket)?);
    let shared = session.managers.shared.clone();
    session.order(super::crew::Order::Enlist { count: 1, endpoint })?;
    // The manager sends a probe, its registration, and a heartbeat after it.
    receive(&socket, session)?;
    socket.send(&b""[..], 0)?;
    receive(&socket, session)?;
    receive(&socket, session)?;
    socket.send(words::number(words::HEARTBEAT_CODE), 0)?;
    let mut taken_us = Vec::with_capacity(count as usize);
    let (mut task, mut batch) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let id = session.side.submitted + 1;
        session.pattern.write_task(id, None, &mut task);
        batch.clear();
        batch.extend_from_slice(b"\x80\x04]\x94");
        batch.extend_from_slice(&task[HEAD_BYTES..task.len() - 1]);
        batch.extend_from_slice(b"a.");
        let sent = Instant::now();
        socket.send(batch.as_slice(), 0)?;
        session.side.submitted += 1;
        let reply = receive(&socket, session)?;
        if session.pattern.read_result(&reply) != Some(id) {
            return violation(format!(
                "the direct result of task {id} differs from the sent one"
            ));
        }
        taken_us.push(sent.elapsed().as_secs_f64() * 1e6);
        session.side.note_answer(id)?;
    }
    shared.check()?;
    Ok(taken_us)
}

fn receive(socket: &Socket, session: &mut Session) -> Outcome<zmq::Message> {
    let begin = Instant::now();
    loop {
        match socket.recv_msg(zmq::DONTWAIT) {
            Ok(message) => return Ok(message),
            Err(zmq::Error::EAGAIN) => wait_readable(&[socket])?,
            Err(error) => return Err(error.into()),
        }
        session.managers.shared.check()?;
        if begin.elapsed() > session.arguments.patience() {
            return violation("a manager does not answer a direct message");
        }
    }
}
