"""Figures of a run: quantiles, distributions, and sums by block and by column of time."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from htex_interchange.report.model import Manager, Run

BINS_PER_DECADE = 10
# The resolution of the events' clock; a shorter time counts as this.
SHORTEST_S = 1e-5


@dataclass(frozen=True)
class Quantiles:
    count: int
    median_s: float
    p95_s: float
    p99_s: float
    longest_s: float


@dataclass(frozen=True)
class Histogram:
    """Counts in bins of equal ratio: bin i reaches from `edges[i]` up to `edges[i + 1]` seconds."""

    edges: list[float]
    counts: list[int]
    # Times shorter than the clock's resolution; they are counted in the first bin.
    clamped: int


@dataclass(frozen=True)
class Block:
    """The managers of a block. `name` is None for managers whose registration is missing."""

    name: str | None
    managers: list[Manager]
    # The most workers that were registered at the same time.
    workers: int
    first: float
    # When the block's last manager ended; None if a manager was still registered at the end.
    last: float | None
    used_s: float
    registered_s: float
    done: int
    losses: int


def quantiles(values_s: Sequence[float]) -> Quantiles | None:
    """Returns the quantiles of the values; None if there are no values."""
    if not values_s:
        return None
    ordered = sorted(values_s)
    return Quantiles(
        len(ordered),
        _quantile(ordered, 0.5),
        _quantile(ordered, 0.95),
        _quantile(ordered, 0.99),
        ordered[-1],
    )


def histogram(values_s: Iterable[float]) -> Histogram:
    lowest = round(math.log10(SHORTEST_S) * BINS_PER_DECADE)
    counts: dict[int, int] = {}
    clamped, log10, floor = 0, math.log10, math.floor
    for value in values_s:
        if value > SHORTEST_S:
            # The rounding keeps a whole power of ten, which log10 hits exactly, in its own bin.
            place = floor(log10(value) * BINS_PER_DECADE + 1e-9)
        else:
            place, clamped = lowest, clamped + 1
        counts[place] = counts.get(place, 0) + 1
    if not counts:
        return Histogram([], [], 0)
    places = range(min(counts), max(counts) + 1)
    edges = [10 ** (place / BINS_PER_DECADE) for place in (*places, places.stop)]
    return Histogram(edges, [counts.get(place, 0) for place in places], clamped)


def blocks(run: Run) -> list[Block]:
    """Returns the blocks sorted by name, with numbers in names sorted as numbers."""
    by_name: dict[str | None, list[Manager]] = {}
    for manager in run.managers:
        by_name.setdefault(manager.block, []).append(manager)
    lost = [loss.manager.block for loss in run.losses]
    return [_block(name, by_name[name], lost.count(name)) for name in sorted(by_name, key=natural)]


def first_by_block(run: Run) -> dict[str, float]:
    """Returns when the first manager of each block with a name registered."""
    found: dict[str, float] = {}
    for manager in run.managers:
        if manager.block is not None:
            found[manager.block] = min(manager.since, found.get(manager.block, manager.since))
    return found


def natural(name: str | None) -> tuple[int | str, ...]:
    """Returns a sort key by which 2 precedes 10, and None is last."""
    if name is None:
        return (1,)
    parts = re.split(r"(\d+)", name)
    return (0, *(part if place % 2 == 0 else int(part) for place, part in enumerate(parts)))


def present_by_column(run: Run, manager: Manager) -> list[float]:
    """Returns the worker-seconds of a manager while it was registered, by column."""
    columns = run.columns
    found = [0.0] * columns.count
    for begin, end, workers in manager.spans:
        first = min(int((begin - columns.begin) / columns.width_s), columns.column)
        last = min(int((end - columns.begin) / columns.width_s), columns.column)
        for column in range(first, last + 1):
            edge = columns.begin + column * columns.width_s
            seconds = min(end, edge + columns.width_s) - max(begin, edge)
            found[column] += workers * max(seconds, 0.0)
    return found


def sums(series: list[list[float]], length: int) -> list[float]:
    """Adds up the series column by column."""
    found = [0.0] * length
    for one in series:
        found = [total + value for total, value in zip(found, one, strict=True)]
    return found


def most_at_once(managers: list[Manager]) -> int:
    """Returns the most workers that were registered at the same time."""
    changes = []
    for manager in managers:
        for begin, end, workers in manager.spans:
            changes += [(begin, workers), (end, -workers)]
    # At the same moment, removals are counted first: a manager may register again.
    most = now = 0
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most


def registered_s(manager: Manager) -> float:
    return sum((end - begin) * workers for begin, end, workers in manager.spans)


def used_s(manager: Manager) -> float:
    return sum(manager.busy.integrals())


def throughput(run: Run) -> float | None:
    """Returns the tasks done per second between the first acceptance and the last answer."""
    if run.first_task is None or run.last_answer is None or run.last_answer <= run.first_task:
        return None
    return run.done / (run.last_answer - run.first_task)


def _quantile(ordered: list[float], q: float) -> float:
    """Interpolates linearly between neighbours, as numpy and R do."""
    place = q * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def _block(name: str | None, managers: list[Manager], losses: int) -> Block:
    ends = [manager.until for manager in managers]
    return Block(
        name=name,
        managers=managers,
        workers=most_at_once(managers),
        first=min(manager.since for manager in managers),
        last=None if None in ends else max(end for end in ends if end is not None),
        used_s=sum(map(used_s, managers)),
        registered_s=sum(map(registered_s, managers)),
        done=sum(manager.done for manager in managers),
        losses=losses,
    )
