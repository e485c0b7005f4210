"""Tests the rules of sections 1.3 (sockets and security) and 1.14 (when a connection breaks)."""

from __future__ import annotations

import os
import re
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path

import zmq
import zmq.auth

from harness.conformance.registry import rule
from harness.conformance.rules.starting import refuses
from harness.conformance.stage import LISTEN_S, PATIENCE_S, Manager, Side, Stage, Untried
from harness.fakes.stranger import server_key

# Seconds to wait for an answer on a new connection before opening another.
DEAF_AFTER_S = 0.5


def garble(cert_dir: Path) -> None:
    path = cert_dir / "server.key_secret"
    path.write_text(re.sub('".*"', '"no key"', path.read_text()))


# Ways to make a certificate directory unusable.
SPOILT: dict[str, Callable[[Path], object]] = {
    "a certificate directory without the server's key": lambda place: os.unlink(
        place / "server.key_secret"
    ),
    "a certificate directory that is not there": shutil.rmtree,
    "a server's key that is none": garble,
}


def encrypted(stage: Stage, **options) -> Side:
    if not zmq.has("curve"):
        raise Untried("this machine's libzmq has no CURVE")
    return stage.side(encrypted=True, **options)


@rule("P-1.3.1")
def all_sockets_are_served(stage: Stage) -> None:
    side = stage.side()
    side.work_goes_on()
    assert side.row("witness"), "the manager is not listed"


@rule("P-1.3.2")
def encrypts(stage: Stage) -> None:
    for _ in range(20):
        side = encrypted(stage, launch=False)
        if b"=" in secret_key(side):
            break
    side.start()
    side.work_goes_on()
    assert side.row("witness"), "the manager is not listed"


def secret_key(side: Side) -> bytes:
    """Writes the server's certificate. Two of five such keys contain `=`, which also separates a
    key from its name."""
    return zmq.auth.load_certificate(os.path.join(side.cert_dir, "server.key_secret"))[1]


def is_not_answered(stage: Stage, side: Side, **keys) -> None:
    stranger = stage.stranger(side, **keys)
    stranger.send({"type": "connection_probe"})
    stranger.register()
    stranger.send({"type": "heartbeat"})
    # A manager with keys that connects later is answered; then the check listens for LISTEN_S.
    stage.manager(side, "friend").enlist(side, max_capacity=0)
    assert not stranger.socket.poll(LISTEN_S * 1000), "the stranger was answered"
    assert side.row("stranger") is None, "the stranger is registered"


@rule("P-1.3.3")
def admits_nobody_without_keys(stage: Stage) -> None:
    is_not_answered(stage, encrypted(stage), keys=None, server=None)


@rule("P-1.3.4")
def admits_no_foreign_keys(stage: Stage) -> None:
    side = encrypted(stage)
    is_not_answered(stage, side, keys=zmq.curve_keypair(), server=server_key(side))


@rule("P-1.3.5")
def admits_keys_of_the_directory(stage: Stage) -> None:
    side = encrypted(stage, launch=False)
    of_a_site = zmq.curve_keypair()
    while not {b"="[0], b"#"[0]} <= set(of_a_site[0]):
        of_a_site = zmq.curve_keypair()
    line = f'public-key = "{of_a_site[0].decode()}"'
    Path(side.cert_dir, "site.key").write_text(f"metadata\ncurve\n    {line}\n")
    side.start()
    pairs = [
        zmq.auth.load_certificate(os.path.join(side.cert_dir, f"{name}.key_secret"))
        for name in ("client", "server")
    ]
    for keys in (*pairs, of_a_site):
        friend = stage.stranger(side, keys=keys, server=server_key(side))
        friend.register(max_capacity=0)
        friend.beat(PATIENCE_S)
        friend.close()


@rule("P-1.3.6")
def ends_without_keys(stage: Stage) -> None:
    for what, spoil in SPOILT.items():
        side = encrypted(stage, launch=False)
        spoil(Path(side.cert_dir))
        refuses(side, what)


@rule("P-1.3.7")
def survives_other_protocols(stage: Stage) -> None:
    side = stage.side()
    greeting = b"\xff" + b"\x00" * 8 + b"\x7f"
    said = [b"", b"GET / HTTP/1.1\r\n\r\n", greeting, greeting + b"\x03" * 54, bytes(range(256))]
    held = []
    for words in said * 3:
        held.append(socket.create_connection((side.address, side.worker_port)))
        held[-1].sendall(words)
    side.work_goes_on()
    for raw in held:
        raw.close()
    side.work_goes_on()


@rule("P-1.3.8")
def serves_a_second_connection_of_one_identity(stage: Stage) -> None:
    side = stage.side()
    first = stage.manager(side, "one-name")
    first.read_so_far()
    first.close()
    second = heard_again(stage, side, "one-name", register=True)
    second.register()
    task = side.task()
    second.gets(task)


def heard_again(stage: Stage, side: Side, name: str, *, register: bool = False) -> Manager:
    """Opens connections under a closed connection's name until the interchange answers on one.

    The interchange may ignore a new connection until it has torn down the earlier connection with
    that name. With `register`, each new connection registers as a manager first.
    """
    end = time.monotonic() + PATIENCE_S
    while True:
        manager = stage.manager(side, name)
        if register:
            manager.register(max_capacity=0)
        manager.send({"type": "heartbeat"})
        if manager.socket.poll(DEAF_AFTER_S * 1000):
            manager.receive()
            return manager
        manager.close()
        assert time.monotonic() < end, f"connections of {name} stay deaf"


@rule("P-1.14.1")
def keeps_tasks_while_disconnected(stage: Stage) -> None:
    side = stage.side()
    manager = stage.manager(side, "one-name").enlist(side)
    task = side.task()
    manager.tasks(1)
    manager.close()
    again = heard_again(stage, side, "one-name")
    row = side.row("one-name")
    assert row and row["tasks"] == 1, f"the manager's row is {row}"
    frame = again.answer(task["task_id"])
    assert side.result_raw() == frame


@rule("P-1.14.2")
def uses_the_new_connection(stage: Stage) -> None:
    side = stage.side()
    stage.manager(side, "one-name").enlist(side, max_capacity=2).close()
    again = heard_again(stage, side, "one-name")
    task = side.task()
    again.gets(task)
