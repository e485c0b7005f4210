//! The state of `top`: what is shown, and how keys change it.

use std::path::{Path, PathBuf};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::history::History;
use super::rows::{Column, Order, listed};
use crate::running::client::{Answer, Found};
use crate::running::findings::findings;
use crate::running::labels::name_of;
use crate::running::last_words;
use crate::shared::finding::Finding;
use crate::shared::words::plain;
use status::document::Document;

/// Maximum length of a filter, which is a word or two.
const FILTER_MAX: usize = 64;

/// A message of the querying threads to the drawing thread.
pub(super) enum Update {
    /// The answer of the interchange that is shown; None if that interchange is gone.
    Shown(PathBuf, Option<Found>),
    /// All interchanges that were found.
    All(Vec<Found>),
    /// The result of holding a manager, in words.
    Held(String),
}

/// An action that a key requests outside of this state.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    Quit,
    Hold {
        manager: String,
    },
    /// Show another interchange.
    Switch,
}

/// The current meaning of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mode {
    Watching,
    /// The user types a filter. Contains the previous filter.
    Filtering(String),
    /// The user is asked to confirm that this manager shall be held.
    Confirming(String),
    Help,
}

/// Whether the interchange still answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Contact {
    Answers,
    /// The interchange does not answer, for this reason.
    Silent(String),
    /// The interchange has ended. Contains its last words, as far as the log has any.
    Ended(String),
}

/// One interchange, in its last known state.
pub(super) struct Instance {
    pub(super) socket: PathBuf,
    pub(super) name: String,
    pub(super) document: Option<Box<Document>>,
    pub(super) findings: Vec<Finding>,
    pub(super) history: History,
    pub(super) contact: Contact,
}

pub(super) struct App {
    pub(super) instances: Vec<Instance>,
    current: usize,
    pub(super) mode: Mode,
    pub(super) order: Order,
    pub(super) filter: String,
    pub(super) is_paused: bool,
    /// Indices of the managers that are listed, in their order.
    pub(super) listed: Vec<usize>,
    /// The id of the selected manager. The same manager stays selected when the order changes.
    selected: Option<String>,
    /// Index of the first line of `listed` that is shown.
    pub(super) top: usize,
    /// Number of the table's lines when it was drawn last.
    pub(super) page: usize,
    /// A message at the bottom, shown until the next key.
    pub(super) message: String,
}

impl App {
    /// # Panics
    /// If `found` is empty.
    pub(super) fn new(found: Vec<Found>) -> Self {
        let mut app = Self {
            instances: found.into_iter().map(Instance::new).collect(),
            current: 0,
            mode: Mode::Watching,
            order: Order {
                by: Column::Block,
                descending: false,
            },
            filter: String::new(),
            is_paused: false,
            listed: Vec::new(),
            selected: None,
            top: 0,
            page: 1,
            message: String::new(),
        };
        assert!(!app.instances.is_empty(), "there is something to show");
        // The interchange that started last is the most interesting.
        app.current = app.instances.len() - 1;
        app.list();
        app
    }

    pub(super) fn shown(&self) -> &Instance {
        &self.instances[self.current]
    }

    pub(super) fn socket(&self) -> &Path {
        &self.shown().socket
    }

    /// Returns the number of the interchange that is shown, from 1, and how many there are.
    pub(super) fn place(&self) -> (usize, usize) {
        (self.current + 1, self.instances.len())
    }

    /// Returns the line of the selected manager.
    pub(super) fn selected_line(&self) -> Option<usize> {
        let selected = self.selected.as_deref()?;
        let document = self.shown().document.as_ref()?;
        let is_it = |place: &usize| document.managers[*place].id == selected;
        self.listed.iter().position(is_it)
    }

