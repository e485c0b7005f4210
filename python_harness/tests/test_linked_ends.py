"""The interchange's end is reported to the user: every future fails, and nothing waits for the
interchange."""

from __future__ import annotations

import _thread
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import parsl
import pytest
from parsl.errors import ParslError
from parsl.launchers import SimpleLauncher
from parsl.version import VERSION

from harness.htex import executors, jobs
from harness.htex.interchange import command_under_test, stock_under_test
from harness.htex.provider import local_provider
from harness.machine import processes
from harness.machine.processes import alive
from harness.machine.waiting import wait_until
from harness.releases import supported
from harness.releases.supported import OLDEST, WINDOW
from harness.releases.written import padded
from harness.setup import environment
from htex_interchange import (
    HighThroughputExecutor,
    InterchangeLost,
    MPIExecutor,
    command,
    launch_command,
)

pytestmark = pytest.mark.expect_error("htex-interchange was killed")

# The promise is one second; a loaded machine gets three.
LOSS_S = 3.0
SHUTDOWN_S = 3.0
RESULT_S = 60


def linked(run_dir, **options):
    options = {"survive": False, **options}
    return executors.running(run_dir, kind=HighThroughputExecutor, **options)


def kill_interchange(htex, number: int = signal.SIGKILL) -> float:
    """Kills the interchange, and returns the time of the kill on the monotonic clock."""
    os.kill(executors.broker_pid(htex), number)
    return time.monotonic()


def failures(futures, begin: float, measured=None) -> list[BaseException]:
    """Returns the exceptions of all futures, which must fail soon enough after `begin`."""
    found = [future.exception(max(0, begin + LOSS_S - time.monotonic())) for future in futures]
    if measured:
        seconds = time.monotonic() - begin
        measured(f"interchange killed: {len(futures)} futures failed after {seconds:.3f} s")
    return found


def busy(htex, tmp_path):
    """Submits a task and waits until a worker runs it."""
    started = tmp_path / "started"
    future = htex.submit(jobs.touch_and_wait, {}, str(started), str(tmp_path / "proceed"))
    wait_until(started.exists, RESULT_S, "the worker is busy")
    return future


def own_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("HTEX")]


@pytest.mark.quick
def test_running_and_queued_tasks_fail_within_a_second(tmp_path, encrypted, measured):
    with linked(tmp_path / "run", encrypted=encrypted) as htex:
        futures = [busy(htex, tmp_path)]
        futures += [htex.submit(jobs.add, {}, number, 1) for number in range(200)]
        found = failures(futures, kill_interchange(htex), measured)
        assert {type(failure) for failure in found} == {InterchangeLost}
        # Each exception has its own traceback.
        assert len({id(failure) for failure in found}) == len(found)
        (lost, *_) = found
        assert (lost.label, lost.exit_code) == ("htex", -signal.SIGKILL)
        assert "SIGKILL" in str(lost)
        assert lost.log_path == f"{htex.logdir}/interchange.log"
        last = Path(lost.log_path).read_text().splitlines()[-1]
        assert lost.log_lines[-1] == last and last in str(lost)
        assert htex.bad_state_is_set
        assert htex.outstanding() == 0


def test_nothing_waits_for_an_interchange_that_is_lost_at_rest(tmp_path, measured):
    """Commands, submissions and scaling raise the loss or go on; the shutdown cancels the
    blocks."""
    with linked(tmp_path / "run", heartbeat_threshold=120, heartbeat_period=30) as htex:
        managers = [
            process
            for process in processes.running_descendants()
            if "process_worker_pool" in processes.command_line(process.pid)
        ]
        assert managers
        begin = kill_interchange(htex)
        wait_until(lambda: htex.bad_state_is_set, LOSS_S, "the loss is noticed")
        for ask in (
            htex.connected_managers,
            htex.connected_blocks,
            lambda: htex._hold_block("0"),
            lambda: htex.submit(jobs.add, {}, 1, 2),
            lambda: htex.submit_payload({}, b""),
        ):
            with pytest.raises(InterchangeLost):
                ask()
        assert set(htex.status()) == {"0"}
        assert htex.scale_out_facade(1) == []
        assert htex.scale_in_facade(1, max_idletime=0.0) == []
        assert time.monotonic() - begin < LOSS_S
        pid, begin = htex.interchange_proc.pid, time.monotonic()
        htex.shutdown()
        measured(f"shutdown after a loss: {time.monotonic() - begin:.3f} s")
        assert time.monotonic() - begin < SHUTDOWN_S
        assert own_threads() == []
        assert processes.read(pid) is None
        wait_until(
            lambda: not any(alive(manager.pid) for manager in managers), 10, "no manager is left"
        )


