"""Processes that are killed or stopped while real managers work through a load. At the end, every
task has ended exactly once, no manager held more than its capacity, and the interchange still
serves (or has ended, where it should)."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from parsl.executors.high_throughput.errors import ManagerLost, WorkerLost

from harness.htex import executors, jobs
from harness.htex.books import Books
from harness.htex.executors import add_blocks, manager_processes
from harness.htex.programs import Program
from harness.machine import processes
from harness.machine.waiting import wait_until

pytestmark = pytest.mark.timeout(180)

# Two workers and two prefetched tasks.
CAPACITY = 4
SHAPE = {"max_workers_per_node": 2, "prefetch_capacity": 2}


def with_workers(manager: processes.Process) -> list[processes.Process]:
    return [manager, *processes.running_descendants(manager.pid)]


@pytest.mark.parametrize("encrypted", [True, pytest.param(False, marks=pytest.mark.long)])
def test_a_manager_is_killed(tmp_path, encrypted):
    with executors.running(
        tmp_path / "run", blocks=2, heartbeat_threshold=4, encrypted=encrypted, **SHAPE
    ) as htex:
        books = Books(htex, tmp_path)
        books.submit(200, seconds=0.05)
        books.wait_done(30)
        victim, _ = manager_processes()
        for process in with_workers(victim):
            processes.send(process, signal.SIGKILL)
        outcomes = books.balance(60, (ManagerLost,), CAPACITY)
        assert 1 <= outcomes["ManagerLost"] <= CAPACITY
        assert outcomes.total() == 200
        assert len(htex.connected_managers()) == 1


def test_a_worker_is_killed(tmp_path):
    """A worker is killed from outside, in the middle of a task, while the others work."""
    with executors.running(tmp_path / "run", blocks=2, **SHAPE) as htex:
        books = Books(htex, tmp_path)
        pid_file = tmp_path / "pid"
        doomed = htex.submit(jobs.note_pid_and_wait, {}, str(pid_file))
        books.submit(200)
        wait_until(pid_file.exists, 30, "the victim runs")
        os.kill(int(pid_file.read_text()), signal.SIGKILL)
        with pytest.raises(WorkerLost):
            doomed.result(30)
        assert books.balance(60, (), CAPACITY) == {"result": 200}


@pytest.mark.ours_only("stock outlives its submit process for ever")
@pytest.mark.parametrize("task_s", [pytest.param(60, marks=pytest.mark.long), 0.02])
def test_the_submit_process_is_killed(tmp_path, task_s, measured):
    """Short tasks are the harder case: a real manager waits for ever if it is told to exit in the
    moment in which its worker returns a result."""
    program = Program("loaded_submit_process.py", tmp_path, 2000, task_s, 120)
    assert len(program.started) >= 7
    took_s = program.kill()
    measured(f"{len(program.started)} processes gone after {took_s:.2f} s")


def test_the_interchange_and_its_keeper_are_killed(tmp_path, measured):
    """The managers end without help. The futures that have ended by then have the right outcome;
    failing the others is the executor's part."""
    with executors.running(tmp_path / "run", blocks=2, heartbeat_threshold=3, **SHAPE) as htex:
        books = Books(htex, tmp_path)
        books.submit(400)
        books.wait_done(50)
        assert len(manager_processes()) == 2
        begin = time.monotonic()
        processes.kill_with_keeper(htex.interchange_proc)
        wait_until(lambda: not manager_processes(), 20, "the managers are gone")
        measured(f"both managers gone after {time.monotonic() - begin:.1f} s (threshold 3 s)")
        books.no_wrong_end()
        assert books.done() < 400


@pytest.mark.long
def test_a_manager_is_stopped_for_less_than_the_threshold(tmp_path):
    with executors.running(tmp_path / "run", blocks=2, heartbeat_threshold=15, **SHAPE) as htex:
        books = Books(htex, tmp_path)
        books.submit(150)
        books.wait_done(30)
        stopped, _ = manager_processes()
        os.kill(stopped.pid, signal.SIGSTOP)
        # The test needs this time: several heartbeats are missed.
        time.sleep(3.0)
        os.kill(stopped.pid, signal.SIGCONT)
        assert books.balance(60, (), CAPACITY) == {"result": 150}
        assert len(htex.connected_managers()) == 2


