"""CURVE: which peers may connect, which are refused, and that a refusal is logged with an
address."""

from __future__ import annotations

import os
import pickle
import socket
import stat

import pytest
import zmq
import zmq.auth
from parsl import curvezmq

from harness.fakes.stranger import STRANGERS_ADDRESS, Stranger, server_key
from harness.fakes.wire import FakeManager
from harness.machine.waiting import wait_until


@pytest.fixture
def intrude():
    """`intrude(side, keys=..., server=...)` returns a Stranger, which is closed after the test."""
    strangers: list[Stranger] = []

    def make(side, *, keys=None, server=None) -> Stranger:
        strangers.append(Stranger(side, keys=keys, server=server))
        return strangers[-1]

    yield make
    for stranger in strangers:
        stranger.close()


def is_refused(side, stranger) -> None:
    """Checks that a stranger gets no answer to its probe, while a later peer with the right key
    does.

    No event marks a missing answer: the interchange stays silent after a refused handshake. So this
    listens for many times the duration of the friend's handshake and answer.
    """
    stranger.send({"type": "connection_probe"})
    stranger.register()
    with FakeManager(side.worker_url, b"friend", cert_dir=side.cert_dir) as friend:
        friend.probe()
    assert not stranger.socket.poll(300)
    assert side.managers() == []


def test_key_that_is_not_in_the_directory_is_refused(start, intrude):
    side = start(encrypted=True)
    stranger = intrude(side, keys=zmq.curve_keypair(), server=server_key(side))
    is_refused(side, stranger)


@pytest.mark.ours_only("stock refuses in silence")
def test_refusal_is_logged_with_the_address(start, intrude):
    side = start(encrypted=True)
    stranger = intrude(side, keys=zmq.curve_keypair(), server=server_key(side))
    stranger.send({"type": "connection_probe"})
    wait_until(
        lambda: side.interchange.log_lines("WARNING", STRANGERS_ADDRESS),
        5,
        "a warning",
        context=side.interchange.tail,
    )


def test_a_peer_without_keys_is_refused(start, intrude):
    side = start(encrypted=True)
    stranger = intrude(side)
    is_refused(side, stranger)


@pytest.mark.ours_only("stock refuses in silence")
def test_connection_without_keys_is_logged_with_the_address(start, intrude):
    side = start(encrypted=True)
    intrude(side)
    wait_until(
        lambda: STRANGERS_ADDRESS in side.interchange.log(),
        5,
        "the address in the log",
        context=side.interchange.tail,
    )


def test_wrong_server_key_is_refused(start, intrude):
    side = start(encrypted=True)
    other_server, _ = zmq.curve_keypair()
    keys = zmq.auth.load_certificate(os.path.join(side.cert_dir, "client.key_secret"))
    stranger = intrude(side, keys=keys, server=other_server)
    is_refused(side, stranger)


@pytest.mark.parametrize("name", ["client", "server"])
def test_keys_of_the_directory_are_accepted(start, name, intrude):
    side = start(encrypted=True)
    keys = zmq.auth.load_certificate(os.path.join(side.cert_dir, f"{name}.key_secret"))
    friend = intrude(side, keys=keys, server=server_key(side))
    friend.probe()


def test_plain_interchange_refuses_no_one_and_encrypts_nothing(start, intrude):
    side = start()
    stranger = intrude(side)
    stranger.probe()


def test_raw_connections_do_not_disturb(start, connect, encrypted):
    """Connections like those of a port scanner, of a browser, and a half-open one."""
    side = start(encrypted=encrypted, logging_level=20)
    manager = connect(side).enlist(side)
    held = []
    for number in range(30):
        raw = socket.create_connection((side.address, side.worker_port))
        if number % 3:
            greeting = b"\xff" + b"\x00" * 8 + b"\x7f"
            raw.sendall(b"GET / HTTP/1.1\r\n\r\n" if number % 2 else greeting)
        held.append(raw)
        side.submit(number + 1)
        manager.tasks(1)
        manager.answer(number + 1)
        side.result()
    for raw in held:
        raw.close()


def test_certificates_of_the_user_are_used(start, tmp_path, connect):
    """The user may set `cert_dir` to any absolute path that has files of the usual names."""
    cert_dir = curvezmq.create_certificates(tmp_path)
    assert stat.S_IMODE(os.stat(cert_dir).st_mode) == 0o700
    side = start(launch=False)
    side.context = curvezmq.ClientContext(cert_dir)
    side.cert_dir = cert_dir
    side.tasks, side.results, side.commands = (
        side._bound(side.context, kind) for kind in (zmq.DEALER, zmq.DEALER, zmq.REQ)
    )
    side.launch()
    manager = connect(side).enlist(side)
    side.submit(1)
    manager.tasks(1)
    frame = manager.answer(1)
    assert side.result_raw() == frame


def test_a_result_of_a_stranger_cannot_be_smuggled(start, connect, intrude):
    """A peer that knows a manager's identity but has no key cannot answer the manager's task."""
    side = start(encrypted=True)
    manager = connect(side, b"stranger").enlist(side)
    side.submit(1)
    manager.tasks(1)
    thief = intrude(side, keys=zmq.curve_keypair(), server=server_key(side))
    thief.send_frames(pickle.dumps({"type": "result", "task_id": 1, "result": b"forged"}))
    thief.socket.poll(200)
    frame = manager.answer(1)
    assert side.result_raw() == frame
