//! A separate record of what the turn has received and done: which managers may get tasks, which
//! manager has which task, and which messages are pending. A step that was not allowed is detected
//! when it is made.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::messages::{self, Saying};
use super::needs::{Hands, Key, Needs, Site, Tasks};
use super::network::{Incoming, State};
use super::world::{World, ms};
use broker::{ConnectionId, Origin, Placement};
use protocol::ToManager;

/// Support for another process that continues.
#[path = "books/restored.rs"]
mod restored;

/// Ok, or the guarantee that was broken.
pub(crate) type Verdict = Result<(), String>;

pub(crate) struct Books {
    pub(crate) threshold: Duration,
    pub(crate) grace: Option<Duration>,
    pub(crate) managers: BTreeMap<String, Book>,
    pub(crate) tasks: Tasks,
    /// What the broker knows about its managers' resources.
    told: Placement,
    /// The home of each affinity: the manager that had its first task, as long as that manager gets
    /// tasks.
    homes: BTreeMap<i64, String>,
    pub(crate) sent: BTreeMap<i64, Duration>,
    departed: BTreeSet<String>,
    /// The pending control messages, and since when they are pending.
    pub(crate) words_owed: BTreeMap<(String, Word), Duration>,
    /// State changes that the books have already applied, before their events are written.
    foreseen: Vec<(String, &'static str)>,
    /// The command that was read but not answered.
    unanswered: Option<Vec<u8>>,
    /// Results, in the order in which they were read.
    results: VecDeque<i64>,
    /// Tasks that were given up, whether or not their failure has been sent.
    failed: BTreeSet<i64>,
    /// All tasks that were ever accepted.
    pub(crate) accepted: BTreeSet<i64>,
    /// Total time for which the process was stopped, including the unread time before each stop.
    pub(crate) gaps: Duration,
    /// Whether to print each step, for a single seed.
    pub(crate) tells: bool,
}

/// A control message: a heartbeat's echo, or a shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Word {
    Echo,
    Shutdown,
}

/// The record of a registered manager.
#[derive(Debug)]
pub(crate) struct Book {
    is_held: bool,
    is_draining: bool,
    spoke_by: Option<ConnectionId>,
    registered_by: Option<ConnectionId>,
    link: Link,
    pub(crate) hands: Hands,
    pub(crate) last_read: Duration,
    /// The value of [`Books::gaps`] at `last_read`.
    pub(crate) gaps_before: Duration,
    /// When the connection was first reported as closed.
    closed_at: Duration,
    /// Since when the transport reports no connection, and the value of [`Books::gaps`] at that
    /// time.
    unreachable_since: (Duration, Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Open,
    Claimed,
    Closed,
}

impl Book {
    /// Whether the manager may get a task that fits it, by the events so far.
    pub(crate) fn is_eligible(&self) -> bool {
        self.is_kept() && self.link != Link::Closed
    }

    /// Whether the manager will get tasks again, sooner or later.
    fn is_kept(&self) -> bool {
        !self.is_held && !self.is_draining
    }

    fn open(&mut self, connection: Option<ConnectionId>) {
        self.spoke_by = connection;
        self.link = Link::Open;
    }

    fn is_open_by(&self, connection: Option<ConnectionId>) -> bool {
        self.link == Link::Open && self.spoke_by == connection
    }

    fn close(&mut self, now: Duration, gaps: Duration) {
        if self.link != Link::Closed {
            self.closed_at = now;
            self.unreachable_since = (now, gaps);
        }
        self.link = Link::Closed;
    }
}

impl Books {
    pub(crate) fn new(threshold: Duration, grace: Option<Duration>, told: Placement) -> Self {
        Self {
            threshold,
            grace,
            managers: BTreeMap::new(),
            tasks: Tasks::of_kinds([]),
            told,
            homes: BTreeMap::new(),
            sent: BTreeMap::new(),
            departed: BTreeSet::new(),
            words_owed: BTreeMap::new(),
            foreseen: Vec::new(),
            unanswered: None,
            results: VecDeque::new(),
            failed: BTreeSet::new(),
            accepted: BTreeSet::new(),
            gaps: Duration::ZERO,
            tells: false,
        }
    }

    #[expect(clippy::print_stdout, reason = "one seed is played to be read")]
    pub(crate) fn tell(&self, now: Duration, what: impl std::fmt::Display) {
        if self.tells {
            println!("{now:?} {what}");
        }
    }

    pub(crate) fn take_task(&mut self, task: i64, now: Duration) {
        if !self.accepted.insert(task) {
            return self.tell(now, format_args!("{task} came again"));
        }
        self.tasks.note_waiting(task);
        self.leave_home_if_in_vain(task, now);
    }

