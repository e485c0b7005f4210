"""`report`: the event files of a run as one HTML page, with pictures and a summary in words.

Standard library only: it runs on a login node with nothing but Python, and asks for no network.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from harness import report_units as units
from harness.report_events import NoEvents, sources
from harness.report_model import Run
from harness.report_page import label_of, page_of
from harness.report_recorder import runs_of
from harness.report_sentences import sentences

PAGE_NAME = "htex-report.html"
EXIT_USAGE = 2


def run(options) -> int:
    """Writes the page of `options.rundir`; 2 if there are no events, or it cannot be written."""
    place = Path(options.rundir)
    try:
        runs = read(place)
    except (NoEvents, OSError) as reason:
        print(f"htex-interchange report: {reason}", file=sys.stderr)
        return EXIT_USAGE
    folder = place if place.is_dir() else place.parent
    target = Path(options.out) if options.out else folder / PAGE_NAME
    page = page_of(runs, time.time())
    try:
        write(page, target)
    except OSError as reason:
        print(f"htex-interchange report: {reason}. --out FILE names another.", file=sys.stderr)
        return EXIT_USAGE
    for one in runs:
        print(f"{label_of(one)}, {units.date(one.begin)} {units.clock(one.begin)}:")
        for sentence in sentences(one):
            print(f"  {sentence.text}".replace(units.NO_BREAK, " "))
    print(f"{target} ({units.size(len(page.encode()))})".replace(units.NO_BREAK, " "))
    return 0


def read(place: Path) -> list[Run]:
    """All runs below a folder, or those of one event file, by their beginning."""
    runs = [run for source in sources(place) for run in runs_of(source)]
    if not runs:
        raise NoEvents(f"no line below {place} is a valid event.")
    return sorted(runs, key=lambda one: one.begin)


def write(page: str, target: Path) -> None:
    """Wholly or not at all: somebody may have the page of a running run open."""
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        unfinished.write_text(page, encoding="utf-8")
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
