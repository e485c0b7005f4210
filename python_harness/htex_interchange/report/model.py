"""A run as its events tell it: what became of every task and manager, and of the workers' time.

A manager can run `workers` tasks at once, or fewer if some take several workers each. What it holds
beyond that are prefetched tasks, which wait beside it, and take one worker each: nothing is
prefetched beside a task of several. So its busy workers are min(taken, workers), and as many tasks
wait as would take more.

Memory: 16 bytes for each task that was answered, about 300 for each one that waits or is in
flight, and at most 8 KiB for each manager (less for one that was there for a part of the run).
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from htex_interchange.report.events import Event, Reading, Source
from htex_interchange.report.steps import Columns, Counts, Steps

# Where tasks wait, if any do: what an idle worker's time is put down to.
NOWHERE, AT_MANAGERS, IN_QUEUE = range(3)

LONGEST_KEPT = 10
IDS_KEPT = 200
MARKS_KEPT = 40
# Seconds since the epoch beyond which a time is damage: years 1973 and 5138.
EARLIEST_S, LATEST_S = 1e8, 1e11

# States after which a manager is gone, and those in which it gets nothing new.
ENDING = ("lost", "drained", "replaced")
CLOSING = ("held", "draining", "suspect", "awaited")


@dataclass(slots=True, eq=False)
class Manager:
    """One registration of a manager. `workers` is 0 while that is not in the events."""

    name: str
    busy: Steps
    since: float
    block: str | None = None
    host: str = ""
    workers: int = 0
    is_known: bool = False
    # When it was lost, drained or replaced; None if it was there to the end.
    until: float | None = None
    ended_by: str = ""
    # Begin, end and number of workers, for as long as that was the same.
    spans: list[tuple[float, float, int]] = field(default_factory=list)
    counted_since: float = 0.0
    present: bool = False
    # Which of CLOSING hold.
    closed: set[str] = field(default_factory=set)
    # When it came into which state.
    marks: list[tuple[float, str]] = field(default_factory=list)
    marks_beyond: int = 0
    in_flight: int = 0
    # How many workers these take, if each is begun.
    taken: int = 0
    done: int = 0
    lost_count: int = 0
    # The first IDS_KEPT of them.
    lost_ids: list[int] = field(default_factory=list)

    def busy_and_waiting(self) -> tuple[int, int]:
        """Its workers that have a task, or a share of one, and its tasks that no worker has."""
        beyond = self.taken - self.workers
        return (self.taken, 0) if beyond <= 0 else (self.workers, min(beyond, self.in_flight))


@dataclass(slots=True)
class Loss:
    """A manager that was given up, or whose identity another process took (`how`)."""

    t: float
    manager: Manager
    how: str
    tasks: int
    silent_s: float | None


@dataclass(slots=True)
class Restart:
    """The interchange's process ended, and another one went on."""

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
    # Workers of its manager that it takes.
    slots: int = field(compare=False, default=1)


@dataclass(slots=True)
class WorkerTime:
    """Worker-seconds of managers while they were registered, by what they went into."""

    used: float = 0.0
    # Of idle workers that could have had tasks, by where tasks waited meanwhile.
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
    """What the events of one interchange say: of its process, and of those that went on in its
    place."""

    source: Source
    reading: Reading
    columns: Columns
    # The first line of its last process, and its last; None if that is not there.
    start: Event | None = None
    end: Event | None = None
    events: int = 0
    # Lines that the disk did not take.
    dropped: int = 0
    # Tasks and managers whose first event is missing.
    orphans: int = 0
    # Older files may have been removed.
    may_lack_beginning: bool = False
    # The furthest that the clock was set back.
    set_back_s: float = 0.0

    tasks: int = 0
    done: int = 0
    # By reason.
    failed: dict[str, int] = field(default_factory=dict)
    task_bytes: int = 0
    first_task: float | None = None
    last_answer: float | None = None
    # From acceptance to dispatch, and from there to the passing on of the result.
    waits_s: array[float] = field(default_factory=_durations)
    flights_s: array[float] = field(default_factory=_durations)
    # Of tasks that were done; longest first.
    longest_flights: list[Flight] = field(default_factory=list)
    # At the end of the events.
    unanswered_queued: int = 0
    unanswered_in_flight: int = 0
    oldest_waiting: list[Flight] = field(default_factory=list)
    oldest_in_flight: list[Flight] = field(default_factory=list)
    # Tasks done within one second.
    peak_in_a_second: int = 0
    # Tasks that took several workers of a manager, and the most that one took.
    wide_tasks: int = 0
    widest: int = 1

    managers: list[Manager] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    restarts: list[Restart] = field(default_factory=list)
    worker_time: WorkerTime = field(default_factory=WorkerTime)
    # Seconds of the run by where tasks waited, and those in which some did and every worker of
    # managers that took tasks was busy.
    waiting_s: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    saturated_s: float = 0.0
    # The last moment at which a task waited anywhere; and the workers' time, used and idle with
    # nothing waiting, up to then and up to the last answer.
    waited_until: float | None = None
    used_and_idle_then: tuple[float, float] = (0.0, 0.0)
    used_and_idle_at_last_answer: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        self.queued_steps = Steps(self.columns)
        self.prefetched_steps = Steps(self.columns)
        # Busy workers beyond the first of each task.
        self.shared_steps = Steps(self.columns)
        # In flight at managers whose number of workers is not known.
        self.unplaced_steps = Steps(self.columns)
        self.done_counts = Counts(self.columns)
        self.failed_counts = Counts(self.columns)

    @property
    def begin(self) -> float:
        return self.columns.begin

    @property
    def until(self) -> float:
        """The moment of the last event."""
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
        """Whether events are missing, so that figures can only be near the truth."""
        return bool(
            self.dropped
            or self.reading.bad
            or self.source.missing
            or self.orphans
            or self.may_lack_beginning
        )
