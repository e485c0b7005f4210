"""Tests the rules of section 1.4 (tasks)."""

from __future__ import annotations

import itertools
import pathlib
import pickle
import uuid
from collections.abc import Callable
from decimal import Decimal

from parsl.executors.high_throughput.manager_selector import BlockIdManagerSelector

from harness.conformance.registry import rule
from harness.conformance.stage import Manager, Side, Stage
from harness.fakes.bad_frames import BAD_TASKS
from harness.fakes.bombs import bombs, whole, within

RICH_CONTEXT = {
    "resource_spec": {"num_nodes": 2, "ranks_per_node": 4, "launcher_options": "--x"},
    "task_executor": {
        "f": "some.module.execute",
        "a": (uuid.UUID(int=7), None, ("nested", ("tuple",)), frozenset({1, 2})),
        "k": {"run_dir": pathlib.PurePosixPath("/a/b"), "when": Decimal("1.5"), "set": {1, 2}},
    },
}

# Number of attempts to have several tasks wait at once before the first of them is dispatched.
ROUNDS = 5

# More than the buffers hold, and more than a high-water mark of 1000 messages.
SLOW_READER_GETS = 2000


def ids(tasks: list[dict]) -> list[int]:
    return [task["task_id"] for task in tasks]


def one_by_one(manager: Manager, count: int) -> list[int]:
    """Answers tasks one by one and returns the order in which a manager with one slot receives
    them."""
    order = []
    for _ in range(count):
        (task,) = manager.tasks(1)
        order.append(task["task_id"])
        manager.answer(task["task_id"])
    return order


def order_of(stage: Stage, submit: Callable[[Side], list[dict]]) -> tuple[list[int], list[int]]:
    """Returns the ids of the tasks that `submit` sends, in the order sent and in the order
    dispatched.

    All the tasks must wait before a slot becomes free. To verify this, each round submits the most
    urgent task last. If that task is not dispatched first, the round proves nothing and is
    repeated.
    """
    side = stage.side()
    manager = stage.manager(side).enlist(side)
    for number in range(ROUNDS):
        (blocker,) = side.tasks_of(1)
        manager.tasks(1)
        sent = submit(side)
        (last,) = side.prioritized(float("-inf"))
        for _ in range(2 * len(sent) + 5):
            side.command("CONNECTED_BLOCKS")
        manager.socket.poll(100 * number)
        manager.answer(blocker["task_id"])
        first, *order = one_by_one(manager, len(sent) + 1)
        for _ in range(len(sent) + 2):
            side.result_raw()
        if first == last["task_id"]:
            return ids(sent), order
    raise AssertionError("the most urgent task was not given out first")


def ordered(stage: Stage, priorities: list, expected: list) -> None:
    sent, order = order_of(stage, lambda side: side.prioritized(*priorities))
    found = [priorities[sent.index(each)] for each in order]
    assert found == expected, f"priorities came as {found}, not as {expected}"


@rule("P-1.4.1")
def each_task_once(stage: Stage) -> None:
    side = stage.side()
    managers = [
        stage.manager(side, f"m{number}").enlist(side, max_capacity=10) for number in range(3)
    ]
    sent = side.tasks_of(30)
    got: list[int] = []
    while len(got) < len(sent):
        before = len(got)
        for manager in managers:
            manager.read_so_far()
            got += ids(manager.waiting)
            manager.waiting = []
        if len(got) == before:
            side.command("CONNECTED_BLOCKS")
    for manager in managers:
        manager.read_so_far()
        got += ids(manager.waiting)
    assert sorted(got) == ids(sent)


@rule("P-1.4.2")
def unchanged(stage: Stage) -> None:
    side = stage.side()
    manager = stage.manager(side).enlist(side, max_capacity=20)
    shared = ["shared"]
    rich = {**RICH_CONTEXT, "twice": (shared, shared)} if side.dialect.has_context else {}
    ranked = {"resource_spec": {"priority": 7, "num_nodes": 2}}
    buffers = (b"", b"x", bytes(range(256)) * 10)
    contexts = ({}, {"resource_spec": {}}, ranked, rich)
    for buffer, context in itertools.product(buffers, contexts):
        sent = side.task(buffer, context)
        (got,) = manager.tasks(1)
        assert got == sent, "it differs"
        types = [type(value) for value in _leaves(got)]
        assert types == [type(value) for value in _leaves(sent)], "its types differ"
        if "twice" in context:
            one, other = got["context"]["twice"]
            assert one is other, "what was one object is two"


def _leaves(value: object) -> list:
    """Lists containers and their contents, depth first."""
    if isinstance(value, dict):
        return [value, *(leaf for pair in value.items() for leaf in _leaves(pair))]
    if isinstance(value, (list, tuple)):
        return [value, *(leaf for each in value for leaf in _leaves(each))]
    return [value]


@rule("P-1.4.3")
def as_a_list(stage: Stage) -> None:
    side = stage.side()
    manager = stage.manager(side).enlist(side, max_capacity=3)
    task = side.task()
    frame = pickle.loads(manager.receive())
    assert type(frame) is list and ids(frame) == ids([task]), f"it is {frame!r}"


@rule("P-1.4.4")
def within_capacity(stage: Stage) -> None:
    side = stage.side()
    first = stage.manager(side, "first").enlist(side, max_capacity=2)
    sent = side.tasks_of(5)
    got = first.tasks(2)
    # A second manager with room for all the remaining tasks receives them.
    other = stage.manager(side, "other").enlist(side, max_capacity=5)
    got += other.tasks(3)
    assert sorted(ids(got)) == ids(sent)
    first.read_so_far()
    assert first.waiting == [], "it was given more than it has room for"