    pub(super) fn handle_update(&mut self, update: Update) {
        match update {
            Update::Held(told) => self.message = plain(&told),
            _ if self.is_paused => {}
            Update::Shown(socket, found) => {
                let mut all = self.instances.iter_mut();
                if let Some(instance) = all.find(|instance| instance.socket == socket) {
                    instance.handle_answer(found);
                }
            }
            Update::All(found) => {
                let shown = self.current;
                for (place, instance) in self.instances.iter_mut().enumerate() {
                    let is_there = found.iter().any(|found| found.socket == instance.socket);
                    if !is_there && place != shown {
                        instance.handle_answer(None);
                    }
                }
                for found in found {
                    let all = || self.instances.iter();
                    let known = all().position(|instance| instance.socket == found.socket);
                    let before = || all().position(|instance| instance.is_before(&found));
                    match known.or_else(before) {
                        Some(_) if known == Some(shown) => {}
                        Some(place) => self.instances[place].follow(found),
                        None => self.instances.push(Instance::new(found)),
                    }
                }
            }
        }
        self.list();
    }

    pub(super) fn handle_paste(&mut self, text: &str) -> Option<Action> {
        if matches!(self.mode, Mode::Filtering(_)) {
            for c in text.chars() {
                self.type_filter(c);
            }
            self.list();
        }
        None
    }

    pub(super) fn handle_key(&mut self, key: KeyEvent) -> Option<Action> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Some(Action::Quit);
        }
        self.message.clear();
        let action = match &self.mode {
            Mode::Watching => self.watch(key.code),
            Mode::Filtering(before) => {
                let before = before.clone();
                self.edit_filter(key.code, before);
                None
            }
            Mode::Confirming(manager) => {
                let manager = manager.clone();
                self.mode = Mode::Watching;
                if matches!(key.code, KeyCode::Char('y' | 'Y')) {
                    Some(Action::Hold { manager })
                } else {
                    self.message = "The manager was not held.".to_owned();
                    None
                }
            }
            Mode::Help => {
                self.mode = Mode::Watching;
                None
            }
        };
        self.list();
        action
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a keyboard has more keys than have a meaning here"
    )]
    fn watch(&mut self, key: KeyCode) -> Option<Action> {
        let page = self.page.max(1) as isize;
        match key {
            KeyCode::Char('q') => return Some(Action::Quit),
            KeyCode::Esc if self.filter.is_empty() => return Some(Action::Quit),
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Char('?') => self.mode = Mode::Help,
            KeyCode::Char('/') => self.mode = Mode::Filtering(self.filter.clone()),
            KeyCode::Char('p' | ' ') => self.is_paused = !self.is_paused,
            KeyCode::Char('s') | KeyCode::Right => self.sort_by(1),
            KeyCode::Char('S') | KeyCode::Left => self.sort_by(-1),
            KeyCode::Char('r') => self.order.descending = !self.order.descending,
            KeyCode::Char('h') => match self.selected_line() {
                Some(_) => {
                    let manager = self.selected.clone().unwrap_or_default();
                    self.mode = Mode::Confirming(manager);
                }
                None => self.message = "First select a manager with ↓ or ↑.".to_owned(),
            },
            KeyCode::Down | KeyCode::Char('j') => self.select_by(1),
            KeyCode::Up | KeyCode::Char('k') => self.select_by(-1),
            KeyCode::PageDown => self.select_by(page),
            KeyCode::PageUp => self.select_by(-page),
            KeyCode::Home | KeyCode::Char('g') => self.select_by(isize::MIN),
            KeyCode::End | KeyCode::Char('G') => self.select_by(isize::MAX),
            KeyCode::Tab => return self.switch(1),
            KeyCode::BackTab => return self.switch(self.instances.len() - 1),
            _ => {}
        }
        None
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a keyboard has more keys than have a meaning here"
    )]
    fn edit_filter(&mut self, key: KeyCode, before: String) {
        match key {
            KeyCode::Enter => self.mode = Mode::Watching,
            KeyCode::Esc => {
                self.filter = before;
                self.mode = Mode::Watching;
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(c) => self.type_filter(c),
            _ => {}
        }
    }

    fn type_filter(&mut self, c: char) {
        if !c.is_control() && self.filter.chars().count() < FILTER_MAX {
            self.filter.push(c);
        }
    }

    fn sort_by(&mut self, step: isize) {
        let columns = Column::ALL.len() as isize;
        let place = Column::ALL
            .iter()
            .position(|column| *column == self.order.by);
        let next = (place.unwrap_or(0) as isize + step).rem_euclid(columns);
        let by = Column::ALL[next as usize];
        // Names are sorted in ascending order, numbers in descending order.
        let descending = !matches!(
            by,
            Column::Block | Column::Host | Column::Manager | Column::State
        );
        self.order = Order { by, descending };
    }

    /// Moves the selection. The first movement selects the first line that is shown.
    fn select_by(&mut self, step: isize) {
        let last = self.listed.len().saturating_sub(1);
        let line = match self.selected_line() {
            Some(line) => line.saturating_add_signed(step).min(last),
            None if step == isize::MAX => last,
            None => self.top.min(last),
        };
        let Some(document) = &self.shown().document else {
            return;
        };
        let place = self.listed.get(line);
        self.selected = place.map(|place| document.managers[*place].id.clone());
    }

    fn switch(&mut self, step: usize) -> Option<Action> {
        if self.instances.len() == 1 {
            self.message = "No other interchange is running.".to_owned();
            return None;
        }
        self.current = (self.current + step) % self.instances.len();
        (self.selected, self.top) = (None, 0);
        Some(Action::Switch)
    }

    fn list(&mut self) {
        let instance = &self.instances[self.current];
        self.listed = match &instance.document {
            Some(document) => listed(document, &instance.history, self.order, &self.filter),
            None => Vec::new(),
        };
    }

    /// Moves the window so that the selected line is in it.
    pub(super) fn scroll(&mut self, page: usize) {
        self.page = page;
        let last_top = self.listed.len().saturating_sub(page);
        if let Some(line) = self.selected_line() {
            self.top = self.top.min(line);
            self.top = self.top.max((line + 1).saturating_sub(page));
        }
        self.top = self.top.min(last_top);
    }
}

