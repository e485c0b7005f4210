"""The report's figures and sentences on runs, compared with results computed by hand.

Times are seconds after BEGIN. The expected values were computed on paper, not copied.
"""

from __future__ import annotations

import random

import pytest

from harness.fakes.history import (
    BEGIN,
    FOUR_TASKS,
    change,
    done,
    end,
    joined,
    lost_task,
    queued,
    restart,
    says,
    sent,
    start,
    task,
)
from htex_interchange.report import figures, tables, units
from htex_interchange.report.model import AT_MANAGERS, IN_QUEUE, NOWHERE
from htex_interchange.report.series import series_of
from htex_interchange.report.steps import COLUMNS, Columns, Counts, Steps


def test_figures_of_four_tasks(run_of):
    run = run_of(FOUR_TASKS)
    assert (run.tasks, run.done, run.failed_count, run.unanswered) == (4, 4, 0, 0)
    assert run.task_bytes == 400 and run.duration_s == 12
    time = run.worker_time
    # Two workers from 1 to 12 s; both busy from 2 to 7 s, one to 10 s.
    assert (time.registered, time.used, time.closed) == (22, 13, 0)
    assert (time.idle[NOWHERE], time.idle[AT_MANAGERS], time.idle[IN_QUEUE]) == (9, 0, 0)
    assert (run.waiting_s[IN_QUEUE], run.waiting_s[AT_MANAGERS]) == (2, 2)
    assert run.waiting_s[NOWHERE] == 8 and run.saturated_s == 4
    assert sorted(run.waits_s) == [0, 0, 0, 2] and sorted(run.flights_s) == [2, 4, 5, 6]
    flights = figures.quantiles(run.flights_s)
    assert (flights.count, flights.median_s, flights.longest_s) == (4, 4.5, 6)
    assert (flights.p95_s, flights.p99_s) == pytest.approx((5.85, 5.97))
    assert figures.throughput(run) == 0.5 and run.peak_in_a_second == 1
    assert [flight.task for flight in run.longest_flights] == [4, 3, 2, 1]
    assert run.longest_flights[0].waited_s == 2