def test_a_command_that_waits_is_ended(tmp_path):
    with linked(tmp_path / "run", blocks=0) as htex:
        kill_interchange(htex, signal.SIGSTOP)
        raised: list[BaseException] = []

        def ask() -> None:
            try:
                htex.connected_managers()
            except InterchangeLost as lost:
                raised.append(lost)

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        wait_until(htex.command_client._lock.locked, LOSS_S, "the command is under way")
        kill_interchange(htex)
        asking.join(LOSS_S)
        assert not asking.is_alive() and raised


def test_an_interrupted_command_leaves_the_channel_usable(tmp_path):
    """KeyboardInterrupt while a reply is awaited; the reply comes later and is dropped."""
    with linked(tmp_path / "run", blocks=0) as htex:
        kill_interchange(htex, signal.SIGSTOP)
        with interrupted_once(htex.command_client._lock.locked):
            htex.connected_managers()
        kill_interchange(htex, signal.SIGCONT)
        answers: list[list] = []
        asking = threading.Thread(
            target=lambda: answers.append(htex.connected_blocks()), daemon=True
        )
        asking.start()
        asking.join(RESULT_S)
        assert answers == [[]]


@contextmanager
def interrupted_once(is_time: Callable[[], bool]):
    """Expects a KeyboardInterrupt, which another thread causes in this one as Ctrl-C does."""

    def interrupt() -> None:
        wait_until(is_time, LOSS_S, "it is time for the interrupt")
        _thread.interrupt_main()

    # A shell ignores SIGINT for what it starts in the background.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
        interrupting.join()
    finally:
        signal.signal(signal.SIGINT, before)


class Gate:
    """Blocks Parsl's result thread in a callback of a future, as a user's code may."""

    def __init__(self, future) -> None:
        self.reached, self.open = threading.Event(), threading.Event()
        future.add_done_callback(self._hold)

    def _hold(self, _future) -> None:
        self.reached.set()
        self.open.wait(RESULT_S)


def answered_behind_a_gate(htex):
    """Returns a gate, and futures whose results wait behind the gate in this process."""
    gate = Gate(htex.submit(jobs.add, {}, 0, 0))
    assert gate.reached.wait(RESULT_S)
    futures = [htex.submit(jobs.add, {}, number, 1) for number in range(10)]
    # The interchange sends a result before it answers a later command.
    done = [htex._task_counter]
    log = Path(htex.logdir) / "interchange.log"
    wait_until(lambda: f"Put task {done[0]} onto" in log.read_text(), 10, "all are queued")
    wait_until(lambda: htex.connected_managers()[0]["tasks"] == 0, RESULT_S, "all are answered")
    return gate, futures


def test_results_that_came_before_the_end_count(tmp_path):
    with linked(tmp_path / "run", worker_debug=True) as htex:
        gate, futures = answered_behind_a_gate(htex)
        kill_interchange(htex)
        assert htex._watch.ended.wait(LOSS_S)
        gate.open.set()
        assert [future.result(LOSS_S) for future in futures] == list(range(1, 11))
        wait_until(lambda: htex.bad_state_is_set, LOSS_S, "the loss is noticed")


def test_a_callback_that_does_not_return_delays_no_other_future(tmp_path):
    with linked(tmp_path / "run", worker_debug=True) as htex:
        gate, futures = answered_behind_a_gate(htex)
        found = failures(futures, kill_interchange(htex))
        assert {type(failure) for failure in found} == {InterchangeLost}
        gate.open.set()


def test_cancelled_future_does_not_keep_the_others_waiting(tmp_path):
    with linked(tmp_path / "run", blocks=0) as htex:
        futures = [htex.submit(jobs.add, {}, number, 1) for number in range(3)]
        assert futures[0].cancel()
        found = failures(futures[1:], kill_interchange(htex))
        assert {type(failure) for failure in found} == {InterchangeLost}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_callback_that_exits_does_not_keep_the_others_waiting(tmp_path):
    with linked(tmp_path / "run", blocks=0) as htex:
        futures = [htex.submit(jobs.add, {}, number, 1) for number in range(3)]
        futures[0].add_done_callback(lambda _: sys.exit(1))
        found = failures(futures, kill_interchange(htex))
        assert {type(failure) for failure in found} == {InterchangeLost}


