//! Reads a task's requirements on its manager: the keys of [`Needs`], from a flat dict or a tree.
//!
//! An unreadable value counts as an absent key. A million tasks with the same mistake cause one log
//! line, because the reader of tasks keeps the [`UnreadWords`].

use crate::affinity::Affinity;
use crate::ids::TaskId;
use crate::needs::{Amount, Needs, NodeNeeds, Routing};
use crate::number::Number;
use crate::priority::Priority;
use crate::text::read_text;
use pickle::{Flat, FlatDict, FlatValue, View};

/// Maximum length of a text.
const TEXT_BYTES_MAX: usize = 1024;
/// Maximum number of patterns.
const PATTERNS_MAX: usize = 64;

/// The keys whose values were unreadable so far. Each key is logged once, for the first such task.
#[derive(Debug, Default)]
pub struct UnreadWords(u16);

impl UnreadWords {
    fn note(&mut self, word: Word, kind: &str, task: TaskId) {
        let bit = 1 << word as u16;
        if self.0 & bit == 0 {
            self.0 |= bit;
            let word = word.name();
            codes::log!(
                NEEDS_UNREADABLE,
                "Ignoring the {word} of task {task}: its type is {kind}; not reported for later \
                 tasks"
            );
        }
    }
}

/// A key that is read.
#[derive(Debug, Clone, Copy)]
enum Word {
    Placement,
    Cores,
    Memory,
    RunningTime,
    Affinity,
    TaskType,
    Routing,
    Node,
    Hostname,
    BlockId,
    CpuCount,
    TotalMemory,
}

impl Word {
    fn name(self) -> &'static str {
        match self {
            Self::Placement => "'placement'",
            Self::Cores => "'cores'",
            Self::Memory => "'memory'",
            Self::RunningTime => "'running_time_min'",
            Self::Affinity => "'manager_affinity'",
            Self::TaskType => "'task_type'",
            Self::Routing => "'routing'",
            Self::Node => "'node'",
            Self::Hostname => "node's 'hostname'",
            Self::BlockId => "node's 'block_id'",
            Self::CpuCount => "node's 'cpu_count'",
            Self::TotalMemory => "node's 'total_memory'",
        }
    }
}

/// A value from either reader: the flat one or the tree.
pub(crate) trait Value: Copy {
    /// Visits the keys and values, if the value is a dict. A repeated key is visited each time.
    fn visit(self, visit: impl FnMut(&[u8], Self)) -> Option<()>;
    fn is_none(self) -> bool;
    fn kind_name(self) -> &'static str;
    fn amount(self) -> Option<Amount>;
    fn text(self) -> Option<Box<str>>;
    /// Returns a text, or a list or tuple of texts.
    fn texts(self) -> Option<Vec<Box<str>>>;
    fn affinity(self) -> Option<Affinity>;
}

/// Reads a task's requirements: from its placement if it has one, otherwise from its resource
/// specification.
pub(crate) fn read<V: Value>(
    placement: Option<V>,
    spec: Option<V>,
    id: TaskId,
    unread: &mut UnreadWords,
) -> Option<Box<Needs>> {
    let mut reader = Reader { id, unread };
    let placed = placement.filter(|words| !words.is_none());
    let needs = match placed {
        Some(words) => reader.needs(words).or_else(|| {
            reader.note(Word::Placement, words);
            reader.needs(spec?)
        }),
        None => reader.needs(spec?),
    }?;
    (needs != Needs::default()).then(|| Box::new(needs))
}

struct Reader<'u> {
    id: TaskId,
    unread: &'u mut UnreadWords,
}

impl Reader<'_> {
    /// Reads the requirements from a dict; returns `None` if `words` is not a dict.
    fn needs<V: Value>(&mut self, words: V) -> Option<Needs> {
        let mut needs = Needs::default();
        words.visit(|key, value| match key {
            b"cores" => needs.cores = self.some_of(Word::Cores, value),
            b"memory" => needs.memory_mb = self.some_of(Word::Memory, value),
            b"running_time_min" => {
                needs.running_time_s = self.some_of(Word::RunningTime, value);
            }
            b"manager_affinity" => {
                needs.affinity = self.read(Word::Affinity, value, V::affinity);
            }
            b"task_type" => needs.task_type = self.read(Word::TaskType, value, V::text),
            b"routing" => needs.routing = self.read(Word::Routing, value, routing),
            b"node" => {
                let node = self.read(Word::Node, value, Some);
                needs.node = node.and_then(|node| self.node(node));
            }
            _ => {}
        })?;
        // Without a task type, the routing has no meaning.
        needs.routing = needs.routing.filter(|_| needs.task_type.is_some());
        Some(needs)
    }

    fn node<V: Value>(&mut self, words: V) -> Option<Box<NodeNeeds>> {
        let mut node = NodeNeeds::default();
        let visited = words.visit(|key, value| match key {
            b"hostname" => node.hostname = self.patterns(Word::Hostname, value),
            b"block_id" => node.block_id = self.patterns(Word::BlockId, value),
            b"cpu_count" => node.cpu_count = self.some_of(Word::CpuCount, value),
            b"total_memory" => node.total_memory_mb = self.some_of(Word::TotalMemory, value),
            _ => {}
        });
        if visited.is_none() {
            self.note(Word::Node, words);
        }
        (node != NodeNeeds::default()).then(|| Box::new(node))
    }

    /// Reads an amount. An amount of zero counts as an absent key.
    fn some_of<V: Value>(&mut self, word: Word, value: V) -> Option<Amount> {
        let amount = self.read(word, value, V::amount);
        amount.filter(|amount| amount.get() > 0.0)
    }

    /// Reads patterns and sorts them, so that their order makes no difference.
    fn patterns<V: Value>(&mut self, word: Word, value: V) -> Vec<Box<str>> {
        let mut patterns = self.read(word, value, V::texts).unwrap_or_default();
        patterns.sort_unstable();
        patterns.dedup();
        patterns
    }

    fn read<V: Value, T>(&mut self, word: Word, value: V, read: fn(V) -> Option<T>) -> Option<T> {
        if value.is_none() {
            return None;
        }
        let found = read(value);
        if found.is_none() {
            self.note(word, value);
        }
        found
    }

    fn note<V: Value>(&mut self, word: Word, value: V) {
        self.unread.note(word, value.kind_name(), self.id);
    }
}

