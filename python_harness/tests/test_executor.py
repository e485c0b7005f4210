"""Real Parsl and real managers: what a user of HighThroughputExecutor sees."""

from __future__ import annotations

import os
import signal
import time
import uuid
from concurrent.futures import Future

import pytest
from parsl.executors.errors import BadStateException
from parsl.executors.high_throughput.errors import ManagerLost, VersionMismatch, WorkerLost
from parsl.executors.high_throughput.manager_selector import BlockIdManagerSelector

from harness.fakes.wire import FakeManager
from harness.htex import executors, jobs
from harness.htex.executors import add_blocks, manager_processes
from harness.machine import processes
from harness.machine.waiting import wait_until

RESULT_S = 120
FOUR_MB = 4_000_000


def running_task(htex, tmp_path, name: str = "task") -> tuple[Future, os.PathLike]:
    """Submits a task and waits until it runs. The task ends when the returned path is created."""
    started, proceed = tmp_path / f"{name}-started", tmp_path / f"{name}-proceed"
    future = htex.submit(jobs.touch_and_wait, {}, str(started), str(proceed))
    wait_until(started.exists, RESULT_S, "the task runs")
    return future, proceed


@pytest.mark.quick
@pytest.mark.parametrize("encrypted", [True, False], ids=["encrypted", "plain"])
def test_results_exceptions_and_large_values(tmp_path, encrypted, measured):
    with executors.running(tmp_path / "run", encrypted=encrypted, max_workers_per_node=2) as htex:
        sums = [htex.submit(jobs.add, {}, number, number) for number in range(50)]
        assert [future.result(RESULT_S) for future in sums] == [2 * n for n in range(50)]

        with pytest.raises(jobs.Rejected) as caught:
            htex.submit(jobs.reject, {}, "no good").result(RESULT_S)
        assert type(caught.value) is jobs.Rejected and caught.value.args == ("no good",)

        assert htex.submit(jobs.length, {}, b"x" * 1_000_000).result(RESULT_S) == 1_000_000
        payload = os.urandom(FOUR_MB)
        begin = time.monotonic()
        assert htex.submit(jobs.echo, {}, payload).result(RESULT_S) == payload
        measured(f"4 MB there and back: {(time.monotonic() - begin) * 1000:.0f} ms")
        assert len(htex.submit(jobs.block, {}, FOUR_MB).result(RESULT_S)) == FOUR_MB
        assert htex.outstanding() == 0
        assert htex.connected_blocks() == ["0"]
        (packages,) = htex.connected_managers_packages().values()
        assert "parsl" in packages


def test_ipv6_loopback(tmp_path, ipv6_loopback):
    with executors.running(tmp_path / "run", loopback_address=ipv6_loopback) as htex:
        assert htex.submit(jobs.add, {}, 1, 2).result(RESULT_S) == 3


def test_a_zone_of_ipv6(tmp_path, link_local, ipv6_loopback):
    addresses = {"address": link_local, "loopback_address": f"{ipv6_loopback}%lo"}
    with executors.running(tmp_path / "run", **addresses) as htex:
        assert htex.submit(jobs.add, {}, 1, 2).result(RESULT_S) == 3


@pytest.mark.parametrize("address", [None, ""])
def test_managers_probe_every_address(tmp_path, address):
    """HTEX's default: without an address, managers try all interfaces at the same time."""
    with executors.running(tmp_path / "run", address=address) as htex:
        assert htex.submit(jobs.add, {}, 1, 2).result(RESULT_S) == 3


def test_context_of_an_application_reaches_the_worker(tmp_path):
    arguments = (uuid.UUID(int=5), None, ("a", ("tuple",)))
    keywords = {"path": tmp_path, "set": {1, 2}}
    context = {
        "task_executor": {"f": "harness.htex.jobs.run_buffer", "a": arguments, "k": keywords},
    }
    with executors.running(tmp_path / "run") as htex:
        result = htex.submit_payload(context, b"buffer").result(RESULT_S)
    assert result == (b"buffer", arguments, keywords)
    assert type(result[1][2]) is tuple


def test_priorities(tmp_path):
    order = tmp_path / "order"
    with executors.running(tmp_path / "run", worker_debug=True) as htex:
        first, proceed = running_task(htex, tmp_path)
        futures = [
            htex.submit(jobs.note, spec, str(order), name)
            for name, spec in (
                ("none", {}),
                ("ten", {"priority": 10}),
                ("minus", {"priority": -1.5}),
                ("zero", {"priority": 0}),
            )
        ]
        log = tmp_path / "run" / "htex" / "interchange.log"
        wait_until(
            lambda: "Put task 5 onto pending_task_queue" in log.read_text(), 5, "all are queued"
        )
        proceed.touch()
        for future in [first, *futures]:
            future.result(RESULT_S)
    assert order.read_text().split() == ["minus", "zero", "ten", "none"]


def test_hold_and_a_second_block(tmp_path):
    with executors.running(tmp_path / "run") as htex:
        (held,) = htex.connected_managers()
        htex._hold_block("0")
        assert [row["active"] for row in htex.connected_managers()] == [False]
        waiting = htex.submit(jobs.where, {})
        add_blocks(htex, 1)
        block, manager, _ = waiting.result(RESULT_S)
        assert block == "1" and manager != held["manager"]


def test_scale_in_ends_the_idle_block(tmp_path):
    with executors.running(tmp_path / "run", blocks=2) as htex:
        wait_until(
            lambda: all(row["idle_duration"] > 0.3 for row in htex.connected_managers()),
            RESULT_S,
            "both are idle",
            every_s=0.05,
        )
        (killed,) = htex.scale_in(1, max_idletime=0.1)
        left = [row["block_id"] for row in htex.connected_managers() if row["active"]]
        assert left == [block for block in ("0", "1") if block != killed]
        assert htex.submit(jobs.where, {}).result(RESULT_S)[0] == left[0]


