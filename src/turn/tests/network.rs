//! The worker port below the turn: connections with limited room in each direction, the transport's
//! thread that reads, writes and closes them, and the descriptors by which it identifies them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::doors::Event;
use super::messages::Saying;
use super::world::{World, ms};
use account::Receipt;
use protocol::ToManager;

/// A connection of one manager. Connection numbers are never reused.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) name: String,
    pub(crate) peer: usize,
    pub(crate) state: State,
    pub(crate) descriptor: i32,
    /// Messages of the manager in the kernel's buffer, with their arrival times.
    pub(crate) unread: VecDeque<(Duration, Saying)>,
    /// Whether the manager has closed the connection.
    pub(crate) is_ended: bool,
    /// Messages handed to the transport.
    pipe: VecDeque<Parcel>,
    taken: usize,
    read: usize,
    /// The message that is being written to the kernel, and how many of its bytes are written.
    writing: Option<(Parcel, usize)>,
    /// Messages in the kernel or at the manager, each with the position of its end in the stream.
    wire: VecDeque<(usize, Content)>,
    written: usize,
    swallowed: usize,
    pub(crate) is_fetch_due: bool,
    is_write_due: bool,
    pub(crate) is_read_due: bool,
    /// Since when the connection takes messages.
    pub(crate) has_room_since: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// The transport has not accepted the connection.
    New,
    Open,
    Closed,
}

#[derive(Debug, Clone)]
pub(crate) enum Content {
    Word(ToManager),
    Batch(Vec<i64>),
}

#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) content: Content,
    pub(crate) bytes: usize,
    /// The index of the account that counts these bytes.
    pub(crate) account: Option<usize>,
    /// The receipt by which the turn counts these bytes.
    pub(crate) receipt: Option<Receipt>,
}

/// A message that the ROUTER can deliver next.
#[derive(Debug, Clone)]
pub(crate) struct Incoming {
    pub(crate) connection: usize,
    pub(crate) name: String,
    pub(crate) descriptor: i32,
    pub(crate) came: Duration,
    pub(crate) saying: Saying,
}

/// Events of connections, as the monitor reports them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Told {
    Opened { descriptor: i32, connection: usize },
    Closed { descriptor: i32 },
}

/// The limits of all connections of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Number of messages that the transport takes for a connection.
    pub(crate) high_water: usize,
    /// Number of bytes in the kernel's buffer.
    pub(crate) kernel: usize,
}

#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) sizes: Sizes,
    pub(crate) connections: Vec<Connection>,
    /// The connection to each manager, as the ROUTER knows it.
    pub(crate) routes: BTreeMap<String, usize>,
    /// Since when the ROUTER has no connection to a manager that had one before.
    pub(crate) gone_since: BTreeMap<String, Duration>,
    /// News from the transport's thread to the ROUTER, which reads them whenever it is called.
    news: VecDeque<News>,
    pub(crate) inbox: VecDeque<Incoming>,
    descriptors: Vec<bool>,
    pub(crate) told: VecDeque<Told>,
    /// Events that the monitor reports a moment later.
    late: VecDeque<Told>,
    /// While set, no closed connection is reported.
    pub(crate) withholds: bool,
    /// Managers to which nothing can be sent, for as long as they are listed here.
    pub(crate) jammed: Vec<String>,
}

#[derive(Debug, Clone, Copy)]
enum News {
    Attached(usize),
    Gone(usize),
}

impl Network {
    pub(crate) fn new(sizes: Sizes) -> Self {
        Self {
            sizes,
            connections: Vec::new(),
            routes: BTreeMap::new(),
            gone_since: BTreeMap::new(),
            news: VecDeque::new(),
            inbox: VecDeque::new(),
            descriptors: vec![true; 9],
            told: VecDeque::new(),
            late: VecDeque::new(),
            withholds: false,
            jammed: Vec::new(),
        }
    }

