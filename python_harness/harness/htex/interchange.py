"""Starts and observes one interchange process, htex-interchange or stock, as HTEX starts it.

HTEX runs the command with a pipe on stdin, writes one pickled dict and closes the pipe. Here the
process also gets its own process group and stderr file, so that tests can send signals to a group
and read its messages.
"""

from __future__ import annotations

import os
import pickle
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from harness.machine import processes, usage
from harness.machine.waiting import wait_until
from harness.setup import environment

# Time limit for a keeper to start its broker, which it does once it has read the configuration.
KEPT_WITHIN_S = 5.0
KIND_VARIABLE = "HTEX_TEST_INTERCHANGE"

# The keys of each line in Parsl's JSON format.
JSON_KEYS = {
    "created",
    "process",
    "processName",
    "threadName",
    "thread",
    "name",
    "lineno",
    "funcname",
    "levelname",
    "msg",
    "formatted",
}
# Start of a line in Parsl's default format, up to its level. Such words within a message do not
# match.
LINE_LEVEL = re.compile(r"\d+\.\d+ \S+ \S+ \S+ \S+ \S+ \S+ (DEBUG|INFO|WARNING|ERROR|CRITICAL): ")


def stock_under_test() -> bool:
    """Whether the tests run against Parsl's own interchange, to validate the tests."""
    return os.environ.get(KIND_VARIABLE) == "stock"


def command_under_test() -> list[str]:
    return environment.stock_command() if stock_under_test() else [str(environment.binary())]


def line_level(line: str) -> str | None:
    match = LINE_LEVEL.match(line)
    return match[1] if match else None


class Interchange:
    """A started interchange: its process, its output, and its exit."""

    def __init__(
        self, config: dict | bytes, workdir: Path, command: Sequence[str] | None = None, **popen
    ) -> None:
        self.config = config
        named = config.get("logdir", workdir) if isinstance(config, dict) else workdir
        self.logdir = Path(str(named))
        self.stderr_path = workdir / "interchange.stderr"
        self.command = list(command or command_under_test())
        raw = config if isinstance(config, bytes) else pickle.dumps(config)
        popen.setdefault("start_new_session", True)
        with open(self.stderr_path, "ab") as stderr:
            self.launched = time.monotonic()
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stderr=stderr, **popen
            )
        try:
            self.process.stdin.write(raw)
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        self.expected_to_end = False
        self.broker: int | None = None

    @property
    def pid(self) -> int:
        """Id of the process that does the work: the broker, if HTEX started a keeper."""
        if self.broker is None and not stock_under_test():
            end = time.monotonic() + KEPT_WITHIN_S
            while self.running and self.broker is None and time.monotonic() < end:
                self.broker = processes.broker_below(self.process.pid)
        return self.broker or self.process.pid

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def wait_exit(self, within_s: float) -> int:
        """Returns the exit code, negative for a signal; fails if the process still runs after
        `within_s`."""
        self.expected_to_end = True
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"interchange {self.pid} still runs after {within_s} s\n{self.tail()}"
            ) from None

    def terminate(self, within_s: float = 5.0) -> float:
        """Sends SIGTERM as HTEX does; returns the seconds until the process has ended."""
        self.expected_to_end = True
        begin = time.perf_counter()
        self.process.send_signal(signal.SIGTERM)
        self.wait_exit(within_s)
        return time.perf_counter() - begin

    def end(self) -> None:
        """Kills the process at once, whatever its state; for clean-up."""
        self.expected_to_end = True
        if self.running:
            processes.kill_with_keeper(self.process)
        self.process.wait()

    def stderr(self) -> str:
        return self.stderr_path.read_text(errors="replace")

    def log(self) -> str:
        path = self.logdir / "interchange.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def log_lines(self, level: str, containing: str = "") -> list[str]:
        """Returns lines of one level (WARNING, ERROR ...) in Parsl's default format."""
        return [
            line
            for line in self.log().splitlines()
            if line_level(line) == level and containing in line
        ]

    def wait_for_log(self, text: str, within_s: float = 5.0) -> None:
        wait_until(lambda: text in self.log(), within_s, f"{text!r} in the log", context=self.tail)

    def tail(self, lines: int = 15) -> str:
        """Returns the state, and the end of stderr and of the log, for the message of a failed
        test."""
        log = "\n".join(self.log().splitlines()[-lines:])
        state = "running" if self.running else f"exit {self.process.returncode}"
        return f"--- {state}\n--- stderr\n{self.stderr()[-2000:]}\n--- log\n{log}"

    def threads(self) -> int:
        return usage.threads(self.pid)
