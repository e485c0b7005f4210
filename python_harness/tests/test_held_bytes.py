"""The bytes that the interchange holds stay within the bound, whatever the sizes of the messages
and wherever they wait: in the queue, on the way to a manager that does not read, or unread in
libzmq.
"""

from __future__ import annotations

import time

import pytest

from harness.fakes.wire import FakeSubmitSide
from harness.htex.interchange import command_under_test
from harness.machine import usage

pytestmark = [
    pytest.mark.ours_only("stock takes in whatever comes"),
    pytest.mark.timeout(180),
]

MB = 1_000_000
# Tasks within the bound arrive in much less time.
WATCHED_FOR_S = 2.0

SMALL_TASKS, SMALL_BYTES, SMALL_BOUND_BYTES = 25_000, 12_000, 10 * MB
# Memory that is not counted: buffers of connections, the allocator's reserve, and tables of pending
# messages.
BESIDE_SMALL_BYTES = 16 * MB

LARGE_TASKS, LARGE_BYTES, LARGE_BOUND_BYTES = 40, 16 * MB, 100 * MB
# A task is read completely as soon as a part of it fits. libzmq holds the next one complete, and
# receives the one after that.
BESIDE_LARGE_TASKS = 3
# A task that is sent exists once more for a moment, as its batch is a copy.
COPIED_TASKS = 1


def test_many_small_unread_batches(start, connect, measured):
    side = bounded(start, SMALL_BOUND_BYTES)
    deaf = connect(side, read_ahead=1, receive_buffer_bytes=256 << 10)
    deaf.enlist(side, max_capacity=2 * SMALL_TASKS)
    watch = Watch(side)
    for task_id in range(SMALL_TASKS):
        side.submit(task_id, bytes(SMALL_BYTES))
        # Tasks that arrive one by one are sent one by one.
        watch.look()
    watch.look_on(WATCHED_FOR_S)
    measured(f"bound {SMALL_BOUND_BYTES / MB:.0f} MB, at most {watch.grown_bytes / MB:.0f} MB more")
    assert watch.grown_bytes < SMALL_BOUND_BYTES * 1.1 + BESIDE_SMALL_BYTES


@pytest.mark.parametrize("has_manager", [False, True], ids=["no-manager", "deaf-manager"])
def test_few_large_unread_tasks(start, connect, has_manager, measured):
    side = bounded(start, LARGE_BOUND_BYTES)
    beside_tasks = BESIDE_LARGE_TASKS
    if has_manager:
        beside_tasks += COPIED_TASKS
        deaf = connect(side, read_ahead=1, receive_buffer_bytes=256 << 10)
        deaf.enlist(side, max_capacity=2 * LARGE_TASKS)
    watch = Watch(side)
    for task_id in range(LARGE_TASKS):
        side.submit(task_id, bytes(LARGE_BYTES))
    watch.look_on(WATCHED_FOR_S)
    measured(f"bound {LARGE_BOUND_BYTES / MB:.0f} MB, at most {watch.grown_bytes / MB:.0f} MB more")
    assert watch.grown_bytes < LARGE_BOUND_BYTES * 1.1 + beside_tasks * LARGE_BYTES


def bounded(start, bound_bytes: int) -> FakeSubmitSide:
    command = [*command_under_test(), "--max-queued-bytes", str(bound_bytes)]
    return start(command=command, heartbeat_threshold=120, logging_level=20)


class Watch:
    """The highest resident memory beyond that at the beginning. Each measurement also sends a
    command."""

    def __init__(self, side: FakeSubmitSide) -> None:
        self.side = side
        self.before_bytes = usage.resident_bytes(side.interchange.pid)
        self.grown_bytes = 0

    def look(self) -> None:
        assert isinstance(self.side.command("OUTSTANDING_C"), int)
        resident = usage.resident_bytes(self.side.interchange.pid)
        self.grown_bytes = max(self.grown_bytes, resident - self.before_bytes)

    def look_on(self, for_s: float) -> None:
        end = time.monotonic() + for_s
        while time.monotonic() < end:
            self.look()