def test_series_of_four_tasks(run_of):
    run = run_of(FOUR_TASKS)
    # 12 s need columns of 1/32 s: 512 of them are 16 s.
    assert run.columns.width_s == 1 / 32 and run.columns.count == 12 * 32 + 1
    per_second = [0.0] * 13
    for place, value in enumerate(run.queued_steps.integrals()):
        per_second[place // 32] += value
    assert per_second == pytest.approx([0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    (manager,) = run.managers
    busy = [sum(manager.busy.integrals()[at : at + 32]) for at in range(0, 384, 32)]
    assert busy == pytest.approx([0, 0, 2, 2, 2, 2, 2, 1, 1, 1, 0, 0])
    present = figures.present_by_column(run, manager)
    assert sum(present) == pytest.approx(22) and sum(present[:32]) == 0
    assert sum(run.done_counts.by_column()) == 4


def test_sentences_of_four_tasks(run_of):
    assert says(run_of(FOUR_TASKS)) == [
        "4 of 4 tasks were done. The events cover 12 s.",
        "Workers had a task for 59 % of the 22 worker-seconds for which they were registered.",
        "For 33 % of the run (4 s) tasks waited while every worker that accepted tasks was busy: "
        "more workers that fit these tasks would have had work in this time.",
        # From 6 to 10 s: 5 worker-seconds used, 3 idle.
        "In the last 4 s before the last answer (33 % of the run) no task waited any more. Workers "
        "that accepted tasks were idle for 38 % of that time, while the last tasks ran.",
        "For 67 % of the run (8 s) no task waited, neither in the queue nor at a manager: more "
        "workers would not have helped in this time.",
    ]


def test_short_and_busy_tails_are_not_reported(run_of):
    def told(last: float, idle_workers: int) -> bool:
        """Returns whether the tail is reported. A task waits until 95 s and runs until `last`,
        beside this many idle workers."""
        run = run_of(
            [
                start(),
                joined(0, workers=1),
                *(joined(0, f"idle-{n}") for n in range(idle_workers)),
                *(change(0, "held", f"idle-{n}") for n in range(idle_workers)),
                *queued(0, 1, 2),
                sent(0, 1),
                done(95, 1),
                sent(95, 2),
                *(joined(95, f"late-{n}") for n in range(idle_workers)),
                done(last, 2),
                end(last),
            ]
        )
        return any("before the last answer" in text for text in says(run))

    assert told(102, 1) and not told(102, 0) and not told(97, 1)


def test_idle_beside_prefetched_and_queued_tasks(run_of):
    """From 1 to 3 s one of two workers is idle beside a prefetched task, from 3 to 7 s beside a
    queued one."""
    run = run_of(
        [
            start(),
            joined(1, "m1"),
            joined(1, "m2"),
            *queued(1, 1, 2),
            sent(1, 1),
            sent(1, 2),
            *queued(3, 3),
            done(7, 1),
            sent(7, 3, "m2"),
            done(8, 2),
            done(8, 3, "m2"),
            end(8),
        ]
    )
    time = run.worker_time
    assert (time.used, time.idle[AT_MANAGERS], time.idle[IN_QUEUE]) == (8, 2, 4)
    assert time.idle[NOWHERE] == 0 and run.saturated_s == 0
    told = says(run)
    assert any(
        text.startswith(
            "Workers were idle for 29 % of their time (4 worker-seconds) while tasks waited in the"
        )
        for text in told
    ), told
    assert any(
        text.startswith(
            "Workers were idle for 14 % of their time (2 worker-seconds) while tasks waited at"
        )
        for text in told
    ), told
    assert not any("more workers" in text and "would have had" in text for text in told)


def test_a_task_of_several_slots_keeps_as_many_workers_busy(run_of):
    """Four workers: from 1 to 5 s, three have one task and one has another. A third task waits for
    four workers until 6 s; no prefetched task delays it."""
    run = run_of(
        [
            start(),
            joined(0, workers=4),
            task(1, 1, "queued", needs="3 cores"),
            *queued(1, 2),
            sent(1, 1, slots=3),
            sent(1, 2),
            task(2, 3, "queued", needs="4 cores"),
            done(5, 1),
            done(6, 2),
            sent(6, 3, slots=4),
            change(7, "suspect"),
            change(8, "back"),
            done(9, 3),
            # Two tasks on more slots than the manager has, which no interchange dispatches.
            *queued(9, 4, 5),
            sent(9, 4, slots=3),
            sent(9, 5, slots=2),
            done(11, 4),
            done(12, 5),
            end(12),
        ]
    )
    time = run.worker_time
    first = 4 * 4 + 1 * 1 + 3 * 4
    assert (time.registered, time.used) == (48, first + 2 * 4 + 1 * 2)
    # From 5 to 6 s three workers are idle beside the task that needs four.
    assert (time.idle[IN_QUEUE], time.closed) == (3, 0)
    # From 2 to 5 s, and at the end while one of two tasks waits.
    assert run.saturated_s == 3 + 2 and run.waiting_s[AT_MANAGERS] == 2
    assert (run.wide_tasks, run.widest) == (4, 4)
    # Tasks that workers had: two from 1 to 5 s, then one, whatever number of workers they took.
    spans = run.columns.spans()
    running = zip(series_of(run).running, spans, strict=True)
    assert sum(mean * span for mean, span in running) == pytest.approx(8 + 1 + 3 + 2 + 1)
    told = says(run)
    assert told[1].startswith("Workers had a task for 81 % of the 48 worker-seconds")
    assert told[2] == (
        "4 of 5 tasks took several workers of a manager each, up to 4: all these workers count as "
        "having a task."
    )
    assert [flight.slots for flight in run.longest_flights] == [1, 3, 2, 4, 3]
    page = tables.all_of(run)
    assert ">Slots</th>" in page
    assert ">Slots</th>" not in tables.all_of(run_of(FOUR_TASKS))


def test_losses_and_failures(run_of):
    run = run_of(
        [
            start(),
            joined(1, "m1", workers=2, block="3"),
            joined(1, "m2"),
            *queued(2, 1, 2, 3, 4, 5),
            sent(2, 1),
            sent(2, 2),
            sent(2, 3),
            sent(2, 4, "m2"),
            task(3, 5, "failed", reason="Unreadable"),
            change(10, "lost", tasks=3, silent_s=6.5),
            lost_task(10, 3),
            lost_task(10, 1),
            lost_task(10, 2),
            done(11, 4, "m2"),
            change(12, "lost", "m2", tasks=0, silent_s=1.0),
            end(14),
        ]
    )
    assert run.failed == {"ManagerLost": 3, "Unreadable": 1} and run.done == 1
    first, second = run.losses
    assert (first.tasks, first.silent_s, first.manager.block) == (3, 6.5, "3")
    assert sorted(first.manager.lost_ids) == [1, 2, 3] and second.tasks == 0
    # m1: two workers from 1 to 10 s; m2: one from 1 to 12 s.
    assert run.worker_time.registered == 29 and run.worker_time.used == 2 * 8 + 9
    assert not any(run.unplaced_steps.integrals())
    told = says(run)
    assert (
        "1 manager was lost with 3 tasks in flight and 1 manager was lost without a task in "
        "flight." in told
    )
    assert "4 tasks failed in HTEX: 3 with ManagerLost and 1 with Unreadable." in told
    assert told[0] == "1 of 5 tasks were done and 4 failed. The events cover 14 s."
    blocks = {block.name: block for block in figures.blocks(run)}
    assert list(blocks) == ["0", "3"]
    assert (blocks["3"].losses, blocks["3"].workers, blocks["3"].last) == (1, 2, BEGIN + 10)


def test_tasks_that_were_lost_with_a_connection(run_of):
    """The tasks' manager goes on with its other tasks."""
    run = run_of(
        [
            start(),
            joined(1, "m1", workers=2, block="3"),
            *queued(2, 1, 2, 3),
            sent(2, 1),
            sent(2, 2),
            change(3, "suspect", tasks=2),
            change(4, "back", tasks=2),
            change(9, "gave_up", tasks=1),
            lost_task(9, 1),
            sent(9, 3),
            done(10, 2),
            done(11, 3),
            end(12),
        ]
    )
    assert run.done == 2 and run.failed == {"ManagerLost": 1}
    (loss,) = run.losses
    assert (loss.how, loss.tasks, loss.manager.lost_ids) == ("gave_up", 1, [1])
    assert loss.manager.until is None and loss.manager.in_flight == 0
    assert "1 task given up at managers that reconnected after a broken connection." in says(run)


def test_managers_that_get_no_new_tasks(run_of):
    """Idle workers of a held manager are counted separately, and so are those of a suspect manager
    until it is back. Workers of a drained manager no longer count."""
    run = run_of(
        [
            start(),
            joined(0, "m1", workers=2),
            joined(0, "m2"),
            joined(0, "m3"),
            *queued(0, 1),
            sent(0, 1),
            change(1, "held"),
            change(2, "suspect", "m2"),
            change(5, "back", "m2"),
            change(6, "draining", "m3"),
            change(6, "drained", "m3"),
            done(8, 1),
            end(10),
        ]
    )
    time = run.worker_time
    assert time.registered == 20 + 10 + 6 and time.used == 8
    # m1: one worker from 1 to 8 s, two to 10 s; m2: from 2 to 5 s.
    assert time.closed == 7 + 4 + 3
    assert time.idle == [36 - 8 - 14, 0, 0]
    assert (
        says(run)[-1] == "1 manager was held, 1 manager was drained after its drain_period "
        "and the connection of 1 manager closed."
    )


def test_the_wait_of_a_task_dispatched_twice_is_unknown(run_of):
    run = run_of(
        [
            start(),
            joined(0),
            *queued(1, 1),
            sent(2, 1),
            # The events of the task's answer and of its second acceptance are missing.
            sent(7, 1),
            done(9, 1),
            end(9),
        ]
    )
    assert list(run.waits_s) == [] and list(run.flights_s) == [2] and run.tasks == 1
    assert run.worker_time.used == 7 and run.waiting_s[IN_QUEUE] == 1


def test_a_manager_that_registers_again(run_of):
    """A manager that registers again over the same connection keeps its task. A replaced manager
    loses its task, and its successor counts as another manager."""
    run = run_of(
        [
            start(),
            joined(0),
            *queued(0, 1),
            sent(0, 1),
            joined(2, workers=3),
            done(4, 1),
            *queued(5, 2),
            sent(5, 2),
            change(6, "replaced"),
            lost_task(6, 2),
            joined(6, workers=5),
            end(8),
        ]
    )
    assert [manager.workers for manager in run.managers] == [3, 5]
    assert run.managers[0].spans == [(BEGIN, BEGIN + 2, 1), (BEGIN + 2, BEGIN + 6, 3)]
    assert run.worker_time.used == 5 and run.worker_time.registered == 2 + 12 + 10
    assert "1 manager was replaced by another process with 1 task in flight." in says(run)
    (block,) = figures.blocks(run)
    assert block.workers == 5


def test_late_managers_and_blocks(run_of):
    run = run_of(
        [
            start(),
            *queued(10, 1),
            joined(70, "m1", block="7"),
            sent(70, 1),
            joined(190, "m2", block="10"),
            joined(200, "m3", block="9"),
            done(300, 1),
            end(300),
        ]
    )
    told = says(run)
    late = "The first manager registered 1 min after the first task arrived (20 % of the run)."
    assert late in told
    assert "Block 9, the last of 3 blocks, registered 2 min 10 s after block 7." in told
    assert [block.name for block in figures.blocks(run)] == ["7", "9", "10"]


@pytest.mark.parametrize(
    ("events", "told"),
    [
        ([start(), end(3)], ["No task arrived in 3 s.", "No manager registered."]),
        (
            [start(), *queued(1, 1, 2), end(5)],
            [
                "0 of 2 tasks were done and 2 have no answer in the events. The events cover 5 s.",
                "No manager registered. Every task stayed in the queue.",
            ],
        ),
        ([start(), joined(1), end(5)], ["No task arrived in 5 s."]),
    ],
)
def test_runs_without_results(run_of, events, told):
    assert says(run_of(events)) == told


def test_a_run_without_an_end(run_of):
    run = run_of(
        [
            start(),
            joined(0),
            *queued(0, 1, 2, 3),
            sent(0, 1),
            done(2, 1),
            sent(2, 2),
            *queued(9, 4),
        ]
    )
    assert (run.unanswered_in_flight, run.unanswered_queued) == (1, 2)
    (oldest,) = run.oldest_in_flight
    assert (oldest.task, oldest.seconds, oldest.waited_s) == (2, 7, 2)
    assert [(one.task, one.seconds) for one in run.oldest_waiting] == [(3, 9), (4, 0)]
    told = says(run)
    assert any(text.startswith("The events end at ") and "was killed" in text for text in told)
    assert (
        "Task 2 has been in flight for 7 s at manager m1 (node-m1, block 0); of the tasks that "
        "were done, the longest took 2 s." in told
    )


def test_a_restarted_interchange_is_one_run(run_of):
    """Each process of the run writes a first line with the time of the first process's start. The
    file may have been rotated since."""
    events = [
        start(pid=1),
        joined(0),
        *queued(0, 1, 2),
        sent(0, 1),
        start(pid=2),
        restart(2),
        done(4, 1),
        start(pid=2),
        sent(4, 2),
        done(6, 2),
        end(8),
    ]
    run = run_of(events)
    assert (run.done, run.unanswered, run.duration_s) == (2, 0, 8)
    assert run.start["pid"] == 2
    assert [(one.t, one.down_s) for one in run.restarts] == [(BEGIN + 2, 0.5)]
    (told,) = [text for text in says(run) if "restarted" in text]
    assert told.startswith("The interchange was restarted at ")
    assert told.endswith(
        ": its process was killed (SIGKILL). It was down for 500 ms, and the last events before "
        "that may be missing."
    )
    again = [*events[:-1], start(pid=3), restart(7, number=2), end(8)]
    (told,) = [text for text in says(run_of(again)) if "restarted" in text]
    assert "was restarted 2 times, the last at " in told and "for 1 s in all" in told


def test_an_end_that_only_the_log_has(run_of, tmp_path):
    """A busy machine may have had no time to write the last events. The log of another process in
    the same directory says nothing about this run."""
    log = tmp_path / "interchange.log"
    events = [start(pid=4711), joined(0), *queued(0, 1), sent(0, 1), done(2, 1)]
    for pid, why in ((4712, "was killed, or could not"), (4711, "signal to end, as its log says")):
        log.write_text(f"1.0 MainProcess-{pid} MainThread-1 x INFO: any words [exiting]\n")
        (text,) = [text for text in says(run_of(events)) if text.startswith("The events end at ")]
        assert why in text
    assert says(run_of([*events, end(3)]))[0] == "The 1 task was done. The events cover 3 s."
    assert says(run_of([start(), *queued(0, 1), end(3)]))[0].startswith("The 1 task has no answer")


def test_events_that_begin_in_the_middle(run_of):
    """Managers and tasks from before the first event are counted, but the managers' workers are
    unknown. Sentences that could be wrong are left out."""
    run = run_of(
        [
            done(0, 1),
            sent(1, 2),
            *queued(1, 3),
            sent(2, 3),
            done(3, 2),
            joined(4, "m2"),
            done(5, 3),
            end(6),
        ]
    )
    assert (run.tasks, run.done, run.unanswered) == (3, 3, 0)
    assert list(run.waits_s) == [1] and list(run.flights_s) == [2, 3]
    assert [(one.workers, one.is_known) for one in run.managers] == [(0, False), (1, True)]
    assert run.worker_time.used == 0 and run.worker_time.registered == 2
    in_flight = sum(run.unplaced_steps.integrals())
    assert in_flight == pytest.approx(2 + 3)
    told = says(run)
    assert told[0] == "3 of 3 tasks were done. The events cover 6 s."
    assert told[1].startswith("The beginning may be missing (only the newest event files")
    assert told[2].startswith("The registration of 1 manager is not in the events")
    assert len(told) == 3, told


def test_a_clock_that_is_set_back(run_of):
    run = run_of([start(), joined(5), *queued(6, 1), sent(2, 1), done(3, 1), end(9)])
    assert run.set_back_s == 4 and run.duration_s == 9
    assert list(run.flights_s) == [0] and run.worker_time.registered == 4
    assert any("The clock was set back by up to 4 s" in text for text in says(run))


@pytest.mark.parametrize("seed", range(20))
def test_columns_hold_the_integral_however_often_they_fold(seed):
    """Compares with an integral that is summed up step by step."""
    chance = random.Random(seed)
    columns = Columns(BEGIN)
    early, counts, t, level, expected = Steps(columns), Counts(columns), 0.0, 0, 0.0
    late, late_level, late_expected = None, 0, 0.0
    for number in range(400):
        dt = chance.expovariate(1.0) * 10 ** chance.uniform(-4, seed % 5)
        expected, late_expected = expected + level * dt, late_expected + late_level * dt
        t += dt
        columns.move(BEGIN + t)
        by = chance.choice([-2, -1, 1, 3])
        early.step(by)
        level += by
        counts.count()
        if number == 200:
            late = Steps(columns)
        if late:
            late.step(by)
            late_level += by
    assert columns.count <= COLUMNS < 2 * columns.count + 2
    assert sum(columns.spans()) == pytest.approx(t, rel=1e-6)
    assert sum(early.integrals()) == pytest.approx(expected, rel=1e-6, abs=1e-4)
    assert sum(late.integrals()) == pytest.approx(late_expected, rel=1e-6, abs=1e-4)
    assert len(early.integrals()) == len(late.integrals()) == columns.count
    assert sum(counts.by_column()) == 400


def test_histogram():
    values = [0.0, 5e-6, 0.001, 0.0012, 0.1, 1.0, 1.25, 1.26]
    found = figures.histogram(values)
    counts = {
        round(edge, 8): number for edge, number in zip(found.edges, found.counts, strict=False)
    }
    # Ten bins in a decade: from 1 to 1.2589, from there to 1.585.
    assert counts[1e-05] == 2 and counts[0.001] == 2 and counts[0.1] == 1
    assert counts[1.0] == 2 and counts[1.25892541] == 1
    assert sum(found.counts) == 8 and found.clamped == 2
    assert len(found.edges) == len(found.counts) + 1


def test_numbers_are_formatted_for_readers():
    shown = [
        units.duration(value)
        for value in (
            0,
            4e-7,
            2.5e-5,
            0.0123,
            0.9996,
            3.44,
            59.96,
            125,
            3600,
            4320,
            86400 * 3 + 7200,
            1e7,
        )
    ]
    assert [text.replace(units.NO_BREAK, " ") for text in shown] == [
        "0 s",
        "<1 µs",
        "25 µs",
        "12 ms",
        "1 s",
        "3.4 s",
        "1 min",
        "2 min 5 s",
        "1 h",
        "1 h 12 min",
        "3 d 2 h",
        "115 d 18 h",
    ]
    shares = [units.share(part, 1000) for part in (0, 0.5, 1, 94, 380, 996, 999.5, 1000)]
    assert [text.replace(units.NO_BREAK, " ") for text in shares] == [
        "0 %",
        "<0.1 %",
        "0.1 %",
        "9.4 %",
        "38 %",
        "99.6 %",
        ">99.9 %",
        "100 %",
    ]
    assert units.share(1, 0) == "–"
