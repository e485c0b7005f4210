//! The stack machine that builds a [`Tree`] from a pickle.
//!
//! The machine moves node numbers where Python moves objects. The marks count how many objects an
//! instruction may touch, so the stack is never searched.

use crate::error::Fault;
use crate::instruction::{Arg, Instruction};
use crate::marks::Marks;
use crate::memo::Entries;
use crate::op;
use crate::tree::{Made, Node, NodeId, Seq, Tree};

/// The state of the machine.
pub(crate) struct Reader<'a> {
    tree: Tree<'a>,
    stack: Vec<NodeId>,
    marks: Marks,
    memo: Entries<NodeId>,
}

impl<'a> Reader<'a> {
    /// Creates a machine for a pickle of `len` bytes.
    pub(crate) fn new(len: usize) -> Self {
        Self {
            tree: Tree::new(),
            stack: Vec::new(),
            marks: Marks::new(),
            memo: Entries::new(len),
        }
    }

    pub(crate) fn into_tree(self, root: NodeId) -> Tree<'a> {
        let mut tree = self.tree;
        tree.set_root(root);
        tree
    }

    /// Executes one instruction. At STOP it returns the result of the pickle.
    pub(crate) fn step(&mut self, instruction: &Instruction<'a>) -> Result<Option<NodeId>, Fault> {
        match (instruction.code, instruction.arg) {
            (op::STOP, _) => return self.pop().map(Some),
            (op::PROTO | op::FRAME, _) => {}
            (op::MARK, _) => self.marks.open(),
            (op::POP, _) if self.marks.above() == 0 => {
                self.marks.close().map_err(|_| Fault::StackUnderflow)?;
            }
            (op::POP, _) => self.pop().map(drop)?,
            (op::POP_MARK, _) => {
                let count = self.marks.close()?;
                self.unstack(count);
            }
            (op::DUP, _) => self.top().map(|id| self.push(id))?,
            (op::MEMOIZE, _) => self.top().and_then(|id| self.memo.write_next(id))?,
            (op::PUT | op::BINPUT | op::LONG_BINPUT, Arg::Index(index)) => {
                self.top().and_then(|id| self.memo.write(index, id))?;
            }
            (op::GET | op::BINGET | op::LONG_BINGET, Arg::Index(index)) => {
                self.memo.read(index).map(|id| self.push(id))?;
            }
            (op::TUPLE1, _) => self.take(1).map(|count| self.tuple(count))?,
            (op::TUPLE2, _) => self.take(2).map(|count| self.tuple(count))?,
            (op::TUPLE3, _) => self.take(3).map(|count| self.tuple(count))?,
            (op::TUPLE, _) => self.marks.close().map(|count| self.tuple(count))?,
            (op::LIST | op::DICT | op::FROZENSET, _) => self.collect(instruction.code)?,
            (op::APPEND | op::APPENDS | op::ADDITEMS | op::SETITEM | op::SETITEMS, _) => {
                self.fill(instruction.code)?;
            }
            (op::GLOBAL, Arg::Names(module, name)) => {
                let global = self.global(module, name);
                self.push(global);
            }
            (op::STACK_GLOBAL, _) => self.stack_global()?,
            (op::REDUCE | op::NEWOBJ | op::NEWOBJ_EX, _) => self.call(instruction.code)?,
            (op::OBJ, _) => {
                let count = self
                    .marks
                    .close()?
                    .checked_sub(1)
                    .ok_or(Fault::StackUnderflow)?;
                self.tuple(count);
                let arguments = self.pop()?;
                let callable = self.stack.pop().ok_or(Fault::StackUnderflow)?;
                self.make(callable, arguments, None)?;
            }
            (op::INST, Arg::Names(module, name)) => {
                let count = self.marks.close()?;
                self.tuple(count);
                let arguments = self.pop()?;
                let callable = self.global(module, name);
                self.make(callable, arguments, None)?;
            }
            (op::BUILD, _) => self.build()?,
            (op::PERSID | op::BINPERSID, _) => return Err(Fault::PersistentId),
            (op::EXT1 | op::EXT2 | op::EXT4, _) => return Err(Fault::Extension),
            (op::NEXT_BUFFER | op::READONLY_BUFFER, _) => return Err(Fault::OutOfBandBuffer),
            (code, arg) => self.value(code, arg).map(|id| self.push(id))?,
        }
        Ok(None)
    }

    /// Returns the node for an instruction that pushes a new value.
    fn value(&mut self, code: u8, arg: Arg<'a>) -> Result<NodeId, Fault> {
        let node = match (code, arg) {
            (op::NONE, _) => return Ok(NodeId::NONE),
            (op::NEWFALSE, _) | (_, Arg::Bool(false)) => return Ok(NodeId::FALSE),
            (op::NEWTRUE, _) | (_, Arg::Bool(true)) => return Ok(NodeId::TRUE),
            (op::EMPTY_TUPLE, _) => return Ok(NodeId::EMPTY_TUPLE),
            (op::EMPTY_LIST, _) => Node::List(Seq::EMPTY),
            (op::EMPTY_DICT, _) => Node::Dict(Seq::EMPTY),
            (op::EMPTY_SET, _) => Node::Set(Seq::EMPTY),
            (op::BYTEARRAY8, Arg::Bytes(bytes)) => Node::ByteArray(bytes),
            (_, Arg::Bytes(bytes)) => Node::Bytes(bytes),
            (_, Arg::Int(value)) => Node::Int(value),
            (_, Arg::Float(value)) => Node::Float(value),
            (_, Arg::BigInt(bytes)) => Node::BigInt(bytes),
            (_, Arg::BigText(digits)) => Node::OwnBigInt(self.tree.own(digits.to_le_bytes())),
            (_, Arg::Text(text)) => Node::Text(text),
            (_, Arg::Surrogates(bytes)) => Node::Surrogates(bytes),
            (_, Arg::Escaped(text)) => Node::OwnText(self.tree.own(text.decode())),
            (unknown, _) => return Err(Fault::UnknownOpcode(unknown)),
        };
        Ok(self.tree.add(node))
    }

    /// Makes a container of everything above the topmost mark.
    fn collect(&mut self, code: u8) -> Result<(), Fault> {
        let count = self.marks.close()?;
        let node = match code {
            op::LIST => Node::List(self.extend(Seq::EMPTY, count)),
            op::DICT => {
                self.check_entries(count)?;
                Node::Dict(self.extend(Seq::EMPTY, count))
            }
            _ => {
                self.check_keys(count, 1)?;
                let members = self.stack.drain(self.stack.len().saturating_sub(count)..);
                Node::FrozenSet(self.tree.add_span(members))
            }
        };
        let id = self.tree.add(node);
        self.push(id);
        Ok(())
    }

    /// Puts the topmost objects into the container below them.
    fn fill(&mut self, code: u8) -> Result<(), Fault> {
        let count = match code {
            op::APPEND => self.take(1)?,
            op::SETITEM => self.take(2)?,
            _ => self.marks.close()?,
        };
        let is_pairs = matches!(code, op::SETITEM | op::SETITEMS);
        if is_pairs && !count.is_multiple_of(2) {
            return Err(Fault::OddItems);
        }
        if self.marks.above() == 0 {
            return Err(Fault::StackUnderflow);
        }
        if count == 0 {
            return Ok(()); // CPython does not check the container in this case
        }
        let below = self
            .stack
            .len()
            .checked_sub(count + 1)
            .and_then(|at| self.stack.get(at));
        let container = *below.ok_or(Fault::StackUnderflow)?;
        match *self.tree.node(container) {
            Node::List(seq) if matches!(code, op::APPEND | op::APPENDS) => {
                let seq = self.extend(seq, count);
                self.tree.replace(container, Node::List(seq));
            }
            Node::Set(seq) if code == op::ADDITEMS => {
                self.check_keys(count, 1)?;
                let seq = self.extend(seq, count);
                self.tree.replace(container, Node::Set(seq));
            }
            Node::Dict(seq) if is_pairs => {
                self.check_entries(count)?;
                let seq = self.extend(seq, count);
                self.tree.replace(container, Node::Dict(seq));
            }
            Node::Instance(place) => self.fill_instance(place, count, is_pairs),
            // A global may be any object, so the change is accepted. The change is not recorded,
            // because the object is not part of the pickle.
            Node::Global { .. } => self.unstack(count),
            Node::None
            | Node::Bool(_)
            | Node::Int(_)
            | Node::BigInt(_)
            | Node::OwnBigInt(_)
            | Node::Float(_)
            | Node::Text(_)
            | Node::Surrogates(_)
            | Node::OwnText(_)
            | Node::Bytes(_)
            | Node::ByteArray(_)
            | Node::Tuple(_)
            | Node::List(_)
            | Node::Dict(_)
            | Node::Set(_)
            | Node::FrozenSet(_) => return Err(Fault::WrongType),
        }
        Ok(())
    }

    fn fill_instance(&mut self, place: u32, count: usize, is_pairs: bool) {
        let Some(mut made) = self.tree.made(place).copied() else {
            return;
        };
        if is_pairs {
            made.entries = self.extend(made.entries, count);
        } else {
            made.items = self.extend(made.items, count);
        }
        if let Some(slot) = self.tree.made_mut(place) {
            *slot = made;
        }
    }

    fn call(&mut self, code: u8) -> Result<(), Fault> {
        let keywords = if code == op::NEWOBJ_EX {
            Some(self.pop()?)
        } else {
            None
        };
        let arguments = self.pop()?;
        let callable = self.pop()?;
        self.make(callable, arguments, keywords)
    }

    /// Pushes an instance. A call that would fail whatever the classes are is refused.
    fn make(
        &mut self,
        callable: NodeId,
        arguments: NodeId,
        keywords: Option<NodeId>,
    ) -> Result<(), Fault> {
        let node = |id| self.tree.node(id);
        let can_be_called = matches!(node(callable), Node::Global { .. } | Node::Instance(_));
        let can_be_tuple = matches!(node(arguments), Node::Tuple(_) | Node::Instance(_));
        let can_be_dict =
            keywords.is_none_or(|id| matches!(node(id), Node::Dict(_) | Node::Instance(_)));
        if !(can_be_called && can_be_tuple && can_be_dict) {
            return Err(Fault::WrongType);
        }
        let (items, entries) = (Seq::EMPTY, Seq::EMPTY);
        let made = Made {
            callable,
            arguments,
            keywords,
            state: None,
            items,
            entries,
        };
        let id = self.tree.add_made(made);
        self.push(id);
        Ok(())
    }

    /// Records the state of an instance. Any other object may apply or reject the state, but
    /// remains the same object, so its node is not changed.
    fn build(&mut self) -> Result<(), Fault> {
        let state = self.pop()?;
        let instance = self.top()?;
        if let Node::Instance(place) = *self.tree.node(instance)
            && let Some(made) = self.tree.made_mut(place)
        {
            made.state = Some(state);
        }
        Ok(())
    }

    fn global(&mut self, module: &'a str, name: &'a str) -> NodeId {
        let (module, name) = (
            self.tree.add(Node::Text(module)),
            self.tree.add(Node::Text(name)),
        );
        self.tree.add(Node::Global { module, name })
    }

    fn stack_global(&mut self) -> Result<(), Fault> {
        let name = self.pop()?;
        let module = self.pop()?;
        let is_text = |id| {
            let node = self.tree.node(id);
            matches!(node, Node::Text(_) | Node::OwnText(_) | Node::Surrogates(_))
        };
        if !(is_text(module) && is_text(name)) {
            return Err(Fault::WrongType);
        }
        let id = self.tree.add(Node::Global { module, name });
        self.push(id);
        Ok(())
    }

    fn check_entries(&self, count: usize) -> Result<(), Fault> {
        if count.is_multiple_of(2) {
            self.check_keys(count, 2)
        } else {
            Err(Fault::OddItems)
        }
    }

    /// Checks that Python can hash every `step`th of the topmost objects.
    fn check_keys(&self, count: usize, step: usize) -> Result<(), Fault> {
        let from = self.stack.len().saturating_sub(count);
        let mut keys = self
            .stack
            .get(from..)
            .unwrap_or_default()
            .iter()
            .step_by(step);
        let is_hashable = |id: &NodeId| {
            let node = self.tree.node(*id);
            !matches!(
                node,
                Node::List(_) | Node::Dict(_) | Node::Set(_) | Node::ByteArray(_)
            )
        };
        if keys.all(is_hashable) {
            Ok(())
        } else {
            Err(Fault::Unhashable)
        }
    }

    /// Makes a tuple of the topmost objects, which `marks` no longer counts.
    fn tuple(&mut self, count: usize) {
        let id = if count == 0 {
            NodeId::EMPTY_TUPLE
        } else {
            let members = self.stack.drain(self.stack.len().saturating_sub(count)..);
            let span = self.tree.add_span(members);
            self.tree.add(Node::Tuple(span))
        };
        self.push(id);
    }

    /// Moves the topmost objects, which `marks` no longer counts, to the end of a container.
    fn extend(&mut self, seq: Seq, count: usize) -> Seq {
        let members = self.stack.drain(self.stack.len().saturating_sub(count)..);
        self.tree.extend(seq, members)
    }

    /// Drops the topmost objects, which `marks` no longer counts.
    fn unstack(&mut self, count: usize) {
        self.stack.truncate(self.stack.len().saturating_sub(count));
    }

    fn push(&mut self, id: NodeId) {
        self.marks.push_object();
        self.stack.push(id);
    }

    fn pop(&mut self) -> Result<NodeId, Fault> {
        self.take(1)?;
        self.stack.pop().ok_or(Fault::StackUnderflow)
    }

    fn top(&self) -> Result<NodeId, Fault> {
        match self.marks.above() {
            0 => Err(Fault::StackUnderflow),
            _ => self.stack.last().copied().ok_or(Fault::StackUnderflow),
        }
    }

    fn take(&mut self, count: usize) -> Result<usize, Fault> {
        self.marks.replace(count, 0)?;
        Ok(count)
    }
}
