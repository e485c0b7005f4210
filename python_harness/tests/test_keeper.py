"""The keeper, the process that HTEX starts: it runs the broker as its child and reports the
broker's end to the executor and the managers."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import time

import parsl
import pytest

from harness.htex import executors, jobs
from harness.htex.executors import manager_processes
from harness.htex.programs import Program
from harness.machine import processes, usage
from harness.machine.waiting import wait_until

pytestmark = [
    pytest.mark.ours_only("stock hangs its user (Parsl #3374)"),
    pytest.mark.expect_error("htex-interchange was killed"),
    pytest.mark.expect_error("htex-interchange was ended by"),
]
FAILED_WITHIN_S = 2.0
GONE_WITHIN_S = 10.0
RESULT_S = 60
SIGNALS = [signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGXCPU]


def victims(htex) -> dict[str, int]:
    return {"broker": executors.broker_pid(htex), "keeper": htex.interchange_proc.pid}


@pytest.mark.parametrize(
    ("encrypted", "whom"),
    [
        pytest.param(True, "broker", id="encrypted-broker"),
        pytest.param(False, "keeper", id="plain-keeper"),
        pytest.param(False, "broker", id="plain-broker", marks=pytest.mark.long),
        pytest.param(True, "keeper", id="encrypted-keeper", marks=pytest.mark.long),
    ],
)
def test_every_future_of_parsls_own_executor_fails(tmp_path, whom, encrypted, measured):
    """All futures fail with the reason, whether their tasks run or wait, and no process is left."""
    with executors.running(tmp_path / "run", encrypted=encrypted, max_workers_per_node=2) as htex:
        assert htex.submit(jobs.add, {}, 1, 2).result(RESULT_S) == 3
        futures = [htex.submit(time.sleep, {}, 60) for _ in range(50)]
        wait_until(lambda: htex.connected_managers()[0]["tasks"], 10, "tasks are at work")
        managers = manager_processes()
        broker = executors.broker_pid(htex)
        begin = time.monotonic()
        os.kill(victims(htex)[whom], signal.SIGKILL)
        reasons = {str(future.exception(FAILED_WITHIN_S)) for future in futures}
        measured(f"{whom} killed: 50 futures failed after {time.monotonic() - begin:.3f} s")
        assert all("htex-interchange was killed" in reason for reason in reasons), reasons
        wait_until(
            lambda: not any(processes.alive(process.pid) for process in managers),
            GONE_WITHIN_S,
            "managers are gone",
        )
    # The shutdown ends the process that was still answering the executor.
    assert htex.interchange_proc.wait(GONE_WITHIN_S) == -signal.SIGKILL
    wait_until(lambda: not processes.alive(broker), GONE_WITHIN_S, "the broker is gone")


def test_the_keeper_ends_as_its_broker_ended(start, connect, status_directory):
    """All scenarios run at once, because each has to wait until the executor sends no more
    commands."""
    sides = {number: start() for number in SIGNALS}
    brokers = {number: side.interchange.pid for number, side in sides.items()}
    managers = {number: connect(side).enlist(side) for number, side in sides.items()}
    for number, broker in brokers.items():
        assert list(status_directory.glob(f"{broker}-*.sock"))
        os.kill(broker, number)
    for number, side in sides.items():
        managers[number].expect_shutdown(within_s=GONE_WITHIN_S)
        assert side.result()["task_id"] == -1
        assert side.interchange.running
        side.interchange.terminate(GONE_WITHIN_S)
        assert side.interchange.process.returncode == -number
        (line,) = side.interchange.log_lines("ERROR")
        assert f"it was process {brokers[number]}" in line
        assert number.name in line
        assert not list(status_directory.glob(f"{brokers[number]}-*.sock"))


def test_a_command_lost_with_the_broker_is_answered(start):
    """Otherwise the executor's thread that sent the command would wait for ever, and its program as
    well."""
    side = start()
    side.managers()
    os.kill(side.interchange.pid, signal.SIGSTOP)
    side.commands.send(pickle.dumps("MANAGERS"))
    # The kernel has the command; it makes no difference whether the broker has read it.
    os.kill(side.interchange.pid, signal.SIGKILL)
    assert side.commands.poll(GONE_WITHIN_S * 1000)
    with pytest.raises(Exception, match="was killed"):
        pickle.loads(side.commands.recv())
    side.interchange.terminate(GONE_WITHIN_S)


def test_a_stopped_broker_ends_with_its_keeper(start):
    side = start()
    broker = side.interchange.pid
    os.kill(broker, signal.SIGSTOP)
    wait_until(lambda: processes.read(broker).state == "T", 5, "it is stopped")
    side.interchange.process.kill()
    side.interchange.wait_exit(GONE_WITHIN_S)
    assert side.result()["task_id"] == -1
    side.close()
    wait_until(lambda: not processes.alive(broker), GONE_WITHIN_S, "it is gone")


def test_a_stopped_broker_is_killed_after_sigterm(start):
    """HTEX kills a process that does not end within 10 s, and would kill only the keeper."""
    side = start()
    broker = side.interchange.pid
    os.kill(broker, signal.SIGSTOP)
    side.interchange.terminate(9.0)
    assert not processes.alive(broker)
    assert side.interchange.process.returncode == -signal.SIGKILL
    assert not side.results.poll(0), "who is told to end tells nobody that it failed"


def test_sigterm_while_peers_are_notified_of_the_end(start, connect):
    """The keeper waits for managers that may reconnect, and HTEX does not wait for these. No other
    process gets a signal."""
    side = start()
    bystander = subprocess.Popen(["sleep", "60"])
    connect(side).enlist(side).close()
    broker = side.interchange.pid
    os.kill(broker, signal.SIGKILL)
    wait_until(lambda: not processes.alive(broker), 5, "it is dead")
    assert side.interchange.terminate() < 4.0
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_a_suspended_program_is_notified_when_it_resumes(tmp_path):
    """The program is suspended for any length of time, as it may be while the kernel looks for
    memory."""
    program = Program("waits_for_futures.py", tmp_path)
    try:
        os.kill(program.process.pid, signal.SIGSTOP)
        os.kill(program.report["broker"], signal.SIGKILL)
        # Longer than the keeper waits for a connection if it cannot watch the submit process: the
        # test needs this time.
        time.sleep(4)
    finally:
        os.kill(program.process.pid, signal.SIGCONT)
    (reason,) = json.loads(program.process.stdout.readline())
    assert "htex-interchange was killed" in reason
    assert program.process.wait(GONE_WITHIN_S) == 0
    program.process.stdout.close()


def test_managers_are_told_to_exit_though_the_program_ends_at_once(start, connect):
    """Covers managers that had not reconnected when SIGTERM arrived, and a manager that was about
    to register."""
    side = start()
    manager = connect(side).enlist(side)
    broker = side.interchange.pid
    os.kill(broker, signal.SIGKILL)
    wait_until(lambda: not processes.alive(broker), 5, "it is dead")
    assert side.interchange.terminate() < 4.0
    manager.expect_shutdown(within_s=1.0)


def test_managers_are_told_to_exit_though_the_keeper_reads_sigterm_first(start, connect):
    """The keeper wakes with both a SIGTERM and the broker's end pending."""
    side = start()
    manager = connect(side).enlist(side)
    keeper, broker = side.interchange.process, side.interchange.pid
    keeper.send_signal(signal.SIGSTOP)
    os.kill(broker, signal.SIGKILL)
    wait_until(lambda: not processes.alive(broker), 5, "it is dead")
    keeper.send_signal(signal.SIGTERM)
    keeper.send_signal(signal.SIGCONT)
    manager.expect_shutdown(within_s=GONE_WITHIN_S)
    assert side.interchange.wait_exit(GONE_WITHIN_S) == -signal.SIGKILL


