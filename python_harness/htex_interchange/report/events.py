"""Finds the event files of a run and reads their lines as objects, block by block.

The interchange writes one object per line (`--events FILE`). It keeps some older files beside FILE,
as FILE.1 (newer) to FILE.4 (oldest), and removes still older ones. Each file begins with the
`start` line of the process that created the file. Lines are read in blocks of `BLOCK_BYTES` and
passed on as soon as they are parsed, so that the memory for reading does not grow with the files.
"""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

BLOCK_BYTES = 1 << 20
START = b'{"t":'
# A longer line is no event and is not kept in memory.
LINE_BYTES_MAX = 1 << 20
# How many bytes of a file are read to decide whether it holds events.
LOOK_BYTES = 1 << 16
SUFFIX = ".jsonl"
ROTATED = re.compile(r"^(?P<base>.+\.jsonl)(?:\.(?P<number>\d{1,6}))?$")
BAD_LINES_NAMED = 10
# The number of older files that the interchange keeps. If fewer exist, none was removed.
FILES_KEPT = 4
KINDS_NAMED = 20

HOW_TO_GET_THEM = """\
The interchange writes events if it is started with --events:
    HighThroughputExecutor(interchange_launch_cmd=["htex-interchange", "--events", "events.jsonl"])
A relative path is relative to the interchange's log directory (runinfo/NNN/LABEL)."""


# A line of an event file. The code that uses an event checks its keys and values.
Event = dict[str, Any]


class NoEvents(Exception):
    """No events exist to make a report of. The text says why, and how to get events."""


@dataclass(frozen=True)
class Source:
    """The event files of one interchange, oldest first; `name` is the newest path as shown."""

    name: str
    files: tuple[Path, ...]
    # Numbers of the rotated files that should exist and do not.
    missing: tuple[int, ...] = ()
    # The highest number of the rotated files.
    oldest: int = 0

    @property
    def may_lack_beginning(self) -> bool:
        return self.oldest >= FILES_KEPT


@dataclass
class Reading:
    """What reading a source found besides its events."""

    lines: int = 0
    bad: int = 0
    # The first bad lines: file, line (from 1) and reason.
    named: list[tuple[str, int, str]] = field(default_factory=list)
    # Whether the newest file ends in the middle of a line.
    cut_off: bool = False
    # Number of events of each kind that this report does not know.
    unknown: dict[str, int] = field(default_factory=dict)

    def note_unknown(self, what: str) -> None:
        if what in self.unknown or len(self.unknown) < KINDS_NAMED:
            self.unknown[what] = self.unknown.get(what, 0) + 1
        else:
            self.unknown["others"] = self.unknown.get("others", 0) + 1

    def complain(self, file: str, line: int, reason: str) -> None:
        self.bad += 1
        if len(self.named) < BAD_LINES_NAMED:
            self.named.append((file, line, reason))


@dataclass(frozen=True)
class Batch:
    """Consecutive lines of a file; None for a line that is empty or no object."""

    file: str
    first_line: int
    events: list[Event | None]


def sources(place: Path) -> list[Source]:
    """Returns every interchange whose events lie anywhere below a folder, or the interchange of one
    event file."""
    if not place.exists():
        raise NoEvents(f"{place} does not exist.")
    if place.is_file():
        match = ROTATED.match(place.name)
        base = match["base"] if match else place.name
        groups = _groups(place.parent, [place.with_name(base), *place.parent.glob(f"{base}.*")])
        if not match:
            groups = {place: {0: place}}
        shown_below = place.parent
    else:
        groups, shown_below = _groups(place, sorted(place.rglob("*.jsonl*"))), place
    found = [
        _source(base, numbered, shown_below)
        for base, numbered in sorted(groups.items())
        if any(_holds_events(path) for path in numbered.values())
    ]
    if found:
        return found
    files = [path for numbered in groups.values() for path in numbered.values()]
    seen = f"none of its {len(files)} *.jsonl files has one" if files else "it has no *.jsonl file"
    raise NoEvents(f"{place} holds no event: {seen}.\n{HOW_TO_GET_THEM}")


def batches(source: Source, reading: Reading) -> Iterator[Batch]:
    """Yields all lines of a source in the order in which they were written. A file that still grows
    is read up to its length at the time when it was opened."""
    with ExitStack() as stack:
        opened = [(shown(path.name), stack.enter_context(file)) for path, file in _opened(source)]
        for place, (name, file) in enumerate(opened):
            yield from _batches_of(name, file, reading, newest=place == len(opened) - 1)


