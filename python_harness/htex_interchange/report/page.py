"""Builds the page: one HTML file that contains everything and loads nothing from the network."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from pathlib import Path

from htex_interchange.report import tables, units
from htex_interchange.report.figures import Quantiles, histogram, quantiles, throughput
from htex_interchange.report.model import Run
from htex_interchange.report.pictures import Picture, Picturer
from htex_interchange.report.sentences import LIMIT, LOOK, sentences
from htex_interchange.report.series import Series, series_of

HERE = Path(__file__).resolve().parent
NEW_LINE = "\n"
# The letters of a unit after a number, but not the name of an HTML entity.
UNIT = re.compile(r"(?<=\u00a0)(?:[^\W\d_]|[/%-])+")
KINDS = {LOOK: "Look here:", LIMIT: "Note:"}

# The browser refuses everything that would contact another machine.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src blob: data:"
)


@dataclass(frozen=True)
class Figure:
    """A headline figure; `note` is shown below it in small letters."""

    name: str
    value: str
    note: str = ""


def page_of(runs: list[Run], made_at: float) -> str:
    """Returns the HTML of a page on these runs, with a section for each. `made_at`: seconds since
    the epoch."""
    title = f"Run report: {label_of(runs[0])}" if len(runs) == 1 else "Run reports"
    sections = [_section(run, f"r{place}") for place, run in enumerate(runs, 1)]
    return "".join(
        (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f'<style id="colours">{_asset("colours.css")}</style>',
            f"<style>{_asset('dark.css')}{_asset('page.css')}</style>",
            f'<style id="pictures">{_asset("svg.css")}</style></head><body><main>',
            _contents(runs) if len(runs) > 1 else "",
            *sections,
            f"<footer>{_footer(made_at)}</footer>",
            f"</main><script>{_asset('page.js')}</script></body></html>\n",
        )
    )


def label_of(run: Run) -> str:
    """Returns the executor's label; without one, the folder of the events, or their file."""
    label = (run.start or {}).get("label")
    if isinstance(label, str) and label:
        return label
    path = Path(run.source.name)
    return path.parent.name or path.name


def figures_of(run: Run) -> list[Figure]:
    """Returns the headline figures. A figure that the events cannot give is left out."""
    answered = [
        Figure("Tasks", units.count(run.tasks)),
        Figure(
            "Done", units.count(run.done), units.share(run.done, run.tasks) if run.tasks else ""
        ),
        Figure(
            "Failed in HTEX", units.count(run.failed_count), "a task's own exception counts as done"
        ),
        Figure("Without an answer", units.count(run.unanswered)),
        Figure("Duration", units.duration(run.duration_s), "from the first event to the last"),
    ]
    mean = throughput(run)
    if mean is not None:
        peak = f"at most {units.count(run.peak_in_a_second)} in one second"
        answered.append(Figure("Throughput", units.rate(mean), peak))
    return answered + _worker_figures(run) + _time_figures(run)


def _worker_figures(run: Run) -> list[Figure]:
    if not run.managers:
        return [Figure("Managers", "0")]
    names = {manager.block for manager in run.managers if manager.block is not None}
    blocks = units.counted(len(names), "block") if names else ""
    found = [Figure("Managers", units.count(len(run.managers)), blocks)]
    spent = run.worker_time
    if spent.registered:
        found += [
            Figure("Workers' time", units.worker_time(spent.registered), "registered"),
            Figure(
                "Used", units.share(spent.used, spent.registered), units.worker_time(spent.used)
            ),
        ]
    return found


def _time_figures(run: Run) -> list[Figure]:
    found = []
    for name, values in (("Time in the queue", run.waits_s), ("Time in flight", run.flights_s)):
        at = quantiles(values)
        if at:
            found.append(Figure(f"{name}, median", units.duration(at.median_s), _beyond(at)))
    if run.task_bytes:
        mean = units.size(run.task_bytes / run.tasks)
        found.append(Figure("Tasks' payload", units.size(run.task_bytes), f"{mean} on average"))
    return found


def _beyond(at: Quantiles) -> str:
    return f"95 %: {units.duration(at.p95_s)}\n99 %: {units.duration(at.p99_s)}"


def _section(run: Run, prefix: str) -> str:
    return "".join(
        (
            f'<section class="run" id="{prefix}"><h1>{escape(label_of(run))}</h1>',
            f'<p class="about">{_about(run)}</p>',
            "<h2>In words</h2>",
            _says(run),
            _figures(run),
            _pictures(run, series_of(run), prefix),
            tables.all_of(run),
            _origin(run),
            "</section>",
        )
    )


