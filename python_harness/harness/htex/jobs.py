"""Functions that workers run in tests, in a separate module because a worker imports it by name."""

from __future__ import annotations

import os
import signal
import time

# The environment variable that marks a broken node.
BROKEN_NODE = "HTEX_TEST_BROKEN_NODE"


class Rejected(ValueError):
    """An exception with its own type and an argument; must return from a worker unchanged."""


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
    """Ends its worker as the kernel's out-of-memory killer would. The pause lets the worker's queue
    thread finish an earlier result: a worker killed while it writes would block its manager."""
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)


def where() -> tuple[str, str, int]:
    """Returns the block, manager and process in which the function runs."""
    pool = os.environ["PARSL_WORKER_POOL_ID"]
    return os.environ["PARSL_WORKER_BLOCK_ID"], pool, os.getpid()


def exported() -> list[str]:
    """Returns Parsl's variables in the worker's environment, without those that every worker
    has."""
    return sorted(
        f"{name}={value}"
        for name, value in os.environ.items()
        if name.startswith("PARSL_") and not name.startswith(("PARSL_WORKER_", "PARSL_MPI_"))
    )


def touch_and_wait(started: str, proceed: str) -> int:
    """Creates the file `started`, and ends when the file `proceed` exists."""
    with open(started, "w"):
        pass
    deadline = time.monotonic() + 60
    while not os.path.exists(proceed) and time.monotonic() < deadline:
        time.sleep(0.02)
    return os.getpid()


def work_unless_broken(seconds: float) -> str:
    """Returns its block after `seconds`; raises at once on a broken node."""
    if os.environ.get(BROKEN_NODE):
        raise OSError("a mount is missing")
    time.sleep(seconds)
    return os.environ["PARSL_WORKER_BLOCK_ID"]


def note(path: str, text: str) -> None:
    """Appends a line, which records the order in which tasks ran."""
    with open(path, "a") as file:
        file.write(text + "\n")


def run_buffer(buffer: bytes, *arguments, **keywords):
    """An application's own task executor, which a task's context names."""
    return buffer, arguments, keywords


def die_once(marker: str) -> str:
    """Kills its worker at the first call, and returns at later calls."""
    if os.path.exists(marker):
        return "alive"
    with open(marker, "w"):
        pass
    exit_worker()
    return "not reached"


def span(path: str, name: str, seconds: float) -> str:
    """Records its manager and its start and end times; returns its block."""
    block, manager, _ = where()
    begin = time.time()
    time.sleep(seconds)
    note(path, f"{name} {manager} {begin!r} {time.time()!r}")
    return block


def counted(path: str, number: int, seconds: float) -> int:
    """Records that it runs, so that a second run of the same task is noticed."""
    note(path, str(number))
    time.sleep(seconds)
    return number


def note_pid_and_wait(path: str) -> None:
    """Writes its process id to a file atomically, and waits to be killed."""
    with open(path + ".part", "w") as file:
        file.write(str(os.getpid()))
    os.rename(path + ".part", path)
    time.sleep(60)
