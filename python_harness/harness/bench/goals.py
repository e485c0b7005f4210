"""The project's performance goals, each compared with the medians of one series."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from harness.bench.table import COLUMNS, digits
from harness.measure.compare import console as shared_console

KINDS = ("plain", "encrypted")
STOCK_RATIO_4 = 1 / 25
STOCK_RATIO_1000 = 1 / 80
MB = 1e6


class Missing(Exception):
    """A figure was not measured in this series."""


@dataclass(frozen=True)
class Goal:
    """A value that must not be above (or, with `at_least`, below) a limit."""

    title: str
    value: Callable[[Medians], float]
    limit: float | Callable[[Medians], float]
    at_least: bool = False


class Medians:
    """Figures by case, kind, contender and name."""

    def __init__(self, results: dict) -> None:
        self.found = results["medians"]

    def get(self, case: str, kind: str, contender: str, name: str) -> float:
        try:
            return self.found[case][kind][contender][name]
        except KeyError:
            raise Missing(f"{case}, {kind}, {contender}: {name}") from None


def _ratio(case: str, kind: str, name: str, other: str) -> Callable[[Medians], float]:
    """Returns a function for the ratio of htex-interchange's figure to another contender's."""
    return lambda medians: (
        medians.get(case, kind, "ours", name) / medians.get(case, kind, other, name)
    )


def _ours(case: str, kind: str, name: str) -> Callable[[Medians], float]:
    return lambda medians: medians.get(case, kind, "ours", name)


def _peak_limit(case: str, kind: str) -> Callable[[Medians], float]:
    """Returns a function for the memory limit: the largest amount of data in transit in both
    directions, plus twice the largest message."""
    return lambda medians: (
        medians.get(case, kind, "ours", "underway_peak_mb")
        + 2 * medians.get(case, kind, "ours", "task_bytes") / MB
    )


def _goals() -> list[Goal]:
    goals = []
    cpu, rate = "cpu_us_per_task", "tasks_per_s"
    for kind, floor_4 in (("plain", 1.3), ("encrypted", 1.25)):
        four, thousand = f"4 × 16, {kind}", f"1,000 × 4, {kind}"
        goals += [
            Goal(
                f"{four}: CPU per task / floor", _ratio("throughput", kind, cpu, "floor"), floor_4
            ),
            Goal(f"{four}: tasks/s / floor", _ratio("throughput", kind, rate, "floor"), 0.85, True),
            Goal(
                f"{thousand}: CPU per task / floor",
                _ratio("managers-1000", kind, cpu, "floor"),
                1.4,
            ),
        ]
    plain = "plain"
    goals += [
        Goal(
            "4 × 16: CPU per task / stock", _ratio("throughput", plain, cpu, "stock"), STOCK_RATIO_4
        ),
        Goal(
            "1,000 × 4: CPU per task / stock",
            _ratio("managers-1000", plain, cpu, "stock"),
            STOCK_RATIO_1000,
        ),
    ]
    for kind in KINDS:
        goals += _goals_of_8192(kind)
        goals.append(
            Goal(
                f"added latency p50, {kind} / floor",
                _ratio("latency", kind, "added_p50_us", "floor"),
                1.1,
            )
        )
    for case in ("backlog", "backlog-priorities"):
        goals += _goals_of_backlog(case)
    for case in ("payload-1m", "payload-10m"):
        for kind in KINDS:
            goals += [
                Goal(
                    f"{case}, {kind}: MB/s / floor",
                    _ratio(case, kind, "mb_per_s", "floor"),
                    0.9,
                    True,
                ),
                Goal(
                    f"{case}, {kind}: CPU per MB / floor",
                    _ratio(case, kind, "cpu_ms_per_mb", "floor"),
                    1.1,
                ),
                Goal(
                    f"{case}, {kind}: peak memory, MB",
                    _ours(case, kind, "rss_peak_growth_mb"),
                    _peak_limit(case, kind),
                ),
            ]
    return [
        *goals,
        Goal("start to ready, ms", _ours("start", plain, "start_ms"), 20),
        Goal("memory at the start, MB", _ours("start", plain, "rss_start_mb"), 10),
    ]


def _goals_of_8192(kind: str) -> list[Goal]:
    case, rate, name = "managers-8192", "tasks_per_s", f"8,192 × 32, {kind}"
    return [
        Goal(f"{name}: all registered, s", _ours(case, kind, "registration_s"), 10),
        Goal(
            f"{name}: tasks/s / tasks/s with 4 managers",
            lambda medians: (
                medians.get(case, kind, "ours", rate)
                / medians.get("throughput", kind, "ours", rate)
            ),
            0.7,
            True,
        ),
        Goal(f"{name}: idle CPU / floor", _ratio(case, kind, "idle_cpu_percent", "floor"), 1.2),
    ]


def _goals_of_32768() -> list[Goal]:
    case, name = "managers-32768", "32,768 × 32"
    goals = []
    for kind in KINDS:
        goals += [
            Goal(f"{name}, {kind}: all registered, s", _ours(case, kind, "registration_s"), 30),
            Goal(
                f"{name}, {kind}: idle CPU / floor",
                _ratio(case, kind, "idle_cpu_percent", "floor"),
                1.2,
            ),
            Goal(
                f"{name}, {kind}: CPU per task / floor",
                _ratio(case, kind, "cpu_us_per_task", "floor"),
                1.4,
            ),
        ]
    return goals


def _goals_of_backlog(case: str) -> list[Goal]:
    kind = "plain"
    return [
        Goal(
            f"{case}: memory per queued task, B", _ours(case, kind, "bytes_per_queued_task"), 1400
        ),
        Goal(
            f"{case}: accepted/s / floor", _ratio(case, kind, "accepted_per_s", "floor"), 0.8, True
        ),
        Goal(f"{case}: drained/s / floor", _ratio(case, kind, "drained_per_s", "floor"), 0.8, True),
        Goal(
            f"{case}: memory left after the last result, MB", _ours(case, kind, "rss_left_mb"), 20
        ),
    ]


def show(results: dict) -> bool:
    """Prints the verdicts; returns True if every goal is reached."""
    console = Console(highlight=False, width=max(COLUMNS, shared_console.width))
    medians = Medians(results)
    table = Table(title="goals")
    for heading in ("", "is", "should be", ""):
        table.add_column(heading, justify="right" if heading else "left")
    reached = 0
    goals = _goals()
    # A plain series leaves this case out.
    if "managers-32768" in results["medians"]:
        goals += _goals_of_32768()
    for goal in goals:
        try:
            value = goal.value(medians)
            limit = goal.limit(medians) if callable(goal.limit) else goal.limit
        except Missing:
            table.add_row(goal.title, "", "", "not measured")
            continue
        is_reached = value >= limit if goal.at_least else value <= limit
        reached += is_reached
        bound = f"{'≥' if goal.at_least else '≤'} {digits(limit)}"
        table.add_row(goal.title, digits(value), bound, "reached" if is_reached else "NOT REACHED")
    console.print(table)
    console.print(f"{reached} of {len(goals)} goals reached")
    if results["quick"] or results["rounds"] < 3:
        console.print(
            "Quick runs and runs of few rounds are too noisy for a verdict on these goals."
        )
    return reached == len(goals)
