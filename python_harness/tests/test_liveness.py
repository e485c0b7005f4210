"""Managers that send heartbeats, fall silent, return, drain or change their connection; and version
checks."""

from __future__ import annotations

import os
import pickle
import signal
import time
from functools import partial

import pytest
from parsl.app.errors import RemoteExceptionWrapper
from parsl.executors.high_throughput.errors import ManagerLost, VersionMismatch
from parsl.serialize import deserialize

from harness.fakes.wire import HEARTBEAT_CODE, registration
from harness.htex.interchange import command_under_test, stock_under_test
from harness.machine.waiting import wait_until

DRAIN_REACTION_S = 2.0


def gone(side) -> bool:
    return side.managers() == []


def test_probe_is_answered_before_registration(start, connect):
    side = start()
    manager = connect(side)
    manager.probe()
    manager.probe()
    assert side.managers() == []


def test_probe_socket_then_real_socket_with_one_identity(start, connect, encrypted):
    """A manager probes, closes its connection, and immediately connects again with the same
    identity."""
    side = start(encrypted=encrypted)
    for _ in range(10):
        probe = connect(side, b"one-name")
        probe.probe()
        probe.close()
        manager = connect(side, b"one-name")
        # Parsl's interchange ignores a reconnection that is made before the old connection is torn
        # down.
        if stock_under_test():
            wait_until(partial(_probe_answered, manager), 10, "the probe is answered")
        else:
            manager.probe(within_s=3)
        manager.close()


def _probe_answered(manager) -> bool:
    manager.send({"type": "connection_probe"})
    return bool(manager.socket.poll(200))


def test_several_probes_at_once_with_one_identity(start, connect):
    """HTEX without `address` makes managers probe every interface at the same time."""
    side = start(interchange_address=None)
    probes = [connect(side, b"one-name") for _ in range(4)]
    for probe in probes:
        probe.send({"type": "connection_probe"})
    wait_until(lambda: any(probe.socket.poll(0) for probe in probes), 5, "an answer")
    for probe in probes:
        probe.close()
    connect(side, b"another").enlist(side)


def test_heartbeat_is_echoed(start, connect):
    side = start()
    manager = connect(side).enlist(side)
    manager.send({"type": "heartbeat"})
    assert pickle.loads(manager.receive()) == HEARTBEAT_CODE


@pytest.mark.quick
def test_silent_manager_is_expired_and_its_tasks_fail(start, connect):
    side = start(heartbeat_threshold=2)
    manager = connect(side, b"silent").enlist(side, max_capacity=2, hostname="the-host")
    side.submit(1)
    side.submit(2)
    manager.tasks(2)
    failures = [side.result(within_s=5), side.result(within_s=1)]
    assert sorted(failure["task_id"] for failure in failures) == [1, 2]
    for failure in failures:
        assert failure["type"] == "result"
        wrapper = deserialize(failure["exception"])
        assert isinstance(wrapper, RemoteExceptionWrapper)
        with pytest.raises(ManagerLost) as caught:
            wrapper.reraise()
        lost = caught.value
        assert type(lost) is ManagerLost
        assert (lost.manager_id, lost.hostname) == (b"silent", "the-host")
        assert str(lost) == "Task failure due to loss of manager silent on host the-host"
    assert gone(side)
    side.settle_log()
    assert side.interchange.log_lines("WARNING", "silent")


def test_manager_that_beats_is_kept(start, connect):
    side = start(heartbeat_threshold=3)
    manager = connect(side).enlist(side)
    end = time.monotonic() + 4.5
    while time.monotonic() < end:
        manager.beat()
        assert len(side.managers()) == 1
        manager.socket.poll(100)


@pytest.mark.ours_only("for stock only heartbeats are a sign of life")
def test_any_message_of_a_manager_shows_that_it_lives(start, connect):
    side = start(heartbeat_threshold=3)
    manager = connect(side).enlist(side)
    end = time.monotonic() + 4.5
    task_id = 0
    while time.monotonic() < end:
        task_id += 1
        side.submit(task_id)
        manager.tasks(1)
        manager.answer(task_id)
        assert "result" in side.result()
        manager.socket.poll(100)
    assert len(side.managers()) == 1