def _about(run: Run) -> str:
    begin, end = units.clock(run.begin), units.clock(run.until)
    if units.date(run.begin) == units.date(run.until):
        when = f"{units.date(run.begin)}, {begin} to {end}"
    else:
        when = f"{units.date(run.begin)} {begin} to {units.date(run.until)} {end}"
    parts = [f"{when} ({units.zone(run.begin, run.until)})"]
    start = run.start or {}
    if "host" in start:
        parts.append(f"interchange {start.get('version', '')} on {start['host']}")
    if "logdir" in start:
        parts.append(str(start["logdir"]))
    return " · ".join(escape(part) for part in parts)


def _says(run: Run) -> str:
    items = []
    for sentence in sentences(run):
        kind = KINDS.get(sentence.kind, "")
        mark = f'<span class="kind">{kind}</span> ' if kind else ""
        items.append(f'<li class="{sentence.kind}">{mark}{escape(sentence.text)}</li>')
    return f'<ul class="says">{"".join(items)}</ul>'


def _figures(run: Run) -> str:
    about = "≈ " if run.is_partial else ""
    items = "".join(
        f"<div><dt>{escape(one.name)}</dt><dd>{about}{_with_small_units(one.value)}"
        f"<small>{escape(one.note).replace(NEW_LINE, '<br>')}</small></dd></div>"
        for one in figures_of(run)
    )
    return f'<dl class="figures">{items}</dl>'


def _with_small_units(value: str) -> str:
    return UNIT.sub(lambda unit: f"<span>{unit[0]}</span>", escape(value))


def _pictures(run: Run, series: Series, prefix: str) -> str:
    """Returns the pictures for which there is something to draw."""
    picturer = Picturer(run, series, prefix)
    parts = ["<h2>Pictures</h2>"]
    if run.tasks:
        parts += map(_picture, (picturer.in_flight(), picturer.answered(), picturer.throughput()))
    if run.worker_time.registered:
        parts += map(_picture, (picturer.workers(), picturer.worker_time(), picturer.managers()))
    halves = []
    if waits := quantiles(run.waits_s):
        halves.append(
            picturer.distribution(
                "queueing",
                "Time in the queue",
                "From acceptance by the interchange to the (last) dispatch to a manager.",
                histogram(run.waits_s),
                waits,
            )
        )
    if flights := quantiles(run.flights_s):
        halves.append(
            picturer.distribution(
                "flight",
                "Time in flight",
                "From dispatch until the result was forwarded, for tasks that were done. It "
                "includes the time that a prefetched task waited at its manager.",
                histogram(run.flights_s),
                flights,
            )
        )
    if halves:
        parts.append(f'<div class="pair">{"".join(map(_picture, halves))}</div>')
    return "".join(parts) if len(parts) > 1 else ""


def _picture(picture: Picture) -> str:
    drawings, data = "".join(picture.drawings), ""
    if picture.data:
        # A block's name may contain "<", which could end the script element.
        data = picture.data.replace("<", "\\u003c")
        data = f'<script type="application/json">{data}</script>'
    return (
        f'<figure id="{picture.name}"><div class="head"><h3>{escape(picture.heading)}</h3></div>'
        f"{drawings}<figcaption>{escape(picture.caption)}</figcaption>{data}</figure>"
    )


def _origin(run: Run) -> str:
    """Describes what was read, and which lines could not be read."""
    reading = run.reading
    files = units.counted(len(run.source.files), "file")
    text = f"Read from {escape(run.source.name)} ({files}, {units.counted(reading.lines, 'line')})."
    if not reading.bad:
        return f'<p class="about">{text}</p>'
    named = "".join(
        f"<li><code>{escape(name)}</code>, line {line}: <code>{escape(reason)}</code></li>"
        for name, line, reason in reading.named
    )
    more = reading.bad - len(reading.named)
    named += f"<li>and {units.count(more)} more</li>" if more else ""
    heading = f"{units.counted(reading.bad, 'line')} could not be read:"
    return f'<h2>Bad lines</h2><p class="about">{text} {heading}</p><ul class="bad">{named}</ul>'


def _contents(runs: list[Run]) -> str:
    items = "".join(
        f'<li><a href="#r{place}">{escape(label_of(run))}</a>, {units.date(run.begin)} '
        f"{units.clock(run.begin)}: {units.counted(run.tasks, 'task')} "
        f"({escape(run.source.name)})</li>"
        for place, run in enumerate(runs, 1)
    )
    return f"<nav><h1>Run reports</h1><ul>{items}</ul></nav>"


def _footer(made_at: float) -> str:
    return (
        f"Made {units.date(made_at)} {units.clock(made_at)} {units.zone(made_at, made_at)} from "
        "the interchange's events. A worker counts as used while its manager has a task for it: a "
        "manager has as many used workers as tasks in flight, but no more than it has workers. A "
        "task that takes several worker slots, by its `cores` or `memory`, counts as several. "
        "Workers of a lost manager count until the interchange gave the manager up. The "
        "interchange does not see when a worker begins a task, nor whether a result is an "
        "exception."
    )


def _asset(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
