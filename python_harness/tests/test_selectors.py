"""Manager selectors written by a user: the submit side's Python runs them, one request at a
time."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path

import pytest

from harness.htex import executors, jobs, selectors
from harness.machine import processes
from harness.machine.waiting import wait_until

HARNESS = Path(__file__).resolve().parents[1]
RESULT_S = 60


@pytest.fixture(autouse=True)
def selectors_can_be_imported(monkeypatch):
    """Makes selectors importable, as a user's module is when it is installed or on PYTHONPATH."""
    monkeypatch.setenv("PYTHONPATH", str(HARNESS))


def helpers_of(side) -> list[processes.Process]:
    own = side.interchange.pid
    return [p for p in processes.running_descendants() if p.ppid == own]


def is_running(process: processes.Process) -> bool:
    now = processes.read(process.pid)
    return process.same_as(now) and now.running


def records(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_last_of_its_list_gets_the_work(start, connect, encrypted):
    side = start(encrypted=encrypted, manager_selector=selectors.AlphabeticalSelector())
    managers = {
        name: connect(side, name.encode()).enlist(side) for name in ("m-b", "m-d", "m-a", "m-c")
    }
    for task_id, name in enumerate(["m-d", "m-c", "m-b", "m-a"], start=1):
        side.submit(task_id)
        assert managers[name].tasks(1)[0]["task_id"] == task_id
    # Managers that are full are no candidates; a manager with a free slot is one again.
    side.submit(5)
    managers["m-b"].answer(3)
    assert managers["m-b"].tasks(1)[0]["task_id"] == 5


def test_each_manager_of_its_order_is_filled_before_the_next(start, connect):
    """A single answer of the selector places tasks on all free slots, however many there are."""
    slots, count = 3000, 4000
    side = start(manager_selector=selectors.GatheringSelector(2))
    for task_id in range(1, count + 1):
        side.submit(task_id)
    side.interchange.wait_for_log(f"Put task {count} onto pending_task_queue", within_s=20)
    second = connect(side, b"m-a").enlist(side, max_capacity=slots)
    first = connect(side, b"m-b").enlist(side, max_capacity=slots)

    def in_hand() -> dict[str, int]:
        return {row["manager"]: row["tasks"] for row in side.managers()}

    wait_until(lambda: sum(in_hand().values()) == count, 10, "all of them are handed out")
    assert in_hand() == {"m-b": slots, "m-a": count - slots}
    assert [task["task_id"] for task in first.tasks(slots)] == list(range(1, slots + 1))
    assert second.tasks(1)[0]["task_id"] == slots + 1


def test_it_sees_the_records_that_parsl_shows(start, connect, tmp_path):
    seen = tmp_path / "seen"
    side = start(manager_selector=selectors.RecordingSelector(seen))
    first = connect(side, b"m-a").enlist(side, block_id="7", max_capacity=2)
    connect(side, b"m-b").enlist(side, block_id="8")
    side.submit(1)
    side.submit(2)
    wait_until(lambda: seen.exists() and records(seen), 10, "it was asked")
    side.submit(3)
    first.tasks(2)
    first.answer(2)
    first.answer(3)
    side.submit(4)
    first.tasks(1)
    rows = records(seen)
    last = rows[-1]
    assert last["order"] == ["m-a", "m-b"]
    record = last["records"]["m-a"]
    assert {
        "block_id",
        "start_time",
        "tasks",
        "worker_count",
        "max_capacity",
        "active",
        "draining",
        "drain_time",
        "last_heartbeat",
        "idle_since",
        "parsl_version",
        "python_version",
        "hostname",
        "uid",
        "packages",
    } <= record.keys()
    assert record["block_id"] == "'7'" and record["active"] == "True"
    assert float(record["last_heartbeat"]) > 1.7e9
    assert rows[0]["records"]["m-a"]["tasks"] == "[]"
    # Standard input, output and error, the copies of the two pipes, and the directory that is being
    # listed.
    assert len(last["descriptors"]) <= 7, last["descriptors"]


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        (selectors.RaisingSelector(), "the selector raises an exception"),
        (selectors.SlowSelector(), "took too long"),
    ],
    ids=["raises", "slow"],
)
def test_a_broken_selector_loses_the_order_and_no_tasks(start, connect, selector, text):
    side = start(manager_selector=selector)
    manager = connect(side).enlist(side)
    side.submit(1)
    manager.tasks(1)
    manager.answer(1)
    assert side.result()["task_id"] == 1
    side.interchange.wait_for_log(text)
    assert side.interchange.log_lines("WARNING", text)


