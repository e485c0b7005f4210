//! What the executor sends on the task channel: one pickled dict a task.
//!
//! `{task_id, context: {resource_spec?: {priority?}}, buffer}` since 2025.09.29; before that
//! `resource_spec` stood at the top (PROTOCOL.md 1.4). Only the id and the priority are ours to
//! know; the rest is carried.

use tracing::warn;

use crate::foreign_names::{foreign_name, unseen_name};
use crate::ids::{AnyTaskId, TaskId, WideTaskId};
use crate::malformed::Malformed;
use crate::needs::Needs;
use crate::opaque::{Opaque, Stay};
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
    pub fn parse(frame: F, stay: Stay) -> Result<Self, UnreadableTask> {
        let plain = Flat::read(frame.as_ref()).and_then(|task| {
            let routing = plain_routing(&task)?;
            Some((routing, task.into_program()))
        });
        let Some(((id, priority), program)) = plain else {
            return Self::parse_thoroughly(frame, stay);
        };
        Ok(Self {
            id,
            priority,
            // A flat dict names nothing.
            foreign_name: None,
            needs: None,
            body: Opaque::object(frame, program, stay),
        })
    }

    fn parse_thoroughly(frame: F, stay: Stay) -> Result<Self, UnreadableTask> {
        let bytes = frame.as_ref();
        let program = match pickle::scan(bytes) {
            Ok(program) => program,
            Err(error) => return Err(unreadable(bytes, error)),
        };
        let (id, priority, foreign_name) = thorough_routing(&program, bytes)?;
        Ok(Self {
            id,
            priority,
            foreign_name,
            needs: None,
            body: Opaque::object(frame, program, stay),
        })
    }
}

/// The shape that HTEX writes. None for any other, which is read thoroughly.
fn plain_routing(task: &Flat<'_>) -> Option<(TaskId, Priority)> {
    let id = TaskId::of_flat(task.get("task_id")?)?;
    task.get("buffer")?;
    let spec = match task.get("context") {
        Some(FlatValue::Dict(context)) => task.entry_of(context, "resource_spec"),
        _ => None,
    };
    let number = match spec.or_else(|| task.get("resource_spec")) {
        Some(FlatValue::Dict(spec)) => task.entry_of(spec, "priority"),
        _ => None,
    };
    let priority = match number {
        None => Priority::LOWEST,
        Some(FlatValue::Int(number)) => Priority::from_i64(number),
        Some(FlatValue::Float(number)) => Priority::from_f64(number)?,
        Some(_) => return None,
    };
    Some((id, priority))
}

/// What is read of a task in whatever form it comes.
type Read = (TaskId, Priority, Option<Box<str>>);

fn thorough_routing(program: &Program, bytes: &[u8]) -> Result<Read, UnreadableTask> {
    let tree = match Tree::read(bytes) {
        Ok(tree) => tree,
        Err(error) => return carried_blindly(program, bytes, error),
    };
    match routing(tree.root()) {
        Ok((id, priority)) => Ok((id, priority, foreign_name(program, bytes, &tree))),
        Err(reason) => Err(UnreadableTask {
            id: tree.root().get("task_id").and_then(AnyTaskId::read),
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
            warn!("The priority of task {id} is not looked for, it gets the lowest: {error}");
            Ok((id, Priority::LOWEST, unseen_name(program)))
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

fn routing(task: View<'_, '_>) -> Result<(TaskId, Priority), Malformed> {
    if !task.is_dict() {
        let kind = task.kind_name();
        return Err(Malformed::shape(format!(
            "a task should be a dict, not {kind}"
        )));
    }
    let id = task.get("task_id").and_then(AnyTaskId::read);
    let id = match id.ok_or_else(|| Malformed::shape("a task needs a 'task_id', an int"))? {
        AnyTaskId::Ordinary(id) => id,
        AnyTaskId::Wide(id) => return Err(beyond(&id)),
    };
    // The manager takes the buffer without a look; a task without one would end its thread.
    if task.get("buffer").is_none() {
        return Err(Malformed::shape("a task needs a 'buffer'"));
    }
    Ok((id, priority(task, id)))
}

fn priority(task: View<'_, '_>, id: TaskId) -> Priority {
    let spec = task
        .get("context")
        .and_then(|context| context.get("resource_spec"))
        .or_else(|| task.get("resource_spec"));
    let Some(number) = spec.and_then(|spec| spec.get("priority")) else {
        return Priority::LOWEST;
    };
    Priority::read(number).unwrap_or_else(|| {
        let kind = number.kind_name();
        warn!("The priority of task {id} is {kind} that is no number; it gets the lowest");
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