def test_a_manager_is_stopped_for_longer_than_the_threshold(tmp_path):
    with executors.running(tmp_path / "run", blocks=2, heartbeat_threshold=3, **SHAPE) as htex:
        books = Books(htex, tmp_path)
        books.submit(150)
        books.wait_done(30)
        stopped, _ = manager_processes()
        os.kill(stopped.pid, signal.SIGSTOP)
        wait_until(lambda: len(htex.connected_managers()) == 1, 15, "it is lost", every_s=0.05)
        os.kill(stopped.pid, signal.SIGCONT)
        # The manager's process may stay: one of its threads waits for ever for another thread,
        # which has ended, to send a result.
        wait_until(lambda: a_manager_has_given_up(tmp_path / "run"), 15, "it has given up")
        # The tasks that the manager held, including those that its workers finished while it was
        # stopped, were reported lost, once.
        outcomes = books.balance(60, (ManagerLost,), CAPACITY)
        assert 1 <= outcomes["ManagerLost"] <= CAPACITY
        assert outcomes.total() == 150


def a_manager_has_given_up(run_dir: Path) -> bool:
    """Whether the manager was told to exit, or has missed its interchange for too long."""
    logs = run_dir.rglob("manager.log")
    return any("interchange_communicator INFO: Exiting" in log.read_text() for log in logs)


@pytest.mark.ours_only("stock blames its managers for its own sleep")
def test_the_interchange_is_stopped_for_less_than_the_threshold(tmp_path):
    with executors.running(tmp_path / "run", blocks=2, heartbeat_threshold=15, **SHAPE) as htex:
        books = Books(htex, tmp_path)
        books.submit(150)
        books.wait_done(30)
        os.kill(executors.broker_pid(htex), signal.SIGSTOP)
        time.sleep(3.0)  # The test needs the interchange to be stopped this long.
        books.submit(20)
        os.kill(executors.broker_pid(htex), signal.SIGCONT)
        assert books.balance(60, (), CAPACITY) == {"result": 170}


@pytest.mark.long
def test_the_interchange_is_stopped_until_its_managers_have_ended(tmp_path):
    """The managers miss their interchange's echoes and end, as Parsl's managers do. Their tasks are
    lost; new managers serve."""
    with executors.running(tmp_path / "run", blocks=2, heartbeat_threshold=3, **SHAPE) as htex:
        books = Books(htex, tmp_path)
        books.submit(150)
        books.wait_done(30)
        os.kill(executors.broker_pid(htex), signal.SIGSTOP)
        wait_until(lambda: not manager_processes(), 20, "the managers have ended")
        os.kill(executors.broker_pid(htex), signal.SIGCONT)
        wait_until(lambda: htex.connected_managers() == [], 15, "both are lost", every_s=0.05)
        add_blocks(htex, 1)
        outcomes = books.balance(60, (ManagerLost,), CAPACITY)
        assert outcomes["ManagerLost"] <= 2 * CAPACITY
        assert outcomes.total() == 150


@pytest.mark.parametrize("threshold_s", [5, pytest.param(30, marks=pytest.mark.long)])
def test_the_submit_process_is_stopped(tmp_path, threshold_s):
    """The submit process is stopped for longer than the threshold, or shorter. In both cases it
    counts as alive and gets everything."""
    program = Program("loaded_submit_process.py", tmp_path, 200, 0.02, threshold_s)
    os.kill(program.process.pid, signal.SIGSTOP)
    # The test needs the submit process to be stopped this long.
    time.sleep(6.5)
    assert all(process.running for process in program.still_running())
    os.kill(program.process.pid, signal.SIGCONT)
    line = program.process.stdout.readline()
    log = (tmp_path / "run" / "htex" / "interchange.log").read_text()
    assert line, f"the program has failed; the interchange's last words:\n{log[-3000:]}"
    assert json.loads(line) == {"result": 200}
    program.kill()
