"""The memory of a long queue is returned to the system when the queue is empty."""

from __future__ import annotations

import resource

import pytest

from harness.machine import usage
from harness.machine.waiting import wait_until

pytestmark = pytest.mark.ours_only("stock keeps what it once had")

TASKS = 60_000
BUFFER = b"x" * 1024
QUEUED_AT_LEAST_BYTES = 60_000_000
LEFT_AT_MOST_BYTES = 20_000_000
# A limit on the address space, as `ulimit -v` sets it, and a message that does not fit.
LIMIT_BYTES = 400 << 20
TOO_LARGE = bytes(300 << 20)


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


@pytest.fixture
def limited(start):
    """An interchange with a `ulimit -v` that is too small for large messages."""
    side = start(launch=False)
    limits = (LIMIT_BYTES, LIMIT_BYTES)
    side.launch(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limits))
    assert isinstance(side.worker_port, int)
    return side


def test_a_limit_below_large_messages_is_reported_at_the_start(limited, start):
    (warning,) = limited.interchange.log_lines("WARNING")
    assert (
        "`ulimit -v` is 419.4 MB, of which " in warning and "Raise the limit where Parsl" in warning
    )
    assert start().interchange.log_lines("WARNING") == []


def test_a_result_too_large_for_memory_is_reported(limited, connect):
    manager = connect(limited).enlist(limited)
    limited.submit(1)
    manager.tasks(1)
    manager.answer(1, TOO_LARGE)
    limited.interchange.wait_for_log("or a message was too large: `ulimit -v` is 419.4 MB")


def test_a_task_too_large_for_memory_is_reported_as_lost(limited):
    limited.submit(1, TOO_LARGE)
    limited.interchange.wait_for_log(
        "The connection for tasks to the submit side broke; reconnecting"
    )
    (line,) = limited.interchange.log_lines("WARNING", "broke; reconnecting")[:1]
    assert "A message that is too large has this effect: `ulimit -v` is 419.4 MB, of which " in line
    # Other tasks go on.
    limited.submit(2)
    limited.interchange.wait_for_log("Put task 2 onto")
