"""Controls a browser by the DevTools protocol over two pipes.

With `--remote-debugging-pipe` a Chromium reads JSON messages from descriptor 3 and writes them to
descriptor 4, each ended by a zero byte. No port is opened and no WebSocket is needed. Standard
library only.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

ANSWER_S = 30.0
END_S = 5.0

# Lowest number for the browser's pipe ends: above descriptors 3 and 4, so that installing one end
# there does not overwrite the other.
LOWEST_DESCRIPTOR = 10


class BrowserFailed(AssertionError):
    """The browser ended, does not answer, or rejects a command."""


class DevTools:
    """A started browser; `on_event(name, parameters, session)` receives its events."""

    def __init__(
        self, command: list[str], said: Path, on_event: Callable[[str, dict, str], None]
    ) -> None:
        self.said = said
        self.on_event = on_event
        self._last_id = 0
        self._answers: dict[int, dict] = {}
        self._unread = b""
        theirs_in, self._write_end = _pipe(theirs=0)
        self._read_end, theirs_out = _pipe(theirs=1)
        redirect = f'exec "$@" 3</dev/fd/{theirs_in} 4>/dev/fd/{theirs_out}'
        with open(said, "wb") as stderr:
            self.process = subprocess.Popen(
                ["/bin/sh", "-c", redirect, "sh", *command],
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                pass_fds=(theirs_in, theirs_out),
                start_new_session=True,
            )
        os.close(theirs_in)
        os.close(theirs_out)

    def call(self, method: str, session: str = "", **parameters) -> dict:
        """Sends a command and returns its answer; passes events that arrive first to `on_event`."""
        wanted = self.tell(method, session, **parameters)
        deadline = time.monotonic() + ANSWER_S
        while wanted not in self._answers:
            if time.monotonic() >= deadline:
                raise self._failure(f"no answer to {method} in {ANSWER_S} s")
            self.listen(deadline - time.monotonic())
        answer = self._answers.pop(wanted)
        if "error" in answer:
            raise self._failure(f"{method}: {answer['error']}")
        return answer["result"]

    def tell(self, method: str, session: str = "", **parameters) -> int:
        """Sends a command without waiting for its answer; returns the command's id."""
        self._last_id += 1
        message: dict = {"id": self._last_id, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        unsent = memoryview(json.dumps(message).encode() + b"\0")
        try:
            while unsent:
                unsent = unsent[os.write(self._write_end, unsent) :]
        except BrokenPipeError:
            raise self._failure(f"the browser ended during {method}") from None
        return self._last_id

    def listen(self, within_s: float) -> None:
        """Handles all messages that have arrived, after waiting at most `within_s` for the
        first."""
        if not select.select([self._read_end], [], [], max(within_s, 0))[0]:
            return
        block = os.read(self._read_end, 1 << 20)
        if not block:
            raise self._failure("the browser has ended")
        *messages, self._unread = (self._unread + block).split(b"\0")
        for raw in messages:
            message = json.loads(raw)
            if "id" in message:
                self._answers[message["id"]] = message
            else:
                self.on_event(message["method"], message["params"], message.get("sessionId", ""))

    def close(self) -> None:
        """Ends the browser by its own command, or if that fails by killing its process group."""
        try:
            self.tell("Browser.close")
            self.process.wait(END_S)
        except (BrowserFailed, subprocess.TimeoutExpired):
            # Until the browser is reaped, its process group id cannot be reused.
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self._write_end)
        os.close(self._read_end)

    def _failure(self, what: str) -> BrowserFailed:
        said = self.said.read_text(errors="replace")[-2000:]
        return BrowserFailed(f"{what} (exit: {self.process.poll()})\n--- output\n{said}")


def _pipe(theirs: int) -> tuple[int, int]:
    """Makes a pipe in which the browser's end has a high descriptor number; returns both ends."""
    ends = list(os.pipe())
    moved = fcntl.fcntl(ends[theirs], fcntl.F_DUPFD_CLOEXEC, LOWEST_DESCRIPTOR)
    os.close(ends[theirs])
    ends[theirs] = moved
    return ends[0], ends[1]
