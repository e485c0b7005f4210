"""Tests the rules of sections 1.9 (version check) and 1.10 (commands)."""

from __future__ import annotations

import pickle
import time

from parsl.executors.high_throughput.errors import VersionMismatch
from parsl.serialize import deserialize

from harness.conformance.registry import rule
from harness.conformance.stage import PATIENCE_S, Side, Stage
from harness.differential.values import UNKNOWN_COMMANDS
from harness.fakes.bad_frames import deep_nesting
from harness.fakes.wire import idle_row, registration
from harness.machine.waiting import wait_until

OTHER_PARSL = {"parsl_v": "1999.01.01"}
OTHER_PYTHON = {"python_v": "2.7.18"}


def near_parsl() -> list[str]:
    """Releases that differ little from the right one; the last has the same numbers."""
    month, _, day = registration("")["parsl_v"].rpartition(".")
    return [f"{month}.{int(day) + 1}", f"{month}.0{day}"]


def near_python() -> list[str]:
    """Other minor versions. The text of one of them begins with the text of the right one."""
    major, minor, patch = registration("")["python_v"].split(".")
    return [f"{major}.{int(minor) + 1}.{patch}", f"{major}.{minor}0.{patch}"]


THRESHOLD_S = 2
# Time limit for a reply; a longer wait would visibly block an executor's threads.
REPLY_S = 5.0
# Tolerance between the wall clock and the monotonic clock.
CLOCKS_DIFFER_S = 0.05


def mismatch(stage: Stage, fields: dict, **options) -> Side:
    """Registers a manager of other versions. Returns when the executor has received the mismatch;
    the interchange may end from then on."""
    side = stage.side(**options)
    stage.manager(side).register(**fields)
    side.interchange.expected_to_end = True
    told = side.result()
    assert told["task_id"] == -1, f"the result of task {told['task_id']} came"
    raised = deserialize(told["exception"])
    assert type(raised) is VersionMismatch, f"it is {raised!r}"
    ours = registration("")
    for text, told in (
        (raised.interchange_version, ours),
        (raised.manager_version, {**ours, **fields}),
    ):
        python = told["python_v"].rpartition(".")[0]
        assert text == f"py.v={python} parsl.v={told['parsl_v']}", f"the text is {text!r}"
    return side


@rule("P-1.9.1")
def parsl_is_compared(stage: Stage) -> None:
    mismatch(stage, OTHER_PARSL)
    for version in near_parsl():
        mismatch(stage, {"parsl_v": version})


@rule("P-1.9.2")
def python_is_compared(stage: Stage) -> None:
    mismatch(stage, OTHER_PYTHON)
    for version in near_python():
        mismatch(stage, {"python_v": version})


@rule("P-1.9.3")
def ends_after_a_mismatch(stage: Stage) -> None:
    side = stage.side()
    stage.manager(side).register(**OTHER_PARSL)
    side.awaits_end()


@rule("P-1.9.4")
def patch_levels_may_differ(stage: Stage) -> None:
    side = stage.side()
    major, minor, *_ = registration("")["python_v"].split(".")
    stage.manager(side).enlist(side, python_v=f"{major}.{minor}.99")
    assert side.row(), "it is not listed"


@rule("P-1.9.5")
def any_versions_without_the_check(stage: Stage) -> None:
    side = stage.side(_check_python_mismatch=False)
    stage.manager(side, "one").enlist(side, max_capacity=0, **OTHER_PARSL)
    stage.manager(side, "two").enlist(side, max_capacity=0, **OTHER_PYTHON)
    side.work_goes_on()


@rule("P-1.9.6")
def parsl_is_compared_without_the_check(stage: Stage) -> None:
    side = stage.side(_check_python_mismatch=False)
    stage.manager(side).enlist(side, **OTHER_PYTHON)
    assert side.row(), "it is not listed"
    mismatch(stage, OTHER_PARSL, _check_python_mismatch=False)


