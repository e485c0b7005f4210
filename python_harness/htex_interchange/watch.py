"""Waits for a child process to end, and leaves its reaping to the `Popen` that owns it."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable


class ProcessWatch:
    """A thread that sleeps in the kernel until the process ends, then calls `on_end` once.

    `waitid` with WNOWAIT leaves the process to be reaped by `Popen.wait` and `Popen.poll`,
    whichever thread calls them and when. So no exit status is taken from them, and no process id is
    used after its reaping.
    """

    def __init__(self, process: subprocess.Popen[bytes], on_end: Callable[[], None]) -> None:
        self.ended = threading.Event()
        # The same value as `Popen.returncode`, known once `ended` is set.
        self.exit_code: int | None = None
        self._process = process
        self._on_end = on_end
        self._thread = threading.Thread(
            target=self._wait, name="HTEX-Interchange-Watch", daemon=True
        )
        self._thread.start()

    def has_ended(self) -> bool:
        """Whether the process has ended. The kernel is asked, because the watching thread may not
        have run since the end."""
        if self.ended.is_set():
            return True
        try:
            return os.waitid(os.P_PID, self._process.pid, _ENDED | os.WNOHANG) is not None
        except ChildProcessError:
            return True

    def join(self, timeout_s: float) -> None:
        """Waits until `on_end` has returned. Returns immediately if called from within `on_end`."""
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)

    def _wait(self) -> None:
        try:
            told = os.waitid(os.P_PID, self._process.pid, _ENDED)
        except ChildProcessError:
            # Another thread's `Popen.wait` reaped the process and noted the status. This call
            # returns it.
            self.exit_code = self._process.wait()
        else:
            # Only with WNOHANG does `waitid` return None.
            assert told is not None
            exited = told.si_code == os.CLD_EXITED
            self.exit_code = told.si_status if exited else -told.si_status
        self.ended.set()
        self._on_end()


_ENDED = os.WEXITED | os.WNOWAIT
