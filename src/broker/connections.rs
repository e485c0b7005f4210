//! What a closed connection, and a message by another one, say of a manager.

use tracing::info;

use super::Broker;
use super::anomaly::Anomaly;
use super::change::ManagerChange;
use super::now::Now;
use super::origin::{ConnectionId, Origin};
use super::slot::Slot;

impl<B> Broker<B> {
    /// A connection of the worker socket was closed. Its manager is suspect: nothing new is sent to
    /// it until it speaks again, by another connection.
    pub fn handle_disconnected(&mut self, connection: ConnectionId, now: Now) {
        self.begin_turn(now);
        let Some(slot) = self.managers.slot_by_connection(connection) else {
            return;
        };
        self.suspect(slot, now);
        let manager = self.managers.get(slot);
        info!(
            "Manager {} is disconnected, with {} tasks in flight; it gets no more until it speaks",
            manager.registration.place(&manager.id),
            manager.in_flight.len()
        );
        // The address stays, to compare with the one that it speaks from next.
        let address = manager.origin.address;
        let connection = None;
        self.managers.set_origin(
            slot,
            Origin {
                connection,
                address,
            },
        );
        self.index(slot);
    }

    /// Nothing new goes to a manager without a connection. From now on its grace runs.
    pub(super) fn suspect(&mut self, slot: Slot, now: Now) {
        let since = self.liveness.awake(now);
        let manager = self.managers.get_mut(slot);
        if manager.suspect_since.is_none() {
            manager.suspect_since = Some(since);
            let (id, in_flight) = (manager.id.clone(), manager.in_flight.len());
            self.liveness.watch_suspect(slot, since);
            self.sweep_deadlines();
            self.note_manager(&id, ManagerChange::Suspect { in_flight }, now);
        }
    }

    /// Any valid message shows that its manager lives (stock counts heartbeats only).
    pub(super) fn note_alive(&mut self, slot: Slot, origin: Origin, now: Now) {
        let heard = self.liveness.awake(now);
        let manager = self.managers.get_mut(slot);
        let last_heard = std::mem::replace(&mut manager.last_heard, heard);
        if origin == manager.origin && !manager.is_suspect() || origin.connection.is_none() {
            return;
        }
        if let (Some(known), Some(new)) = (manager.origin.address, origin.address)
            && known != new
        {
            let anomaly = Anomaly::AnotherAddress {
                manager: &manager.id,
                known,
                new,
            };
            self.anomalies.note(&anomaly, now);
        }
        // What is read when its connection is closed was said before.
        let last_word = manager
            .suspect_since
            .map_or(last_heard, |since| since.min(last_heard));
        let is_another = manager.spoke_by != origin.connection;
        let is_back = is_another || manager.is_suspect();
        self.managers.set_origin(slot, origin);
        if is_back {
            self.come_back(slot, is_another.then_some(last_word), now);
        }
        self.index(slot);
    }
}
