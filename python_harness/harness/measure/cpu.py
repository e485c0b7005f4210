"""The command `cpu`: measures the interchange process alone, under a synthetic load and at rest.

The load plays both ends with pyzmq, so that the interchange is nearly always the bottleneck: a
submit side, and in a second process managers that answer every task at once. Each task must be
dispatched exactly once and answered exactly once. CPU time is the user and system time of the whole
process, libzmq's threads included.
"""

from __future__ import annotations

import argparse
import pickle
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import zmq

from harness.fakes.wire import FakeManager, FakeSubmitSide
from harness.machine import usage
from harness.measure.compare import Contender, Measurement, Row, console, contenders, in_turn, show

# The project's own goals.
PLAIN_RATIO_GOAL = 15
ENCRYPTED_RATIO_GOAL = 10
RESIDENT_LIMIT_MB = 12
START_LIMIT_MS = 50

IDLE_MANAGERS = 100
LOAD_TIMEOUT_S = 300


def run(ours: Path, options: argparse.Namespace) -> int:
    pair = contenders(ours)
    console.print(
        f"{options.managers} managers x {options.slots}, {options.tasks} tasks of "
        f"{options.bytes} bytes, {options.pairs} runs of each"
    )
    rows = []
    for encrypted, goal in ((False, PLAIN_RATIO_GOAL), (True, ENCRYPTED_RATIO_GOAL)):
        kind = "encrypted" if encrypted else "plain"

        def measure(contender: Contender, encrypted=encrypted, kind=kind) -> Measurement:
            result = _load(contender, options, encrypted)
            console.print(
                f"  {kind}, {contender.name}: {result['cpu']:.1f} µs CPU per task, "
                f"{result['rate']:.0f} tasks/s"
            )
            return result

        stock, mine = in_turn(pair, options.pairs, measure)
        rows.append(Row(f"CPU per task, {kind}", stock["cpu"], mine["cpu"], "µs", ratio_goal=goal))
        rows.append(Row(f"throughput, {kind}", stock["rate"], mine["rate"], "/s", True))
    rows += _at_rest(pair, options)
    return 0 if show("the interchange process", rows) else 1


def _load(contender: Contender, options: argparse.Namespace, encrypted: bool) -> Measurement:
    with tempfile.TemporaryDirectory(prefix="htex-interchange-cpu-") as folder:
        side = FakeSubmitSide(Path(folder), encrypted=encrypted, logging_level=20)
        interchange = side.launch(list(contender.command))
        try:
            with _Managers(side, options.managers, options.slots):
                begin, cpu_begin = time.monotonic(), usage.cpu_seconds(interchange.pid)
                _submit_and_collect(side, options)
                seconds = time.monotonic() - begin
                cpu_s = usage.cpu_seconds(interchange.pid) - cpu_begin
        finally:
            interchange.end()
            side.close()
    return {"cpu": cpu_s / options.tasks * 1e6, "rate": options.tasks / seconds}


def _submit_and_collect(side: FakeSubmitSide, options: argparse.Namespace) -> None:
    """Sends tasks in a separate thread, and receives and counts every answer in this one."""
    room = threading.Semaphore(options.window) if options.window else None
    buffer = b"x" * options.bytes

    def submit() -> None:
        for task_id in range(1, options.tasks + 1):
            if room:
                room.acquire()
            side.submit(task_id, buffer)

    sender = threading.Thread(target=submit, daemon=True)
    sender.start()
    answers = bytearray(options.tasks + 1)
    deadline = time.monotonic() + LOAD_TIMEOUT_S
    for _ in range(options.tasks):
        message = side.result(within_s=max(0.0, deadline - time.monotonic()))
        assert message["result"] == b"done", message
        answers[message["task_id"]] += 1
        if room:
            room.release()
    sender.join()
    assert answers[1:] == b"\1" * options.tasks, "a task was not answered exactly once"
    assert not side.results.poll(50), "more results than tasks"


