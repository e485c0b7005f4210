"""Reads the records of `jobs.span`: where each task ran, and from when to when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path


@dataclass(frozen=True)
class Span:
    name: str
    manager: str
    begin: float
    end: float


def read(path: Path) -> list[Span]:
    """Returns the records in the order in which the tasks began."""
    lines = [line.split() for line in path.read_text().splitlines()]
    spans = [Span(name, manager, float(begin), float(end)) for name, manager, begin, end in lines]
    return sorted(spans, key=lambda span: span.begin)


def by_manager(spans: list[Span]) -> dict[str, list[Span]]:
    ordered = sorted(spans, key=lambda span: (span.manager, span.begin))
    return {manager: list(own) for manager, own in groupby(ordered, lambda span: span.manager)}


def most_at_once(spans: list[Span], slots_of: Callable[[Span], int]) -> int:
    """Returns the highest number of slots that were in use at once."""
    # A task that ends at the moment when another begins does not overlap it.
    edges = [(span.begin, slots_of(span)) for span in spans]
    edges += [(span.end, -slots_of(span)) for span in spans]
    taken = most = 0
    for _, slots in sorted(edges):
        taken += slots
        most = max(most, taken)
    return most


def changes(spans: list[Span]) -> int:
    """Counts how often a manager began a task with another name than its previous task's."""
    return sum(
        before.name != after.name
        for own in by_manager(spans).values()
        for before, after in pairwise(own)
    )


def mixed(spans: list[Span]) -> list[tuple[Span, Span]]:
    """Returns pairs of tasks with different names that ran on one manager at the same time."""
    return [
        (one, other)
        for own in by_manager(spans).values()
        for number, one in enumerate(own)
        for other in own[number + 1 :]
        if other.begin < one.end and other.name != one.name
    ]
