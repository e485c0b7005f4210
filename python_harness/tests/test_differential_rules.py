"""The rule on batches, tested alone: which differences it allows, and that it allows no others.

A task is written as its number. A negative number is a task that names objects which managers may
be unable to import.
"""

from __future__ import annotations

import datetime
import posixpath

import pytest
from parsl.monitoring.message_type import MessageType

from harness.differential import rules
from harness.differential.peers import SHUTDOWN, Step
from harness.differential.play import Transcript
from harness.differential.script import Conversation

BY_BLOCK = Conversation(1, "plain", True, True, False, (), "sigterm")


def task(number: int) -> dict:
    executor = {"f": "a.module.run", "a": (posixpath.join,) if number < 0 else (1,), "k": {}}
    return {"task_id": abs(number), "context": {"task_executor": executor}, "buffer": b""}


def step(batches: list, reports: list[list[int]] | None = None) -> Step:
    """Returns a step in which one manager gets these batches and messages, and the hub gets a
    report on each list of tasks."""
    messages = [
        ("tasks", [task(number) for number in batch]) if isinstance(batch, list) else batch
        for batch in batches
    ]
    return Step(1, "x", to_peers={"m": messages}, hub=[report(tasks) for tasks in reports or []])


def report(tasks: list[int], uid: str = "m") -> tuple:
    now = datetime.datetime.now()
    told = {"uid": uid, "tasks": tasks, "drain_time": float("inf"), "idle_since": None}
    return (MessageType.NODE_INFO, {**told, "timestamp": now, "last_heartbeat": now})


def difference(stock: Step, ours: Step) -> str | None:
    transcripts = [Transcript(kind) for kind in (rules.STOCK, rules.OURS)]
    for transcript, found in zip(transcripts, (stock, ours), strict=True):
        transcript.steps.append(found)
    return rules.first_difference(*transcripts, BY_BLOCK)


@pytest.mark.parametrize(
    ("stock", "ours"),
    [
        ([[1, 2]], [[1, 2]]),
        ([[-1]], [[-1]]),
        ([[1, -2, 3]], [[1], [-2], [3]]),
        ([[1, 2, -3, -4, 5, 6]], [[1, 2], [-3], [-4], [5, 6]]),
        # Parsl's interchange sends in a separate turn what it learned later.
        ([[1, -2], [3, 4], SHUTDOWN], [[1], [-2], [3, 4], SHUTDOWN]),
        ([[1], [-2]], [[1], [-2]]),
    ],
)
def test_batches_may_be_cut_at_a_foreign_name(stock, ours):
    assert difference(step(stock), step(ours)) is None


@pytest.mark.parametrize(
    ("stock", "ours"),
    [
        # A foreign task shares a batch with others.
        ([[1, -2]], [[1, -2]]),
        ([[1, -2, 3]], [[1], [-2, 3]]),
        ([[-1, -2]], [[-1, -2]]),
        # A cut at a place without a foreign task.
        ([[1, 2]], [[1], [2]]),
        ([[1, 2, -3]], [[1], [2], [-3]]),
        # Batches that Parsl's interchange does not join.
        ([[1], [2, -3]], [[1, 2], [-3]]),
        # Other tasks, or another order.
        ([[1, -2, 3]], [[-2], [1], [3]]),
        ([[1, -2, 3]], [[1], [-2]]),
        ([[1, -2]], [[1], [-2], [3]]),
        ([[1, -2]], [[1], [2]]),
        ([[1, -2], SHUTDOWN], [[1], SHUTDOWN, [-2]]),
        ([[1, -2]], []),
    ],
)
def test_any_other_difference_of_batches_is_one(stock, ours):
    assert difference(step(stock), step(ours)) is not None


CUT = [[1, 2], [-3], [4]]


@pytest.mark.parametrize(
    ("reports", "same"),
    [
        ([[9, 1, 2], [9, 1, 2, 3], [9, 1, 2, 3, 4]], True),
        ([[9, 1, 2, 3, 4]], False),
        ([[9, 1, 2, 3], [9, 1, 2, 3, 4]], False),
        ([[9, 1], [9, 1, 2, 3], [9, 1, 2, 3, 4]], False),
        ([[1, 2], [1, 2, 3], [1, 2, 3, 4]], False),
        ([[9, 1, 2], [9, 1, 2], [9, 1, 2, 3], [9, 1, 2, 3, 4]], False),
        ([[9, 1, 2], [9, 1, 2, 3], [9, 1, 2, 3, 4], [9, 1, 2, 3, 4]], False),
    ],
)
def test_each_piece_is_reported_once(reports, same):
    stock = step([[1, 2, -3, 4]], [[9, 1, 2, 3, 4]])
    assert (difference(stock, step(CUT, reports)) is None) == same


def test_a_report_on_another_node_does_not_count():
    stock, ours = step([[1, -2]], [[1, 2]]), step([[1], [-2]], [[1, 2]])
    ours.hub.insert(0, report([1], uid="n"))
    assert difference(stock, ours) is not None


def test_without_a_hub_nothing_is_reported():
    assert difference(step([[1, -2]]), step([[1], [-2]], [])) is None
