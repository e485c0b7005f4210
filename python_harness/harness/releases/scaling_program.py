"""Checks that Parsl's strategy ends an idle block while another block runs a task.

Prints one JSON report. Run by a release's Python: python -m harness.releases.scaling_program
REQUEST, a JSON object: `run_dir`; `interchange`, the binary.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import parsl
from parsl import Config

from harness.htex import jobs
from harness.htex.executors import executor
from harness.htex.provider import local_provider
from harness.machine.waiting import wait_until

IDLE_S = 3
SCALED_IN_WITHIN_S = 60


def main(request: dict) -> dict:
    run_dir = Path(request["run_dir"])
    config = Config(
        executors=[
            executor(
                interchange_launch_cmd=[request["interchange"]],
                provider=local_provider(init_blocks=2, min_blocks=0, max_blocks=2),
            )
        ],
        run_dir=str(run_dir / "runinfo"),
        strategy="htex_auto_scale",
        strategy_period=1,
        max_idletime=IDLE_S,
        usage_tracking=0,
    )
    (htex,) = config.executors
    with parsl.load(config):
        # Keeps both blocks busy until both are connected: the strategy ends unconnected blocks
        # first.
        tasks = [_Task(htex, run_dir / name) for name in ("one", "other")]
        for task in tasks:
            wait_until(task.started.exists, 60, "it runs")
        before = len(_active(htex))
        tasks[0].end()
        wait_until(lambda: len(_active(htex)) == 1, SCALED_IN_WITHIN_S, "one is scaled in")
        after = len(_active(htex))
        tasks[1].end()
    return {"blocks_before": before, "blocks_after": after}


class _Task:
    """A task that runs until `end` is called."""

    def __init__(self, htex, files: Path) -> None:
        self.started, self.proceed = files.with_suffix(".started"), files.with_suffix(".proceed")
        self.future = htex.submit(jobs.touch_and_wait, {}, str(self.started), str(self.proceed))

    def end(self) -> None:
        self.proceed.touch()
        self.future.result(60)


def _active(htex) -> list[dict]:
    return [row for row in htex.connected_managers() if row["active"]]


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))), flush=True)
