"""Command-line flags that give the interchange settings which its managers do not send."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Sequence
from typing import Any

from htex_interchange.command import BINARY_NAME
from htex_interchange.placement import Share

logger = logging.getLogger(__name__)

# Makes another broker take over from a killed one. The executor then keeps what it needs to send
# tasks again.
SURVIVE = "--survive"
# Used with MPI tasks: Parsl's scheduler for these loses a result when it has two tasks more than
# workers.
EXACT_CAPACITY = "--exact-capacity"

# Providers that accept a walltime but do not end blocks by it.
_WITHOUT_AN_END = {"AWSProvider", "CondorProvider"}
# Providers that ask their batch system for whole minutes (HH:MM) and ignore the seconds.
_BY_THE_MINUTE = {"SlurmProvider", "LSFProvider"}
# The formats that batch systems accept: D-HH:MM:SS, D:HH:MM:SS, HH:MM:SS, MM:SS and SS.
_WALLTIME = re.compile(r"(?:(?:(?:(\d+)[-:])?(\d+):)?(\d+):)?(\d+)(?:\.\d*)?")
_SECONDS_OF = (86_400, 3_600, 60, 1)
MB_OF_A_GB = 1024


def share_of(executor: Any) -> Share:
    """Returns a worker's share of its node, as far as an executor of HTEX knows it."""
    affinity = executor.cpu_affinity
    return Share(
        cores=float(executor.cores_per_worker),
        memory_mb=_memory_mb(executor),
        pinned_by=None if affinity == "none" else affinity,
        slots=_slots(executor),
    )


def placement_flags(executor: Any) -> list[str]:
    """Returns the flags for placement, each as one word, `--flag=value`."""
    flags = [f"--cores-per-worker={float(executor.cores_per_worker)!r}"]
    if executor.mem_per_worker:
        flags.append(f"--memory-per-worker-mb={_mb(executor.mem_per_worker)!r}")
    if seconds := walltime_s(executor.provider):
        flags.append(f"--walltime-s={seconds}")
    if executor.task_type_routing != "soft":
        flags.append(f"--task-type-routing={executor.task_type_routing}")
    if executor.hold_failing_managers:
        flags.append("--hold-failing-managers")
    return flags


def with_flags(command: Sequence[str], flags: list[str]) -> Sequence[str]:
    """Returns `command` with those of the `flags` that it does not have yet. The command of another
    program is returned unchanged."""
    words = [command] if isinstance(command, str) else list(command)
    if not words or os.path.basename(words[0]) != BINARY_NAME:
        return command
    named = {word.partition("=")[0] for word in words[1:]}
    return words + [flag for flag in flags if flag.partition("=")[0] not in named]


def survives(command: Sequence[str]) -> bool:
    """Whether this command starts its interchange with `--survive`, also behind a launcher."""
    return SURVIVE in ([command] if isinstance(command, str) else command)


def walltime_s(provider: Any) -> int | None:
    """Returns the seconds after which the provider's batch system ends a block; None if it ends
    none."""
    walltime = getattr(provider, "walltime", None)
    classes = {one.__name__ for one in type(provider).__mro__}
    if walltime is None or classes & _WITHOUT_AN_END:
        return None
    found = _WALLTIME.fullmatch(str(walltime).strip())
    if found is None:
        logger.warning(
            "The provider's walltime %r is not understood: a task's running_time_min is held "
            "against drain_period alone",
            walltime,
        )
        return None
    parts = [int(part or 0) for part in found.groups()]
    if classes & _BY_THE_MINUTE:
        parts[-1] = 0
    # All these batch systems read a walltime of 0 as no limit.
    return sum(part * unit for part, unit in zip(parts, _SECONDS_OF, strict=True)) or None


def _memory_mb(executor: Any) -> float | None:
    if executor.mem_per_worker:
        return _mb(executor.mem_per_worker)
    of_a_node = getattr(executor.provider, "mem_per_node", None)
    return _mb(of_a_node) / executor.workers_per_node if of_a_node else None


def _slots(executor: Any) -> int | None:
    """Returns a node's worker slots, or None if these are unknown: HTEX assumes one slot per node
    if no setting describes the nodes."""
    provider = executor.provider
    is_told = (
        math.isfinite(executor.max_workers_per_node)
        or getattr(provider, "cores_per_node", None)
        or (getattr(provider, "mem_per_node", None) and executor.mem_per_worker)
        or executor.available_accelerators
    )
    return int(executor.workers_per_node) if is_told else None


def _mb(gb: float) -> float:
    return float(gb) * MB_OF_A_GB
