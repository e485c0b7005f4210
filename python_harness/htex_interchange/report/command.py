"""Turns the event files of a run into one HTML page, with pictures and a summary in words.

It uses only the standard library, so it runs on a login node that has nothing but Python. It does
not use the network. Exit status: 0 if the page is written; 1 if there are no events or the page
cannot be written (standard error says why); 2 for wrong arguments.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from htex_interchange.report import units
from htex_interchange.report.events import NoEvents, shown, sources
from htex_interchange.report.model import Run
from htex_interchange.report.page import label_of, page_of
from htex_interchange.report.recorder import runs_of
from htex_interchange.report.sentences import sentences

PAGE_NAME = "htex-report.html"
EXIT_NOTHING = 1


def main(arguments: list[str], program: str = "htex-interchange report") -> int:
    """Writes the page that `arguments` describe, and returns the exit status.

    Raises:
        SystemExit: the arguments ask for help or are wrong.
    """
    parser = argparse.ArgumentParser(
        prog=program, description="A page with pictures of a run, from its events."
    )
    parser.add_argument(
        "rundir", metavar="RUNDIR", help="an event file, or a folder above event files"
    )
    parser.add_argument("--out", metavar="FILE", help=f"HTML (default RUNDIR/{PAGE_NAME})")
    options = parser.parse_args(arguments)
    place = Path(options.rundir)
    try:
        runs = read(place)
    except (NoEvents, OSError) as reason:
        print(f"htex-interchange report: {reason}", file=sys.stderr)
        return EXIT_NOTHING
    folder = place if place.is_dir() else place.parent
    target = Path(options.out) if options.out else folder / PAGE_NAME
    page = page_of(runs, time.time())
    try:
        write(page, target)
    except OSError as reason:
        hint = "Choose another file with --out FILE."
        print(f"htex-interchange report: {reason}. {hint}", file=sys.stderr)
        return EXIT_NOTHING
    for one in runs:
        say(f"{label_of(one)}, {units.date(one.begin)} {units.clock(one.begin)}:")
        for sentence in sentences(one):
            say(f"  {sentence.text}")
    say(f"{shown(target)} ({units.size(len(page.encode()))})")
    return 0


LOOK_ALIKES = str.maketrans("\u2026\u2013\u2212\u2248\u00b5\u00b7", "~--~u.")


def say(line: str) -> None:
    """Prints a line in characters that a terminal of this locale can show."""
    line = line.replace(units.NO_BREAK, " ")
    encoding = sys.stdout.encoding or "ascii"
    try:
        line.encode(encoding)
    except UnicodeEncodeError:
        line = line.translate(LOOK_ALIKES).encode(encoding, "backslashreplace").decode(encoding)
    print(line)


def read(place: Path) -> list[Run]:
    """Returns all runs below a folder, or those of one event file, sorted by their beginning."""
    runs = [run for source in sources(place) for run in runs_of(source)]
    if not runs:
        raise NoEvents(f"no line below {place} is a valid event.")
    return sorted(runs, key=lambda one: one.begin)


def write(page: str, target: Path) -> None:
    """Writes the page completely or not at all: the page of a running run may be open."""
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        unfinished.write_text(page, encoding="utf-8")
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
