"""Reads the events of an interchange once, and records each run in them.

State that every event needs is kept in attributes of the recorder itself, for speed: a run may have
ten million events. An event is recorded completely or not at all: its fields are read before
anything changes.
"""

from __future__ import annotations

from heapq import heappush, heappushpop, nlargest

from htex_interchange.report.events import Batch, Event, Reading, Source, batches
from htex_interchange.report.model import (
    AT_MANAGERS,
    CLOSING,
    EARLIEST_S,
    ENDING,
    IDS_KEPT,
    IN_QUEUE,
    LATEST_S,
    LONGEST_KEPT,
    MARKS_KEPT,
    NOWHERE,
    Flight,
    Loss,
    Manager,
    Restart,
    Run,
)
from htex_interchange.report.steps import Columns, Steps

# All states that a manager can enter after its registration.
STATES = (*ENDING, *CLOSING, "failing", "back", "gave_up")
MANAGER_LOST = "ManagerLost"

# Manager, time of dispatch, time of acceptance, and number of the manager's workers that the task
# takes.
InFlight = tuple[Manager, float, float | None, int]


class Unknown(Exception):
    """An event that this report does not know; a newer interchange may write such events."""


def runs_of(source: Source) -> list[Run]:
    """Returns the runs in a source, in order: usually one, but an interchange can append to an old
    file."""
    reading = Reading()
    recorder = Recorder(source, reading)
    for batch in batches(source, reading):
        recorder.take(batch)
    return recorder.finish()


