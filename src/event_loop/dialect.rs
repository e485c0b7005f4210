//! Whether the executor sends commands, or waits for [`Observation`]s.
//!
//! An executor that sends commands does so at once. Observations would end the result thread of any
//! executor that does not expect them. So two conditions must hold: no command arrived for a while,
//! and the executor's source shows that it waits. A separate thread reads the source, since its
//! file system may be stalled.
//!
//! [`Observation`]: protocol::Observation

use std::io;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;

use broker::Now;

/// Time within which an executor that sends commands has sent one: it requests the worker port
/// within milliseconds after it sent its configuration.
const ASKS_WITHIN: Duration = Duration::from_secs(1);
/// Interval for checking the thread's answer.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Reads the executor's source: true if the executor waits for observations.
pub type AwaitsObservations = Box<dyn FnOnce() -> bool + Send>;

/// What is known so far about the executor's dialect.
pub(super) struct DialectWatch(State);

enum State {
    /// The executor may still send a command.
    Open(Duration, AwaitsObservations),
    /// The executor has sent no command, and its source is being read.
    Reading(Duration, Receiver<bool>),
    Known,
}

impl DialectWatch {
    pub(super) fn new(reads: AwaitsObservations, now: Now) -> Self {
        Self(State::Open(now.monotonic + ASKS_WITHIN, reads))
    }

    /// Returns true once: when observations are to be sent from now on.
    pub(super) fn is_found_waiting(&mut self, has_asked: bool, now: Now) -> bool {
        if has_asked {
            self.0 = State::Known;
        }
        match std::mem::replace(&mut self.0, State::Known) {
            State::Open(until, reads) if until <= now.monotonic => match begin(reads) {
                Ok(answer) => self.0 = State::Reading(now.monotonic + LOOK_EVERY, answer),
                Err(error) => codes::log!(
                    EXECUTOR_STYLE_UNKNOWN,
                    "Cannot detect the executor's dialect: {error}"
                ),
            },
            State::Reading(at, answer) if at <= now.monotonic => match answer.try_recv() {
                Ok(awaits) => return awaits,
                Err(TryRecvError::Empty) => {
                    self.0 = State::Reading(now.monotonic + LOOK_EVERY, answer);
                }
                Err(TryRecvError::Disconnected) => {}
            },
            state @ (State::Open(..) | State::Reading(..) | State::Known) => self.0 = state,
        }
        false
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        match &self.0 {
            State::Open(at, _) | State::Reading(at, _) => Some(*at),
            State::Known => None,
        }
    }
}

fn begin(reads: AwaitsObservations) -> io::Result<Receiver<bool>> {
    let (sender, answer) = sync_channel(1);
    thread::Builder::new()
        .name("htex-dialect".to_owned())
        .spawn(move || {
            // If a command has arrived meanwhile, the receiver is gone.
            let _ = sender.send(reads());
        })?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: f64) -> Now {
        Now {
            monotonic: Duration::from_secs_f64(s),
            wall_s: 0.0,
        }
    }

    /// Returns the time at which the executor is found to wait for observations, if it is.
    fn found(reads: AwaitsObservations, asks_at_s: f64) -> Option<f64> {
        let mut watch = DialectWatch::new(reads, at(0.0));
        let mut now_s = 0.0;
        while let Some(next) = watch.next_deadline() {
            now_s = next.as_secs_f64().max(now_s + 0.05);
            let has_asked = asks_at_s <= now_s;
            if watch.is_found_waiting(has_asked, at(now_s)) {
                assert_eq!(watch.next_deadline(), None);
                assert!(!watch.is_found_waiting(false, at(now_s + 9.0)));
                return Some(now_s);
            }
            thread::sleep(Duration::from_millis(1));
        }
        None
    }

    #[test]
    fn observations_need_both_silence_and_the_source() {
        let never = f64::MAX;
        assert!(found(Box::new(|| true), never).is_some_and(|at_s| at_s > 1.0));
        assert_eq!(found(Box::new(|| false), never), None);
        assert_eq!(found(Box::new(|| panic!("not read")), 0.5), None);
        assert_eq!(found(Box::new(|| true), 1.05), None);
    }
}
