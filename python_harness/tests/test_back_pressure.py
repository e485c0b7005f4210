"""Back pressure: tasks beyond the bound stay in the submit process, results stay with the
managers."""

from __future__ import annotations

import ctypes
import os
import pickle
import re
import resource
import subprocess
import time

import pytest

from harness.htex.executors import add_blocks, running
from harness.htex.interchange import command_under_test
from harness.machine import usage
from harness.machine.waiting import wait_until

pytestmark = pytest.mark.ours_only("stock takes in whatever comes")

BOUND_BYTES = 40_000_000
TASK_BYTES = 100_000
TASKS = 5 * BOUND_BYTES // TASK_BYTES
# Memory beyond the bound: what libzmq has read from the network, what one turn reads, and a batch
# with its copy.
BESIDE_THE_BOUND_BYTES = 45_000_000


def bounded(size: int) -> list[str]:
    return [*command_under_test(), "--max-queued-bytes", str(size)]


@pytest.fixture
def bounded_side(start):
    """`bounded_side(bytes)` returns a submit side with an interchange that has this bound."""

    def make(size: int, **options):
        side = start(launch=False, heartbeat_threshold=60, **options)
        side.launch(bounded(size))
        return side

    return make


def test_five_times_the_bound(bounded_side, connect, encrypted, measured):
    side = bounded_side(BOUND_BYTES, encrypted=encrypted)
    assert side.command("WORKERS") == 0
    pid = side.interchange.pid
    # Memory that an earlier test freed would be reused, and its use would not show as growth.
    ctypes.CDLL(None).malloc_trim(0)
    before, own_before = usage.resident_bytes(pid), usage.resident_bytes(os.getpid())
    for task_id in range(TASKS):
        side.submit(task_id, b"%06d" % task_id + bytes(TASK_BYTES - 6))
    side.interchange.wait_for_log("Pausing intake", 30)
    manager = connect(side).enlist(side, max_capacity=0)
    own_grown = usage.resident_bytes(os.getpid()) - own_before
    assert own_grown > (TASKS * TASK_BYTES - BOUND_BYTES - BESIDE_THE_BOUND_BYTES) * 0.9
    manager.close()

    worker = connect(side, b"worker").enlist(side, max_capacity=20)
    for first in range(0, TASKS, 20):
        tasks = worker.tasks(20, within_s=30)
        numbers = [task["task_id"] for task in tasks]
        assert numbers == list(range(first, first + 20))
        assert all(task["buffer"][:6] == b"%06d" % task["task_id"] for task in tasks)
        for number in numbers:
            worker.answer(number)
    answered = [side.result()["task_id"] for _ in range(TASKS)]
    assert answered == list(range(TASKS))
    side.interchange.wait_for_log("Resuming intake")
    peak = peak_bytes(pid) - before
    measured(
        f"bound {BOUND_BYTES / 1e6:.0f} MB, submitted {TASKS * TASK_BYTES / 1e6:.0f} MB: "
        f"interchange at most +{peak / 1e6:.0f} MB, submit process +{own_grown / 1e6:.0f} MB"
    )
    assert peak < BOUND_BYTES + BESIDE_THE_BOUND_BYTES


def test_cpu_stays_idle_while_intake_is_paused(bounded_side, connect):
    """The interchange does not poll a task channel that it has paused: it does not spin, and
    everything else continues."""
    side = bounded_side(1_000_000)
    for task_id in range(300):
        side.submit(task_id, bytes(10_000))
    side.interchange.wait_for_log("Pausing intake")
    manager = connect(side).enlist(side, max_capacity=0)
    used_s = usage.cpu_seconds_fine(side.interchange.pid)
    # About a second of round trips that wait only for the interchange.
    for _ in range(20):
        manager.beat()
        assert side.command("OUTSTANDING_C") in range(90, 110)
    assert usage.cpu_seconds_fine(side.interchange.pid) - used_s < 0.5


def test_cpu_stays_idle_while_large_results_wait(start, connect):
    """The result socket is full by count. That a result does not fit is no reason to retry in a
    loop."""
    side = start(heartbeat_threshold=120, results_read_ahead=1)
    manager = connect(side).enlist(side, max_capacity=2000)
    for task_id in range(2000):
        side.submit(task_id)
    for task in manager.tasks(2000):
        manager.answer(task["task_id"], bytes(5_000))
    wait_until(lambda: side.command("OUTSTANDING_C") == 0, 30, "all of them are answered")
    used_s = usage.cpu_seconds_fine(side.interchange.pid)
    # The test measures the CPU time in this span.
    time.sleep(1.0)
    assert usage.cpu_seconds_fine(side.interchange.pid) - used_s < 0.2
    assert len([side.result() for _ in range(2000)]) == 2000


