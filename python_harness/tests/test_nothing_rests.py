"""Every task that can be dispatched is dispatched immediately: no task waits beside free slots
until something unrelated wakes the interchange.

While the test observes this, no manager sends heartbeats and no client sends commands, because each
of them would wake the interchange.
"""

from __future__ import annotations

import time

import pytest

from harness.fakes.crowd import WireBooks
from harness.fakes.wire import FakeManager
from harness.machine.waiting import wait_until

pytestmark = pytest.mark.ours_only("stock does not say how many tasks wait")

MIB = 1 << 20
SLOTS = 200
SLOW_FOR_S = 3.0
# Between these pauses, a slow reader reads less than may be in transit to it.
PAUSE_S = 0.25
# The goal is 100 ms; the bound allows for a machine that is busy with other work.
MOVES_WITHIN_S = 4.0
# A single task makes a small batch, so pipes hold as many batches as their limit of messages
# allows.
SINGLE_BYTES = 12_000
# More tasks than libzmq and the kernel hold for a manager that does not read.
MORE_THAN_PIPES_HOLD = 2000
# Longer than any timer that the arrival of tasks has started.
TIMERS_RUN_OUT_S = 2.0


@pytest.mark.parametrize("large", [SLOTS, 24], ids=["large", "small-behind-large"])
def test_a_manager_that_reads_slowly_and_then_fast(start, connect, large, measured):
    side = start(heartbeat_threshold=120, logging_level=20)
    slow = connect(side, read_ahead=1, receive_buffer_bytes=256 << 10)
    slow.enlist(side, max_capacity=SLOTS)
    books = WireBooks(side)
    submit_one_by_one(books, large, b"x" * MIB)
    submit_one_by_one(books, SLOTS - large, b"x" * 100)
    taken = read_slowly(slow)
    assert len(taken) < SLOTS, "it has read all of them slowly"
    longest_s = 0.0
    while len(taken) < SLOTS:
        begin = time.monotonic()
        taken += [task["task_id"] for task in slow.batch(MOVES_WITHIN_S)]
        longest_s = max(longest_s, time.monotonic() - begin)
    measured(f"no task arrived for {longest_s * 1000:.0f} ms at most")
    assert taken == list(range(1, SLOTS + 1))


def test_the_tasks_of_a_frozen_manager_that_dies(start, connect, connect_process, measured):
    """Tasks that the dead manager's pipes had not accepted go to the idle manager, which has sent
    nothing since its registration."""
    side = start(heartbeat_threshold=120, logging_level=20)
    frozen = connect_process(side, "frozen", max_capacity=MORE_THAN_PIPES_HOLD).enlist(side)
    frozen.stop()
    books = WireBooks(side)
    submit_one_by_one(books, MORE_THAN_PIPES_HOLD, b"x" * SINGLE_BYTES)
    idle = connect(side, b"idle").enlist(side, max_capacity=MORE_THAN_PIPES_HOLD)
    # The test needs this time: no timer is pending any more.
    time.sleep(TIMERS_RUN_OUT_S)
    frozen.kill()
    moved = len(idle.waiting) + tasks_until_silence(idle, MOVES_WITHIN_S)
    idle.waiting.clear()
    # The heartbeat wakes the interchange: any task that arrives now has waited for it.
    idle.beat()
    idle.beat()
    (held,) = (row["tasks"] for row in side.managers() if row["manager"] == "frozen")
    measured(f"{moved} of {books.submitted} tasks moved, {held} may have run on the dead")
    assert not idle.waiting, f"{len(idle.waiting)} tasks waited for a heartbeat"
    assert moved == books.submitted - held > 100


def submit_one_by_one(books: WireBooks, count: int, buffer: bytes) -> None:
    """Submits tasks, each after the previous one has arrived, so that each batch holds one task."""
    for _ in range(count):
        books.submit(1, buffer)
        wait_until(
            lambda: books.side.command("OUTSTANDING_C") == books.submitted, 5, "it came", every_s=0
        )


def read_slowly(manager: FakeManager) -> list[int]:
    """Reads a message, pauses, and repeats; returns the ids of the tasks."""
    taken = []
    end = time.monotonic() + SLOW_FOR_S
    while time.monotonic() < end:
        taken += [task["task_id"] for task in manager.batch(MOVES_WITHIN_S)]
        time.sleep(PAUSE_S)  # Slow reading is part of the test.
    return taken


def tasks_until_silence(manager: FakeManager, silence_s: float) -> int:
    """Returns how many tasks arrive until none has arrived for `silence_s` seconds."""
    count = 0
    while manager.socket.poll(silence_s * 1000):
        count += len(manager.batch())
    return count
