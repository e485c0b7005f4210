"""Strangers at the worker port, with and without a key, while managers are served: floods,
connections that open and close, handshakes that never end, and noise. At the end, every task is
accounted for."""

from __future__ import annotations

import os
import pickle
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import zmq
import zmq.auth

from harness.fakes.crowd import FakeCrowd, WireBooks
from harness.machine import usage
from harness.machine.waiting import wait_until

pytestmark = pytest.mark.timeout(180)

MIB = 1 << 20
FLOOD = 100_000
GROWN_MAX = 48 * MIB
TASKS = 1000
# Ample time for tasks that take 0.2 s without a disturbance.
SERVED_WITHIN_S = 20
BYTES_OF_A_LINE_MAX = 400


class Nuisance:
    """An action that a separate thread repeats while a load runs."""

    def __init__(self, once: Callable[[], None]) -> None:
        self.once = once
        self.times = 0
        self.failure: BaseException | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nuisance", daemon=True)

    def _run(self) -> None:
        try:
            while not self._ending.is_set():
                self.once()
                self.times += 1
        except BaseException as failure:
            self.failure = failure

    def __enter__(self) -> Nuisance:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._ending.set()
        self._thread.join()
        if self.failure:
            raise self.failure


@pytest.fixture
def stranger() -> Iterator[Callable[..., zmq.Socket]]:
    """`stranger(side, keys=...)` returns a DEALER socket that is connected to the worker port."""
    context = zmq.Context()

    def make(side, identity: bytes | None = None, *, keyed: bool = False) -> zmq.Socket:
        sock = context.socket(zmq.DEALER)
        sock.setsockopt(zmq.LINGER, 0)
        sock.set_hwm(0)
        if identity:
            sock.setsockopt(zmq.IDENTITY, identity)
        if keyed:
            sock.curve_publickey, sock.curve_secretkey = zmq.curve_keypair()
            server, _ = zmq.auth.load_certificate(os.path.join(side.cert_dir, "server.key"))
            sock.curve_serverkey = server
        sock.connect(side.worker_url)
        return sock

    yield make
    context.destroy(linger=0)


def served(side, crowd, *, load: bytes = b"work") -> tuple[FakeCrowd, WireBooks]:
    """Returns two managers that have already done a first load, before any disturbance."""
    managers = crowd(side, 2, max_capacity=20)
    books = WireBooks(side)
    books.run(managers, 100, SERVED_WITHIN_S, buffer=load)
    return managers, books


def descriptors(side) -> int:
    return usage.descriptors(side.interchange.pid)


def still_fine(side, managers: FakeCrowd, books: WireBooks, before: int, measured) -> None:
    books.run(managers, TASKS, SERVED_WITHIN_S)
    grown = usage.resident_bytes(side.interchange.pid) - before
    measured(f"{grown / MIB:.1f} MiB more")
    assert grown < GROWN_MAX
    names = {row["manager"] for row in side.managers()}
    assert names == {"crowd-0", "crowd-1"}
    assert books.losses() == 0


FLOODS = {
    "garbage": [b"FuzzyByte\rSTREAM"],
    "heartbeats": [pickle.dumps({"type": "heartbeat"})],
    "results": [pickle.dumps({"type": "result", "task_id": 5, "result": b"forged"})],
    "probes-unread": [pickle.dumps({"type": "connection_probe"})],
    "many-frames": [b""] * 20,
}


IN_EVERY_RUN = {"garbage", "probes-unread"}


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(frames, id=name, marks=[] if name in IN_EVERY_RUN else pytest.mark.long)
        for name, frames in FLOODS.items()
    ],
)
def test_a_hundred_thousand_messages_of_a_stranger(start, crowd, stranger, frames, measured):
    side = start(logging_level=20)
    managers, books = served(side, crowd)
    before = usage.resident_bytes(side.interchange.pid)
    flooder = stranger(side, b"flooder")
    begin = time.monotonic()
    for _ in range(FLOOD):
        flooder.send_multipart(frames)
    # The load runs while the messages are still in transit.
    books.run(managers, TASKS, SERVED_WITHIN_S)
    measured(f"{TASKS} tasks served {time.monotonic() - begin:.1f} s after the flood began")
    # The answer to a probe shows that all earlier messages were read.
    flooder.send(pickle.dumps({"type": "connection_probe"}))
    expected = FLOOD + 1 if frames is FLOODS["probes-unread"] else 1
    got = 0
    while got < expected and flooder.poll(10_000):
        flooder.recv_multipart()
        got += 1
        managers.work(0)
    assert got >= 1
    still_fine(side, managers, books, before, measured)
    measured(f"{len(side.interchange.log()) / MIB:.1f} MiB logged")
    assert len(side.interchange.log()) < FLOOD * BYTES_OF_A_LINE_MAX


@pytest.mark.parametrize("keyed", [False, True], ids=["no-key", "wrong-key"])
def test_a_flood_from_a_refused_peer(start, crowd, stranger, keyed, measured):
    """None of the messages is read, and the stranger's attempts to reconnect cost little."""
    side = start(encrypted=True, logging_level=20)
    managers, books = served(side, crowd)
    before = usage.resident_bytes(side.interchange.pid)
    forged = pickle.dumps({"type": "result", "task_id": 150, "result": b"forged"})

    def flood() -> None:
        flooder = stranger(side, b"crowd-0", keyed=keyed)
        try:
            for _ in range(1000):
                flooder.send(forged, zmq.DONTWAIT)
        except zmq.Again:
            pass
        flooder.poll(20)
        flooder.close()

    with Nuisance(flood) as nuisance:
        for _ in range(5):
            books.run(managers, TASKS, SERVED_WITHIN_S)
    assert nuisance.times > 3
    still_fine(side, managers, books, before, measured)


