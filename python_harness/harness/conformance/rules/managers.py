"""Tests the rules of sections 1.5 (from managers) and 1.6 (to managers)."""

from __future__ import annotations

import pickle
import time

from harness.conformance.registry import rule
from harness.conformance.stage import PATIENCE_S, Manager, Side, Stage
from harness.fakes.bad_frames import BAD_MESSAGES, HOSTILE_MESSAGES
from harness.fakes.bombs import bombs, costly, whole, within
from harness.fakes.wire import HEARTBEAT_CODE, SHUTDOWN_CODE, registration
from harness.machine.waiting import wait_until

NO_MESSAGE = ("no-type", "not-a-dict", "type-is-no-text")
UNKNOWN_TYPE = "unknown-type"
# A pickle that is left out: an unpickler written in C may allocate 64 GB to load it.
TOO_COSTLY = "memo-index-of-2-to-the-32"

ODD_FIELDS = [
    {"max_capacity": "many", "block_id": "0"},
    {"worker_count": float("nan")},
    {"packages": ["parsl"]},
    {"start_time": "noon"},
    {"hostname": None},
    {"block_id": ["0"]},
]


def survives(stage: Stage, messages: list[list[bytes]]) -> None:
    """Sends the messages from a registered manager and from an unregistered peer. The interchange
    must continue to work and keep the manager."""
    side = stage.side()
    known = stage.manager(side, "known").enlist(side, max_capacity=0)
    for manager in (known, stage.manager(side, "stranger")):
        for frames in messages:
            manager.send_frames(*frames)
        manager.read_so_far()
    side.work_goes_on()
    assert side.row("known"), "the manager that sent it is not listed any more"


@rule("P-1.5.1")
def a_registration_is_not_answered(stage: Stage) -> None:
    side = stage.side()
    manager = stage.manager(side)
    manager.register()
    wait_until(lambda: side.row("manager-a"), PATIENCE_S, "the manager is listed")
    manager.hears_nothing()


@rule("P-1.5.2")
def heartbeats_are_echoed(stage: Stage) -> None:
    side = stage.side()
    managers = [stage.manager(side, f"m{number}").enlist(side) for number in range(2)]
    for manager in managers:
        for _ in range(3):
            manager.send({"type": "heartbeat"})
        for _ in range(3):
            echo = pickle.loads(manager.receive())
            assert echo == HEARTBEAT_CODE, f"it is {echo!r}"


@rule("P-1.5.3")
def no_echo_without_a_heartbeat(stage: Stage) -> None:
    side = stage.side(heartbeat_threshold=2)
    manager = stage.manager(side)
    manager.enlist(side)
    task = side.task()
    manager.gets(task)
    manager.answer(task["task_id"])
    side.result_raw()
    # Most of the threshold: an interchange that sends heartbeats unasked would send one by then.
    manager.hears_nothing(1.5)


@rule("P-1.5.4")
def probes_are_answered(stage: Stage) -> None:
    side = stage.side()
    manager = stage.manager(side)
    for _ in range(2):
        manager.probe()
    assert side.managers() == [], "a probe registers nobody"
    manager.enlist(side)
    manager.probe()


def one_result(stage: Stage) -> None:
    side = stage.side()
    manager = stage.manager(side).enlist(side)
    task = side.task()
    manager.tasks(1)
    frame = manager.answer(task["task_id"])
    assert side.result_raw() == frame


@rule("P-1.5.5")
def results_in_one_frame(stage: Stage) -> None:
    assert not stage.dialect.marks_results
    one_result(stage)


@rule("P-1.5.6")
def results_behind_a_marker(stage: Stage) -> None:
    assert stage.dialect.marks_results
    one_result(stage)


@rule("P-1.5.7")
def heartbeats_keep_a_manager(stage: Stage) -> None:
    side = stage.side(heartbeat_threshold=2)
    busy = stage.manager(side, "busy").enlist(side)
    side.task()
    busy.tasks(1)
    idle = stage.manager(side, "idle").enlist(side)
    end = time.monotonic() + 3.5
    while time.monotonic() < end:
        for manager in (busy, idle):
            manager.beat()
            assert side.row(manager.name), f"the {manager.name} one was given up"
        idle.socket.poll(100)


@rule("P-1.5.8")
def ignores_results_of_strangers(stage: Stage) -> None:
    side = stage.side()
    manager = stage.manager(side).enlist(side)
    task = side.task()
    manager.tasks(1)
    stranger = stage.manager(side, "stranger")
    stranger.answer(task["task_id"], b"forged")
    stranger.read_so_far()
    frame = manager.answer(task["task_id"])
    assert side.result_raw() == frame, "the stranger's result was passed on"


