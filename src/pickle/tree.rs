//! A pickle as inert data: the arena of its nodes.
//!
//! Classes, calls and instances are nodes; nothing is imported or called. All nodes are in one
//! arena and refer to each other by number. Shared and self-referencing objects therefore keep
//! their identity, and neither reading nor dropping a tree recurses. An instruction usually makes
//! one node, and moves each object of the stack once. A tree therefore takes time and memory in
//! proportion to the bytes received, whatever their content.
//!
//! Reading refuses whatever scanning refuses. In addition, it checks types where an error is
//! certain (an item added to an int, a list used as a key). It also refuses assignments into a list
//! or a bytearray. They are legal in Python, but no pickler writes them, and a tree that ignored
//! them would be wrong.

use crate::error::{Fault, PickleError};
use crate::instruction::Instructions;
use crate::read::Reader;
use crate::view::View;

/// A pickle as inert data.
#[derive(Debug, Clone)]
pub struct Tree<'a> {
    nodes: Vec<Node<'a>>,
    /// The members of all containers.
    members: Vec<NodeId>,
    runs: Vec<Run>,
    made: Vec<Made>,
    /// Decoded texts and ints whose bytes do not occur in the input.
    owned: Vec<Box<[u8]>>,
    root: NodeId,
}

/// Maximum number of instructions that are decoded from a peer's pickle. A node takes about fifty
/// bytes where an instruction takes one. The limit keeps the memory that a peer can make this
/// process hold to about 30 MB. It is far above the size of the messages that must be decoded.
pub(crate) const INSTRUCTIONS_MAX: usize = 1 << 18;

impl<'a> Tree<'a> {
    /// Decodes the pickle at the start of `bytes`, which a peer sent. Bytes after STOP are ignored.
    ///
    /// # Errors
    /// Those of [`scan`](crate::scan()), and [`Fault::WrongType`], [`Fault::Unhashable`],
    /// [`Fault::TooLong`] and [`Fault::TooComplex`].
    pub fn read(bytes: &'a [u8]) -> Result<Self, PickleError> {
        Self::read_up_to(INSTRUCTIONS_MAX, bytes)
    }

    /// Decodes a pickle from a trusted source, with any number of objects.
    ///
    /// # Errors
    /// Those of [`read`](Self::read), except [`Fault::TooComplex`].
    pub fn read_trusted(bytes: &'a [u8]) -> Result<Self, PickleError> {
        Self::read_up_to(usize::MAX, bytes)
    }

    fn read_up_to(instructions_max: usize, bytes: &'a [u8]) -> Result<Self, PickleError> {
        // Nodes, members and runs are numbered in 32 bits. Each takes at least one byte of the
        // input.
        if u32::try_from(bytes.len().saturating_add(RESERVED)).is_err() {
            return Err(Fault::TooLong.at(0));
        }
        let mut instructions = Instructions::new(bytes);
        let mut reader = Reader::new(bytes.len());
        for _ in 0..instructions_max {
            let instruction = instructions.next()?;
            let stepped = reader.step(&instruction);
            if let Some(root) = stepped.map_err(|fault| fault.at(instruction.offset))? {
                return Ok(reader.into_tree(root));
            }
        }
        Err(Fault::TooComplex.at(instructions.offset()))
    }

    /// Returns the object that the pickle represents.
    #[must_use]
    pub const fn root(&self) -> View<'_, 'a> {
        View::new(self, self.root)
    }

    /// Iterates over the classes, functions and other globals that the pickle names. A global that
    /// is looked up several times appears each time.
    pub fn globals(&self) -> impl Iterator<Item = View<'_, 'a>> {
        let places = self.nodes.iter().zip(0..);
        let is_global = |node: &Node<'a>| matches!(node, Node::Global { .. });
        places.filter_map(move |(node, place)| {
            is_global(node).then_some(View::new(self, NodeId(place)))
        })
    }

    pub(crate) fn new() -> Self {
        let nothing = Span { start: 0, len: 0 };
        let nodes: [_; RESERVED] = [
            Node::None,
            Node::Bool(false),
            Node::Bool(true),
            Node::Tuple(nothing),
        ];
        Self {
            nodes: nodes.to_vec(),
            members: Vec::new(),
            runs: Vec::new(),
            made: Vec::new(),
            owned: Vec::new(),
            root: NodeId::NONE,
        }
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node<'a> {
        self.nodes.get(id.index()).unwrap_or(&Node::None)
    }

    pub(crate) fn owned(&self, place: u32) -> &[u8] {
        self.owned.get(place as usize).map_or(&[], |bytes| bytes)
    }

    pub(crate) fn made(&self, place: u32) -> Option<&Made> {
        self.made.get(place as usize)
    }

