"""Waits for a child process to end, and leaves its reaping to the Popen that owns it."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable


class ProcessWatch:
    """A thread that sleeps in the kernel until the process ends, then calls `on_end` once.

    `waitid` with WNOWAIT leaves the process to be collected by `Popen.wait` and `Popen.poll`,
    whoever calls them and when: nothing is taken from them, and no id is used after its reaping.
    """

    def __init__(self, process: subprocess.Popen[bytes], on_end: Callable[[], None]) -> None:
        self.ended = threading.Event()
        # As `Popen.returncode`; known once `ended` is set.
        self.exit_code: int | None = None
        self._process = process
        self._on_end = on_end
        self._thread = threading.Thread(
            target=self._wait, name="HTEX-Interchange-Watch", daemon=True
        )
        self._thread.start()

    def has_ended(self) -> bool:
        """Asks the kernel: the thread may not have been scheduled since the end."""
        if self.ended.is_set():
            return True
        try:
            return os.waitid(os.P_PID, self._process.pid, _ENDED | os.WNOHANG) is not None
        except ChildProcessError:
            return True

    def join(self, timeout_s: float) -> None:
        """Waits until `on_end` has returned; not from within it."""
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)

    def _wait(self) -> None:
        try:
            told = os.waitid(os.P_PID, self._process.pid, _ENDED)
        except ChildProcessError:
            # Reaped by another thread's Popen.wait, which notes the status; this returns it.
            self.exit_code = self._process.wait()
        else:
            # Only with WNOHANG is there nothing to tell.
            assert told is not None
            exited = told.si_code == os.CLD_EXITED
            self.exit_code = told.si_status if exited else -told.si_status
        self.ended.set()
        self._on_end()


_ENDED = os.WEXITED | os.WNOWAIT