    fn lowest_descriptor(&mut self) -> i32 {
        let free = self.descriptors.iter().position(|is_used| !is_used);
        let place = free.unwrap_or_else(|| {
            self.descriptors.push(false);
            self.descriptors.len() - 1
        });
        self.descriptors[place] = true;
        place as i32
    }
}

impl Connection {
    /// Whether the connection is full. The transport acknowledges read messages in steps of half
    /// the high-water mark.
    pub(crate) fn is_full(&self, sizes: Sizes) -> bool {
        let low_water = sizes.high_water.div_ceil(2);
        let seen = self.read / low_water * low_water;
        self.taken - seen >= sizes.high_water
    }

    /// Whether the connection holds messages that its manager has not read.
    pub(crate) fn has_untaken(&self) -> bool {
        !self.pipe.is_empty() || self.writing.is_some() || !self.wire.is_empty()
    }
}

impl World {
    /// Connects a manager.
    pub(crate) fn connect(&mut self, peer: usize, name: &str) -> usize {
        let connection = self.network.connections.len();
        self.network.connections.push(Connection {
            name: name.to_owned(),
            peer,
            state: State::New,
            descriptor: -1,
            unread: VecDeque::new(),
            is_ended: false,
            pipe: VecDeque::new(),
            taken: 0,
            read: 0,
            writing: None,
            wire: VecDeque::new(),
            written: 0,
            swallowed: 0,
            is_fetch_due: false,
            is_write_due: false,
            is_read_due: false,
            has_room_since: self.now,
        });
        self.fetch_soon(connection);
        connection
    }

    /// Puts a manager's message into the kernel's buffer.
    pub(crate) fn say_by(&mut self, connection: usize, saying: Saying) {
        let now = self.now;
        self.network.connections[connection]
            .unread
            .push_back((now, saying));
        self.fetch_soon(connection);
    }

    /// Closes the manager's end of the connection. With `is_reset` its unread messages are lost.
    pub(crate) fn end(&mut self, connection: usize, is_reset: bool) {
        let ended = &mut self.network.connections[connection];
        ended.is_ended = true;
        if is_reset {
            ended.unread.clear();
        }
        self.fetch_soon(connection);
    }

    pub(crate) fn fetch_soon(&mut self, connection: usize) {
        if !self.network.connections[connection].is_fetch_due {
            self.network.connections[connection].is_fetch_due = true;
            let at = self.soon();
            self.agenda.add(at, Event::Fetch(connection));
        }
    }

    fn write_soon(&mut self, connection: usize) {
        if !self.network.connections[connection].is_write_due {
            self.network.connections[connection].is_write_due = true;
            let at = self.soon();
            self.agenda.add(at, Event::Write(connection));
        }
    }

    /// Accepts the connection or reads from it, in the transport's thread.
    pub(crate) fn fetch(&mut self, number: usize) {
        const FETCHED_MAX: usize = 64;
        self.network.connections[number].is_fetch_due = false;
        if self.network.connections[number].state == State::Closed {
            return;
        }
        if self.network.connections[number].state == State::New {
            let descriptor = self.network.lowest_descriptor();
            let connection = &mut self.network.connections[number];
            connection.state = State::Open;
            connection.descriptor = descriptor;
            self.tell(Told::Opened {
                descriptor,
                connection: number,
            });
            self.announce(News::Attached(number));
        }
        let connection = &mut self.network.connections[number];
        let count = connection.unread.len().min(FETCHED_MAX);
        for (came, saying) in connection.unread.drain(..count) {
            self.network.inbox.push_back(Incoming {
                connection: number,
                name: connection.name.clone(),
                descriptor: connection.descriptor,
                came,
                saying,
            });
            self.workers.note_arrival();
        }
        let connection = &self.network.connections[number];
        if !connection.unread.is_empty() {
            self.fetch_soon(number);
        } else if connection.is_ended {
            self.close(number);
        }
    }

