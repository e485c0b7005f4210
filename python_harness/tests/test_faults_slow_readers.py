"""Peers that never read: the amount of data queued for them is bounded, and no other peer waits for
them."""

from __future__ import annotations

import os
import pickle
import time

import pytest
import zmq

from harness.fakes.crowd import WireBooks
from harness.fakes.wire import PATIENCE_S
from harness.htex.interchange import command_under_test
from harness.machine import usage
from harness.machine.waiting import wait_until

pytestmark = pytest.mark.timeout(180)

MIB = 1 << 20
LARGE = 10 * MIB
# What libzmq and the kernel may hold for one connection, and what the allocator keeps.
BESIDE_THE_TASKS = 24 * MIB
RESULT = 256 << 10
# In tasks of one MiB: what is sent to a manager before it gets no more, and what the kernel holds.
OWED_TO_ONE_MAX = 40
# Messages beyond the bound that libzmq has received before the interchange reads them.
TASKS_UNREAD_MAX = 128
# What libzmq holds for the submit side (1,000 messages), and what the interchange queues in
# addition.
RESULTS_HELD_MAX = 1000 * RESULT + 256 * MIB


def in_hand(side, name: str) -> int:
    (row,) = (row for row in side.managers() if row["manager"] == name)
    return row["tasks"]


def test_a_manager_with_one_slot_never_reads_large_tasks(start, connect, crowd):
    """The manager gets one task, however many wait, and this task is held in memory once."""
    side = start(heartbeat_threshold=30, logging_level=20)
    pid = side.interchange.pid
    deaf = connect(side, b"deaf").enlist(side, max_capacity=1)
    before = usage.resident_bytes(pid)
    books = WireBooks(side)
    books.submit(1, os.urandom(LARGE))
    wait_until(lambda: in_hand(side, "deaf") == 1, 10, "it is given the task")
    others = crowd(side, 2, max_capacity=1)
    for _ in range(20):
        books.run(others, 1, within_s=30, buffer=b"x" * LARGE)
        deaf.send({"type": "heartbeat"})
    assert in_hand(side, "deaf") == 1
    wait_until(
        lambda: usage.resident_bytes(pid) - before < 2 * LARGE + BESIDE_THE_TASKS,
        10,
        "memory is that of what it is owed",
    )
    # Now the manager reads.
    (task,) = deaf.tasks(1) or pytest.fail("it has none")
    deaf.answer(task["task_id"])
    books.until(others, 21, within_s=10)
    assert books.losses() == 0


def test_a_manager_with_ten_thousand_slots_never_reads(start, connect, crowd, measured):
    """The manager gets as many tasks as it has slots. It does not read the echoes of its
    heartbeats, and they do not accumulate."""
    side = start(heartbeat_threshold=6, logging_level=20)
    pid = side.interchange.pid
    deaf = connect(side, b"deaf").enlist(side, max_capacity=10_000)
    books = WireBooks(side)
    books.submit(10_000, b"x" * 1024)
    wait_until(lambda: in_hand(side, "deaf") == 10_000, 30, "it is given all of them")
    others = crowd(side, 2, max_capacity=50)
    before = usage.resident_bytes(pid)
    for _ in range(20):
        for _ in range(1000):
            deaf.send({"type": "heartbeat"})
            deaf.send({"type": "connection_probe"})
        books.run(others, 100, within_s=30)
    grown = usage.resident_bytes(pid) - before
    measured(f"{grown / MIB:.1f} MiB more after 40,000 words to which the answers are not read")
    assert grown < BESIDE_THE_TASKS
    assert in_hand(side, "deaf") == 10_000
    # The manager ends: each task that it held is reported lost, once.
    side_results = books.results()
    deaf.close()
    books.until(others, 12_000, within_s=6 + PATIENCE_S)
    assert books.losses() == 10_000 and books.results() == side_results


