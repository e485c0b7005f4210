"""A workflow under one release of Parsl, run by that release's Python; prints one JSON report.

Usage: python -m harness.releases.window_program REQUEST, a JSON object: `run_dir`; `interchange`,
the binary; `interchange_options`; `encrypted`; `monitoring`; `manager_path`, a folder whose
process_worker_pool.py replaces the release's own; `check_versions`. The program uses only what
every supported release has. `harness/releases/window.py` judges the report.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from pathlib import Path

import parsl
from parsl.executors import HighThroughputExecutor
from parsl.monitoring import MonitoringHub
from parsl.version import VERSION

from harness.htex import jobs
from harness.htex.executors import broker_pid, kernel_config
from harness.htex.provider import local_provider
from harness.machine import processes
from harness.machine.waiting import wait_until

RESULT_S = 40
FOUR_MB = 4_000_000
VALUES = 40
PRIORITIES = {"none": None, "ten": 10, "minus": -1.5, "zero": 0}


def main(request: dict) -> dict:
    run_dir = Path(request["run_dir"])
    path = request["manager_path"]
    hub = MonitoringHub(resource_monitoring_interval=1.0) if request["monitoring"] else None
    config = kernel_config(
        run_dir,
        monitoring=hub,
        interchange_launch_cmd=[request["interchange"], *request["interchange_options"]],
        encrypted=request["encrypted"],
        heartbeat_threshold=10,
        worker_debug=True,
        provider=local_provider(
            init_blocks=1,
            max_blocks=2,
            min_blocks=0,
            worker_init=f'export PATH="{path}:$PATH"' if path else "",
        ),
    )
    (executor,) = config.executors
    executor._check_python_mismatch = request["check_versions"]
    report = {"version": VERSION, "load_error": None}
    begin = time.monotonic()
    try:
        parsl.load(config)
    except Exception as reason:
        report["load_error"] = f"{type(reason).__name__}: {reason}"
        report["load_s"] = time.monotonic() - begin
        return report
    with parsl.dfk():
        report["served"] = str(processes.executable(broker_pid(executor)))
        report.update(_workflow(executor, run_dir))
    # The kernel's clean-up has ended the hub, so its database is complete.
    if hub:
        report["nodes"] = _node_rows(run_dir / "monitoring.db")
    return report


def _workflow(executor: HighThroughputExecutor, run_dir: Path) -> dict:
    add, echo = parsl.python_app(jobs.add), parsl.python_app(jobs.echo)
    sums = [add(number, number) for number in range(VALUES)]
    first = sums[0].exception(RESULT_S)
    if first is not None:
        return {"first_error": f"{type(first).__name__}: {first}"}
    report = {"first_error": None, "sums": [future.result(RESULT_S) for future in sums]}
    rejected = parsl.python_app(jobs.reject)("no good").exception(RESULT_S)
    report["exception"] = [type(rejected).__name__, *rejected.args]
    payload = os.urandom(FOUR_MB)
    report["four_mb_is_equal"] = echo(payload).result(RESULT_S) == payload
    report["order"] = _priorities(executor, run_dir)
    (manager,) = executor.connected_managers()
    report["manager"] = {key: manager[key] for key in ("block_id", "active", "parsl_version")}
    name = manager["manager"]
    name = name.decode() if isinstance(name, bytes) else name
    report["packages"] = len(executor.connected_managers_packages()[name])
    if hasattr(executor, "connected_workers"):
        report["workers"] = _called(executor.connected_workers)
    report.update(_hold(executor))
    report["blocks"] = executor.connected_blocks()
    return report


def _priorities(executor: HighThroughputExecutor, run_dir: Path) -> list[str]:
    """Returns the order in which tasks ran that all waited for the only worker."""
    started, proceed, order = (run_dir / name for name in ("started", "proceed", "order"))
    waiting = parsl.python_app(jobs.touch_and_wait)(str(started), str(proceed))
    wait_until(started.exists, RESULT_S, "the worker is busy")
    futures = []
    for name, priority in PRIORITIES.items():
        spec = {} if priority is None else {"priority": priority}
        futures.append(executor.submit(jobs.note, spec, str(order), name))
    last = executor._task_counter
    log = Path(executor.logdir) / "interchange.log"
    wait_until(
        lambda: f"Put task {last} onto pending_task_queue" in log.read_text(), 10, "all are queued"
    )
    proceed.touch()
    for future in [waiting, *futures]:
        future.result(RESULT_S)
    return order.read_text().split()


def _hold(executor: HighThroughputExecutor) -> dict:
    """Holds the only block, and then runs a task in a new block."""
    executor._hold_block("0")
    # Executors that receive reports instead of sending commands learn of the hold a little later.
    wait_until(lambda: not _actives(executor), 10, "the block is held")
    held = [row["active"] for row in executor.connected_managers()]
    future = parsl.python_app(jobs.where)()
    executor.scale_out_facade(1)
    return {"held": held, "next_block": future.result(RESULT_S)[0]}


def _actives(executor: HighThroughputExecutor) -> list[dict]:
    return [row for row in executor.connected_managers() if row["active"]]


def _called(what):
    """Returns the value of an attribute that is a property in some releases and a method in
    others."""
    return what() if callable(what) else what


def _node_rows(database: Path) -> list[dict]:
    connection = sqlite3.connect(database)
    connection.row_factory = sqlite3.Row
    rows = connection.execute("select block_id, worker_count, active, hostname from node")
    found = [dict(row) for row in rows]
    connection.close()
    return found


if __name__ == "__main__":
    told = main(json.loads(sys.argv[1]))
    print(json.dumps(told), flush=True)
    # A failed load leaves threads of Parsl behind that would block the exit.
    if told["load_error"]:
        os._exit(0)
