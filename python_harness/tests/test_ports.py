"""The addresses at which the process listens, the largest message that it accepts, and that it
exposes no secrets."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import pytest
import zmq
import zmq.auth

from harness.fakes.wire import FakeManager
from harness.machine import sockets, usage

# The same value as in src/event_loop/sockets.rs.
MESSAGE_BYTES_MAX = 16 << 30


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
@pytest.mark.parametrize(
    ("named", "bound"),
    [("127.0.0.1", "127.0.0.1"), ("127.0.0.3", "127.0.0.3"), (None, "::"), ("", "::")],
)
def test_only_the_given_address_listens_for_workers(
    start, status_directory, named, bound, encrypted
):
    side = start(hub=True, encrypted=encrypted, interchange_address=named)
    assert sockets.listening(side.interchange.pid) == [(bound, side.worker_port)]
    assert sockets.datagram_and_raw(side.interchange.pid) == []
    told = [Path(path) for path in sockets.local(side.interchange.pid)]
    assert [path.parent for path in told] == [status_directory]
    assert status_directory.stat().st_mode & 0o777 == 0o700


def test_only_the_given_ipv6_address_listens(start, ipv6_loopback):
    side = start(address=ipv6_loopback)
    assert sockets.listening(side.interchange.pid) == [(ipv6_loopback, side.worker_port)]


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
@pytest.mark.parametrize("zone", ["lo", str(socket.if_nametoindex("lo"))])
def test_a_zone_of_ipv6_by_its_name_and_its_number(start, connect, ipv6_loopback, zone, encrypted):
    """The zone works for the submit side, for managers and for the hub."""
    side = start(address=f"{ipv6_loopback}%{zone}", encrypted=encrypted, hub=True)
    assert sockets.listening(side.interchange.pid) == [(ipv6_loopback, side.worker_port)]
    manager = connect(side).enlist(side)
    side.submit(1)
    manager.tasks(1)
    manager.answer(1)
    assert side.result()["task_id"] == 1
    assert side.report()


def test_a_link_local_address(start, connect, link_local):
    side = start(address=link_local)
    manager = connect(side).enlist(side)
    side.submit(1)
    manager.tasks(1)
    side.interchange.wait_for_log(link_local)


@pytest.mark.ours_only("stock sets no limit")
def test_a_message_beyond_the_limit_ends_its_connection_and_costs_nothing(start):
    """A peer announces a frame that is too large, and another peer one just below the limit. The
    latter costs only the memory of the bytes that have arrived."""
    side = start()
    before = usage.resident_bytes(side.interchange.pid)
    with announcing(side, MESSAGE_BYTES_MAX + 1) as beyond:
        assert beyond.recv(1) == b"", "the connection is ended"
    with announcing(side, 1 << 30) as below:
        with FakeManager(side.worker_url, b"friend") as friend:
            friend.probe()
        below.setblocking(False)
        with pytest.raises(BlockingIOError):
            below.recv(1)
        assert usage.resident_bytes(side.interchange.pid) - before < 32 << 20


def announcing(side, size: int) -> socket.socket:
    """Returns a raw connection that has finished its handshake (ZMTP 3.0, NULL) and announced a
    frame of `size`."""
    peer = socket.create_connection((side.address, side.worker_port))
    peer.settimeout(5)
    peer.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32))
    ready = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
    peer.sendall(b"\x04" + bytes([len(ready)]) + ready)
    greeting_and_ready = 64
    while greeting_and_ready > 0:
        greeting_and_ready -= len(peer.recv(greeting_and_ready))
    (_flags, length) = peer.recv(1), peer.recv(1)
    peer.recv(length[0])
    peer.sendall(b"\x02" + struct.pack(">Q", size) + b"x" * 1000)
    return peer


def test_no_secret_key_is_exposed(start, connect):
    """At the lowest log level, through accepted and refused connections and an end, no secret key
    appears in the log, on stderr, or where other users could read it."""
    side = start(encrypted=True, hub=True, logging_level=1)
    connect(side).enlist(side)
    context = zmq.Context()
    stranger = context.socket(zmq.DEALER)
    stranger.curve_publickey, stranger.curve_secretkey = zmq.curve_keypair()
    stranger.curve_serverkey, _ = zmq.auth.load_certificate(f"{side.cert_dir}/server.key")
    stranger.connect(side.worker_url)
    side.interchange.wait_for_log("Refused a peer")
    context.destroy(linger=0)
    pid = side.interchange.pid
    told = [Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ")]
    side.interchange.terminate()
    told += [side.interchange.log().encode(), side.interchange.stderr().encode()]
    for name in ("server", "client"):
        _, secret = zmq.auth.load_certificate(f"{side.cert_dir}/{name}.key_secret")
        raw = zmq.utils.z85.decode(secret)
        for text in told:
            for form in (secret, raw, raw.hex().encode()):
                assert form not in text


@pytest.mark.ours_only("stock says nothing when an identity moves")
def test_a_holder_of_the_key_can_take_an_identity_and_is_seen(start):
    """One key for all managers cannot prevent this: a manager's tasks go to the peer that connected
    last under the manager's name. A WARNING names both addresses."""
    side = start(encrypted=True)
    url, keys = side.worker_url, {"cert_dir": side.cert_dir}
    with FakeManager(url, b"named", **keys) as first:
        first.enlist(side)
        with FakeManager(url, b"named", source="127.0.0.2", **keys) as second:
            second.beat()
            side.submit(1)
            assert second.tasks(1)[0]["task_id"] == 1
            frame = second.answer(1, b"forged")
            assert side.result_raw() == frame
    side.settle_log()
    (line,) = side.interchange.log_lines("WARNING", "now sends from 127.0.0.2")
    assert "before, it sent from 127.0.0.1" in line