def test_a_manager_that_claims_a_million_slots_never_reads(start, connect, crowd, encrypted):
    """The manager gets some megabytes and no more, however many slots it claims. Others do the
    work, the memory is bounded, and the log names the manager. When it reads, it gets what was sent
    to it."""
    command = [*command_under_test(), "--max-queued-bytes", str(64 * MIB)]
    side = start(command=command, encrypted=encrypted, logging_level=20)
    pid = side.interchange.pid
    deaf = connect(side, b"deaf", read_ahead=1).enlist(side, max_capacity=1_000_000)
    before = usage.resident_bytes(pid)
    books = WireBooks(side)
    books.submit(400, b"x" * MIB)
    side.interchange.wait_for_log("does not read its messages: ", within_s=20)
    assert in_hand(side, "deaf") < OWED_TO_ONE_MAX
    others = crowd(side, 2, max_capacity=2)
    books.until(others, 400 - OWED_TO_ONE_MAX, within_s=60)
    owed = in_hand(side, "deaf")
    assert 0 < owed < OWED_TO_ONE_MAX
    held_max = 64 + TASKS_UNREAD_MAX + 2 * OWED_TO_ONE_MAX
    assert usage.resident_bytes(pid) - before < held_max * MIB
    # Now the manager reads.
    side.command(["HOLD_MANAGER", "deaf"])
    for task in deaf.tasks(owed):
        deaf.answer(task["task_id"])
    books.until(others, 400, within_s=20)
    assert books.losses() == 0
    side.interchange.wait_for_log("Manager b'deaf' reads its messages again")


def test_a_submit_side_that_never_reads_results(start, crowd, measured):
    """Dispatch stops; commands and heartbeats go on. When the submit side reads, it gets every
    result, once."""
    side = start(launch=False, heartbeat_threshold=3, logging_level=20)
    # Without a receive buffer on the test's side. Otherwise that buffer would take all results, as
    # Parsl's does until the submit process is stopped.
    side.results.close()
    side.results = side.context.socket(zmq.DEALER)
    side.results.setsockopt(zmq.LINGER, 0)
    side.results.set_hwm(1)
    side.results.bind_to_random_port("tcp://127.0.0.1")
    pid = side.launch().pid
    assert side.worker_port
    before = usage.resident_bytes(pid)
    managers = crowd(side, 4, max_capacity=4, result=b"r" * RESULT)
    count = 2500
    books = WireBooks(side)
    books.submit(count)

    def is_quiet() -> bool:
        managers.work()
        return managers.idle_s() > 2.0

    wait_until(is_quiet, 60, "nothing is dispatched any more")
    assert 16 < managers.answered < count
    grown = usage.resident_bytes(pid) - before
    answered = managers.answered * RESULT
    measured(f"{answered / MIB:.0f} MiB of results, {grown / MIB:.0f} MiB more in memory")
    assert grown < RESULTS_HELD_MAX + 64 * MIB
    # Longer than the threshold: managers that send heartbeats are kept, and commands are answered.
    end = time.monotonic() + 4.0
    while time.monotonic() < end:
        managers.work()
        begin = time.monotonic()
        assert len(side.managers()) == 4
        assert time.monotonic() - begin < 1.0
    books.until(managers, count, within_s=60)
    assert books.losses() == 0


def test_a_batch_for_a_manager_that_dies_unread(start, connect, crowd):
    """The manager's connection had accepted the tasks, so they may have run. They are reported lost
    and not dispatched again."""
    side = start(heartbeat_threshold=2)
    deaf = connect(side, b"deaf").enlist(side, max_capacity=100)
    books = WireBooks(side)
    books.submit(100)
    wait_until(lambda: in_hand(side, "deaf") == 100, 10, "it is given all of them")
    others = crowd(side, 1, max_capacity=100)
    deaf.close()
    books.run(others, 100, within_s=10)
    books.until(others, 200, within_s=10)
    assert (books.losses(), books.results()) == (100, 100)
    assert set(books.lost) == set(range(1, 101))


def test_results_without_a_reader_do_not_pile_up(start, connect):
    """A manager endlessly sends results of tasks that it never had."""
    side = start(logging_level=40)
    pid = side.interchange.pid
    liar = connect(side, b"liar").enlist(side)
    before = usage.resident_bytes(pid)
    forged = pickle.dumps({"type": "result", "task_id": 7, "result": b"r" * 10_000})
    for _ in range(20):
        for _ in range(1000):
            liar.send_frames(forged)
        liar.beat()
    assert not side.results.poll(0)
    assert usage.resident_bytes(pid) - before < BESIDE_THE_TASKS
