"""Tests the rules of section 1.11 (monitoring)."""

from __future__ import annotations

import datetime

from parsl.monitoring.message_type import MessageType

from harness.conformance.registry import rule
from harness.conformance.stage import PATIENCE_S, Manager, Side, Stage
from harness.machine.waiting import wait_until

NEEDED_BY_THE_DATABASE = {
    "run_id": str,
    "hostname": str,
    "uid": str,
    "block_id": str,
    "cpu_count": int,
    "total_memory": int,
    "active": bool,
    "worker_count": int,
    "python_v": str,
    "timestamp": datetime.datetime,
    "last_heartbeat": datetime.datetime,
}


def one_task(side: Side, manager: Manager) -> int:
    task = side.task()
    manager.tasks(1)
    manager.answer(task["task_id"])
    side.result_raw()
    return task["task_id"]


@rule("P-1.11.1")
def four_reports(stage: Stage) -> None:
    side = stage.side(hub=True)
    manager = stage.manager(side).enlist(side)
    task_id = one_task(side, manager)
    manager.read_so_far()
    side.hold("manager-a")
    reports = [side.report() for _ in range(4)]
    kinds = [kind for kind, _ in reports]
    assert kinds == [MessageType.NODE_INFO] * 4, f"they are {kinds}"
    told = [(row["tasks"], row["active"]) for _, row in reports]
    expected = [([], True), ([task_id], True), ([], True), ([], False)]
    assert told == expected, f"tasks and activity are {told}"


@rule("P-1.11.2")
def for_the_database(stage: Stage) -> None:
    side = stage.side(hub=True)
    stage.manager(side).enlist(side)
    _, row = side.report()
    for name, kind in NEEDED_BY_THE_DATABASE.items():
        assert type(row.get(name)) is kind, f"{name} is {row.get(name)!r}"
    for name in ("timestamp", "last_heartbeat"):
        off = datetime.datetime.now() - row[name]
        assert row[name].tzinfo is None, f"{name} has a time zone"
        assert abs(off.total_seconds()) < 60, f"{name} is {row[name]}"
    assert (row["run_id"], row["uid"]) == ("a-run", "manager-a")


@rule("P-1.11.3")
def payloads(stage: Stage) -> None:
    side = stage.side(hub=True)
    manager = stage.manager(side).enlist(side)
    side.report()
    when = datetime.datetime(2026, 1, 2)
    body = {"task_id": 1, "when": when, "t": (1, 2), "blob": b"\0" * 300}
    for kind in MessageType:
        manager.item({"type": "monitoring", "payload": (kind, body)})
        came = side.report()
        assert came == (kind, body) and type(came[1]["t"]) is tuple, f"{came!r}"


@rule("P-1.11.4")
def lost_and_drained_managers_are_inactive(stage: Stage) -> None:
    side = stage.side(hub=True, heartbeat_threshold=1)
    drained = stage.manager(side, "drained").enlist(side)
    stage.manager(side, "silent").enlist(side)
    drained.send({"type": "drain"})
    last: dict[str, bool] = {}

    def both() -> bool:
        last.update((row["uid"], row["active"]) for _, row in side.pending_reports())
        return last == {"drained": False, "silent": False}

    wait_until(both, 1 + PATIENCE_S, "both are reported inactive")


@rule("P-1.11.5")
def the_hub_may_be_absent(stage: Stage) -> None:
    side = stage.side(hub=True, launch=False)
    side.overrides["hub_zmq_port"] = side.config()["hub_zmq_port"]
    side.hub_context.destroy(linger=0)
    side.hub = side.hub_context = None
    side.start()
    # More reports than fit below a high-water mark of 1000 messages.
    count = 1100
    manager = stage.manager(side).enlist(side, max_capacity=count)
    side.tasks_of(count)
    for task in manager.tasks(count):
        manager.answer(task["task_id"])
    for _ in range(count):
        side.result_raw()
    took_s = side.interchange.terminate(within_s=5.0)
    assert took_s < 5.0


@rule("P-1.11.6")
def records_without_a_hub(stage: Stage) -> None:
    side = stage.side()
    manager = stage.manager(side).enlist(side, max_capacity=0)
    manager.item({"type": "monitoring", "payload": (MessageType.RESOURCE_INFO, {})})
    manager.read_so_far()
    side.work_goes_on()


def a_report_comes(stage: Stage) -> None:
    side = stage.side(hub=True, encrypted=True)
    stage.manager(side).enlist(side)
    kind, _ = side.report()
    assert kind is MessageType.NODE_INFO


@rule("P-1.11.7")
def an_encrypted_hub(stage: Stage) -> None:
    a_report_comes(stage)


@rule("P-1.11.8")
def a_plain_hub(stage: Stage) -> None:
    a_report_comes(stage)