def test_messages_of_unknown_managers_are_ignored(start, connect):
    side = start()
    stranger = connect(side, b"stranger")
    for message in (
        {"type": "heartbeat"},
        {"type": "drain"},
        {"type": "result", "task_id": 1, "result": b""},
        {"type": "monitoring", "payload": (1, {})},
    ):
        stranger.send(message)
    # The answer to the probe follows all of these messages, and no other message came before it.
    stranger.probe()
    assert side.managers() == []
    assert not side.results.poll(0)
    side.settle_log()
    assert len(side.interchange.log_lines("WARNING", "stranger")) == 4


def test_late_result_of_an_expired_manager_is_dropped(start, connect):
    """A suspended manager resumes and answers tasks that have already failed."""
    side = start(heartbeat_threshold=3)
    manager = connect(side).enlist(side)
    side.submit(1)
    manager.tasks(1)
    assert "exception" in side.result(within_s=15)
    manager.answer(1)
    fresh = connect(side, b"fresh").enlist(side)
    side.submit(2)
    fresh.tasks(1)
    fresh.answer(2)
    assert side.result()["task_id"] == 2


@pytest.mark.ours_only("stock leaves it waiting for its own threshold")
def test_an_expired_manager_that_speaks_again_is_told_to_exit(start, connect):
    side = start(heartbeat_threshold=1)
    manager = connect(side).enlist(side)
    wait_until(lambda: gone(side), 15, "it is expired")
    manager.send({"type": "heartbeat"})
    manager.expect_shutdown(within_s=10)


@pytest.mark.ours_only("stock blames its managers for its own sleep")
def test_heartbeats_in_the_kernel_count_when_the_interchange_was_stopped(start, connect):
    """The interchange is stopped for a moment around the deadlines of its managers. Their
    heartbeats have arrived, but libzmq's thread has to read them first."""
    side = start(heartbeat_threshold=2)
    managers = [connect(side, f"m{number}".encode()) for number in range(20)]
    for _ in range(5):
        for manager in managers:
            manager.register()
            manager.beat()
        heard_at = time.monotonic()
        for manager in managers:
            manager.beat()
        # The test needs exactly these times.
        time.sleep(heard_at + 1.8 - time.monotonic())
        os.kill(side.interchange.pid, signal.SIGSTOP)
        for manager in managers:
            manager.send({"type": "heartbeat"})
        time.sleep(0.9)
        os.kill(side.interchange.pid, signal.SIGCONT)
        for manager in managers:
            assert pickle.loads(manager.receive()) == HEARTBEAT_CODE
    assert len(side.managers()) == len(managers)


@pytest.mark.ours_only("stock does not notice")
def test_managers_that_register_and_disconnect_are_suspect(start, connect):
    """The interchange may read the registrations only after the connections are closed, when other
    connections use their descriptors."""
    side = start()
    ghosts = [connect(side, f"ghost{number}".encode()) for number in range(20)]
    for ghost in ghosts:
        ghost.probe()
    for ghost in ghosts:
        ghost.register()
        # The registration is sent before the connection is closed.
        ghost.socket.close(linger=5000)
    suspect = " is disconnected, with 0 tasks in flight"
    wait_until(
        lambda: len(side.interchange.log_lines("INFO", suspect)) >= len(ghosts),
        5,
        "all of them are suspect",
        context=side.interchange.tail,
    )
    stayer = connect(side, b"stayer").enlist(side, max_capacity=20)
    for task_id in range(1, 21):
        side.submit(task_id)
    assert len(stayer.tasks(20)) == 20


@pytest.mark.parametrize("off_by_s", [-365 * 86400, 365 * 86400], ids=["behind", "ahead"])
@pytest.mark.ours_only("stock compares the clocks")
def test_the_clock_of_a_manager_may_be_off(start, connect, off_by_s):
    side = start()
    clock_s = time.time() + off_by_s
    drains = connect(side, b"drains").enlist(side, start_time=clock_s, drain_time=clock_s + 3.0)
    stays = connect(side, b"stays")
    stays.enlist(side, start_time=clock_s, drain_time=clock_s + 3600)
    drains.expect_shutdown(within_s=10)
    assert [row["manager"] for row in side.managers()] == ["stays"]


