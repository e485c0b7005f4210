//! How much is taken in: what does not fit stays with the submit side.
//!
//! Tasks that wait for a manager, those that a manager has not taken yet, and results that wait for
//! the executor are counted, and so is what the transport may have taken off the wire ahead of us,
//! as large as tasks were lately. Above the bound the task socket is not read: libzmq and TCP fill
//! up, and then tasks wait in the submit process. Below a lower mark they are taken again. A single
//! task larger than the bound is taken when nothing else is here. Managers that do not take their
//! tasks may use up a quarter of the bound and no more, and tasks that are read ahead a half: they
//! never shut out the tasks of others.

/// Results that the executor has not taken: above this no task is dispatched, because managers and
/// heartbeats share one socket, and only what is not dispatched gives no result.
const RESULTS_HELD_BYTES_MAX: usize = 256 << 20;

/// What managers have not taken counts up to this part of the bound, and what is read ahead up to
/// that. Both together are less than the mark at which tasks are taken again.
const UNSENT_BATCHES_PART: usize = 4;
const READ_AHEAD_PART: usize = 2;
/// So far below the bound tasks are taken again.
const LOW_MARK_PART: usize = 8;
/// Most tasks that are read ahead. Fewer cost more CPU: 31 cost 8 % more than 128, 15 cost 45 %.
const READ_AHEAD_MAX: usize = 128;
/// As many as are read ahead may be as large as this.
const LARGE_TASK_BYTES: usize = 16 << 20;
/// Beside them one is being received, and one is read next.
const ON_THEIR_WAY: usize = 2;
/// So many tasks are remembered for how large the next may be, at least.
const LATELY_TASKS: usize = 128;

/// How many tasks the transport should take off the wire before they are read, at the most.
pub fn read_ahead_tasks(bound_bytes: usize) -> usize {
    let large_tasks = bound_bytes / READ_AHEAD_PART / LARGE_TASK_BYTES;
    large_tasks.saturating_sub(1).clamp(1, READ_AHEAD_MAX)
}

/// What counts against the bound.
#[derive(Debug, Clone, Copy)]
pub struct HeldBytes {
    /// Of tasks that wait for a manager.
    pub queued: usize,
    /// Of tasks that were handed out, and are still here.
    pub unsent_batches: usize,
    /// Of results that wait for the executor.
    pub unsent_results: usize,
}

impl HeldBytes {
    /// All of them.
    pub fn all(self) -> usize {
        self.tasks().saturating_add(self.unsent_results)
    }

    fn tasks(self) -> usize {
        self.queued.saturating_add(self.unsent_batches)
    }
}

#[derive(Debug)]
pub(super) struct Intake {
    bound_bytes: usize,
    read_ahead_tasks: usize,
    is_open: bool,
    lately: Lately,
}

/// The largest of the tasks that came lately.
#[derive(Debug, Default)]
struct Lately {
    largest_bytes: usize,
    /// Of those before these.
    before_bytes: usize,
    tasks: usize,
}

impl Intake {
    pub(super) fn new(bound_bytes: usize, read_ahead_tasks: usize) -> Self {
        Self {
            bound_bytes,
            read_ahead_tasks,
            is_open: true,
            lately: Lately::default(),
        }
    }

    /// A task has come.
    pub(super) fn note_task(&mut self, bytes: usize) {
        let lately = &mut self.lately;
        if lately.tasks == LATELY_TASKS {
            *lately = Lately {
                before_bytes: lately.largest_bytes,
                ..Lately::default()
            };
        }
        lately.tasks += 1;
        lately.largest_bytes = lately.largest_bytes.max(bytes);
    }

    pub(super) fn bound_bytes(&self) -> usize {
        self.bound_bytes
    }

    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// What managers may not have taken, at the most.
    pub(super) fn unsent_batches_bytes_max(&self) -> usize {
        self.bound_bytes / UNSENT_BATCHES_PART
    }

    /// What tasks may take that have not been read.
    fn read_ahead_bytes(&self) -> usize {
        let largest = self.lately.largest_bytes.max(self.lately.before_bytes);
        let all = largest.saturating_mul(self.read_ahead_tasks + ON_THEIR_WAY);
        all.min(self.bound_bytes / READ_AHEAD_PART)
    }

    /// How much more is taken before the next decision.
    pub(super) fn room_bytes(&self, held: HeldBytes) -> usize {
        self.bound_bytes.saturating_sub(self.counted(held))
    }

