"""The managers of the differential test as one player sees them.

A `Peer` is a connection with a role's name and a record of the manager's state: whether it is
registered, and which tasks it holds. The record is built only from messages that were sent and
received, never from what an interchange should have sent. Every message passes through a `Tamper`.
The base class changes nothing; the test's own tests insert one that alters messages.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import zmq

from harness.differential import values
from harness.fakes.wire import HEARTBEAT_CODE, PATIENCE_S, SHUTDOWN_CODE, FakeManager, Silence
from harness.htex.interchange import Interchange

PROBE = pickle.dumps({"type": "connection_probe"})
HEARTBEAT = pickle.dumps({"type": "heartbeat"})
ECHO, SHUTDOWN = "echo", "shutdown"

# Seconds to wait for an answer on a new connection before opening another. Stock never answers a
# connection that was opened before the earlier one with its identity was torn down.
DEAF_AFTER_S = 0.3


# Interval of the checks, during a wait, that the interchange still runs.
LOOK_EVERY_S = 0.05


class Ended(AssertionError):
    """The interchange ended while the player waited for a message from it."""


def receive(
    interchange: Interchange, sock: zmq.Socket, what: str, within_s: float = PATIENCE_S
) -> bytes:
    """Returns the next frame; fails at once if the interchange ends without having sent one."""
    end = time.monotonic() + within_s
    while not sock.poll(LOOK_EVERY_S * 1000):
        if not interchange.running and not sock.poll(LOOK_EVERY_S * 1000):
            raise Ended(f"the interchange ended before {what}: {interchange.tail()}")
        if time.monotonic() > end:
            raise Silence(f"no {what} within {within_s} s\n{interchange.tail()}")
    return sock.recv()


class LogTail:
    """Waits for lines of the interchange's log and reads each line only once."""

    def __init__(self, interchange: Interchange) -> None:
        self.interchange = interchange
        self.position = 0
        self.unread = ""

    def wait_for(self, text: str, within_s: float = PATIENCE_S) -> None:
        path = self.interchange.logdir / "interchange.log"
        end = time.monotonic() + within_s
        while text not in self.unread:
            running = self.interchange.running
            with open(path, errors="replace") as file:
                file.seek(self.position)
                fresh = file.read()
                self.position = file.tell()
            self.unread += fresh
            if fresh:
                continue
            if not running:
                raise Ended(f"the interchange ended before it logged {text!r}")
            if time.monotonic() > end:
                raise Silence(f"no line {text!r} within {within_s} s")
            time.sleep(0.001)
        self.unread = self.unread.partition(text)[2]


class Tamper:
    """A hook that can alter messages between the player and the interchange."""

    def outgoing(self, channel: str, frames: list[bytes]) -> list[list[bytes]]:
        """Returns the messages to send in place of one; `channel` is a peer's name, `task` or
        `command`."""
        return [frames]

    def incoming(self, channel: str, frame: bytes) -> list[bytes]:
        """Returns the frames to deliver in place of one; `channel` is a peer's name, `command`,
        `task`, `result` or `hub`."""
        return [frame]


@dataclass
class Step:
    """The actions of one event and the messages that resulted, by channel."""

    number: int
    event: str
    done: list[str] = field(default_factory=list)
    replies: list[tuple[object, object]] = field(default_factory=list)
    # Messages to managers, by peer: ("tasks", [task, …]), ECHO, SHUTDOWN, or any other message.
    to_peers: dict[str, list] = field(default_factory=dict)
    hub: list[tuple] = field(default_factory=list)
    # Whether tasks were submitted while managers had room: timing then decides how they are
    # batched.
    free_batches: bool = False
    # Number of valid messages that each peer sent after its registration had ended.
    spoke_after_its_end: dict[str, int] = field(default_factory=dict)
    # What this step must contain because of a deliberate difference, by a key that its rule reads.
    expected: dict[str, object] = field(default_factory=dict)


class Peer:
    """One role on the worker port."""

    def __init__(
        self,
        name: str,
        connect: Callable[[], FakeManager],
        interchange: Interchange,
        tamper: Tamper,
    ) -> None:
        self.name = name
        self.connect = connect
        self.connection = connect()
        self.interchange = interchange
        self.tamper = tamper
        self.registered = self.departed = self.held = self.draining = self.silent = False
        self.capacity = self.given = 0
        self.holding: list[int] = []
        self.sent_results: list[bytes] = []
        self.last_beat = 0.0

    @property
    def room(self) -> int:
        able = self.registered and not self.held and not self.draining
        return max(0, self.capacity - len(self.holding)) if able else 0

    def send(self, step: Step | None, *frames: bytes, valid: bool = True) -> None:
        """Sends a message; `valid` says whether a registered manager may send such a message."""
        if step is not None and valid and self.departed:
            count = step.spoke_after_its_end.get(self.name, 0)
            step.spoke_after_its_end[self.name] = count + 1
        for message in self.tamper.outgoing(self.name, list(frames)):
            self.connection.send_frames(*message)

    def probe(self) -> None:
        self.send(None, PROBE)

    def until_probe_answer(self, step: Step) -> None:
        """Records every message that arrives before the answer to the probe."""
        raw = None
        while raw != b"":
            raw = receive(self.interchange, self.connection.socket, f"message to {self.name}")
            for frame in self.tamper.incoming(self.name, raw):
                if frame:
                    self._note(step, frame)

    def _note(self, step: Step, frame: bytes) -> None:
        message = pickle.loads(frame)
        if isinstance(message, list):
            ids = [task.get("task_id") for task in message if isinstance(task, dict)]
            self.holding.extend(ids)
            self.given += len(ids)
            message = ("tasks", message)
        elif message == HEARTBEAT_CODE:
            message = ECHO
        elif message == SHUTDOWN_CODE:
            message = SHUTDOWN
            self.end()
        step.to_peers.setdefault(self.name, []).append(message)

    def register(self, step: Step, message: dict) -> None:
        self.send(step, pickle.dumps(message), valid=False)
        self.registered, self.departed = True, False
        self.held = self.draining = False
        self.capacity = message.get("max_capacity", 0)
        self.last_beat = time.monotonic()

    def end(self) -> None:
        """Marks the manager as no longer registered."""
        self.registered, self.departed = False, True
        self.held = self.draining = False
        self.holding = []

    def reconnect(self, step: Step, deadline_s: float = PATIENCE_S) -> None:
        """Closes the connection and opens new ones until the interchange answers on one."""
        end = time.monotonic() + deadline_s
        while True:
            self.connection.close()
            self.connection = self.connect()
            self.probe()
            if self.connection.socket.poll(DEAF_AFTER_S * 1000):
                self.until_probe_answer(step)
                return
            if time.monotonic() > end:
                raise Silence(f"{self.name} receives nothing after its reconnection")

    def close(self) -> None:
        self.connection.close()


def result(task_id: int, text: str, form: str) -> bytes:
    """Returns a result as a worker writes it, in one of several possible forms."""
    body: dict = {"type": "result", "task_id": task_id}
    if form == "exception":
        return pickle.dumps({**body, "exception": f"02\nexception of {text}".encode()})
    payload = text.encode() * (2000 if form == "large" else 1)
    if form == "extra":
        body["a_field_of_tomorrow"] = ("x", [1, 2])
    return pickle.dumps({**body, "result": payload}, protocol=2 if form == "protocol" else 4)


def describe_message(message: object) -> list[str]:
    """Returns text lines that describe one message to a manager."""
    if isinstance(message, tuple) and message[0] == "tasks":
        return ["a batch:", *("  " + values.describe(task) for task in message[1])]
    return [str(message)]
