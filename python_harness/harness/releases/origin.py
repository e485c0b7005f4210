"""The source from which a release of Parsl is installed: a release's name, a source tree or a file.

A release's name is written as on PyPI or as in Parsl. A path makes an unpublished release, for
example a branch to be tested. Such a release gets its own environment, which is made again whenever
the files change.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.releases import written
from harness.setup import environment

# The extra whose packages `parsl.monitoring` imports.
EXTRA = "[monitoring]"

# The harness's exit code for a wrong argument.
EXIT_USAGE = 2

_DISTRIBUTION = re.compile(r"parsl-([\w.+!]+?)(?:-py3-none-any\.whl|\.tar\.gz)")
_VERSION = re.compile(r"^VERSION = ['\"]([\w.+!]+)['\"]", re.MULTILINE)


@dataclass(frozen=True)
class Origin:
    """The source of one release. `version` is its version number in PyPI's spelling."""

    version: str
    path: Path | None = None

    @property
    def label(self) -> str:
        """The release's name in reports."""
        return self.version if self.path is None else f"{self.version} ({self.path})"

    @property
    def folder(self) -> str:
        """The name of its environment's folder, which is different for each path."""
        if self.path is None:
            return self.version
        return f"{self.version}-{hashlib.sha256(str(self.path).encode()).hexdigest()[:8]}"

    def inputs(self) -> str:
        """Returns a text that changes whenever the environment must be made again."""
        if self.path is None:
            return f"parsl{EXTRA}=={self.version}"
        digest = hashlib.sha256()
        for file in [self.path] if self.path.is_file() else _sources(self.path):
            digest.update(f"{file.relative_to(self.path)}\0".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        return digest.hexdigest()

    @contextmanager
    def requirement(self) -> Iterator[str]:
        """Yields the requirement for pip. A source tree is copied first: a build in the tree would
        leave files behind, and would reuse those of earlier builds."""
        if self.path is None:
            yield f"parsl{EXTRA}=={self.version}"
        elif self.path.is_file():
            yield f"{self.path}{EXTRA}"
        else:
            with TemporaryDirectory(prefix="htex-parsl-") as copy:
                for file in _sources(self.path):
                    place = Path(copy) / file.relative_to(self.path)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, place)
                yield f"{copy}{EXTRA}"


def parse(text: str) -> Origin:
    """Parses a release's name or a path.

    Raises:
        environment.Unprepared: it is neither.
    """
    if written.is_release(text):
        return Origin(written.pypi_name(text))
    path = Path(text).resolve()
    if path.is_file() and (named := _DISTRIBUTION.fullmatch(path.name)):
        return Origin(named[1], path)
    version = path / "parsl" / "version.py"
    if version.is_file() and (told := _VERSION.search(version.read_text())):
        return Origin(_pypi_name(told[1]), path)
    raise environment.Unprepared(
        f"{text!r} is neither a release of Parsl (releases are named like "
        f"{written.padded(written.newest())}) nor the path of a source tree (with "
        "parsl/version.py), of a wheel or of an sdist of Parsl.",
        EXIT_USAGE,
    )


def _pypi_name(version: str) -> str:
    return written.pypi_name(version) if written.is_release(version) else version


def _sources(tree: Path) -> list[Path]:
    """Returns the files from which Parsl is built: the package, and the files beside it."""
    beside = [path for path in tree.iterdir() if path.is_file()]
    package = (path for path in (tree / "parsl").rglob("*") if path.is_file())
    return sorted([*beside, *(path for path in package if path.suffix != ".pyc")])
