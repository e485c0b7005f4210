"""Real HighThroughputExecutors with real managers, for tests and for programs that run under the
Python of another release of Parsl.

The interchange is the one under test (htex-interchange, or stock to validate a test). An executor
can run without Parsl's data-flow kernel, which is quicker and lets the test control blocks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from parsl import Config
from parsl.executors import HighThroughputExecutor

from harness.htex.interchange import command_under_test
from harness.htex.provider import local_provider
from harness.machine import processes
from harness.machine.waiting import wait_until

# Blocks register within a second or two; the longer limit is for a loaded machine.
REGISTRATION_S = 60


def executor(
    *, init_blocks: int = 1, kind: type = HighThroughputExecutor, **options
) -> HighThroughputExecutor:
    """Returns an executor with HTEX's defaults, except for settings that make tests quick."""
    options.setdefault("label", "htex")
    options.setdefault("interchange_launch_cmd", command_under_test())
    options.setdefault("max_workers_per_node", 1)
    options.setdefault("cores_per_worker", 0.1)
    options.setdefault("address", options.get("loopback_address", "127.0.0.1"))
    options.setdefault("heartbeat_period", 1)
    options.setdefault("heartbeat_threshold", 5)
    options.setdefault(
        "provider", local_provider(init_blocks=init_blocks, max_blocks=4, min_blocks=0)
    )
    return kind(**options)


@contextmanager
def not_started(run_dir: Path, **options) -> Iterator[HighThroughputExecutor]:
    """Yields an executor that the caller starts; always shuts it down at the end."""
    htex = executor(**options)
    htex.run_dir = str(run_dir)
    os.makedirs(htex.logdir)
    try:
        yield htex
    finally:
        htex.shutdown()


@contextmanager
def running(
    run_dir: Path, *, blocks: int = 1, prepare=None, **options
) -> Iterator[HighThroughputExecutor]:
    """Yields an executor without a kernel, with `blocks` blocks whose managers have registered. At
    the end, its blocks and its interchange are ended as Parsl ends them."""
    htex = executor(**options)
    htex.run_dir = str(run_dir)
    htex.provider.script_dir = str(run_dir / "scripts")
    (run_dir / "scripts").mkdir(parents=True)
    if prepare:
        prepare(htex)
    try:
        htex.start()
        add_blocks(htex, blocks)
        yield htex
    finally:
        htex.provider.cancel(list(htex.job_ids_to_block))
        htex.shutdown()


def add_blocks(htex: HighThroughputExecutor, count: int) -> None:
    wanted = len(htex.connected_managers()) + count
    if count:
        htex.scale_out_facade(count)
    wait_until(
        lambda: len(htex.connected_managers()) >= wanted,
        REGISTRATION_S,
        f"{wanted} managers are registered",
        every_s=0.05,
    )


def manager_processes() -> list[processes.Process]:
    """Returns the process_worker_pool processes only, without the shells around them and their
    workers."""
    return [
        process
        for process in processes.running_descendants()
        if "process_worker_pool.py" in processes.command_line(process.pid)
        and "python" in processes.executable(process.pid).name
        and "multiprocessing" not in processes.command_line(process.pid)
    ]


def kernel_config(run_dir: Path, *, monitoring=None, **options) -> Config:
    """Returns a complete Parsl configuration with one block of one worker."""
    return Config(
        executors=[executor(**options)],
        run_dir=str(run_dir),
        strategy="none",
        monitoring=monitoring,
        usage_tracking=0,
    )


def broker_pid(htex) -> int:
    """Returns the id of the process that does the work; HTEX only knows its keeper."""
    return processes.broker_of(htex.interchange_proc.pid)
