"""What tasks wrote down of themselves (`jobs.span`): where each ran, from when to when."""

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
    """In the order in which they began."""
    lines = [line.split() for line in path.read_text().splitlines()]
    spans = [Span(name, manager, float(begin), float(end)) for name, manager, begin, end in lines]
    return sorted(spans, key=lambda span: span.begin)


def by_manager(spans: list[Span]) -> dict[str, list[Span]]:
    ordered = sorted(spans, key=lambda span: (span.manager, span.begin))
    return {manager: list(own) for manager, own in groupby(ordered, lambda span: span.manager)}


def most_at_once(spans: list[Span], slots_of: Callable[[Span], int]) -> int:
    """The most slots that were taken at any moment."""
    # Who ends at a moment is gone for those who begin at it.
    edges = [(span.begin, slots_of(span)) for span in spans]
    edges += [(span.end, -slots_of(span)) for span in spans]
    taken = most = 0
    for _, slots in sorted(edges):
        taken += slots
        most = max(most, taken)
    return most


def changes(spans: list[Span]) -> int:
    """How often a manager began something of another name than what it began before."""
    return sum(
        before.name != after.name
        for own in by_manager(spans).values()
        for before, after in pairwise(own)
    )


def mixed(spans: list[Span]) -> list[tuple[Span, Span]]:
    """Those of different names that ran on one manager at one time."""
    return [
        (one, other)
        for own in by_manager(spans).values()
        for number, one in enumerate(own)
        for other in own[number + 1 :]
        if other.begin < one.end and other.name != one.name
    ]