impl Instance {
    fn new(found: Found) -> Self {
        let place = found.logdir().unwrap_or_else(|| found.socket.clone());
        let mut instance = Self {
            socket: found.socket.clone(),
            name: plain(&place.display().to_string()),
            document: None,
            findings: Vec::new(),
            history: History::default(),
            contact: Contact::Answers,
        };
        instance.handle_answer(Some(found));
        instance
    }

    /// Whether `found` is the same run in a later process, after a restart of its interchange.
    fn is_before(&self, found: &Found) -> bool {
        let Answer::Told { document, .. } = &found.answer else {
            return false;
        };
        let run_of = |document: &Document| {
            let about = &document.interchange;
            (about.logdir_path(), about.started_at_s.to_bits())
        };
        let restarts = |document: &Document| document.restart.as_ref().map_or(0, |it| it.number);
        let known = self.document.as_ref();
        known.is_some_and(|known| {
            run_of(known) == run_of(document) && restarts(known) < restarts(document)
        })
    }

    /// Queries the interchange at its new socket from now on.
    fn follow(&mut self, found: Found) {
        self.socket.clone_from(&found.socket);
        self.handle_answer(Some(found));
    }

    /// Handles an answer; None means that the interchange is gone.
    fn handle_answer(&mut self, found: Option<Found>) {
        self.contact = match found.map(|found| found.answer) {
            Some(Answer::Told { document, .. }) => {
                self.name = name_of(&document);
                self.history.add(&document);
                self.findings = findings(&document);
                self.document = Some(document);
                Contact::Answers
            }
            Some(Answer::Silent(silent)) => Contact::Silent(silent.described()),
            Some(Answer::Unclear(why)) => Contact::Silent(plain(&why)),
            None if matches!(self.contact, Contact::Ended(_)) => return,
            None => Contact::Ended(self.last_words()),
        };
    }

    fn last_words(&self) -> String {
        let logdir = self
            .document
            .as_ref()
            .map(|document| document.interchange.logdir_path());
        let told = logdir.map(|logdir| last_words::told_below(std::slice::from_ref(&logdir)));
        let told = told.unwrap_or_default();
        let line = told.lines().next().unwrap_or("it has ended");
        // The name of the log is left out, because the screen already names the interchange.
        line.split_once(": ")
            .map_or(line, |(_, words)| words)
            .to_owned()
    }
}