class Recorder:
    """Takes batches of events; `finish` returns the runs in them."""

    # Set when a run begins.
    _run: Run

    def __init__(self, source: Source, reading: Reading) -> None:
        self._source = source
        self._reading = reading
        self._finished: list[Run] = []
        self._has_begun = False
        self._count = 0
        # The latest `start` line, and whether events before it may have been removed.
        self._head: Event | None = None
        self._lacks_beginning = source.may_lack_beginning
        self._others = {
            "manager": self._manager,
            "start": self._start,
            "restart": self._restart,
            "end": self._end,
            "dropped": self._dropped,
        }
        self._task_states = {
            "queued": self._queued,
            "dispatched": self._dispatched,
            "done": self._done,
            "failed": self._failed,
        }

    def take(self, batch: Batch) -> None:
        task_states, others = self._task_states, self._others
        for line, event in enumerate(batch.events, batch.first_line):
            if event is None:
                continue
            try:
                t, kind = event["t"], event["event"]
                if not EARLIEST_S < t < LATEST_S:
                    raise ValueError(f"t is {t!r}")
                if not self._has_begun and kind != "start":
                    self._begin(t)
                if kind == "task":
                    task, state = event["task"], event["state"]
                    if type(task) is not int:
                        raise TypeError(f"task is {task!r}")
                    if state not in task_states:
                        raise Unknown(f"task {state}")
                    task_states[state](t, task, event)
                elif kind in others:
                    others[kind](t, event)
                else:
                    raise Unknown(f"event {kind}")
                self._count += 1
            except Unknown as what:
                self._reading.note_unknown(str(what))
            except KeyError as field:
                self._reading.complain(batch.file, line, f"has no field {field}")
            except (TypeError, ValueError) as reason:
                self._reading.complain(batch.file, line, str(reason))

    def finish(self) -> list[Run]:
        if self._has_begun:
            self._close()
        return self._finished

    def _begin(self, t: float) -> None:
        self._columns = Columns(t)
        self._has_begun = True
        self._run = Run(self._source, self._reading, self._columns, start=self._head)
        self._run.may_lack_beginning = self._lacks_beginning or self._head is None
        self._now = t
        self._count = 0
        self._waiting: dict[int, float] = {}
        self._flying: dict[int, InFlight] = {}
        self._present: dict[str, Manager] = {}
        # Over all registered managers: busy workers, idle workers of managers that accept tasks,
        # idle workers of managers that do not, and tasks that wait at managers.
        self._busy = self._idle = self._idle_closed = self._prefetched = 0
        # Seconds and worker-seconds, with the meanings of the run's fields of the same names.
        self._waiting_s = self._run.waiting_s
        self._idle_s = self._run.worker_time.idle
        self._used_s = self._closed_s = self._saturated_s = 0.0
        self._something_waits = False
        self._last_answer: tuple[float, float, float] | None = None
        self._second = self._in_second = 0
        self._shortest_kept = 0.0

    def _advance(self, t: float) -> None:
        """Counts the time since the last event, in which nothing changed."""
        dt = t - self._now
        if dt < 0:
            self._run.set_back_s = max(self._run.set_back_s, -dt)
            return
        idle = self._idle
        if self._waiting or self._prefetched:
            where = IN_QUEUE if self._waiting else AT_MANAGERS
            self._waiting_s[where] += dt
            if idle:
                self._idle_s[where] += dt * idle
            elif self._busy:
                self._saturated_s += dt
            self._something_waits = True
        else:
            if self._something_waits:
                self._note_end_of_waiting()
            self._waiting_s[NOWHERE] += dt
            self._idle_s[NOWHERE] += dt * idle
        self._used_s += dt * self._busy
        if self._idle_closed:
            self._closed_s += dt * self._idle_closed
        self._now = t
        columns = self._columns
        if t < columns.edge:
            columns.now = t
            columns.rest_s = columns.edge - t
        else:
            columns.move(t)

    def _note_end_of_waiting(self) -> None:
        self._something_waits = False
        self._run.waited_until = self._now
        self._run.used_and_idle_then = (self._used_s, self._idle_s[NOWHERE])

    # --- tasks

    def _queued(self, t: float, task: int, event: Event) -> None:
        size = event.get("bytes") or 0
        run = self._run
        run.task_bytes += size
        if t != self._now:
            self._advance(t)
        if task in self._waiting or task in self._flying:
            return
        if run.first_task is None:
            run.first_task = self._now
        run.tasks += 1
        self._waiting[task] = self._now
        run.queued_steps.step(1)

    def _dispatched(self, t: float, task: int, event: Event) -> None:
        slots = event.get("slots", 1)
        if type(slots) is not int or slots < 1:
            raise ValueError(f"slots is {slots!r}")
        manager = self._present.get(event["manager"])
        if manager is None:
            manager = self._unregistered(event["manager"])
        if t != self._now:
            self._advance(t)
        accepted = self._waiting.pop(task, None)
        run = self._run
        if accepted is not None:
            run.queued_steps.step(-1)
        elif task in self._flying:
            # The events of the task's answer and of its second acceptance are missing.
            self._land(task)
        else:
            self._note_orphan()
        self._flying[task] = (manager, self._now, accepted, slots)
        if slots > 1:
            run.wide_tasks += 1
            run.widest = max(run.widest, slots)
        self._load(manager, 1, slots)

    def _land(self, task: int) -> InFlight:
        """Removes the task from its manager."""
        flight = self._flying.pop(task)
        self._load(flight[0], -1, -flight[3])
        return flight

    def _load(self, manager: Manager, tasks: int, slots: int) -> None:
        """Adds tasks to a manager, and the workers that these tasks take; negative numbers remove
        them."""
        busy, waiting = manager.busy_and_waiting()
        manager.in_flight += tasks
        manager.taken += slots
        if manager.present:
            busy_then, waiting_then = manager.busy_and_waiting()
            self._shift(manager, 0, busy_then - busy, waiting_then - waiting, tasks)
        elif manager.until is None:
            self._run.unplaced_steps.step(tasks)

    def _done(self, t: float, task: int, _event: Event) -> None:
        if t != self._now:
            self._advance(t)
        run = self._run
        if task in self._flying:
            manager, dispatched, accepted, slots = self._land(task)
            manager.done += 1
            seconds = self._now - dispatched
            run.flights_s.append(seconds)
            if seconds >= self._shortest_kept:
                self._keep_flight(
                    Flight(
                        seconds,
                        task,
                        manager,
                        dispatched,
                        None if accepted is None else dispatched - accepted,
                        slots,
                    )
                )
            if accepted is not None:
                run.waits_s.append(dispatched - accepted)
        else:
            self._settle_undispatched(task)
        run.done += 1
        run.done_counts.count()
        second = int(self._now - self._columns.begin)
        if second == self._second:
            self._in_second += 1
        else:
            self._second, self._in_second = second, 1
        run.peak_in_a_second = max(run.peak_in_a_second, self._in_second)
        self._last_answer = (self._now, self._used_s, self._idle_s[NOWHERE])

    def _failed(self, t: float, task: int, event: Event) -> None:
        reason = str(event["reason"])
        if t != self._now:
            self._advance(t)
        run = self._run
        if task in self._flying:
            manager, dispatched, accepted, _slots = self._land(task)
            if accepted is not None:
                run.waits_s.append(dispatched - accepted)
            if reason == MANAGER_LOST:
                manager.lost_count += 1
                if len(manager.lost_ids) < IDS_KEPT:
                    manager.lost_ids.append(task)
        else:
            self._settle_undispatched(task)
        run.failed[reason] = run.failed.get(reason, 0) + 1
        run.failed_counts.count()
        self._last_answer = (self._now, self._used_s, self._idle_s[NOWHERE])

    def _settle_undispatched(self, task: int) -> None:
        """Records the answer of a task without an event of its dispatch: there was none, or it is
        missing."""
        if self._waiting.pop(task, None) is not None:
            self._run.queued_steps.step(-1)
        else:
            self._note_orphan()

    def _note_orphan(self) -> None:
        """Counts a task whose first event is not its acceptance."""
        self._run.tasks += 1
        self._run.orphans += 1

    def _keep_flight(self, flight: Flight) -> None:
        kept = self._run.longest_flights
        if len(kept) < LONGEST_KEPT:
            heappush(kept, flight)
        else:
            heappushpop(kept, flight)
            self._shortest_kept = kept[0].seconds

    # --- managers

    def _manager(self, t: float, event: Event) -> None:
        name, state = event["manager"], event["state"]
        if not isinstance(name, str):
            raise TypeError(f"manager is {name!r}")
        if state == "registered":
            workers = event["workers"]
            if type(workers) is not int or workers < 0:
                raise ValueError(f"workers is {workers!r}")
            self._advance(t)
            self._register(name, event, workers)
            return
        if state not in STATES:
            raise Unknown(f"manager {state}")
        tasks, silent_s = event.get("tasks", 0), event.get("silent_s")
        if type(tasks) is list:
            tasks = len(tasks)
        if type(tasks) is not int or type(silent_s) not in (int, float, type(None)):
            raise TypeError(f"tasks is {tasks!r}, silent_s is {silent_s!r}")
        self._advance(t)
        manager = self._present.get(name) or self._unregistered(name)
        self._mark(manager, state)
        if state == "gave_up":
            # The manager stays registered, and these tasks have been answered as failed.
            self._run.losses.append(Loss(self._now, manager, state, tasks, None))
        elif state in ENDING:
            if state != "drained":
                loss = Loss(self._now, manager, state, max(tasks, manager.in_flight), silent_s)
                self._run.losses.append(loss)
            if not manager.is_known and manager.in_flight:
                self._run.unplaced_steps.step(-manager.in_flight)
            self._leave(manager)
            manager.until, manager.ended_by = self._now, state
            del self._present[name]
        elif state != "failing":
            self._change(manager, state)

    def _change(self, manager: Manager, state: str) -> None:
        """Records that a manager stops getting tasks, or gets tasks again."""
        present = manager.present
        self._leave(manager)
        if state == "back":
            manager.closed -= {"suspect", "awaited"}
        else:
            manager.closed.add(state)
        if present:
            self._enter(manager)

    def _register(self, name: str, event: Event, workers: int) -> None:
        """Registers a manager. A manager may register twice over the same connection, and keeps its
        tasks."""
        manager = self._present.get(name)
        if manager is None:
            manager = Manager(name, Steps(self._columns), since=self._now)
            self._present[name] = manager
            self._run.managers.append(manager)
        self._leave(manager)
        if not manager.is_known and manager.in_flight:
            self._run.unplaced_steps.step(-manager.in_flight)
        block = event.get("block")
        manager.block = None if block is None else str(block)
        manager.host = str(event.get("host", ""))
        if not manager.is_known:
            manager.since = self._now
        manager.workers, manager.is_known = workers, True
        self._mark(manager, "registered")
        self._enter(manager)

    def _unregistered(self, name: str) -> Manager:
        """Adds a manager whose registration is missing: its number of workers is not known."""
        if not isinstance(name, str):
            raise TypeError(f"manager is {name!r}")
        manager = Manager(name, Steps(self._columns), since=self._now)
        self._present[name] = manager
        self._run.managers.append(manager)
        self._run.orphans += 1
        return manager

    def _mark(self, manager: Manager, state: str) -> None:
        if len(manager.marks) < MARKS_KEPT or state in ENDING:
            manager.marks.append((self._now, state))
        else:
            manager.marks_beyond += 1

    def _enter(self, manager: Manager) -> None:
        """Counts a manager's workers and tasks from now on."""
        manager.present = True
        manager.counted_since = self._now
        self._count_workers(manager, 1)

    def _leave(self, manager: Manager) -> None:
        if manager.present:
            self._count_workers(manager, -1)
            manager.present = False
            manager.spans.append((manager.counted_since, self._now, manager.workers))

    def _count_workers(self, manager: Manager, sign: int) -> None:
        busy, waiting = manager.busy_and_waiting()
        tasks = sign * manager.in_flight
        self._shift(manager, sign * manager.workers, sign * busy, sign * waiting, tasks)

    def _shift(self, manager: Manager, workers: int, busy: int, waiting: int, tasks: int) -> None:
        """Adds to the numbers of workers registered, workers busy, tasks waiting, and tasks in
        flight at a manager."""
        idle = workers - busy
        if manager.closed:
            self._idle_closed += idle
        else:
            self._idle += idle
        self._busy += busy
        if busy:
            manager.busy.step(busy)
        self._prefetched += waiting
        if waiting:
            self._run.prefetched_steps.step(waiting)
        shared = busy - (tasks - waiting)
        if shared:
            self._run.shared_steps.step(shared)

    # --- the interchange itself

    def _start(self, t: float, event: Event) -> None:
        """Handles a `start` line. Each file repeats the line of its process, so only a different
        line can begin another run."""
        if event == self._head:
            return
        if self._has_begun and _run_of(event) == _run_of(self._head or {}):
            # Another process of the same run, which replaced the previous process.
            self._head = self._run.start = event
            return
        if self._has_begun:
            self._close()
            self._lacks_beginning = False
        self._head = event
        # If the oldest files are gone, the remaining events begin later than the process did.
        if not self._lacks_beginning:
            self._begin(t)

    def _restart(self, t: float, event: Event) -> None:
        why, down_s = event["why"], event["down_s"]
        if not isinstance(why, str) or type(down_s) not in (int, float):
            raise TypeError(f"why is {why!r}, down_s is {down_s!r}")
        self._advance(t)
        self._run.restarts.append(Restart(self._now, why, down_s))

    def _end(self, t: float, event: Event) -> None:
        self._advance(t)
        self._run.end = event

    def _dropped(self, t: float, event: Event) -> None:
        lines = event["lines"]
        if type(lines) is not int or lines < 0:
            raise ValueError(f"lines is {lines!r}")
        self._advance(t)
        self._run.dropped += lines

    def _close(self) -> None:
        """Ends the run at its last event; tasks that are outstanding then stay unanswered."""
        run, now = self._run, self._now
        run.events = self._count
        if self._something_waits:
            self._note_end_of_waiting()
        run.worker_time.used, run.worker_time.closed = self._used_s, self._closed_s
        run.saturated_s = self._saturated_s
        if self._last_answer:
            run.last_answer, used_s, idle_s = self._last_answer
            run.used_and_idle_at_last_answer = (used_s, idle_s)
        run.unanswered_queued, run.unanswered_in_flight = len(self._waiting), len(self._flying)
        waiting = (
            Flight(now - accepted, task, None, None, now - accepted)
            for task, accepted in self._waiting.items()
        )
        run.oldest_waiting = nlargest(LONGEST_KEPT, waiting)
        flying = (
            Flight(
                now - dispatched,
                task,
                manager,
                dispatched,
                None if accepted is None else dispatched - accepted,
                slots,
            )
            for task, (manager, dispatched, accepted, slots) in self._flying.items()
        )
        run.oldest_in_flight = nlargest(LONGEST_KEPT, flying)
        for _, dispatched, accepted, _slots in self._flying.values():
            if accepted is not None:
                run.waits_s.append(dispatched - accepted)
        run.longest_flights.sort(reverse=True)
        for manager in self._present.values():
            self._leave(manager)
        self._finished.append(run)
        self._has_begun = False


def _run_of(head: Event) -> tuple[object, ...]:
    """Returns what the first lines of all processes of a run have in common."""
    return tuple(head.get(key) for key in ("t", "host", "logdir", "label"))
