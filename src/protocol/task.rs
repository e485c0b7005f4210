//! What the executor sends on the task channel: one pickled dict a task.
//!
//! `{task_id, context: {resource_spec?: {priority?}}, buffer}` since 2025.09.29; before that
//! `resource_spec` stood at the top (guide/protocol, P-1.4.16). Only the id, the priority and what
//! it asks of its manager (`needs`) are ours to know; the rest is carried.

use crate::foreign_names::{foreign_name, unseen_name};
use crate::ids::{AnyTaskId, TaskId, WideTaskId};
use crate::malformed::Malformed;
use crate::needs::Needs;
use crate::opaque::{Opaque, Stay};
use crate::placement::{self, FlatPlace, UnreadWords, Value};
use crate::priority::Priority;
use pickle::{
    self, Arg, FRAME_HEADER_LEN, Fault, Flat, FlatValue, Instructions, PickleError, Program, Tree,
    View, op,
};

/// A task: what we route by, and the body that the manager will get.
#[derive(Debug)]
pub struct Task<B> {
    /// The executor's number.
    pub id: TaskId,
    /// Its place among those that wait.
    pub priority: Priority,
    /// A name that it looks up, and that a manager may not be able to import: such a task stands in
    /// no batch beside others.
    pub foreign_name: Option<Box<str>>,
    /// What it asks of the manager that is to run it, if it asks for anything.
    pub needs: Option<Box<Needs>>,
    /// The whole message, for the manager.
    pub body: B,
}

/// A task message that cannot be passed on. If its id could be found, the executor is owed an
/// answer.
#[derive(Debug)]
pub struct UnreadableTask {
    /// If it could be found.
    pub id: Option<AnyTaskId>,
    /// What is wrong.
    pub reason: Malformed,
}

impl<F: AsRef<[u8]>> Task<Opaque<F>> {
    /// Reads the one frame of a task; `stay` says how long it will wait as a rule.
    ///
    /// # Errors
    /// It is no task, or one that no manager could take.
    pub fn parse(frame: F, stay: Stay, unread: &mut UnreadWords) -> Result<Self, UnreadableTask> {
        let flat = Flat::read(frame.as_ref());
        // By reference: what was read is half a kilobyte, and would be copied into a closure.
        let routing = match &flat {
            Some(task) => plain_routing(task, unread),
            None => None,
        };
        let program = flat.map(Flat::into_program);
        let (Some((id, priority, needs)), Some(program)) = (routing, program) else {
            return Self::parse_thoroughly(frame, stay, unread);
        };
        Ok(Self {
            id,
            priority,
            // A flat dict names nothing.
            foreign_name: None,
            needs,
            body: Opaque::object(frame, program, stay),
        })
    }

    fn parse_thoroughly(
        frame: F,
        stay: Stay,
        unread: &mut UnreadWords,
    ) -> Result<Self, UnreadableTask> {
        let bytes = frame.as_ref();
        let program = match pickle::scan(bytes) {
            Ok(program) => program,
            Err(error) => return Err(unreadable(bytes, error)),
        };
        let read = thorough_routing(&program, bytes, unread)?;
        Ok(Self {
            id: read.id,
            priority: read.priority,
            foreign_name: read.foreign_name,
            needs: read.needs,
            body: Opaque::object(frame, program, stay),
        })
    }
}

