"""The series behind the pictures, computed once: values by column of time, ready to be drawn."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from htex_interchange.report.figures import natural, present_by_column
from htex_interchange.report.model import Manager, Run

# The number of colours that can be told apart.
STACKED_BLOCKS_MAX = 7
THROUGHPUT_COLUMNS_MAX = 128
STRIP_ROWS_MAX = 64
STRIP_COLUMNS_MAX = 256


@dataclass
class Row:
    """The managers in one row of the strip, and their worker-seconds by column, used and
    registered."""

    label: str
    block: str | None
    managers: list[Manager] = field(default_factory=list)
    used: list[float] = field(default_factory=list)
    registered: list[float] = field(default_factory=list)


@dataclass
class Series:
    """Means over the columns between `edges` (seconds since the epoch)."""

    edges: list[float]
    queued: list[float]
    prefetched: list[float]
    running: list[float]
    # Tasks in flight at managers whose number of workers is not known.
    unplaced: list[float]
    # Totals at the end of each column.
    done: list[int]
    failed: list[int]
    # Tasks done per second, in separate, wider columns.
    throughput_edges: list[float]
    throughput: list[float]
    # Busy workers by block, for the blocks with the most used time; the rest is summed up as
    # "others".
    busy: list[tuple[str, list[float]]]
    registered: list[float]
    strip_edges: list[float]
    rows: list[Row]
    managers_in_a_row: int


def series_of(run: Run) -> Series:
    spans = run.columns.spans()
    edges = [run.begin + column * run.columns.width_s for column in range(len(spans))]
    edges.append(run.until)
    rows, in_a_row, used_by_block, registered = _rows(run)
    used = [sum(column) for column in zip(*used_by_block.values(), strict=True)]
    used = used or [0.0] * len(spans)
    shared = run.shared_steps.integrals()
    running = [workers - more for workers, more in zip(used, shared, strict=True)]
    done = run.done_counts.by_column()
    throughput_edges, throughput = _throughput(edges, done)
    return Series(
        edges=edges,
        queued=_means(run.queued_steps.integrals(), spans),
        prefetched=_means(run.prefetched_steps.integrals(), spans),
        running=_means(running, spans),
        unplaced=_means(run.unplaced_steps.integrals(), spans),
        done=_summed_up(done),
        failed=_summed_up(run.failed_counts.by_column()),
        throughput_edges=throughput_edges,
        throughput=throughput,
        busy=[(name, _means(one, spans)) for name, one in _most_used(used_by_block)],
        registered=_means(registered, spans),
        strip_edges=_every(edges, _strip_factor(len(spans))),
        rows=rows,
        managers_in_a_row=in_a_row,
    )


def _rows(run: Run) -> tuple[list[Row], int, dict[str, list[float]], list[float]]:
    """Returns the strip's rows, the most managers that share a row, and sums by block and over all.
    Columns of single managers are not kept, because there may be thousands of managers."""
    length = run.columns.count
    known = [manager for manager in run.managers if manager.is_known]
    known.sort(key=lambda manager: (natural(manager.block), manager.since, manager.name))
    groups, in_a_row = _groups(known)
    factor = _strip_factor(length)
    by_block: dict[str, list[float]] = {}
    registered = [0.0] * length
    rows = []
    for group in groups:
        row = Row(_row_label(group), group[0].block, group)
        row_used, row_registered = [0.0] * length, [0.0] * length
        for manager in group:
            used = manager.busy.integrals()
            _add(by_block.setdefault(_block_name(manager), [0.0] * length), used)
            _add(row_used, used)
            _add(row_registered, present_by_column(run, manager))
        _add(registered, row_registered)
        row.used, row.registered = _folded(row_used, factor), _folded(row_registered, factor)
        rows.append(row)
    return rows, in_a_row, by_block, registered


def _groups(managers: list[Manager]) -> tuple[list[list[Manager]], int]:
    """Returns rows of equally many managers each, all of the same block unless there are too many
    blocks."""
    by_block: dict[str | None, list[Manager]] = {}
    for manager in managers:
        by_block.setdefault(manager.block, []).append(manager)
    if len(by_block) > STRIP_ROWS_MAX:
        size = math.ceil(len(managers) / STRIP_ROWS_MAX)
        return _cut(managers, size), size
    size = 1
    while sum(math.ceil(len(group) / size) for group in by_block.values()) > STRIP_ROWS_MAX:
        size += 1
    return [part for group in by_block.values() for part in _cut(group, size)], size


def _cut(managers: list[Manager], size: int) -> list[list[Manager]]:
    return [managers[at : at + size] for at in range(0, len(managers), size)]


def _row_label(group: list[Manager]) -> str:
    first, last = _block_name(group[0]), _block_name(group[-1])
    return first if first == last else f"{first}–{last}"


def _block_name(manager: Manager) -> str:
    return "none" if manager.block is None else manager.block


def _most_used(by_block: dict[str, list[float]]) -> list[tuple[str, list[float]]]:
    """Returns at most STACKED_BLOCKS_MAX series in the order of their names, with the rest summed
    up last."""
    if len(by_block) <= STACKED_BLOCKS_MAX:
        return [(f"block {name}", values) for name, values in by_block.items()]
    order = sorted(by_block, key=lambda name: sum(by_block[name]), reverse=True)
    shown = set(order[: STACKED_BLOCKS_MAX - 1])
    rest = [0.0] * len(by_block[order[0]])
    for name in order[STACKED_BLOCKS_MAX - 1 :]:
        _add(rest, by_block[name])
    found = [(f"block {name}", values) for name, values in by_block.items() if name in shown]
    return [*found, (f"{len(by_block) - len(shown)} other blocks", rest)]


def _throughput(edges: list[float], done: list[int]) -> tuple[list[float], list[float]]:
    """Returns edges and tasks per second. A last column of less than half the width is merged with
    the previous one, because a rate over a very short time means nothing."""
    factor = math.ceil(len(done) / THROUGHPUT_COLUMNS_MAX)
    wide, counts = _every(edges, factor), [int(one) for one in _folded(done, factor)]
    if len(counts) > 1 and wide[-1] - wide[-2] < 0.5 * (wide[1] - wide[0]):
        last = counts.pop()
        counts[-1] += last
        del wide[-2]
    spans = [late - early for early, late in itertools.pairwise(wide)]
    return wide, _means(counts, spans)


def _strip_factor(length: int) -> int:
    return math.ceil(length / STRIP_COLUMNS_MAX)


def _every(edges: list[float], factor: int) -> list[float]:
    return [*edges[:-1:factor], edges[-1]]


def _folded(values: Sequence[float], factor: int) -> list[float]:
    return [sum(values[at : at + factor]) for at in range(0, len(values), factor)]


def _means(integrals: Sequence[float], spans: list[float]) -> list[float]:
    # Values that are added and removed at the same moment leave a rounding error.
    return [
        max(total / span, 0.0) if span > 0 else 0.0
        for total, span in zip(integrals, spans, strict=True)
    ]


def _summed_up(counts: list[int]) -> list[int]:
    total, found = 0, []
    for number in counts:
        total += number
        found.append(total)
    return found


def _add(to: list[float], values: list[float]) -> None:
    for place, value in enumerate(values):
        if value:
            to[place] += value