@rule("P-1.4.5")
def a_place_becomes_free(stage: Stage) -> None:
    side = stage.side()
    manager = stage.manager(side).enlist(side, max_capacity=2)
    sent = side.tasks_of(6)
    for _ in range(3):
        done, raised = manager.tasks(2)
        manager.answer(done["task_id"])
        manager.item({"type": "result", "task_id": raised["task_id"], "exception": b"02\n"})
    assert len([side.result_raw() for _ in sent]) == 6


@rule("P-1.4.6")
def urgent_first(stage: Stage) -> None:
    ordered(stage, [5, 1, 9, 3, 7], [1, 3, 5, 7, 9])


@rule("P-1.4.7")
def equals_by_id(stage: Stage) -> None:
    side = stage.side()
    manager = stage.manager(side).enlist(side)
    sent = ids(side.tasks_of(20))
    order = one_by_one(manager, 20)
    assert order == sent, f"they came as {order}"


@rule("P-1.4.8")
def without_priority_last(stage: Stage) -> None:
    ordered(stage, [None, 5, None, 10**6], [5, 10**6, None, None])


@rule("P-1.4.9")
def priorities_are_any_numbers(stage: Stage) -> None:
    # Neighbouring numbers, the greater one first: they must not be confused.
    odd = [10**30, -1, 0.75, 0.5, True, 2**70 + 1, 2**70, -2.25, -2.5, 2**53 + 1, 2**53, 7]
    ordered(stage, odd, sorted(odd))


@rule("P-1.4.10")
def tasks_wait(stage: Stage) -> None:
    side = stage.side()
    sent = side.tasks_of(3)
    manager = stage.manager(side).enlist(side, max_capacity=5)
    assert sorted(ids(manager.tasks(3))) == ids(sent)


@rule("P-1.4.11")
def no_task_without_capacity(stage: Stage) -> None:
    side = stage.side()
    full = stage.manager(side, "full").enlist(side, max_capacity=0)
    full.gets_no_task()


@rule("P-1.4.12")
def greatest_block_first(stage: Stage) -> None:
    side = stage.side(manager_selector=BlockIdManagerSelector())
    blocks = ["1", "10", "2"]
    managers = [stage.manager(side, block).enlist(side, block_id=block) for block in blocks]
    order = []
    for _ in blocks:
        side.task()
        (holder,) = [manager for manager in managers if _is_given(side, manager)]
        order.append(holder.name)
    assert order == ["2", "10", "1"], f"blocks were filled as {order}"


def _is_given(side: Side, manager: Manager) -> bool:
    """Waits until all tasks are dispatched; returns whether this manager has received a new one."""
    rows = {row["manager"]: row["tasks"] for row in side.managers()}
    while sum(rows.values()) < side.stage.ids:
        rows = {row["manager"]: row["tasks"] for row in side.managers()}
    had, manager.given = getattr(manager, "given", 0), rows[manager.name]
    return manager.given > had


@rule("P-1.4.13")
def survives_what_is_no_task(stage: Stage) -> None:
    side = stage.side()
    for frame in BAD_TASKS.values():
        side.submit_raw(frame)
    side.work_goes_on()


@rule("P-1.4.14")
def survives_odd_priorities(stage: Stage) -> None:
    side = stage.side()
    for odd in ("high", [1], {}, b"1"):
        side.task(context={"resource_spec": {"priority": odd}})
    side.work_goes_on()


@rule("P-1.4.15")
def runs_nothing_of_a_task(stage: Stage) -> None:
    folder = stage.workdir / "traces"
    folder.mkdir()
    side = stage.side()
    message = side.dialect.task(1, b"", {})
    for program in bombs(folder).values():
        side.submit_raw(whole(program))
        side.submit_raw(within({**message, "task_id": side.next_id()}, program))
    last = side.task(b"the last of all")
    # This test does not unpickle the received frames either, because that would run the code.
    manager = stage.manager(side)
    manager.register(max_capacity=1000)
    while last["buffer"] not in manager.receive():
        pass
    traces = sorted(path.name for path in folder.iterdir())
    assert traces == [], f"it ran {', '.join(traces)}"


@rule("P-1.4.16")
def priority_beside_the_buffer(stage: Stage) -> None:
    ordered(stage, [5, 1, 9], [1, 5, 9])


@rule("P-1.4.17")
def large_tasks(stage: Stage) -> None:
    side = stage.side()
    manager = stage.manager(side).enlist(side, max_capacity=4)
    for size in (65_535, 65_536, 70_000, 1 << 20):
        sent = side.task(b"x" * size)
        (got,) = manager.tasks(1)
        assert got["buffer"] == sent["buffer"], f"a task of {size} bytes differs"


@rule("P-1.4.18")
def keeps_batches_for_the_slow(stage: Stage) -> None:
    side = stage.side(logging_level=20)
    # The manager reads nothing from its connection at this point.
    slow = stage.manager(side, "slow", read_ahead=1, receive_buffer_bytes=1 << 16)
    slow.enlist(side, max_capacity=SLOW_READER_GETS)
    sent = []
    for _ in range(SLOW_READER_GETS):
        sent.append(side.task(b"x" * (16 << 10))["task_id"])
        # A small capacity makes many small batches.
        side.command("CONNECTED_BLOCKS")
    assert ids(slow.tasks(SLOW_READER_GETS)) == sent, "other tasks came"