def test_a_selector_that_always_raises_is_reported_once_and_counted(start, connect):
    """Each task causes a separate request, which the selector answers with a traceback."""
    side = start(manager_selector=selectors.RaisingSelector())
    manager = connect(side).enlist(side)
    count = 30
    for task_id in range(count):
        side.submit(task_id)
        manager.tasks(1)
        manager.answer(task_id)
        side.result()
    side.interchange.terminate()
    text = side.interchange.log()
    assert text.count("Traceback (most recent call last)") == 1
    assert len(side.interchange.log_lines("WARNING", "The manager selector failed")) == 1
    (rest,) = side.interchange.log_lines("WARNING", "more failures of the manager selector")
    (more,) = re.findall(r" (\d+) more failures of the manager selector within a minute", rest)
    assert int(more) == count - 1


def test_unknown_and_repeated_names_are_skipped(start, connect):
    side = start(manager_selector=selectors.OddSelector())
    manager = connect(side).enlist(side)
    side.submit(1)
    side.submit(2)
    assert manager.tasks(1)[0]["task_id"] == 1
    assert manager.holds_nothing_new()
    manager.answer(1)
    assert manager.tasks(1)[0]["task_id"] == 2
    side.interchange.wait_for_log("b'nobody'")
    assert side.interchange.log_lines("WARNING", "b'nobody'")


def test_a_selector_may_choose_no_manager_for_now(start, connect):
    side = start(manager_selector=selectors.EmptySelector())
    first = connect(side, b"m-a").enlist(side)
    side.submit(1)
    assert first.holds_nothing_new()
    second = connect(side, b"m-b").enlist(side)
    taker = wait_until(
        lambda: next((m for m in (first, second) if m.waiting or m.socket.poll(0)), None),
        10,
        "a manager has it",
    )
    assert taker.tasks(1)[0]["task_id"] == 1


@pytest.mark.expect_error("its process has ended twice")
def test_a_helper_that_ends_is_started_once_more(start, connect):
    side = start(manager_selector=selectors.AlphabeticalSelector())
    managers = [connect(side, name).enlist(side, max_capacity=9) for name in (b"m-a", b"m-b")]
    (helper,) = helpers_of(side)
    processes.send(helper, signal.SIGKILL)
    side.interchange.wait_for_log("restarting it once")
    side.submit(1)
    assert managers[1].tasks(1)[0]["task_id"] == 1
    (helper,) = helpers_of(side)
    processes.send(helper, signal.SIGKILL)
    side.interchange.wait_for_log("its process has ended twice")
    side.submit(2)
    taker = wait_until(
        lambda: next((m for m in managers if m.waiting or m.socket.poll(0)), None), 10, "one has it"
    )
    assert taker.tasks(1)[0]["task_id"] == 2
    assert helpers_of(side) == []


@pytest.mark.expect_error("its process has ended twice")
def test_a_selector_that_ends_its_own_process(start, connect):
    side = start(manager_selector=selectors.EndingSelector())
    manager = connect(side).enlist(side)
    side.submit(1)
    assert manager.tasks(1)[0]["task_id"] == 1


def test_the_helper_ends_with_the_interchange(start):
    side = start(manager_selector=selectors.AlphabeticalSelector())
    (helper,) = helpers_of(side)
    side.interchange.end()
    wait_until(lambda: not is_running(helper), 5, "the helper is gone")


def test_a_selector_with_a_large_table(start, connect, measured):
    rows = 50_000
    begin = time.monotonic()
    side = start(manager_selector=selectors.TableSelector(rows))
    measured(f"a selector with {rows} rows: {time.monotonic() - begin:.1f} s to the first answer")
    managers = {name: connect(side, name).enlist(side) for name in (b"m-a", b"m-b")}
    for task_id, name in enumerate([b"m-b", b"m-a"], start=1):
        side.submit(task_id)
        assert managers[name].tasks(1)[0]["task_id"] == task_id
    assert not side.interchange.log_lines("WARNING")


def test_real_managers_and_a_selector_of_the_user(tmp_path):
    selector = selectors.RecordingSelector(tmp_path / "seen")
    with executors.running(tmp_path / "run", blocks=2, manager_selector=selector) as htex:
        wait_until(lambda: len(htex.connected_managers()) == 2, RESULT_S, "both are here")
        names = sorted(row["manager"] for row in htex.connected_managers())
        used = {htex.submit(jobs.where, {}).result(RESULT_S)[1] for _ in range(5)}
    assert used == {names[-1]}
    assert len(records(tmp_path / "seen")) >= 5
