"""The event files of a run: which there are, and their lines as objects, block by block.

The interchange writes an object a line (`--events FILE`) and keeps some older files beside it as
FILE.1 (newer) to FILE.4 (oldest); still older ones are gone. Each file begins with the `start` line
of the process that began it. Lines are read in blocks of `BLOCK_BYTES` and handed on as they are
parsed, so that the memory for reading does not grow with the files.
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
# A longer line is no event; it is not kept in memory.
LINE_BYTES_MAX = 1 << 20
# Whether a file holds events is decided by this many bytes of it.
LOOK_BYTES = 1 << 16
SUFFIX = ".jsonl"
ROTATED = re.compile(r"^(?P<base>.+\.jsonl)(?:\.(?P<number>\d{1,6}))?$")
BAD_LINES_NAMED = 10
# As many older files are kept; with fewer of them none was removed.
FILES_KEPT = 4
KINDS_NAMED = 20

HOW_TO_GET_THEM = """\
Events are written when the interchange is told so:
    HighThroughputExecutor(interchange_launch_cmd=["htex-interchange", "--events", "events.jsonl"])
A relative path is relative to the interchange's log directory (runinfo/NNN/LABEL)."""


# A line of an event file; what stands under which key is looked at where it is used.
Event = dict[str, Any]


class NoEvents(Exception):
    """There is nothing to make a report of; the text says why, and how to get it."""


@dataclass(frozen=True)
class Source:
    """The event files of one interchange, oldest first; `name` is the newest's path as shown."""

    name: str
    files: tuple[Path, ...]
    # Numbers of rotated files that should be there and are not.
    missing: tuple[int, ...] = ()
    # The highest number of its files.
    oldest: int = 0

    @property
    def may_lack_beginning(self) -> bool:
        return self.oldest >= FILES_KEPT


@dataclass
class Reading:
    """What was seen of a source besides its events."""

    lines: int = 0
    bad: int = 0
    # The first of them: file, line (from 1), reason.
    named: list[tuple[str, int, str]] = field(default_factory=list)
    # The newest file ends in the middle of a line.
    cut_off: bool = False
    # Events of kinds that are not known here, and how many of each.
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
    """Every interchange whose events lie in a folder or anywhere below it, or that of a file."""
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
    seen = f"in none of its files ({len(files)} *.jsonl)" if files else "no *.jsonl file"
    where = f"{place} holds no events: {seen}" + (" is a line of an event." if files else ".")
    raise NoEvents(f"{where}\n{HOW_TO_GET_THEM}")


def batches(source: Source, reading: Reading) -> Iterator[Batch]:
    """All lines of a source in the order in which they were written. A file that still grows is
    read as far as it went when it was opened."""
    with ExitStack() as stack:
        opened = [(shown(path.name), stack.enter_context(file)) for path, file in _opened(source)]
        for place, (name, file) in enumerate(opened):
            yield from _batches_of(name, file, reading, newest=place == len(opened) - 1)


def beside(newest: Path) -> list[Path]:
    """Files of other interchanges that were told the same one: `events.jsonl` and
    `events.LABEL.jsonl`, without those that have a number."""
    if newest.suffix != SUFFIX:
        return []
    root = newest.name.split(".")[0]
    others = [
        newest.with_name(root + SUFFIX),
        *newest.parent.glob(f"{glob.escape(root)}.*{SUFFIX}"),
    ]
    return [path for path in others if path != newest and path.is_file() and _holds_events(path)]


def shown(path: Path | str) -> str:
    """A path as text, whatever bytes it has: those of no character are replaced."""
    return os.fsencode(path).decode("utf-8", "replace")


def _groups(folder: Path, candidates: list[Path]) -> dict[Path, dict[int, Path]]:
    """By the name without a number, the files by their number; 0 is the newest."""
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
    """Other programs write files of that name, too."""
    try:
        with open(path, "rb") as file:
            lines = file.read(LOOK_BYTES).split(b"\n")
    except OSError:
        return False
    return any(_is_event(_parsed(line)) for line in lines)


def _is_event(value: object) -> bool:
    return isinstance(value, dict) and "t" in value and "event" in value


def _opened(source: Source) -> list[tuple[Path, BinaryIO]]:
    """Newest first, because a file that is renamed meanwhile is then found under its next name;
    one that was opened under the earlier name already is not read twice."""
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
    """All lines in one go, several times as fast as one by one, if each is one object."""
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
            # What a killed process left half written stands before the next one's first line.
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
