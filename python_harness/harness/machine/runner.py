"""Runs one external command so that Ctrl-C, a hang-up or a failure leaves nothing of it behind.

The command gets a session of its own; an interruption of the harness is passed on to the whole
group, and after the command has ended nothing below the harness may still run. Standard library
only, because the environment is made with it.
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
    """TERM and HUP unwind the harness as Ctrl-C does."""

    def unwind(number, _frame):
        raise Terminated(signal.Signals(number).name)

    signal.signal(signal.SIGTERM, unwind)
    # `nohup` asks to outlive the terminal by ignoring this signal; that is kept.
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
    """Runs to the end. With `on_line`, or captured, each line of its output is handed over as it
    comes; with `echo` it is printed as well. Else the output goes where ours goes."""
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
    """Ctrl-C for the command's group, time to clean up, then the end."""
    for number, grace_s in ((signal.SIGINT, GRACE_S), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            process.wait(grace_s)
            return
        except subprocess.TimeoutExpired:
            continue
