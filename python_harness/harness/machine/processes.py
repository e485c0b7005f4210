"""What the running system says about processes, read from /proc, and how they are ended.

Everything the harness starts stays a descendant of the harness: it becomes a *child subreaper*,
so that a daemon or an orphan is re-parented to it and can be found, reported and ended by its id.
A process is always named by (pid, start time), so that a reused pid is never mistaken for it.
Standard library only: this runs before there is an environment with psutil in it.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path

PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
CAP_DAC_OVERRIDE = 1
# As src/keeper/lib.rs has it.
KEEPER = "htex-keeper"


@dataclass(frozen=True)
class Process:
    """One line of /proc/<pid>/stat, at the moment it was read."""

    pid: int
    start_ticks: int
    name: str
    state: str
    ppid: int
    pgid: int

    @property
    def running(self) -> bool:
        """False for a zombie: it has ended and only waits to be reaped."""
        return self.state not in "ZXx"

    def same_as(self, other: Process | None) -> bool:
        return other is not None and (self.pid, self.start_ticks) == (other.pid, other.start_ticks)

    def describe(self) -> str:
        return f"{self.pid} ({command_line(self.pid) or self.name})"


def become_subreaper() -> None:
    """Orphans below this process become its children instead of init's."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def without_privilege() -> None:
    """In a child: root, too, then heeds the modes of files. Others have nothing to lose."""
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE)


def read(pid: int) -> Process | None:
    """The process with this id, or None if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name stands in parentheses and may itself hold blanks and parentheses.
    name = text[text.index("(") + 1 : text.rindex(")")]
    field = text[text.rindex(")") + 2 :].split()
    return Process(
        pid=pid,
        start_ticks=int(field[19]),
        name=name,
        state=field[0],
        ppid=int(field[1]),
        pgid=int(field[2]),
    )


def alive(pid: int) -> bool:
    process = read(pid)
    return process is not None and process.running


def command_line(pid: int) -> str:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return raw.rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")


def descendants(root: int | None = None) -> list[Process]:
    """All processes below `root` (default: this one), zombies included, parents first."""
    root = os.getpid() if root is None else root
    children: dict[int, list[Process]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (process := read(int(entry))):
            children.setdefault(process.ppid, []).append(process)
    found: list[Process] = []
    queue = [root]
    while queue:
        below = children.get(queue.pop(), [])
        found.extend(below)
        queue.extend(process.pid for process in below)
    return found


def broker_below(keeper: int) -> int | None:
    """The child in which our interchange works, or what took it over; the process that HTEX starts
    only keeps it, and takes this name when it has begun to."""
    process = read(keeper)
    if process is None or process.name != KEEPER:
        return None
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split():
            return int(child)
    return None


def broker_of(started: int) -> int:
    """Which process works where HTEX has started this one: stock does it itself."""
    return broker_below(started) or started


def running_descendants(root: int | None = None) -> list[Process]:
    """Descendants that still run; Python's resource tracker of this very process, which ends
    with it, excepted."""
    own_tracker = getattr(resource_tracker._resource_tracker, "_pid", None)
    return [
        process for process in descendants(root) if process.running and process.pid != own_tracker
    ]


def executable(pid: int) -> Path:
    """What the kernel says this process executes."""
    return Path(os.readlink(f"/proc/{pid}/exe"))


def sha256(path: Path | str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_of_running(pid: int) -> str:
    """Digest of the very file that the process was started from, even if it was replaced since."""
    return sha256(f"/proc/{pid}/exe")


def send(process: Process, signal_number: int) -> None:
    """Signals that very process; a process that is gone, or whose id was reused, is left alone."""
    if process.same_as(read(process.pid)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal_number)


def reap(process: Process) -> None:
    """Collects an orphan that this process adopted. Not for a child that a Popen waits for."""
    if process.same_as(read(process.pid)):
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process.pid, os.WNOHANG)


def kill_with_keeper(process: subprocess.Popen) -> None:
    """An interchange as HTEX has started it, as a machine that goes down ends it: neither of its
    processes says that the other one was killed."""
    process.send_signal(signal.SIGSTOP)
    broker = broker_below(process.pid)
    if broker:
        os.kill(broker, signal.SIGKILL)
    process.kill()
    process.wait()
    if broker:
        # It is this process's child by now.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(broker, 0)


def reap_zombies() -> None:
    """Collects the adopted orphans that have ended."""
    for process in descendants():
        if not process.running and process.ppid == os.getpid():
            reap(process)


def wait_gone(grace_s: float) -> list[Process]:
    """Waits until nothing runs below this process; what still runs after `grace_s` is returned."""
    deadline = time.monotonic() + grace_s
    while (left := running_descendants()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def end_descendants(grace_s: float = 2.0) -> list[Process]:
    """Ends all that still runs below this process (TERM, then KILL); returns what had to be."""
    ended = running_descendants()
    for process in ended:
        send(process, signal.SIGTERM)
    for process in wait_gone(grace_s) if ended else []:
        send(process, signal.SIGKILL)
    if ended:
        wait_gone(grace_s)
    reap_zombies()
    return ended
