"""Which manager gets which task and when, and that tasks and results arrive unchanged."""

from __future__ import annotations

import pathlib
import pickle
import socket
import uuid
from decimal import Decimal
from fractions import Fraction

import pytest
from parsl.executors.high_throughput.manager_selector import BlockIdManagerSelector

from harness.fakes.wire import FakeManager, FakeSubmitSide
from harness.machine.waiting import wait_until

# What an application passes to its own executor function on the worker, types included.
RICH_CONTEXT = {
    "resource_spec": {"num_nodes": 2, "ranks_per_node": 4, "launcher_options": "--x"},
    "task_executor": {
        "f": "some.module.execute",
        "a": (uuid.UUID(int=7), None, ("nested", ("tuple",))),
        "k": {"run_dir": pathlib.PurePosixPath("/a/b"), "when": Decimal("1.5"), "set": {1, 2}},
    },
}


def drain_order(manager: FakeManager, side: FakeSubmitSide, count: int) -> list[int]:
    """Returns the order in which a manager with one slot gets `count` tasks."""
    order = []
    for _ in range(count):
        (task,) = manager.tasks(1)
        order.append(task["task_id"])
        manager.answer(task["task_id"])
        side.result()
    return order


def queue(side: FakeSubmitSide, priorities: dict[int, object]) -> None:
    """Submits tasks with these priorities (absent: None) while no manager is registered that could
    run one."""
    for task_id, priority in priorities.items():
        context = {} if priority is None else {"resource_spec": {"priority": priority}}
        side.submit(task_id, context=context)
    for task_id in priorities:
        side.interchange.wait_for_log(f"Put task {task_id} onto pending_task_queue")


def test_task_reaches_the_manager_and_its_result_comes_back(start, connect, encrypted):
    side = start(encrypted=encrypted)
    manager = connect(side).enlist(side)
    sent = side.submit(1, b"payload")
    assert manager.batch() == [sent]
    frame = manager.answer(1, b"the result")
    assert side.result_raw() == frame
    assert manager.holds_nothing_new()


def test_ipv6_loopback(start, connect, ipv6_loopback, encrypted):
    side = start(address=ipv6_loopback, encrypted=encrypted, hub=True)
    manager = connect(side).enlist(side)
    side.submit(1)
    manager.tasks(1)
    manager.answer(1)
    assert side.result()["task_id"] == 1
    assert side.report()[1]["hostname"] == "fake-host"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_without_an_address_all_interfaces_are_bound(start, host):
    side = start(interchange_address=None)
    with FakeManager(f"tcp://{host}:{side.worker_port}") as manager:
        manager.probe()


def test_without_an_address_ipv6_is_bound_too(start, ipv6_loopback):
    side = start(interchange_address=None)
    with FakeManager(f"tcp://[{ipv6_loopback}]:{side.worker_port}") as manager:
        manager.probe()