def test_drain_message_of_an_idle_manager(start, connect):
    side = start()
    manager = connect(side).enlist(side)
    manager.send({"type": "drain"})
    manager.expect_shutdown(within_s=2)
    assert gone(side)


def test_drain_message_of_a_busy_manager(start, connect):
    side = start()
    manager = connect(side).enlist(side, max_capacity=2)
    side.submit(1)
    manager.tasks(1)
    manager.send({"type": "drain"})
    manager.beat()
    (row,) = side.managers()
    assert row["draining"] is True and row["active"] is True and row["tasks"] == 1
    side.submit(2)
    side.interchange.wait_for_log("Put task 2 onto pending_task_queue")
    assert manager.holds_nothing_new()
    manager.answer(1)
    assert side.result()["task_id"] == 1
    manager.expect_shutdown(within_s=2)
    assert gone(side)
    assert connect(side, b"next").enlist(side).tasks(1)[0]["task_id"] == 2


def test_drain_time_needs_no_traffic(start, connect, measured):
    side = start()
    drain_at = time.time() + 3.0
    manager = connect(side).enlist(side, drain_time=drain_at, max_capacity=2)
    side.submit(1)
    manager.tasks(1)
    assert side.managers()[0]["draining"] is False
    manager.socket.poll((drain_at - time.time()) * 1000)
    wait_until(lambda: side.managers()[0]["draining"], DRAIN_REACTION_S, "the flag is set")
    measured(f"draining seen {(time.time() - drain_at) * 1000:.0f} ms after the drain time")
    manager.answer(1)
    manager.expect_shutdown(within_s=DRAIN_REACTION_S)
    assert gone(side)


@pytest.mark.parametrize(
    "never",
    [
        float("nan"),
        pytest.param("soon", marks=pytest.mark.ours_only("stock dies of it")),
        pytest.param(None, marks=pytest.mark.ours_only("stock dies of it")),
    ],
    ids=repr,
)
def test_unreadable_drain_time_is_never(start, connect, never):
    side = start()
    manager = connect(side).enlist(side, drain_time=never)
    side.submit(1)
    assert manager.tasks(1)
    assert side.managers()[0]["draining"] is False


def test_drain_time_far_ahead_or_infinite(start, connect):
    side = start()
    for number, when in enumerate((float("inf"), 1e300, time.time() + 1e6)):
        connect(side, f"m{number}".encode()).enlist(side, drain_time=when)
    assert [row["draining"] for row in side.managers()] == [False] * 3


@pytest.mark.ours_only("stock forgets the tasks that it held")
def test_registering_again_does_not_forget_tasks_in_hand(start, connect):
    side = start(heartbeat_threshold=3)
    manager = connect(side).enlist(side, max_capacity=2)
    side.submit(1)
    manager.tasks(1)
    manager.register(max_capacity=2)
    manager.beat()
    # The manager may still hold the task, or the task was given up: its future ends exactly once in
    # both cases.
    manager.answer(1)
    assert side.result(within_s=6)["task_id"] == 1
    side.managers()
    assert not side.results.poll(0)


@pytest.mark.ours_only("stock does not notice")
def test_manager_whose_connection_closed_gets_nothing_new(start, connect):
    """A task that is submitted afterwards goes to the manager that is still connected."""
    side = start()
    leaver = connect(side, b"leaver", watched=True).enlist(side, max_capacity=5)
    stayer = connect(side, b"stayer").enlist(side, max_capacity=5)
    _, port = leaver.local_endpoint()
    leaver.close()
    wait_until(
        lambda: len(side.interchange.log_lines("INFO", f" port {port}")) >= 2,
        3,
        "connection and disconnection are logged",
        context=side.interchange.tail,
    )
    for task_id in range(1, 6):
        side.submit(task_id)
    assert len(stayer.tasks(5)) == 5


