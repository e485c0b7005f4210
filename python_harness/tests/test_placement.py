"""A task runs where it fits: real executors and managers, judged by what the tasks themselves
recorded."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import Future
from pathlib import Path

import numpy
import parsl
import pytest
from parsl import Config
from parsl.executors.high_throughput.errors import ManagerLost

from harness.htex import executors, jobs, spans
from harness.htex.executors import add_blocks, manager_processes
from harness.htex.provider import local_provider
from harness.machine import processes
from harness.machine.waiting import wait_until
from harness.setup import environment
from htex_interchange import HighThroughputExecutor, PackManagerSelector, SpreadManagerSelector

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.ours_only("stock gives every task one slot of any manager"),
]

RESULT_S = 90
# HTEX requires a core for each worker. The machine's own number does not matter to tasks that
# sleep.
ONE_EACH = {"cores_per_worker": 0.001}


def placing(run_dir: Path, **options):
    return executors.running(run_dir, kind=HighThroughputExecutor, **{**ONE_EACH, **options})


def slots(count: int) -> dict:
    """Returns a resource specification that requires this many slots."""
    return {"cores": count * ONE_EACH["cores_per_worker"]}


def warnings(htex) -> list[str]:
    log = Path(htex.logdir) / "interchange.log"
    return [line for line in log.read_text().splitlines() if " WARNING: " in line]


def results(futures: list[Future]) -> list:
    deadline = time.monotonic() + RESULT_S
    return [future.result(max(0, deadline - time.monotonic())) for future in futures]


def busy(htex, tmp_path, name: str, specification: dict) -> tuple[Future, Path]:
    """Submits a task and waits until it runs. The task ends when the returned path is created."""
    started, proceed = tmp_path / f"{name}-started", tmp_path / f"{name}-proceed"
    future = htex.submit(jobs.touch_and_wait, specification, str(started), str(proceed))
    wait_until(started.exists, RESULT_S, f"{name} runs")
    return future, proceed


def two_blocks_that_drain(htex, first_s: int, second_s: int) -> None:
    """Starts blocks 0 and 1, whose managers drain after these times."""
    add_blocks(htex, 1)
    before, after = (f"--drain_period={period_s}" for period_s in (first_s, second_s))
    assert before in htex.launch_cmd
    htex.launch_cmd = htex.launch_cmd.replace(before, after)
    add_blocks(htex, 1)


def test_tasks_run_where_there_is_time_for_them(tmp_path):
    """Only block 0 has enough time left for tasks of 300 s."""
    with placing(tmp_path / "run", blocks=0, drain_period=3600, max_workers_per_node=2) as htex:
        two_blocks_that_drain(htex, 3600, 120)
        long = {"running_time_min": 300}
        blocks = results([htex.submit(jobs.where, long) for _ in range(40)])
        assert {block for block, *_ in blocks} == {"0"}
        # While the first block is busy, the second can still run short tasks, and tasks that state
        # no time.
        blockers = [busy(htex, tmp_path, f"long{number}", long) for number in range(2)]
        waiting = htex.submit(jobs.where, long)
        short = [htex.submit(jobs.where, {"running_time_min": 1}) for _ in range(3)]
        short += [htex.submit(jobs.where, {}) for _ in range(3)]
        assert {block for block, *_ in results(short)} == {"1"}
        assert not waiting.done()
        for future, proceed in blockers:
            proceed.touch()
            future.result(RESULT_S)
        assert waiting.result(RESULT_S)[0] == "0"


def test_a_walltime_ends_what_has_no_drain_time(tmp_path):
    provider = local_provider(init_blocks=1, max_blocks=4, min_blocks=0)
    provider.walltime = "00:05:00"
    with placing(tmp_path / "run", provider=provider) as htex:
        assert "--walltime-s=300" in htex.interchange_launch_cmd
        fits = [htex.submit(jobs.where, {"running_time_min": limit}) for limit in (1, 200)]
        assert len(results(fits)) == 2
        waits = htex.submit(jobs.where, {"running_time_min": 301})
        wait_until(lambda: warnings(htex), 30, "it is said that nothing fits", every_s=0.1)
        assert "301 s" in warnings(htex)[0]
        assert not waits.done()


@pytest.mark.long
@pytest.mark.parametrize("prefetch", [0, 3])
def test_large_tasks_amid_thousands_of_small_ones(tmp_path, prefetch, measured):
    """Managers never run more tasks than they have slots, and no task waits for ever."""
    workers, small_count, large_count = 8, 4000, 6
    path = str(tmp_path / "spans")
    with placing(
        tmp_path / "run", blocks=2, max_workers_per_node=workers, prefetch_capacity=prefetch
    ) as htex:
        small = [htex.submit(jobs.span, {}, path, "1", 0.01) for _ in range(small_count // 2)]
        large = [
            htex.submit(jobs.span, slots(count), path, str(count), 0.2)
            for count in (workers, 5, workers, 3, 5, workers)
        ]
        assert len(large) == large_count
        # More small tasks are always queued until the large ones are done.
        while not all(future.done() for future in large):
            if sum(not future.done() for future in small) < small_count // 4:
                small += [htex.submit(jobs.span, {}, path, "1", 0.01) for _ in range(500)]
            assert len(small) < 10 * small_count, "the large ones starve"
            time.sleep(0.01)
        results(small + large)
        assert htex.outstanding() == 0
    seen = spans.read(Path(path))
    assert len(seen) == len(small) + large_count
    most = {
        manager: spans.most_at_once(own, lambda span: int(span.name))
        for manager, own in spans.by_manager(seen).items()
    }
    assert len(most) == 2 and max(most.values()) <= workers, most
    first = seen[0].begin
    ends = sorted(span.end - first for span in seen if span.name != "1")
    measured(
        f"prefetch {prefetch}: large tasks done after {[round(end, 1) for end in ends]} s, amid "
        f"{len(small)} small ones in {max(span.end for span in seen) - first:.1f} s"
    )


def test_priorities_order_what_fits_alike(tmp_path):
    order = tmp_path / "order"
    with placing(tmp_path / "run", max_workers_per_node=2, worker_debug=True) as htex:
        blockers = [busy(htex, tmp_path, f"b{number}", {}) for number in range(2)]
        asked = [("late", 10), ("first", -1), ("second", 0)]
        futures = [
            htex.submit(jobs.note, {"priority": priority, **slots(2)}, str(order), name)
            for name, priority in asked
        ]
        wait_until(
            lambda: "Put task 5 onto" in (Path(htex.logdir) / "interchange.log").read_text(),
            10,
            "all are queued",
        )
        for _, proceed in blockers:
            proceed.touch()
        results([*futures, *(future for future, _ in blockers)])
    assert order.read_text().split() == ["first", "second", "late"]


def test_tasks_of_one_affinity_run_on_one_manager_and_then_on_another(tmp_path):
    with placing(tmp_path / "run", blocks=2, max_workers_per_node=2, heartbeat_threshold=3) as htex:
        values = ["a", ("a", numpy.int64(1)), b"a", 7]
        for value in values:
            futures = [htex.submit(jobs.where, {"manager_affinity": value}) for _ in range(40)]
            assert len({manager for _, manager, _ in results(futures)}) == 1, value
        running, _ = busy(htex, tmp_path, "a", {"manager_affinity": "a"})
        (home,) = {
            manager
            for _, manager, _ in results([htex.submit(jobs.where, {"manager_affinity": "a"})])
        }
        rows = {row["manager"]: row["block_id"] for row in htex.connected_managers()}
        (process,) = [
            one
            for one in manager_processes()
            if f"--block_id={rows[home]} " in processes.command_line(one.pid) + " "
        ]
        waiting = [htex.submit(jobs.where, {"manager_affinity": "a"}) for _ in range(20)]
        doomed = [process, *processes.running_descendants(process.pid)]
        for one in doomed:
            processes.send(one, signal.SIGKILL)
        with pytest.raises(ManagerLost):
            running.result(30)
        # Tasks that the killed manager held are lost with it; the others move together to another
        # manager.
        done = [future for future in waiting if not future.exception(RESULT_S)]
        later = [htex.submit(jobs.where, {"manager_affinity": "a"}) for _ in range(20)]
        managers = {manager for _, manager, _ in results(later)}
        assert len(managers) == 1 and managers != {home}
        assert {future.result()[1] for future in done} <= managers | {home}


@pytest.mark.parametrize("routing", [pytest.param("soft", marks=pytest.mark.long), "hard"])
def test_managers_stay_with_a_type_of_task(tmp_path, routing, measured):
    """Each change of type costs the loading of data for that type. Without routing by type, six of
    seven tasks would change the type."""
    types, count, managers = 7, 1000, 6
    path = tmp_path / "spans"
    with placing(
        tmp_path / "run",
        blocks=managers,
        max_workers_per_node=2,
        task_type_routing=routing,
        provider=local_provider(init_blocks=managers, max_blocks=managers),
    ) as htex:
        futures = [
            htex.submit(jobs.span, {"task_type": name}, str(path), name, 0.01)
            for name in itertools.islice(itertools.cycle(f"t{n}" for n in range(types)), count)
        ]
        results(futures)
    seen = spans.read(path)
    assert Counter(span.name for span in seen).total() == count
    changed = spans.changes(seen)
    measured(f"{routing}: {changed} changes of type in {count} tasks")
    assert changed < count / 2
    if routing == "hard":
        assert spans.mixed(seen) == []
    # Each type has been served.
    last = {span.name: span.begin for span in seen}
    assert len(last) == types


def test_a_routing_of_its_own(tmp_path):
    path = tmp_path / "spans"
    with placing(tmp_path / "run", max_workers_per_node=3) as htex:
        specifications = [
            {"task_type": name, "routing": "hard"} for name in itertools.islice("ab" * 30, 60)
        ]
        futures = [
            htex.submit(jobs.span, one, str(path), one["task_type"], 0.02) for one in specifications
        ]
        results(futures)
    assert spans.mixed(spans.read(path)) == []


def test_only_nodes_that_match(tmp_path):
    host = socket.gethostname()
    with placing(tmp_path / "run", blocks=2) as htex:
        for node, blocks in (
            ({"block_id": "1"}, {"1"}),
            ({"block_id": ["0", "7"], "hostname": host}, {"0"}),
            ({"block_id": "[0]", "hostname": ["nowhere", host[:2] + "*"]}, {"0"}),
            ({"block_id": "?", "cpu_count": numpy.int64(1), "total_memory": 1}, {"0", "1"}),
        ):
            futures = [htex.submit(jobs.where, {"node": node}) for _ in range(30)]
            assert {block for block, *_ in results(futures)} <= blocks, node


def test_a_task_that_fits_nowhere_waits_and_is_reported(tmp_path):
    with placing(tmp_path / "run", blocks=1, max_workers_per_node=4) as htex:
        too_large = [htex.submit(jobs.add, slots(8), 1, number) for number in range(12)]
        nowhere = htex.submit(jobs.add, {"node": {"hostname": "nowhere*"}}, 1, 2)
        # All other tasks go on.
        assert results([htex.submit(jobs.add, {}, number, 1) for number in range(50)])
        wait_until(lambda: len(warnings(htex)) >= 2, 30, "both kinds are told", every_s=0.1)
        text = "\n".join(warnings(htex))
        assert "12 tasks need 8 slots on one manager; the largest has 4" in text
        assert "nowhere*" in text and "needs a node on which no manager runs" in text
        assert not any(future.done() for future in [*too_large, nowhere])
        told = subprocess.run(
            [environment.binary(), "status", str(tmp_path)], capture_output=True, text=True
        ).stdout
        assert "12 tasks" in told and "8 slots" in told and "nowhere*" in told, told
        # There is one warning for each kind.
        assert results([htex.submit(jobs.add, {}, number, 1) for number in range(50)])
        assert len(warnings(htex)) == 2


def test_every_value_that_is_accepted_is_read(tmp_path):
    """Submits the largest accepted value of each kind."""
    affinities = [
        "x" * 1000,
        "ä" * 500,
        b"\0" * 1000,
        2**8000 - 1,
        -(2**8000 - 1),
        float("-inf"),
        5e-324,
        tuple(range(76)),
        (0.1,) * 49,
        (((((((("deep",),),),),),),),),
        (),
        "",
        False,
    ]
    specifications = [{"manager_affinity": affinity} for affinity in affinities]
    specifications += [{"task_type": "ä" * 500, "routing": "hard"}, {"memory": 1e-300}]
    specifications += [{"node": {"hostname": ["x" * 1000] * 63 + ["*"], "total_memory": 0.5}}]
    with placing(tmp_path / "run") as htex:
        assert len(results([htex.submit(jobs.where, one) for one in specifications])) == 16
        assert warnings(htex) == []


def test_the_example_of_the_page_runs(tmp_path):
    page = (environment.PROJECT_DIR / "src/guide/use.md").read_text()
    section = page.partition("\n## Tasks that say where they fit\n")[2].partition("\n## ")[0]
    (example,) = [block.split("```")[0] for block in section.split("```python\n")[1:]]
    env = {
        **os.environ,
        "PATH": f"{environment.binary().parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(environment.HARNESS_DIR),
    }
    told = subprocess.run(
        [sys.executable, "-c", example],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=RESULT_S,
    )
    assert told.returncode == 0, told.stderr[-3000:]
    wanted = ["large is done", *(f"small {number} is done" for number in range(20))]
    assert told.stdout.splitlines() == wanted
    (log,) = tmp_path.rglob("interchange.log")
    assert "Selector: Pack" in log.read_text()


def test_the_workers_environment_stays_clean(tmp_path):
    with placing(tmp_path / "run", max_workers_per_node=2) as htex:
        before = results([htex.submit(jobs.exported, {}) for _ in range(4)])
        words = {
            **slots(numpy.float32(2)),
            "memory": numpy.uint16(1),
            "manager_affinity": "nul \0 and = and\nlines",
            "task_type": "t",
            "routing": "soft",
            "running_time_min": 0.5,
            "node": {"hostname": "*"},
        }
        assert results([htex.submit(jobs.exported, words) for _ in range(4)]) == before
        assert before == [[]] * 4


class Feeder:
    """Keeps this many tasks in an executor until it is told to stop."""

    def __init__(self, htex, count: int, path: Path) -> None:
        self.htex, self.count, self.path = htex, count, str(path)
        self.futures: list[Future] = []

    def feed(self) -> None:
        missing = self.count - sum(not future.done() for future in self.futures)
        for _ in range(missing):
            self.futures.append(self.htex.submit(jobs.span, {}, self.path, "x", 0.25))

    def done_by_block(self) -> Counter:
        return Counter(future.result() for future in self.futures if future.done())


def scaled_config(run_dir: Path, selector) -> Config:
    """Returns a configuration with two blocks of four workers. Parsl ends a block that was idle for
    two seconds."""
    htex = executors.executor(
        kind=HighThroughputExecutor,
        manager_selector=selector,
        max_workers_per_node=4,
        provider=local_provider(init_blocks=2, min_blocks=1, max_blocks=2),
    )
    return Config(
        executors=[htex],
        run_dir=str(run_dir),
        strategy="htex_auto_scale",
        strategy_period=0.5,
        max_idletime=2,
        usage_tracking=0,
    )


@pytest.mark.parametrize(
    "selector", [pytest.param(SpreadManagerSelector, marks=pytest.mark.long), PackManagerSelector]
)
def test_parsls_scaling_in_finds_a_block_that_pack_left_idle(tmp_path, selector, measured):
    """Three tasks at a time fit into one of two blocks of four workers each."""
    config = scaled_config(tmp_path / "run", selector())
    (htex,) = config.executors
    is_packed = selector is PackManagerSelector
    with parsl.load(config):
        # Parsl treats a block that is not registered yet as idle for ever. As long as there is work
        # for two blocks, it ends neither.
        feeder = Feeder(htex, 8, tmp_path / "spans")

        def active() -> int:
            feeder.feed()
            return sum(row["active"] for row in htex.connected_managers())

        wait_until(
            # Before a block's workers have started, the tasks dispatched to it would keep the other
            # block idle.
            lambda: active() == 2 and sorted([0, 0, *feeder.done_by_block().values()])[-2] >= 16,
            RESULT_S,
            "all workers of both blocks are at work",
            every_s=0.02,
        )
        feeder.count = 3
        begin = time.monotonic()
        if is_packed:
            wait_until(lambda: active() == 1, 30, "the idle block is ended", every_s=0.02)
        else:
            # Three times the time after which Parsl ends an idle block.
            wait_until(
                lambda: active() == 2 and time.monotonic() - begin > 6, 15, "6 s", every_s=0.02
            )
        measured(f"{selector.__name__}: {active()} blocks after {time.monotonic() - begin:.1f} s")
        assert len(results(feeder.futures)) == len(feeder.futures)
        assert active() == (1 if is_packed else 2)


def test_spread_gives_each_node_as_much(tmp_path):
    path = tmp_path / "spans"
    selector = SpreadManagerSelector()
    with placing(
        tmp_path / "run",
        blocks=3,
        max_workers_per_node=4,
        prefetch_capacity=4,
        manager_selector=selector,
    ) as htex:
        assert (
            "spread"
            in subprocess.run(
                [environment.binary(), "status", str(tmp_path)], capture_output=True, text=True
            ).stdout
        )
        # Ensures that all workers have started.
        workers = 12
        blockers = [busy(htex, tmp_path, f"b{number}", {}) for number in range(workers)]
        for _, proceed in blockers:
            proceed.touch()
        results([future for future, _ in blockers])
        results([htex.submit(jobs.span, {}, str(path), "x", 5) for _ in range(6)])
    seen = spans.read(path)
    # Each manager ran two tasks, and no task waited beside a free worker.
    assert [len(own) for own in spans.by_manager(seen).values()] == [2, 2, 2]
    assert max(span.begin for span in seen) < min(span.end for span in seen)
