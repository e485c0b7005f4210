"""What a restarted interchange tells of the tasks that it knows, held against an executor's own."""

from __future__ import annotations

import bisect
import pickle
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

RESTART = "htex-interchange-restart"
ACCEPTED = "htex-interchange-accepted"
# Both are pickled dicts whose first entry is their type; these bytes of it stand near the begin.
_MARK = b"htex-interchange-"
_MARK_WITHIN_BYTES = 64


class TaskIds:
    """A set of ids, told as runs: [first, last], [first, last]..., both of which belong to it."""

    def __init__(self, runs: Iterable[Sequence[int]]) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in sorted((run[0], run[1]) for run in runs):
            # What a shorter run after a longer one would hide.
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
    """An interchange's broker has ended, and another one has taken over what it knew."""

    # 1 for the first.
    number: int
    why: str
    # From the end to the moment when the other one was ready.
    down_s: float
    # By any broker of this run, at any time.
    accepted: TaskIds
    # Queued, or in a manager's hands.
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
    """What is to be done for each outstanding task, in the order of their ids."""

    # They did not arrive.
    again: list[int]
    # They were done or given up, and nobody has the result, unless it is in our queue.
    in_doubt: list[int]
    # Nothing: they are in somebody's hands.
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
    """The message, if the interchange has it for our executor; a result costs next to nothing."""
    if _MARK not in frame[:_MARK_WITHIN_BYTES]:
        return None
    message = unpickled(frame)
    return message if message.get("type") in (RESTART, ACCEPTED) else None


def unpickled(frame: bytes) -> dict[str, Any]:
    """Empty for what is no dict, or no pickle: Parsl says what is wrong with it."""
    try:
        message = pickle.loads(frame)
    except Exception:
        return {}
    return message if isinstance(message, dict) else {}
