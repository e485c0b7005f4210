//! The tasks that the executor sends on the task channel: one pickled dict for each task.
//!
//! The dict is `{task_id, context: {resource_spec?: {priority?}}, buffer}` since 2025.09.29. Before
//! that, `resource_spec` was at the top level (guide/protocol, P-1.4.16). The interchange reads
//! only the id, the priority and the requirements on the manager (`needs`), and carries the rest.

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

/// A task: the values that routing needs, and the body that the manager gets.
#[derive(Debug)]
pub struct Task<B> {
    /// The executor's number for the task.
    pub id: TaskId,
    /// The task's place in the queue.
    pub priority: Priority,
    /// A name that the task looks up and that a manager may not be able to import. Such a task is
    /// sent in a batch of its own.
    pub foreign_name: Option<Box<str>>,
    /// The task's requirements on its manager, if it has any.
    pub needs: Option<Box<Needs>>,
    /// The whole message, for the manager.
    pub body: B,
}

/// A task message that cannot be passed on. If its id was found, the executor must get an answer.
#[derive(Debug)]
pub struct UnreadableTask {
    /// The task's id, if it was found.
    pub id: Option<AnyTaskId>,
    /// The error in the message.
    pub reason: Malformed,
}

impl<F: AsRef<[u8]>> Task<Opaque<F>> {
    /// Reads a task from its one frame. `stay` is the time that the task is expected to wait.
    ///
    /// # Errors
    /// The frame is not a task, or is a task that no manager could load.
    pub fn parse(frame: F, stay: Stay, unread: &mut UnreadWords) -> Result<Self, UnreadableTask> {
        let flat = Flat::read(frame.as_ref());
        // Matched by reference: the value of half a kilobyte would otherwise be copied into a
        // closure.
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
            // A flat dict contains no names.
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

/// Reads a task of the shape that HTEX writes. Returns `None` for any other shape, which is read by
/// way of a tree.
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
    // Nearly every task has no requirements, and so no more entries than these: the id, the buffer,
    // and the context or the resource specification in its place, plus the entries that were found
    // inside.
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

/// The facts read from a task of any shape.
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

/// Reads only the id of a task that has too many objects for a tree. Such a task is valid and is
/// carried.
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
                "Ignoring the priority and the resource requests of task {id}: the task is too \
                 complex to scan: {error}"
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
    Malformed::shape(format!("task id {id} has more than 64 bits"))
}

impl UnreadableTask {
    /// Removes the id −1. An exception under −1 would fail every task, so this task gets no answer.
    fn not_for_everybody(mut self) -> Self {
        self.id = self.id.filter(|id| *id != AnyTaskId::Ordinary(TaskId(-1)));
        self
    }
}

/// The values that are needed from a task, found in one walk through each of its dicts.
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
        // Values in the context take precedence over those beside it.
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

/// Returns the id of a valid task.
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
    // The manager uses the buffer without a check; a task without a buffer would end its thread.
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
            "Task {id} gets the lowest priority: its priority is {kind}, not a number"
        );
        Priority::LOWEST
    })
}

/// Finds the id of a task whose pickle is broken after the id.
///
/// HTEX writes the id first, so it is usually complete even if the message is cut.
fn unreadable(bytes: &[u8], error: PickleError) -> UnreadableTask {
    let mut rest = bytes;
    let mut instructions = Instructions::new(rest);
    let mut behind_key = false;
    let mut id = None;
    loop {
        let offset = instructions.offset();
        let Ok(instruction) = instructions.next() else {
            // A frame that arrived only in part is searched too.
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
