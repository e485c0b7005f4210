"""Wraps Parsl's three pipes to the interchange so that no call waits for a process that has ended.

Parsl's own pipes block for ever: a bound socket without a peer accepts no task, and a reply is
awaited even if it cannot arrive. Each guard wraps the pipe that Parsl made and uses the same
socket.
"""

from __future__ import annotations

import contextlib
import pickle
import threading
import time
from collections.abc import Callable
from typing import Any

import zmq
from parsl.executors.high_throughput.errors import (
    CommandClientBadError,
    CommandClientTimeoutError,
)

from htex_interchange.restarts import KeptMessages, Restarts

# Interval at which a blocked call checks whether the interchange still runs.
SLICE_MS = 100
# What a process wrote before its end is already in the local kernel. After this long without a
# message, all of it has been read.
QUIET_MS = 50
# A longer wait where silence decides which results are lost, so that a busy machine has time to
# read them.
DECIDING_MS = 250


class GuardedTasks:
    """Wraps `zmq_pipes.TasksOutgoing`. With `kept`, each message is kept there and can be sent
    again."""

    def __init__(
        self,
        pipe: Any,
        ended: Callable[[], bool],
        completed: Callable[[dict[str, Any]], dict[str, Any]],
        kept: KeptMessages | None = None,
    ) -> None:
        self._pipe = pipe
        self._ended = ended
        self._completed = completed
        self._kept = kept
        # libzmq aborts the process if one thread closes a socket that another thread uses. Parsl
        # shuts the executor down while its launching thread may still send tasks.
        self._lock = threading.Lock()
        self._closed = False
        self.port: int = pipe.port
        pipe.zmq_socket.setsockopt(zmq.SNDTIMEO, SLICE_MS)

    def put(self, message: dict[str, Any]) -> None:
        """Sends a task. Once the interchange has ended, the task is dropped: its future fails with
        all others.

        Raises:
            RuntimeError: the executor was shut down.
        """
        pickled = pickle.dumps(self._completed(message))
        if self._kept is not None:
            # Kept before the send, because the task may end immediately after it.
            self._kept.keep(message["task_id"], pickled)
        while True:
            with self._lock:
                if self._closed:
                    raise RuntimeError("the executor was shut down; it takes no more tasks")
                if self._is_taken(pickled):
                    return
            if self._ended():
                return

    def send_again(self, task_id: int) -> bool:
        """Sends a task's kept message again; False if no peer accepted it within `SLICE_MS`. May be
        called from any thread."""
        with self._lock:
            pickled = None if self._kept is None else self._kept.get(task_id)
            if pickled is None or self._closed or self._ended():
                return True
            return self._is_taken(pickled)

    def settle(self) -> None:
        """Makes libzmq drop the messages that it could not send over a broken connection. libzmq
        keeps them until the socket is read. No message ever arrives here, but reading makes libzmq
        notice the broken connection."""
        with self._lock:
            if not self._closed:
                with contextlib.suppress(zmq.Again):
                    while True:
                        self._pipe.zmq_socket.recv(zmq.DONTWAIT)

    def close(self) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                if self._ended():
                    # No peer will receive the messages that are still queued.
                    self._pipe.zmq_socket.setsockopt(zmq.LINGER, 0)
                self._pipe.close()

    def _is_taken(self, pickled: bytes) -> bool:
        try:
            self._pipe.zmq_socket.send(pickled)
        except zmq.Again:
            return False
        return True