def test_chosen_worker_port(start, connect):
    side = start(launch=False)
    port = _free_port()
    side.overrides["worker_port"] = port
    side.launch()
    assert side.worker_port == port
    connect(side).enlist(side)


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65535, 65536, 4 << 20])
def test_task_and_result_of_any_size(start, connect, size):
    side = start(logging_level=20)
    manager = connect(side).enlist(side)
    sent = side.submit(1, bytes(range(256)) * (size // 256) + b"z" * (size % 256))
    assert manager.batch() == [sent]
    frame = manager.answer(1, sent["buffer"])
    assert side.result_raw() == frame


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_batch_holds_the_tasks_unchanged(start, connect, protocol):
    """A context may hold any Python object; a tuple stays a tuple, and a UUID stays a UUID."""
    side = start()
    sent = [
        side.submit(1, b"a" * 300, RICH_CONTEXT, protocol),
        side.submit(2, b"", {}, protocol),
        side.submit(3, b"b" * 70000, {"resource_spec": {"priority": 5}}, protocol),
    ]
    for task_id in (1, 2, 3):
        side.interchange.wait_for_log(f"Put task {task_id} onto pending_task_queue")
    batch = connect(side).enlist(side, max_capacity=3).tasks(3)
    assert sorted(batch, key=lambda task: task["task_id"]) == sent
    context = batch[[task["task_id"] for task in batch].index(1)]["context"]
    assert type(context["task_executor"]["a"]) is tuple
    assert type(context["task_executor"]["k"]["run_dir"]) is pathlib.PurePosixPath


def test_objects_shared_inside_one_task_stay_shared(start, connect):
    """A pickle that reads its memo must not read another task's memo in the same batch."""
    side = start()
    twin = ["twin"]
    for task_id in (1, 2, 3):
        side.submit(task_id, context={"one": twin, "two": twin, "id": f"id-{task_id}"})
        side.interchange.wait_for_log(f"Put task {task_id} onto pending_task_queue")
    for task in connect(side).enlist(side, max_capacity=3).tasks(3):
        context = task["context"]
        assert context["id"] == f"id-{task['task_id']}"
        assert context["one"] is context["two"] and context["one"] == ["twin"]


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_tasks_of_old_pickle_protocols(start, connect, protocol):
    side = start()
    sent = side.submit(1, b"x", RICH_CONTEXT, protocol)
    assert connect(side).enlist(side).tasks(1) == [sent]


def test_capacity_is_filled_and_never_exceeded(start, connect):
    side = start()
    manager = connect(side).enlist(side, max_capacity=3)
    for task_id in range(1, 9):
        side.submit(task_id)
    side.interchange.wait_for_log("Put task 8 onto pending_task_queue")
    manager.tasks(3)
    assert manager.holds_nothing_new()
    assert side.managers()[0]["tasks"] == 3
    manager.answer(1)
    manager.tasks(1)
    assert manager.holds_nothing_new()
    manager.answer(2)
    manager.answer(3)
    manager.tasks(2)
    assert manager.holds_nothing_new()


@pytest.mark.parametrize("capacity", [0, -1, -(2**40)])
def test_invalid_capacity(start, connect, capacity):
    side = start()
    manager = connect(side).enlist(side, max_capacity=capacity)
    side.submit(1)
    side.interchange.wait_for_log("Put task 1 onto pending_task_queue")
    assert manager.holds_nothing_new()
    connect(side, b"able").enlist(side).tasks(1)


def test_huge_capacity(start, connect):
    side = start()
    manager = connect(side).enlist(side, max_capacity=2**40)
    for task_id in range(1, 101):
        side.submit(task_id)
    assert {task["task_id"] for task in manager.tasks(100)} == set(range(1, 101))


def test_tasks_wait_for_the_first_manager(start, connect):
    side = start(logging_level=20)
    for task_id in range(1, 2001):
        side.submit(task_id, b"x" * 100)
    tasks = connect(side).enlist(side, max_capacity=2000).tasks(2000)
    assert {task["task_id"] for task in tasks} == set(range(1, 2001))


def test_first_in_first_out(start, connect):
    side = start()
    queue(side, dict.fromkeys(range(1, 21)))
    assert drain_order(connect(side).enlist(side), side, 20) == list(range(1, 21))


@pytest.mark.quick
def test_lower_number_first_and_none_last(start, connect):
    side = start()
    queue(side, {1: None, 2: 10, 3: -1, 4: 0, 5: None, 6: 10, 7: 2.5, 8: True, 9: float("inf")})
    order = drain_order(connect(side).enlist(side), side, 9)
    assert order == [3, 4, 8, 7, 2, 6, 1, 5, 9]


@pytest.mark.parametrize(
    ("first", "second"),
    [(-(2**80), -(2**63)), (2**64, 2**80), (1e-300, 1), (float("-inf"), -(2**200))],
    ids=repr,
)
def test_priorities_of_any_size(start, connect, first, second):
    side = start()
    queue(side, {1: second, 2: first})
    assert drain_order(connect(side).enlist(side), side, 2) == [2, 1]


@pytest.mark.parametrize(
    "low", [Decimal("-3.5"), Fraction(-7, 2)], ids=lambda value: type(value).__name__
)
def test_priorities_that_are_number_objects(start, connect, low):
    side = start()
    queue(side, {1: -3, 2: low, 3: -4})
    assert drain_order(connect(side).enlist(side), side, 3) == [3, 2, 1]


@pytest.mark.ours_only("stock dies of a priority that is no number")
@pytest.mark.parametrize("odd", ["high", None, [1], float("nan"), {"a": 1}], ids=repr)
def test_unreadable_priority_is_the_lowest_with_one_warning(start, connect, odd):
    side = start()
    for task_id, spec in ((1, {"priority": odd}), (2, {"priority": 9}), (3, {})):
        side.submit(task_id, context={"resource_spec": spec})
    side.interchange.wait_for_log("Put task 3 onto pending_task_queue")
    order = drain_order(connect(side).enlist(side), side, 3)
    assert order[0] == 2 and sorted(order[1:]) == [1, 3]
    side.settle_log()
    assert len(side.interchange.log_lines("WARNING", "priority")) == 1


def test_higher_block_goes_first_with_the_block_selector(start, connect):
    side = start(manager_selector=BlockIdManagerSelector())
    managers = {
        block: connect(side, f"m-{block}".encode()).enlist(side, block_id=block)
        for block in ("1", "0", "2", "10")
    }
    # Block ids are compared as strings, even if they look like numbers: "2" is above "10".
    for task_id, block in enumerate(["2", "10", "1", "0"], start=1):
        side.submit(task_id)
        assert managers[block].tasks(1)[0]["task_id"] == task_id


def test_ten_single_tasks_all_go_to_the_highest_block(start, connect):
    side = start(manager_selector=BlockIdManagerSelector())
    low = connect(side, b"low").enlist(side, block_id="0")
    high = connect(side, b"high").enlist(side, block_id="1")
    for task_id in range(1, 11):
        side.submit(task_id)
        high.tasks(1)
        high.answer(task_id)
        side.result()
    assert low.holds_nothing_new()


def test_random_selector_uses_every_manager(start, connect):
    side = start()
    managers = [connect(side, f"m-{n}".encode()).enlist(side) for n in range(4)]
    used = set()
    for task_id in range(1, 61):
        side.submit(task_id)
        taker = wait_until(
            lambda: next((m for m in managers if m.socket.poll(0)), None), 5, "a manager has it"
        )
        taker.batch()
        used.add(taker.identity)
        taker.answer(task_id)
        side.result()
        taker.beat()
    assert len(used) == 4


def test_result_in_one_frame(start, connect):
    side = start()
    manager = connect(side).enlist(side, max_capacity=2)
    side.submit(1)
    manager.tasks(1)
    frame = manager.answer(1)
    assert side.result_raw() == frame


@pytest.mark.ours_only("stock since 2026.10.5 loses results of older managers")
def test_result_behind_a_marker_frame(start, connect):
    side = start()
    manager = connect(side).enlist(side, max_capacity=2)
    for task_id in (1, 2):
        side.submit(task_id)
        manager.tasks(1)
        frame = manager.answer(task_id, marker=True)
        assert side.result_raw() == frame
    assert side.managers()[0]["tasks"] == 0


def test_result_is_forwarded_as_the_bytes_that_came(start, connect):
    """No part of a result is re-encoded, whatever its pickle protocol and extra fields."""
    side = start()
    manager = connect(side).enlist(side, max_capacity=6)
    for protocol in range(6):
        side.submit(protocol + 1)
    manager.tasks(6)
    for protocol in range(6):
        frame = pickle.dumps(
            {"result": b"r" * 50, "task_id": protocol + 1, "type": "result", "extra": {1, 2}},
            protocol,
        )
        manager.send_frames(frame)
        assert side.result_raw() == frame


def test_result_for_a_task_it_does_not_hold_is_dropped(start, connect):
    """An unknown task id would end HTEX's result thread."""
    side = start()
    manager = connect(side).enlist(side, max_capacity=2)
    side.submit(1)
    manager.tasks(1)
    manager.answer(99)
    manager.answer(1)
    manager.answer(1)
    manager.beat()
    assert side.result()["task_id"] == 1
    side.managers()
    assert not side.results.poll(0)


def test_each_task_is_done_exactly_once_by_many_managers(start, connect, encrypted):
    side = start(encrypted=encrypted, logging_level=20)
    managers = [connect(side, f"m-{n}".encode()).enlist(side, max_capacity=8) for n in range(3)]
    count = 600
    for task_id in range(1, count + 1):
        side.submit(task_id, b"x" * 200)
    done: list[int] = []

    def serve() -> bool:
        for manager in managers:
            while manager.socket.poll(0):
                for task in manager.batch():
                    manager.answer(task["task_id"])
        while side.results.poll(0):
            done.append(side.result()["task_id"])
        return len(done) >= count

    wait_until(serve, 30, "all results", every_s=0.0)
    assert sorted(done) == list(range(1, count + 1))
    assert not side.results.poll(0)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
