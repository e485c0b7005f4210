"""More managers than the interchange has descriptors: the connected ones are served. The others
wait unconnected, cost nothing, and connect when descriptors are free again."""

from __future__ import annotations

import errno
import pickle
import resource
import time

import pytest
import zmq

from harness.fakes.wire import HEARTBEAT_CODE, registration
from harness.machine import refused_calls, usage
from harness.machine.waiting import wait_until

pytestmark = [
    pytest.mark.ours_only("stock's listener spins when no descriptor is left"),
    pytest.mark.timeout(240),
]

LIMIT = 64
MANAGERS = 100
SERVED_AT_LEAST = 15
OBSERVED_S = 4.0
CPU_PERCENT_MAX = 5.0
# One line when descriptors run out, and a few more at most.
COMPLAINTS_MAX = 4
# A refused peer retries after 1, 2, 4, 8 … seconds.
LET_IN_WITHIN_S = 90


@pytest.fixture
def crowd():
    """Returns sockets of managers that have sent their registrations, whether or not they are
    accepted."""
    context = zmq.Context()
    context.setsockopt(zmq.MAX_SOCKETS, 4 * MANAGERS)
    sockets: dict[str, zmq.Socket] = {}

    def come(url: str) -> dict[str, zmq.Socket]:
        for number in range(MANAGERS):
            name = f"manager-{number}"
            sock = context.socket(zmq.DEALER)
            sock.setsockopt(zmq.LINGER, 0)
            sock.setsockopt(zmq.IDENTITY, name.encode())
            sock.connect(url)
            sock.send(pickle.dumps(registration(name, max_capacity=1)))
            sockets[name] = sock
        return sockets

    yield come
    context.destroy(linger=0)


def limited(to: int, refuse=None):
    """Returns the function that the interchange's process runs before it starts."""

    def prepare() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (to, to))
        if refuse is not None:
            refuse()

    return prepare


# A kernel before 5.9 has no close_range. A container without privileges usually has no unshare.
SYSTEMS = {
    "all-calls": lambda: None,
    "no-close-range": lambda: refused_calls.refusing({"close_range": errno.ENOSYS}),
    "no-unshare": lambda: refused_calls.refusing({"unshare": errno.EPERM}),
}


def inside(side) -> list[str]:
    return [manager["manager"] for manager in side.managers()]


@pytest.mark.expect_error("Out of descriptors")
@pytest.mark.parametrize("system", SYSTEMS)
def test_a_crowd_at_a_limit_of_64(start, crowd, measured, system):
    side = start(launch=False, heartbeat_threshold=60)
    interchange = side.launch(preexec_fn=limited(LIMIT, SYSTEMS[system]()))
    sockets = crowd(side.worker_url)
    interchange.wait_for_log("Out of descriptors", 20)
    wait_until(lambda: len(inside(side)) >= SERVED_AT_LEAST, 20, "a part of them inside")

    used_s = usage.cpu_seconds_fine(interchange.pid)
    begun = time.monotonic()
    wait_until(lambda: time.monotonic() - begun > OBSERVED_S, OBSERVED_S + 5, "the span measured")
    used_s = usage.cpu_seconds_fine(interchange.pid) - used_s
    percent = used_s / (time.monotonic() - begun) * 100
    complained = interchange.log_lines("WARNING") + interchange.log_lines("ERROR")
    assert len(complained) < COMPLAINTS_MAX, complained[:COMPLAINTS_MAX]
    first = inside(side)
    measured(f"{len(first)} of {MANAGERS} inside, {percent:.2f} % CPU")
    assert percent < CPU_PERCENT_MAX
    assert len(first) < LIMIT
    _all_work(side, first, sockets)

    for name in first:
        sockets[name].close()
    later = set(sockets) - set(first)
    begun = time.monotonic()
    wait_until(lambda: later & set(inside(side)), LET_IN_WITHIN_S, "one of the others inside")
    measured(f"the first of the others came in after {time.monotonic() - begun:.1f} s")
    interchange.wait_for_log("Accepting new connections again", 10)


def _all_work(side, names: list[str], sockets: dict[str, zmq.Socket]) -> None:
    """Each named manager gets a task, even if other managers have connected, and every result
    arrives."""
    for task_id in range(1, MANAGERS + 1):
        side.submit(task_id, b"x")
    poller = zmq.Poller()
    for sock in sockets.values():
        poller.register(sock, zmq.POLLIN)
    name_of = {sock: name for name, sock in sockets.items()}
    worked: set[str] = set()
    answered: set[int] = set()

    def every_task_is_done() -> bool:
        for sock, _ in poller.poll(100):
            message = pickle.loads(sock.recv())
            if message != HEARTBEAT_CODE:
                (task,) = message
                result = {"type": "result", "task_id": task["task_id"], "result": b"done"}
                sock.send(pickle.dumps(result))
                worked.add(name_of[sock])
        while side.results.poll(0):
            answered.add(side.result()["task_id"])
        return len(answered) == MANAGERS

    wait_until(every_task_is_done, 20, "every task done")
    assert worked >= set(names)


def test_a_warning_at_80_percent(start, crowd):
    """100 connections and about thirty other descriptors, of 150."""
    side = start(launch=False)
    interchange = side.launch(preexec_fn=limited(150))
    crowd(side.worker_url)
    interchange.wait_for_log("descriptors are in use. Each manager needs one", 20)
    wait_until(lambda: len(inside(side)) == MANAGERS, 30, "all of them inside")
    assert len(interchange.log_lines("WARNING", "Each manager needs one")) == 1
