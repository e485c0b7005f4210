"""Runs programs of tests/programs that act as a whole submit process, which tests kill or stop."""

from __future__ import annotations

import json
import subprocess
import sys
import time

from harness.machine import processes
from harness.machine.waiting import wait_until
from harness.setup import environment

PROGRAMS = environment.HARNESS_DIR / "tests" / "programs"
GONE_WITHIN_S = 30.0


class Program:
    """A script of tests/programs that runs in its own session and reports one JSON line."""

    def __init__(self, name: str, *arguments: str) -> None:
        before = {process.pid for process in processes.running_descendants()}
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAMS / name), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        line = self.process.stdout.readline()
        assert line, f"{name} ended before it reported"
        self.report = json.loads(line)
        # Blocks are daemons: they become descendants of this process, not of the program.
        self.started = [
            process
            for process in processes.running_descendants()
            if process.pid not in before | {self.process.pid}
        ]

    def kill(self) -> float:
        """Sends SIGKILL; returns the seconds until every process started by the program has
        ended."""
        assert self.started
        begin = time.monotonic()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        wait_until(
            lambda: not self.still_running(),
            GONE_WITHIN_S,
            "all processes have ended",
            context=lambda: "\n".join(p.describe() for p in self.still_running()),
        )
        return time.monotonic() - begin

    def still_running(self) -> list[processes.Process]:
        now = [(process, processes.read(process.pid)) for process in self.started]
        return [old for old, new in now if old.same_as(new) and new.running]
