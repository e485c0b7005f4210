"""The pictures of a run: tasks in flight, throughput, and the use of the workers.

Each picture has a drawing for each layout, a caption that says how to read it, and a description in
words for readers who cannot see it.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from htex_interchange.report import strip, units
from htex_interchange.report.axes import count_ticks, duration_ticks, time_ticks
from htex_interchange.report.figures import Histogram, Quantiles, throughput
from htex_interchange.report.model import AT_MANAGERS, IN_QUEUE, NOWHERE, Run
from htex_interchange.report.series import Series
from htex_interchange.report.svg import HALF, LINE_PX, NARROW, WIDE, Drawing, Key, Layout

BLOCK_COLOURS = ("c1", "c2", "c3", "c4", "c5", "c6", "c7")
LOSSES_MARKED = 100


@dataclass(frozen=True)
class Picture:
    """A picture of the page. `drawings` are the same picture for several widths, as SVG. `data` is
    what is shown under a pointer (JSON), or empty."""

    name: str
    heading: str
    caption: str
    drawings: list[str]
    data: str = ""
    half: bool = False


class Picturer:
    """Draws the pictures of one run; `prefix` makes their names unique on a page of runs."""

    def __init__(self, run: Run, series: Series, prefix: str) -> None:
        self.run = run
        self.series = series
        self.prefix = prefix

    def in_flight(self) -> Picture:
        series = self.series
        layers = [
            ("running", series.running, "c1"),
            ("waiting at managers", series.prefetched, "c2"),
            ("in the queue", series.queued, "queue"),
        ]
        if any(series.unplaced):
            layers.insert(0, ("in flight at unknown managers", series.unplaced, "c5"))
        most = [f"{name} {max(values):,.1f}" for name, values, _ in layers]

        def draw(layout: Layout) -> Drawing:
            drawing = self._time_drawing(
                layout,
                "tasks",
                [Key(name, colour) for name, _, colour in layers],
                max(map(sum, zip(*(values for _, values, _ in layers), strict=True))),
            )
            drawing.stacked(series.edges, [(values, colour) for _, values, colour in layers])
            return self._with_losses(drawing)

        return self._timed(
            "in-flight",
            "Tasks in the queue and in flight",
            "Stacked: tasks that workers had, tasks that managers had prefetched but not started, "
            "and tasks in the interchange's queue.",
            f"Stacked areas over time. Highest values, as means of columns: {', '.join(most)}.",
            draw,
            series.edges,
            [(name, values) for name, values, _ in layers],
        )

    def answered(self) -> Picture:
        series, run = self.series, self.run
        lines = [("done", series.done, "c1")]
        if run.failed:
            lines.append(("failed in HTEX", series.failed, "bad"))

        def draw(layout: Layout) -> Drawing:
            keys = [Key(name, colour, "line") for name, _, colour in lines]
            drawing = self._time_drawing(layout, "tasks", keys, max(run.done, run.failed_count))
            for _, values, colour in lines:
                points = [(series.edges[0], 0), *zip(series.edges[1:], values, strict=True)]
                drawing.curve(points, colour)
            return self._with_losses(drawing)

        return self._timed(
            "answered",
            "Tasks answered so far",
            "A task is done when its result was forwarded, even if that result is the task's own "
            "exception. A task has failed in HTEX if HTEX gave it up, as with a lost manager.",
            f"Lines over time that end at {run.done:,} done and {run.failed_count:,} failed.",
            draw,
            series.edges,
            [(name, values) for name, values, _ in lines],
        )

    def throughput(self) -> Picture:
        series, mean = self.series, throughput(self.run)
        most = max(series.throughput)
        factor, unit = units.rate_unit(most)
        rates = [factor * value for value in series.throughput]
        width = units.duration(series.throughput_edges[1] - series.throughput_edges[0])

        def draw(layout: Layout) -> Drawing:
            keys = [Key(f"done, over {width} each", "c1")]
            if mean is not None:
                keys.append(Key(f"mean {units.rate(mean)}", "ink", "line"))
            drawing = self._time_drawing(layout, unit, keys, max(rates), whole=False)
            drawing.stacked(series.throughput_edges, [(rates, "c1")])
            if mean is not None:
                ends = (self.run.first_task, self.run.last_answer)
                drawing.curve([(t, factor * mean) for t in ends if t is not None], "ink")
            return self._with_losses(drawing)

        shown = "none" if mean is None else units.rate(mean)
        return self._timed(
            "throughput",
            "Throughput",
            "Rate of tasks done. The mean covers the time from the first acceptance to the last "
            "answer.",
            f"Tasks done over time; mean {shown}, at most {units.rate(most)} over {width}.",
            draw,
            series.throughput_edges,
            [(unit, rates)],
        )

    def workers(self) -> Picture:
        series, run = self.series, self.run
        layers = [
            (name, values, colour)
            for (name, values), colour in zip(series.busy, BLOCK_COLOURS, strict=False)
        ]
        if layers and layers[-1][0].endswith("other blocks"):
            layers[-1] = (*layers[-1][:2], "rest")

        def draw(layout: Layout) -> Drawing:
            keys = [Key(name, colour) for name, _, colour in layers]
            keys.append(Key("registered", "ink", "line"))
            drawing = self._time_drawing(layout, "workers", keys, max(series.registered))
            drawing.stacked(series.edges, [(values, colour) for _, values, colour in layers])
            drawing.line(series.edges, series.registered, "ink")
            return self._with_losses(drawing)

        used = units.share(run.worker_time.used, run.worker_time.registered)
        return self._timed(
            "workers",
            "Workers with a task, by block",
            "Coloured areas: workers that had a task. Line: all workers of registered managers. "
            "Workers between the areas and the line were idle.",
            f"Stacked areas over time under a line. {used} of the registered time was used; at "
            f"most {max(series.registered):,.1f} workers were registered.",
            draw,
            series.edges,
            [("registered", series.registered), *((name, values) for name, values, _ in layers)],
        )

    def worker_time(self) -> Picture:
        parts = time_parts(self.run)
        whole = self.run.worker_time.registered

        def draw(layout: Layout) -> Drawing:
            drawing = Drawing(layout, 34, below=8)
            drawing.left, drawing.right = 0, layout.width
            drawing.legend(
                "",
                [
                    Key(f"{name}: {units.share(seconds, whole)}", colour)
                    for name, seconds, colour in parts
                ],
            )
            drawing.x_range = (0.0, whole)
            begin = 0.0
            for name, seconds, colour in parts:
                x, end = drawing.x(begin), drawing.x(begin + seconds)
                share = units.share(seconds, whole)
                drawing.box(x, end, colour, f"{name}: {share}", share)
                begin += seconds
            return drawing

        words = "; ".join(f"{name} {units.share(seconds, whole)}" for name, seconds, _ in parts)
        return self._picture(
            "worker-time",
            "Where the workers' time went",
            f"All of the {units.worker_time(whole)} for which workers were registered. Waiting "
            "tasks could have used only the time of workers that were idle while tasks waited.",
            f"A bar of shares: {words}.",
            draw,
        )

    def managers(self) -> Picture:
        run, series = self.run, self.series
        caption = "Each row is a manager"
        if series.managers_in_a_row > 1:
            caption = f"Each row is the average of up to {series.managers_in_a_row} managers, of "
            caption += f"{units.count(len(run.managers))} in all"
        caption += ", in the order of blocks; empty while none was registered. The colour is the "
        caption += "share of the workers that had a task."
        beyond = strip.marks_of(run, series.rows)[1]
        if beyond:
            caption += f" {units.counted(beyond, 'more mark')} are not drawn."
        return self._picture(
            "managers",
            "Managers",
            caption,
            f"A strip of colours for each of {len(series.rows)} rows of managers over time; the "
            "tables below give the sums of blocks and the losses.",
            lambda layout: strip.draw(run, series, layout),
        )

    def distribution(
        self, name: str, heading: str, caption: str, found: Histogram, at: Quantiles
    ) -> Picture:
        def draw(layout: Layout) -> Drawing:
            drawing = Drawing(layout, 190)
            drawing.legend("tasks", [])
            drawing.make_room(2 * LINE_PX + 6)
            ticks = count_ticks(max(found.counts), 4)
            drawing.y_range = (0.0, ticks[-1][0])
            drawing.x_range = _decades_around(found)
            drawing.to_scale = math.log10
            drawing.horizontal_lines(ticks)
            for low, high, number in zip(
                found.edges[:-1], found.edges[1:], found.counts, strict=True
            ):
                words = f"{units.duration(low)} to {units.duration(high)}: "
                drawing.bar(low, high, number, "c1", words + units.counted(number, "task"))
            for row, (label, value) in enumerate(
                (("median", at.median_s), ("95 %", at.p95_s), ("99 %", at.p99_s))
            ):
                shown = f"{label}: {units.duration(value)}"
                drawing.vertical(max(value, found.edges[0]), row, shown)
            drawing.x_axis(duration_ticks(*drawing.x_range), "time, logarithmic")
            return drawing

        if found.clamped:
            number = units.counted(found.clamped, "task")
            caption += f" {number} took less than 10 µs and are counted in the first bar."
        return self._picture(
            name,
            heading,
            caption,
            f"Histogram of {at.count:,} tasks on a logarithmic axis. Median "
            f"{units.duration(at.median_s)}, 95 % within {units.duration(at.p95_s)}, 99 % within "
            f"{units.duration(at.p99_s)}, longest {units.duration(at.longest_s)}.",
            draw,
            half=True,
        )

    def _time_drawing(
        self, layout: Layout, unit: str, keys: list[Key], most: float, *, whole: bool = True
    ) -> Drawing:
        """Returns a drawing with its axes: time to the right, `unit` upwards from 0."""
        drawing = Drawing(layout, layout.height)
        drawing.legend(unit, keys)
        ticks = count_ticks(most, whole=whole)
        drawing.y_range = (0.0, ticks[-1][0])
        drawing.x_range = (self.run.begin, self.run.until)
        drawing.horizontal_lines(ticks)
        times = time_ticks(self.run.begin, self.run.until, layout.time_ticks)
        drawing.x_axis(times.marks, times.title)
        return drawing

    def _with_losses(self, drawing: Drawing) -> Drawing:
        """Draws, along the top, a cross where a manager was lost with tasks, and an arrow where the
        interchange was restarted."""
        for loss in [loss for loss in self.run.losses if loss.tasks][:LOSSES_MARKED]:
            host = f" ({loss.manager.host})" if loss.manager.host else ""
            title = f"manager {loss.manager.name}{host} lost with {loss.tasks} tasks"
            drawing.mark(drawing.x(loss.t), drawing.top, "lost", title)
        for restart in self.run.restarts[:LOSSES_MARKED]:
            title = f"the interchange was restarted: its process {restart.why}"
            drawing.mark(drawing.x(restart.t), drawing.top, "restarted", title)
        return drawing

    def _timed(
        self,
        name: str,
        heading: str,
        caption: str,
        description: str,
        draw: Callable[[Layout], Drawing],
        edges: list[float],
        shown: Sequence[tuple[str, Sequence[float]]],
    ) -> Picture:
        """Returns a picture over time, with the data that are shown under a pointer."""
        offsets = {time.localtime(t).tm_gmtoff for t in (self.run.begin, self.run.until)}
        data = {
            "begin": self.run.begin,
            "until": self.run.until,
            "width": edges[1] - edges[0],
            # None if the clock was changed to or from summer time during the run.
            "utc_offset_s": offsets.pop() if len(offsets) == 1 else None,
            "series": [[label, [_short(value) for value in values]] for label, values in shown],
        }
        return self._picture(name, heading, caption, description, draw, data=json.dumps(data))

    def _picture(
        self,
        name: str,
        heading: str,
        caption: str,
        description: str,
        draw: Callable[[Layout], Drawing],
        *,
        data: str = "",
        half: bool = False,
    ) -> Picture:
        layouts = [HALF] if half else [WIDE, NARROW]
        full = f"{self.prefix}-{name}"
        drawings = [
            draw(layout).svg(f"{full}-{layout.name}", heading, description) for layout in layouts
        ]
        return Picture(full, heading, caption, drawings, data, half)


def time_parts(run: Run) -> list[tuple[str, float, str]]:
    """Returns the parts of the workers' time, each with its seconds and its colour, without empty
    parts."""
    spent = run.worker_time
    parts = [
        ("had a task", spent.used, "c1"),
        ("idle, tasks in the queue", spent.idle[IN_QUEUE], "bad"),
        ("idle, tasks waited at other managers", spent.idle[AT_MANAGERS], "c2"),
        ("idle, no task waited", spent.idle[NOWHERE], "idle"),
        ("idle, manager got no new tasks", spent.closed, "rest"),
    ]
    return [part for part in parts if part[1] > 0]


def _decades_around(found: Histogram) -> tuple[float, float]:
    """Returns a range of at least two decades, so that a single bar does not fill the picture."""
    low, high = found.edges[0], found.edges[-1]
    while high / low < 99.0:
        low, high = low / 10**0.1, high * 10**0.1
    return low, high


def _short(value: float) -> float:
    """Rounds to three significant figures, which are enough to read."""
    return float(f"{value:.3g}") if value < 1000 else round(value)
