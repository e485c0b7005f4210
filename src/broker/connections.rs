//! What is known of managers' connections: one closed, a message came by another one, or a word had
//! none to go by.

use std::net::IpAddr;
use std::time::Duration;

use super::Broker;
use super::anomaly::Anomaly;
use super::change::ManagerChange;
use super::deadlines::What;
use super::now::Now;
use super::origin::{ConnectionId, Origin};
use super::slot::Slot;
use protocol::{ManagerId, ToManager};

impl<B> Broker<B> {
    /// A connection of the worker socket was closed. Its manager is suspect: nothing new is sent to
    /// it until it speaks again, by another connection.
    pub fn handle_disconnected(&mut self, connection: ConnectionId, now: Now) {
        self.begin_turn(now);
        if let Some(slot) = self.managers.slot_by_connection(connection) {
            self.suspect(slot, now);
        }
    }

    /// The transport has no connection by which a word could go to this manager.
    pub fn handle_unreachable(&mut self, manager: &ManagerId, now: Now) {
        self.begin_turn(now);
        let Some(slot) = self.managers.slot_of(manager) else {
            return;
        };
        self.suspect(slot, now);
        if self.is_last_question(slot) {
            self.expire(slot, now);
        }
    }

    /// The transport has a connection for a word to this manager. That says nothing of the manager
    /// itself, but if it is suspect, it has come back so far.
    pub fn handle_reachable(&mut self, manager: &ManagerId, now: Now) {
        self.begin_turn(now);
        if let Some(slot) = self.managers.slot_of(manager) {
            // Until the next question nobody would learn that it is gone again.
            self.begin_grace(slot, self.next_question(now), now);
        }
    }

    /// Nothing new goes to a manager without a connection. From now on its grace runs.
    pub(super) fn suspect(&mut self, slot: Slot, now: Now) {
        if !self.managers.get(slot).is_suspect() {
            self.managers.close(slot, self.liveness.awake(now));
            self.note_suspect(slot, now);
        }
    }

    /// For a manager whose link is closed.
    pub(super) fn note_suspect(&mut self, slot: Slot, now: Now) {
        let manager = self.managers.get(slot);
        let (id, in_flight) = (manager.id.clone(), manager.in_flight.len());
        codes::log!(
            MANAGER_DISCONNECTED,
            "Manager {} is disconnected, with {in_flight} tasks in flight; it gets no more until \
             it speaks",
            manager.registration.place(&id),
        );
        self.note_manager(&id, ManagerChange::Suspect { in_flight }, now);
        self.note_vanished(slot, now);
        self.begin_grace(slot, self.liveness.awake(now), now);
        self.watch_doubts(slot);
        self.index(slot);
    }

    /// The transport is asked at each quarter of a grace, and on until its end has been heard out:
    /// a connection that heals says nothing by itself, and may break again unseen.
    pub(super) fn ask(&mut self, slot: Slot, now: Now) {
        let next = self.next_question(now);
        self.liveness.watch(slot, What::Ask, Some(next));
        self.send_echo(slot);
    }

    /// And once more then: what the transport says to that, counts. (Right after a stop of this
    /// process it knows of no connection that stands in the kernel.)
    pub(super) fn ask_for_the_last_time(&mut self, slot: Slot) {
        self.liveness.watch(slot, What::Ask, None);
        self.liveness.watch(slot, What::Grace, None);
        self.send_echo(slot);
    }

    fn is_last_question(&self, slot: Slot) -> bool {
        let has_grace = self.settings.disconnect_grace.is_some();
        let is_over = self.liveness.deadlines().at(slot, What::Grace).is_none();
        has_grace && is_over && self.managers.get(slot).is_suspect()
    }

    /// If the manager is suspect, it was not lost by then: its grace begins, or begins anew.
    pub(super) fn begin_grace(&mut self, slot: Slot, from: Duration, now: Now) {
        if let Some(grace) = self.settings.disconnect_grace
            && self.managers.get(slot).is_suspect()
        {
            let ends = Some(from.saturating_add(grace));
            let ends = ends.max(self.liveness.deadlines().at(slot, What::Grace));
            self.liveness.watch(slot, What::Grace, ends);
            let next = self.next_question(now);
            self.liveness.watch(slot, What::Ask, Some(next));
        }
    }

    fn next_question(&self, now: Now) -> Duration {
        let grace = self.settings.disconnect_grace.unwrap_or_default();
        self.liveness.awake(now).saturating_add(grace / 4)
    }

    /// Any valid message shows that its manager lives (stock counts heartbeats only).
    pub(super) fn note_alive(&mut self, slot: Slot, origin: Origin, now: Now) {
        let heard = self.liveness.awake(now);
        let manager = self.managers.get_mut(slot);
        let last_heard = std::mem::replace(&mut manager.last_heard, heard);
        if manager.link.is_open_by(origin.connection) {
            return;
        }
        let Some(connection) = origin.connection else {
            // What it said before its connection closed may be read long after.
            return self.begin_grace(slot, heard, now);
        };
        if let (Some(known), Some(new)) = (manager.link.address, origin.address)
            && known != new
        {
            let anomaly = Anomaly::AnotherAddress {
                manager: &manager.id,
                known,
                new,
            };
            self.anomalies.note(&anomaly, now);
        }
        let closed_since = manager.link.closed_since();
        // What is read when its connection is closed was said before.
        let last_word = closed_since.map_or(last_heard, |since| since.min(last_heard));
        let is_another = manager.link.spoke_by != Some(connection);
        let was_awaited = manager.link.is_awaited();
        self.open(slot, connection, origin.address);
        self.note_heard(slot);
        if is_another || closed_since.is_some() {
            let last_word = is_another.then_some(last_word);
            self.come_back(slot, closed_since.is_some() || was_awaited, last_word, now);
        } else if was_awaited {
            self.tell_of_return(slot, "again", now);
        }
        self.index(slot);
    }

    /// A manager speaks by this connection. If another one did so before, one of the two messages
    /// stood unread while its own connection closed, and the transport is asked whose that was.
    pub(super) fn open(&mut self, slot: Slot, connection: ConnectionId, address: Option<IpAddr>) {
        self.liveness.watch(slot, What::Ask, None);
        self.liveness.watch(slot, What::Grace, None);
        if let Some(other) = self.managers.open(slot, connection, address) {
            for asked in [other, slot] {
                self.send_echo(asked);
            }
        }
    }

    pub(super) fn send_echo(&mut self, slot: Slot) {
        let to = self.managers.get(slot).id.clone();
        self.send(&to, ToManager::HeartbeatEcho);
    }
}
