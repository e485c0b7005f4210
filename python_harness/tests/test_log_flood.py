"""Bad input costs few log lines, however much of it arrives, and all of it is accounted for."""

from __future__ import annotations

import re
import socket
import time

import pytest

from harness.machine.waiting import wait_until

pytestmark = pytest.mark.ours_only("stock writes a line, or a traceback, for each")

MORE = re.compile(r" (\d+) more (.*?) within a second")
# The same limits as in src/interchange/complaints.rs: lines about one peer, and about all peers.
LINES_OF_ONE_PEER, LINES_OF_ALL = 20, 100


def told(side, level: str, text: str, more: str) -> tuple[int, int]:
    """Returns how many lines were written in full, and how many more are accounted for."""
    lines = side.interchange.log_lines(level)
    counted = [MORE.search(line) for line in lines]
    held_back = sum(int(found[1]) for found in counted if found and found[2] == more)
    return sum(text in line for line in lines), held_back


def test_a_flood_of_bad_messages_is_counted_not_written(start, connect, measured):
    """100,000 bad messages arrive; a manager goes on working, and another bad peer is still
    named."""
    side = start(logging_level=20)
    fuzzer = connect(side, b"fuzzer")
    fuzzer.probe()
    manager = connect(side).enlist(side)
    count, begin = 100_000, time.monotonic()
    for number in range(count):
        fuzzer.socket.send(b"garbage")
        if number % 20_000 == 10_000:
            sent = side.submit(number)
            assert manager.tasks(1) == [sent]
            manager.answer(number)
            side.result()
            connect(side, b"other-%d" % number).send_frames(b"rubbish")
    fuzzer.probe(60)
    seconds = time.monotonic() - begin

    def sums() -> tuple[int, int]:
        return told(side, "WARNING", "of b'fuzzer'", "manager messages that cannot be read")

    wait_until(
        lambda: sum(sums()) == count,
        10,
        f"{count} are accounted for",
        context=lambda: f"{sums()}\n{side.interchange.tail()}",
    )
    written, _ = sums()
    measured(f"{count} bad messages in {seconds:.1f} s: {written} lines in full")
    assert written <= LINES_OF_ONE_PEER * (seconds + 2)
    for number in range(10_000, count, 20_000):
        assert side.interchange.log_lines("WARNING", f"b'other-{number}'")


def test_suppressed_lines_are_counted_at_the_end(start, connect):
    side = start(logging_level=20)
    fuzzer = connect(side, b"fuzzer")
    for _ in range(500):
        fuzzer.send({"type": "heartbeat"})
    fuzzer.probe()
    side.interchange.terminate()
    more = "messages of managers that are not registered"
    written, held_back = told(side, "WARNING", "unknown manager: b'fuzzer'", more)
    assert written + held_back == 500
    assert written >= LINES_OF_ONE_PEER


def turned_away(stranger: socket.socket) -> None:
    stranger.settimeout(5)
    try:
        while stranger.recv(100):
            pass
    except ConnectionResetError:
        pass


HTTP = b"GET / HTTP/1.1\r\n\r\n"
# A greeting of ZMTP 3.0 without encryption, for a port that requires encryption.
NO_CURVE = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)


@pytest.mark.parametrize(
    ("encrypted", "said"), [(False, HTTP), (True, NO_CURVE)], ids=["http", "no-curve"]
)
def test_a_flood_of_connections_is_counted_not_written(start, encrypted, said):
    """The connections come from a peer without a key, or with another protocol."""
    side = start(logging_level=20, encrypted=encrypted)
    port, count, begin = side.worker_port, 1500, time.monotonic()
    for _ in range(count):
        with socket.create_connection((side.address, port)) as stranger:
            stranger.sendall(said)
            if encrypted:
                turned_away(stranger)
    seconds = time.monotonic() - begin

    def failed() -> tuple[int, int]:
        return told(side, "WARNING", "Handshake failed", "failed handshakes")

    def sums() -> list[int]:
        opened = told(side, "INFO", "Accepted a connection", "accepted connections")
        return [sum(opened), sum(failed())]

    wait_until(
        lambda: sums() == [count, count],
        10,
        "all are accounted for",
        context=lambda: f"{sums()}\n{side.interchange.tail()}",
    )
    assert failed()[0] <= LINES_OF_ALL * (seconds + 2)
