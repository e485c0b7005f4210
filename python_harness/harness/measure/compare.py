"""Code that the comparisons share: the two interchanges, alternating runs, medians, one table.

Runs of the two interchanges alternate, and so does the one that starts, so that a machine whose
speed changes during the series favours neither.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from harness.setup import environment

console = Console(highlight=False)

Measurement = dict[str, float]


@dataclass(frozen=True)
class Contender:
    name: str
    command: tuple[str, ...]


def contenders(binary: Path) -> tuple[Contender, Contender]:
    """Returns stock and htex-interchange, in this order."""
    return (
        Contender("stock", tuple(environment.stock_command())),
        Contender("htex-interchange", (str(binary),)),
    )


def in_turn(
    pair: tuple[Contender, Contender], times: int, measure: Callable[[Contender], Measurement]
) -> tuple[Measurement, Measurement]:
    """Measures each of the pair `times` times in alternation, and returns the medians of each
    quantity."""
    taken: dict[str, list[Measurement]] = {one.name: [] for one in pair}
    for turn in range(times):
        for one in pair if turn % 2 == 0 else reversed(pair):
            taken[one.name].append(measure(one))
    return tuple(
        {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        for runs in taken.values()
    )


@dataclass(frozen=True)
class Row:
    """One row of the table. `ratio_goal` is the least ratio in htex-interchange's favour; `limit`
    is a value below which htex-interchange must stay."""

    title: str
    stock: float | None
    ours: float
    unit: str
    larger_is_better: bool = False
    ratio_goal: float | None = None
    limit: float | None = None

    @property
    def ratio(self) -> float | None:
        if self.stock is None or not self.ours or not self.stock:
            return None
        return self.ours / self.stock if self.larger_is_better else self.stock / self.ours

    @property
    def met(self) -> bool | None:
        if self.ratio_goal is not None:
            return self.ratio is not None and self.ratio >= self.ratio_goal
        return None if self.limit is None else self.ours < self.limit


def show(title: str, rows: list[Row]) -> bool:
    """Prints the table; returns False if a goal was missed."""
    table = Table(title=title)
    table.add_column("")
    for heading in ("stock", "ours", "better by", "goal"):
        table.add_column(heading, justify="right")
    for row in rows:
        goal = ""
        if row.ratio_goal is not None:
            goal = f"x {row.ratio_goal:g}"
        elif row.limit is not None:
            goal = f"< {row.limit:g} {row.unit}"
        verdict = "" if row.met is None else (" ok" if row.met else " MISSED")
        table.add_row(
            row.title,
            "" if row.stock is None else f"{_digits(row.stock)} {row.unit}",
            f"{_digits(row.ours)} {row.unit}",
            f"x {row.ratio:.1f}" if row.ratio else "",
            goal + verdict,
        )
    console.print(table)
    return all(row.met is not False for row in rows)


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}" if value < 10 else f"{value:.1f}"
