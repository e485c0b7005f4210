"""A node on which every task fails, among working nodes: real managers and workers. The node is
reported, and it gets no more tasks if it is held."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_status import place, status  # noqa: F401

from harness.htex import jobs
from harness.htex.executors import add_blocks, running
from harness.htex.interchange import command_under_test
from harness.machine.waiting import wait_until

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.ours_only("stock does not look at what results hold"),
]

RESULT_S = 60
# How long a task takes on a working node.
TASK_S = 0.25
AT_ONCE = 40
TASKS_MAX = 4000


def nodes(run_dir: Path, *flags: str, **options):
    command = [*command_under_test(), *flags]
    return running(run_dir, blocks=0, interchange_launch_cmd=command, **options)


def break_the_next_block(htex) -> None:
    htex.launch_cmd = f"export {jobs.BROKEN_NODE}=yes; {htex.launch_cmd}"


def warnings(htex) -> list[str]:
    log = (Path(htex.logdir) / "interchange.log").read_text()
    return [line for line in log.splitlines() if "fails every task" in line]


def findings(htex) -> str:
    return status(htex.run_dir).stdout


def work_until_told(htex) -> list:
    """Submits tasks until a node is reported, so that some tasks always wait."""
    futures = []
    while not warnings(htex):
        open_tasks = sum(not future.done() for future in futures)
        more = max(0, AT_ONCE - open_tasks)
        futures += [htex.submit(jobs.work_unless_broken, {}, TASK_S) for _ in range(more)]
        assert len(futures) < TASKS_MAX, "a node that fails everything is not told of"
    return futures


def test_a_broken_node_is_reported(tmp_path):
    with nodes(tmp_path / "run") as htex:
        add_blocks(htex, 2)
        break_the_next_block(htex)
        add_blocks(htex, 1)
        work_until_told(htex)
        [told] = warnings(htex)
        assert " WARNING: " in told and "(block 2)" in told, told
        assert "--hold-failing-managers" in told, told
        assert all(manager["active"] for manager in htex.connected_managers())
        wait_until(
            lambda: "1 manager fails every task" in findings(htex),
            RESULT_S,
            "status says so",
            every_s=0.2,
            context=lambda: findings(htex),
        )


def test_a_broken_node_is_held(tmp_path):
    with nodes(tmp_path / "run", "--hold-failing-managers") as htex:
        add_blocks(htex, 2)
        break_the_next_block(htex)
        add_blocks(htex, 1)
        work_until_told(htex)
        active = {manager["block_id"]: manager["active"] for manager in htex.connected_managers()}
        assert active == {"0": True, "1": True, "2": False}
        [told] = warnings(htex)
        assert "The manager is held" in told, told
        assert "it is held" in findings(htex)
        # No more tasks fail.
        futures = [htex.submit(jobs.work_unless_broken, {}, 0.01) for _ in range(50)]
        assert {future.result(RESULT_S) for future in futures} == {"0", "1"}


def test_no_manager_is_held_where_all_nodes_are_broken(tmp_path):
    with nodes(tmp_path / "run", "--hold-failing-managers") as htex:
        break_the_next_block(htex)
        add_blocks(htex, 2)
        for _ in range(4):
            all_raise(htex)
        assert not warnings(htex)
        assert all(manager["active"] for manager in htex.connected_managers())


def test_the_last_node_is_not_held(tmp_path):
    """The last node is not held, although tasks of the node that was held before it succeed at the
    same time."""
    with nodes(tmp_path / "run", "--hold-failing-managers", max_workers_per_node=2) as htex:
        add_blocks(htex, 1)
        files = [(tmp_path / f"started{n}", tmp_path / f"proceed{n}") for n in range(2)]
        good = [htex.submit(jobs.touch_and_wait, {}, *map(str, pair)) for pair in files]
        wait_until(lambda: all(started.exists() for started, _ in files), RESULT_S, "both run")
        break_the_next_block(htex)
        add_blocks(htex, 1)
        htex._hold_block("0")
        all_raise(htex)
        for _, proceed in files:
            proceed.touch()
        assert all(future.result(RESULT_S) for future in good)
        all_raise(htex)
        assert not warnings(htex)
        assert [manager["active"] for manager in htex.connected_managers()] == [False, True]


def all_raise(htex) -> None:
    futures = [htex.submit(jobs.work_unless_broken, {}, TASK_S) for _ in range(50)]
    assert all(isinstance(future.exception(RESULT_S), OSError) for future in futures)
