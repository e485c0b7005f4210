"""Brokers that are broken on purpose, in their source: the simulation has to catch each of them.

It is the crate itself that is built: in a mirror of the workspace, in which everything but the
broker's folder is a link to the project. The mirror keeps what it has built, so that a mutant costs
the compilation of the broker and its simulation. It plays many seeds against the unbroken one, too.
"""

from __future__ import annotations

import fcntl
import os
import re
import resource
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness.setup import environment

PROJECT = environment.PROJECT_DIR
ROOT = PROJECT / "target" / "mutants"
FAILED_SEED = re.compile(r"seed (\d+), step (\d+): (.*)")
# A mutant that never ends is caught as well, after this long.
WITHIN_S = 240
# A mutant that sends without end must not take the machine with it.
MEMORY_MAX = 2 << 30

# What the mirror links to: all that cargo has to see of a workspace before it builds one crate.
LINKED = ("Cargo.toml", "src", "tests", "benches")
BROKER = Path("src/broker")

# Quick to build, and quick to play.
PROFILE = {
    "CARGO_PROFILE_DEV_DEBUG": "false",
    "CARGO_PROFILE_DEV_OPT_LEVEL": "1",
    "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16",
    "CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS": "true",
    "CARGO_PROFILE_RELEASE_LTO": "off",
}


@dataclass(frozen=True)
class Mutant:
    what: str
    file: str
    old: str
    new: str


@dataclass
class Verdict:
    caught: bool
    how: str


def source_of(mutant: Mutant) -> str:
    return (PROJECT / BROKER / mutant.file).read_text()


class Workshop:
    """The mirror of the workspace. Tests run in several processes; one at a time builds in it."""

    def __init__(self, folder: Path = ROOT) -> None:
        self.folder = folder
        self.broker = folder / BROKER

    def play(self, mutant: Mutant | None, *, seeds: int, release: bool = False) -> Verdict:
        """Builds with this change (or none), and plays until a seed fails."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return self._play(mutant, seeds, release)

    def _play(self, mutant: Mutant | None, seeds: int, release: bool) -> Verdict:
        self._mirror()
        self._copy(PROJECT / BROKER, self.broker)
        if mutant:
            source = source_of(mutant)
            if source.count(mutant.old) != 1:
                raise AssertionError(f"not found exactly once in {mutant.file}: {mutant.old!r}")
            (self.broker / mutant.file).write_text(source.replace(mutant.old, mutant.new))
        profile = ["--release"] if release else []
        self._cargo("test", "--no-run", *profile)
        return self._run(seeds, profile)

    def _run(self, seeds: int, profile: list[str]) -> Verdict:
        try:
            told = self._cargo(
                "test", *profile, "the_broker_keeps_its_promises", seeds=seeds, must_pass=False
            )
        except subprocess.TimeoutExpired:
            return Verdict(True, f"no end within {WITHIN_S} s")
        if told.returncode == 0:
            assert "1 passed" in told.stdout, told.stdout
            return Verdict(False, f"{seeds} seeds passed")
        failed = FAILED_SEED.search(told.stdout)
        assert failed, f"it failed without naming a seed:\n{told.stdout[-2000:]}"
        return Verdict(True, failed[0])

    def _cargo(self, verb, *arguments, seeds=1, must_pass=True) -> subprocess.CompletedProcess:
        command = [environment.cargo(), verb, "--offline", "--locked", "--quiet", "-p", "broker"]
        process = subprocess.Popen(
            [*command, "--test", "broker", *arguments],
            cwd=self.folder,
            env={
                **os.environ,
                "CARGO_TARGET_DIR": str(self.folder / "target"),
                "HTEX_SIM_SEEDS": str(seeds),
                **PROFILE,
                "RUSTFLAGS": "-Awarnings",
                "RUST_BACKTRACE": "0",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=None if must_pass else _limit_memory,
        )
        try:
            patience_s = None if must_pass else WITHIN_S * max(1, seeds // 300)
            stdout, _ = process.communicate(timeout=patience_s)
        except BaseException:
            # Cargo's child is the one that does not end.
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
        told = subprocess.CompletedProcess(command, process.returncode, stdout)
        if must_pass and told.returncode:
            raise AssertionError(f"{' '.join(command)} failed:\n{told.stdout[-3000:]}")
        return told

    def _mirror(self) -> None:
        self.broker.mkdir(parents=True, exist_ok=True)
        for name in LINKED:
            self._link(Path(name))
        # Cargo writes to it where it is not up to date; `--locked` says so instead.
        shutil.copy(PROJECT / "Cargo.lock", self.folder / "Cargo.lock")

    def _link(self, name: Path) -> None:
        """Links to what the project has there, but for the folders above the broker's."""
        place = self.folder / name
        if name != BROKER.parent:
            if not place.is_symlink():
                place.symlink_to(PROJECT / name)
            return
        known = {path.name for path in (PROJECT / name).iterdir()} - {BROKER.name}
        for there in place.iterdir():
            if there.name not in known and there.is_symlink():
                there.unlink()
        for child in known:
            self._link(name / child)

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        """Only what differs, so that cargo builds only what differs."""
        known = {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
        for path in [path for path in target.rglob("*") if path.is_file()]:
            if path.relative_to(target) not in known:
                path.unlink()
        for name in known:
            there = target / name
            text = (source / name).read_bytes()
            if not there.exists() or there.read_bytes() != text:
                there.parent.mkdir(parents=True, exist_ok=True)
                there.write_bytes(text)


def _limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
