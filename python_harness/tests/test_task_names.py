"""Tasks that name objects which a manager cannot import. Such a task ends the manager that loads
it, and no other task is lost by sharing a batch with it."""

from __future__ import annotations

import sys
import types
import uuid
from pathlib import Path

import pytest
from parsl.executors.high_throughput.errors import ManagerLost

from harness.htex import executors, jobs

RESULT_S = 120

pytestmark = pytest.mark.ours_only("stock sends them in one batch with others, and dies of them")


@pytest.fixture
def homeless(monkeypatch):
    """A class whose module exists in this process only, like a class that a notebook defines."""
    module = types.ModuleType("only_here")
    monkeypatch.setitem(sys.modules, "only_here", module)
    module.Homeless = type("Homeless", (), {"__module__": "only_here"})
    return module.Homeless


def registered(manager, capacity: int):
    """Registers a manager without waiting: batches may follow at once, and are read one by one."""
    manager.probe()
    manager.register(max_capacity=capacity)
    return manager


def batches_of(manager, count: int) -> list[list[int]]:
    """Returns the ids in each batch, until this many tasks have arrived."""
    batches: list[list[int]] = []
    while sum(map(len, batches)) < count:
        batches.append([task["task_id"] for task in manager.batch()])
    return batches


def test_a_task_with_foreign_names_shares_no_batch(start, connect, homeless):
    side = start()
    plain, foreign = {"x": uuid.UUID(int=1)}, {"x": homeless()}
    for task_id, context in enumerate([plain, plain, foreign, foreign, plain, plain], start=1):
        side.submit(task_id, b"", context)
    side.interchange.wait_for_log("Put task 6 onto pending_task_queue")
    manager = registered(connect(side), 9)
    assert batches_of(manager, 6) == [[1, 2], [3], [4], [5, 6]]


def test_a_real_manager_that_ends_of_a_foreign_name_is_reported(tmp_path, homeless):
    """The manager's receiving thread ends. The process is silent from then on, and is declared
    lost."""
    with executors.running(tmp_path / "run", heartbeat_threshold=3) as htex:
        (row,) = htex.connected_managers()
        bad = htex.submit_payload({"x": homeless()}, b"")
        others = [htex.submit(jobs.add, {}, number, 1) for number in range(5)]
        htex.scale_out_facade(1)
        with pytest.raises(ManagerLost):
            bad.result(RESULT_S)
        assert [future.result(RESULT_S) for future in others] == [1, 2, 3, 4, 5]
        log = (Path(htex.logdir) / "interchange.log").read_text()
    (line,) = [line for line in log.splitlines() if "may have ended because of" in line]
    assert f"task {bad.parsl_executor_task_id}, which refers to only_here.Homeless" in line
    assert row["manager"] in line


def test_a_priority_of_a_class_of_the_users_is_served(start, connect, homeless):
    """The class is foreign, but its instances are numbers."""
    number = type("Number", (int,), {"__module__": "only_here"})
    sys.modules["only_here"].Number = number
    side = start()
    for task_id, priority in enumerate([number(5), 3, number(1)], start=1):
        side.submit(task_id, b"", {"resource_spec": {"priority": priority}})
    side.interchange.wait_for_log("Put task 3 onto pending_task_queue")
    manager = registered(connect(side), 9)
    assert batches_of(manager, 3) == [[3], [2], [1]]
