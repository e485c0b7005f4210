"""Runs one external command so that Ctrl-C, a hang-up or a failure leaves no process behind.

The command runs in a new session. An interruption of the harness is forwarded to the whole process
group, and after the command has ended no process below the harness may still run. Standard library
only, because this module creates the environment.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.machine import processes

GRACE_S = 20.0


@dataclass
class Result:
    code: int
    stdout: str
    left_behind: list[str]


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP, treated as an interruption so that every clean-up runs."""


def install_signal_handlers() -> None:
    """Makes SIGTERM and SIGHUP unwind the harness as Ctrl-C does."""

    def unwind(number, _frame):
        raise Terminated(signal.Signals(number).name)

    signal.signal(signal.SIGTERM, unwind)
    # `nohup` ignores SIGHUP so that a program outlives its terminal; SIGHUP then stays ignored.
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, unwind)


def run(
    command: list[str],
    *,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    capture_stdout: bool = False,
    on_line: Callable[[str], None] | None = None,
    echo: bool = False,
) -> Result:
    """Runs the command to its end. `on_line` receives each line of its output; `capture_stdout`
    returns the output; `echo` also prints it. Without these, the output goes to the harness's own
    stdout."""
    piped = capture_stdout or on_line is not None
    sys.stdout.flush()
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if piped else None,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    lines: list[str] = []
    try:
        for line in process.stdout or ():
            lines.append(line)
            if echo:
                sys.stdout.write(line)
                sys.stdout.flush()
            if on_line:
                on_line(line.rstrip("\n"))
        code = process.wait()
    except BaseException:
        _interrupt(process)
        raise
    finally:
        left = [other.describe() for other in _others(process.pid)]
        processes.end_descendants()
        if process.stdout:
            process.stdout.close()
    return Result(code, "".join(lines), left)


def _others(pid: int) -> list[processes.Process]:
    return [process for process in processes.running_descendants() if process.pid != pid]


def _interrupt(process: subprocess.Popen) -> None:
    """Sends SIGINT to the command's process group, allows time for clean-up, and then kills it."""
    for number, grace_s in ((signal.SIGINT, GRACE_S), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            process.wait(grace_s)
            return
        except subprocess.TimeoutExpired:
            continue
