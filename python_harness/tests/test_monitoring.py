"""What the monitoring hub receives: NODE_INFO at the right moments, in the types that it
requires."""

from __future__ import annotations

import datetime
import pickle
import sqlite3
import time

import parsl
import pytest
from parsl.monitoring import MonitoringHub
from parsl.monitoring.message_type import MessageType

from harness.htex import jobs
from harness.htex.executors import kernel_config
from harness.machine.waiting import wait_until

NEEDED_BY_THE_DATABASE = {
    "run_id",
    "hostname",
    "uid",
    "block_id",
    "cpu_count",
    "total_memory",
    "active",
    "worker_count",
    "python_v",
    "timestamp",
    "last_heartbeat",
}


def one_task(side, manager, task_id: int = 1) -> None:
    side.submit(task_id)
    manager.tasks(1)
    manager.answer(task_id)
    side.result()


def test_exactly_four_reports_for_one_task_on_one_manager(start, connect, encrypted):
    """Registration, dispatch, result and hold cause one report each: Parsl's own test counts the
    rows."""
    side = start(encrypted=encrypted, hub=True)
    manager = connect(side).enlist(side)
    one_task(side, manager)
    manager.beat()
    side.command(["HOLD_MANAGER", "manager-a"])
    manager.beat()
    reports = [side.report() for _ in range(4)]
    assert [kind for kind, _ in reports] == [MessageType.NODE_INFO] * 4
    registered, dispatched, answered, held = (row for _, row in reports)
    assert [registered["tasks"], dispatched["tasks"], answered["tasks"]] == [[], [1], []]
    assert [row["active"] for _, row in reports] == [True, True, True, False]
    assert held["uid"] == "manager-a"
    side.managers()
    assert side.pending_reports() == []


def test_report_has_what_the_database_needs(start, connect):
    side = start(hub=True)
    before = datetime.datetime.now()
    connect(side).enlist(side, block_id="3", cpu_count=4)
    message = side.report()
    assert type(message) is tuple and len(message) == 2
    kind, row = message
    assert kind is MessageType.NODE_INFO
    assert row.keys() >= NEEDED_BY_THE_DATABASE
    for name in ("timestamp", "last_heartbeat"):
        moment = row[name]
        assert type(moment) is datetime.datetime and moment.tzinfo is None
        # Naive local time, accurate to the second at least.
        assert abs((moment - before).total_seconds()) < 10
    assert (row["run_id"], row["hostname"], row["block_id"]) == ("a-run", "fake-host", "3")
    assert row["packages"] == {"parsl": "2026.10.26", "dill": "0.4"}
    assert row["active"] is True and row["tasks"] == [] and row["cpu_count"] == 4


def test_placement_is_reported_before_the_result(start, connect):
    """An application reads the placement immediately after the future is done."""
    side = start(hub=True)
    manager = connect(side).enlist(side, max_capacity=2)
    side.report()
    side.submit(1)
    manager.tasks(1)
    _, row = side.report(within_s=2)
    assert row["tasks"] == [1] and row["block_id"] == "0"
    manager.answer(1)
    side.result()


def test_expiry_and_drain_are_reported_as_inactive(start, connect):
    side = start(hub=True, heartbeat_threshold=1)
    drained = connect(side, b"drained").enlist(side)
    connect(side, b"silent").enlist(side)
    drained.send({"type": "drain"})
    drained.expect_shutdown()
    last = {}
    wait_until(
        lambda: (
            last.update((row["uid"], row["active"]) for _, row in side.pending_reports())
            or last == {"drained": False, "silent": False}
        ),
        5,
        "both are reported inactive",
    )


def test_payload_of_a_manager_is_forwarded(start, connect):
    side = start(hub=True)
    manager = connect(side).enlist(side)
    side.report()
    payload = (
        MessageType.RESOURCE_INFO,
        {"task_id": 1, "when": datetime.datetime(2026, 1, 2), "t": (1, 2), "blob": b"\0" * 300},
    )
    manager.send({"type": "monitoring", "payload": payload})
    message = side.report()
    assert message == payload and type(message[1]["t"]) is tuple


@pytest.mark.ours_only("stock since 2026.10.5 drops messages of older managers")
def test_payload_behind_a_marker_frame(start, connect):
    side = start(hub=True)
    manager = connect(side).enlist(side)
    side.report()
    payload = (MessageType.RESOURCE_INFO, {"task_id": 1})
    manager.send_frames(
        pickle.dumps({"type": "result"}),
        pickle.dumps({"type": "monitoring", "payload": payload}),
    )
    assert side.report() == payload


@pytest.mark.ours_only("stock dies of it")
def test_payload_without_a_hub_is_dropped(start, connect):
    side = start()
    manager = connect(side).enlist(side)
    manager.send({"type": "monitoring", "payload": (MessageType.RESOURCE_INFO, {})})
    one_task(side, manager)


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_absent_hub_blocks_nothing(start, connect, encrypted, measured):
    side = start(launch=False, encrypted=encrypted, hub=True, logging_level=20)
    port = side.config()["hub_zmq_port"]
    side.hub_context.destroy(linger=0)
    side.hub_context = side.hub = None
    side.overrides["hub_zmq_port"] = port
    side.launch()
    manager = connect(side).enlist(side)
    for task_id in range(1, 200):
        one_task(side, manager, task_id)
    took_s = side.interchange.terminate()
    measured(f"SIGTERM with an absent hub: {took_s * 1000:.1f} ms")
    assert took_s < 4.0


@pytest.mark.timeout(150)
def test_real_hub_with_its_database(removable):
    """Parsl's MonitoringHub with sqlite: one task on one real manager makes four node rows."""
    hello = parsl.python_app(jobs.echo)
    config = kernel_config(removable, monitoring=MonitoringHub(resource_monitoring_interval=1.0))
    with parsl.load(config) as kernel:
        assert hello("hello").result(timeout=60) == "hello"
        executor = kernel.executors["htex"]
        begin = time.monotonic()
        executor.connected_managers()
        assert time.monotonic() - begin < 5
    database = sqlite3.connect(removable / "monitoring.db")
    with database:
        (nodes,) = database.execute("select count(*) from node").fetchone()
        (resources,) = database.execute("select count(*) from resource").fetchone()
        (hosts,) = database.execute("select count(distinct hostname) from node").fetchone()
    database.close()
    assert nodes == 4 and hosts == 1
    assert resources >= 1
