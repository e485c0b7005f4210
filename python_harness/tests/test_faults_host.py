"""Faults of the interchange's own machine under load: a full disk, a limit on file sizes, a wall
clock that is set, and the death of a thousand managers at once. At the end, every task is accounted
for."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from parsl.executors.high_throughput.errors import ManagerLost
from parsl.serialize import deserialize

from harness.fakes.crowd import WireBooks
from harness.machine import usage
from harness.machine.waiting import wait_until
from harness.setup import environment

MIB = 1 << 20
FILE_BYTES_MAX = 256 << 10

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A separate, small file system, which is always unmounted at the end."""
    place = tmp_path / "small-disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(place)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_the_disk_of_the_log_is_full(start, crowd, small_disk):
    """Tasks go on, lines of the log are lost and counted, and memory does not grow. Lines are
    written again once there is room."""
    side = start(logdir=str(small_disk / "log"))
    managers = crowd(side, 4, max_capacity=50)
    books = WireBooks(side)
    ballast = small_disk / "ballast"
    books.run(managers, 2000, within_s=60)
    before = usage.resident_bytes(side.interchange.pid)
    assert os.statvfs(small_disk).f_bavail == 0, "the load has filled the disk"
    with open(ballast, "wb"):
        books.run(managers, 20_000, within_s=90)
    assert usage.resident_bytes(side.interchange.pid) - before < 16 * MIB
    log = side.interchange.logdir / "interchange.log"
    os.truncate(log, 0)
    side.submit(1_000_000)
    wait_until(lambda: "Put task 1000000 onto" in side.interchange.log(), 10, "lines are back")


@pytest.mark.parametrize("logging_level", [10, 20], ids=["DEBUG", "INFO"])
def test_a_limit_on_the_size_of_files(start, crowd, logging_level):
    """`ulimit -f`: the kernel sends SIGXFSZ to a process that writes beyond the limit."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES_MAX, FILE_BYTES_MAX))

    side = start(launch=False, logging_level=logging_level)
    interchange = side.launch(preexec_fn=limited)
    managers = crowd(side, 4, max_capacity=50)
    books = WireBooks(side)
    if logging_level > 10:
        # At INFO, only some events are logged; an unknown command is one of them, so it is sent
        # many times.
        for number in range(6000):
            side.command(f"NO_SUCH_COMMAND {number}")
    books.run(managers, 5000, within_s=60)
    log = interchange.logdir / "interchange.log"
    assert log.stat().st_size == FILE_BYTES_MAX, "the limit was reached"
    assert len(side.managers()) == 4


# Replaces the other C functions that read the wall clock by clock_gettime; shared by all such
# shims.
OTHER_CALLS = environment.PROJECT_DIR / "tests" / "support" / "wall_clock.c"
# Is loaded before glibc: shifts the wall clock for every reader by the number of seconds in a file.
CLOCK = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile long *off_s;

__attribute__((constructor)) static void begin(void) {
    int file = open(getenv("HTEX_TEST_CLOCK"), O_RDONLY);
    off_s = mmap(0, sizeof *off_s, PROT_READ, MAP_SHARED, file, 0);
    close(file);
}

int clock_gettime(clockid_t id, struct timespec *at) {
    int result = syscall(SYS_clock_gettime, id, at);
    if (id == CLOCK_REALTIME && result == 0)
        at->tv_sec += *off_s;
    return result;
}
"""


class WallClock:
    """The wall clock of one process, which can be set while the process runs."""

    def __init__(self, directory: Path) -> None:
        source, self.library = directory / "clock.c", directory / "clock.so"
        source.write_text(CLOCK + OTHER_CALLS.read_text())
        compiler = os.environ.get("CC", "cc")
        command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(self.library), str(source)]
        subprocess.run(command, check=True)
        self.file = directory / "clock"
        self.set(0)

    def set(self, off_s: int) -> None:
        with open(self.file, "r+b" if self.file.exists() else "wb") as file:
            file.write(off_s.to_bytes(8, "little", signed=True))

    def environment(self) -> dict[str, str]:
        mine = {"LD_PRELOAD": str(self.library), "HTEX_TEST_CLOCK": str(self.file)}
        return {**os.environ, **mine}


