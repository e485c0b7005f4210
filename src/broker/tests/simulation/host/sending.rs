//! The second half of a turn: batches are dispatched one by one, as far as connections accept them.
//! Other messages wait where a connection does not accept them.

use broker::{BatchRoom, Output, Recipient};
use protocol::ToManager;
use rand::RngExt as _;

use super::super::model::{Choice, Seen, Verdict};
use super::super::network::{Network, Parcel, Reach};
use super::super::words;
use super::super::world::{ANY_ROOM, Way, manager_id};
use super::Host;

/// A manager that has not taken this many batches gets no more.
const BATCHES_OWED_MAX: usize = 2;
/// A limit that no turn can reach, to detect endless dispatching.
const BATCHES_MAX: usize = 10_000;

impl Host {
    pub(super) fn let_leave(&mut self, network: &mut Network) -> Verdict {
        self.retry_words(network)?;
        self.unclog(network)?;
        if self.random.random_bool(0.5) {
            self.send_words(network)?;
        }
        self.dispatch(network)?;
        self.send_words(network)
    }

    /// Dispatches batches. `can_dispatch` must be right before each. The same manager is chosen
    /// until it has no room left, unless the choice is random.
    fn dispatch(&mut self, network: &mut Network) -> Verdict {
        let now = self.world.now;
        let mut last: Option<String> = None;
        for _ in 0..BATCHES_MAX {
            self.begin_turn();
            self.model.begin_choice();
            let was_possible = self.world.broker.can_dispatch();
            let next = self.world.broker.next_recipient(now);
            // An overdue answer of a user's selector was replaced in this call.
            let may_be_more = self.model.choice == Choice::Asked && !was_possible;
            if was_possible != next.is_some() && !may_be_more {
                return Err(format!("can dispatch: {was_possible}, next is {next:?}"));
            }
            let seen = self.seen()?;
            self.tell(format_args!("next is {next:?}"), &seen);
            for effect in &seen {
                match effect {
                    Seen::Rank { number, among } => self.model.ask_question(*number, among)?,
                    other => return Err(format!("{other:?} comes of a dispatch")),
                }
            }
            let Some(recipient) = next else {
                return Ok(());
            };
            let to = recipient.id.to_text();
            self.model.check_recipient(&to, last.as_deref())?;
            match self.way(network, &to) {
                Way::Open(room) => self.hand_out(network, &recipient, room)?,
                Way::None => self.answer_word(&to, false)?,
                Way::Full => {
                    self.clogged.insert(to.clone());
                    self.clog(&to, true)?;
                }
            }
            last = Some(to);
        }
        Err("there is no end to what is handed out".to_owned())
    }

    fn way(&mut self, network: &Network, to: &str) -> Way {
        let is_behind = self.outboxes.contains_key(to);
        match network.reach(to) {
            Reach::None => Way::None,
            Reach::Full => Way::Full,
            Reach::Open if is_behind || owed(network, to) >= BATCHES_OWED_MAX => Way::Full,
            Reach::Open => Way::Open(self.batch_room()),
        }
    }

    fn batch_room(&mut self) -> BatchRoom {
        let mut room = ANY_ROOM;
        if self.random.random_bool(0.2) {
            room.tasks = self.random.random_range(1..5);
        }
        if self.random.random_bool(0.2) {
            room.weight = self.random.random_range(0..15);
        }
        room
    }

    fn hand_out(&mut self, network: &mut Network, to: &Recipient, room: BatchRoom) -> Verdict {
        let now = self.world.now;
        let shipment = self.world.broker.hand_out(to, room, now);
        words::check_bodies(&shipment);
        let (to, ids) = (to.id.to_text(), shipment.ids());
        self.model.hand_out(&to, &ids, room)?;
        self.expect(words::of_batch(&manager_id(&to), &shipment), Vec::new())?;
        for id in ids {
            if !self.sent.insert((id, self.model.times_taken(id))) {
                return Err(format!("task {id} is sent twice, the first may be running"));
            }
        }
        network.send(&to, Parcel::Batch(shipment));
        Ok(())
    }

    /// Sends waiting messages, as far as connections accept them.
    fn retry_words(&mut self, network: &mut Network) -> Verdict {
        for (name, words) in std::mem::take(&mut self.outboxes) {
            for word in words {
                self.send_word(network, &name, word)?;
            }
        }
        Ok(())
    }

    /// Sends the messages that the broker has requested.
    pub(super) fn send_words(&mut self, network: &mut Network) -> Verdict {
        while let Some(output) = self.outputs.pop_front() {
            match output {
                Output::ToManager { to, message } => {
                    self.send_word(network, &to.to_text(), message)?;
                }
                Output::Forgotten(manager) => {
                    if let Some(words) = self.outboxes.get_mut(&manager.to_text()) {
                        words.retain(|word| *word == ToManager::Shutdown);
                    }
                }
                _ => {}
            }
        }
        self.outboxes.retain(|_, words| !words.is_empty());
        Ok(())
    }

    /// Sends a message. It waits if the connection accepts nothing or other messages already wait.
    fn send_word(&mut self, network: &mut Network, to: &str, word: ToManager) -> Verdict {
        let reach = network.reach(to);
        match (reach, self.outboxes.get_mut(to)) {
            (Reach::None, _) => {}
            (Reach::Open, None) => network.send(to, Parcel::Word(word)),
            (Reach::Full, None) => drop(self.outboxes.insert(to.to_owned(), [word].into())),
            (_, Some(waiting)) if waiting.contains(&word) => {}
            (_, Some(waiting)) => waiting.push_back(word),
        }
        self.answer_word(to, reach != Reach::None)
    }

    /// Reports to the broker whether the transport has a connection to this manager.
    fn answer_word(&mut self, name: &str, is_reachable: bool) -> Verdict {
        self.begin_turn();
        let (id, now) = (manager_id(name), self.world.now);
        let expected = match is_reachable {
            true => {
                self.model.reachable(name);
                self.world.broker.handle_reachable(&id, now);
                Vec::new()
            }
            false => {
                self.world.broker.handle_unreachable(&id, now);
                self.model.unreachable(name)
            }
        };
        self.expect(
            format_args!("{name} is reachable: {is_reachable}"),
            expected,
        )
    }

    /// Ends the clogged state of managers whose connections accept messages again.
    fn unclog(&mut self, network: &Network) -> Verdict {
        for name in std::mem::take(&mut self.clogged) {
            let is_full = network.reach(&name) == Reach::Full || self.outboxes.contains_key(&name);
            if is_full || owed(network, &name) > 0 {
                self.clogged.insert(name);
            } else {
                self.clog(&name, false)?;
            }
        }
        Ok(())
    }

    fn clog(&mut self, name: &str, is_clogged: bool) -> Verdict {
        self.begin_turn();
        self.model.clog(name, is_clogged);
        let (id, now) = (manager_id(name), self.world.now);
        self.world.broker.handle_clogged(&id, is_clogged, now);
        self.expect(format_args!("{name} is clogged: {is_clogged}"), Vec::new())
    }
}

/// Returns how many batches a manager has not taken.
fn owed(network: &Network, name: &str) -> usize {
    let is_batch = |parcel: &&Parcel| matches!(parcel, Parcel::Batch(_));
    network.untaken(name).filter(is_batch).count()
}