def beside(newest: Path) -> list[Path]:
    """Returns event files of other interchanges that were started with the same `--events` name:
    `events.jsonl` and `events.LABEL.jsonl`, without rotated files."""
    if newest.suffix != SUFFIX:
        return []
    root = newest.name.split(".")[0]
    others = [
        newest.with_name(root + SUFFIX),
        *newest.parent.glob(f"{glob.escape(root)}.*{SUFFIX}"),
    ]
    return [path for path in others if path != newest and path.is_file() and _holds_events(path)]


def shown(path: Path | str) -> str:
    """Returns a path as text, whatever bytes it contains: bytes that encode no character are
    replaced."""
    return os.fsencode(path).decode("utf-8", "replace")


def _groups(folder: Path, candidates: list[Path]) -> dict[Path, dict[int, Path]]:
    """Groups files by their name without a number, and within a group by their number; 0 is the
    newest."""
    groups: dict[Path, dict[int, Path]] = {}
    for path in candidates:
        match = ROTATED.match(path.name)
        if match and path.is_file():
            number = int(match["number"] or 0)
            groups.setdefault(path.with_name(match["base"]), {})[number] = path
    return groups


def _source(base: Path, numbered: dict[int, Path], shown_below: Path) -> Source:
    oldest_first = sorted(numbered, reverse=True)
    missing = tuple(set(range(oldest_first[0])) - set(numbered))
    name = shown(base.relative_to(shown_below))
    files = tuple(numbered[number] for number in oldest_first)
    return Source(name, files, missing, oldest_first[0])


def _holds_events(path: Path) -> bool:
    """Whether a file holds events: other programs write files with such names, too."""
    try:
        with open(path, "rb") as file:
            lines = file.read(LOOK_BYTES).split(b"\n")
    except OSError:
        return False
    return any(_is_event(_parsed(line)) for line in lines)


def _is_event(value: object) -> bool:
    return isinstance(value, dict) and "t" in value and "event" in value


def _opened(source: Source) -> list[tuple[Path, BinaryIO]]:
    """Opens the newest file first: a file that is rotated at the same time is then found again
    under its next name. A file that was already opened under its earlier name is not read twice."""
    opened: list[tuple[Path, BinaryIO]] = []
    seen = set()
    for path in reversed(source.files):
        try:
            file = open(path, "rb")  # noqa: SIM115 (closed by the caller's stack)
        except FileNotFoundError:
            continue
        inode = path.stat().st_ino
        if inode in seen:
            file.close()
            continue
        seen.add(inode)
        opened.append((path, file))
    return opened[::-1]


def _batches_of(name: str, file: BinaryIO, reading: Reading, *, newest: bool) -> Iterator[Batch]:
    left = file.seek(0, 2)
    file.seek(0)
    rest, line, skipping = b"", 1, False
    while left > 0 and (block := file.read(min(BLOCK_BYTES, left))):
        left -= len(block)
        *lines, rest = (rest + block).split(b"\n")
        if skipping and lines:
            # The end of a line whose beginning was too long to keep.
            lines[0], skipping = b"", False
        if lines:
            yield Batch(name, line, _events(lines, name, line, reading))
            line += len(lines)
        if len(rest) > LINE_BYTES_MAX:
            if not skipping:
                reading.complain(name, line, f"longer than {LINE_BYTES_MAX:,} bytes")
            rest, skipping = b"", True
    if not rest.strip():
        return
    event = _parsed(rest)
    if event is None and newest:
        reading.cut_off = True
    else:
        yield Batch(name, line, _events([rest], name, line, reading))


def _events(lines: list[bytes], name: str, first_line: int, reading: Reading) -> list[Event | None]:
    """Parses all lines at once if each of them is one object: this is several times as fast as
    parsing them one by one."""
    reading.lines += len(lines)
    if all(text[:1] == b"{" and text[-1:] == b"}" for text in lines):
        try:
            all_of_them: list[Event | None] = json.loads(b"[" + b",".join(lines) + b"]")
            if len(all_of_them) == len(lines):
                return all_of_them
        except (ValueError, RecursionError):
            pass
    found: list[Event | None] = []
    for number, text in enumerate(lines, first_line):
        text = text.strip()
        event = _parsed(text)
        if event is None and text:
            reading.complain(name, number, "is no JSON object: " + _excerpt(text))
            # A killed process may leave half a line in front of the next process's first line.
            event = _parsed(text[max(text.rfind(START), 0) :])
            event = event if event and event.get("event") == "start" else None
        elif event is None:
            reading.lines -= 1
        found.append(event)
    return found


def _parsed(text: bytes) -> Event | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _excerpt(text: bytes) -> str:
    shown = text[:60].decode(errors="replace")
    return shown + (" …" if len(text) > 60 else "")
