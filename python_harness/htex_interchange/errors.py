"""What a future fails with when the interchange is gone, or a result went with its broker, and how
an ended process is described."""

from __future__ import annotations

import os
import signal
import time
from collections import deque

from parsl.errors import ParslError

LOG_NAMES = ("interchange.log", "interchange.jsonlog")
LAST_LINES = 10
# Ten lines are shorter than this, unless one of them carries a traceback.
TAIL_BYTES = 16 * 1024

# As the binary documents them; stock and launchers have other reasons.
EXIT_MEANINGS = {
    1: "it refused to start",
    2: "wrong arguments",
    3: "a manager has other versions of Python or Parsl",
    70: "internal error",
}


class InterchangeLost(ParslError):
    """The interchange process ended although nobody told it to. What became of the tasks that
    it had is not known: those that ran may have had effects.

    Attributes:
        label: of the executor.
        exit_code: of the process; -N if signal N ended it; None if somebody else reaped it.
        log_path: the interchange's log, which may not exist.
        log_lines: its last lines.
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
            return f"{text} Its log, {self.log_path}, says nothing."
        lines = "\n  ".join(self.log_lines)
        return f"{text} The end of its log, {self.log_path}:\n  {lines}"

    def copy(self) -> InterchangeLost:
        """One for each future: an exception collects the traceback of everywhere it is raised."""
        return InterchangeLost(self.label, self.exit_code, self.log_path, self.log_lines)


class ResultLost(ParslError):
    """The interchange's broker ended and was replaced, and the result of this task was lost with
    it: the task ran, or it was given up. If it ran, it may have had effects.

    Attributes:
        label: of the executor.
        task_id: of the task in the executor; Parsl's own counts otherwise.
        when: the executor heard of it, in seconds since 1970.
        why: the broker ended.
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
            f"{self.why}, before it reached the executor. (Another process took over by {clock}.)"
        )


def describe_exit(exit_code: int | None) -> str:
    """`exit_code` in words, as `subprocess.Popen.returncode` gives it."""
    if exit_code is None:
        return "its exit status is not known"
    if exit_code < 0:
        try:
            return f"killed by signal {-exit_code} ({signal.Signals(-exit_code).name})"
        except ValueError:
            return f"killed by signal {-exit_code}"
    meaning = EXIT_MEANINGS.get(exit_code)
    return f"exit status {exit_code}" + (f" ({meaning})" if meaning else "")


def interchange_lost(label: str, exit_code: int | None, logdir: str) -> InterchangeLost:
    """The exception with what the log in `logdir` says last; a log that cannot be read is no
    reason to say nothing."""
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
