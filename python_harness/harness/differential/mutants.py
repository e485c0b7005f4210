"""Mutants of htex-interchange with one deliberate bug each; the differential test must catch them
all.

A mutant is a filter between the player and the real interchange. It changes messages as an
interchange with that bug would. Each mutant names the kind of event that makes its bug visible.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable

from parsl.monitoring.message_type import MessageType
from parsl.serialize import serialize

from harness.differential import values
from harness.differential.peers import Tamper
from harness.differential.play import MARKER
from harness.fakes.wire import HEARTBEAT_CODE, SHUTDOWN_CODE

TO_PEERS = ("m0", "m1", "m2", "m3", "m4", "closer")


class Mutant(Tamper):
    """Changes the decoded messages of one channel: those from the interchange, or with `outgoing`
    those to the interchange."""

    def __init__(self, channel: str, change: Callable[[object], list], outgoing: bool) -> None:
        self.channel = channel
        self.change = change
        self.changes_outgoing = outgoing

    def _matches(self, channel: str) -> bool:
        return channel == self.channel or (self.channel == "managers" and channel in TO_PEERS)

    def _changed(self, frame: bytes) -> list[bytes]:
        try:
            message = pickle.loads(frame)
        except Exception:
            return [frame]
        return [
            frame if new is message else new if isinstance(new, bytes) else pickle.dumps(new)
            for new in self.change(message)
        ]

    def incoming(self, channel: str, frame: bytes) -> list[bytes]:
        if self.changes_outgoing or not self._matches(channel) or not frame:
            return [frame]
        return self._changed(frame)

    def outgoing(self, channel: str, frames: list[bytes]) -> list[list[bytes]]:
        if not self.changes_outgoing or not self._matches(channel) or len(frames) != 1:
            return [frames]
        return [[new] for new in self._changed(frames[0])]


class Nth:
    """Applies `change` to the n-th message that `which` selects, and to no other."""

    def __init__(self, n: int, which: Callable[[object], bool], change: Callable[[object], list]):
        self.left = n
        self.which = which
        self.change = change

    def __call__(self, message: object) -> list:
        if not self.which(message):
            return [message]
        self.left -= 1
        return self.change(message) if self.left == 0 else [message]


def _always(which: Callable[[object], bool], change: Callable[[object], list]):
    return lambda message: change(message) if which(message) else [message]


def _is(kind: str) -> Callable[[object], bool]:
    return lambda message: isinstance(message, dict) and message.get("type") == kind


def _outcome(message: object) -> bool:
    return isinstance(message, dict) and "result" in message


def _loss(message: object) -> bool:
    """Whether the message is a failure that the interchange wrote, not one that a worker sent."""
    exception = message.get("exception") if isinstance(message, dict) else None
    return exception is not None and not exception.startswith(b"02\nexception of")


def _batch(least: int) -> Callable[[object], bool]:
    return lambda message: isinstance(message, list) and len(message) >= least


def _rows(message: object) -> bool:
    return isinstance(message, list) and bool(message) and isinstance(message[0], dict)


def _names(message: object) -> bool:
    return isinstance(message, list) and len(message) > 1 and not isinstance(message[0], dict)


def _node(message: object) -> bool:
    return isinstance(message, tuple) and message[0] is MessageType.NODE_INFO


def _node_that(**told) -> Callable[[object], bool]:
    return lambda message: _node(message) and told.items() <= message[1].items()


def _rich(message: object) -> bool:
    """Whether the message is a batch with a `task_executor` in a context, whose arguments are a
    tuple."""
    return isinstance(message, list) and any(
        task["context"].get("task_executor") for task in message
    )


def _tuples_to_lists(batch: list) -> list:
    for task in batch:
        if executor := task["context"].get("task_executor"):
            executor["a"] = list(executor["a"])
    return [list(batch)]


def _each_row(**fields) -> Callable[[list], list]:
    return lambda rows: [[{**row, **fields} for row in rows]]


class Swapped:
    """Delays the second result until the third has passed."""

    def __init__(self) -> None:
        self.count = 0
        self.kept: list = []

    def __call__(self, message: object) -> list:
        self.count += 1
        if self.count == 2:
            self.kept = [message]
            return []
        freed, self.kept = self.kept, []
        return [message, *freed]


class ToldOnce(Tamper):
    """Drops every exit order to a manager after the first one, until the manager registers
    again."""

    def __init__(self) -> None:
        self.told: set[str] = set()

    def outgoing(self, channel: str, frames: list[bytes]) -> list[list[bytes]]:
        if b"registration" in frames[0]:
            self.told.discard(channel)
        return [frames]

    def incoming(self, channel: str, frame: bytes) -> list[bytes]:
        if channel not in TO_PEERS or frame[-6:-2] != SHUTDOWN_CODE.to_bytes(4, "little"):
            return [frame]
        if channel in self.told:
            return []
        self.told.add(channel)
        return [frame]


class JoinedBatches(Tamper):
    """Merges a task that names a function into one batch with the tasks just before or after it."""

    def __init__(self) -> None:
        self.kept: dict[str, list] = {}

    def incoming(self, channel: str, frame: bytes) -> list[bytes]:
        if channel not in TO_PEERS:
            return [frame]
        message = pickle.loads(frame) if frame else None
        before = self.kept.pop(channel, [])
        if not isinstance(message, list):
            return [pickle.dumps(before), frame] if before else [frame]
        if any(map(values.names_foreign, before + message)):
            before, message = [], before + message
        self.kept[channel] = message
        return [pickle.dumps(before)] if before else []


class MarkersUnread(Tamper):
    """Drops messages behind a marker frame, as stock does."""

    def outgoing(self, channel: str, frames: list[bytes]) -> list[list[bytes]]:
        return [] if frames[0] == MARKER and len(frames) == 2 else [frames]


def _in(channel: str, make: Callable[[], Callable[[object], list]]) -> Callable[[], Mutant]:
    return lambda: Mutant(channel, make(), outgoing=False)


def _out(channel: str, make: Callable[[], Callable[[object], list]]) -> Callable[[], Mutant]:
    return lambda: Mutant(channel, make(), outgoing=True)


def _drop(_: object) -> list:
    return []


# The event that a conversation must contain often for the bug to show. "hub" selects conversations
# with a monitoring hub, "names" those whose tasks name a function.
ANY, HUB, EXPIRY, DRAIN, NAMES = "submit", "hub", "silence", "drain", "names"
HOLD, ANSWER, OLDER = "hold", "answer", "older"

# Mutants by name: the event that the mutant needs, and its constructor.
MUTANTS: dict[str, tuple[str, Callable[[], Tamper]]] = {
    "a result is lost": (ANY, _in("result", lambda: Nth(2, _outcome, _drop))),
    "a result comes twice": (ANY, _in("result", lambda: Nth(2, _outcome, lambda m: [m, m]))),
    "two results change places": (ANY, _in("result", Swapped)),
    "a result is pickled again": (
        ANY,
        _in("result", lambda: Nth(1, _outcome, lambda m: [pickle.dumps(m, 5)])),
    ),
    "a batch is reversed": (
        ANY,
        _in("managers", lambda: _always(_batch(2), lambda m: [m[::-1]])),
    ),
    "priorities are ignored": (
        ANY,
        _in("managers", lambda: _always(_batch(2), lambda m: [sorted(m, key=_id_of)])),
    ),
    "a task is lost": (ANY, _in("managers", lambda: Nth(3, _batch(1), lambda m: [m[1:]]))),
    "a tuple becomes a list": (ANY, _in("managers", lambda: _always(_rich, _tuples_to_lists))),
    "a batch is split without a reason": (
        ANY,
        _in("managers", lambda: Nth(1, _batch(2), lambda m: [m[:1], m[1:]])),
    ),
    "a task with a function's name shares a batch with others": (NAMES, JoinedBatches),
    "one task too many for a manager": (
        ANY,
        _out("managers", lambda: _always(_is("registration"), _more_capacity)),
    ),
    "a heartbeat is not echoed": (
        ANY,
        _in("managers", lambda: Nth(2, lambda m: m == HEARTBEAT_CODE, _drop)),
    ),
    "a drain message is ignored": (
        DRAIN,
        _out("managers", lambda: _always(_is("drain"), lambda _: [b"garbage"])),
    ),
    "a drained manager gets no exit message": (
        DRAIN,
        _in("managers", lambda: _always(lambda m: m == SHUTDOWN_CODE, _drop)),
    ),
    "a manager that left gets no second exit message": (DRAIN, ToldOnce),
    "results of older managers are dropped": (ANSWER, MarkersUnread),
    "an older command is unknown": (
        OLDER,
        _in("command", lambda: _always(_small_number, lambda _: [None])),
    ),
    "a hold command is ignored": (
        HOLD,
        _out("command", lambda: _always(_is_hold, lambda _: ["NOTHING"])),
    ),
    "no manager is ever idle": (
        ANY,
        _in("command", lambda: _always(_rows, _each_row(idle_duration=0.0))),
    ),
    "no manager is ever draining": (
        DRAIN,
        _in("command", lambda: _always(_rows, _each_row(draining=False))),
    ),
    "a block is forgotten": (ANY, _in("command", lambda: _always(_names, lambda m: [m[:-1]]))),
    "an unknown command gets an error": (
        HOLD,
        _in("command", lambda: _always(lambda m: m is None, lambda _: ["error"])),
    ),
    "a monitoring record is missing": (HUB, _in("hub", lambda: Nth(4, _node, _drop))),
    "a monitoring record comes twice": (HUB, _in("hub", lambda: Nth(4, _node, lambda m: [m, m]))),
    "a held node is reported active": (
        HUB,
        _in(
            "hub",
            lambda: _always(_node_that(active=False), lambda m: [(m[0], {**m[1], "active": True})]),
        ),
    ),
    "a time is a number": (
        HUB,
        _in(
            "hub",
            lambda: _always(
                _node, lambda m: [(m[0], {**m[1], "timestamp": m[1]["timestamp"].timestamp()})]
            ),
        ),
    ),
    "a loss is not reported": (EXPIRY, _in("result", lambda: Nth(1, _loss, _drop))),
    "a loss has another exception": (
        EXPIRY,
        _in(
            "result",
            lambda: _always(_loss, lambda m: [{**m, "exception": serialize(ValueError("lost"))}]),
        ),
    ),
}


def _id_of(task: dict) -> int:
    return task["task_id"]


def _small_number(reply: object) -> bool:
    """Whether the reply is a small number, as for WORKERS and OUTSTANDING_C; excludes port
    numbers."""
    return type(reply) is int and 0 < reply < 1000


def _more_capacity(message: dict) -> list:
    return [{**message, "max_capacity": message["max_capacity"] + 1}]


def _is_hold(message: object) -> bool:
    return isinstance(message, list) and message[:1] == ["HOLD_MANAGER"]
