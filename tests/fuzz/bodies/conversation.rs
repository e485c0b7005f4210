//! A whole conversation, frame by frame, around a real broker: nothing ends it, every command has
//! one answer, and what leaves is well formed.

use std::time::Duration;

use broker::{
    BlockIdSelector, Broker, ConnectionId, Now, Origin, Patience, Settings, Shipment, Versions,
};
use interchange::{Interchange, Parcel, Said, Transmit};
use protocol::{ManagerId, Opaque, VersionCheck};

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
    shipments: Vec<(ManagerId, Shipment<Opaque<Vec<u8>>>)>,
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
        };
        let broker = Broker::new(settings, Box::new(BlockIdSelector::default()), now);
        let find_versions = Box::new(Versions::default);
        Self {
            interchange: Interchange::new(broker, find_versions, Some("run".to_owned())),
            shipments: Vec::new(),
            now,
        }
    }

    /// What a step of the input means. The upper half of its first byte says which manager.
    fn act(&mut self, action: u8, frame: &[u8]) {
        let manager = action >> 4;
        let id = ManagerId::new(&[b'm', b'0' + manager % 3]);
        let number = frame.first().copied().unwrap_or_default();
        let mut replies_owed = 0;
        match action & 0xf {
            0 => self.interchange.handle_task(frame.to_vec(), self.now),
            1 => self.say(&id, manager, vec![frame.to_vec()]),
            2 => {
                let frames = frames::split(frame);
                self.say(&id, manager, frames.into_iter().map(Vec::from).collect());
            }
            3 => {
                self.interchange.handle_command(frame, self.now);
                replies_owed = 1;
            }
            4 => self
                .interchange
                .broker_mut()
                .handle_disconnected(connection(manager), self.now),
            5 => self.pass(Duration::from_millis(100 * u64::from(number))),
            6 => {
                if let Some((to, shipment)) = self.shipments.pop() {
                    self.interchange
                        .broker_mut()
                        .handle_refused(&to, shipment, self.now);
                }
            }
            7 => self.interchange.broker_mut().handle_workers_empty(self.now),
            8 => self
                .interchange
                .broker_mut()
                .handle_dispatching(number % 2 == 0),
            9 => self.interchange.handle_answer(frame, self.now),
            _ => return,
        }
        self.interchange.broker_mut().dispatch(self.now);
        assert_eq!(self.drain(), replies_owed, "replies");
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

    /// A refusal comes in the turn of its batch or never.
    fn pass(&mut self, time: Duration) {
        self.shipments.clear();
        self.now.monotonic += time;
        self.now.wall_s += time.as_secs_f64();
        self.interchange.handle_time(self.now);
        // A manager may drain in a billion years: any deadline is one, as long as it can be told.
        let _ = self.interchange.next_deadline();
    }

    /// How many replies were among what leaves.
    fn drain(&mut self) -> usize {
        let mut replies = 0;
        while let Some(transmit) = self.interchange.poll_transmit() {
            let bytes = match transmit {
                Transmit::Batch {
                    to,
                    bytes,
                    shipment,
                } => {
                    self.shipments.push((to, shipment));
                    bytes
                }
                Transmit::Reply(bytes) => {
                    replies += 1;
                    bytes
                }
                Transmit::Result(Parcel::Frame(bytes) | Parcel::Bytes(bytes))
                | Transmit::Report(bytes)
                | Transmit::Rank(bytes) => bytes,
                Transmit::Forget(manager) => {
                    self.shipments.retain(|(to, _)| *to != manager);
                    continue;
                }
                Transmit::Event(line) => {
                    let read = serde_json::from_slice::<serde_json::Value>(&line);
                    assert!(read.is_ok(), "{}", line.escape_ascii());
                    continue;
                }
                Transmit::Manager { .. } | Transmit::Stop(_) => continue,
            };
            assert!(is_well_formed(&bytes), "{}", bytes.escape_ascii());
        }
        replies
    }
}

/// One for each manager, and one more to take an identity from another connection.
fn connection(manager: u8) -> ConnectionId {
    ConnectionId(u64::from(manager))
}
