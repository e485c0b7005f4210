//! Events on managers' connections: a connection has closed, a message has arrived on another one,
//! or a message to a manager had no connection.

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
    /// Handles the closing of a connection of the worker socket. Its manager becomes suspect:
    /// nothing new is sent to it until it speaks again on another connection.
    pub fn handle_disconnected(&mut self, connection: ConnectionId, now: Now) {
        self.begin_turn(now);
        if let Some(slot) = self.managers.slot_by_connection(connection) {
            self.suspect(slot, now);
        }
    }

    /// Handles the transport's report that it has no connection for a message to this manager.
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

    /// Handles the transport's report that it has a connection for a message to this manager. That
    /// does not show that the manager is alive, but it restarts the grace of a suspect manager.
    pub fn handle_reachable(&mut self, manager: &ManagerId, now: Now) {
        self.begin_turn(now);
        if let Some(slot) = self.managers.slot_of(manager) {
            // The grace counts from the next question: until then, nothing would report that the
            // connection has closed again.
            self.begin_grace(slot, self.next_question(now), now);
        }
    }

    /// Makes a manager without a connection suspect: nothing new is sent to it, and its grace
    /// begins.
    pub(super) fn suspect(&mut self, slot: Slot, now: Now) {
        if !self.managers.get(slot).is_suspect() {
            self.managers.close(slot, self.liveness.awake(now));
            self.note_suspect(slot, now);
        }
    }

    /// Logs and reports a manager whose link is closed, and begins its grace.
    pub(super) fn note_suspect(&mut self, slot: Slot, now: Now) {
        let manager = self.managers.get(slot);
        let (id, in_flight) = (manager.id.clone(), manager.in_flight.len());
        codes::log!(
            MANAGER_DISCONNECTED,
            "Manager {} is disconnected, with {in_flight} tasks in flight; it gets no new tasks \
             until it sends a message",
            manager.registration.place(&id),
        );
        self.note_manager(&id, ManagerChange::Suspect { in_flight }, now);
        self.note_vanished(slot, now);
        self.begin_grace(slot, self.liveness.awake(now), now);
        self.watch_doubts(slot);
        self.index(slot);
    }

    /// Asks the transport for a connection to a suspect manager. This is repeated at each quarter
    /// of the grace, until the grace is over and all messages up to its end were read. A connection
    /// that is restored is not reported otherwise, and may break again unnoticed.
    pub(super) fn ask(&mut self, slot: Slot, now: Now) {
        let next = self.next_question(now);
        self.liveness.watch(slot, What::Ask, Some(next));
        self.send_echo(slot);
    }

    /// Asks the transport once more when the grace is over; this time its answer is decisive.
    /// (Right after a suspension of this process, the transport does not know yet of connections
    /// that wait in the kernel.)
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

    /// Begins or restarts the grace of a suspect manager. It counts from `from`, a time at which
    /// the manager was not lost.
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

    /// Notes that a manager is alive: any valid message shows that (Parsl's interchange counts only
    /// heartbeats).
    pub(super) fn note_alive(&mut self, slot: Slot, origin: Origin, now: Now) {
        let heard = self.liveness.awake(now);
        let manager = self.managers.get_mut(slot);
        let last_heard = std::mem::replace(&mut manager.last_heard, heard);
        if manager.link.is_open_by(origin.connection) {
            return;
        }
        let Some(connection) = origin.connection else {
            // A message that was sent before the connection closed may be read long after.
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
        // A message that is read after its connection has closed was sent before.
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

    /// Notes that a manager speaks on this connection. If another manager did so before, one of the
    /// two messages was read only after its own connection had closed. So the transport is asked
    /// about both.
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