@pytest.mark.parametrize("speaks", [False, True], ids=["silent", "registered"])
def test_connections_come_and_go_in_a_loop(start, crowd, stranger, speaks, measured):
    """Each connection has its own name and ends without a message. Strangers that registered are
    declared lost later."""
    side = start(logging_level=20, heartbeat_threshold=2)
    managers, books = served(side, crowd)
    before = usage.resident_bytes(side.interchange.pid)
    open_before = descriptors(side)
    number = 0

    def come_and_go() -> None:
        nonlocal number
        number += 1
        if speaks:
            sock = stranger(side, b"passer-%d" % number)
            sock.send(pickle.dumps({"type": "connection_probe"}))
            assert sock.poll(5000)
            sock.close()
        else:
            socket.create_connection((side.address, side.worker_port)).close()

    with Nuisance(come_and_go) as nuisance:
        rounds = 0
        while rounds < 10 or (nuisance.times <= 100 and not nuisance.failure):
            books.run(managers, 300, SERVED_WITHIN_S)
            rounds += 1
    measured(f"{nuisance.times} connections while {300 * rounds} tasks were served")
    still_fine(side, managers, books, before, measured)
    wait_until(lambda: descriptors(side) <= open_before, 10, "every descriptor is back")


def test_handshakes_that_never_end(start, crowd, encrypted, measured):
    """100 connections that send nothing, and 100 that send a byte now and then."""
    side = start(encrypted=encrypted, logging_level=20)
    managers, books = served(side, crowd)
    before = usage.resident_bytes(side.interchange.pid)
    greeting = b"\xff" + b"\x00" * 8 + b"\x7f" + b"\x03" + b"\x00" * 53
    place = (side.address, side.worker_port)
    held = [socket.create_connection(place) for _ in range(200)]
    sent = 0

    def a_byte_each() -> None:
        nonlocal sent
        for sock in held[100:]:
            sock.sendall(greeting[sent : sent + 1])
        sent += 1
        time.sleep(0.2)  # Slow sending is part of the test.

    used_s = usage.cpu_seconds(side.interchange.pid)
    with Nuisance(a_byte_each):
        for _ in range(10):
            books.run(managers, 300, SERVED_WITHIN_S)
            # A new manager can connect beside them.
            if books.submitted == 1000:
                crowd(side, 1, max_capacity=1, prefix="newcomer", beating=False).die()
    used_s = usage.cpu_seconds(side.interchange.pid) - used_s
    measured(f"{used_s * 1000:.0f} ms of CPU meanwhile")
    for sock in held:
        sock.close()
    books.run(managers, TASKS, SERVED_WITHIN_S)
    grown = usage.resident_bytes(side.interchange.pid) - before
    assert grown < GROWN_MAX and books.losses() == 0


NOISE = {
    "http": b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "tls": bytes.fromhex("16030100c8010000c40303") + bytes(190),
    "zeros": bytes(4096),
    "random": os.urandom(4096),
    # A greeting, READY, and then a frame whose announced size is 2^62 bytes.
    "huge-frame": b"\xff"
    + b"\x00" * 8
    + b"\x7f\x03\x00"
    + b"NULL"
    + b"\x00" * 48
    + b"\x04\x26\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER\x08Identity\x00\x00\x00\x00"
    + b"\x02\x40"
    + b"\x00" * 7
    + b"body",
}


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE)
def test_noise_instead_of_zeromq(start, crowd, noise, measured):
    side = start(logging_level=20)
    managers, books = served(side, crowd)
    before = usage.resident_bytes(side.interchange.pid)

    def make_noise() -> None:
        with socket.create_connection((side.address, side.worker_port)) as sock:
            try:
                sock.sendall(noise)
                sock.settimeout(0.05)
                sock.recv(64)
            except (ConnectionError, TimeoutError):
                pass

    with Nuisance(make_noise) as nuisance:
        for _ in range(10):
            books.run(managers, 300, SERVED_WITHIN_S)
    assert nuisance.times > 5
    still_fine(side, managers, books, before, measured)


def test_registrations_of_any_size_without_end(start, crowd, connect, measured):
    """One peer registers again and again, each time with another block and another host."""
    side = start(logging_level=20)
    managers, books = served(side, crowd)
    before = usage.resident_bytes(side.interchange.pid)
    peer = connect(side, b"register")
    for number in range(100):
        text = f"{number}" + "x" * MIB
        for key in ("block_id", "hostname"):
            peer.register(max_capacity=0, **{key: text})
        peer.register(max_capacity=0, dir="x" * 5 * MIB)
        # The answer to a probe shows that all earlier messages were read.
        peer.probe()
    still_fine(side, managers, books, before, measured)
    assert len(side.interchange.log()) < MIB
    warnings = side.interchange.log_lines("WARNING", "b'register' at 127.0.0.1: a registration")
    assert any("'block_id' is longer than" in line for line in warnings)
