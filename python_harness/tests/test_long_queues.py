"""A queue of any length, and a manager with slots for all of it: no other peer waits because of
it."""

from __future__ import annotations

import time

import pytest

from harness.fakes.crowd import WireBooks
from harness.fakes.wire import FakeSubmitSide
from harness.machine.waiting import wait_until

pytestmark = [
    pytest.mark.ours_only("stock does not say how many tasks wait"),
    pytest.mark.timeout(180),
]

TASKS = 300_000
CAPACITY = 10**6
BUFFER = b"x" * 300
# The goal is 20 ms; the bound allows for a machine that is busy with other work.
ANSWERED_WITHIN_S = 2.0
STOPPED_FOR_S = 3.0


@pytest.fixture
def side(start):
    """A submit side whose interchange has all these tasks in its queue."""
    side = start(heartbeat_threshold=120, logging_level=20)
    assert side.command("OUTSTANDING_C") == 0
    WireBooks(side).submit(TASKS, BUFFER)
    wait_until(lambda: side.command("OUTSTANDING_C") == TASKS, 60, "all of them are queued")
    return side


def test_commands_while_a_manager_reads_a_long_queue(side, connect_process, measured):
    connect_process(side, "vast", max_capacity=CAPACITY)
    clock, begin = CommandClock(side), time.monotonic()
    wait_until(
        lambda: clock.tasks_in_hand() == TASKS, 60, "all tasks are with the manager", every_s=0
    )
    took_s = time.monotonic() - begin
    measured(f"{clock.longest_s * 1000:.0f} ms at most for a command in these {took_s:.1f} s")
    assert clock.longest_s < ANSWERED_WITHIN_S


def test_commands_while_a_manager_does_not_read_a_long_queue(side, connect, measured):
    stopped = connect(side, b"vast", read_ahead=1, receive_buffer_bytes=256 << 10)
    stopped.register(max_capacity=CAPACITY)
    clock = CommandClock(side)
    wait_until(clock.tasks_in_hand, 60, "it has tasks", every_s=0)
    end = time.monotonic() + STOPPED_FOR_S
    while time.monotonic() < end:
        assert clock.tasks_in_hand() < TASKS
    measured(f"{clock.longest_s * 1000:.0f} ms at most for a command")
    assert clock.longest_s < ANSWERED_WITHIN_S


class CommandClock:
    """Sends commands, and records the longest time until a reply."""

    def __init__(self, side: FakeSubmitSide) -> None:
        self.side = side
        self.longest_s = 0.0

    def tasks_in_hand(self) -> int:
        begin = time.monotonic()
        rows = self.side.command("MANAGERS", within_s=20)
        self.longest_s = max(self.longest_s, time.monotonic() - begin)
        return sum(row["tasks"] for row in rows)
