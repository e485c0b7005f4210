"""Formats numbers for readers: durations, shares, counts, rates, and times of day.

Times are local times of the machine that makes the report, with the name of the zone.
"""

from __future__ import annotations

import time

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
NO_BREAK = "\u00a0"

# Seconds and name of the larger unit, then of the smaller unit.
PAIRS = ((86400.0, "d", 3600.0, "h"), (3600.0, "h", 60.0, "min"), (60.0, "min", 1.0, "s"))


def duration(seconds: float) -> str:
    """Formats a duration with two or three significant figures: 1 h 12 min, 2 min 5 s, 3.4 s, 12
    ms."""
    if seconds < 0:
        return "−" + duration(-seconds)
    if seconds == 0:
        return _unit("0", "s")
    if seconds < 0.9995e-3:
        return _unit(_significant(seconds * 1e6), "µs") if seconds >= 1e-6 else _unit("<1", "µs")
    if seconds < 0.9995:
        return _unit(_significant(seconds * 1e3), "ms")
    if seconds < 59.95:
        return _unit(_significant(seconds), "s")
    for large, large_name, small, small_name in PAIRS:
        if round(seconds / small) * small >= large:
            whole, rest = divmod(round(seconds / small), round(large / small))
            text = _unit(str(whole), large_name)
            return f"{text}{NO_BREAK}{_unit(str(rest), small_name)}" if rest else text
    raise AssertionError("the last pair covers a minute")


def worker_time(seconds: float, of: str = "worker-") -> str:
    """Formats worker-seconds in hours, as accounts of clusters do, or in minutes or seconds if
    there are few."""
    for size, name in ((3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * size:
            return _unit(_grouped(seconds / size), of + name)
    return _unit(_grouped(seconds), of + "seconds")


def share(part: float, whole: float) -> str:
    """Formats a share in per cent; only an exact 0 or 1 is shown as 0 or 100."""
    if not whole:
        return "–"
    percent = 100.0 * part / whole
    if percent <= 0 or percent >= 100:
        text = "0" if percent <= 0 else f"{percent:.0f}"
    elif percent < 0.1:
        text = "<0.1"
    elif percent > 99.9:
        text = ">99.9"
    elif percent < 9.95 or percent >= 99.5:
        text = f"{percent:.1f}"
    else:
        text = f"{percent:.0f}"
    return _unit(text, "%")


def count(number: float) -> str:
    return f"{number:,.0f}"


def counted(number: int, noun: str, plural: str = "") -> str:
    """Formats a count with its noun: 1 task, 2 tasks, 1,234 tasks."""
    word = noun if number == 1 else plural or noun + "s"
    return _unit(count(number), word)


def rate(per_second: float) -> str:
    factor, unit = rate_unit(per_second)
    return _unit(_grouped(per_second * factor), unit)


def rate_unit(per_second: float) -> tuple[float, str]:
    """Returns the unit's seconds and name. In this unit the rate is at least one, if it is in any
    unit."""
    for factor, unit in ((1.0, "tasks/s"), (60.0, "tasks/min")):
        if per_second * factor >= 1 or not per_second:
            return factor, unit
    return 3600.0, "tasks/h"


def size(number: float) -> str:
    for factor, unit in ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB")):
        if number >= factor:
            return _unit(_significant(number / factor), unit)
    return _unit(f"{number:.0f}", "bytes")


def clock(t: float, step_s: float = 1.0) -> str:
    """Formats a time of day, such as 14:05:12, as precisely as `step_s` needs."""
    if step_s >= 60:
        return time.strftime("%H:%M", time.localtime(t))
    if step_s >= 1:
        return time.strftime("%H:%M:%S", time.localtime(t))
    tenths = round(t * 1000) / 1000
    return time.strftime("%H:%M:%S", time.localtime(tenths)) + f"{tenths % 1:.3f}"[1:]


def date(t: float) -> str:
    local = time.localtime(t)
    return f"{local.tm_mday}{NO_BREAK}{MONTHS[local.tm_mon - 1]}{NO_BREAK}{local.tm_year}"


def day(t: float) -> str:
    local = time.localtime(t)
    return f"{local.tm_mday}{NO_BREAK}{MONTHS[local.tm_mon - 1]}"


def zone(begin: float, end: float) -> str:
    """Returns the zone's name, or both names if summer time began or ended between `begin` and
    `end`."""
    names = [time.localtime(t).tm_zone for t in (begin, end)]
    return names[0] if names[0] == names[1] else "/".join(names)


def moment(t: float, begin: float, end: float) -> str:
    """Formats a time within a run: with the day if the run has several, with ms if short."""
    text = clock(t, 1.0 if end - begin >= 120 else 0.001)
    return text if date(begin) == date(end) else f"{day(t)} {text}"


def several(words: list[str]) -> str:
    """Joins words: a, b and c."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def _unit(number: str, unit: str) -> str:
    return f"{number}{NO_BREAK}{unit}"


def _significant(value: float) -> str:
    """Formats a number, below 10 with one decimal unless this decimal is zero."""
    text = f"{value:.1f}" if value < 9.95 else f"{value:.0f}"
    return text.removesuffix(".0")


def _grouped(value: float) -> str:
    return f"{value:,.0f}" if value >= 99.5 else _significant(value)
