"""Unpacks programs of Debian's packages below target/ instead of installing them.

apt-get resolves, downloads and verifies the packages that this system lacks, with separate lists
and a separate cache. This needs no root and changes nothing outside the folder. `dpkg-deb` unpacks
the packages, and a launcher tells the loader where the libraries are. Standard library only.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from harness.machine import runner
from harness.setup import environment
from harness.setup.environment import EXIT_ENVIRONMENT, PROJECT_DIR, Unprepared

# Clears the hooks of container images, which empty the system's package cache after each run.
# Sandbox: apt-get as root would otherwise download as a user who may lack access to the project.
APT_CONFIGURATION = """\
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
APT::Update::Error-Mode "any";
APT::Sandbox::User "root";
APT::Keep-Downloaded-Packages "true";
Acquire::Languages "none";
Acquire::Retries "2";
Debug::NoLocking "true";
Dir::State::Lists "{place}/lists";
Dir::Cache "{place}/cache";
Dir::Cache::Archives "{place}/cache/archives";
"""

# Time limit for a program to start and print its version, on a loaded machine.
STARTING_S = 30.0


def networked() -> bool:
    """Whether this machine can reach other machines: it has a default route."""
    routes = [line.split() for line in _lines("/proc/net/route")[1:]]
    routes_6 = [line.split() for line in _lines("/proc/net/ipv6_route")]
    return any(route[1] == "00000000" == route[7] for route in routes) or any(
        route[1] == "00" and route[-1] != "lo" for route in routes_6
    )


def unpacked(place: Path, packages: list[str], finish: Callable[[Path], object]) -> None:
    """Fills `place`/root with the packages that `packages` need and this system lacks, laid out as
    below `/`. Does nothing if that was done before. The last step calls `finish(root)`."""
    place.mkdir(parents=True, exist_ok=True)
    with open(place / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if complete(place, packages):
            return
        stamp, root = place / "stamp", place / "root"
        stamp.unlink(missing_ok=True)
        shutil.rmtree(root, ignore_errors=True)
        _make(place, root, packages)
        finish(root)
        stamp.write_text(_fingerprint(place, packages))


def complete(place: Path, packages: list[str]) -> bool:
    """Whether the packages were unpacked here before, on this system's release."""
    stamp = place / "stamp"
    return stamp.exists() and stamp.read_text() == _fingerprint(place, packages)


def runs(program: Path | str, *arguments: str) -> bool:
    """Whether a program, perhaps one of another system, starts here and exits with status 0."""
    try:
        told = subprocess.run(
            [str(program), *arguments],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=STARTING_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return told.returncode == 0


def launcher(root: Path, program: Path, **exported: str) -> Path:
    """Writes a script beside `root` that starts one of its programs with its libraries."""
    folders = [*root.glob("usr/lib/*-linux-gnu*"), *root.glob("lib/*-linux-gnu*")]
    found = {path.parent for folder in folders for path in folder.rglob("lib*.so*")}
    libraries = ":".join(str(folder) for folder in sorted(found))
    exported["LD_LIBRARY_PATH"] = libraries
    exports = "".join(f"export {name}={shlex.quote(text)}\n" for name, text in exported.items())
    script = root.parent / "bin" / program.name
    script.parent.mkdir(exist_ok=True)
    script.write_text(f'#!/bin/sh\n{exports}exec {shlex.quote(str(program))} "$@"\n')
    script.chmod(0o755)
    return script


def _fingerprint(place: Path, packages: list[str]) -> str:
    """Includes the system's release, because another release lacks other libraries."""
    system = "".join(_lines("/etc/os-release"))
    parts = [*packages, system, str(place), Path(__file__).read_text()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _make(place: Path, root: Path, packages: list[str]) -> None:
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            raise Unprepared(f"{tool} was not found on this system", EXIT_ENVIRONMENT)
    print(f"harness: unpacking {', '.join(packages)} into {place.relative_to(PROJECT_DIR)}")
    archives = place / "cache" / "archives"
    for folder in (place / "lists" / "partial", archives / "partial"):
        folder.mkdir(parents=True, exist_ok=True)
    configuration = place / "apt.conf"
    configuration.write_text(APT_CONFIGURATION.format(place=place))
    apt = ["apt-get", f"--config-file={configuration}", "--quiet", "--quiet"]
    _run([*apt, "update"])
    install = ["install", "--yes", "--download-only", "--no-install-recommends"]
    _run([*apt, *install, *packages])
    root.mkdir()
    for archive in sorted(archives.glob("*.deb")):
        _run(["dpkg-deb", "--extract", str(archive), str(root)])
    shutil.rmtree(place / "cache")
    shutil.rmtree(place / "lists")


def _run(command: list[str]) -> None:
    # Noninteractive, so that no package's question waits for an answer.
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive", LC_ALL="C")
    ended = runner.run(command, env=env, cwd=environment.BUILD_DIR)
    if ended.code != 0:
        shown = " ".join(word for word in command if not word.startswith("-"))
        raise Unprepared(
            f"`{shown}` failed (exit {ended.code}); see the output above", EXIT_ENVIRONMENT
        )


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(errors="replace").splitlines()
    except OSError:
        return []
