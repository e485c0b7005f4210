"""With `survive`, the broker is killed while real managers work, and the run goes on. Each task
ends once, with its own result or with an error that says what was lost; managers and blocks stay.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import parsl
import pytest
from parsl.executors.high_throughput.errors import ManagerLost
from parsl.monitoring import MonitoringHub

from harness.htex import executors, jobs
from harness.htex.books import Books
from harness.htex.executors import manager_processes
from harness.machine import processes
from harness.machine.waiting import wait_until
from htex_interchange import HighThroughputExecutor, InterchangeLost, ResultLost

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.ours_only("stock's broker has no successor"),
    pytest.mark.expect_error("htex-interchange was killed"),
]

# Two workers and two prefetched tasks.
CAPACITY = 4
SHAPE = {"max_workers_per_node": 2, "prefetch_capacity": 2}
# The errors that a task with a manager, or on the way from one, may end with.
LOSSES = (ManagerLost, ResultLost)
SUCCEEDED_WITHIN_S = 10.0
RESULT_S = 60
LOAD = 150
KILLS_OF_A_LONG_RUN = 20


class Run:
    """An executor whose broker is killed, with the managers and blocks that must stay the same."""

    def __init__(self, htex: HighThroughputExecutor, tmp_path: Path) -> None:
        self.htex = htex
        self.books = Books(htex, tmp_path)
        self.keeper = htex.interchange_proc.pid
        self.managers = self._managers()
        self.blocks = dict(htex.blocks_to_job_id)
        self.kills = 0

    def kill(self, *, stopped: bool = False) -> None:
        """Kills the broker, and returns when another broker runs."""
        broker = executors.broker_pid(self.htex)
        assert broker != self.keeper
        if stopped:
            os.kill(broker, signal.SIGSTOP)
            wait_until(lambda: processes.read(broker).state == "T", 5, "it is stopped")
        os.kill(broker, signal.SIGKILL)
        self.kills += 1
        wait_until(
            lambda: executors.broker_pid(self.htex) not in (broker, self.keeper),
            SUCCEEDED_WITHIN_S,
            "another broker is there",
        )

    def goes_on(self) -> None:
        """Waits until another task has ended."""
        self.books.wait_done(min(self.books.done() + 1, len(self.books.futures)), RESULT_S)

    def stays(self) -> None:
        """Checks that all tasks have ended, and that only the broker was replaced."""
        # A manager may get other tasks in addition to those in doubt, and so hold more than its
        # capacity.
        outcomes = self.books.balance(120, LOSSES)
        assert outcomes.total() == len(self.books.futures)
        # Tasks in doubt at a kill are those that managers hold, and those in transit between two
        # buffers.
        lost = outcomes.total() - outcomes["result"]
        assert lost <= self.kills * 2 * CAPACITY * len(self.managers), outcomes
        assert self._managers() == self.managers
        assert self.htex.blocks_to_job_id == self.blocks
        assert self.htex.interchange_proc.pid == self.keeper
        wait_until(lambda: self.htex.outgoing_q._kept.ids() == [], 5, "no message is kept")

    def _managers(self) -> set[tuple[int, int]]:
        return {(one.pid, one.start_ticks) for one in manager_processes()}


@contextmanager
def surviving(tmp_path: Path, **options) -> Iterator[Run]:
    options = {**SHAPE, "heartbeat_threshold": 20, **options}
    with executors.running(
        tmp_path / "run", kind=HighThroughputExecutor, survive=True, **options
    ) as htex:
        yield Run(htex, tmp_path)


def warnings_of_restarts(caplog) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("parsl.htex_interchange") and record.levelname == "WARNING"
    ]


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in (2, 3))]
)
def test_the_broker_is_killed_under_a_load(tmp_path, seed, encrypted, caplog, measured):
    moments = random.Random(seed)
    with surviving(tmp_path, blocks=2, encrypted=encrypted) as run:
        run.books.submit(LOAD)
        run.books.wait_done(moments.randrange(LOAD - 20))
        run.kill()
        run.books.submit(20)
        run.stays()
        (warning,) = warnings_of_restarts(caplog)
        assert "(SIGKILL)" in warning and "restart 1" in warning
        measured(f"seed {seed}: {warning}")


@pytest.mark.parametrize(
    "encrypted",
    [pytest.param(False, marks=pytest.mark.long, id="plain"), pytest.param(True, id="encrypted")],
)
def test_tasks_arrive_while_the_broker_is_killed(tmp_path, encrypted):
    """Another thread submits tasks at any moment, and commands are answered during the restarts."""
    with surviving(tmp_path, encrypted=encrypted) as run:
        enough = threading.Event()
        rows: list[int] = []

        def ask() -> None:
            while not enough.is_set():
                rows.append(len(run.htex.connected_managers()))

        threads = [
            threading.Thread(target=run.books.submit, args=(300, 0.0), daemon=True),
            threading.Thread(target=ask, daemon=True),
        ]
        for thread in threads:
            thread.start()
        run.books.wait_done(20)
        for _ in range(2):
            run.kill()
            # The first answer may be from before the kill.
            rows.clear()
            wait_until(lambda: len(rows) > 2, RESULT_S, "commands are answered")
            run.goes_on()
        enough.set()
        for thread in threads:
            thread.join(RESULT_S)
            assert not thread.is_alive()
        run.stays()


def test_a_stopped_broker_is_killed(tmp_path):
    """Messages that arrived while the broker was stopped are in its sockets, unread."""
    with surviving(tmp_path) as run:
        run.books.submit(40)
        run.books.wait_done(5)
        broker = executors.broker_pid(run.htex)
        os.kill(broker, signal.SIGSTOP)
        run.books.submit(40)
        run.kill(stopped=True)
        run.stays()


def test_it_is_killed_twice_within_a_second(tmp_path):
    """The second broker has only just started."""
    with surviving(tmp_path) as run:
        run.books.submit(60)
        run.books.wait_done(5)
        run.kill()
        run.kill()
        run.stays()


def test_the_broker_is_killed_while_idle(tmp_path):
    """No task is in doubt then, and nothing is lost."""
    with surviving(tmp_path, blocks=2) as run:
        run.books.submit(20)
        assert run.books.balance(RESULT_S) == {"result": 20}
        run.kill()
        wait_until(
            lambda: len(run.htex.connected_managers()) == 2, RESULT_S, "both are back", every_s=0.05
        )
        run.books.submit(20)
        run.books.wait_done(40)
        assert run.books.balance(RESULT_S) == {"result": 40}
        run.stays()


def test_tasks_that_wait_for_a_block_wait_on(tmp_path):
    """The tasks are kept in the journal, and run when a manager registers."""
    with surviving(tmp_path, blocks=0) as run:
        run.books.submit(100)
        payload = os.urandom(4_000_000)
        large = run.htex.submit(jobs.echo, {}, payload)
        run.kill()
        executors.add_blocks(run.htex, 1)
        assert large.result(RESULT_S) == payload
        assert run.books.balance(RESULT_S) == {"result": 100}


def test_a_running_task_is_not_run_twice(tmp_path):
    """The manager keeps the task all the time, and the task ends with its own result."""
    with surviving(tmp_path) as run:
        started, proceed = tmp_path / "started", tmp_path / "proceed"
        future = run.htex.submit(jobs.touch_and_wait, {}, str(started), str(proceed))
        wait_until(started.exists, RESULT_S, "it runs")
        run.kill()
        wait_until(run.htex.connected_managers, RESULT_S, "its manager is back")
        started.unlink()
        proceed.touch()
        assert future.result(RESULT_S) > 0
        assert not started.exists()
        run.stays()


def test_a_held_block_stays_held(tmp_path):
    with surviving(tmp_path, blocks=2) as run:
        run.htex._hold_block("0")
        run.kill()
        wait_until(
            lambda: len(run.htex.connected_managers()) == 2, RESULT_S, "both are back", every_s=0.05
        )
        active = {row["block_id"]: row["active"] for row in run.htex.connected_managers()}
        assert active == {"0": False, "1": True}
        blocks = {run.htex.submit(jobs.where, {}).result(RESULT_S)[0] for _ in range(10)}
        assert blocks == {"1"}


def test_a_draining_manager_drains_on(tmp_path):
    # Counted from the manager's start: it has to register within this time.
    with surviving(tmp_path, drain_period=20) as run:
        started, proceed = tmp_path / "started", tmp_path / "proceed"
        future = run.htex.submit(jobs.touch_and_wait, {}, str(started), str(proceed))
        wait_until(started.exists, RESULT_S, "it runs")
        wait_until(
            lambda: run.htex.connected_managers()[0]["draining"], 60, "it drains", every_s=0.05
        )
        run.kill()
        wait_until(run.htex.connected_managers, RESULT_S, "it is back", every_s=0.05)
        (row,) = run.htex.connected_managers()
        assert row["draining"] and row["tasks"] == 1
        waiting = run.htex.submit(jobs.where, {})
        proceed.touch()
        assert future.result(RESULT_S) > 0
        wait_until(lambda: run.htex.connected_managers() == [], 10, "it is gone", every_s=0.05)
        executors.add_blocks(run.htex, 1)
        assert waiting.result(RESULT_S)[0] == "1"


def test_a_broker_that_keeps_ending_without_progress_is_a_loss(tmp_path, caplog):
    """A user, or something in the machine, kills every broker: the run then fails with a loss."""
    with surviving(tmp_path, blocks=0) as run:
        future = run.htex.submit(jobs.add, {}, 1, 2)
        # Only the first broker has made progress.
        run.kill()
        run.kill()
        run.kill()
        os.kill(executors.broker_pid(run.htex), signal.SIGKILL)
        assert type(future.exception(SUCCEEDED_WITHIN_S)) is InterchangeLost
        with pytest.raises(InterchangeLost):
            run.htex.submit(jobs.add, {}, 1, 2)
        assert run.htex.bad_state_is_set


def test_the_keeper_is_killed(tmp_path):
    """No process is left that could start another broker."""
    with surviving(tmp_path) as run:
        run.books.submit(20, 1.0)
        os.kill(run.keeper, signal.SIGKILL)
        for future in run.books.all():
            assert future.exception(SUCCEEDED_WITHIN_S) is None or isinstance(
                future.exception(), InterchangeLost
            )
        assert run.htex.bad_state_is_set


def test_a_shutdown_while_the_broker_is_replaced(tmp_path):
    """No process and no thread is left in this case either."""
    with surviving(tmp_path) as run:
        run.books.submit(40)
        os.kill(executors.broker_pid(run.htex), signal.SIGKILL)
    assert not [one.name for one in threading.enumerate() if one.name.startswith("HTEX")]


def test_a_whole_run_with_retries_and_monitoring(tmp_path, removable):
    """Every app has its result, and the monitoring database contains the managers."""
    config = executors.kernel_config(
        removable,
        kind=HighThroughputExecutor,
        survive=True,
        monitoring=MonitoringHub(resource_monitoring_interval=1.0),
        **SHAPE,
    )
    config.retries = 2
    (htex,) = config.executors
    with parsl.load(config):
        apps = [parsl.python_app(jobs.echo)(number) for number in range(60)]
        wait_until(lambda: sum(app.done() for app in apps) > 10, RESULT_S, "apps are done")
        os.kill(executors.broker_pid(htex), signal.SIGKILL)
        assert [app.result(RESULT_S) for app in apps] == list(range(60))
    log = next(removable.rglob("parsl.log")).read_text()
    assert log.count("and was replaced within") == 1
    database = sqlite3.connect(removable / "monitoring.db")
    with database:
        (hosts,) = database.execute("select count(distinct hostname) from node").fetchone()
        (tries,) = database.execute("select count(*) from try").fetchone()
    database.close()
    assert hosts == 1 and tries >= 60


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(10))
def test_two_hundred_kills(tmp_path, seed, measured):
    """Twenty brokers of one executor are killed, each after some progress, at any moment, some of
    them while stopped."""
    choice = random.Random(seed)
    with surviving(tmp_path, blocks=2, encrypted=bool(seed % 2)) as run:
        for _ in range(KILLS_OF_A_LONG_RUN):
            run.books.submit(choice.randrange(20, 100), choice.choice([0.0, 0.005, 0.02]))
            run.books.wait_done(run.books.done() + choice.randrange(1, 15))
            run.kill(stopped=choice.random() < 0.3)
            run.goes_on()
        run.stays()
        outcomes = Counter(type(one.exception()).__name__ for one in run.books.all())
        measured(f"seed {seed}: {len(run.books.futures)} tasks, exceptions: {dict(outcomes)}")
