"""Positions and labels of the ticks of an axis: counts, durations on a log scale, and times."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from htex_interchange.report import units

# For a run up to this long, the time axis shows seconds since the first event.
ELAPSED_UP_TO_S = 120.0

# Ticks of a logarithmic axis of durations.
DECADES = (
    (1e-5, "10 µs"),
    (1e-4, "0.1 ms"),
    (1e-3, "1 ms"),
    (1e-2, "10 ms"),
    (0.1, "0.1 s"),
    (1.0, "1 s"),
    (10.0, "10 s"),
    (60.0, "1 min"),
    (600.0, "10 min"),
    (3600.0, "1 h"),
    (36000.0, "10 h"),
    (864000.0, "10 d"),
    (8640000.0, "100 d"),
)

# Tick distances for times of day: seconds of the unit, its name, and the multiples of it to choose
# from.
CLOCK_STEPS = (
    (1.0, "second", (30,)),
    (60.0, "minute", (1, 2, 5, 10, 15, 30)),
    (3600.0, "hour", (1, 2, 3, 6, 12)),
    (86400.0, "day", (1, 2, 7, 14, 28, 56, 182, 364)),
)


@dataclass(frozen=True)
class Ticks:
    """The values of an axis's ticks with their labels, and the axis's title."""

    marks: list[tuple[float, str]]
    title: str


def nice_step(span: float, at_most: int) -> float:
    """Returns the smallest of 1, 2, 5 or 10 times a power of ten that divides `span` into at most
    `at_most` parts."""
    rough = span / max(at_most, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    for factor in (1, 2, 5, 10):
        if factor * power >= rough * (1 - 1e-9):
            return factor * power
    return 10 * power


def count_ticks(most: float, at_most: int = 5, *, whole: bool = True) -> list[tuple[float, str]]:
    """Returns ticks from 0 to at least `most`; the last tick is the end of the axis."""
    step = nice_step(most or 1.0, at_most)
    if whole:
        step = max(step, 1.0)
    number = max(1, math.ceil(most / step - 1e-9))
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    values = [place * step for place in range(number + 1)]
    return [(value, _shortened(value, digits, values[-1])) for value in values]


def duration_ticks(low: float, high: float) -> list[tuple[float, str]]:
    return [(value, label) for value, label in DECADES if low <= value * 1.0001 and value <= high]


def time_ticks(begin: float, end: float, at_most: int) -> Ticks:
    """Returns times of day in the local zone; for a short run, seconds since its first event."""
    if end - begin < ELAPSED_UP_TO_S:
        return _elapsed_ticks(begin, end, at_most)
    size, unit, multiple = _clock_step(end - begin, at_most)
    marks: list[tuple[float, str]] = []
    for t in _clock_times(begin, end, unit, multiple):
        local = time.localtime(t)
        is_midnight = (local.tm_hour, local.tm_min, local.tm_sec) == (0, 0, 0)
        label = units.day(t) if unit == "day" or is_midnight else units.clock(t, size)
        marks.append((t, label))
    days = units.date(begin)
    if units.date(end) != days:
        days = f"{units.day(begin)} to {units.date(end)}"
    return Ticks(marks, f"local time ({units.zone(begin, end)}), {days}")


def _elapsed_ticks(begin: float, end: float, at_most: int) -> Ticks:
    span = max(end - begin, 1e-3)
    step = nice_step(span, at_most)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    marks = [
        (begin + place * step, f"{place * step:.{digits}f}")
        for place in range(int(span / step + 1e-9) + 1)
    ]
    at = f"{units.clock(begin)} {units.zone(begin, end)}, {units.date(begin)}"
    return Ticks(marks, f"seconds since {at}")


def _clock_step(span: float, at_most: int) -> tuple[float, str, int]:
    for size, unit, multiples in CLOCK_STEPS:
        for multiple in multiples:
            if span / (size * multiple) <= at_most:
                return size, unit, multiple
    return size, unit, multiples[-1] * math.ceil(span / (size * multiples[-1] * at_most))


def _clock_times(begin: float, end: float, unit: str, multiple: int) -> list[float]:
    """Returns whole multiples of the unit by the local clock, also where summer time begins or
    ends."""
    local = time.localtime(begin)
    year, month, mday, hour, minute, second = local[:6]
    found: list[float] = []
    for place in range(2000):
        step = place * multiple
        parts = {
            "second": (year, month, mday, hour, minute, second // multiple * multiple + step),
            "minute": (year, month, mday, hour, minute // multiple * multiple + step, 0),
            "hour": (year, month, mday, hour // multiple * multiple + step, 0, 0),
            "day": (year, month, mday + step, 0, 0, 0),
        }[unit]
        t = time.mktime((*parts, 0, 0, -1))
        if t > end:
            break
        if t >= begin and (not found or t > found[-1]):
            found.append(t)
    return found


def _shortened(value: float, digits: int, top: float) -> str:
    """Writes a number in thousands, millions or billions if the axis reaches far; at most seven
    characters."""
    if not value:
        return "0"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if top >= size and top >= 1e5:
            return f"{value / size:.6g}{units.NO_BREAK}{letter}"
    return f"{value:,.{digits}f}"