/// The shape that HTEX writes. None for any other, which is read thoroughly.
fn plain_routing(
    task: &Flat<'_>,
    unread: &mut UnreadWords,
) -> Option<(TaskId, Priority, Option<Box<Needs>>)> {
    let id = TaskId::of_flat(task.get("task_id")?)?;
    task.get("buffer")?;
    let context = match task.get("context") {
        Some(FlatValue::Dict(context)) => Some(context),
        _ => None,
    };
    let of_context = |key| task.entry_of(context?, key);
    let spec_of_context = of_context("resource_spec");
    let spec = spec_of_context.or_else(|| task.get("resource_spec"));
    let number = match spec {
        Some(FlatValue::Dict(spec)) => task.entry_of(spec, "priority"),
        _ => None,
    };
    let priority = match number {
        None => Priority::LOWEST,
        Some(FlatValue::Int(number)) => Priority::from_i64(number),
        Some(FlatValue::Float(number)) => Priority::from_f64(number)?,
        Some(_) => return None,
    };
    // Nearly every task asks for nothing, and has no more entries than these: its id, the buffer,
    // the context, or the specification in its place; and what was found in them.
    let has_more = task.entry_count()
        > 3 + usize::from(spec_of_context.is_some()) + usize::from(number.is_some());
    let needs = match has_more {
        true => {
            let placement = of_context("placement").or_else(|| task.get("placement"));
            let [placement, spec] = [placement, spec].map(|it| Some(FlatPlace::new(task, it?)));
            placement::read(placement, spec, id, unread)
        }
        false => None,
    };
    Some((id, priority, needs))
}

/// What is read of a task in whatever form it comes.
struct Read {
    id: TaskId,
    priority: Priority,
    foreign_name: Option<Box<str>>,
    needs: Option<Box<Needs>>,
}

fn thorough_routing(
    program: &Program,
    bytes: &[u8],
    unread: &mut UnreadWords,
) -> Result<Read, UnreadableTask> {
    let tree = match Tree::read(bytes) {
        Ok(tree) => tree,
        Err(error) => return carried_blindly(program, bytes, error),
    };
    let task = tree.root();
    let parts = Parts::of(task);
    match task_id(task, &parts) {
        Ok(id) => Ok(Read {
            id,
            priority: priority(parts.priority, id),
            foreign_name: foreign_name(program, bytes, &tree),
            needs: placement::read(parts.placement, parts.spec, id, unread),
        }),
        Err(reason) => Err(UnreadableTask {
            id: parts.id.and_then(AnyTaskId::read),
            reason,
        }
        .not_for_everybody()),
    }
}

/// A task of too many objects to be looked through is sound all the same, and is carried.
fn carried_blindly(
    program: &Program,
    bytes: &[u8],
    error: PickleError,
) -> Result<Read, UnreadableTask> {
    let found = unreadable(bytes, error);
    match (error.fault, found.id) {
        (Fault::TooComplex | Fault::TooLong, Some(AnyTaskId::Ordinary(id))) => {
            codes::log!(
                TASK_TOO_COMPLEX,
                "Ignoring the priority and the needs of task {id}, too complex to scan: {error}"
            );
            Ok(Read {
                id,
                priority: Priority::LOWEST,
                foreign_name: unseen_name(program),
                needs: None,
            })
        }
        (Fault::TooComplex | Fault::TooLong, Some(AnyTaskId::Wide(id))) => Err(UnreadableTask {
            reason: beyond(&id),
            id: Some(AnyTaskId::Wide(id)),
        }),
        (_, id) => Err(UnreadableTask {
            id,
            reason: found.reason,
        }),
    }
}

fn beyond(id: &WideTaskId) -> Malformed {
    Malformed::shape(format!(
        "task ids have up to 64 bits here, and {id} has more"
    ))
}

impl UnreadableTask {
    /// An exception under −1 would fail every task: a task of that number is not answered with one.
    fn not_for_everybody(mut self) -> Self {
        self.id = self.id.filter(|id| *id != AnyTaskId::Ordinary(TaskId(-1)));
        self
    }
}

/// What is looked for in a tree, in one walk through each of its dicts.
struct Parts<'t, 'a> {
    id: Option<View<'t, 'a>>,
    buffer: Option<View<'t, 'a>>,
    priority: Option<View<'t, 'a>>,
    placement: Option<View<'t, 'a>>,
    spec: Option<View<'t, 'a>>,
}

