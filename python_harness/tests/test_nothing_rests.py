"""Whatever could move moves at once: no task waits beside free slots for something unrelated to
wake the interchange.

While it is looked at nobody beats and nobody asks, because each of them is such a wake-up.
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
# A slow reader takes less in these pauses than may be under way to it.
PAUSE_S = 0.25
# 100 ms are wanted; the rest is for a machine with other work.
MOVES_WITHIN_S = 1.0
# One alone makes a small batch, of which pipes hold as many as they may hold messages.
SINGLE_BYTES = 12_000
# More than libzmq and the kernel hold for a manager that does not read.
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
    measured(f"nothing came for {longest_s * 1000:.0f} ms at most")
    assert taken == list(range(1, SLOTS + 1))


def test_the_tasks_of_a_frozen_manager_that_dies(start, connect, connect_process, measured):
    """What its pipes had not taken goes to the idle one, which is not asked and says nothing."""
    side = start(heartbeat_threshold=120, logging_level=20)
    frozen = connect_process(side, "frozen", max_capacity=MORE_THAN_PIPES_HOLD).enlist(side)
    frozen.stop()
    books = WireBooks(side)
    submit_one_by_one(books, MORE_THAN_PIPES_HOLD, b"x" * SINGLE_BYTES)
    idle = connect(side, b"idle").enlist(side, max_capacity=MORE_THAN_PIPES_HOLD)
    # The span itself is what is tested: nothing is due any more.
    time.sleep(TIMERS_RUN_OUT_S)
    frozen.kill()
    moved = len(idle.waiting) + tasks_until_silence(idle, MOVES_WITHIN_S)
    idle.waiting.clear()
    # This wakes it: what comes now has waited for that.
    idle.beat()
    idle.beat()
    (held,) = (row["tasks"] for row in side.managers() if row["manager"] == "frozen")
    measured(f"{moved} of {books.submitted} tasks moved, {held} may have run on the dead")
    assert not idle.waiting, f"{len(idle.waiting)} tasks waited for a heartbeat"
    assert moved == books.submitted - held > 100


def submit_one_by_one(books: WireBooks, count: int, buffer: bytes) -> None:
    """Each task has come before the next one is sent, so that none has company in its batch."""
    for _ in range(count):
        books.submit(1, buffer)
        wait_until(
            lambda: books.side.command("OUTSTANDING_C") == books.submitted, 5, "it came", every_s=0
        )


def read_slowly(manager: FakeManager) -> list[int]:
    """A message, a pause, and so on; the ids of what came."""
    taken = []
    end = time.monotonic() + SLOW_FOR_S
    while time.monotonic() < end:
        taken += [task["task_id"] for task in manager.batch(MOVES_WITHIN_S)]
        time.sleep(PAUSE_S)  # Slowness is what is tested.
    return taken


def tasks_until_silence(manager: FakeManager, silence_s: float) -> int:
    """How many tasks come before none has come for so long."""
    count = 0
    while manager.socket.poll(silence_s * 1000):
        count += len(manager.batch())
    return count
