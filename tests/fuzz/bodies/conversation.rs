//! Fuzzes a whole conversation, frame by frame, with a real broker. No input may cause a panic, no
//! task that can be dispatched may remain queued, and all output must be well formed.

use std::time::Duration;

use broker::{
    BatchRoom, BlockIdSelector, Broker, ConnectionId, Now, Origin, Patience, Placement, Settings,
    Versions,
};
use interchange::{Interchange, Parcel, Said, Transmit};
use protocol::{ManagerId, VersionCheck};

use super::{frames, is_well_formed};

pub fn run(data: &[u8]) {
    let frames = frames::split(data);
    let Some((setting, steps)) = frames.split_first() else {
        return;
    };
    let mut desk = Desk::new(setting.first().copied().unwrap_or_default());
    for step in steps {
        if let Some((action, frame)) = step.split_first() {
            desk.act(*action, frame);
        }
    }
    desk.interchange
        .handle_submit_side_gone("the input ends", desk.now);
    desk.pass(Duration::from_secs(1));
    desk.drain();
}

struct Desk {
    interchange: Interchange<Vec<u8>>,
    /// The limits on the size of batches.
    room: BatchRoom,
    now: Now,
}

impl Desk {
    fn new(setting: u8) -> Self {
        let now = Now {
            monotonic: Duration::ZERO,
            wall_s: 1_790_000_000.0,
        };
        let settings = Settings {
            heartbeat_threshold: Duration::from_secs(10),
            disconnect_grace: (setting & 4 == 4).then_some(Duration::from_secs(3)),
            reconnect_patience: match setting & 8 {
                0 => Patience::Measured,
                _ => Patience::Fixed(Duration::from_secs(2)),
            },
            version_check: match setting & 2 {
                0 => VersionCheck::Off,
                _ => VersionCheck::PythonAndParsl,
            },
            monitoring: setting & 1 == 1,
            happenings: setting & 8 == 8,
            worker_port: 54321,
            placement: Placement::default(),
        };
        let broker = Broker::new(settings, Box::new(BlockIdSelector::default()), now);
        let find_versions = Box::new(Versions::default);
        Self {
            interchange: Interchange::new(broker, find_versions, Some("run".to_owned())),
            room: BatchRoom {
                tasks: usize::MAX,
                weight: usize::MAX,
            },
            now,
        }
    }

    /// Executes a step of the input. The upper half of its first byte selects the manager.
    fn act(&mut self, action: u8, frame: &[u8]) {
        let manager = action >> 4;
        let id = ManagerId::new(&[b'm', b'0' + manager % 3]);
        let number = frame.first().copied().unwrap_or_default();
        match action & 0xf {
            0 => self.interchange.handle_task(frame.to_vec(), self.now),
            1 => self.say(&id, manager, vec![frame.to_vec()]),
            2 => {
                let frames = frames::split(frame);
                self.say(&id, manager, frames.into_iter().map(Vec::from).collect());
            }
            3 => {
                let reply = self.interchange.handle_command(frame, self.now);
                assert!(is_well_formed(&reply), "{}", reply.escape_ascii());
            }
            4 => self
                .interchange
                .broker_mut()
                .handle_disconnected(connection(manager), self.now),
            5 => self.pass(Duration::from_millis(100 * u64::from(number))),
            6 => self.tell_of_transport(&id, number),
            7 => {
                let since = Duration::from_millis(100 * u64::from(number));
                let heard_until = self.now.monotonic.saturating_sub(since);
                self.interchange
                    .broker_mut()
                    .handle_workers_empty(heard_until, self.now);
            }
            8 => self
                .interchange
                .broker_mut()
                .handle_dispatching(number % 2 == 0),
            9 => self.interchange.handle_answer(frame, self.now),
            10 => {
                let room = usize::from(number);
                self.room = BatchRoom {
                    tasks: room.max(1),
                    weight: room * room,
                };
            }
            _ => return,
        }
        self.dispatch();
        self.drain();
    }

    /// Reports that the transport's connection to a manager is lost, restored, blocked or
    /// unblocked.
    fn tell_of_transport(&mut self, manager: &ManagerId, number: u8) {
        let broker = self.interchange.broker_mut();
        match number % 4 {
            0 => broker.handle_unreachable(manager, self.now),
            1 => broker.handle_reachable(manager, self.now),
            2 => broker.handle_clogged(manager, true, self.now),
            _ => broker.handle_clogged(manager, false, self.now),
        }
    }

    fn dispatch(&mut self) {
        while let Some(to) = self.interchange.broker_mut().next_recipient(self.now) {
            let (_, batch) = self.interchange.hand_out(&to, self.room, self.now);
            assert!(is_well_formed(&batch), "{}", batch.escape_ascii());
        }
        assert!(!self.interchange.broker().can_dispatch());
    }

    fn say(&mut self, id: &ManagerId, manager: u8, frames: Vec<Vec<u8>>) {
        let mut frames = frames.into_iter();
        let Some(first) = frames.next() else {
            return;
        };
        let origin = Origin {
            connection: Some(connection(manager)),
            address: None,
        };
        let said = Said::read(first, frames.collect());
        self.interchange.handle_manager(id, said, origin, self.now);
    }

    fn pass(&mut self, time: Duration) {
        self.now.monotonic += time;
        self.now.wall_s += time.as_secs_f64();
        self.interchange.handle_time(self.now);
        // The value is not checked: a manager may drain in a billion years. Computing it must not
        // panic.
        let _ = self.interchange.next_deadline();
    }

    fn drain(&mut self) {
        while let Some(transmit) = self.interchange.poll_transmit() {
            let bytes = match transmit {
                Transmit::Result(Parcel::Frame(bytes) | Parcel::Bytes(bytes))
                | Transmit::Report(bytes)
                | Transmit::Rank(bytes) => bytes,
                Transmit::Event(line) => {
                    let read = serde_json::from_slice::<serde_json::Value>(&line);
                    assert!(read.is_ok(), "{}", line.escape_ascii());
                    continue;
                }
                Transmit::Manager { .. } | Transmit::Forget(_) | Transmit::Stop(_) => continue,
            };
            assert!(is_well_formed(&bytes), "{}", bytes.escape_ascii());
        }
    }
}

/// Returns a connection: one for each manager, and others that take over an identity.
fn connection(manager: u8) -> ConnectionId {
    ConnectionId(u64::from(manager))
}