def test_priorities_among_accepted_tasks(bounded_side, connect):
    side = bounded_side(1_000_000)
    for task_id in range(50):
        priority = {"resource_spec": {"priority": 1000 - task_id}}
        side.submit(task_id, bytes(10_000), priority)
    wait_until(lambda: side.command("OUTSTANDING_C") == 50, 10, "all of them are queued")
    manager = connect(side).enlist(side, max_capacity=50)
    numbers = [task["task_id"] for task in manager.tasks(50)]
    assert numbers == sorted(numbers, reverse=True)


def test_unread_results_pause_dispatch(bounded_side, connect, measured):
    side = bounded_side(20_000_000, results_read_ahead=2)
    pid = side.interchange.pid
    before = usage.resident_bytes(pid)
    count, result = 200, bytes(1_000_000)
    for task_id in range(count):
        side.submit(task_id)
    manager = connect(side).enlist(side, max_capacity=4)
    worked = 0
    while manager.socket.poll(2000) or manager.waiting:
        # A batch may have arrived before the echo of the registration's heartbeat.
        batch = manager.waiting or pickle.loads(manager.socket.recv())
        manager.waiting = []
        for task in batch:
            manager.answer(task["task_id"], result)
            worked += 1
    assert 20 <= worked < 120, "held back, and not at once"
    manager.beat()
    assert not manager.waiting
    assert len(side.managers()) == 1
    held = usage.resident_bytes(pid) - before
    measured(f"{worked} of {count} results of 1 MB made: interchange +{held / 1e6:.0f} MB")
    assert held < 20_000_000 + 45_000_000

    answered = []
    while len(answered) < count:
        if side.results.poll(0):
            answered.append(side.result()["task_id"])
        elif manager.socket.poll(10):
            for task in pickle.loads(manager.socket.recv()):
                manager.answer(task["task_id"], result)
    assert sorted(answered) == list(range(count))


def test_a_real_run(tmp_path):
    """HTEX submits more than the bound allows before its first block registers: all tasks are
    done."""
    command = bounded(10_000_000)
    with running(tmp_path, blocks=0, interchange_launch_cmd=command) as executor:
        futures = [executor.submit(len, {}, bytes(50_000)) for _ in range(1000)]
        log = next(tmp_path.rglob("interchange.log"))
        wait_until(lambda: "Pausing intake" in log.read_text(), 20, "the bound is reached")
        add_blocks(executor, 1)
        assert {future.result(timeout=60) for future in futures} == {50_000}
    assert "Resuming intake" in log.read_text()


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "much"])
def test_an_invalid_bound_is_refused(text):
    ended = subprocess.run(
        [*command_under_test(), f"--max-queued-bytes={text}"], capture_output=True, text=True
    )
    assert ended.returncode == 2
    assert "--max-queued-bytes" in ended.stderr


def peak_bytes(pid: int) -> int:
    """Returns the highest resident memory of a process so far."""
    with open(f"/proc/{pid}/status") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


LIMITS = {"ulimit-v": resource.RLIMIT_AS, "ulimit-d": resource.RLIMIT_DATA}
LIMIT_BYTES = 512 << 20


@pytest.mark.parametrize("limit", LIMITS)
def test_the_default_bound_fits_the_limits_of_the_process(start, limit, measured):
    """The default bound fits the limits of the process. Filled up to that bound, the interchange
    still ends normally."""

    def limited() -> None:
        resource.setrlimit(LIMITS[limit], (LIMIT_BYTES, LIMIT_BYTES))

    side = start(launch=False, heartbeat_threshold=60)
    interchange = side.launch(preexec_fn=limited)
    interchange.wait_for_log("of tasks and unsent results are held")
    (bound_mb,) = re.findall(r"Up to ([\d.]+) MB of tasks and unsent", interchange.log())
    measured(f"{bound_mb} MB of tasks within {LIMIT_BYTES / 1e6:.0f} MB")
    assert 10 < float(bound_mb) <= LIMIT_BYTES / 4e6
    for task_id in range(2 * int(float(bound_mb) * 1e6) // 4096):
        side.submit(task_id, bytes(4096))
    interchange.wait_for_log("Pausing intake", 30)
    assert side.command("WORKERS") == 0
    interchange.terminate()
    assert interchange.process.returncode == 0
