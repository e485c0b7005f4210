"""What workers run in tests. A module of its own, because a worker imports it by name."""

from __future__ import annotations

import os
import signal
import time

# What the environment of a node has that is broken.
BROKEN_NODE = "HTEX_TEST_BROKEN_NODE"


class Rejected(ValueError):
    """A typed exception with an argument, to come back as it was raised."""


def add(left, right):
    return left + right


def echo(value):
    return value


def length(value) -> int:
    return len(value)


def block(size: int) -> bytes:
    return bytes(range(256)) * (size // 256)


def reject(why: str):
    raise Rejected(why)


def exit_worker():
    """Ends its worker as the kernel's memory killer would. The pause lets the worker's queue
    thread finish an earlier result: a worker killed while it writes would jam its manager."""
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)


def where() -> tuple[str, str, int]:
    """Block, manager and process that this runs in."""
    pool = os.environ["PARSL_WORKER_POOL_ID"]
    return os.environ["PARSL_WORKER_BLOCK_ID"], pool, os.getpid()


def exported() -> list[str]:
    """What the worker's environment has of Parsl's, but for what every worker has."""
    return sorted(
        f"{name}={value}"
        for name, value in os.environ.items()
        if name.startswith("PARSL_") and not name.startswith(("PARSL_WORKER_", "PARSL_MPI_"))
    )


def touch_and_wait(started: str, proceed: str) -> int:
    """Says that it runs by making one file; ends when another one appears."""
    with open(started, "w"):
        pass
    deadline = time.monotonic() + 60
    while not os.path.exists(proceed) and time.monotonic() < deadline:
        time.sleep(0.02)
    return os.getpid()


def work_unless_broken(seconds: float) -> str:
    """Tells its block; on a broken node it raises at once."""
    if os.environ.get(BROKEN_NODE):
        raise OSError("a mount is missing")
    time.sleep(seconds)
    return os.environ["PARSL_WORKER_BLOCK_ID"]


def note(path: str, text: str) -> None:
    """Appends a line, to learn in which order things ran."""
    with open(path, "a") as file:
        file.write(text + "\n")


def run_buffer(buffer: bytes, *arguments, **keywords):
    """A task executor of an application's own, named in a task's context."""
    return buffer, arguments, keywords


def die_once(marker: str) -> str:
    """Kills its worker the first time."""
    if os.path.exists(marker):
        return "alive"
    with open(marker, "w"):
        pass
    exit_worker()
    return "not reached"


def span(path: str, name: str, seconds: float) -> str:
    """Writes down where and from when to when it ran; tells in which block."""
    block, manager, _ = where()
    begin = time.time()
    time.sleep(seconds)
    note(path, f"{name} {manager} {begin!r} {time.time()!r}")
    return block


def counted(path: str, number: int, seconds: float) -> int:
    """Writes down that it runs; a second run of one task would be seen."""
    note(path, str(number))
    time.sleep(seconds)
    return number


def note_pid_and_wait(path: str) -> None:
    """Tells which process to kill, in one step, and waits for that."""
    with open(path + ".part", "w") as file:
        file.write(str(os.getpid()))
    os.rename(path + ".part", path)
    time.sleep(60)
