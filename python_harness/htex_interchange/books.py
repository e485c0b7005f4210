"""Compares the tasks that a restarted interchange knows with an executor's own."""

from __future__ import annotations

import bisect
import pickle
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

RESTART = "htex-interchange-restart"
ACCEPTED = "htex-interchange-accepted"
# Both messages are pickled dicts whose first entry is the type. These bytes of the type appear near
# the beginning of the pickle.
_MARK = b"htex-interchange-"
_MARK_WITHIN_BYTES = 64


class TaskIds:
    """A set of task ids, received as runs [first, last], [first, last]...; both ends belong to the
    set."""

    def __init__(self, runs: Iterable[Sequence[int]]) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in sorted((run[0], run[1]) for run in runs):
            # Overlapping runs are merged: otherwise a shorter run would hide the rest of a longer
            # one.
            if self._lasts and first <= self._lasts[-1]:
                self._lasts[-1] = max(last, self._lasts[-1])
            else:
                self._firsts.append(first)
                self._lasts.append(last)

    def __contains__(self, task_id: int) -> bool:
        place = bisect.bisect_right(self._firsts, task_id)
        return place > 0 and task_id <= self._lasts[place - 1]


@dataclass(frozen=True)
class Restart:
    """A report that an interchange's broker has ended and another one has taken over its state."""

    # The restart's number within the run; 1 for the first restart.
    number: int
    why: str
    # Seconds from the broker's end until its successor was ready.
    down_s: float
    # Tasks that any broker of this run has accepted at any time.
    accepted: TaskIds
    # Tasks that are queued or with a manager.
    live: TaskIds

    @classmethod
    def told_by(cls, message: dict[str, Any]) -> Restart:
        return cls(
            number=message["restart"],
            why=message["why"],
            down_s=message["down_s"],
            accepted=TaskIds(message["accepted"]),
            live=TaskIds(message["live"]),
        )


@dataclass(frozen=True)
class Comparison:
    """The outstanding tasks, grouped by what is to be done for them; each list is sorted by task
    id."""

    # Tasks that did not arrive: they are to be sent again.
    again: list[int]
    # Tasks that were done or given up: their results are lost, unless they are already in this
    # executor's result queue.
    in_doubt: list[int]
    # Tasks that are queued or with a manager: nothing is to be done.
    live: list[int]


def compare(outstanding: Iterable[int], accepted: TaskIds, live: TaskIds) -> Comparison:
    compared = Comparison([], [], [])
    for task_id in sorted(outstanding):
        if task_id in live:
            compared.live.append(task_id)
        elif task_id in accepted:
            compared.in_doubt.append(task_id)
        else:
            compared.again.append(task_id)
    return compared


def told_to_executor(frame: bytes) -> dict[str, Any] | None:
    """Returns the message if the interchange addresses the executor itself, else None. For a
    result, this check costs almost nothing."""
    if _MARK not in frame[:_MARK_WITHIN_BYTES]:
        return None
    message = unpickled(frame)
    return message if message.get("type") in (RESTART, ACCEPTED) else None


def unpickled(frame: bytes) -> dict[str, Any]:
    """Returns the unpickled dict, or an empty one if the frame is no dict or no pickle: Parsl
    reports what is wrong with such a frame."""
    try:
        message = pickle.loads(frame)
    except Exception:
        return {}
    return message if isinstance(message, dict) else {}
