"""Kills the interchange of a run under one release of Parsl, and prints one JSON report of the
effects.

Run by that release's Python: python -m harness.releases.linked_ends_program REQUEST, a JSON object:
`run_dir`; `interchange`, the binary; `encrypted`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import parsl
from parsl.version import VERSION

from harness.htex import jobs
from harness.htex.executors import kernel_config
from harness.machine.waiting import wait_until
from htex_interchange import HighThroughputExecutor, InterchangeLost

RESULT_S = 40
QUEUED = 20


def main(request: dict) -> dict:
    run_dir = Path(request["run_dir"])
    config = kernel_config(
        run_dir,
        kind=HighThroughputExecutor,
        interchange_launch_cmd=[request["interchange"]],
        encrypted=request["encrypted"],
        survive=False,
    )
    (executor,) = config.executors
    kernel = parsl.load(config)
    report = {"version": VERSION, "sum": parsl.python_app(jobs.add)(1, 2).result(RESULT_S)}
    report.update(_lose(executor, run_dir))
    report["submitted_after"] = _name(parsl.python_app(jobs.add)(1, 2).exception(RESULT_S))
    begin = time.monotonic()
    kernel.cleanup()
    report["cleanup_s"] = time.monotonic() - begin
    threads = {thread.name for thread in threading.enumerate()}
    report["threads"] = sorted(name for name in threads if name.startswith("HTEX"))
    return report


def _lose(executor: HighThroughputExecutor, run_dir: Path) -> dict:
    """Kills the interchange while one task runs and many are queued, and then sends a command."""
    started = run_dir / "started"
    wait = parsl.python_app(jobs.touch_and_wait)(str(started), str(run_dir / "never"))
    wait_until(started.exists, RESULT_S, "the worker is busy")
    futures = [wait, *(parsl.python_app(jobs.add)(number, 1) for number in range(QUEUED))]
    os.kill(executor.interchange_proc.pid, signal.SIGKILL)
    begin = time.monotonic()
    failures = [future.exception(RESULT_S) for future in futures]
    lost_s = time.monotonic() - begin
    try:
        executor.connected_managers()
        command = "answered"
    except InterchangeLost:
        command = "InterchangeLost"
    return {
        "failures": sorted({_name(failure) for failure in failures}),
        "exit_codes": sorted({failure.exit_code for failure in failures}),
        "log_is_quoted": all(failure.log_lines for failure in failures),
        "lost_s": lost_s,
        "bad_state": executor.bad_state_is_set,
        "command": command,
    }


def _name(what: object) -> str:
    return type(what).__name__


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))), flush=True)