@rule("P-1.9.7")
def sends_what_waits(stage: Stage) -> None:
    count = 1500
    # The executor reads nothing from its connection at this point.
    side = stage.side(results_read_ahead=1, logging_level=20)
    manager = stage.manager(side).enlist(side, max_capacity=count)
    side.tasks_of(count)
    for task in manager.tasks(count):
        manager.answer(task["task_id"], b"r" * (16 << 10))
    wait_until(lambda: side.row()["tasks"] == 0, 2 * PATIENCE_S, "all results were read")
    side.interchange.expected_to_end = True
    stage.manager(side, "other").register(**OTHER_PARSL)
    came = [side.result()["task_id"] for _ in range(count + 1)]
    assert len({*came}) == count + 1 and came[-1] == -1, f"the last of {len(came)} is {came[-1]}"
    side.awaits_end()


@rule("P-1.10.1")
def the_port(stage: Stage) -> None:
    side = stage.side()
    for _ in range(2):
        reply = side.command("WORKER_BINDS")
        assert type(reply) is int and 0 < reply < 65536, f"it is {reply!r}"
        assert reply == side.worker_port


@rule("P-1.10.2")
def blocks_that_ever_registered(stage: Stage) -> None:
    side = stage.side(heartbeat_threshold=THRESHOLD_S)
    assert side.command("CONNECTED_BLOCKS") == []
    managers = []
    for number, block in enumerate(("1", "0", "1")):
        managers.append(stage.manager(side, f"m{number}").enlist(side, block_id=block))
    managers[0].register(block_id="7").read_so_far()
    reply = side.command("CONNECTED_BLOCKS")
    assert reply == ["1", "0", "1", "7"], f"it is {reply!r}"
    managers[0].send({"type": "drain"})
    # The first manager drains, and the other two are lost because they send no heartbeats.
    wait_until(lambda: side.managers() == [], THRESHOLD_S + PATIENCE_S, "nobody is left")
    reply = side.command("CONNECTED_BLOCKS")
    assert reply == ["1", "0", "1", "7"], f"with nobody left it is {reply!r}"


@rule("P-1.10.3")
def block_ids_are_returned_unchanged(stage: Stage) -> None:
    side = stage.side()
    for number, block in enumerate((0, "0", "a b")):
        stage.manager(side, f"m{number}").enlist(side, block_id=block)
    for found in (
        side.command("CONNECTED_BLOCKS"),
        [row["block_id"] for row in side.managers()],
    ):
        assert found == [0, "0", "a b"] and type(found[0]) is int, f"it is {found!r}"


@rule("P-1.10.4")
def rows_of_managers(stage: Stage) -> None:
    side = stage.side()
    assert side.managers() == []
    begin = time.monotonic()
    names = ["zeta", "alpha", "mu"]
    for name in names:
        stage.manager(side, name).enlist(side, worker_count=3, block_id="7")
    rows = side.managers()
    assert [row["manager"] for row in rows] == names, f"they are {rows}"
    told = dict(rows[0])
    idle = told.pop("idle_duration")
    longest = time.monotonic() - begin + CLOCKS_DIFFER_S
    assert type(idle) is float and 0 <= idle <= longest, f"idle for {idle!r}"
    expected = idle_row(registration("zeta", worker_count=3, block_id="7"))
    assert told == expected, f"it is {told}"
    assert [type(told[key]) for key in expected] == [type(expected[key]) for key in expected]


@rule("P-1.10.5")
def tasks_and_idleness(stage: Stage) -> None:
    side = stage.side()
    manager = stage.manager(side).enlist(side, max_capacity=2)
    wait_until(lambda: side.row()["idle_duration"] > 1, PATIENCE_S, "idle time counts")
    first, second = side.tasks_of(2)
    manager.tasks(2)
    stage.manager(side, "other").enlist(side)
    assert side.row("other")["tasks"] == 0, "another manager's tasks count"
    for held, task in ((2, first), (1, second)):
        row = side.row()
        assert (row["tasks"], row["idle_duration"]) == (held, 0.0), f"it is {row}"
        begin = time.monotonic()
        manager.answer(task["task_id"])
        side.result_raw()
    wait_until(lambda: side.row()["idle_duration"] > 0, PATIENCE_S, "idle time counts again")
    earlier = side.row()
    manager.beat()
    row, longest = side.row(), time.monotonic() - begin + CLOCKS_DIFFER_S
    assert row["tasks"] == 0, f"it is {row}"
    idle = earlier["idle_duration"], row["idle_duration"]
    assert idle[0] <= idle[1] <= longest, f"idle for {idle}, {longest:.2f} s after the last result"


