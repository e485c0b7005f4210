"""Builds mutants of the crates `broker` and `turn`, and plays the simulations that have to catch
them.

A mutant is a change of the crate's source. It is built in a mirror of the workspace, in which
everything except the folders of `broker` and `turn` is a link to the project. The mirror keeps its
build results, so a mutant only costs the compilation of its crate and the simulation. The same code
also plays many seeds against the unchanged crates.
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
FAILED = re.compile(
    r"seed \d+, step \d+: .*|path \[.*\] in a .*|HTEX_SIM_SEED=\d+|\w+\.txt:\d+: .*"
)
# Time limit: a mutant that never ends counts as caught.
WITHIN_S = 240
# Memory limit: a mutant that sends endlessly must not exhaust the machine's memory.
MEMORY_MAX = 2 << 30

# Links in the mirror: all that cargo needs of a workspace to build one crate.
LINKED = ("Cargo.toml", "src", "tests", "benches")
ROOMS = Path("src")
# The crates that have mutants and a simulation; the code calls a crate's folder a "room".
BROKEN_ROOMS = ("broker", "turn")

# Build settings with which both compilation and simulation are fast.
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
    # The crate of the changed file. The same crate's simulation must catch the mutant, unless
    # `played_by` names another crate.
    room: str = "broker"
    played_by: str = ""
    # The test that must catch the mutant, if not `the_{room}_keeps_its_promises`.
    test: str = ""

    @property
    def path(self) -> Path:
        return ROOMS / self.room / self.file

    @property
    def simulation(self) -> str:
        return self.played_by or self.room


@dataclass
class Verdict:
    caught: bool
    how: str


def source_of(mutant: Mutant) -> str:
    return (PROJECT / mutant.path).read_text()


class Workshop:
    """The mirror of the workspace. A lock lets only one process at a time build in it."""

    def __init__(self, folder: Path = ROOT) -> None:
        self.folder = folder

    def play(
        self,
        mutant: Mutant | None,
        *,
        room: str = "",
        seeds: int = 1,
        release: bool = False,
        explores: int = 0,
    ) -> Verdict:
        """Builds the crates with the mutant (None: unchanged), and plays a crate's simulation until
        a seed fails. With `explores`, the simulation plays every order of that many events instead.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._mirror()
            for name in BROKEN_ROOMS:
                self._copy(PROJECT / ROOMS / name, self.folder / ROOMS / name)
            if mutant:
                source = source_of(mutant)
                if source.count(mutant.old) != 1:
                    raise AssertionError(f"not found exactly once in {mutant.path}: {mutant.old!r}")
                (self.folder / mutant.path).write_text(source.replace(mutant.old, mutant.new))
            player = room or (mutant.simulation if mutant else BROKEN_ROOMS[0])
            profile = ["--release"] if release else []
            self._cargo("test", player, "--no-run", *profile)
            test = mutant.test if mutant else ""
            return self._run(player, seeds, profile, explores, test)

    def _run(
        self, player: str, seeds: int, profile: list[str], explores: int, test: str
    ) -> Verdict:
        promises = "every_order_of_few_events" if explores else f"the_{player}_keeps_its_promises"
        test = test or promises
        played = {"HTEX_SIM_SEEDS": str(seeds), "HTEX_SMALL_WORLD_STEPS": str(explores)}
        try:
            told = self._cargo("test", player, *profile, test, played=played, must_pass=False)
        except subprocess.TimeoutExpired:
            return Verdict(True, f"it did not end within {WITHIN_S} s")
        if told.returncode == 0:
            assert "1 passed" in told.stdout, told.stdout
            return Verdict(False, f"{explores} steps" if explores else f"{seeds} seeds passed")
        failed = FAILED.search(told.stdout)
        assert failed, f"it failed without naming a seed:\n{told.stdout[-2000:]}"
        return Verdict(True, failed[0])

    def _cargo(
        self, verb: str, room: str, *arguments: str, played=None, must_pass=True
    ) -> subprocess.CompletedProcess:
        command = [environment.cargo(), verb, "--offline", "--locked", "--quiet", "-p", room]
        process = subprocess.Popen(
            [*command, "--test", room, *arguments],
            cwd=self.folder,
            env={
                **os.environ,
                "CARGO_TARGET_DIR": str(self.folder / "target"),
                **(played or {}),
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
            seeds = int((played or {}).get("HTEX_SIM_SEEDS", 1))
            patience_s = None if must_pass else WITHIN_S * max(1, seeds // 300)
            stdout, _ = process.communicate(timeout=patience_s)
        except BaseException:
            # Also kills cargo's child, which is the process that does not end.
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
        told = subprocess.CompletedProcess(command, process.returncode, stdout)
        if must_pass and told.returncode:
            raise AssertionError(f"{' '.join(command)} failed:\n{told.stdout[-3000:]}")
        return told

    def _mirror(self) -> None:
        for room in BROKEN_ROOMS:
            place = self.folder / ROOMS / room
            if place.is_symlink():
                place.unlink()
            place.mkdir(parents=True, exist_ok=True)
        for name in LINKED:
            self._link(Path(name))
        # A copy, because cargo may write to the file; with `--locked` it reports an outdated file
        # instead.
        shutil.copy(PROJECT / "Cargo.lock", self.folder / "Cargo.lock")

    def _link(self, name: Path) -> None:
        """Links to the project's file or folder. In `src`, links every entry except the mutants'
        crates."""
        place = self.folder / name
        if name != ROOMS:
            # In a mirror that was copied from another checkout, links still point to that checkout.
            if place.is_symlink() and place.readlink() != PROJECT / name:
                place.unlink()
            if not place.is_symlink():
                place.symlink_to(PROJECT / name)
            return
        known = {path.name for path in (PROJECT / name).iterdir()} - set(BROKEN_ROOMS)
        for there in place.iterdir():
            if there.name not in known and there.is_symlink():
                there.unlink()
        for child in known:
            self._link(name / child)

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        """Copies only files that differ, so that cargo rebuilds only their crates."""
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