    /// Returns the first waiting task that fits this manager now, if there is one.
    pub(crate) fn first_for(&self, name: &str, now: Duration) -> Option<Key> {
        let book = self.managers.get(name).filter(|book| book.is_eligible())?;
        let fits = |needs: &Needs| {
            book.hands.has_room(needs, &self.told) && self.could_hold(name, book, needs, now)
        };
        let firsts = self.tasks.firsts();
        let fitting = firsts.filter(|(_, needs)| fits(needs));
        fitting.map(|(key, _)| key).min()
    }

    /// Whether the manager may be kept free for a task that is queued before this one.
    pub(crate) fn may_be_reserved(&self, name: &str, key: Key, now: Duration) -> bool {
        let is_for = |book: &Book| {
            let mut before = self.tasks.firsts().filter(|(first, _)| *first < key);
            before.any(|(_, needs)| {
                self.could_hold(name, book, needs, now) && !book.hands.has_room(needs, &self.told)
            })
        };
        self.managers.get(name).is_some_and(is_for)
    }

    /// Whether such a task may go to this manager, now or later.
    fn could_hold(&self, name: &str, book: &Book, needs: &Needs, now: Duration) -> bool {
        let home = needs.affinity.and_then(|affinity| self.home_of(affinity));
        home.is_none_or(|home| home == name) && book.hands.could_hold(needs, &self.told, now)
    }

    fn home_of(&self, affinity: i64) -> Option<&String> {
        let home = self.homes.get(&affinity)?;
        let is_kept = self.managers.get(home).is_some_and(Book::is_kept);
        is_kept.then_some(home)
    }

    /// Drops the home of a task's affinity if the home can never hold one of the waiting tasks and
    /// has no task of that affinity. Other tasks of the affinity then do not wait for that home.
    fn leave_home_if_in_vain(&mut self, task: i64, now: Duration) {
        let Some(affinity) = self.tasks.needs_of(task).affinity else {
            return;
        };
        let home = self.home_of(affinity);
        let Some(book) = home.and_then(|home| self.managers.get(home)) else {
            return;
        };
        let is_in_vain = |needs: &Needs| {
            needs.affinity == Some(affinity) && !book.hands.could_hold(needs, &self.told, now)
        };
        let is_idle = !book.hands.holds_affinity(affinity);
        if is_idle && self.tasks.firsts().any(|(_, needs)| is_in_vain(needs)) {
            self.homes.remove(&affinity);
        }
    }

    /// Applies a message that the turn processes.
    pub(crate) fn hear(&mut self, incoming: &Incoming, origin: Origin, now: Duration) -> Verdict {
        let name = &incoming.name;
        self.tell(
            now,
            format_args!("{name} by {origin:?}: {:?}", incoming.saying),
        );
        if let Saying::Register(site) = incoming.saying {
            self.register(name, site, origin, now);
            return Ok(());
        }
        let Some(book) = self.managers.get_mut(name) else {
            if self.departed.contains(name) {
                self.owe(name, Word::Shutdown, now);
            }
            return Ok(());
        };
        book.last_read = now;
        book.gaps_before = self.gaps;
        book.unreachable_since = (now, self.gaps);
        let is_by_another = !book.is_open_by(origin.connection);
        if let Some(connection) = origin.connection.filter(|_| is_by_another) {
            self.open(name, connection);
        }
        let book = self.managers.get_mut(name).expect("it was there before");
        match incoming.saying {
            Saying::Heartbeat => self.owe(name, Word::Echo, now),
            Saying::Drain => {
                if !std::mem::replace(&mut book.is_draining, true) {
                    self.foreseen.push((name.to_owned(), "draining"));
                }
            }
            Saying::Result { task, .. } => {
                if book.hands.remove(task) {
                    self.results.push_back(task);
                    self.leave_home_if_in_vain(task, now);
                }
            }
            Saying::Register(_) => {}
        }
        match incoming.saying {
            Saying::Drain | Saying::Result { .. } => self.leave_if_drained(name, now),
            Saying::Heartbeat | Saying::Register(_) => {}
        }
        Ok(())
    }