def test_highest_block_with_the_block_selector(tmp_path):
    with executors.running(
        tmp_path / "run", blocks=2, manager_selector=BlockIdManagerSelector()
    ) as htex:
        used = {htex.submit(jobs.where, {}).result(RESULT_S)[0] for _ in range(10)}
    assert used == {"1"}


def test_drain_period_of_a_real_manager(tmp_path, measured):
    # Counted from the manager's start: it has to register within this time.
    with executors.running(tmp_path / "run", drain_period=20) as htex:
        future, proceed = running_task(htex, tmp_path)
        wait_until(lambda: htex.connected_managers()[0]["draining"], 60, "it drains", every_s=0.05)
        (row,) = htex.connected_managers()
        assert row["tasks"] == 1 and row["active"]
        waiting = htex.submit(jobs.where, {})
        proceed.touch()
        future.result(RESULT_S)
        begin = time.monotonic()
        wait_until(lambda: htex.connected_managers() == [], 2, "it is gone", every_s=0.005)
        measured(f"drained manager gone {(time.monotonic() - begin) * 1000:.0f} ms after its task")
        add_blocks(htex, 1)
        assert waiting.result(RESULT_S)[0] == "1"


def test_killed_manager(tmp_path, measured):
    with executors.running(tmp_path / "run", heartbeat_threshold=3) as htex:
        (row,) = htex.connected_managers()
        future, _ = running_task(htex, tmp_path)
        begin = time.monotonic()
        (manager,) = manager_processes()
        workers = processes.running_descendants(manager.pid)
        for process in [manager, *workers]:
            processes.send(process, signal.SIGKILL)
        with pytest.raises(ManagerLost) as caught:
            future.result(15)
        measured(f"ManagerLost after {time.monotonic() - begin:.1f} s (threshold 3 s)")
        assert type(caught.value) is ManagerLost
        assert caught.value.manager_id == row["manager"].encode()
        assert str(caught.value).startswith(
            f"Task failure due to loss of manager {row['manager']} on host "
        )
        assert htex.connected_managers() == []
        add_blocks(htex, 1)
        assert htex.submit(jobs.add, {}, 1, 1).result(RESULT_S) == 2


def test_killed_worker(tmp_path):
    with executors.running(tmp_path / "run", max_workers_per_node=2) as htex:
        doomed = htex.submit(jobs.exit_worker, {})
        others = [htex.submit(jobs.add, {}, number, 1) for number in range(20)]
        assert [future.result(RESULT_S) for future in others] == list(range(1, 21))
        with pytest.raises(WorkerLost):
            doomed.result(RESULT_S)
        assert htex.submit(jobs.add, {}, 1, 1).result(RESULT_S) == 2


def test_manager_that_was_suspended_comes_back_too_late(tmp_path):
    """The manager's late result must not reach the executor, whose result thread would end because
    of it."""
    with executors.running(tmp_path / "run", heartbeat_threshold=3) as htex:
        future, proceed = running_task(htex, tmp_path)
        (manager,) = manager_processes()
        os.kill(manager.pid, signal.SIGSTOP)
        with pytest.raises(ManagerLost):
            future.result(15)
        proceed.touch()
        os.kill(manager.pid, signal.SIGCONT)
        add_blocks(htex, 1)
        assert htex.submit(jobs.add, {}, 1, 1).result(RESULT_S) == 2
        assert htex._result_queue_thread.is_alive()


@pytest.mark.expect_error("version")
@pytest.mark.expect_death
def test_version_mismatch_fails_the_tasks(tmp_path):
    """A fake manager that reports another version of Parsl registers with a real executor."""
    with executors.running(tmp_path / "run", blocks=0) as htex:
        waiting = htex.submit(jobs.add, {}, 1, 1)
        url = f"tcp://127.0.0.1:{htex.worker_port}"
        with FakeManager(url, cert_dir=htex.cert_dir) as stranger:
            stranger.probe()
            stranger.register(parsl_v="1999.01.01")
            with pytest.raises(BadStateException) as caught:
                waiting.result(5)
        assert "1999.01.01" in str(caught.value)
        assert isinstance(htex.executor_exception, VersionMismatch)
        assert htex.interchange_proc.wait(5) is not None


def test_thousands_of_tasks_wait_for_the_first_block(tmp_path, measured):
    with executors.running(tmp_path / "run", blocks=0, max_workers_per_node=2) as htex:
        futures = [htex.submit(jobs.add, {}, number, 1) for number in range(3000)]
        begin = time.monotonic()
        add_blocks(htex, 1)
        assert [future.result(60) for future in futures] == list(range(1, 3001))
        measured(f"3000 tasks, start of the block included: {time.monotonic() - begin:.1f} s")


def test_two_executors_side_by_side(tmp_path):
    one = executors.running(tmp_path / "one", encrypted=True, label="one")
    two = executors.running(tmp_path / "two", encrypted=False, label="two")
    with one as first, two as second:
        assert first.worker_port != second.worker_port
        for number in range(5):
            pair = [htex.submit(jobs.add, {}, 1, number) for htex in (first, second)]
            assert [future.result(RESULT_S) for future in pair] == [1 + number] * 2


def test_shutdown_is_quick(tmp_path, measured):
    htex = executors.executor()
    htex.run_dir = str(tmp_path)
    os.makedirs(htex.logdir)
    htex.start()
    begin = time.monotonic()
    htex.shutdown()
    took_s = time.monotonic() - begin
    measured(f"executor.shutdown(): {took_s * 1000:.0f} ms")
    assert took_s < 2.0
    assert htex.interchange_proc.poll() is not None