class _Managers:
    """Managers in a separate process; at the end, their numbers of dispatched tasks are checked."""

    def __init__(self, side: FakeSubmitSide, count: int, slots: int) -> None:
        self.side, self.count = side, count
        self.arguments = [side.worker_url, str(side.cert_dir or ""), str(count), str(slots)]

    def __enter__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "harness.measure.cpu", *self.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        ready = self.process.stdout.readline().strip()
        assert ready == "ready", f"the managers did not start: {ready!r}"
        assert len(self.side.managers()) == self.count

    def __exit__(self, kind, *_) -> None:
        # Closing the process's stdin makes it print how many tasks were dispatched twice.
        doubled, _ = self.process.communicate(timeout=30)
        if kind is None:
            assert doubled.strip() == "0", f"{doubled.strip()} tasks were dispatched twice"


def _play_managers(url: str, cert_dir: str, count: int, slots: int) -> None:
    """Registers managers, answers every task at once, and sends heartbeats every few seconds, until
    stdin is closed."""
    managers = [
        FakeManager(url, f"manager-{number}".encode(), cert_dir=cert_dir or None)
        for number in range(count)
    ]
    poller = zmq.Poller()
    poller.register(sys.stdin, zmq.POLLIN)
    for number, manager in enumerate(managers):
        manager.probe()
        manager.register(max_capacity=slots, worker_count=slots, block_id=str(number))
        manager.beat()
        poller.register(manager.socket, zmq.POLLIN)
    by_socket = {manager.socket: manager for manager in managers}
    seen: set[int] = set()
    doubled = 0
    print("ready", flush=True)
    next_beat = time.monotonic() + 30
    while True:
        ready = dict(poller.poll(max(0.0, next_beat - time.monotonic()) * 1000))
        if time.monotonic() >= next_beat:
            next_beat += 30
            for manager in managers:
                manager.send({"type": "heartbeat"})
        if sys.stdin.fileno() in ready:
            print(doubled)
            return
        for sock in ready:
            batch = pickle.loads(sock.recv())
            for task in batch if isinstance(batch, list) else ():
                doubled += task["task_id"] in seen
                seen.add(task["task_id"])
                by_socket[sock].answer(task["task_id"])


def _at_rest(pair: tuple[Contender, Contender], options: argparse.Namespace) -> list[Row]:
    """Measures the start-up time, the memory, and the CPU use without tasks."""
    starts = [_starts(contender, options.starts) for contender in pair]
    rows = [
        Row("launch to WORKER_BINDS", *(s["start_ms"] for s in starts), "ms", limit=START_LIMIT_MS),
        Row("memory at the start", *(s["rss_mb"] for s in starts), "MB", limit=RESIDENT_LIMIT_MB),
    ]
    for managers in (0, IDLE_MANAGERS):
        idle = [_idle(contender, managers, options.idle) for contender in pair]
        rows.append(Row(f"idle, {managers} managers", idle[0], idle[1], "% CPU"))
    return rows


def _starts(contender: Contender, times: int) -> Measurement:
    taken_ms, resident = [], []
    for _ in range(times):
        with tempfile.TemporaryDirectory(prefix="htex-interchange-cpu-") as folder:
            side = FakeSubmitSide(Path(folder), logging_level=20)
            interchange = side.launch(list(contender.command))
            assert side.worker_port
            taken_ms.append((time.monotonic() - interchange.launched) * 1000)
            resident.append(usage.resident_bytes(interchange.pid) / 1e6)
            interchange.end()
            side.close()
    return {"start_ms": statistics.median(taken_ms), "rss_mb": statistics.median(resident)}


def _idle(contender: Contender, managers: int, seconds: float) -> float:
    """Returns the CPU use in percent of one processor over `seconds` without tasks."""
    with tempfile.TemporaryDirectory(prefix="htex-interchange-cpu-") as folder:
        side = FakeSubmitSide(Path(folder), logging_level=20)
        interchange = side.launch(list(contender.command))
        try:
            with _Managers(side, managers, 1):
                begin = usage.cpu_seconds_fine(interchange.pid)
                time.sleep(seconds)
                used_s = usage.cpu_seconds_fine(interchange.pid) - begin
        finally:
            interchange.end()
            side.close()
    return used_s / seconds * 100


if __name__ == "__main__":
    _play_managers(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
