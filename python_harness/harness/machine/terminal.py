"""Runs a program on its own terminal, to which tests send keys and from which they read the screen.

The terminal is a real pseudo terminal of the kernel; pyte renders the screen.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import termios
import threading
from collections.abc import Sequence

import pyte

from harness.machine.waiting import wait_until

SHOWN_WITHIN_S = 20

KEYS = {"down": "\x1b[B", "up": "\x1b[A", "end": "\x1b[F", "escape": "\x1b", "tab": "\t"}


class Terminal:
    """A program on a terminal. Use as `with Terminal(command) as terminal:`, then for example
    `terminal.wait_for("text")` and `terminal.press("q")`."""

    def __init__(self, command: Sequence[str], columns: int = 100, rows: int = 30, **popen) -> None:
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.lock = threading.Lock()
        self.raw = b""
        self.is_gone = False
        self.master, self.slave = os.openpty()
        self._set_size(columns, rows)
        self.modes_before = termios.tcgetattr(self.slave)
        self.process = subprocess.Popen(
            command,
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            start_new_session=True,
            preexec_fn=self._own,
            **popen,
        )
        self.closing = threading.Event()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    @staticmethod
    def _own() -> None:
        """Makes the terminal the child's controlling terminal, so that resizing signals the
        child."""
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def _set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def _read(self) -> None:
        while not self.closing.is_set():
            if not self._is_written(100):
                continue
            # All bytes read so far are in `raw` whenever the lock is free.
            with self.lock:
                try:
                    written = os.read(self.master, 1 << 16)
                except OSError:
                    return
                self.raw += written
                self.stream.feed(written)

    def _is_written(self, within_ms: int) -> bool:
        # Uses poll, because select cannot handle descriptors above 1,023.
        poll = select.poll()
        poll.register(self.master, select.POLLIN)
        return bool(poll.poll(within_ms))

    def resize(self, columns: int, rows: int) -> None:
        with self.lock:
            self.screen.resize(rows, columns)
        self._set_size(columns, rows)

    def press(self, *keys: str) -> None:
        """Types characters, or a key by its name in KEYS."""
        for key in keys:
            os.write(self.master, KEYS.get(key, key).encode())

    def lines(self) -> list[str]:
        with self.lock:
            return [line.rstrip() for line in self.screen.display]

    def text(self) -> str:
        return "\n".join(self.lines())

    def wait_for(self, *texts: str, within_s: float = SHOWN_WITHIN_S) -> str:
        """Waits until the screen shows all texts, and returns the screen's text."""
        wait_until(
            lambda: all(text in self.text() for text in texts),
            within_s,
            f"the screen shows {texts}",
            context=self.text,
        )
        return self.text()

    def wait_gone(self, text: str) -> None:
        wait_until(
            lambda: text not in self.text(),
            SHOWN_WITHIN_S,
            f"the screen no longer shows {text!r}",
            context=self.text,
        )

    def hang_up(self) -> None:
        """Closes the terminal, as a closed window does."""
        self.closing.set()
        self.reader.join()
        os.close(self.master)
        self.is_gone = True

    def wait_exit(self) -> int:
        status = self.process.wait(SHOWN_WITHIN_S)
        # Waits until the program's last output has been read.
        wait_until(self._is_read, 5, "all output is read")
        return status

    def _is_read(self) -> bool:
        with self.lock:
            return not self._is_written(0)

    @property
    def is_restored(self) -> bool:
        """Whether the terminal is as before: normal screen, visible cursor, original modes."""
        left = self.raw.rfind(b"\x1b[?1049l") > self.raw.rfind(b"\x1b[?1049h") >= 0
        return (
            left
            and not self.screen.cursor.hidden
            and termios.tcgetattr(self.slave) == self.modes_before
        )

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.closing.set()
        self.reader.join()
        if not self.is_gone:
            os.close(self.master)
        os.close(self.slave)