@pytest.mark.parametrize("off_s", [-86_400, 86_400], ids=["back", "forward"])
def test_the_wall_clock_is_moved_by_a_day(start, crowd, tmp_path, off_s):
    """No manager is lost or kept because of the clock, and every task is done."""
    clock = WallClock(tmp_path)
    side = start(launch=False, heartbeat_threshold=6)
    interchange = side.launch(env=clock.environment())
    books = WireBooks(side)
    silent = crowd(side, 1, max_capacity=1, prefix="silent", beating=False)
    books.submit(1)
    silent.hold(1, within_s=10)
    begin = time.monotonic()
    managers = crowd(side, 4, max_capacity=10)
    books.run(managers, 100, within_s=30)
    clock.set(off_s)
    books.run(managers, 300, within_s=60)
    # The log shows that the clock was set.
    interchange.wait_for_log(f"Put task {books.submitted} onto")
    stamp = float(interchange.log().splitlines()[-1].split()[0])
    assert abs(stamp - (time.time() + off_s)) < 60
    assert books.losses() == 0, "the clock has no say"
    books.until(managers, books.submitted, within_s=25)
    assert books.losses() == 1
    assert 5.5 < time.monotonic() - begin < 30
    assert len(side.managers()) == 4
    told = document_of(interchange)
    assert 0 < told["interchange"]["uptime_s"] < time.monotonic() - interchange.launched
    ages = [event["ago_s"] for event in told["events"]]
    assert ages == sorted(ages, reverse=True) and 0 <= ages[-1] <= ages[0] < 60


def document_of(interchange) -> dict:
    """Returns the document that the interchange serves at its status socket."""
    command = [str(environment.binary()), "status", "--json", str(interchange.logdir)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=30)
    (line,) = answer.stdout.splitlines()
    return json.loads(line)


@pytest.mark.parametrize("encrypted", [False, pytest.param(True, marks=pytest.mark.long)])
def test_a_thousand_managers_die_together(start, crowd, measured, encrypted):
    """Each of the managers that die holds four tasks. The other managers are served throughout."""
    side = start(heartbeat_threshold=6, logging_level=20, encrypted=encrypted)
    pid = side.interchange.pid
    doomed = crowd(side, 1000, max_capacity=4, prefix="doomed", hostname="a-rack")
    books = WireBooks(side)
    books.submit(4000)
    doomed.hold(4000, within_s=60)
    stayers = crowd(side, 4, max_capacity=8, prefix="stayer")
    assert len(side.managers()) == 1004
    log_before = len(side.interchange.log())
    used_before, begin = usage.cpu_seconds(pid), time.monotonic()
    doomed.die()
    books.run(stayers, 2000, within_s=60)
    served_s = time.monotonic() - begin
    books.until(stayers, 6000, within_s=30)
    measured(
        f"2000 tasks of others after {served_s:.1f} s, all {books.losses()} lost ones told "
        f"after {time.monotonic() - begin:.1f} s (threshold 6 s)"
    )
    used_s = usage.cpu_seconds(pid) - used_before
    logged = len(side.interchange.log()) - log_before
    measured(f"{used_s:.2f} s of CPU, {logged >> 10} KiB logged")
    assert books.losses() == 4000 and books.results() == 2000
    assert time.monotonic() - begin < 6 + 5
    assert used_s < 3.0
    side.interchange.wait_for_log("Reported tasks lost with manager b'doomed-999'")
    # A few lines for each manager: accepted, registered; disconnected, suspect, lost, and its
    # tasks.
    assert len(side.interchange.log().splitlines()) < 1000 * 8
    lost = deserialize(next(iter(books.lost.values()))["exception"])
    with pytest.raises(ManagerLost, match="on host a-rack"):
        lost.reraise()
    assert len(side.managers()) == 4