def test_an_end_with_a_clean_status_is_a_loss_too(tmp_path):
    with linked(tmp_path / "run", blocks=0) as htex:
        future = htex.submit(jobs.add, {}, 1, 2)
        (lost,) = failures([future], kill_interchange(htex, signal.SIGTERM))
        assert lost.exit_code == (-signal.SIGTERM if stock_under_test() else 0)


def test_submissions_during_the_end_all_fail(tmp_path):
    """Submissions from other threads, at any moment, are refused, or their futures fail; none stays
    open."""
    with linked(tmp_path / "run", blocks=0) as htex:
        futures, refused = [], threading.Event()

        def submit() -> None:
            while not refused.is_set():
                try:
                    futures.append(htex.submit(jobs.add, {}, 1, 2))
                except InterchangeLost:
                    refused.set()

        submitting = threading.Thread(target=submit, daemon=True)
        submitting.start()
        wait_until(lambda: len(futures) > 20, RESULT_S, "tasks are being submitted")
        begin = kill_interchange(htex)
        assert refused.wait(LOSS_S)
        submitting.join(LOSS_S)
        assert {type(failure) for failure in failures(futures, begin)} == {InterchangeLost}


class FakeLateBooks(HighThroughputExecutor):
    """An executor that loses its interchange after a submission has checked for a loss and before
    it records the task."""

    lose = False

    @property
    def tasks(self):
        if self.lose:
            self.lose = False
            kill_interchange(self)
            wait_until(lambda: self.bad_state_is_set, LOSS_S, "the loss is noticed")
        return self._tasks


def test_a_task_that_is_entered_after_the_loss_fails_too(tmp_path):
    with executors.running(tmp_path / "run", kind=FakeLateBooks, survive=False, blocks=0) as htex:
        htex.lose = True
        assert type(htex.submit(jobs.add, {}, 1, 2).exception(LOSS_S)) is InterchangeLost


