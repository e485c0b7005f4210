"""The state of a run according to its events: its tasks, its managers, and the workers' time.

A manager can run `workers` tasks at once, or fewer if some tasks take several workers each. Tasks
beyond that are prefetched: they wait at the manager, and take one worker each, because nothing is
prefetched beside a task of several workers. So a manager has min(taken, workers) busy workers. The
number of its waiting tasks is taken - workers, or 0 if that is negative.

Memory: 16 bytes for each answered task, about 300 for each task that waits or is in flight, and at
most 8 KiB for each manager (less for a manager that was registered for only a part of the run).
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from htex_interchange.report.events import Event, Reading, Source
from htex_interchange.report.steps import Columns, Counts, Steps

# Where tasks wait. The time of idle workers is counted separately for each of these.
NOWHERE, AT_MANAGERS, IN_QUEUE = range(3)

LONGEST_KEPT = 10
IDS_KEPT = 200
MARKS_KEPT = 40
# Limits of a plausible time in seconds since the epoch: the years 1973 and 5138.
EARLIEST_S, LATEST_S = 1e8, 1e11

# States in which a manager has ended, and states in which a manager gets no new tasks.
ENDING = ("lost", "drained", "replaced")
CLOSING = ("held", "draining", "suspect", "awaited")


@dataclass(slots=True, eq=False)
class Manager:
    """One registration of a manager. `workers` is 0 if the registration is not in the events."""

    name: str
    busy: Steps
    since: float
    block: str | None = None
    host: str = ""
    workers: int = 0
    is_known: bool = False
    # When the manager was lost, drained or replaced; None if it was registered to the end.
    until: float | None = None
    ended_by: str = ""
    # Begin, end and number of workers of each period in which that number was constant.
    spans: list[tuple[float, float, int]] = field(default_factory=list)
    counted_since: float = 0.0
    present: bool = False
    # Those states of CLOSING that the manager is in.
    closed: set[str] = field(default_factory=set)
    # Time and name of each state that the manager entered.
    marks: list[tuple[float, str]] = field(default_factory=list)
    marks_beyond: int = 0
    in_flight: int = 0
    # Workers that the tasks in flight take if all of these tasks are running.
    taken: int = 0
    done: int = 0
    lost_count: int = 0
    # The ids of the first IDS_KEPT lost tasks.
    lost_ids: list[int] = field(default_factory=list)

    def busy_and_waiting(self) -> tuple[int, int]:
        """Returns the number of workers that have a task or a share of one, and the number of tasks
        that no worker has."""
        beyond = self.taken - self.workers
        return (self.taken, 0) if beyond <= 0 else (self.workers, min(beyond, self.in_flight))


@dataclass(slots=True)
class Loss:
    """A manager that was given up, or whose identity another process took; `how` says which."""

    t: float
    manager: Manager
    how: str
    tasks: int
    silent_s: float | None


@dataclass(slots=True)
class Restart:
    """The interchange's process ended, and another process continued its work."""

    t: float
    why: str
    down_s: float


@dataclass(slots=True, order=True)
class Flight:
    """A task and how long it took, or has taken so far. `waited_s` is None if the event of its
    acceptance is missing."""

    seconds: float
    task: int
    manager: Manager | None = field(compare=False)
    dispatched: float | None = field(compare=False)
    waited_s: float | None = field(compare=False)
    # Workers of the manager that the task takes.
    slots: int = field(compare=False, default=1)


@dataclass(slots=True)
class WorkerTime:
    """Worker-seconds of managers while they were registered, by how they were used."""

    used: float = 0.0
    # Of idle workers that could have had tasks, by where tasks waited at that time.
    idle: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    # Of idle workers whose managers were held, draining, suspect or awaited.
    closed: float = 0.0

    @property
    def registered(self) -> float:
        return self.used + sum(self.idle) + self.closed


def _durations() -> array[float]:
    return array("d")


@dataclass
class Run:
    """What the events of one interchange say: of its process and all processes that replaced it."""

    source: Source
    reading: Reading
    columns: Columns
    # The `start` event of the last process, and its `end` event; None for an event that is missing.
    start: Event | None = None
    end: Event | None = None
    events: int = 0
    # Lines that the interchange could not write to the disk.
    dropped: int = 0
    # Tasks and managers whose first event is missing.
    orphans: int = 0
    # Whether older files may have been removed.
    may_lack_beginning: bool = False
    # The longest time by which the clock was set back.
    set_back_s: float = 0.0

    tasks: int = 0
    done: int = 0
    # Number of failed tasks by reason.
    failed: dict[str, int] = field(default_factory=dict)
    task_bytes: int = 0
    first_task: float | None = None
    last_answer: float | None = None
    # Times from acceptance to dispatch, and times from dispatch until the result was forwarded.
    waits_s: array[float] = field(default_factory=_durations)
    flights_s: array[float] = field(default_factory=_durations)
    # The longest flights of tasks that were done, longest first.
    longest_flights: list[Flight] = field(default_factory=list)
    # Tasks without an answer at the end of the events.
    unanswered_queued: int = 0
    unanswered_in_flight: int = 0
    oldest_waiting: list[Flight] = field(default_factory=list)
    oldest_in_flight: list[Flight] = field(default_factory=list)
    # The most tasks done within one second.
    peak_in_a_second: int = 0
    # Number of tasks that took several workers of a manager, and the most workers that one task
    # took.
    wide_tasks: int = 0
    widest: int = 1

    managers: list[Manager] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    restarts: list[Restart] = field(default_factory=list)
    worker_time: WorkerTime = field(default_factory=WorkerTime)
    # Seconds of the run by where tasks waited; and seconds in which tasks waited and all workers of
    # managers that accepted tasks were busy.
    waiting_s: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    saturated_s: float = 0.0
    # The last moment at which a task waited anywhere; and the workers' time, used and idle while
    # nothing waited, up to that moment and up to the last answer.
    waited_until: float | None = None
    used_and_idle_then: tuple[float, float] = (0.0, 0.0)
    used_and_idle_at_last_answer: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        self.queued_steps = Steps(self.columns)
        self.prefetched_steps = Steps(self.columns)
        # Busy workers beyond the first worker of each task.
        self.shared_steps = Steps(self.columns)
        # Tasks in flight at managers whose number of workers is not known.
        self.unplaced_steps = Steps(self.columns)
        self.done_counts = Counts(self.columns)
        self.failed_counts = Counts(self.columns)

    @property
    def begin(self) -> float:
        return self.columns.begin

    @property
    def until(self) -> float:
        """The time of the last event."""
        return self.columns.now

    @property
    def duration_s(self) -> float:
        return self.until - self.begin

    @property
    def failed_count(self) -> int:
        return sum(self.failed.values())

    @property
    def unanswered(self) -> int:
        return self.unanswered_queued + self.unanswered_in_flight

    @property
    def is_partial(self) -> bool:
        """Whether events are missing, so that figures are only approximate."""
        return bool(
            self.dropped
            or self.reading.bad
            or self.source.missing
            or self.orphans
            or self.may_lack_beginning
        )
