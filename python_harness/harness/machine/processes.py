"""Reads processes from /proc, and ends them.

Everything that the harness starts remains a descendant of the harness. The harness becomes a *child
subreaper*: daemons and orphans become its children, so they can be found, reported and ended by id.
A process is always identified by (pid, start time), so that a reused pid is never mistaken for it.
Standard library only, because this module runs before an environment with psutil exists.
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
# The keeper's process name, as set in src/keeper/lib.rs.
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
        """Whether the process still runs; False for a zombie, which has ended but was not
        reaped."""
        return self.state not in "ZXx"

    def same_as(self, other: Process | None) -> bool:
        return other is not None and (self.pid, self.start_ticks) == (other.pid, other.start_ticks)

    def describe(self) -> str:
        return f"{self.pid} ({command_line(self.pid) or self.name})"


def become_subreaper() -> None:
    """Makes this process, instead of init, the parent of orphans below it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def without_privilege() -> None:
    """Drops, in a child process, the capability by which root ignores file permissions. Processes
    of other users do not have this capability."""
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE)


def read(pid: int) -> Process | None:
    """Returns the process with this id, or None if it does not exist."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name is in parentheses and may itself contain blanks and parentheses.
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
    """Returns all processes below `root` (default: this one), zombies included, parents first."""
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
    """Returns the process id of the broker below htex-interchange's keeper, or of its successor.

    HTEX starts only the keeper, which takes the name KEEPER once it keeps a broker. Returns None if
    `keeper` is another process.
    """
    process = read(keeper)
    if process is None or process.name != KEEPER:
        return None
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split():
            return int(child)
    return None


def broker_of(started: int) -> int:
    """Returns the process that does the work: the broker below a keeper, or for stock `started`
    itself."""
    return broker_below(started) or started


def running_descendants(root: int | None = None) -> list[Process]:
    """Returns the descendants that still run, except this process's own Python resource tracker,
    which ends with this process."""
    own_tracker = getattr(resource_tracker._resource_tracker, "_pid", None)
    return [
        process for process in descendants(root) if process.running and process.pid != own_tracker
    ]


def executable(pid: int) -> Path:
    """Returns the path of the file that the process executes, according to the kernel."""
    return Path(os.readlink(f"/proc/{pid}/exe"))


def sha256(path: Path | str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_of_running(pid: int) -> str:
    """Returns the digest of the file from which the process was started, even if the file was
    replaced since."""
    return sha256(f"/proc/{pid}/exe")


def send(process: Process, signal_number: int) -> None:
    """Sends a signal to exactly this process; does nothing if it has ended or its id was reused."""
    if process.same_as(read(process.pid)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal_number)


def reap(process: Process) -> None:
    """Reaps an orphan that this process adopted. Not for a child that a Popen waits for."""
    if process.same_as(read(process.pid)):
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process.pid, os.WNOHANG)


def kill_with_keeper(process: subprocess.Popen) -> None:
    """Kills an interchange that HTEX started, with its keeper and broker, as a machine's crash
    does: neither process can report the other's death."""
    process.send_signal(signal.SIGSTOP)
    broker = broker_below(process.pid)
    if broker:
        os.kill(broker, signal.SIGKILL)
    process.kill()
    process.wait()
    if broker:
        # The broker is now an adopted child of this process.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(broker, 0)


def reap_zombies() -> None:
    """Reaps the adopted orphans that have ended."""
    for process in descendants():
        if not process.running and process.ppid == os.getpid():
            reap(process)


def wait_gone(grace_s: float) -> list[Process]:
    """Waits until nothing runs below this process; returns the processes that still run after
    `grace_s`."""
    deadline = time.monotonic() + grace_s
    while (left := running_descendants()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def end_descendants(grace_s: float = 2.0) -> list[Process]:
    """Ends all processes below this process (TERM, then KILL); returns those that were running."""
    ended = running_descendants()
    for process in ended:
        send(process, signal.SIGTERM)
    for process in wait_gone(grace_s) if ended else []:
        send(process, signal.SIGKILL)
    if ended:
        wait_gone(grace_s)
    reap_zombies()
    return ended
