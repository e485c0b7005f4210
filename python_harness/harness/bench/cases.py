"""The scenarios of `bench` with their sizes: complete, quick, and reduced for stock."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A figure of the table: its name in the load's output, its title and its unit."""

    name: str
    title: str
    unit: str
    # Whether the figure grows with the number of tasks, so that stock's runs, which have fewer
    # tasks, would wrongly look better.
    grows_with_tasks: bool = False


CPU = Figure("cpu_us_per_task", "CPU per task", "µs")
RATE = Figure("tasks_per_s", "tasks", "/s")
IDLE = Figure("idle_cpu_percent", "CPU while idle", "%")
MEMORY_AT_REST = Figure("rss_idle_mb", "memory while idle", "MB")
REGISTRATION = Figure("registration_s", "all registered within", "s")
PAYLOAD = (
    Figure("mb_per_s", "payload in both directions", "MB/s"),
    Figure("cpu_ms_per_mb", "CPU per MB", "ms"),
    Figure("rss_peak_growth_mb", "peak memory above the start", "MB"),
)
BACKLOG = (
    Figure("accepted_per_s", "accepted", "/s"),
    Figure("drained_per_s", "drained", "/s"),
    Figure("accept_cpu_us_per_task", "CPU per accepted task", "µs"),
    Figure("drain_cpu_us_per_task", "CPU per dispatched task", "µs"),
    Figure("bytes_per_queued_task", "memory per queued task", "B"),
    Figure("bookkeeping_bytes_per_queued_task", "of this, beyond the task's message", "B"),
    Figure("rss_left_mb", "memory left 5 s after the last result", "MB", True),
)


@dataclass(frozen=True)
class Case:
    """One scenario. `tasks`, `stock_tasks` and `rest_s` are pairs: complete, quick."""

    name: str
    title: str
    scenario: str
    figures: tuple[Figure, ...]
    options: tuple[str, ...] = ()
    tasks: tuple[int, int] = (0, 0)
    # Numbers of tasks for stock, so that a run takes at most about a minute; None if stock is not
    # run.
    stock_tasks: tuple[int, int] | None = (0, 0)
    # Seconds of rest, which is also the managers' heartbeat period: each manager sends one
    # heartbeat.
    rest_s: tuple[int, int] | None = None
    # Options for the floor alone.
    floor_options: tuple[str, ...] = ()
    quick_options: tuple[str, ...] = ()
    in_quick: bool = True
    encrypted_in_quick: bool = True
    # Not in a plain series, because it takes long or asks much of the machine.
    only_by_name: bool = False
    stock_note: str = ""

    def kinds(self, quick: bool) -> list[bool]:
        """Returns whether each kind of run is encrypted: first plain, then encrypted."""
        return [False] if quick and not self.encrypted_in_quick else [False, True]

    def arguments(self, contender: str, encrypted: bool, quick: bool) -> list[str] | None:
        """Returns the load's arguments; None if this contender does not run this scenario."""
        tasks = self.stock_tasks if contender == "stock" else self.tasks
        if tasks is None:
            return None
        arguments = ["--scenario", self.scenario, *self.options]
        if tasks[quick]:
            arguments += ["--tasks", str(tasks[quick])]
        if self.rest_s:
            rest_s = str(self.rest_s[quick])
            arguments += ["--duration-s", rest_s, "--heartbeat-s", rest_s]
        if quick:
            arguments += self.quick_options
        if contender == "floor":
            arguments += self.floor_options
        if encrypted:
            arguments.append("--encrypted")
        return arguments

    def gist(self, figures: dict) -> str:
        """Returns the first two figures of a run as a progress message."""
        shown = [
            f"{figure.title} {figures[figure.name]:.5g} {figure.unit}"
            for figure in self.figures[:2]
            if isinstance(figures.get(figure.name), int | float)
        ]
        return ", ".join(shown)