    /// Returns the first run of a sequence, and the rest of the sequence.
    pub(crate) fn run(&self, seq: Seq) -> Option<(&[NodeId], Seq)> {
        let run = self.runs.get(seq.first as usize)?;
        let left = Seq {
            first: run.next,
            last: seq.last,
        };
        Some((self.span(run.span), left))
    }

    pub(crate) fn span(&self, Span { start, len }: Span) -> &[NodeId] {
        let members = self.members.get(start as usize..).unwrap_or_default();
        members.get(..len as usize).unwrap_or_default()
    }

    pub(crate) fn add(&mut self, node: Node<'a>) -> NodeId {
        let id = NodeId(number(self.nodes.len()));
        self.nodes.push(node);
        id
    }

    pub(crate) fn replace(&mut self, id: NodeId, node: Node<'a>) {
        if let Some(place) = self.nodes.get_mut(id.index()) {
            *place = node;
        }
    }

    pub(crate) fn add_made(&mut self, made: Made) -> NodeId {
        let place = number(self.made.len());
        self.made.push(made);
        self.add(Node::Instance(place))
    }

    pub(crate) fn made_mut(&mut self, place: u32) -> Option<&mut Made> {
        self.made.get_mut(place as usize)
    }

    pub(crate) fn own(&mut self, bytes: Vec<u8>) -> u32 {
        let place = number(self.owned.len());
        self.owned.push(bytes.into_boxed_slice());
        place
    }

    /// Adds the members of a container that is then complete.
    pub(crate) fn add_span(&mut self, members: impl Iterator<Item = NodeId>) -> Span {
        let start = number(self.members.len());
        self.members.extend(members);
        Span {
            start,
            len: number(self.members.len()) - start,
        }
    }

    /// Adds members to a container that may have members already and may grow further.
    pub(crate) fn extend(&mut self, seq: Seq, members: impl Iterator<Item = NodeId>) -> Seq {
        let span = self.add_span(members);
        let fresh = number(self.runs.len());
        match self.runs.get_mut(seq.last as usize) {
            _ if span.len == 0 => return seq,
            Some(last) if last.span.start + last.span.len == span.start => {
                last.span.len += span.len;
                return seq;
            }
            Some(last) => last.next = fresh,
            None => {}
        }
        self.runs.push(Run {
            span,
            next: Seq::NO_RUN,
        });
        Seq {
            first: if seq.first == Seq::NO_RUN {
                fresh
            } else {
                seq.first
            },
            last: fresh,
        }
    }

    pub(crate) fn set_root(&mut self, root: NodeId) {
        self.root = root;
    }
}

/// The index of a node in the arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NodeId(u32);

/// Number of nodes before the first byte is read: the four constants of [`NodeId`].
const RESERVED: usize = 4;

/// Python has only one object for each of these values too. Each takes one node, however often it
/// occurs.
impl NodeId {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const FALSE: Self = Self(1);
    pub(crate) const TRUE: Self = Self(2);
    pub(crate) const EMPTY_TUPLE: Self = Self(3);

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// An object of the pickle.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Node<'a> {
    None,
    Bool(bool),
    Int(i64),
    BigInt(&'a [u8]),
    OwnBigInt(u32),
    Float(f64),
    Text(&'a str),
    Surrogates(&'a [u8]),
    OwnText(u32),
    Bytes(&'a [u8]),
    ByteArray(&'a [u8]),
    Tuple(Span),
    List(Seq),
    /// Keys and values in alternation.
    Dict(Seq),
    Set(Seq),
    FrozenSet(Span),
    Global {
        module: NodeId,
        name: NodeId,
    },
    Instance(u32),
}

/// The members of a container that was complete when its node was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    start: u32,
    len: u32,
}

/// The members of a container that may grow: a chain of runs, given by its first and its last run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seq {
    first: u32,
    last: u32,
}

impl Seq {
    const NO_RUN: u32 = u32::MAX;
    pub(crate) const EMPTY: Self = Self {
        first: Self::NO_RUN,
        last: Self::NO_RUN,
    };
}

/// Consecutive members, added by one instruction or by several in succession.
#[derive(Debug, Clone, Copy)]
struct Run {
    span: Span,
    next: u32,
}

/// The parts of an instance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Made {
    pub(crate) callable: NodeId,
    pub(crate) arguments: NodeId,
    pub(crate) keywords: Option<NodeId>,
    pub(crate) state: Option<NodeId>,
    pub(crate) items: Seq,
    pub(crate) entries: Seq,
}

/// Converts an index of one of the tables. No table is longer than the pickle.
fn number(place: usize) -> u32 {
    debug_assert!(
        u32::try_from(place).is_ok(),
        "bounded by the length of the pickle"
    );
    u32::try_from(place).unwrap_or(u32::MAX)
}
