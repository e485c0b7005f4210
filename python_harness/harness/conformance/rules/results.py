"""Tests the rules of sections 1.7 (results) and 1.8 (failures)."""

from __future__ import annotations

import pickle
import time

from parsl.app.errors import RemoteExceptionWrapper
from parsl.executors.high_throughput.errors import ManagerLost
from parsl.serialize import deserialize

from harness.conformance.registry import rule
from harness.conformance.stage import LISTEN_S, PATIENCE_S, Manager, Side, Stage
from harness.fakes.wire import HEARTBEAT_CODE
from harness.machine.waiting import wait_until

THRESHOLD_S = 2
HOST = "the-host"

# Forms of a result that a later worker or another pickler may write; each must be accepted.
FORMS = [
    lambda body: pickle.dumps({**body, "result": b"plain"}),
    lambda body: pickle.dumps({**body, "result": b"by protocol 2"}, 2),
    lambda body: pickle.dumps({**body, "result": b"by protocol 5"}, 5),
    lambda body: pickle.dumps({**body, "result": b"", "more": ("x", [1, None])}),
]


def with_a_task(stage: Stage, count: int = 1) -> tuple[Side, Manager, list[int]]:
    """Starts an interchange and a manager that holds `count` tasks."""
    side = stage.side()
    manager = stage.manager(side).enlist(side, max_capacity=count)
    sent = side.tasks_of(count)
    manager.tasks(count)
    return side, manager, [task["task_id"] for task in sent]


def body_of(task_id: int) -> dict:
    return {"type": "result", "task_id": task_id}


def sent_in_frame(manager: Manager, frame: bytes) -> bytes:
    """Sends exactly this frame as a result, behind a marker frame where the release uses one."""
    marker = [pickle.dumps({"type": "result"})] if manager.dialect.marks_results else []
    manager.send_frames(*marker, frame)
    return frame


@rule("P-1.7.1")
def byte_for_byte(stage: Stage) -> None:
    side, manager, ids = with_a_task(stage, len(FORMS))
    for task_id, form in zip(ids, FORMS, strict=True):
        frame = sent_in_frame(manager, form(body_of(task_id)))
        assert side.result_raw() == frame, "another frame came"


@rule("P-1.7.2")
def one_message_of_one_frame(stage: Stage) -> None:
    side, manager, ids = with_a_task(stage, 5)
    frames = [manager.answer(task_id) for task_id in ids]
    for frame in frames:
        assert side.results.poll(PATIENCE_S * 1000), "no result came"
        assert side.results.recv_multipart() == [frame]


@rule("P-1.7.3")
def in_order(stage: Stage) -> None:
    side, manager, ids = with_a_task(stage, 50)
    backwards = ids[::-1]
    for task_id in backwards:
        manager.answer(task_id)
    assert [side.result()["task_id"] for _ in ids] == backwards


@rule("P-1.7.4")
def exceptions_too(stage: Stage) -> None:
    side, manager, (task_id,) = with_a_task(stage)
    frame = manager.item({**body_of(task_id), "exception": b"02\nof a worker"})
    assert side.result_raw() == frame


@rule("P-1.7.5")
def only_for_tasks_that_are_held(stage: Stage) -> None:
    side, manager, (task_id,) = with_a_task(stage)
    other = stage.manager(side, "other").enlist(side)
    other.answer(task_id, b"of another manager")
    other.answer(task_id + 1000, b"of no task")
    other.read_so_far()
    frame = manager.answer(task_id)
    assert side.result_raw() == frame, "another result was passed on"


@rule("P-1.7.6")
def one_result_per_task(stage: Stage) -> None:
    side, manager, (first, second) = with_a_task(stage, 2)
    manager.answer(first)
    manager.answer(first)
    manager.answer(second)
    assert [side.result()["task_id"] for _ in range(2)] == [first, second]


@rule("P-1.7.7")
def large_results(stage: Stage) -> None:
    side, manager, (task_id,) = with_a_task(stage)
    frame = manager.answer(task_id, b"r" * (8 << 20))
    assert side.result_raw() == frame, "it differs"


