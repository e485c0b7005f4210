//! Limits how many tasks are taken from the executor; the rest stays on the submit side.
//!
//! The count includes queued tasks, dispatched tasks that a manager has not taken yet, and results
//! that the executor has not taken yet. It also includes tasks that the transport may have read
//! ahead, estimated from the size of recent tasks. Above the bound the task socket is not read:
//! libzmq and TCP fill up, and then tasks wait in the submit process. Below a lower mark tasks are
//! taken again. A single task larger than the bound is taken if nothing else is held.
//!
//! Managers that do not read use at most a quarter of the bound, and tasks that are read ahead at
//! most half. So they never block the tasks of others.

/// Maximum size of results that the executor has not taken. Above this no task is dispatched:
/// results and heartbeats arrive by the same socket, which must be read, so only fewer dispatched
/// tasks mean fewer results.
const RESULTS_HELD_BYTES_MAX: usize = 256 << 20;

/// Fractions of the bound up to which batches not taken by managers (1/4) and tasks read ahead
/// (1/2) count. Together they are less than the mark at which tasks are taken again.
const UNSENT_BATCHES_PART: usize = 4;
const READ_AHEAD_PART: usize = 2;
/// The mark below which tasks are taken again lies this fraction (1/8) of the bound below it.
const LOW_MARK_PART: usize = 8;
/// Maximum number of tasks that are read ahead. Fewer cost more CPU: 31 cost 8 % more than 128, and
/// 15 cost 45 % more.
const READ_AHEAD_MAX: usize = 128;
/// Assumed size of a large task, from which a small bound gets its number of tasks read ahead.
const LARGE_TASK_BYTES: usize = 16 << 20;
/// Tasks in memory besides those read ahead: one is being received, and one is read next.
const ON_THEIR_WAY: usize = 2;
/// Minimum number of recent tasks whose largest size predicts the size of the next tasks.
const LATELY_TASKS: usize = 128;

/// Returns how many tasks the transport may read ahead.
pub fn read_ahead_tasks(bound_bytes: usize) -> usize {
    let large_tasks = bound_bytes / READ_AHEAD_PART / LARGE_TASK_BYTES;
    large_tasks.saturating_sub(1).clamp(1, READ_AHEAD_MAX)
}

/// The sizes that count against the bound.
#[derive(Debug, Clone, Copy)]
pub struct HeldBytes {
    /// Bytes of tasks that wait for a manager.
    pub queued: usize,
    /// Bytes of tasks that were dispatched but that their managers have not taken yet.
    pub unsent_batches: usize,
    /// Bytes of results that wait for the executor.
    pub unsent_results: usize,
}

impl HeldBytes {
    /// Returns the total.
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

/// The largest size among recent tasks.
#[derive(Debug, Default)]
struct Lately {
    largest_bytes: usize,
    /// The largest size among the tasks before these.
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

    /// Notes a task that has arrived.
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

    /// Returns the maximum size of batches that managers have not taken.
    pub(super) fn unsent_batches_bytes_max(&self) -> usize {
        self.bound_bytes / UNSENT_BATCHES_PART
    }

    /// Returns the estimated size of tasks that are read ahead.
    fn read_ahead_bytes(&self) -> usize {
        let largest = self.lately.largest_bytes.max(self.lately.before_bytes);
        let all = largest.saturating_mul(self.read_ahead_tasks + ON_THEIR_WAY);
        all.min(self.bound_bytes / READ_AHEAD_PART)
    }

    /// Returns how many more bytes of tasks may be taken before the next decision.
    pub(super) fn room_bytes(&self, held: HeldBytes) -> usize {
        self.bound_bytes.saturating_sub(self.counted(held))
    }

    /// Whether tasks may be dispatched, with this size of unsent results.
    pub(super) fn may_dispatch(&self, unsent_results_bytes: usize) -> bool {
        unsent_results_bytes < self.bound_bytes.min(RESULTS_HELD_BYTES_MAX)
    }

    /// Opens or closes the intake according to what is held now.
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
    fn intake_closes_at_the_bound_and_opens_below_the_mark() {
        let mut intake = Intake::new(1000, 1);
        assert!(opens(&mut intake, held(600, 0, 399)));
        assert!(!opens(&mut intake, held(600, 0, 400)));
        assert!(!opens(&mut intake, held(5000, 0, 0)));
        assert!(!opens(&mut intake, held(775, 100, 0)));
        assert!(opens(&mut intake, held(0, 0, 874)));
    }

    #[test]
    fn bound_below_every_task_admits_one_task_at_a_time() {
        let mut intake = Intake::new(1, 1);
        intake.note_task(50);
        assert!(!opens(&mut intake, held(50, 0, 0)));
        assert!(opens(&mut intake, held(0, 0, 0)));
    }

    #[test]
    fn managers_that_read_nothing_do_not_close_the_intake() {
        let mut intake = Intake::new(1000, 1);
        assert!(opens(&mut intake, held(749, 1 << 40, 0)));
        assert_eq!(intake.room_bytes(held(400, 1 << 40, 0)), 350);
        assert!(!opens(&mut intake, held(750, 250, 0)));
        assert!(opens(&mut intake, held(624, 1 << 40, 0)));
    }

    #[test]
    fn read_ahead_counts_by_the_size_of_recent_tasks() {
        let mut intake = Intake::new(1000, 1);
        intake.note_task(100);
        assert_eq!(intake.room_bytes(held(0, 0, 0)), 700);
        // However large the tasks are, and whatever managers do not take.
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
    fn small_bound_reduces_the_read_ahead() {
        let ahead = [0, 100_000_000, 1 << 30, usize::MAX].map(read_ahead_tasks);
        assert_eq!(ahead, [1, 1, 31, 128]);
    }

    #[test]
    fn unsent_results_stop_the_dispatch() {
        let intake = Intake::new(1000, 1);
        assert!(intake.may_dispatch(999));
        assert!(!intake.may_dispatch(1000));
        assert!(!Intake::new(usize::MAX, 1).may_dispatch(RESULTS_HELD_BYTES_MAX));
    }
}
