//! Typed access to a [`Tree`]. An accessor returns `None` if the object has another type.
//!
//! A view is a position in the tree and is cheap to copy. Nothing here recurses. A caller that
//! descends a tree must expect cycles, and can identify nodes by [`View::index`].

use crate::tree::{Made, Node, NodeId, Seq, Tree};

/// A node of a tree.
#[derive(Debug, Clone, Copy)]
pub struct View<'t, 'a> {
    tree: &'t Tree<'a>,
    id: NodeId,
}

/// The result of a call that was never made: of REDUCE, NEWOBJ, `NEWOBJ_EX`, OBJ or INST.
#[derive(Debug, Clone, Copy)]
pub struct Instance<'t, 'a> {
    /// The object that would be called, usually a class or a function.
    pub callable: View<'t, 'a>,
    /// The tuple of positional arguments, or an instance if the pickle builds the arguments by a
    /// call.
    pub arguments: View<'t, 'a>,
    /// The dict of keyword arguments of `NEWOBJ_EX`.
    pub keywords: Option<View<'t, 'a>>,
    /// The state that the last BUILD gave to the instance.
    pub state: Option<View<'t, 'a>>,
    made: &'t Made,
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "each question is for one kind of object or two, and all others answer None"
)]
impl<'t, 'a> View<'t, 'a> {
    pub(crate) const fn new(tree: &'t Tree<'a>, id: NodeId) -> Self {
        Self { tree, id }
    }

