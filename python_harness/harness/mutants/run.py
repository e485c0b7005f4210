"""Brokers and turns that are broken on purpose, in their source: a simulation has to catch each.

It is the crate itself that is built: in a mirror of the workspace, in which everything but the
folders of broker and turn is a link to the project. The mirror keeps what it has built, so that a
mutant costs the compilation of its crate and the simulation. It plays many seeds against the
unbroken ones, too.
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
# A mutant that never ends is caught as well, after this long.
WITHIN_S = 240
# A mutant that sends without end must not take the machine with it.
MEMORY_MAX = 2 << 30

# What the mirror links to: all that cargo has to see of a workspace before it builds one crate.
LINKED = ("Cargo.toml", "src", "tests", "benches")
ROOMS = Path("src")
# Those that are broken, and simulated.
BROKEN_ROOMS = ("broker", "turn")

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
    # Whose file it is, and whose simulation is to catch it: the same room's, unless it says so.
    room: str = "broker"
    played_by: str = ""
    # The test of that room's that is played, if it is not the one of its promises.
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
    """The mirror of the workspace. Tests run in several processes; one at a time builds in it."""

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
        """Builds with this change (or none), and plays a room's simulation until a seed fails. Or
        (`explores`) every order of so many events."""
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
            return Verdict(True, f"no end within {WITHIN_S} s")
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
            # Cargo's child is the one that does not end.
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
        # Cargo writes to it where it is not up to date; `--locked` says so instead.
        shutil.copy(PROJECT / "Cargo.lock", self.folder / "Cargo.lock")

    def _link(self, name: Path) -> None:
        """Links to what the project has there, but for the folder of the broken rooms."""
        place = self.folder / name
        if name != ROOMS:
            # A mirror that was copied with another project's is that one's.
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
