"""A process's use of resources: CPU time, memory, threads, descriptors."""

from __future__ import annotations

import os
from pathlib import Path

import psutil


def cpu_seconds(pid: int) -> float:
    """Returns the user and system time of all threads, ended ones included, in steps of a clock
    tick."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def cpu_seconds_fine(pid: int) -> float:
    """Returns the CPU time of the live threads, in nanosecond steps if the kernel counts it,
    otherwise the coarse value. psutil only reports clock ticks, and an idle process uses less than
    one."""
    try:
        total_ns = 0
        for thread in os.listdir(f"/proc/{pid}/task"):
            fields = Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()
            total_ns += int(fields[0])
        return total_ns / 1e9
    except FileNotFoundError:
        return cpu_seconds(pid)


def resident_bytes(pid: int) -> int:
    return psutil.Process(pid).memory_info().rss


def threads(pid: int) -> int:
    """Returns the number of threads; 0 if the process has ended."""
    try:
        return psutil.Process(pid).num_threads()
    except psutil.NoSuchProcess:
        return 0


def descriptors(pid: int) -> int:
    return psutil.Process(pid).num_fds()