@rule("P-1.5.9")
def managers_are_named_by_their_identity(stage: Stage) -> None:
    side = stage.side()
    stage.manager(side, "identity").enlist(side, uid="another", max_capacity=0)
    names = [row["manager"] for row in side.managers()]
    assert names == ["identity"], f"it is listed as {names}"


@rule("P-1.5.10")
def survives_no_pickle(stage: Stage) -> None:
    bad = [frames for frames in BAD_MESSAGES.values() if len(frames) == 1]
    survives(stage, [frames for frames in bad if not _loads(frames[0])])


def _loads(frame: bytes) -> bool:
    try:
        pickle.loads(frame)
    except Exception:
        return False
    return True


@rule("P-1.5.11")
def survives_no_message(stage: Stage) -> None:
    every = {**BAD_MESSAGES, **HOSTILE_MESSAGES}
    survives(stage, [every[name] for name in NO_MESSAGE])


@rule("P-1.5.12")
def survives_other_numbers_of_frames(stage: Stage) -> None:
    survives(stage, [frames for frames in BAD_MESSAGES.values() if len(frames) > 1])


@rule("P-1.5.13")
def survives_unknown_types(stage: Stage) -> None:
    survives(stage, [HOSTILE_MESSAGES[UNKNOWN_TYPE]])


@rule("P-1.5.14")
def survives_incomplete_registrations(stage: Stage) -> None:
    side = stage.side()
    for number, name in enumerate(registration("")):
        if name == "type":
            continue
        odd = stage.manager(side, f"odd{number}")
        odd.register(omit=(name,), **({} if name == "max_capacity" else {"max_capacity": 0}))
    side.work_goes_on()


@rule("P-1.5.15")
def survives_odd_registrations(stage: Stage) -> None:
    side = stage.side()
    for number, fields in enumerate(ODD_FIELDS):
        odd = stage.manager(side, f"odd{number}")
        odd.register(**{"max_capacity": 0, **fields})
        # The interchange may have dropped the manager because of this registration.
        odd.registered = False
        odd.read_so_far()
    # Only the odd managers are registered until the witness connects.
    side.task()
    for _ in range(3):
        side.command("CONNECTED_BLOCKS")
    side.work_goes_on()


@rule("P-1.5.16")
def accepts_more_fields(stage: Stage) -> None:
    side = stage.side()
    stage.manager(side).enlist(side, max_capacity=0, of_tomorrow={"a": (1, None)})
    assert side.row(), "it is not listed"


@rule("P-1.5.17")
def runs_nothing_of_a_manager(stage: Stage) -> None:
    folder = stage.workdir / "traces"
    folder.mkdir()
    side = stage.side()
    known = stage.manager(side, "known").enlist(side, max_capacity=0)
    message = registration("known", max_capacity=0)
    for program in bombs(folder).values():
        for inside in ({"type": "heartbeat"}, message):
            known.send_frames(within(inside, program))
        known.send_frames(whole(program))
    known.send({"type": "heartbeat"})
    side.work_goes_on()
    traces = sorted(path.name for path in folder.iterdir())
    assert traces == [], f"it ran {', '.join(traces)}"


@rule("P-1.5.18")
def survives_costly_pickles(stage: Stage) -> None:
    programs = [each for name, each in costly().items() if name != TOO_COSTLY]
    hostile = [HOSTILE_MESSAGES[name] for name in ("deep-nesting", "many-marks")]
    survives(stage, [*([whole(each)] for each in programs), *hostile])


@rule("P-1.5.19")
def survives_odd_names(stage: Stage) -> None:
    side = stage.side()
    odd = stage.manager(side, "\udcff\udcfe\x00odd")
    odd.enlist(side, max_capacity=0)
    side.managers()
    side.work_goes_on()


@rule("P-1.5.20")
def registers_again(stage: Stage) -> None:
    side = stage.side()
    manager = stage.manager(side).enlist(side, block_id="1", worker_count=1)
    python, _, _ = registration("")["python_v"].rpartition(".")
    fields = {"block_id": "2", "worker_count": 5, "python_v": f"{python}.99"}
    manager.register(max_capacity=5, packages={"another": "1"}, **fields)
    manager.read_so_far()
    row = side.row()
    told = {"block_id": row["block_id"], "worker_count": row["worker_count"]}
    assert {**told, "python_v": row["python_version"]} == fields, f"its row is {row}"
    packages = side.command("MANAGERS_PACKAGES")
    assert packages == {"manager-a": {"another": "1"}}, f"its packages are {packages!r}"
    side.tasks_of(5)
    manager.tasks(5)


