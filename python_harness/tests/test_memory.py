"""Memory of a long queue goes back to the system when the queue is gone."""

from __future__ import annotations

import pytest

from harness.machine import usage
from harness.machine.waiting import wait_until

pytestmark = pytest.mark.ours_only("stock keeps what it once had")

TASKS = 60_000
BUFFER = b"x" * 1024
QUEUED_AT_LEAST_BYTES = 60_000_000
LEFT_AT_MOST_BYTES = 20_000_000


def test_after_a_long_queue(start, connect, measured):
    side = start(heartbeat_threshold=60)
    pid = side.interchange.pid
    before = usage.resident_bytes(pid)
    for task_id in range(1, TASKS + 1):
        side.submit(task_id, BUFFER)
    grown = before + QUEUED_AT_LEAST_BYTES
    wait_until(lambda: usage.resident_bytes(pid) > grown, 30, "the queue is in memory")
    manager = connect(side)
    manager.probe()
    manager.register(max_capacity=TASKS)
    manager.tasks(TASKS, within_s=60)
    small = before + LEFT_AT_MOST_BYTES
    wait_until(lambda: usage.resident_bytes(pid) < small, 10, "the memory is given back")
    left = usage.resident_bytes(pid) - before
    measured(f"{left / 1e6:.1f} MB more than at the start, after {TASKS} queued tasks")
