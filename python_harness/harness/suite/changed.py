"""Finds the crates that a change touches, whose Rust tests `test --quick` runs.

A path belongs to the crate with the deepest folder that contains the path. Crates that directly
depend on a changed crate are tested as well. Crates that depend on it indirectly are left to the
full run. Changes below python_harness are also left out, because the quick pytests cover them.
Changes are: uncommitted changes, untracked files, and every commit that `origin/main` lacks (or
without that branch, the last commit).
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.setup import environment

PROJECT = environment.PROJECT_DIR
UPSTREAM = "origin/main"
NOT_RUST = PurePosixPath("python_harness")


@dataclass(frozen=True)
class Crate:
    """A member of the workspace; `folder` is relative to the repository's folder."""

    name: str
    folder: PurePosixPath
    depends_on: frozenset[str] = frozenset()


def crates_to_test() -> list[str] | None:
    """Returns the crates to test in the workspace's order; None, which means all, if git cannot
    list changes."""
    paths = changed_paths()
    return None if paths is None else crates_of(paths, workspace())


def crates_of(paths: Iterable[str], crates: list[Crate]) -> list[str]:
    """Returns the crates that contain `paths`, and those that depend on one of them directly."""
    touched = {owner.name for path in paths if (owner := _owner(PurePosixPath(path), crates))}
    return [one.name for one in crates if one.name in touched or one.depends_on & touched]


def _owner(path: PurePosixPath, crates: list[Crate]) -> Crate | None:
    if path.is_relative_to(NOT_RUST):
        return None
    above = [crate for crate in crates if path.is_relative_to(crate.folder)]
    return max(above, key=lambda crate: len(crate.folder.parts), default=None)


def changed_paths() -> list[str] | None:
    """Returns changed paths relative to the repository's folder; None without a git clone or
    commit."""
    base = _git("merge-base", "HEAD", UPSTREAM) or _git("rev-parse", "--verify", "HEAD~1")
    base = base or _git("rev-parse", "--verify", "HEAD")
    if not base:
        return None
    # Lists renames as two changes, so that the old place counts as changed, too.
    differing = _git("diff", "--name-only", "--no-renames", "-z", base[0])
    unknown = _git("ls-files", "--others", "--exclude-standard", "-z")
    return None if differing is None or unknown is None else differing + unknown


def workspace() -> list[Crate]:
    """Returns the workspace's members as cargo lists them."""
    command = [environment.cargo(), "metadata", "--no-deps", "--locked", "--format-version", "1"]
    told = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True)
    packages = json.loads(told.stdout)["packages"]
    names = {package["name"] for package in packages}
    return [
        Crate(
            package["name"],
            _below_the_project(Path(package["manifest_path"]).parent),
            frozenset(one["name"] for one in package["dependencies"]) & names,
        )
        for package in packages
    ]


def _below_the_project(folder: Path) -> PurePosixPath:
    return PurePosixPath(folder.resolve().relative_to(PROJECT.resolve()).as_posix())


def _git(*arguments: str) -> list[str] | None:
    """Returns git's output, split into lines or at zero bytes; None if git fails or is not
    installed."""
    command = ["git", "-C", str(PROJECT), *arguments]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    if told.returncode != 0:
        return None
    return [part for part in told.stdout.replace("\n", "\0").split("\0") if part]