    fn register(&mut self, name: &str, site: Site, origin: Origin, now: Duration) {
        let before = self.managers.remove(name);
        let held = before.iter().flat_map(|before| &before.hands.tasks);
        let held: BTreeSet<i64> = held.copied().collect();
        let same = before.filter(|before| {
            before.registered_by == origin.connection && before.is_open_by(origin.connection)
        });
        if same.is_none() {
            self.words_owed.remove(&(name.to_owned(), Word::Echo));
        }
        let mut hands = Hands::new(site, now);
        match same {
            Some(before) => hands.keep(before.hands),
            None => {
                self.failed.extend(held);
                self.homes.retain(|_, home| home != name);
            }
        }
        self.departed.remove(name);
        let book = Book {
            is_held: false,
            is_draining: false,
            spoke_by: None,
            registered_by: origin.connection,
            link: Link::Closed,
            hands,
            last_read: now,
            gaps_before: self.gaps,
            closed_at: now,
            unreachable_since: (now, self.gaps),
        };
        self.managers.insert(name.to_owned(), book);
        if let Some(connection) = origin.connection {
            self.open(name, connection);
        }
    }

    /// Assigns a connection to the manager that last sent a message by it.
    fn open(&mut self, name: &str, connection: ConnectionId) {
        for (other, book) in &mut self.managers {
            if other != name && book.is_open_by(Some(connection)) {
                book.link = Link::Claimed;
            }
        }
        if let Some(book) = self.managers.get_mut(name) {
            book.open(Some(connection));
        }
    }

    fn owe(&mut self, name: &str, word: Word, now: Duration) {
        let key = (name.to_owned(), word);
        self.words_owed.entry(key).or_insert(now);
    }

    fn leave_if_drained(&mut self, name: &str, now: Duration) {
        let book = self.managers.get(name);
        if book.is_some_and(|book| book.is_draining && book.hands.tasks.is_empty()) {
            self.foreseen.push((name.to_owned(), "drained"));
            self.leave(name);
            self.owe(name, Word::Shutdown, now);
        }
    }

    fn leave(&mut self, name: &str) {
        if let Some(book) = self.managers.remove(name) {
            self.failed.extend(book.hands.tasks);
        }
        self.homes.retain(|_, home| home != name);
        self.departed.insert(name.to_owned());
        self.words_owed.remove(&(name.to_owned(), Word::Echo));
    }

    /// Applies a closed connection that was reported.
    pub(crate) fn closed(&mut self, connection: usize, now: Duration) {
        let connection = Some(ConnectionId(connection as u64));
        self.tell(now, format_args!("{connection:?} is closed"));
        for book in self.managers.values_mut() {
            if book.is_open_by(connection) {
                book.close(now, self.gaps);
            }
        }
    }

    /// Notes that the ROUTER has a connection to the manager.
    pub(crate) fn reachable(&mut self, name: &str, now: Duration) {
        if let Some(book) = self.managers.get_mut(name) {
            book.unreachable_since = (now, self.gaps);
        }
    }

    /// Returns when a manager is lost if it stays without connection.
    pub(crate) fn end_of_grace(&self, book: &Book) -> Option<Duration> {
        let (since, gaps) = book.unreachable_since;
        let grace = self.grace.filter(|_| book.link == Link::Closed)?;
        Some(since + grace + (self.gaps - gaps))
    }

    /// Notes that the ROUTER had no connection to the manager.
    pub(crate) fn unreachable(&mut self, name: &str, now: Duration) {
        self.tell(now, format_args!("{name} is not reachable"));
        if let Some(book) = self.managers.get_mut(name) {
            book.close(now, self.gaps);
        }
        self.words_owed.remove(&(name.to_owned(), Word::Echo));
        self.words_owed.remove(&(name.to_owned(), Word::Shutdown));
    }

    pub(crate) fn send_word(&mut self, name: &str, word: ToManager) {
        let word = match word {
            ToManager::HeartbeatEcho => Word::Echo,
            ToManager::Shutdown => Word::Shutdown,
            ToManager::ProbeAnswer => return,
        };
        self.words_owed.remove(&(name.to_owned(), word));
    }

    pub(crate) fn send_batch(&mut self, name: &str, tasks: &[i64], now: Duration) -> Verdict {
        for task in tasks {
            let needs = self.tasks.needs_of(*task);
            let Some(book) = self.managers.get(name) else {
                return Err(format!("{name} gets {tasks:?}, and is not registered"));
            };
            let has_room = book.hands.may_have_room(&needs, &self.told);
            let is_fit = has_room && self.could_hold(name, book, &needs, now);
            if !book.is_eligible() || !is_fit {
                return Err(format!(
                    "{name} gets task {task}, and may not: {needs:?}, {book:?}, {:?}",
                    self.homes
                ));
            }
            if !self.tasks.take(*task) || self.sent.insert(*task, now).is_some() {
                return Err(format!("task {task} is sent to {name}, and did not wait"));
            }
            if let Some(affinity) = needs.affinity {
                self.homes.insert(affinity, name.to_owned());
            }
            if let Some(book) = self.managers.get_mut(name) {
                book.hands.add(*task, needs);
            }
        }
        match tasks.is_empty() {
            true => Err(format!("{name} gets an empty batch")),
            false => Ok(()),
        }
    }