    /// Returns Python's name for the type, for error texts.
    #[must_use]
    pub fn kind_name(self) -> &'static str {
        match self.node() {
            Node::None => "NoneType",
            Node::Bool(_) => "bool",
            Node::Int(_) | Node::BigInt(_) | Node::OwnBigInt(_) => "int",
            Node::Float(_) => "float",
            Node::Text(_) | Node::Surrogates(_) | Node::OwnText(_) => "str",
            Node::Bytes(_) => "bytes",
            Node::ByteArray(_) => "bytearray",
            Node::Tuple(_) => "tuple",
            Node::List(_) => "list",
            Node::Dict(_) => "dict",
            Node::Set(_) => "set",
            Node::FrozenSet(_) => "frozenset",
            Node::Global { .. } => "a class",
            Node::Instance(_) => "an instance",
        }
    }

    /// Returns the number of this node in its tree, so that a caller that walks the tree can
    /// recognise a node. Equal numbers mean the same object, in the sense of Python's `is`. Small
    /// values such as ints may be several nodes where Python has one object.
    #[must_use]
    pub const fn index(self) -> usize {
        self.id.index()
    }

    /// Whether the object is None.
    #[must_use]
    pub fn is_none(self) -> bool {
        matches!(self.node(), Node::None)
    }

    /// Whether Python treats the object as false in an `if`: None, False, a zero, or an empty
    /// object. An instance counts as true, because its class cannot be consulted.
    #[must_use]
    pub fn is_falsy(self) -> bool {
        match self.node() {
            Node::None => true,
            Node::Bool(value) => !value,
            Node::Int(value) => *value == 0,
            Node::Float(value) => *value == 0.0,
            Node::Text(text) => text.is_empty(),
            Node::Surrogates(bytes) | Node::Bytes(bytes) | Node::ByteArray(bytes) => {
                bytes.is_empty()
            }
            Node::OwnText(place) => self.tree.owned(*place).is_empty(),
            Node::Tuple(_) | Node::List(_) | Node::Dict(_) | Node::Set(_) | Node::FrozenSet(_) => {
                let has_members = |mut members: Items<'_, '_>| members.next().is_some();
                !self.items().is_some_and(has_members)
                    && !self.entries().is_some_and(|entries| has_members(entries.0))
            }
            Node::BigInt(_) | Node::OwnBigInt(_) | Node::Global { .. } | Node::Instance(_) => false,
        }
    }

    /// Returns a bool.
    #[must_use]
    pub fn as_bool(self) -> Option<bool> {
        match self.node() {
            Node::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// Returns an int that fits `i64`. Unlike in Python, a bool is not an int here.
    #[must_use]
    pub fn as_i64(self) -> Option<i64> {
        match self.node() {
            Node::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// Returns an int beyond `i64`, as little-endian two's complement without redundant bytes.
    #[must_use]
    pub fn as_big_int(self) -> Option<&'t [u8]> {
        match self.node() {
            Node::BigInt(bytes) => Some(bytes),
            Node::OwnBigInt(place) => Some(self.tree.owned(*place)),
            _ => None,
        }
    }

    /// Returns a float.
    #[must_use]
    pub fn as_f64(self) -> Option<f64> {
        match self.node() {
            Node::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// Returns a str, unless it has lone surrogates.
    #[must_use]
    pub fn as_str(self) -> Option<&'t str> {
        match self.node() {
            Node::Text(text) => Some(text),
            Node::OwnText(place) => std::str::from_utf8(self.tree.owned(*place)).ok(),
            _ => None,
        }
    }

    /// Returns any str in UTF-8, with lone surrogates encoded as by Python's "surrogatepass".
    #[must_use]
    pub fn as_wtf8(self) -> Option<&'t [u8]> {
        match self.node() {
            Node::Text(text) => Some(text.as_bytes()),
            Node::Surrogates(bytes) => Some(bytes),
            Node::OwnText(place) => Some(self.tree.owned(*place)),
            _ => None,
        }
    }

    /// Returns bytes.
    #[must_use]
    pub fn as_bytes(self) -> Option<&'t [u8]> {
        match self.node() {
            Node::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Returns a bytearray of protocol 5. Older protocols write a bytearray as an instance.
    #[must_use]
    pub fn as_byte_array(self) -> Option<&'t [u8]> {
        match self.node() {
            Node::ByteArray(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Whether the object is a list.
    #[must_use]
    pub fn is_list(self) -> bool {
        matches!(self.node(), Node::List(_))
    }

    /// Whether the object is a tuple.
    #[must_use]
    pub fn is_tuple(self) -> bool {
        matches!(self.node(), Node::Tuple(_))
    }

    /// Whether the object is a dict.
    #[must_use]
    pub fn is_dict(self) -> bool {
        matches!(self.node(), Node::Dict(_))
    }

    /// Returns the items of a list, tuple, set or frozenset. Those of a set are as written, with
    /// duplicates.
    #[must_use]
    pub fn items(self) -> Option<Items<'t, 'a>> {
        match self.node() {
            Node::List(seq) | Node::Set(seq) => Some(Items::new(self.tree, *seq)),
            Node::Tuple(span) | Node::FrozenSet(span) => {
                let now = self.tree.span(*span).iter();
                Some(Items {
                    tree: self.tree,
                    now,
                    later: Seq::EMPTY,
                })
            }
            _ => None,
        }
    }

    /// Returns the keys and values of a dict, as written: a repeated key appears each time.
    #[must_use]
    pub fn entries(self) -> Option<Entries<'t, 'a>> {
        match self.node() {
            Node::Dict(seq) => Some(Entries(Items::new(self.tree, *seq))),
            _ => None,
        }
    }

    /// Returns the value of a str key in a dict. If the key is repeated, the last value counts, as
    /// in Python.
    #[must_use]
    pub fn get(self, key: &str) -> Option<Self> {
        self.entries()?.get(key)
    }

    /// Returns the module and the qualified name of a class or another global.
    #[must_use]
    pub fn class_name(self) -> Option<(&'t str, &'t str)> {
        match self.node() {
            Node::Global { module, name } => {
                let module = Self::new(self.tree, *module).as_str()?;
                Some((module, Self::new(self.tree, *name).as_str()?))
            }
            _ => None,
        }
    }

    /// Returns an instance, the result of a call.
    #[must_use]
    pub fn instance(self) -> Option<Instance<'t, 'a>> {
        let Node::Instance(place) = self.node() else {
            return None;
        };
        let made = self.tree.made(*place)?;
        Some(Instance {
            callable: Self::new(self.tree, made.callable),
            arguments: Self::new(self.tree, made.arguments),
            keywords: made.keywords.map(|id| Self::new(self.tree, id)),
            state: made.state.map(|id| Self::new(self.tree, id)),
            made,
        })
    }

    fn node(self) -> &'t Node<'a> {
        self.tree.node(self.id)
    }
}

impl<'t, 'a> Instance<'t, 'a> {
    /// Returns the items that were appended or added to the instance, as to a list or a set.
    #[must_use]
    pub fn items(&self) -> Items<'t, 'a> {
        Items::new(self.callable.tree, self.made.items)
    }

    /// Returns the entries that were assigned to the instance by key, as to a dict. An
    /// `OrderedDict` keeps its entries here.
    #[must_use]
    pub fn entries(&self) -> Entries<'t, 'a> {
        Entries(Items::new(self.callable.tree, self.made.entries))
    }
}

/// The items of a list, tuple or set.
#[derive(Debug, Clone)]
pub struct Items<'t, 'a> {
    tree: &'t Tree<'a>,
    now: std::slice::Iter<'t, NodeId>,
    later: Seq,
}

impl<'t, 'a> Items<'t, 'a> {
    fn new(tree: &'t Tree<'a>, seq: Seq) -> Self {
        Self {
            tree,
            now: [].iter(),
            later: seq,
        }
    }
}

impl<'t, 'a> Iterator for Items<'t, 'a> {
    type Item = View<'t, 'a>;

    fn next(&mut self) -> Option<View<'t, 'a>> {
        loop {
            if let Some(id) = self.now.next() {
                return Some(View::new(self.tree, *id));
            }
            let (now, later) = self.tree.run(self.later)?;
            (self.now, self.later) = (now.iter(), later);
        }
    }
}

/// The keys and values of a dict.
#[derive(Debug, Clone)]
pub struct Entries<'t, 'a>(Items<'t, 'a>);

impl<'t, 'a> Entries<'t, 'a> {
    /// Returns the value of a str key. If the key is repeated, the last value counts.
    #[must_use]
    pub fn get(self, key: &str) -> Option<View<'t, 'a>> {
        self.filter(|(found, _)| found.as_wtf8() == Some(key.as_bytes()))
            .last()
            .map(|(_, v)| v)
    }
}

impl<'t, 'a> Iterator for Entries<'t, 'a> {
    type Item = (View<'t, 'a>, View<'t, 'a>);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.0.next()?, self.0.next()?))
    }
}
