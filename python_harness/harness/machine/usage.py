"""What a process uses of the machine: processor, memory, threads, descriptors."""

from __future__ import annotations

import os
from pathlib import Path

import psutil


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads that ever lived, in steps of one clock tick."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def cpu_seconds_fine(pid: int) -> float:
    """Time on a processor of the threads that live now, in nanosecond steps where the kernel
    counts it, else the coarse value. psutil knows ticks only, and an idle process uses less."""
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
    """0 if the process has ended."""
    try:
        return psutil.Process(pid).num_threads()
    except psutil.NoSuchProcess:
        return 0


def descriptors(pid: int) -> int:
    return psutil.Process(pid).num_fds()