def _payload(
    name: str,
    title: str,
    size: int,
    window: int,
    tasks: tuple[int, int],
    stock_tasks: tuple[int, int],
) -> Case:
    """Returns a case with two managers whose slots hold half the window; the other half is queued
    or in transit."""
    return Case(
        name=name,
        title=title,
        scenario="payload",
        figures=PAYLOAD,
        options=(
            "--bytes",
            str(size),
            "--managers",
            "2",
            "--slots",
            str(window // 4),
            "--window",
            str(window),
        ),
        tasks=tasks,
        stock_tasks=stock_tasks,
    )


TOO_MANY = "not run: its turns visit every manager, and this would take many minutes"

CASES = (
    Case(
        name="start",
        title="start",
        scenario="start",
        figures=(
            Figure("start_ms", "launch to the first answer", "ms"),
            Figure("rss_start_mb", "resident then", "MB"),
        ),
    ),
    Case(
        name="throughput",
        title="4 managers × 16, 1 KiB",
        scenario="throughput",
        figures=(CPU, RATE),
        tasks=(400_000, 100_000),
        stock_tasks=(20_000, 4_000),
    ),
    Case(
        name="latency",
        title="one outstanding task, one processor",
        scenario="latency",
        figures=(
            Figure("p50_us", "round trip p50", "µs"),
            Figure("added_p50_us", "of it added, p50", "µs"),
            Figure("p99_us", "round trip p99", "µs"),
        ),
        options=("--pin", str(max(os.sched_getaffinity(0)))),
        tasks=(10_000, 3_000),
        stock_tasks=(5_000, 1_000),
    ),
    Case(
        name="managers-1000",
        title="1,000 managers × 4, 1 KiB",
        scenario="managers",
        figures=(CPU, RATE, REGISTRATION, IDLE, MEMORY_AT_REST),
        options=("--managers", "1000", "--slots", "4"),
        tasks=(300_000, 50_000),
        stock_tasks=(4_000, 1_000),
        rest_s=(10, 2),
        encrypted_in_quick=False,
    ),
    Case(
        name="managers-8192",
        title="8,192 managers × 32, 1 KiB",
        scenario="managers",
        figures=(CPU, RATE, REGISTRATION, IDLE, MEMORY_AT_REST),
        options=("--managers", "8192", "--slots", "32"),
        tasks=(500_000, 50_000),
        stock_tasks=None,
        rest_s=(30, 2),
        encrypted_in_quick=False,
        stock_note=TOO_MANY,
    ),
    Case(
        name="managers-32768",
        title="32,768 managers × 32, 1 KiB",
        scenario="managers",
        figures=(CPU, RATE, REGISTRATION, IDLE, MEMORY_AT_REST),
        # The window keeps all of a million slots full.
        options=("--managers", "32768", "--slots", "32", "--window", "1310720"),
        tasks=(2_000_000, 500_000),
        stock_tasks=None,
        rest_s=(60, 10),
        only_by_name=True,
        stock_note=TOO_MANY,
    ),
    Case(
        name="backlog",
        title="1,000,000 tasks queued",
        scenario="backlog",
        figures=BACKLOG,
        tasks=(1_000_000, 100_000),
        stock_tasks=(50_000, 5_000),
        quick_options=("--settle-s", "3"),
        encrypted_in_quick=False,
    ),
    Case(
        name="backlog-priorities",
        title="1,000,000 tasks queued, random priorities",
        scenario="backlog",
        figures=BACKLOG,
        options=("--priorities", "random"),
        tasks=(1_000_000, 100_000),
        stock_tasks=(50_000, 5_000),
        quick_options=("--settle-s", "3"),
        # The floor ignores priorities, so it shows the costs without them.
        floor_options=("--unordered",),
        encrypted_in_quick=False,
    ),
    Case(
        name="backlog-10m",
        title="10,000,000 tasks of 200 bytes queued",
        scenario="backlog",
        figures=BACKLOG,
        options=("--bytes", "200", "--patience-s", "120"),
        tasks=(10_000_000, 1_000_000),
        stock_tasks=None,
        only_by_name=True,
        stock_note="not run: it would take most of an hour",
    ),
    _payload("payload-100k", "100 KiB", 100 << 10, 64, (10_000, 1_500), (2_000, 300)),
    _payload("payload-1m", "1 MiB", 1 << 20, 16, (1_500, 200), (300, 60)),
    _payload("payload-10m", "10 MiB", 10 << 20, 8, (150, 12), (40, 6)),
    Case(
        name="idle",
        title="100 idle managers",
        scenario="idle",
        figures=(IDLE, MEMORY_AT_REST),
        options=("--managers", "100"),
        rest_s=(30, 2),
        encrypted_in_quick=False,
    ),
)

BY_NAME = {case.name: case for case in CASES}