    /// Closes the connection, in the transport's thread; messages that are not written are dropped.
    pub(crate) fn close(&mut self, number: usize) {
        let connection = &mut self.network.connections[number];
        if connection.state != State::Open {
            connection.state = State::Closed;
            return;
        }
        connection.state = State::Closed;
        let descriptor = connection.descriptor;
        let left = connection.pipe.drain(..);
        let left: Vec<Parcel> = left
            .chain(connection.writing.take().map(|(parcel, _)| parcel))
            .collect();
        self.network.descriptors[descriptor as usize] = false;
        self.tell(Told::Closed { descriptor });
        self.announce(News::Gone(number));
        for parcel in left {
            self.release_later(parcel, ms(300));
        }
    }

    /// Applies the news from the transport's thread. The ROUTER knows of them only from this call
    /// on.
    pub(crate) fn hear_news(&mut self) {
        while let Some(news) = self.network.news.pop_front() {
            let (News::Attached(number) | News::Gone(number)) = news;
            let name = self.network.connections[number].name.clone();
            match news {
                News::Attached(_) => {
                    if let Some(before) = self.network.routes.insert(name, number) {
                        // Unread messages of the previous connection are lost.
                        let inbox = &mut self.network.inbox;
                        inbox.retain(|incoming| incoming.connection != before);
                        let at = self.soon();
                        self.agenda.add(at, Event::Close(before));
                    }
                    self.network.connections[number].has_room_since = self.now;
                }
                News::Gone(_) if self.network.routes.get(&name) == Some(&number) => {
                    self.network.routes.remove(&name);
                    self.network.gone_since.insert(name, self.now);
                }
                News::Gone(_) => {}
            }
        }
    }

    fn announce(&mut self, news: News) {
        self.network.news.push_back(news);
        self.workers.note_arrival();
    }

    /// Reports an event of a connection. A new connection is reported before its first message,
    /// together with all earlier events; a closed connection may be reported late.
    fn tell(&mut self, told: Told) {
        const LATE_MAX: Duration = ms(50);
        self.network.late.push_back(told);
        let may_be_late = matches!(told, Told::Closed { .. });
        if may_be_late && self.network.withholds {
            return;
        }
        if may_be_late && self.chance(0.3) {
            let at = self.now + self.time_below(LATE_MAX);
            self.agenda.add(at, Event::Tell);
        } else {
            self.tell_what_is_late();
        }
    }

    pub(crate) fn tell_what_is_late(&mut self) {
        if !self.network.late.is_empty() {
            let late = std::mem::take(&mut self.network.late);
            self.network.told.extend(late);
            self.monitor.note_arrival();
        }
    }

    /// Returns since when the ROUTER takes a message for this manager, or reports that there is no
    /// connection. None: the connection is full.
    pub(crate) fn decided_since(&self, name: &str) -> Option<Duration> {
        match self.route_with_room(name) {
            Some(Ok(connection)) => Some(self.network.connections[connection].has_room_since),
            Some(Err(_)) => None,
            None => {
                let gone_since = self.network.gone_since.get(name).copied();
                Some(gone_since.unwrap_or_default())
            }
        }
    }

    /// Returns the connection to this manager: Ok if it takes a message now, Err if it is full.
    /// None: there is no connection.
    pub(crate) fn route_with_room(&self, name: &str) -> Option<Result<usize, usize>> {
        let number = *self.network.routes.get(name)?;
        let connection = &self.network.connections[number];
        let is_jammed = self.network.jammed.iter().any(|jammed| jammed == name);
        Some(match is_jammed || connection.is_full(self.network.sizes) {
            true => Err(number),
            false => Ok(number),
        })
    }

    /// Queues a message that the ROUTER has taken.
    pub(crate) fn put(&mut self, number: usize, parcel: Parcel) {
        let connection = &mut self.network.connections[number];
        if connection.state != State::Open {
            return self.release_later(parcel, ms(300));
        }
        connection.taken += 1;
        connection.pipe.push_back(parcel);
        self.write_soon(number);
    }

