"""Finds the places that name the oldest and newest supported release, and moves the newest one.

The interchange's source (`src/submit_side/releases.rs`) names the releases that it is tested with,
and all code here reads them there. Files that cannot read it repeat the name: README's table, and
pip's pinned requirements. Parsl and texts for people write a month and a day with two digits
(`2027.01.04`); PyPI and pip do not (`2027.1.4`).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from harness.setup import environment

PROJECT = environment.PROJECT_DIR
RELEASES_RS = Path("src/submit_side/releases.rs")
README = Path("README.md")
_RELEASE = re.compile(r"\d{4}\.\d{1,2}\.\d{1,2}")


class Unmovable(Exception):
    """A file does not name the expected release; the exception's text names the file."""


@dataclass(frozen=True)
class Place:
    """A place that names the newest release: the pattern's group, which matches once in the
    file."""

    path: Path
    pattern: re.Pattern[str]
    two_digits: bool = True


def is_release(text: str) -> bool:
    """Whether the text has the form of a release's name, in either spelling."""
    return bool(_RELEASE.fullmatch(text))


def pypi_name(release: str) -> str:
    return ".".join(part.lstrip("0") or "0" for part in release.split("."))


def padded(release: str) -> str:
    """Returns the release in Parsl's spelling, with two digits for month and day."""
    return ".".join(part.zfill(2) for part in release.split("."))


def numbers(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split("."))


def newest(project: Path = PROJECT) -> str:
    return pypi_name(_said(project, _constant("NEWEST_TESTED")))


def oldest(project: Path = PROJECT) -> str:
    return pypi_name(_said(project, _constant("OLDEST_TESTED")))


def places(project: Path = PROJECT) -> list[Place]:
    """Returns every place that names the newest release. A pin of another release is deliberate and
    left out."""
    found = [_constant("NEWEST_TESTED"), _place(README, r"^\| Parsl \| [\d.]+ to ([\d.]+),")]
    pin = rf"^parsl(?:\[[\w,]+\])?==({re.escape(newest(project))})$"
    pinned = [
        _place(path.relative_to(project), pin, two_digits=False)
        for path in sorted((project / "python_harness").glob("requirements*.txt"))
        if re.search(pin, path.read_text(), re.MULTILINE)
    ]
    return found + pinned


def moved(to: str, project: Path = PROJECT) -> dict[Path, str]:
    """Returns the new text of each file that names the newest release.

    Raises:
        Unmovable: one of them names another release, or none.
    """
    now, texts = newest(project), {}
    for place in places(project):
        said = _said(project, place)
        if pypi_name(said) != now:
            raise Unmovable(f"{place.path} says {said} where {RELEASES_RS} says {padded(now)}")
        text = (project / place.path).read_text()
        begin, end = _match(place, text).span(1)
        name = padded(to) if place.two_digits else pypi_name(to)
        texts[place.path] = text[:begin] + name + text[end:]
    return texts


def write(texts: dict[Path, str], project: Path = PROJECT) -> None:
    """Writes all files, or none if the disk is full."""
    drafts = []
    try:
        for path, text in texts.items():
            drafts.append((project / path).with_name(f"{path.name}.new"))
            drafts[-1].write_text(text)
        for path, draft in zip(texts, drafts, strict=True):
            os.replace(draft, project / path)
    finally:
        for draft in drafts:
            draft.unlink(missing_ok=True)


def _constant(name: str) -> Place:
    return _place(RELEASES_RS, rf'^pub const {name}: &str = "([\d.]+)";$')


def _place(path: Path, pattern: str, *, two_digits: bool = True) -> Place:
    return Place(path, re.compile(pattern, re.MULTILINE), two_digits)


def _said(project: Path, place: Place) -> str:
    return _match(place, (project / place.path).read_text()).group(1)


def _match(place: Place, text: str) -> re.Match[str]:
    found = list(place.pattern.finditer(text))
    if len(found) != 1:
        raise Unmovable(
            f"{place.path} should have one line like {place.pattern.pattern!r}, not {len(found)}"
        )
    return found[0]
