"""`perf`: Parsl's own benchmark, parsl-perf, with the stock interchange and with ours in turn.

Everything but the interchange is the same: real managers, real workers, this machine. The CPU
time of the interchange process is read from /proc when parsl-perf begins and ends a batch.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

from harness import environment, processes, stages
from harness.compare import Contender, Measurement, Row, console, contenders, in_turn, show

# A first batch starts the workers and fills caches; only the second one counts.
WARM_UP_TASKS = 200

CONFIG = """
from parsl import Config
from parsl.executors import HighThroughputExecutor
from harness.provider import local_provider

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
    """Reads the interchange's CPU time as parsl-perf reports the beginning and end of a batch."""

    def __init__(self, command: tuple[str, ...]) -> None:
        self.command = " ".join(command)
        self.begin_s = self.end_s = self.rate = 0.0

    def __call__(self, line: str) -> None:
        if line.startswith("Submitting tasks"):
            self.begin_s = self._cpu_seconds()
        elif rate := re.match(r"Tasks per second: ([\d.]+)", line):
            self.rate, self.end_s = float(rate[1]), self._cpu_seconds()

    def _cpu_seconds(self) -> float:
        """Stock renames itself; ours keeps the command it was started with."""
        titles = (self.command, "parsl: HTEX interchange")
        return sum(
            processes.cpu_seconds(process.pid)
            for process in processes.running_descendants()
            if processes.command_line(process.pid).strip() in titles
        )


def run(ours: Path, options: argparse.Namespace) -> int:
    def measure(contender: Contender) -> Measurement:
        result = _parsl_perf(contender, options)
        console.print(
            f"  {contender.name}: {result['rate']:.0f} tasks/s, {result['cpu']:.0f} µs per task"
        )
        return result

    console.print(
        f"parsl-perf, {options.tasks} tasks, one manager x {options.workers} workers, "
        f"{'plain' if options.plain else 'encrypted'}, {options.pairs} runs of each in turn"
    )
    stock, mine = in_turn(contenders(ours), options.pairs, measure)
    show(
        f"medians of {options.pairs}",
        [
            Row("tasks per second", stock["rate"], mine["rate"], "", larger_is_better=True),
            Row("CPU of the interchange per task", stock["cpu"], mine["cpu"], "µs"),
        ],
    )
    return 0


def _parsl_perf(contender: Contender, options: argparse.Namespace) -> Measurement:
    with tempfile.TemporaryDirectory(prefix="htex-interchange-perf-") as folder:
        config = Path(folder) / "config.py"
        config.write_text(
            CONFIG.format(
                command=list(contender.command), encrypted=not options.plain,
                workers=options.workers, run_dir=folder,
            )
        )  # fmt: skip
        watch = Watch(contender.command)
        command = [sys.executable, str(environment.VENV_BIN / "parsl-perf")]
        command += ["--config", str(config), "--argsize", str(options.argsize)]
        command += ["--iterate", f"{WARM_UP_TASKS},{options.tasks}"]
        result = stages.run(command, on_line=watch)
    if result.code != 0 or not watch.rate:
        print(result.stdout[-2000:], file=sys.stderr)
        raise environment.Unprepared(f"parsl-perf failed with exit code {result.code}", 1)
    return {"rate": watch.rate, "cpu": (watch.end_s - watch.begin_s) / options.tasks * 1e6}