    /// Writes as much as the kernel takes, in the transport's thread.
    pub(crate) fn write(&mut self, number: usize) {
        let (sizes, now) = (self.network.sizes, self.now);
        let connection = &mut self.network.connections[number];
        connection.is_write_due = false;
        if connection.state != State::Open {
            return;
        }
        let was_full = connection.is_full(sizes);
        let mut released = Vec::new();
        loop {
            let room = sizes.kernel - (connection.written - connection.swallowed);
            if let Some((parcel, there)) = &mut connection.writing {
                let more = room.min(parcel.bytes - *there);
                *there += more;
                connection.written += more;
                // A message that is completely written is kept until there is room for the next
                // one.
                if *there < parcel.bytes || more == room {
                    break;
                }
            }
            if let Some((parcel, _)) = connection.writing.take() {
                let end = connection.written;
                connection.wire.push_back((end, parcel.content.clone()));
                released.push(parcel);
            }
            let Some(next) = connection.pipe.pop_front() else {
                break;
            };
            connection.read += 1;
            connection.writing = Some((next, 0));
        }
        if was_full && !connection.is_full(sizes) {
            connection.has_room_since = now;
        }
        for parcel in released {
            self.release_later(parcel, ms(3));
        }
        self.read_soon(number);
    }

    /// Lets the manager read this many bytes from the kernel. Returns the messages that are
    /// complete.
    pub(crate) fn swallow(&mut self, number: usize, bytes_max: usize) -> Vec<Content> {
        let connection = &mut self.network.connections[number];
        let bytes = bytes_max.min(connection.written - connection.swallowed);
        connection.swallowed += bytes;
        // The last message is complete with its bytes, even if the transport has not released it
        // yet.
        if let Some((parcel, there)) = &connection.writing
            && *there == parcel.bytes
            && connection
                .wire
                .back()
                .is_none_or(|(end, _)| *end < connection.written)
        {
            let end = connection.written;
            connection.wire.push_back((end, parcel.content.clone()));
            let parcel = connection.writing.take().map(|(parcel, _)| parcel);
            if let Some(parcel) = parcel {
                self.release_later(parcel, ms(3));
            }
        }
        let connection = &mut self.network.connections[number];
        let mut complete = Vec::new();
        while let Some((end, _)) = connection.wire.front()
            && *end <= connection.swallowed
            && let Some((_, content)) = connection.wire.pop_front()
        {
            complete.push(content);
        }
        if bytes > 0 {
            self.write_soon(number);
        }
        complete
    }

    /// Ends the process: unread messages in its kernel buffers and in this process are lost.
    /// Messages that it had already written may still be read. Returns the peers whose connections
    /// were closed.
    pub(crate) fn close_all(&mut self) -> Vec<usize> {
        let mut cut = Vec::new();
        for number in 0..self.network.connections.len() {
            let connection = &self.network.connections[number];
            let (peer, state) = (connection.peer, connection.state);
            if state == State::Closed {
                continue;
            }
            if self.peers[peer].connection == Some(number) {
                if self.chance(0.5) {
                    self.take_in(number, usize::MAX);
                }
                self.peers[peer].connection = None;
                cut.push(peer);
            }
            let connection = &mut self.network.connections[number];
            connection.state = State::Closed;
            connection.unread.clear();
            connection.pipe.clear();
            connection.writing = None;
            connection.wire.clear();
        }
        let anew = Network::new(self.network.sizes);
        let before = std::mem::replace(&mut self.network, anew);
        self.network.connections = before.connections;
        self.network.jammed = before.jammed;
        self.network.withholds = before.withholds;
        let names = before
            .gone_since
            .into_keys()
            .chain(before.routes.into_keys());
        let now = self.now;
        self.network.gone_since = names.map(|name| (name, now)).collect();
        cut
    }

    fn release_later(&mut self, parcel: Parcel, latest: Duration) {
        if parcel.account.is_some() {
            let at = self.now + self.time_below(latest);
            self.releasing.push_back(parcel);
            self.agenda.add(at, Event::Release);
        }
    }
}
