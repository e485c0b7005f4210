"""The command `demo`: runs a scientific workflow through the binary, with two deliberate failures.

A temperature sweep of the Ising model runs as 1,000 Parsl tasks on real managers, encrypted as HTEX
is by default. During the sweep one task raises and one kills its worker: the proper exceptions
arrive and the sweep continues. The demo reads from the running system which executable served as
interchange, and fails if that is not the binary or if a process is left behind.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import as_completed
from pathlib import Path

import parsl
from parsl import Config
from parsl.executors import HighThroughputExecutor
from parsl.executors.high_throughput.errors import WorkerLost
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from harness.demo import ising
from harness.htex import jobs
from harness.htex.provider import local_provider
from harness.machine import processes, usage
from harness.setup.environment import BINARY_NAME

TEMPERATURES = [round(1.5 + 0.05 * step, 2) for step in range(40)]
BLOCKS = 2
WORKERS_PER_MANAGER = 2

# Managers check their workers once per heartbeat. With HTEX's default of 30 s the demo would wait
# that long for the report of the killed worker.
HEARTBEAT_PERIOD_S = 2
TASK_TIMEOUT_S = 120
GONE_WITHIN_S = 10

console = Console(highlight=False)


def run(binary: Path, options: argparse.Namespace) -> int:
    """Returns 0 if the physics, the failures, the served executable and the clean-up were right."""
    run_dir = Path(tempfile.mkdtemp(prefix="htex-interchange-demo-"))
    faults: list[str] = []
    try:
        faults += _workflow(binary, run_dir, seeds=max(1, options.tasks // len(TEMPERATURES)))
        faults += _left_behind()
    finally:
        shutil.rmtree(run_dir, ignore_errors=True)
    for fault in faults:
        console.print(f"[red]FAILED[/] {fault}", soft_wrap=True)
    console.print("[red]demo failed[/]" if faults else "[green]demo passed[/]")
    return 1 if faults else 0


def _workflow(binary: Path, run_dir: Path, *, seeds: int) -> list[str]:
    executor = HighThroughputExecutor(
        label="htex",
        interchange_launch_cmd=[str(binary)],
        max_workers_per_node=WORKERS_PER_MANAGER,
        cores_per_worker=0.1,
        heartbeat_period=HEARTBEAT_PERIOD_S,
        provider=local_provider(init_blocks=BLOCKS, max_blocks=BLOCKS),
    )
    config = Config(executors=[executor], run_dir=str(run_dir), strategy="none")
    console.print(
        f"Ising model, {ising.SIDE} x {ising.SIDE} spins: {len(TEMPERATURES)} temperatures x "
        f"{seeds} seeds = {len(TEMPERATURES) * seeds} tasks, {BLOCKS} managers x "
        f"{WORKERS_PER_MANAGER} workers, encrypted: {executor.encrypted}"
    )
    with parsl.load(config):
        # Asks the kernel, during the run, which executable serves; the configured one proves
        # nothing.
        interchange = processes.broker_of(executor.interchange_proc.pid)
        served, identity_faults = _what_served(interchange, binary)
        cpu_at_start_s = usage.cpu_seconds(interchange)
        samples, seconds, fault_lines, faults = _sweep(seeds)
        cpu_s = usage.cpu_seconds(interchange) - cpu_at_start_s
    points = ising.curve(samples)
    _chart(points)
    for line in fault_lines:
        console.print(line, soft_wrap=True)
    _placement(samples)
    total = len(samples) + 2
    console.print(
        f"{total} tasks in {seconds:.1f} s = {total / seconds:.0f} tasks/s (the tasks compute); "
        f"the interchange used {cpu_s:.2f} s of CPU = {cpu_s / total * 1e6:.0f} µs per task"
    )
    console.print("served as interchange:", *served, sep="\n  ", soft_wrap=True)
    return faults + identity_faults + ising.sensible(points)


def _sweep(seeds: int) -> tuple[list[ising.Sample], float, list[str], list[str]]:
    """Runs the sweep. Returns samples, seconds from the first submission to the last result, a line
    for each of the two failing tasks, and whatever went wrong."""
    simulate = parsl.python_app(ising.simulate)
    begin = time.monotonic()
    sweep = [(temperature, seed) for seed in range(seeds) for temperature in TEMPERATURES]
    half = len(sweep) // 2
    futures = [simulate(*parameters) for parameters in sweep[:half]]
    raising = parsl.python_app(jobs.reject)("a parameter out of range")
    killer = parsl.python_app(jobs.exit_worker)()
    futures += [simulate(*parameters) for parameters in sweep[half:]]
    samples = []
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        bar = progress.add_task("simulating", total=len(futures))
        for future in as_completed(futures, timeout=TASK_TIMEOUT_S * 2):
            samples.append(future.result())
            progress.advance(bar)
    lines, faults = [], []
    for name, future, expected in (
        ("a task that raises", raising, jobs.Rejected),
        ("a worker that is killed", killer, WorkerLost),
    ):
        exception = future.exception(timeout=TASK_TIMEOUT_S)
        lines.append(f"{name}: {type(exception).__name__}: {exception}")
        if type(exception) is not expected:
            faults.append(f"{name}: expected {expected.__name__}, got {exception!r}")
    return samples, time.monotonic() - begin, lines, faults


def _what_served(launched: int, binary: Path) -> tuple[list[str], list[str]]:
    """Checks the launched process and its descendants (a wrapper may be in between)."""
    family = [launched, *(process.pid for process in processes.running_descendants(launched))]
    expected = processes.sha256(binary)
    version = _version(binary)
    lines = []
    for pid in family:
        path, digest = processes.executable(pid), processes.sha256_of_running(pid)
        lines.append(f"pid {pid}: {path}\n    SHA-256 {digest}")
        if digest == expected and version.startswith(BINARY_NAME):
            return [f"{version}, {lines[-1]}"], []
    return lines, [f"the interchange that ran is not {binary} (SHA-256 {expected})"]


def _version(binary: Path) -> str:
    """Returns the binary's version line; empty if the binary does not print one."""
    try:
        told = subprocess.run(
            [str(binary), "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except subprocess.TimeoutExpired:
        return ""
    return told.stdout.strip() if told.returncode == 0 else ""


def _chart(points: list[ising.Point]) -> None:
    """Prints |m|, which falls, and the susceptibility, which peaks near the critical
    temperature."""
    shown = points[::2]
    top = max(point.susceptibility for point in shown)
    critical = min(shown, key=lambda p: abs(p.temperature - ising.CRITICAL_TEMPERATURE))
    console.print("    T    |m|   susceptibility per spin")
    for point in shown:
        bar = "█" * round(40 * point.susceptibility / top)
        mark = f"  <- T_c = {ising.CRITICAL_TEMPERATURE:.3f}" if point is critical else ""
        console.print(f"  {point.temperature:.2f}  {point.magnetisation:.2f}   {bar}{mark}")
    peak = max(points, key=lambda point: point.susceptibility)
    console.print(
        f"peak at T = {peak.temperature:.2f}; a lattice of this size peaks a little above T_c"
    )


def _placement(samples: list[ising.Sample]) -> None:
    table = Table("manager", "host", "worker pid", "tasks", title="tasks by manager")
    counts = Counter((s.manager, s.host, str(s.worker_pid)) for s in samples)
    for key, count in sorted(counts.items()):
        table.add_row(*key, str(count))
    console.print(table)


def _left_behind() -> list[str]:
    left = processes.wait_gone(GONE_WITHIN_S)
    if left:
        return [f"still running: {process.describe()}" for process in left]
    console.print("no process is still running")
    sys.stdout.flush()
    return []
