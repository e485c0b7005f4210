"""Brokers that are broken on purpose, in their source: the simulation has to catch each of them.

The broker is pure, so it is built here without sockets: its folder, what it is made of, and the
simulation of `tests/broker/`, in a workspace of its own that builds in seconds. The same workspace
plays many seeds against the unbroken one.
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

BASE_NEEDS = ("arrayvec", "thiserror", "tracing")
BROKER_NEEDS = ("foldhash", "rand", "slab", "tracing", "tracing-subscriber")


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
    return (PROJECT / "src/broker" / mutant.file).read_text()


class Workshop:
    """A workspace that holds the broker and its simulation. Tests run in several processes; the
    folder is built in by one at a time."""

    def __init__(self, folder: Path = ROOT) -> None:
        self.folder = folder
        self.broker = folder / "broker/src/broker"

    def play(self, mutant: Mutant | None, *, seeds: int, release: bool = False) -> Verdict:
        """Builds with this change (or none), and plays until a seed fails."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return self._play(mutant, seeds, release)

    def _play(self, mutant: Mutant | None, seeds: int, release: bool) -> Verdict:
        self._write()
        self._copy(PROJECT / "src/broker", self.broker)
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
        command = [environment.cargo(), verb, "--offline", "--quiet", "-p", "htex-interchange"]
        process = subprocess.Popen(
            [*command, "--test", "broker", *arguments],
            cwd=self.folder,
            env={
                **os.environ,
                "CARGO_TARGET_DIR": str(self.folder / "target"),
                "HTEX_SIM_SEEDS": str(seeds),
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

    def _write(self) -> None:
        base, broker = self.folder / "base", self.folder / "broker"
        (base / "src").mkdir(parents=True, exist_ok=True)
        (broker / "src").mkdir(parents=True, exist_ok=True)
        self._copy(PROJECT / "src/pickle", base / "src/pickle")
        self._copy(PROJECT / "src/protocol", base / "src/protocol")
        self._copy(PROJECT / "tests/broker", broker / "tests/broker")
        self._copy(PROJECT / "tests/support", broker / "tests/support")
        shutil.copy(PROJECT / "tests/broker.rs", broker / "tests/broker.rs")
        shutil.copy(PROJECT / "Cargo.lock", self.folder / "Cargo.lock")
        files = {
            self.folder / "Cargo.toml": (
                '[workspace]\nmembers = ["base", "broker"]\nresolver = "3"\n'
                "[profile.dev]\ndebug = false\nopt-level = 1\n"
                "[profile.release]\ndebug-assertions = true\n"
            ),
            base / "Cargo.toml": _manifest("base", BASE_NEEDS),
            broker / "Cargo.toml": (
                _manifest("htex-interchange", BROKER_NEEDS) + 'base = { path = "../base" }\n'
            ),
            base / "src/lib.rs": "pub mod pickle;\npub mod protocol;\n",
            broker / "src/lib.rs": "pub mod broker;\npub use base::protocol;\n",
        }
        for path, text in files.items():
            if not path.exists() or path.read_text() != text:
                path.write_text(text)

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


def _manifest(name: str, needs: tuple[str, ...]) -> str:
    """With the project's own versions and features."""
    manifest = (PROJECT / "Cargo.toml").read_text()
    lines = [re.search(rf"^{need} = .*$", manifest, re.MULTILINE)[0] for need in needs]
    head = f'[package]\nname = "{name}"\nversion = "0.0.0"\nedition = "2024"\n'
    return head + "[dependencies]\n" + "\n".join(lines) + "\n"