class GuardedResults:
    """Wraps `zmq_pipes.ResultsIncoming`. Only Parsl's result thread calls `get`. Messages pass
    through `restarts`, if the broker can be replaced. `fail_all` is called when `get` raises, which
    ends that thread."""

    def __init__(
        self,
        pipe: Any,
        ended: Callable[[], bool],
        fail_all: Callable[[Exception], None],
        restarts: Restarts | None = None,
    ) -> None:
        self._pipe = pipe
        self._ended = ended
        self._fail_all = fail_all
        self._restarts = restarts
        self._closed = False
        self.port: int = pipe.port
        # Set once everything that was sent before the interchange's end is handled or given up.
        self.drained = threading.Event()

    def get(self, timeout_ms: int | None = None) -> Any:
        """Returns a message, or None after `timeout_ms` or sooner: Parsl calls again."""
        try:
            return self._get(timeout_ms)
        except BaseException as fault:
            # Without the thread no future would ever be answered.
            failure = RuntimeError(f"no more results can be received: {fault!r}")
            failure.__cause__ = fault
            self._fail_all(failure)
            raise

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            if self._restarts is not None:
                self._restarts.no_more_results()
            self._pipe.close()

    def _get(self, timeout_ms: int | None) -> Any:
        wait_ms = SLICE_MS if timeout_ms is None else min(timeout_ms, SLICE_MS)
        if self.drained.is_set():
            time.sleep(wait_ms / 1000)
            return None
        # Read before the wait: silence counts only after the end of the interchange.
        ended = self._ended()
        restarts = self._restarts
        if ended:
            wait_ms = max(wait_ms, QUIET_MS)
        elif restarts is not None and restarts.undecided:
            wait_ms = DECIDING_MS
        message = self._pipe.get(wait_ms)
        if ended and message is None:
            self.drained.set()
        return message if restarts is None else restarts.for_parsl(message)


class GuardedCommands:
    """Wraps `zmq_pipes.CommandClient`: one request at a time, from any thread. With `restarts`, a
    request is sent again after each restart."""

    def __init__(
        self,
        pipe: Any,
        ended: Callable[[], bool],
        reason: Callable[[], Exception],
        restarts: Restarts | None = None,
    ) -> None:
        self._pipe = pipe
        self._ended = ended
        self._reason = reason
        self._epoch: Callable[[], int] = int if restarts is None else restarts.epoch
        self._lock = threading.Lock()
        self._closed = False
        self.ok = True
        self.port: int = pipe.port
        # A request may follow one that has no reply yet, as after a restart or a KeyboardInterrupt.
        # It accepts only its own reply.
        pipe.zmq_socket.setsockopt(zmq.REQ_RELAXED, 1)
        pipe.zmq_socket.setsockopt(zmq.REQ_CORRELATE, 1)

    def run(self, message: Any, max_retries: int = 3, timeout_s: float | None = None) -> Any:
        """Returns the reply to `message`. `max_retries` exists for older releases of Parsl and is
        ignored.

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
            while True:
                # Read before the send: any restart after this point causes the request to be sent
                # again.
                epoch = self._epoch()
                self._send(socket, message, deadline)
                reply = self._reply(socket, epoch, deadline)
                if reply is not None:
                    return pickle.loads(reply)

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
                # The connection was lost between the poll and the send.
                continue
        raise CommandClientTimeoutError("Waiting for command channel to be ready for a command")

    def _reply(self, socket: zmq.Socket[bytes], epoch: int, deadline: float | None) -> bytes | None:
        """Returns the reply, or None once the epoch has changed: the reply may be lost with the
        broker."""
        while self._wait(socket, zmq.POLLIN, deadline, epoch):
            try:
                return socket.recv(zmq.DONTWAIT)
            except zmq.Again:
                # The message was the reply to an earlier request, and libzmq dropped it.
                continue
        if epoch != self._epoch():
            return None
        self.ok = False
        raise CommandClientTimeoutError("Waiting for a reply from command channel")

    def _wait(
        self,
        socket: zmq.Socket[bytes],
        event: int,
        deadline: float | None,
        epoch: int | None = None,
    ) -> bool:
        """Whether `event` occurred before `deadline` (seconds of the monotonic clock) and, if
        `epoch` is given, within that epoch."""
        while True:
            wait_ms: float = SLICE_MS
            if deadline is not None:
                wait_ms = min(wait_ms, 1000 * (deadline - time.monotonic()))
            # Read before the poll: the last reply may still be in transit when the process has
            # ended, as after a refused start.
            ended = self._ended()
            if socket.poll(int(max(wait_ms, 0)), event):
                return True
            if ended:
                raise self._reason()
            if wait_ms <= 0 or epoch not in (None, self._epoch()):
                return False
