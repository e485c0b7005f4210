"""The command `perf`: runs Parsl's own benchmark, parsl-perf, with stock and with htex-interchange.

The runs alternate. All else is equal: real managers, real workers, this machine. CPU times of all
processes are read when parsl-perf begins and ends a batch. A second run submits one task after
another and measures the delay that an interactive user sees.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path

import psutil

from harness.machine import processes, runner, usage
from harness.measure.compare import Contender, Measurement, Row, console, contenders, in_turn, show
from harness.setup import environment

# The first batch starts the workers and fills caches; only the second batch counts.
WARM_UP_TASKS = 200

# Groups of processes whose CPU time is counted, with their titles in the table.
PARTS = {
    "interchange": "interchange",
    "submit": "submit process",
    "node": "managers and workers",
}

CONFIG = """
from parsl import Config
from parsl.executors import HighThroughputExecutor
from harness.htex.provider import local_provider

config = Config(
    executors=[HighThroughputExecutor(
        interchange_launch_cmd={command!r},
        encrypted={encrypted!r},
        max_workers_per_node={workers!r},
        cores_per_worker=0.1,
        provider=local_provider(init_blocks=1, max_blocks=1),
    )],
    run_dir={run_dir!r},
    strategy="none",
)
"""


class Watch:
    """Reads CPU times when parsl-perf reports the beginning and end of a batch."""

    def __init__(self, command: tuple[str, ...]) -> None:
        self.command = " ".join(command)
        self.begin: dict[str, float] = {}
        self.end: dict[str, float] = {}
        self.rate = 0.0

    def __call__(self, line: str) -> None:
        if line.startswith("Submitting tasks"):
            self.begin = self._cpu_seconds()
        elif rate := re.match(r"Tasks per second: ([\d.]+)", line):
            self.rate, self.end = float(rate[1]), self._cpu_seconds()

    def used_us(self, tasks: int) -> Measurement:
        """Returns the CPU time per task in µs, by group of processes."""
        return {part: (self.end[part] - self.begin[part]) / tasks * 1e6 for part in PARTS}

    def _cpu_seconds(self) -> dict[str, float]:
        used = dict.fromkeys(PARTS, 0.0)
        for process in processes.running_descendants():
            part = self._part(processes.command_line(process.pid).strip())
            try:
                used[part] += usage.cpu_seconds(process.pid)
            except psutil.NoSuchProcess:
                continue
        return used

    def _part(self, command_line: str) -> str:
        # Stock renames its process; htex-interchange keeps its command line.
        if command_line in (self.command, "parsl: HTEX interchange"):
            return "interchange"
        return "submit" if "parsl-perf" in command_line else "node"


def run(ours: Path, options: argparse.Namespace) -> int:
    def measure(contender: Contender) -> Measurement:
        result = _parsl_perf(contender, options)
        console.print(
            f"  {contender.name}: {result['rate']:.0f} tasks/s; CPU per task: interchange "
            f"{result['interchange']:.0f} µs, submit process {result['submit']:.0f} µs, managers "
            f"and workers {result['node']:.0f} µs; one after another {result['p50_ms']:.2f} ms"
        )
        return result

    console.print(
        f"parsl-perf, {options.tasks} tasks, one manager x {options.workers} workers, "
        f"{'plain' if options.plain else 'encrypted'}, {options.pairs} runs of each"
    )
    stock, mine = in_turn(contenders(ours), options.pairs, measure)
    show(
        f"medians of {options.pairs}",
        [
            Row("tasks per second", stock["rate"], mine["rate"], "", larger_is_better=True),
            Row("one task after another, median", stock["p50_ms"], mine["p50_ms"], "ms"),
            Row("one task after another, 99 %", stock["p99_ms"], mine["p99_ms"], "ms"),
            *[Row(f"CPU per task, {PARTS[part]}", stock[part], mine[part], "µs") for part in PARTS],
            Row("CPU per task, all", _total(stock), _total(mine), "µs"),
        ],
    )
    return 0


def _total(measured: Measurement) -> float:
    return sum(measured[part] for part in PARTS)


def _parsl_perf(contender: Contender, options: argparse.Namespace) -> Measurement:
    with tempfile.TemporaryDirectory(prefix="htex-interchange-perf-") as folder:
        config = Path(folder) / "config.py"
        config.write_text(
            CONFIG.format(
                command=list(contender.command),
                encrypted=not options.plain,
                workers=options.workers,
                run_dir=folder,
            )
        )
        watch = Watch(contender.command)
        command = [sys.executable, str(environment.VENV_BIN / "parsl-perf")]
        command += ["--config", str(config), "--argsize", str(options.argsize)]
        command += ["--iterate", f"{WARM_UP_TASKS},{options.tasks}"]
        result = runner.run(command, on_line=watch)
        command = [sys.executable, "-m", "harness.measure.sequential", str(config)]
        sequential = runner.run([*command, str(options.sequential)], capture_stdout=True)
    for ended in (result, sequential):
        if ended.code != 0:
            print(ended.stdout[-2000:], file=sys.stderr)
            raise environment.Unprepared(f"a run failed with exit code {ended.code}", 1)
    latency = json.loads(sequential.stdout.splitlines()[-1])
    return {"rate": watch.rate, **watch.used_us(options.tasks), **latency}
