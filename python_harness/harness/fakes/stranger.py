"""A peer that connects to the worker port with arbitrary keys, or none."""

from __future__ import annotations

import os

import zmq
import zmq.auth

from harness.fakes.wire import FakeManager

# A loopback source address that no other socket of the test uses.
STRANGERS_ADDRESS = "127.0.0.2"


def server_key(side) -> bytes:
    public, _ = zmq.auth.load_certificate(os.path.join(side.cert_dir, "server.key"))
    return public


class Stranger(FakeManager):
    """A peer that connects with the given keys, or with none."""

    def __init__(self, side, *, keys, server) -> None:
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.identity = b"stranger"
        self.socket.setsockopt(zmq.IDENTITY, self.identity)
        if keys:
            self.socket.curve_publickey, self.socket.curve_secretkey = keys
            self.socket.curve_serverkey = server
        self.waiting = []
        self.socket.connect(f"tcp://{STRANGERS_ADDRESS}:0;{side.address}:{side.worker_port}")
