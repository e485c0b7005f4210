"""Simulates a run from a seed and writes its events to a file, for tests of the report.

No task or manager runs. Managers arrive in blocks; some are lost, held or drained. Tasks arrive in
waves and have log-normal durations. A manager is filled to its capacity, as by Parsl's random
selector.
"""

from __future__ import annotations

import heapq
import json
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

BEGIN = 1_790_000_000.25


@dataclass
class FakeManager:
    name: str
    block: str
    host: str
    workers: int
    capacity: int
    # Tasks in the order of their dispatch; tasks beyond the first `workers` have not begun.
    tasks: list[int] = field(default_factory=list)
    registered: bool = False
    # Whether the manager has died and no longer answers.
    gone: bool = False
    # Whether the manager receives no new tasks.
    closed: bool = False
    draining: bool = False


@dataclass
class FakeRun:
    """Parameters of the simulated run. Times are seconds after the start."""

    seed: int = 1
    tasks: int = 2000
    blocks: int = 4
    managers_per_block: int = 4
    workers: int = 4
    prefetch: int = 4
    # Seconds between the arrivals of two blocks.
    block_every_s: float = 90.0
    # Times at which waves of equal size arrive.
    waves_s: tuple[float, ...] = (1.0, 620.0)
    median_task_s: float = 20.0
    # Standard deviation of the logarithm of a task's duration.
    spread: float = 0.8
    lost_managers: int = 2
    drained_managers: int = 1
    suspects: int = 2
    label: str = "htex_made_up"
    ends: bool = True

    def lines(self) -> Iterator[dict]:
        return _Simulation(self).lines()

    def write(self, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w") as file:
            lines = (json.dumps(event, separators=(",", ":")) for event in self.lines())
            file.writelines(f"{line}\n" for line in lines)
        return path


class _Simulation:
    def __init__(self, wanted: FakeRun) -> None:
        self.wanted = wanted
        self.random = random.Random(wanted.seed)
        self.managers: list[FakeManager] = []
        # Managers that may have room; searched when a task waits.
        self.open: list[FakeManager] = []
        self.waiting: deque[int] = deque()
        self.owner: dict[int, FakeManager] = {}
        self.left = wanted.tasks
        self.planned: list[tuple[float, int, str, object]] = []
        self.number = 0
        self.now = 0.0

    def plan(self, t: float, what: str, about: object) -> None:
        self.number += 1
        heapq.heappush(self.planned, (t, self.number, what, about))

    def event(self, kind: str, **fields) -> dict:
        return {"t": round(BEGIN + self.now, 6), "event": kind, **fields}

    def lines(self) -> Iterator[dict]:
        wanted = self.wanted
        about = {"pid": 4711, "host": "login1", "logdir": f"/runinfo/000/{wanted.label}"}
        yield self.event("start", format=1, version="0.1.0", label=wanted.label, **about)
        self.plan_all()
        while self.planned and self.left:
            self.now, _, what, subject = heapq.heappop(self.planned)
            yield from getattr(self, "on_" + what)(subject)
            yield from self.dispatch()
        self.now += 0.5
        if wanted.ends:
            yield self.event("end", reason="SIGTERM")

    def plan_all(self) -> None:
        wanted, chance = self.wanted, self.random
        for block in range(wanted.blocks):
            came = 25 * (block == 0) + block * wanted.block_every_s * chance.uniform(0.8, 1.4)
            for place in range(wanted.managers_per_block):
                number = block * wanted.managers_per_block + place
                manager = FakeManager(
                    f"{chance.getrandbits(48):012x}",
                    str(block),
                    f"node{number:03d}",
                    wanted.workers,
                    wanted.workers + wanted.prefetch,
                )
                self.managers.append(manager)
                self.plan(came + chance.expovariate(0.5), "registered", manager)
        numbers = iter(range(1, wanted.tasks + 1))
        for wave, t in enumerate(wanted.waves_s):
            share = wanted.tasks * (wave + 1) // len(wanted.waves_s)
            share -= wanted.tasks * wave // len(wanted.waves_s)
            for place in range(share):
                self.plan(t + place * 2e-4, "queued", next(numbers))
        expected = wanted.median_task_s * wanted.tasks
        expected /= max(1, wanted.workers * len(self.managers))
        unlucky = chance.sample(
            self.managers,
            k=min(
                len(self.managers), wanted.lost_managers + wanted.drained_managers + wanted.suspects
            ),
        )
        for place, manager in enumerate(unlucky):
            t = wanted.block_every_s * (wanted.blocks - 1) + expected * chance.uniform(0.2, 0.6)
            if place < wanted.lost_managers:
                self.plan(t, "silent", manager)
            elif place < wanted.lost_managers + wanted.drained_managers:
                self.plan(t, "draining", manager)
            else:
                self.plan(t, "suspect", manager)

    def on_queued(self, task: int) -> Iterator[dict]:
        self.waiting.append(task)
        size = int(self.random.lognormvariate(7, 1))
        yield self.event("task", task=task, state="queued", bytes=size)

    def on_registered(self, manager: FakeManager) -> Iterator[dict]:
        manager.registered = True
        self.open.append(manager)
        yield self.manager_event(
            manager,
            "registered",
            block=manager.block,
            host=manager.host,
            workers=manager.workers,
            capacity=manager.capacity,
        )

    def on_silent(self, manager: FakeManager) -> Iterator[dict]:
        """The manager dies; the loss is noticed 120 s later."""
        if manager.registered:
            manager.gone = True
            self.plan(self.now + 120.0, "lost", manager)
        yield from ()

    def on_lost(self, manager: FakeManager) -> Iterator[dict]:
        tasks, manager.tasks, manager.closed = manager.tasks, [], True
        yield self.manager_event(manager, "lost", tasks=len(tasks), silent_s=120.0)
        for task in tasks:
            self.left -= 1
            yield self.event(
                "task", task=task, state="failed", reason="ManagerLost", manager=manager.name
            )

    def on_draining(self, manager: FakeManager) -> Iterator[dict]:
        if manager.registered:
            manager.closed = manager.draining = True
            yield self.manager_event(manager, "draining")
            yield from self.drained(manager)

    def on_suspect(self, manager: FakeManager) -> Iterator[dict]:
        if manager.registered:
            manager.closed = True
            self.plan(self.now + 30.0, "back", manager)
            yield self.manager_event(manager, "suspect")

    def on_back(self, manager: FakeManager) -> Iterator[dict]:
        manager.closed = False
        self.open.append(manager)
        yield self.manager_event(manager, "back")

    def on_done(self, task: int) -> Iterator[dict]:
        manager = self.owner[task]
        if manager.gone:
            return
        del self.owner[task]
        manager.tasks.remove(task)
        self.left -= 1
        yield self.event("task", task=task, state="done", manager=manager.name)
        if len(manager.tasks) >= manager.workers:
            self.begin(manager.tasks[manager.workers - 1])
        yield from self.drained(manager)
        if not manager.closed and len(manager.tasks) == manager.capacity - 1:
            self.open.append(manager)

    def drained(self, manager: FakeManager) -> Iterator[dict]:
        if manager.draining and not manager.tasks and not manager.gone:
            manager.gone = True
            yield self.manager_event(manager, "drained")

    def dispatch(self) -> Iterator[dict]:
        while self.waiting and self.open:
            place = self.random.randrange(len(self.open))
            manager = self.open[place]
            while self.waiting and not manager.closed and len(manager.tasks) < manager.capacity:
                task = self.waiting.popleft()
                manager.tasks.append(task)
                self.owner[task] = manager
                if len(manager.tasks) <= manager.workers:
                    self.begin(task)
                yield self.event("task", task=task, state="dispatched", manager=manager.name)
            if manager.closed or len(manager.tasks) >= manager.capacity:
                self.open[place] = self.open[-1]
                self.open.pop()

    def begin(self, task: int) -> None:
        seconds = self.wanted.median_task_s * self.random.lognormvariate(0, self.wanted.spread)
        self.plan(self.now + 0.002 + seconds, "done", task)

    def manager_event(self, manager: FakeManager, state: str, **fields) -> dict:
        return self.event("manager", manager=manager.name, state=state, **fields)