def test_a_manager_that_connects_after_the_end_is_told_to_exit(start, connect):
    side = start()
    os.kill(side.interchange.pid, signal.SIGKILL)
    assert side.result()["task_id"] == -1
    late = connect(side, b"late")
    late.send({"type": "connection_probe"})
    late.expect_shutdown(within_s=GONE_WITHIN_S)


def test_a_program_that_catches_the_failure_ends(tmp_path):
    """`parsl.load` ends without a hang, although a strategy sends commands to the interchange all
    the time."""

    @parsl.python_app
    def sleeps():
        import time

        time.sleep(60)

    config = executors.kernel_config(tmp_path / "runinfo")
    config.strategy_period = 0.1
    begin = 0.0
    with parsl.load(config) as kernel:
        htex = kernel.executors["htex"]
        future = sleeps()
        wait_until(htex.connected_managers, RESULT_S, "a manager is there")
        begin = time.monotonic()
        os.kill(executors.broker_pid(htex), signal.SIGKILL)
        assert "was killed" in str(future.exception(FAILED_WITHIN_S))
    assert time.monotonic() - begin < 15


def test_the_keeper_needs_almost_no_memory_or_cpu(start, connect, measured):
    """The keeper's private memory is what it has written since the fork, and it does nothing for a
    task."""
    side = start()
    manager = connect(side).enlist(side, max_capacity=100)
    keeper = side.interchange.process.pid
    used_s = usage.cpu_seconds_fine(keeper)
    for task_id in range(100):
        side.submit(task_id)
    manager.tasks(100)
    for task_id in range(100):
        manager.answer(task_id)
        side.result()
    own = private_bytes(keeper)
    measured(f"private memory of the keeper: {own >> 10} KiB")
    assert usage.cpu_seconds_fine(keeper) - used_s < 0.002
    assert usage.threads(keeper) == 1
    assert own < 1 << 20


def private_bytes(pid: int) -> int:
    """Returns the memory that a process has written to: the unwritten pages of the program's file
    are shared."""
    with open(f"/proc/{pid}/smaps_rollup") as lines:
        kib = [int(line.split()[1]) for line in lines if line.startswith("Private_Dirty")]
    return sum(kib) << 10
