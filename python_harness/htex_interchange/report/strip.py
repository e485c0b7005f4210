"""The picture of managers: a row for each (or for some of the same block), coloured by use."""

from __future__ import annotations

import math
from html import escape

from htex_interchange.report import units
from htex_interchange.report.axes import time_ticks
from htex_interchange.report.figures import registered_s, used_s
from htex_interchange.report.model import Run
from htex_interchange.report.series import Row, Series
from htex_interchange.report.svg import LEVELS, MARKS, Drawing, Key, Layout, text_width

HEIGHT_PX = 420
ROW_PX_MAX, ROW_PX_MIN = 22.0, 5.0
MARKS_DRAWN_MAX = 400
# With more blocks than this, there is no gap between blocks.
BLOCKS_APART_MAX = 24
LABEL_PX = 12.0
LABELS_PX_MAX = 110
BESIDE_PX = 12
MARK_WORDS = {
    "lost": "lost",
    "replaced": "replaced",
    "draining": "draining",
    "held": "held",
    "failing": "all tasks fail",
    "suspect": "connection closed",
    "awaited": "others of its block lost",
    "back": "reconnected",
    "gave_up": "tasks given up",
}


def draw(run: Run, series: Series, layout: Layout) -> Drawing:
    rows = series.rows
    marked = marks_of(run, rows)[0]
    states = [state for state in MARKS if any(one[2] == state for one in marked)]
    offsets, row_px, height = _places(rows)
    drawing = Drawing(layout, math.ceil(height))
    widest = max(text_width(row.label) for row in rows) + BESIDE_PX
    drawing.left = max(layout.left, min(math.ceil(widest), LABELS_PX_MAX))
    drawing.legend(
        "block",
        [
            Key("used (from 0 to 100 %)", "", "ramp"),
            *(Key(MARK_WORDS[state], "", state) for state in states),
        ],
    )
    drawing.x_range = (run.begin, run.until)
    tops = [drawing.top + offset for offset in offsets]
    _add_cells(drawing, series, tops, row_px)
    for row, top in zip(rows, tops, strict=True):
        drawing.add(
            f'<rect class="hit" x="{drawing.left}" y="{top:.1f}" width="'
            f'{drawing.right - drawing.left}" height="{row_px:.1f}"><title>'
            f"{escape(_words(run, row))}</title></rect>"
        )
    _add_labels(drawing, rows, tops, row_px)
    for place, t, state, words in marked:
        drawing.mark(drawing.x(t), tops[place] + row_px / 2, state, words)
    times = time_ticks(run.begin, run.until, layout.time_ticks)
    drawing.x_axis(times.marks, times.title)
    return drawing


def marks_of(run: Run, rows: list[Row]) -> tuple[list[tuple[int, float, str, str]], int]:
    """Returns row, time, state and words of each mark, and the number of marks that are left out.
    If there are too many, the most important states are kept."""
    found = []
    for place, row in enumerate(rows):
        for manager in row.managers:
            for t, state in manager.marks:
                if state in MARKS:
                    words = f"{manager.host}: {MARK_WORDS[state]}, "
                    words += units.moment(t, run.begin, run.until)
                    found.append((place, t, state, words))
    order = list(MARKS)
    found.sort(key=lambda one: (order.index(one[2]), one[1]))
    beyond = sum(manager.marks_beyond for manager in run.managers)
    return found[:MARKS_DRAWN_MAX], beyond + max(0, len(found) - MARKS_DRAWN_MAX)


def level_of(used: float, registered: float) -> int:
    """Returns the level of use: 0 only if completely idle, LEVELS from 7/8 up."""
    if used <= 1e-9 * registered:
        return 0
    return min(LEVELS, int(used / registered * LEVELS) + 1)


def _places(rows: list[Row]) -> tuple[list[float], float, float]:
    """Returns the offset of each row, the height of a row, and the height of all rows."""
    row_px = max(ROW_PX_MIN, min(ROW_PX_MAX, HEIGHT_PX / len(rows)))
    blocks = len({row.block for row in rows})
    gap = 3.0 if blocks <= BLOCKS_APART_MAX else 0.0
    offsets, y = [], 0.0
    for place, row in enumerate(rows):
        if place and row.block != rows[place - 1].block:
            y += gap
        offsets.append(y)
        y += row_px
    return offsets, row_px, y


def _add_cells(drawing: Drawing, series: Series, tops: list[float], row_px: float) -> None:
    """Draws one path for each level of use; neighbouring cells of the same level form one
    rectangle."""
    paths: list[list[str]] = [[] for _ in range(LEVELS + 1)]
    inner = max(row_px - 1, 1)
    xs = [drawing.x(edge) for edge in series.strip_edges]
    for row, top in zip(series.rows, tops, strict=True):
        begin = 0
        levels = [
            level_of(used, there) if there > 0 else None
            for used, there in zip(row.used, row.registered, strict=True)
        ]
        for place in range(1, len(levels) + 1):
            if place < len(levels) and levels[place] == levels[begin]:
                continue
            level = levels[begin]
            if level is not None:
                x, end = xs[begin], max(xs[place], xs[begin] + 0.5)
                paths[level].append(f"M{x:.1f} {top:.1f}H{end:.1f}v{inner:.1f}H{x:.1f}Z")
            begin = place
    for number, path in enumerate(paths):
        if path:
            drawing.add(f'<path class="u{number} cells" d="{"".join(path)}"/>')


def _add_labels(drawing: Drawing, rows: list[Row], tops: list[float], row_px: float) -> None:
    """Writes a block's name once for all its rows, where there is room for it."""
    free_from = -math.inf
    begin = 0
    for place in range(1, len(rows) + 1):
        if place < len(rows) and rows[place].label == rows[begin].label:
            continue
        middle = (tops[begin] + tops[place - 1] + row_px) / 2
        if middle - LABEL_PX / 2 >= free_from:
            label, room = rows[begin].label, drawing.left - BESIDE_PX
            while text_width(label) > room:
                label = label.removesuffix("…")[:-1] + "…"
            drawing.text(drawing.left - 8, middle + 4, label, anchor="end")
            free_from = middle + LABEL_PX / 2
        begin = place


def _words(run: Run, row: Row) -> str:
    used, there = sum(map(used_s, row.managers)), sum(map(registered_s, row.managers))
    done = units.counted(sum(manager.done for manager in row.managers), "task")
    share = f"{units.share(used, there)} used, {done} done"
    if len(row.managers) > 1:
        return f"{len(row.managers)} managers of block {row.label}: {share}"
    (manager,) = row.managers
    workers = units.counted(manager.workers, "worker")
    text = f"{manager.host}, block {row.label}, manager {manager.name}: {workers}, {share}"
    if manager.until is not None:
        text += f"; {manager.ended_by} {units.moment(manager.until, run.begin, run.until)}"
    return text