    /// Whether tasks may leave, with so many bytes of results that cannot.
    pub(super) fn may_dispatch(&self, unsent_results_bytes: usize) -> bool {
        unsent_results_bytes < self.bound_bytes.min(RESULTS_HELD_BYTES_MAX)
    }

    /// Looks at what is held now.
    pub(super) fn decide(&mut self, held: HeldBytes) {
        let counted = self.counted(held);
        if self.is_open && counted >= self.bound_bytes {
            self.is_open = false;
            codes::log!(
                INTAKE_PAUSED,
                "Pausing intake: {} of tasks and {} of unsent results are held. Tasks wait in the \
                 submit process until less than {} are held. Nothing is lost. More \
                 workers would help, or a larger --max-queued-bytes",
                megabytes(held.tasks()),
                megabytes(held.unsent_results),
                megabytes(self.low_mark_bytes())
            );
        } else if !self.is_open && counted < self.low_mark_bytes() {
            self.is_open = true;
            codes::log!(
                INTAKE_RESUMED,
                "Resuming intake: {} are held",
                megabytes(held.all())
            );
        }
    }

    fn counted(&self, held: HeldBytes) -> usize {
        let unsent_batches = held.unsent_batches.min(self.unsent_batches_bytes_max());
        let counted = HeldBytes {
            unsent_batches,
            ..held
        };
        counted.all().saturating_add(self.read_ahead_bytes())
    }

    fn low_mark_bytes(&self) -> usize {
        self.bound_bytes - self.bound_bytes / LOW_MARK_PART
    }
}

fn megabytes(bytes: usize) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(queued: usize, unsent_batches: usize, unsent_results: usize) -> HeldBytes {
        HeldBytes {
            queued,
            unsent_batches,
            unsent_results,
        }
    }

    fn opens(intake: &mut Intake, held: HeldBytes) -> bool {
        intake.decide(held);
        intake.is_open()
    }

    #[test]
    fn shut_at_the_bound_and_open_below_the_mark() {
        let mut intake = Intake::new(1000, 1);
        assert!(opens(&mut intake, held(600, 0, 399)));
        assert!(!opens(&mut intake, held(600, 0, 400)));
        assert!(!opens(&mut intake, held(5000, 0, 0)));
        assert!(!opens(&mut intake, held(775, 100, 0)));
        assert!(opens(&mut intake, held(0, 0, 874)));
    }

    #[test]
    fn a_bound_below_every_task_lets_them_in_one_by_one() {
        let mut intake = Intake::new(1, 1);
        intake.note_task(50);
        assert!(!opens(&mut intake, held(50, 0, 0)));
        assert!(opens(&mut intake, held(0, 0, 0)));
    }

    #[test]
    fn managers_that_take_nothing_do_not_shut_it() {
        let mut intake = Intake::new(1000, 1);
        assert!(opens(&mut intake, held(749, 1 << 40, 0)));
        assert_eq!(intake.room_bytes(held(400, 1 << 40, 0)), 350);
        assert!(!opens(&mut intake, held(750, 250, 0)));
        assert!(opens(&mut intake, held(624, 1 << 40, 0)));
    }

    #[test]
    fn what_is_read_ahead_counts_as_large_as_tasks_were_lately() {
        let mut intake = Intake::new(1000, 1);
        intake.note_task(100);
        assert_eq!(intake.room_bytes(held(0, 0, 0)), 700);
        // However large they are, and whatever managers do not take.
        intake.note_task(1 << 40);
        assert_eq!(intake.room_bytes(held(0, 0, 0)), 500);
        assert!(!opens(&mut intake, held(250, 250, 0)));
        assert!(opens(&mut intake, held(124, 1 << 40, 0)));
        for _ in 0..2 * LATELY_TASKS {
            intake.note_task(10);
        }
        assert_eq!(intake.room_bytes(held(0, 0, 0)), 970);
    }

    #[test]
    fn fewer_are_read_ahead_below_a_small_bound() {
        let ahead = [0, 100_000_000, 1 << 30, usize::MAX].map(read_ahead_tasks);
        assert_eq!(ahead, [1, 1, 31, 128]);
    }

    #[test]
    fn results_that_cannot_leave_stop_the_dispatch() {
        let intake = Intake::new(1000, 1);
        assert!(intake.may_dispatch(999));
        assert!(!intake.may_dispatch(1000));
        assert!(!Intake::new(usize::MAX, 1).may_dispatch(RESULTS_HELD_BYTES_MAX));
    }
}