@rule("P-1.7.8")
def no_result_without_an_outcome(stage: Stage) -> None:
    outcomes = [{}, {"result": None}, {"exception": "text"}]
    side, manager, ids = with_a_task(stage, len(outcomes) + 1)
    *bad, good = ids
    for task_id, outcome in zip(bad, outcomes, strict=True):
        manager.item({**body_of(task_id), **outcome})
    last = manager.answer(good)
    while (frame := side.result_raw()) != last:
        came = pickle.loads(frame)
        value = came.get("result", came.get("exception"))
        assert isinstance(value, bytes), f"a result whose outcome is {value!r} was passed on"


@rule("P-1.7.9")
def survives_a_result_without_an_id(stage: Stage) -> None:
    side, manager, (task_id,) = with_a_task(stage)
    manager.item({"type": "result", "result": b""})
    manager.read_so_far()
    frame = manager.answer(task_id)
    assert side.result_raw() == frame


@rule("P-1.7.10")
def nothing_but_results(stage: Stage) -> None:
    side, manager, (task_id,) = with_a_task(stage)
    manager.beat()
    side.command("MANAGERS")
    side.hold("manager-a")
    stage.manager(side, "drained").enlist(side).send({"type": "drain"})
    frame = manager.answer(task_id)
    assert side.result_raw() == frame, "something else came"
    assert not side.results.poll(100), "something else came"


@rule("P-1.7.11")
def one_result_for_two_of_one_id(stage: Stage) -> None:
    side = stage.side()
    manager = stage.manager(side).enlist(side, max_capacity=9)
    for buffer in (b"first", b"second"):
        side.task(buffer, task_id=1)
    last = side.task(b"last", task_id=2)
    got = []
    while last not in got:
        got += manager.tasks(1)
    for task in got:
        manager.answer(task["task_id"])
    results = [side.result()["task_id"] for _ in range(2)]
    assert results == [1, 2], f"results came for tasks {results}"


@rule("P-1.7.12")
def keeps_results_for_the_slow(stage: Stage) -> None:
    count = 3000
    # The executor reads nothing from its connection at this point.
    side = stage.side(results_read_ahead=1, logging_level=20)
    manager = stage.manager(side).enlist(side, max_capacity=count)
    side.tasks_of(count)
    for task in manager.tasks(count):
        manager.answer(task["task_id"], b"r" * (16 << 10))
    end = time.monotonic() + PATIENCE_S
    while side.row()["tasks"] and time.monotonic() < end:
        manager.socket.poll(20)
    assert len({side.result()["task_id"] for _ in range(count)}) == count


def lost_manager(stage: Stage, count: int = 2) -> tuple[Side, Manager, list[dict]]:
    """Registers a manager that falls silent while it holds tasks; returns the executor's failures,
    too."""
    side = stage.side(heartbeat_threshold=THRESHOLD_S)
    manager = stage.manager(side, "silent")
    manager.enlist(side, max_capacity=count, hostname=HOST)
    side.tasks_of(count)
    manager.tasks(count)
    failures = [side.result(THRESHOLD_S + PATIENCE_S) for _ in range(count)]
    return side, manager, failures


def exception_of(failure: dict) -> BaseException:
    """Returns the exception that the executor raises for a failure."""
    told = deserialize(failure["exception"])
    if isinstance(told, RemoteExceptionWrapper):
        try:
            told.reraise()
        except Exception as raised:
            return raised
    return told


@rule("P-1.8.1")
def its_tasks_fail(stage: Stage) -> None:
    _, _, failures = lost_manager(stage)
    assert sorted(failure["task_id"] for failure in failures) == [1, 2]
    assert all(failure["type"] == "result" for failure in failures)
    assert all("exception" in failure for failure in failures)
    side = stage.side(heartbeat_threshold=THRESHOLD_S)
    held, draining = (stage.manager(side, name) for name in ("held", "draining"))
    for manager in (held, draining):
        manager.enlist(side)
        side.task()
        manager.tasks(1)
    side.hold("held")
    draining.send({"type": "drain"})
    failures = [side.result(THRESHOLD_S + PATIENCE_S) for _ in range(2)]
    assert all("exception" in failure for failure in failures)