@pytest.mark.ours_only("stock has no such option")
def test_disconnected_manager_is_lost_after_the_grace(start, connect, encrypted, measured):
    grace_s, threshold_s = 1.5, 30
    command = [*command_under_test(), "--disconnect-grace", str(grace_s)]
    side = start(command=command, encrypted=encrypted, heartbeat_threshold=threshold_s)
    leaver = connect(side, b"leaver").enlist(side, max_capacity=2)
    for task_id in (1, 2):
        side.submit(task_id)
    leaver.tasks(2)
    stayer = connect(side, b"stayer").enlist(side, max_capacity=1)
    side.submit(3)
    stayer.tasks(1)
    begin = time.monotonic()
    leaver.close()
    failures = [side.result(within_s=threshold_s / 3), side.result()]
    took_s = time.monotonic() - begin
    measured(f"lost {took_s - grace_s:.2f} s after the grace")
    assert sorted(failure["task_id"] for failure in failures) == [1, 2]
    for failure in failures:
        with pytest.raises(ManagerLost):
            deserialize(failure["exception"]).reraise()
    assert took_s >= grace_s
    # No other manager is affected.
    assert [row["manager"] for row in side.managers()] == ["stayer"]
    stayer.answer(3)
    assert side.result()["task_id"] == 3
    # A result that arrives now is counted as late.
    late = connect(side, b"leaver")
    late.answer(1)
    late.expect_shutdown()
    side.interchange.wait_for_log("late result number 1")
    side.interchange.terminate()
    assert "1 results of managers that were no longer registered" in side.interchange.log()


@pytest.mark.ours_only("stock has no such option")
def test_manager_that_reconnects_within_the_grace_keeps_its_tasks(start, connect, encrypted):
    grace_s = 4.0
    command = [*command_under_test(), "--disconnect-grace", str(grace_s)]
    side = start(command=command, encrypted=encrypted, heartbeat_threshold=30)
    first = connect(side, b"one-name").enlist(side, max_capacity=2)
    for task_id in (1, 2):
        side.submit(task_id)
    first.tasks(2)
    first.close()
    side.interchange.wait_for_log("is disconnected, with 2 tasks in flight")
    second = connect(side, b"one-name")
    second.beat()
    # The grace period of the closed connection has no effect.
    assert not side.results.poll(1.3 * grace_s * 1000)
    (row,) = side.managers()
    assert row["tasks"] == 2
    for task_id in (1, 2):
        second.answer(task_id)
        assert "result" in side.result()
    side.submit(3)
    assert second.tasks(1)[0]["task_id"] == 3


MISMATCHES = {
    "parsl": {"parsl_v": "1999.01.01"},
    "python": {"python_v": "2.7.18"},
}


@pytest.mark.expect_death
@pytest.mark.expect_error("version")
@pytest.mark.parametrize("fields", MISMATCHES.values(), ids=MISMATCHES)
def test_version_mismatch_ends_the_executor(start, connect, encrypted, fields):
    side = start(encrypted=encrypted)
    manager = connect(side)
    manager.probe()
    manager.register(**fields)
    message = side.result(within_s=5)
    assert message["task_id"] == -1 and message["type"] == "result"
    mismatch = deserialize(message["exception"])
    assert type(mismatch) is VersionMismatch
    assert mismatch.manager_version == (
        f"py.v={fields.get('python_v', _python_minor()).rsplit('.', 1)[0]}"
        f" parsl.v={fields.get('parsl_v', registration('')['parsl_v'])}"
    )
    assert mismatch.interchange_version == (
        f"py.v={_python_minor().rsplit('.', 1)[0]} parsl.v={registration('')['parsl_v']}"
    )
    side.interchange.wait_exit(within_s=5)


def _python_minor() -> str:
    return registration("")["python_v"]


def test_patch_level_of_python_may_differ(start, connect):
    side = start()
    major, minor, _ = _python_minor().split(".")
    connect(side).enlist(side, python_v=f"{major}.{minor}.99")
    assert side.managers()[0]["python_version"] == f"{major}.{minor}.99"


@pytest.mark.parametrize("fields", MISMATCHES.values(), ids=MISMATCHES)
def test_version_mismatch_can_be_allowed(start, connect, fields):
    """The setting of Globus Compute; block id and packages as in Parsl's own test of it."""
    side = start(_check_python_mismatch=False)
    manager = connect(side)
    manager.probe()
    message = registration("manager-a", block_id=0, **fields)
    del message["packages"]
    manager.send(message)
    manager.beat()
    (row,) = wait_until(side.managers, 5, "the manager is listed")
    assert row["block_id"] == 0
    side.submit(1)
    manager.tasks(1)