fn routing<V: Value>(value: V) -> Option<Routing> {
    match &*value.text()? {
        "soft" => Some(Routing::Soft),
        "hard" => Some(Routing::Hard),
        _ => None,
    }
}

/// Reads an amount from a number that is not a bool.
pub(crate) fn amount(view: View<'_, '_>) -> Option<Amount> {
    let number = Number::read(view)?;
    let is_bool = matches!(number, Number::Bool(_));
    Amount::new(Priority::of(&number)?.to_f64()).filter(|_| !is_bool)
}

impl Value for View<'_, '_> {
    fn visit(self, mut visit: impl FnMut(&[u8], Self)) -> Option<()> {
        for (key, value) in self.entries()? {
            visit(key.as_wtf8().unwrap_or_default(), value);
        }
        Some(())
    }

    fn is_none(self) -> bool {
        View::is_none(self)
    }

    fn kind_name(self) -> &'static str {
        View::kind_name(self)
    }

    fn amount(self) -> Option<Amount> {
        amount(self)
    }

    fn text(self) -> Option<Box<str>> {
        short_text(&read_text(self)?)
    }

    fn texts(self) -> Option<Vec<Box<str>>> {
        if !self.is_list() && !self.is_tuple() {
            return Some(vec![self.text()?]);
        }
        let items: Vec<_> = self.items()?.take(PATTERNS_MAX + 1).collect();
        let is_short = items.len() <= PATTERNS_MAX;
        is_short.then(|| items.into_iter().map(Value::text).collect())?
    }

    fn affinity(self) -> Option<Affinity> {
        Affinity::read(self)
    }
}

/// A value in a flat dict.
#[derive(Clone, Copy)]
pub(crate) struct FlatPlace<'f, 'a> {
    flat: &'f Flat<'a>,
    value: FlatValue<'a>,
}

impl<'f, 'a> FlatPlace<'f, 'a> {
    pub(crate) fn new(flat: &'f Flat<'a>, value: FlatValue<'a>) -> Self {
        Self { flat, value }
    }

    fn dict(self) -> Option<FlatDict> {
        match self.value {
            FlatValue::Dict(dict) => Some(dict),
            FlatValue::None
            | FlatValue::Bool(_)
            | FlatValue::Int(_)
            | FlatValue::Float(_)
            | FlatValue::Ascii(_)
            | FlatValue::Bytes(_) => None,
        }
    }
}

impl Value for FlatPlace<'_, '_> {
    fn visit(self, mut visit: impl FnMut(&[u8], Self)) -> Option<()> {
        for (key, value) in self.flat.entries_of(self.dict()?) {
            visit(key, Self { value, ..self });
        }
        Some(())
    }

    fn is_none(self) -> bool {
        self.value == FlatValue::None
    }

    fn kind_name(self) -> &'static str {
        match self.value {
            FlatValue::None => "NoneType",
            FlatValue::Bool(_) => "bool",
            FlatValue::Int(_) => "int",
            FlatValue::Float(_) => "float",
            FlatValue::Ascii(_) => "str",
            FlatValue::Bytes(_) => "bytes",
            FlatValue::Dict(_) => "dict",
        }
    }

    fn amount(self) -> Option<Amount> {
        match self.value {
            FlatValue::Int(number) => Amount::new(number as f64),
            FlatValue::Float(number) => Amount::new(number),
            FlatValue::None
            | FlatValue::Bool(_)
            | FlatValue::Ascii(_)
            | FlatValue::Bytes(_)
            | FlatValue::Dict(_) => None,
        }
    }

    fn text(self) -> Option<Box<str>> {
        match self.value {
            FlatValue::Ascii(text) => short_text(text),
            FlatValue::None
            | FlatValue::Bool(_)
            | FlatValue::Int(_)
            | FlatValue::Float(_)
            | FlatValue::Bytes(_)
            | FlatValue::Dict(_) => None,
        }
    }

    fn texts(self) -> Option<Vec<Box<str>>> {
        Some(vec![self.text()?])
    }

    fn affinity(self) -> Option<Affinity> {
        Affinity::of_flat(self.value)
    }
}

fn short_text(text: &[u8]) -> Option<Box<str>> {
    let text = std::str::from_utf8(text).ok()?;
    (text.len() <= TEXT_BYTES_MAX).then(|| text.into())
}