@rule("P-1.8.2")
def failures_have_a_readable_header(stage: Stage) -> None:
    _, _, (failure,) = lost_manager(stage, 1)
    header = failure["exception"].partition(b"\n")[0]
    readable = (b"02",) if stage.dialect.since("2025.12.15") else (b"01", b"02")
    assert header in readable, f"the header is {header!r}"
    deserialize(failure["exception"])


@rule("P-1.8.3")
def with_manager_lost(stage: Stage) -> None:
    _, _, (failure,) = lost_manager(stage, 1)
    raised = exception_of(failure)
    assert type(raised) is ManagerLost, f"it is {raised!r}"


@rule("P-1.8.4")
def losses_name_the_manager(stage: Stage) -> None:
    _, _, (failure,) = lost_manager(stage, 1)
    raised = exception_of(failure)
    named = getattr(raised, "manager_id", None), getattr(raised, "hostname", None)
    assert named == (b"silent", HOST), f"it names {named}"


@rule("P-1.8.5")
def managers_are_lost_at_the_threshold(stage: Stage) -> None:
    # Lateness stays below the threshold, or a threshold twice as long would pass.
    threshold_s, late_s = 6, 5
    side = stage.side(heartbeat_threshold=threshold_s)
    manager = stage.manager(side).enlist(side)
    side.task()
    manager.tasks(1)
    begin = time.monotonic()
    manager.send({"type": "heartbeat"})
    side.result(threshold_s + PATIENCE_S)
    took_s = time.monotonic() - begin
    assert threshold_s <= took_s <= threshold_s + late_s, f"it was given up after {took_s:.2f} s"


@rule("P-1.8.6")
def lost_managers_are_no_longer_listed(stage: Stage) -> None:
    threshold_s = 3
    side = stage.side(heartbeat_threshold=threshold_s)
    stage.manager(side).enlist(side)
    beats = stage.manager(side, "beats").enlist(side)

    def is_gone() -> bool:
        beats.beat()
        return side.row() is None

    wait_until(is_gone, threshold_s + PATIENCE_S, "it is not listed any more")
    for what in ("MANAGERS_PACKAGES", "MANAGERS"):
        told = side.command(what)
        names = [each if what == "MANAGERS_PACKAGES" else each["manager"] for each in told]
        assert names == ["beats"], f"{what} has {names}"


@rule("P-1.8.7")
def no_late_results(stage: Stage) -> None:
    side, manager, (failure,) = lost_manager(stage, 1)
    manager.answer(failure["task_id"])
    fresh = stage.manager(side, "fresh").enlist(side)
    task = side.task()
    fresh.tasks(1)
    frame = fresh.answer(task["task_id"])
    assert side.result_raw() == frame, "another result came"


@rule("P-1.8.8")
def keeps_waiting_tasks_when_a_manager_is_lost(stage: Stage) -> None:
    side = stage.side(heartbeat_threshold=THRESHOLD_S)
    manager = stage.manager(side, "silent").enlist(side, max_capacity=1)
    held, waits = side.tasks_of(2)
    manager.tasks(1)
    assert side.result(THRESHOLD_S + PATIENCE_S)["task_id"] == held["task_id"]
    fresh = stage.manager(side, "fresh").enlist(side)
    fresh.gets(waits)


@rule("P-1.8.9")
def the_lost_hear_no_echo(stage: Stage) -> None:
    side = stage.side(heartbeat_threshold=1)
    manager = stage.manager(side).enlist(side, max_capacity=0)
    wait_until(lambda: side.managers() == [], 1 + PATIENCE_S, "it is lost")
    manager.send({"type": "heartbeat"})
    side.work_goes_on()
    while manager.socket.poll(LISTEN_S * 1000):
        said = pickle.loads(manager.receive())
        assert said != HEARTBEAT_CODE, "it is told that it is known"