    /// Checks a terminal message that is sent: a manager's result, or a failure.
    pub(crate) fn pass_result(&mut self, task: i64, is_failure: bool) -> Verdict {
        if self.tasks.is_waiting(task) {
            return Err(format!("task {task} is answered, and waits"));
        }
        for (name, book) in &mut self.managers {
            if book.hands.remove(task) && !is_failure {
                return Err(format!("task {task} is answered, and {name} has it"));
            }
        }
        if is_failure {
            return Ok(());
        }
        match self.results.pop_front() {
            Some(next) if next == task => Ok(()),
            next => Err(format!("the result of {task} leaves before {next:?}")),
        }
    }

    pub(crate) fn command(&mut self, command: &[u8]) {
        for (name, book) in &mut self.managers {
            if command == messages::hold(name) {
                book.is_held = true;
            }
        }
        self.unanswered = Some(command.to_owned());
    }

    pub(crate) fn reply(&mut self, reply: &[u8]) -> Verdict {
        let Some(command) = self.unanswered.take() else {
            return Err("a reply to no command".to_owned());
        };
        let held: usize = self
            .managers
            .values()
            .map(|book| book.hands.tasks.len())
            .sum();
        let live = (held + self.tasks.waiting()) as i64;
        let told = messages::number_of(reply);
        match told {
            Some(told) if command == messages::outstanding() && told != live => Err(format!(
                "{told} tasks are outstanding, and should be {live}"
            )),
            _ => Ok(()),
        }
    }
}

impl World {
    /// Applies a line that is written to the file of events.
    pub(crate) fn note_event(&mut self, line: &str) -> Verdict {
        let now = self.now;
        let field = |key: &str| {
            let (_, rest) = line.split_once(&format!("\"{key}\":\""))?;
            rest.split('"').next()
        };
        let books = self.books.get_mut();
        books.tell(now, line.trim_end());
        let (Some(state), Some(name)) = (field("state"), field("manager")) else {
            return Ok(());
        };
        let is_of_task = field("event") == Some("task");
        let is_foreseen = |(who, what): &(String, &str)| who == name && *what == state;
        match state {
            "failed" if is_of_task => {
                let (_, rest) = line.split_once("\"task\":").unwrap_or_default();
                let number = rest.split(',').next().unwrap_or_default();
                let task: i64 = number.parse().expect("a task's number");
                if let Some(book) = books.managers.get_mut(name) {
                    book.hands.remove(task);
                }
                books.failed.insert(task);
                books.leave_home_if_in_vain(task, now);
            }
            "draining" | "drained" => {
                if let Some(place) = books.foreseen.iter().position(is_foreseen) {
                    books.foreseen.remove(place);
                } else if state == "drained" {
                    books.leave(name);
                    books.owe(name, Word::Shutdown, now);
                } else if let Some(book) = books.managers.get_mut(name) {
                    book.is_draining = true;
                }
            }
            "lost" => {
                self.check_loss(name)?;
                self.books.get_mut().leave(name);
            }
            _ => {}
        }
        Ok(())
    }

    /// Checks that a manager is not declared lost too early, nor while a message that arrived in
    /// time is unread.
    fn check_loss(&self, name: &str) -> Verdict {
        let books = self.books.borrow();
        let Some(book) = books.managers.get(name) else {
            return Err(format!("{name} is lost, and was not registered"));
        };
        let silence = book.last_read + books.threshold;
        let grace = books.grace.filter(|_| book.link == Link::Closed);
        let due = grace.map_or(silence, |grace| silence.min(book.closed_at + grace));
        if self.now < due {
            return Err(format!("{name} is lost before {due:?}"));
        }
        let oldest = self.oldest_word_of(name);
        match oldest.filter(|came| *came + ms(1) < due) {
            Some(came) => Err(format!(
                "{name} is lost, its word of {came:?} is unread, and it had until {due:?}"
            )),
            None => Ok(()),
        }
    }

    /// Returns the arrival time of the manager's oldest unread message, in the kernel or in the
    /// transport.
    pub(crate) fn oldest_word_of(&self, name: &str) -> Option<Duration> {
        let connections = self.network.connections.iter();
        let in_kernel = connections
            .filter(|connection| connection.name == name && connection.state != State::Closed)
            .flat_map(|connection| connection.unread.front())
            .map(|(came, _)| *came);
        let here = self.network.inbox.iter();
        let here = here.filter(|incoming| incoming.name == name);
        in_kernel.chain(here.map(|incoming| incoming.came)).min()
    }
}
