"""What the program is linked from, as cargo and the lock file know it.

`linked` lists the crates; the C and C++ libraries that two build-only crates carry are in
`native.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.machine import runner
from harness.publish import toolchain
from harness.setup import environment

PROJECT = environment.PROJECT_DIR
PROGRAM = environment.BINARY_NAME

# A package of Cargo.lock that comes from a registry.
LOCKED = re.compile(
    r'name = "(?P<name>.+)"\nversion = "(?P<version>.+)"\n'
    r'source = "registry\+.+"\nchecksum = "(?P<sha256>[0-9a-f]{64})"'
)


@dataclass(frozen=True, order=True)
class Crate:
    name: str
    version: str
    # An SPDX expression.
    licence: str
    # Of the crate's archive; a crate of this workspace has none.
    sha256: str | None

    @property
    def is_ours(self) -> bool:
        return self.sha256 is None


def linked(*targets: str) -> list[Crate]:
    """Returns the crates that the program is linked from for any of these targets, sorted. Among
    them are macros, whose output is in the program, and this workspace's own crates.

    Raises:
        Unprepared: cargo could not tell.
    """
    checksums = locked()
    found = set()
    for target in targets or toolchain.ALL_TARGETS:
        for line in set(_tree(target, "none", "{p}|{l}")):
            package, _, licence = line.partition("|")
            name, version = _named(package)
            # A slash is cargo's earlier way to write OR.
            licence = licence.replace("/", " OR ")
            found.add(Crate(name, version, licence, checksums.get((name, version))))
    return sorted(found, key=lambda crate: (crate.name, crate.version))


def uses(target: str) -> dict[tuple[str, str], set[tuple[str, str]]]:
    """Returns, by name and version, which crates each linked crate uses directly."""
    found: dict[tuple[str, str], set[tuple[str, str]]] = {}
    above: list[tuple[str, str]] = []
    for line in _tree(target, "depth", " {p}"):
        depth, _, package = line.partition(" ")
        crate = _named(package)
        found.setdefault(crate, set())
        del above[int(depth) :]
        if above:
            found[above[-1]].add(crate)
        above.append(crate)
    return found


def _named(package: str) -> tuple[str, str]:
    """Reads cargo's `name v1.2.3 (more)`."""
    name, version = package.split()[:2]
    return name, version.removeprefix("v")


def _tree(target: str, prefix: str, form: str) -> list[str]:
    """Returns the lines of `cargo tree` about what is linked for `target`. A crate that many use
    has its own uses at its first place only."""
    command = [environment.cargo(), "tree", "--locked", "--package", PROGRAM]
    command += ["--edges", "normal", "--target", target, "--prefix", prefix, "--format", form]
    told = runner.run(command, cwd=PROJECT, capture_stdout=True)
    if told.code != 0:
        raise environment.Unprepared(
            f"`cargo tree` could not list the crates for {target} (exit {told.code}); the reason "
            "stands above.",
            environment.EXIT_BUILD,
        )
    lines = (line.removesuffix(" (*)") for line in told.stdout.splitlines())
    return [line for line in lines if line]


def locked() -> dict[tuple[str, str], str]:
    """Returns the checksum of each external crate's archive, by name and version."""
    text = (PROJECT / "Cargo.lock").read_text()
    return {(at["name"], at["version"]): at["sha256"] for at in LOCKED.finditer(text)}