impl<'t, 'a> Parts<'t, 'a> {
    fn of(task: View<'t, 'a>) -> Self {
        let (mut id, mut buffer, mut context) = (None, None, None);
        let (mut spec, mut placement) = (None, None);
        task.visit(|key, value| match key {
            b"task_id" => id = Some(value),
            b"buffer" => buffer = Some(value),
            b"context" => context = Some(value),
            b"resource_spec" => spec = Some(value),
            b"placement" => placement = Some(value),
            _ => {}
        });
        // What stands in the context goes before what stands beside it.
        if let Some(context) = context {
            context.visit(|key, value| match key {
                b"resource_spec" => spec = Some(value),
                b"placement" => placement = Some(value),
                _ => {}
            });
        }
        Self {
            id,
            buffer,
            priority: spec.and_then(|spec| spec.get("priority")),
            placement,
            spec,
        }
    }
}

/// That of what can be a task.
fn task_id(task: View<'_, '_>, parts: &Parts<'_, '_>) -> Result<TaskId, Malformed> {
    if !task.is_dict() {
        let kind = task.kind_name();
        return Err(Malformed::shape(format!(
            "a task should be a dict, not {kind}"
        )));
    }
    let id = parts.id.and_then(AnyTaskId::read);
    let id = match id.ok_or_else(|| Malformed::shape("a task needs a 'task_id', an int"))? {
        AnyTaskId::Ordinary(id) => id,
        AnyTaskId::Wide(id) => return Err(beyond(&id)),
    };
    // The manager takes the buffer without a look; a task without one would end its thread.
    if parts.buffer.is_none() {
        return Err(Malformed::shape("a task needs a 'buffer'"));
    }
    Ok(id)
}

fn priority(number: Option<View<'_, '_>>, id: TaskId) -> Priority {
    let Some(number) = number else {
        return Priority::LOWEST;
    };
    Priority::read(number).unwrap_or_else(|| {
        let kind = number.kind_name();
        codes::log!(
            PRIORITY_UNREADABLE,
            "Task {id} gets the lowest priority: its own is {kind}, not a number"
        );
        Priority::LOWEST
    })
}

/// Looks for the id of a task whose pickle is broken somewhere behind it.
///
/// HTEX writes the id first, so it is usually whole in what arrived.
fn unreadable(bytes: &[u8], error: PickleError) -> UnreadableTask {
    let mut rest = bytes;
    let mut instructions = Instructions::new(rest);
    let mut behind_key = false;
    let mut id = None;
    loop {
        let offset = instructions.offset();
        let Ok(instruction) = instructions.next() else {
            // A frame of which only a part has come is looked into all the same.
            if rest.get(offset) != Some(&op::FRAME) {
                break;
            }
            rest = rest.get(offset + FRAME_HEADER_LEN..).unwrap_or_default();
            instructions = Instructions::new(rest);
            continue;
        };
        match (&instruction.arg, instruction.code) {
            (Arg::Int(number), op::BININT | op::BININT1 | op::BININT2 | op::LONG1)
                if behind_key =>
            {
                id = Some(AnyTaskId::Ordinary(TaskId(*number)));
                break;
            }
            (Arg::BigInt(bytes), _) if behind_key => {
                id = WideTaskId::new(bytes).map(AnyTaskId::Wide);
                break;
            }
            (_, op::NEWFALSE | op::NEWTRUE) if behind_key => {
                let number = i64::from(instruction.code == op::NEWTRUE);
                id = Some(AnyTaskId::Ordinary(TaskId(number)));
                break;
            }
            (_, op::MEMOIZE | op::BINPUT | op::LONG_BINPUT | op::PUT | op::FRAME) => {}
            (Arg::Text(text), _) => behind_key = *text == "task_id",
            (_, op::STOP) => break,
            _ => behind_key = false,
        }
    }
    UnreadableTask {
        id,
        reason: error.into(),
    }
    .not_for_everybody()
}
