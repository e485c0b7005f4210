"""Exceptions for futures whose interchange ended or whose result was lost with its broker, and the
description of an ended process."""

from __future__ import annotations

import os
import signal
import time
from collections import deque

from parsl.errors import ParslError

LOG_NAMES = ("interchange.log", "interchange.jsonlog")
LAST_LINES = 10
# Ten lines fit in this many bytes, unless one of them holds a traceback.
TAIL_BYTES = 16 * 1024

# Exit statuses of htex-interchange, as its documentation explains them. For Parsl's own interchange
# and for launchers, the numbers mean something else.
EXIT_MEANINGS = {
    1: "it refused to start",
    2: "wrong arguments",
    3: "a manager has other versions of Python or Parsl",
    70: "internal error",
}


class InterchangeLost(ParslError):
    """The interchange process ended although no process asked it to. What became of its tasks is
    unknown: those that ran may have had effects.

    Attributes:
        label: the executor's label.
        exit_code: the process's exit status; -N if signal N ended it; None if another part of the
            program reaped it.
        log_path: the path of the interchange's log, which may not exist.
        log_lines: the last lines of the log.
    """

    def __init__(
        self, label: str, exit_code: int | None, log_path: str, log_lines: tuple[str, ...] = ()
    ) -> None:
        super().__init__(label, exit_code, log_path, log_lines)
        self.label = label
        self.exit_code = exit_code
        self.log_path = log_path
        self.log_lines = tuple(log_lines)

    def __str__(self) -> str:
        how = describe_exit(self.exit_code)
        text = f"The interchange of executor {self.label} ended unexpectedly: {how}."
        if not self.log_lines:
            return f"{text} Its log, {self.log_path}, is empty or cannot be read."
        lines = "\n  ".join(self.log_lines)
        return f"{text} The end of its log, {self.log_path}:\n  {lines}"

    def copy(self) -> InterchangeLost:
        """Returns a copy, one for each future: an exception collects a traceback at every place
        that raises it."""
        return InterchangeLost(self.label, self.exit_code, self.log_path, self.log_lines)


class ResultLost(ParslError):
    """The interchange's broker ended and was replaced, and the result of this task was lost. The
    task either ran or was given up; if it ran, it may have had effects.

    Attributes:
        label: the executor's label.
        task_id: the executor's id of the task; Parsl numbers its tasks differently.
        when: when the executor learned of the loss, in seconds since 1970.
        why: why the broker ended.
    """

    def __init__(self, label: str, task_id: int, when: float, why: str) -> None:
        super().__init__(label, task_id, when, why)
        self.label = label
        self.task_id = task_id
        self.when = when
        self.why = why

    def __str__(self) -> str:
        clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.when))
        return (
            f"The result of task {self.task_id} of executor {self.label} is lost: the task ran, or "
            f"was given up, and what it returned went down with the interchange's process, which "
            f"{self.why}, before it reached the executor. (Another process had taken over "
            f"by {clock}.)"
        )


def describe_exit(exit_code: int | None) -> str:
    """Describes `exit_code`, as `subprocess.Popen.returncode` gives it, in words."""
    if exit_code is None:
        return "its exit status is unknown"
    if exit_code < 0:
        try:
            return f"killed by signal {-exit_code} ({signal.Signals(-exit_code).name})"
        except ValueError:
            return f"killed by signal {-exit_code}"
    meaning = EXIT_MEANINGS.get(exit_code)
    return f"exit status {exit_code}" + (f" ({meaning})" if meaning else "")


def interchange_lost(label: str, exit_code: int | None, logdir: str) -> InterchangeLost:
    """Returns the exception with the last lines of the log in `logdir`, or without lines if the log
    cannot be read."""
    paths = [os.path.join(logdir, name) for name in LOG_NAMES]
    path = next(filter(os.path.exists, paths), paths[0])
    return InterchangeLost(label, exit_code, path, _last_lines(path))


def _last_lines(path: str) -> tuple[str, ...]:
    try:
        with open(path, "rb") as file:
            begin = max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES)
            file.seek(begin)
            text = file.read().decode(errors="replace")
    except OSError:
        return ()
    return tuple(deque(text.splitlines(), maxlen=LAST_LINES))
