"""Garbage from the network: each bad frame costs one WARNING, and the interchange goes on."""

from __future__ import annotations

import pickle

import pytest
from parsl.serialize import deserialize

from harness.fakes.bad_frames import BAD_MESSAGES, BAD_TASKS, HOSTILE_MESSAGES
from harness.fakes.wire import registration
from harness.machine.waiting import wait_until


class Bomb:
    """An object that runs code when it is unpickled, but not when the pickle is only read."""

    def __init__(self, path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def warnings_after(side, manager, frames: list[bytes]) -> list[str]:
    """Returns the warnings that these frames cause. The probe sent after them is answered in order,
    so all frames have been read."""
    side.settle_log()
    before = len(side.interchange.log_lines("WARNING"))
    manager.send_frames(*frames)
    manager.probe()
    side.settle_log()
    return side.interchange.log_lines("WARNING")[before:]


@pytest.mark.parametrize("frames", BAD_MESSAGES.values(), ids=BAD_MESSAGES)
def test_bad_message_costs_one_warning(start, connect, frames):
    side = start()
    manager = connect(side, b"bad-peer")
    assert len(warnings_after(side, manager, frames)) == 1
    connect(side).enlist(side)


@pytest.mark.ours_only("stock logs no WARNING for it, or runs it")
@pytest.mark.parametrize("frames", HOSTILE_MESSAGES.values(), ids=HOSTILE_MESSAGES)
def test_hostile_message_costs_one_warning(start, connect, frames):
    side = start()
    manager = connect(side, b"bad-peer").enlist(side, max_capacity=0)
    (line,) = warnings_after(side, manager, frames)
    assert "bad-peer" in line
    assert len(side.managers()) == 1


@pytest.mark.ours_only("stock does not say who sent it")
def test_the_warning_names_the_peer(start, connect):
    side = start()
    manager = connect(side, b"bad-peer")
    (line,) = warnings_after(side, manager, [b"garbage"])
    assert "bad-peer" in line


@pytest.mark.quick
def test_work_goes_on_under_a_stream_of_garbage(start, connect):
    side = start(logging_level=20)
    fuzzer = connect(side, b"fuzzer")
    manager = connect(side).enlist(side)
    for task_id in range(1, 41):
        for frames in BAD_MESSAGES.values():
            fuzzer.send_frames(*frames)
        sent = side.submit(task_id)
        assert manager.tasks(1) == [sent]
        frame = manager.answer(task_id)
        assert side.result_raw() == frame


@pytest.mark.ours_only("stock runs what it reads")
def test_no_code_from_a_peer_is_run(start, connect, tmp_path):
    side = start()
    manager = connect(side).enlist(side, max_capacity=2)
    traces = [tmp_path / name for name in ("registration", "command", "task", "result", "type")]
    bombs = [Bomb(trace) for trace in traces]
    other = connect(side, b"other")
    other.send(registration("other", extra=bombs[0], drain_time=float("inf")))
    other.send({"type": bombs[4]})
    other.probe()
    side.command_raw(pickle.dumps([bombs[1]]))
    side.submit_raw(pickle.dumps({"task_id": 1, "context": {"x": bombs[2]}, "buffer": b""}))
    side.interchange.wait_for_log("Put task 1 onto pending_task_queue")
    if manager.socket.poll(1000):
        manager.receive()
    manager.send_frames(
        pickle.dumps({"type": "result", "task_id": 1, "result": b"", "extra": bombs[3]})
    )
    side.managers()
    assert side.interchange.running
    assert [trace.name for trace in traces if trace.exists()] == []


@pytest.mark.ours_only("stock dies of an undecodable task")
@pytest.mark.parametrize("frame", BAD_TASKS.values(), ids=BAD_TASKS)
def test_bad_task_does_not_stop_the_others(start, connect, frame):
    side = start()
    manager = connect(side).enlist(side, max_capacity=4)
    side.submit_raw(frame)
    side.submit(7)
    assert [task["task_id"] for task in manager.tasks(1)] == [7]
    wait_until(lambda: side.interchange.log_lines("WARNING"), 3, "a warning about the task")


@pytest.mark.ours_only("stock dies of a task without context")
def test_task_without_context_is_dispatched(start, connect):
    """Parsl before 2025.9.29 sent the resource specification beside the buffer."""
    side = start()
    manager = connect(side).enlist(side, max_capacity=2)
    old = {"task_id": 1, "resource_spec": {}, "buffer": b"x"}
    side.submit_raw(pickle.dumps(old))
    assert manager.tasks(1) == [old]


# Task bodies that would damage neighbouring tasks if the bodies were carelessly joined into one
# list.
TREACHEROUS_BODIES = {
    "surplus-pop": b"\x80\x0400}(X\x07\x00\x00\x00task_idK\x02u.",
    "second-object": b"\x80\x04K\x05}(X\x07\x00\x00\x00task_idK\x02X\x06\x00\x00\x00bufferC\x00u.",
    "foreign-memo": b"\x80\x04}(X\x07\x00\x00\x00task_idK\x02X\x06\x00\x00\x00bufferh\x00u.",
}


@pytest.mark.ours_only("stock dies of an undecodable task")
@pytest.mark.parametrize("body", TREACHEROUS_BODIES.values(), ids=TREACHEROUS_BODIES)
def test_a_treacherous_task_does_not_harm_its_neighbours(start, connect, body):
    """Tasks 1 and 3 arrive as they were sent, whatever happens to task 2 between them."""
    side = start()
    first = side.submit(1, b"first")
    side.submit_raw(body)
    third = side.submit(3, b"third")
    side.interchange.wait_for_log("Put task 3 onto pending_task_queue")
    manager = connect(side).enlist(side, max_capacity=3)
    got: dict[int, dict] = {}

    def neighbours_arrived() -> bool:
        while manager.waiting or manager.socket.poll(10):
            batch, manager.waiting = (manager.waiting or manager.batch()), []
            for task in batch:
                assert isinstance(task, dict), f"a stray item in the batch: {task!r}"
                got[task["task_id"]] = task
        return {1, 3} <= got.keys()

    wait_until(neighbours_arrived, 5, "tasks 1 and 3")
    assert (got[1], got[3]) == (first, third)


STOCK_DIES = pytest.mark.ours_only("stock dies of it")
ODD_REGISTRATIONS = [
    pytest.param({"block_id": None}, id="no-block-id", marks=STOCK_DIES),
    pytest.param({"block_id": ["0"]}, id="block-id-is-a-list"),
    pytest.param({"max_capacity": "many"}, id="capacity-is-text", marks=STOCK_DIES),
    pytest.param({"worker_count": float("nan")}, id="worker-count-is-nan"),
    pytest.param({"hostname": None}, id="no-hostname"),
    pytest.param({"cpu_count": None}, id="cpu-count-unknown"),
    pytest.param({"packages": ["parsl"]}, id="packages-is-a-list"),
    pytest.param({"start_time": "noon"}, id="start-time-is-text"),
]


@pytest.mark.parametrize("fields", ODD_REGISTRATIONS)
def test_odd_registration_does_not_stop_the_others(start, connect, fields):
    side = start()
    odd = connect(side, b"odd")
    odd.probe()
    # The odd manager accepts no tasks, so each dispatch has to pass it to reach the good one.
    odd.register(**{"max_capacity": 0, **fields})
    odd.probe()
    good = connect(side, b"good").enlist(side)
    for request in ("MANAGERS", "MANAGERS_PACKAGES", "CONNECTED_BLOCKS"):
        side.command(request)
    for task_id in range(1, 11):
        side.submit(task_id)
        assert good.tasks(1)[0]["task_id"] == task_id
        good.answer(task_id)
        side.result()
    side.command(["HOLD_MANAGER", "odd"])


@pytest.mark.ours_only("stock cannot list it")
def test_identity_that_is_not_utf8(start, connect):
    side = start()
    odd = connect(side, b"\xff\xfe\x00odd")
    odd.probe()
    odd.register()
    odd.beat()
    good = connect(side, b"good").enlist(side)
    assert len(side.managers()) == 2
    side.submit(1)
    side.submit(2)
    odd.tasks(1)
    good.tasks(1)


@pytest.mark.ours_only("forwards it, and the executor's result thread ends")
@pytest.mark.parametrize(
    "outcome", [{}, {"result": None}, {"exception": "text"}], ids=["none", "None", "text"]
)
def test_result_without_an_outcome_fails_its_task(start, connect, outcome):
    side = start()
    manager = connect(side).enlist(side)
    side.submit(1)
    manager.tasks(1)
    manager.send({"type": "result", "task_id": 1, **outcome})
    failed = side.result()
    assert failed["task_id"] == 1
    assert "could not be forwarded" in str(deserialize(failed["exception"]))
    side.submit(2)
    assert manager.tasks(1)[0]["task_id"] == 2
