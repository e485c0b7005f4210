"""Parsl's three pipes to the interchange, such that none waits for a process that has ended.

Parsl's own block for ever: a bound socket without a peer takes no task, and a reply that will not
come is waited for. Each guard wraps the pipe that Parsl made and uses the same socket.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import zmq
from parsl.executors.high_throughput.errors import (
    CommandClientBadError,
    CommandClientTimeoutError,
)

# How often somebody who waits looks whether the interchange still runs.
SLICE_MS = 100
# What a process wrote before its end is in our kernel; this long without a message, and it is read.
QUIET_MS = 50


class GuardedTasks:
    """`zmq_pipes.TasksOutgoing`."""

    def __init__(
        self,
        pipe: Any,
        ended: Callable[[], bool],
        completed: Callable[[dict[str, Any]], dict[str, Any]],
    ) -> None:
        self._pipe = pipe
        self._ended = ended
        self._completed = completed
        self._closed = False
        self.port: int = pipe.port
        pipe.zmq_socket.setsockopt(zmq.SNDTIMEO, SLICE_MS)

    def put(self, message: dict[str, Any]) -> None:
        """Sends a task. Once the interchange has ended it is dropped: its future is failed with
        all others."""
        message = self._completed(message)
        while True:
            try:
                self._pipe.zmq_socket.send_pyobj(message)
                return
            except zmq.Again:
                if self._ended():
                    return

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            if self._ended():
                # Nobody takes what still waits.
                self._pipe.zmq_socket.setsockopt(zmq.LINGER, 0)
            self._pipe.close()


class GuardedResults:
    """`zmq_pipes.ResultsIncoming`. Only Parsl's result thread calls `get`."""

    def __init__(self, pipe: Any, ended: Callable[[], bool]) -> None:
        self._pipe = pipe
        self._ended = ended
        self._closed = False
        self.port: int = pipe.port
        # Set when everything that was sent before the end has been handled, or is given up.
        self.drained = threading.Event()

    def get(self, timeout_ms: int | None = None) -> Any:
        """A message, or None after `timeout_ms`, or sooner: Parsl asks again."""
        wait_ms = SLICE_MS if timeout_ms is None else min(timeout_ms, SLICE_MS)
        if self.drained.is_set():
            time.sleep(wait_ms / 1000)
            return None
        # Looked at before the wait: silence counts only from the end on.
        ended = self._ended()
        message = self._pipe.get(max(wait_ms, QUIET_MS) if ended else wait_ms)
        if ended and message is None:
            self.drained.set()
        return message

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._pipe.close()


class GuardedCommands:
    """`zmq_pipes.CommandClient`: one request at a time, from any thread."""

    def __init__(
        self, pipe: Any, ended: Callable[[], bool], reason: Callable[[], Exception]
    ) -> None:
        self._pipe = pipe
        self._ended = ended
        self._reason = reason
        self._lock = threading.Lock()
        self._closed = False
        self.ok = True
        self.port: int = pipe.port

    def run(self, message: Any, max_retries: int = 3, timeout_s: float | None = None) -> Any:
        """The reply to `message`; `max_retries` is older releases' and is not needed.

        Raises:
            CommandClientTimeoutError: no reply within `timeout_s` seconds.
            CommandClientBadError: an earlier command timed out, or the executor was shut down.
            InterchangeLost: the interchange has ended and will not reply.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._lock:
            if not self.ok or self._closed:
                raise CommandClientBadError
            socket = self._pipe.zmq_socket
            self._send(socket, message, deadline)
            if not self._wait(socket, zmq.POLLIN, deadline):
                self.ok = False
                raise CommandClientTimeoutError("Waiting for a reply from command channel")
            return socket.recv_pyobj()

    def close(self) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                self._pipe.close()

    def _send(self, socket: zmq.Socket[bytes], message: Any, deadline: float | None) -> None:
        while self._wait(socket, zmq.POLLOUT, deadline):
            try:
                socket.send_pyobj(message, flags=zmq.DONTWAIT)
                return
            except zmq.Again:
                # The connection went between the look and the send.
                continue
        raise CommandClientTimeoutError("Waiting for command channel to be ready for a command")

    def _wait(self, socket: zmq.Socket[bytes], event: int, deadline: float | None) -> bool:
        """Whether `event` came before `deadline`, in seconds of the monotonic clock."""
        while True:
            wait_ms: float = SLICE_MS
            if deadline is not None:
                wait_ms = min(wait_ms, 1000 * (deadline - time.monotonic()))
            # The last reply may be on its way when the process has ended: a refused start.
            ended = self._ended()
            if socket.poll(int(max(wait_ms, 0)), event):
                return True
            if ended:
                raise self._reason()
            if wait_ms <= 0:
                return False