EARLY_ENDS = {
    "reads-its-config": ["import sys; sys.stdin.buffer.read(); sys.exit(7)", 7],
    "reads-nothing": ["import os; os._exit(8)", 8],
    "is-killed": ["import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -9],
}


@pytest.mark.parametrize(("program", "code"), EARLY_ENDS.values(), ids=EARLY_ENDS)
def test_an_end_before_the_start_is_complete_raises(tmp_path, program, code):
    """Parsl's own interchange makes the user wait for two minutes, and reports only that it failed
    to start."""
    begin = time.monotonic()
    command = [sys.executable, "-c", program]

    def fill_the_pipe(htex) -> None:
        """Makes the configuration so large that it is still being written when the process ends."""
        htex.run_id = "x" * 200_000

    with (
        pytest.raises(InterchangeLost) as raised,
        linked(tmp_path / "run", interchange_launch_cmd=command, prepare=fill_the_pipe),
    ):
        pass
    assert raised.value.exit_code == code
    assert time.monotonic() - begin < 10
    assert own_threads() == []


@pytest.mark.ours_only("stock does not say why it did not start")
@pytest.mark.expect_error("port")
def test_a_refused_start_raises_its_reason_and_leaves_nothing(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        port = occupied.getsockname()[1]
        with (
            pytest.raises(ValueError, match=r"refused to start.*port"),
            linked(tmp_path / "run", worker_port=port),
        ):
            pass
    assert own_threads() == []


def test_a_command_that_does_not_exist_raises_and_leaves_nothing(tmp_path):
    with (
        pytest.raises(FileNotFoundError, match="no-such-interchange"),
        linked(tmp_path / "run", interchange_launch_cmd=["no-such-interchange"]),
    ):
        pass
    assert own_threads() == []


def test_a_normal_shutdown_is_no_loss(tmp_path, caplog):
    """Shuts down ten times; each time with an outstanding task, whose future stays open, as in
    Parsl."""
    caplog.set_level(logging.WARNING, "htex_interchange")
    for number in range(10):
        with linked(tmp_path / f"run{number}", blocks=0) as htex:
            future = htex.submit(jobs.add, {}, 1, 2)
        assert not htex.bad_state_is_set
        assert not future.done()
        assert own_threads() == []
    assert not caplog.records


def test_a_kill_during_the_shutdown_is_no_loss(tmp_path, caplog):
    caplog.set_level(logging.WARNING, "htex_interchange")
    with linked(tmp_path / "run", blocks=0) as htex:
        kill_interchange(htex, signal.SIGSTOP)
        ending = threading.Thread(target=htex.shutdown, daemon=True)
        ending.start()
        # A stopped process cannot react to SIGTERM; once the signal is pending, the shutdown has
        # begun.
        pid = executors.broker_pid(htex)
        wait_until(lambda: _term_is_pending(pid), LOSS_S, "SIGTERM was sent")
        kill_interchange(htex)
        ending.join(LOSS_S)
        assert not ending.is_alive()
    assert not htex.bad_state_is_set
    assert not caplog.records


def test_an_interrupted_shutdown_can_be_repeated(tmp_path):
    with linked(tmp_path / "run", blocks=0) as htex:
        kill_interchange(htex, signal.SIGSTOP)
        process = htex.interchange_proc
        process.send_signal(signal.SIGSTOP)
        with interrupted_once(lambda: _term_is_pending(process.pid)):
            htex.shutdown(RESULT_S)
        assert alive(process.pid)
        htex.shutdown(0.1)
        assert own_threads() == []
        assert process.wait(LOSS_S) == -signal.SIGKILL


SENDS_DURING_THE_SHUTDOWN = """
import threading, time
from parsl.executors.high_throughput.zmq_pipes import TasksOutgoing
from htex_interchange.guards import GuardedTasks

refusals = []
def submit(tasks, begun):
    begun.set()
    try:
        while True:
            tasks.put({"task_id": 1, "buffer": b""})
    except RuntimeError as refusal:
        refusals.append(refusal)

for _ in range(20):
    tasks = GuardedTasks(TasksOutgoing("127.0.0.1", (20000, 65000)), lambda: False, dict)
    begun = threading.Event()
    submitting = threading.Thread(target=submit, args=(tasks, begun))
    submitting.start()
    begun.wait()
    time.sleep(0.02)
    tasks.close()
    submitting.join()
print(len(refusals))
"""


def test_a_task_that_is_sent_during_the_shutdown_is_refused():
    """A socket that is closed while another thread sends aborts the process. Parsl's launching
    thread may still run when the executor is shut down."""
    told = subprocess.run(
        [sys.executable, "-c", SENDS_DURING_THE_SHUTDOWN],
        env={**os.environ, "PYTHONPATH": str(environment.HARNESS_DIR)},
        capture_output=True,
        text=True,
        timeout=RESULT_S,
    )
    assert (told.stdout, told.returncode) == ("20\n", 0), told.stderr


def _term_is_pending(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    (mask,) = (line.split()[1] for line in status.splitlines() if line.startswith("ShdPnd"))
    return bool(int(mask, 16) & 1 << (signal.SIGTERM - 1))


@pytest.mark.parametrize("retries", [pytest.param(0, marks=pytest.mark.long), 2])
def test_apps_of_a_whole_run_fail(tmp_path, retries, measured):
    """On a lost executor, all retries fail immediately; none of them waits."""
    config = executors.kernel_config(tmp_path / "run", kind=HighThroughputExecutor, survive=False)
    config.retries = retries
    (htex,) = config.executors
    kernel = parsl.load(config)
    try:
        started = tmp_path / "started"
        apps = [parsl.python_app(jobs.touch_and_wait)(str(started), str(tmp_path / "never"))]
        wait_until(started.exists, RESULT_S, "the worker is busy")
        apps += [parsl.python_app(jobs.add)(number, 1) for number in range(20)]
        dependent = parsl.python_app(jobs.echo)(apps[0])
        found = failures(apps, kill_interchange(htex), measured)
        assert {type(failure) for failure in found} == {InterchangeLost}
        assert {app.task_record["fail_count"] for app in apps} == {retries + 1}
        assert "InterchangeLost" in repr(dependent.exception(LOSS_S))
    finally:
        begin = time.monotonic()
        kernel.cleanup()
        parsl.clear()
    measured(f"cleanup of a run after the loss: {time.monotonic() - begin:.3f} s")
    assert time.monotonic() - begin < 2 * SHUTDOWN_S
    assert own_threads() == []


def test_the_exception_pickles_and_is_one_of_parsls():
    lost = InterchangeLost("htex", -11, "/logs/interchange.log", ("one", "two"))
    assert isinstance(lost, ParslError)
    copy = pickle.loads(pickle.dumps(lost))
    assert (type(copy), vars(copy), str(copy)) == (InterchangeLost, vars(lost), str(lost))
    assert "SIGSEGV" in str(lost)
    assert "internal error" in str(InterchangeLost("htex", 70, "/logs/interchange.log"))


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A folder of scripts, beside the interpreter, that holds the binary under test."""
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / command.BINARY_NAME).symlink_to(environment.binary())
    monkeypatch.setattr(sys, "executable", str(scripts / "python"))
    return scripts


@pytest.mark.ours_only("stock is not looked for")
def test_the_binary_is_found_and_given_the_exact_versions(tmp_path, installed):
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    wanted = [
        str(installed / command.BINARY_NAME),
        "--python-version",
        version,
        "--parsl-version",
        VERSION,
    ]
    assert launch_command() == wanted
    wanted += ["--cores-per-worker=0.1"]
    htex = executors.executor(
        kind=HighThroughputExecutor, interchange_launch_cmd=None, survive=False
    )
    assert htex.interchange_launch_cmd == wanted
    assert str(installed) in repr(htex)
    with linked(tmp_path / "run", interchange_launch_cmd=None) as htex:
        pid = htex.interchange_proc.pid
        assert processes.executable(pid) == environment.binary()
        assert processes.command_line(pid).split() == wanted
        assert htex.submit(jobs.add, {}, 1, 2).result(RESULT_S) == 3


def test_path_is_searched_last_and_an_explicit_command_wins(installed, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / command.BINARY_NAME).symlink_to("/bin/true")
    monkeypatch.setenv("PATH", str(elsewhere))
    assert command.find_binary() == str(installed / command.BINARY_NAME)
    (installed / command.BINARY_NAME).unlink()
    assert command.find_binary() == str(elsewhere / command.BINARY_NAME)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=str(installed)):
        HighThroughputExecutor()
    named = HighThroughputExecutor(interchange_launch_cmd=["mine"])
    assert named.interchange_launch_cmd == ["mine"]


def test_mpi_executor_is_linked_too(tmp_path):
    htex = MPIExecutor(
        max_workers_per_block=1,
        mpi_launcher="mpiexec",
        address="127.0.0.1",
        interchange_launch_cmd="replaced below: the type here is one word",
        label="mpi",
        provider=local_provider(init_blocks=0, launcher=SimpleLauncher()),
    )
    htex.interchange_launch_cmd = command_under_test()
    htex.run_dir = str(tmp_path)
    htex.start()
    future = htex.submit(jobs.add, {"num_nodes": 1, "num_ranks": 1}, 1, 2)
    (lost,) = failures([future], kill_interchange(htex))
    assert type(lost) is InterchangeLost
    htex.shutdown()
    assert own_threads() == []


def short_or_long(name: str):
    """A short run takes only the oldest release; all other tests use the newest."""
    return pytest.param(name, id=name, marks=() if name == OLDEST else pytest.mark.long)


@pytest.mark.timeout(400)
@pytest.mark.ours_only("every release brings the stock interchange that it needs")
@pytest.mark.parametrize("name", [short_or_long(name) for name in WINDOW])
def test_each_release_of_the_window(name, tmp_path, measured):
    release = supported.release(name)
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    request = {"run_dir": str(run_dir), "interchange": str(environment.binary())}
    request["encrypted"] = True
    report = release.report_of("harness.releases.linked_ends_program", request, run_dir)
    times = {key: report.pop(key) for key in ("lost_s", "cleanup_s")}
    measured(f"Parsl {name}: {times}")
    assert report == {
        "version": padded(name),
        "sum": 3,
        "failures": ["InterchangeLost"],
        "exit_codes": [-9],
        "log_is_quoted": True,
        "bad_state": True,
        "command": "InterchangeLost",
        "submitted_after": "InterchangeLost",
        "threads": [],
    }
    assert times["lost_s"] < LOSS_S and times["cleanup_s"] < 2 * SHUTDOWN_S