@rule("P-1.5.21")
def registers_again_with_tasks(stage: Stage) -> None:
    side = stage.side()
    manager = stage.manager(side).enlist(side, max_capacity=2)
    task = side.task()
    manager.tasks(1)
    manager.register(max_capacity=2)
    manager.read_so_far()
    manager.answer(task["task_id"])
    assert side.result()["task_id"] == task["task_id"]


def draining(side: Side, manager: Manager) -> None:
    manager.send({"type": "drain"})
    manager.read_so_far()


def expect_exit_code(manager: Manager) -> None:
    """Fails unless the exit code arrives. Echoes of heartbeats may arrive before it, and further
    messages after it."""
    while (code := pickle.loads(manager.receive())) == HEARTBEAT_CODE:
        pass
    assert code == SHUTDOWN_CODE, f"it got {code!r}"


@rule("P-1.5.22")
def drains_by_message(stage: Stage) -> None:
    side = stage.side()
    manager = stage.manager(side).enlist(side, max_capacity=2)
    side.task()
    manager.tasks(1)
    stage.manager(side, "stays").enlist(side, max_capacity=0)
    draining(side, manager)
    for name, drains in (("manager-a", True), ("stays", False)):
        row = side.row(name)
        assert row and row["draining"] is drains, f"the row of {name} is {row}"


@rule("P-1.5.23")
def drains_by_time(stage: Stage) -> None:
    side = stage.side()
    now = time.time()
    busy = stage.manager(side, "busy").enlist(side, max_capacity=2, drain_time=now + 1.0)
    side.task()
    busy.tasks(1)
    manager = stage.manager(side).enlist(side, start_time=now, drain_time=now + 1.0)
    stays = stage.manager(side, "stays").enlist(side, start_time=now, drain_time=now + 3600)
    assert side.row()["draining"] is False, "it drains before its time"
    expect_exit_code(manager)
    assert time.time() >= now + 1.0 - 0.05, "it was told before its time"
    stays.hears_nothing(0)
    row = side.row("busy")
    assert row and row["draining"] is True, f"the busy one's row is {row}"


@rule("P-1.5.24")
def no_drain_time_is_never(stage: Stage) -> None:
    side = stage.side()
    manager = stage.manager(side).enlist(side, omit=("drain_time",))
    task = side.task()
    manager.gets(task)
    assert side.row()["draining"] is False


@rule("P-1.6.1")
def one_frame_each(stage: Stage) -> None:
    side = stage.side()
    manager = stage.manager(side).enlist(side)
    task = side.task()
    assert manager.socket.poll(PATIENCE_S * 1000), "no batch came"
    frames = manager.socket.recv_multipart()
    assert len(frames) == 1, f"a batch is {len(frames)} frames"
    assert pickle.loads(frames[0])[0]["task_id"] == task["task_id"]
    manager.send({"type": "heartbeat"})
    assert manager.socket.poll(PATIENCE_S * 1000), "no echo came"
    assert len(manager.socket.recv_multipart()) == 1


@rule("P-1.6.2")
def drained_managers_are_ordered_to_exit(stage: Stage) -> None:
    side = stage.side()
    idle = stage.manager(side, "idle").enlist(side, max_capacity=0)
    idle.send({"type": "drain"})
    expect_exit_code(idle)
    busy = stage.manager(side, "busy").enlist(side, max_capacity=1)
    task = side.task()
    busy.tasks(1)
    busy.send({"type": "drain"})
    busy.answer(task["task_id"])
    expect_exit_code(busy)
    held = stage.manager(side, "held").enlist(side, max_capacity=0)
    side.hold("held")
    held.send({"type": "drain"})
    expect_exit_code(held)


@rule("P-1.6.3")
def busy_managers_are_not_ordered_to_exit(stage: Stage) -> None:
    side = stage.side()
    manager = stage.manager(side).enlist(side, max_capacity=2)
    first, second = side.tasks_of(2)
    manager.tasks(2)
    draining(side, manager)
    manager.answer(first["task_id"])
    side.result_raw()
    manager.hears_nothing()
    frame = manager.answer(second["task_id"])
    assert side.result_raw() == frame


@rule("P-1.6.4")
def draining_managers_get_no_new_task(stage: Stage) -> None:
    side = stage.side()
    manager = stage.manager(side, "draining").enlist(side, max_capacity=3)
    side.task()
    manager.tasks(1)
    draining(side, manager)
    manager.gets_no_task()


@rule("P-1.6.5")
def drained_managers_are_no_longer_listed(stage: Stage) -> None:
    side = stage.side()
    manager = stage.manager(side).enlist(side)
    manager.send({"type": "drain"})
    expect_exit_code(manager)
    wait_until(lambda: side.managers() == [], PATIENCE_S, "it is not listed any more")
    packages = side.command("MANAGERS_PACKAGES")
    assert packages == {}, f"MANAGERS_PACKAGES has {packages!r}"
