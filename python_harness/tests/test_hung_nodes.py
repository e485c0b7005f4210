"""Nodes that hang keep their connections and do not read: what is pending for them never stops the
interchange from accepting tasks for managers that read.
"""

from __future__ import annotations

import time

import pytest

from harness.fakes.crowd import WireBooks
from harness.fakes.wire import FakeManager
from harness.htex.interchange import command_under_test
from harness.machine.waiting import wait_until

MIB = 1 << 20
BOUND_BYTES = 10 * MIB
THRESHOLD_S = 8
BEAT_EVERY_S = 0.5
# Tasks of 1 MiB: so many that half of them exceed the bound plus what the kernel holds.
LARGE_TASKS = 40
SMALL_TASKS = 80
SERVED_WITHIN_S = 4.0
# The limit if large tasks have to be sent as well.
ALL_SERVED_WITHIN_S = 5.0
DEAF = {"read_ahead": 1, "receive_buffer_bytes": 256 << 10}


@pytest.fixture
def books(start):
    """The accounts of a run on an interchange with a small bound."""
    command = [*command_under_test(), "--max-queued-bytes", str(BOUND_BYTES)]
    return WireBooks(start(command=command, heartbeat_threshold=THRESHOLD_S, logging_level=20))


def test_a_lost_manager_that_was_sent_tasks_one_by_one(books, connect_process, crowd, measured):
    """The manager's process is stopped, and its connection stays open for as long as the node
    exists."""
    hung = connect_process(books.side, "hung", max_capacity=1000).enlist(books.side)
    hung.stop()
    books.submit(LARGE_TASKS, b"x" * MIB)
    wait_until(lambda: tasks_of(books, "hung"), THRESHOLD_S, "it was sent some")
    idle_ones_are_served(books, crowd, measured)


@pytest.mark.ours_only("stock takes in whatever comes")
def test_a_lost_manager_that_was_sent_one_large_batch(books, connect, crowd, measured):
    """The first manager with free slots gets all the tasks that the bound allows."""
    books.submit(LARGE_TASKS, b"x" * MIB)
    books.side.interchange.wait_for_log("Pausing intake")
    connect(books.side, b"hung", **DEAF).register(max_capacity=1000)
    wait_until(lambda: tasks_of(books, "hung"), THRESHOLD_S, "it was sent some")
    idle_ones_are_served(books, crowd, measured)


def test_managers_that_beat_and_do_not_read_leave_the_work_to_others(
    books, connect, crowd, measured
):
    deaf = DeafManagers([connect(books.side, b"deaf-%d" % number, **DEAF) for number in range(3)])
    for manager in deaf.managers:
        manager.enlist(books.side, max_capacity=1000)
    idle = crowd(books.side, 2, max_capacity=4)

    def all_served() -> bool:
        deaf.beat()
        idle.work()
        books.read()
        return len(books.answers) == books.submitted - tasks_of(books, "deaf")

    served_in = []
    for _ in range(3):
        books.submit(LARGE_TASKS, b"x" * MIB)
        books.submit(SMALL_TASKS)
        begin = time.monotonic()
        wait_until(
            all_served,
            ALL_SERVED_WITHIN_S,
            "whatever no deaf manager was given is done",
            every_s=0,
            context=lambda: f"{len(books.answers)} of {books.submitted} tasks are done",
        )
        served_in.append(f"{time.monotonic() - begin:.2f} s")
    measured(f"all are done in {', '.join(served_in)}; {tasks_of(books, 'deaf')} with the deaf")
    assert books.losses() == 0
    assert {f"deaf-{number}" for number in range(3)} <= in_hand(books).keys()


class DeafManagers:
    """Managers that send heartbeats and never read."""

    def __init__(self, managers: list[FakeManager]) -> None:
        self.managers = managers
        self.beat_at = 0.0

    def beat(self) -> None:
        """Sends heartbeats if they are due."""
        if time.monotonic() >= self.beat_at:
            self.beat_at = time.monotonic() + BEAT_EVERY_S
            for manager in self.managers:
                manager.send({"type": "heartbeat"})


def idle_ones_are_served(books: WireBooks, crowd, measured) -> None:
    """Two idle managers do all tasks that were not lost, immediately after the loss."""
    idle = crowd(books.side, 2, max_capacity=4)
    books.submit(SMALL_TASKS)
    owed = 0

    def is_lost() -> bool:
        nonlocal owed
        idle.work()
        books.read()
        row = in_hand(books).get("hung")
        owed = owed if row is None else row
        return row is None

    wait_until(is_lost, 2 * THRESHOLD_S, "it is declared lost", every_s=0)
    begin = time.monotonic()
    books.until(idle, LARGE_TASKS + SMALL_TASKS, SERVED_WITHIN_S)
    measured(f"all have ended {time.monotonic() - begin:.2f} s after the loss of {owed} tasks")
    assert books.losses() == owed > 0


def tasks_of(books: WireBooks, prefix: str) -> int:
    """Returns how many tasks the managers with this prefix hold."""
    return sum(count for name, count in in_hand(books).items() if name.startswith(prefix))


def in_hand(books: WireBooks) -> dict[str, int]:
    """Returns how many tasks each manager holds."""
    return {row["manager"]: row["tasks"] for row in books.side.managers()}
