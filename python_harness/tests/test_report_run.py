"""The report of real runs, compared with what the executor's user saw."""

from __future__ import annotations

import signal
import time
from concurrent.futures import wait
from pathlib import Path

import pytest
from parsl.executors.high_throughput.errors import ManagerLost

from harness.htex import executors, jobs
from harness.htex.interchange import command_under_test
from harness.machine import processes
from harness.machine.waiting import wait_until
from htex_interchange.report import units
from htex_interchange.report.command import read
from htex_interchange.report.page import page_of
from htex_interchange.report.sentences import sentences

pytestmark = pytest.mark.ours_only("stock writes no events")

WORKERS = 2
RESULT_S = 60
TASK_S = 0.3


def with_events(*options: str) -> list[str]:
    return [*command_under_test(), "--events", "events.jsonl", *options]


def only_run(place: Path):
    (run,) = read(place)
    return run


def says(run) -> list[str]:
    texts = [sentence.text for sentence in sentences(run)]
    return [text.replace(units.NO_BREAK, " ") for text in texts]


def test_a_run_that_loses_a_manager(tmp_path):
    """Each of two managers has two tasks when one of the managers is killed; the other tasks wait
    for the surviving manager."""
    place = tmp_path / "run"
    with executors.running(
        place,
        blocks=2,
        max_workers_per_node=WORKERS,
        heartbeat_threshold=3,
        interchange_launch_cmd=with_events(),
    ) as htex:
        begun = time.time()
        flags = [(str(tmp_path / f"started-{n}"), str(tmp_path / "proceed")) for n in range(4)]
        futures = [htex.submit(jobs.touch_and_wait, {}, *paths) for paths in flags]
        wait_until(
            lambda: all(Path(started).exists() for started, _ in flags), RESULT_S, "all four run"
        )
        futures += [htex.submit(time.sleep, {}, TASK_S) for _ in range(6)]
        victim = executors.manager_processes()[0]
        processes.send(victim, signal.SIGKILL)
        wait_until(
            lambda: sum(future.done() for future in futures) == 2, RESULT_S, "two tasks are lost"
        )
        (tmp_path / "proceed").touch()
        wait(futures, RESULT_S)
        took_s = time.time() - begun
    run = only_run(place)
    lost = [future for future in futures if isinstance(future.exception(0), ManagerLost)]
    assert len(lost) == 2 and (run.tasks, run.done) == (10, 8)
    assert run.failed == {"ManagerLost": 2} and run.unanswered == 0
    assert not run.is_partial and run.end is not None and run.reading.unknown == {}
    assert {manager.block for manager in run.managers} == {"0", "1"}
    assert [manager.workers for manager in run.managers] == [WORKERS, WORKERS]
    # The killed manager is lost with its tasks. A manager whose block the executor ended may be
    # lost later, without tasks.
    (loss,) = [loss for loss in run.losses if loss.tasks]
    assert loss.tasks == 2 and set(loss.manager.lost_ids) == {
        future.parsl_executor_task_id for future in lost
    }
    assert "2 tasks failed in HTEX: 2 with ManagerLost." in says(run)
    # Six sleeps on two workers, one after another.
    assert len(run.flights_s) == 8 and min(run.flights_s) >= TASK_S
    assert 6 * TASK_S <= run.worker_time.used <= 2 * WORKERS * took_s
    assert run.worker_time.used < run.worker_time.registered <= 2 * WORKERS * run.duration_s
    assert max(run.waits_s) > TASK_S and run.saturated_s > 2 * TASK_S
    page = page_of([run], time.time())
    assert page.count("<figure") == 8 and loss.manager.name in page


def test_a_run_whose_files_are_rotated(tmp_path):
    """In the first run every file is kept, in the second one the oldest files are removed."""
    for tasks, is_whole in ((20, True), (300, False)):
        place = tmp_path / str(tasks)
        with executors.running(
            place,
            max_workers_per_node=WORKERS,
            interchange_launch_cmd=with_events("--events-max-bytes", "4096"),
        ) as htex:
            wait([htex.submit(jobs.add, {}, n, n) for n in range(tasks)], RESULT_S)
        run = only_run(place)
        assert 1 < len(run.source.files) <= 5 and run.set_back_s == 0
        assert run.start["label"] and run.end is not None and run.reading.bad == 0
        assert run.may_lack_beginning is not is_whole
        if is_whole:
            assert (run.tasks, run.done, run.orphans) == (tasks, tasks, 0), run.source.files
            assert not run.is_partial
        else:
            assert run.orphans and 0 < run.done < tasks
            assert any(text.startswith("The beginning may be missing") for text in says(run))


def test_a_run_that_is_still_running(tmp_path):
    place, proceed = tmp_path / "run", tmp_path / "proceed"
    with executors.running(place, interchange_launch_cmd=with_events()) as htex:
        future = htex.submit(jobs.touch_and_wait, {}, str(tmp_path / "started"), str(proceed))
        wait_until((tmp_path / "started").exists, RESULT_S, "the task runs")
        wait_until(
            lambda: only_run(place).unanswered_in_flight == 1, RESULT_S, "its dispatch is written"
        )
        run = only_run(place)
        assert run.end is None and run.done == 0 and run.oldest_in_flight[0].manager.host
        assert any("was still running when this report was made" in text for text in says(run))
        proceed.touch()
        future.result(RESULT_S)
    assert only_run(place).end is not None