@rule("P-1.10.6")
def packages(stage: Stage) -> None:
    side = stage.side()
    assert side.command("MANAGERS_PACKAGES") == {}
    told = {"numpy": "2.1", "a-package": "0.1.dev3+g12", "ünï": None, None: "1.0"}
    stage.manager(side).enlist(side, packages=told)
    stage.manager(side, "other").enlist(side, packages={"numpy": "1.9"})
    reply = side.command("MANAGERS_PACKAGES")
    assert reply == {"manager-a": told, "other": {"numpy": "1.9"}}, f"it is {reply!r}"


def is_held(stage: Stage) -> None:
    side = stage.side()
    held = stage.manager(side).enlist(side, max_capacity=5)
    side.task()
    held.tasks(1)
    other = "manager-ab"
    stage.manager(side, other).enlist(side, max_capacity=0)
    assert side.hold("manager-a") is None
    held.beat()
    row = side.row()
    assert (row["active"], row["tasks"]) == (False, 1), f"its row is {row}"
    row = side.row(other)
    assert row["active"] is True, f"the row of another manager is {row}"
    held.gets_no_task()


@rule("P-1.10.7")
def hold_manager(stage: Stage) -> None:
    is_held(stage)


@rule("P-1.10.8")
def hold_worker(stage: Stage) -> None:
    is_held(stage)


@rule("P-1.10.9")
def workers(stage: Stage) -> None:
    side = stage.side()
    for number in (3, 4):
        stage.manager(side, f"m{number}").enlist(side, worker_count=number)
    assert side.command("WORKERS") == 7


@rule("P-1.10.10")
def results_of_the_held(stage: Stage) -> None:
    side = stage.side()
    manager = stage.manager(side).enlist(side)
    task = side.task()
    manager.tasks(1)
    side.hold("manager-a")
    frame = manager.answer(task["task_id"])
    assert side.result_raw() == frame


@rule("P-1.10.11")
def unknown_commands(stage: Stage) -> None:
    side = stage.side()
    for request in UNKNOWN_COMMANDS:
        reply = side.command(request)
        assert reply is None, f"{request!r} is answered with {reply!r}"


@rule("P-1.10.12")
def commands_that_are_no_pickle(stage: Stage) -> None:
    side = stage.side()
    for frame in (b"", b"\x80", b"not a pickle", b"\x80\x04.", b"(" * 5000, deep_nesting(9999)):
        side.command_raw(frame)
    side.work_goes_on()


@rule("P-1.10.13")
def holds_of_the_unknown(stage: Stage) -> None:
    side = stage.side()
    reply = side.hold("nobody")
    assert reply is None, f"it is {reply!r}"
    side.work_goes_on()


@rule("P-1.10.14")
def holds_of_names_that_are_not_text(stage: Stage) -> None:
    side = stage.side()
    for name in (5, None, b"manager-a", ["x"], 2**70):
        side.command(["HOLD_MANAGER", name])
    side.work_goes_on()


@rule("P-1.10.15")
def commands_under_load(stage: Stage) -> None:
    side = stage.side(logging_level=20)
    stage.manager(side).enlist(side, max_capacity=1)
    for _ in range(5000):
        side.task(b"x" * 1024)
    for request in ("CONNECTED_BLOCKS", "MANAGERS") * 10:
        begin = time.monotonic()
        side.command(request, within_s=REPLY_S + PATIENCE_S)
        took_s = time.monotonic() - begin
        assert took_s < REPLY_S, f"{request} took {took_s:.1f} s"


@rule("P-1.10.16")
def commands_of_any_protocol(stage: Stage) -> None:
    side = stage.side()
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        reply = pickle.loads(side.command_raw(pickle.dumps("CONNECTED_BLOCKS", protocol)))
        assert reply == [], f"protocol {protocol}: {reply!r}"
