"""Both ends of the interchange's wire, played with pyzmq: a submit side and a manager.

They speak what Parsl 2026.10.26 speaks, and they are *fakes*: no task runs. With them a test
decides every frame, which no real manager would send so. They work against Parsl's own
interchange as well, which is how the tests that use them were validated.
"""

from __future__ import annotations

import pickle
import platform
import socket
import time
from collections.abc import Sequence
from pathlib import Path

import zmq
from parsl import curvezmq
from parsl.addresses import tcp_url
from parsl.executors.high_throughput.manager_selector import RandomManagerSelector
from parsl.version import VERSION as PARSL_VERSION
from zmq.utils.monitor import recv_monitor_message

from harness.htex.interchange import Interchange

HEARTBEAT_CODE = 2**32 - 1
SHUTDOWN_CODE = 2**32 - 2

# A message that should come does so in milliseconds; this only bounds a failing test.
PATIENCE_S = 10.0

# The range that tells pyzmq's bind_to_random_port, and the interchange, to let the system choose.
ANY_PORT = (49152, 65536)


class Silence(AssertionError):
    """Nothing came within the deadline."""


def receive(sock: zmq.Socket, within_s: float, what: str) -> bytes:
    if not sock.poll(within_s * 1000):
        raise Silence(f"no {what} within {within_s} s")
    return sock.recv()


def registration(uid: str, **fields) -> dict:
    """A manager's registration with the fields that Parsl 2026.10.26 sends."""
    message = {
        "type": "registration",
        "parsl_v": PARSL_VERSION,
        "python_v": platform.python_version(),
        "packages": {"parsl": "2026.10.26", "dill": "0.4"},
        "worker_count": 1,
        "uid": uid,
        "block_id": "0",
        "start_time": time.time(),
        "drain_time": float("inf"),
        "prefetch_capacity": 0,
        "max_capacity": 1,
        "os": "Linux",
        "hostname": "fake-host",
        "dir": "/",
        "cpu_count": 2,
        "total_memory": 8 << 30,
    }
    message.update(fields)
    return message


def idle_row(sent: dict) -> dict:
    """What MANAGERS has of a manager that registered so and has no task, but for
    `idle_duration`."""
    return {
        "manager": sent["uid"],
        "block_id": sent["block_id"],
        "worker_count": sent["worker_count"],
        "tasks": 0,
        "active": True,
        "parsl_version": sent["parsl_v"],
        "python_version": sent["python_v"],
        "draining": False,
    }


class FakeSubmitSide:
    """Plays HighThroughputExecutor: binds three sockets, launches, submits, reads results."""

    def __init__(
        self,
        workdir: Path,
        *,
        address: str = "127.0.0.1",
        encrypted: bool = False,
        hub: bool = False,
        results_read_ahead: int = 0,
        **overrides,
    ) -> None:
        """With a read-ahead, the result socket takes so many messages before they are read; the
        executor's own takes all that come."""
        self.workdir = workdir
        self.address = address
        self.cert_dir = curvezmq.create_certificates(workdir) if encrypted else None
        self.context = curvezmq.ClientContext(self.cert_dir)
        self.tasks, self.results, self.commands = (
            self._bound(self.context, kind, read_ahead)
            for kind, read_ahead in (
                (zmq.DEALER, 0),
                (zmq.DEALER, results_read_ahead),
                (zmq.REQ, 0),
            )
        )
        # The hub is the CURVE server of its connection, alone among the submit side's sockets.
        self.hub_context = curvezmq.ServerContext(self.cert_dir) if hub else None
        self.hub = self._bound(self.hub_context, zmq.DEALER) if hub else None
        self.overrides = overrides
        self.interchange: Interchange | None = None
        self._worker_port: int | None = None
        # Ids of the tasks that only mark a place in the log, far above those of a test.
        self.marks = 1_000_000

    def _bound(self, context: curvezmq.BaseContext, kind: int, read_ahead: int = 0) -> zmq.Socket:
        sock = context.socket(kind)
        sock.setsockopt(zmq.LINGER, 0)
        if kind == zmq.DEALER:
            sock.set_hwm(0)
            # A listener hands its options on as they are when it is bound.
            sock.setsockopt(zmq.RCVHWM, read_ahead)
        sock.bind_to_random_port(tcp_url(self.address), min_port=ANY_PORT[0], max_port=ANY_PORT[1])
        return sock

    def config(self) -> dict:
        """What HTEX would write to the interchange's stdin."""
        config = {
            "client_address": self.address,
            "client_ports": tuple(
                _port_of(sock) for sock in (self.tasks, self.results, self.commands)
            ),
            "interchange_address": self.address,
            "worker_port": None,
            "worker_port_range": ANY_PORT,
            "hub_address": self.address,
            "hub_zmq_port": _port_of(self.hub) if self.hub else None,
            "logdir": str(self.workdir / "log"),
            "heartbeat_threshold": 120,
            "poll_period": 10,
            "logging_level": 10,
            "cert_dir": self.cert_dir,
            "manager_selector": RandomManagerSelector(),
            "run_id": "a-run",
            "log_config": None,
            "_check_python_mismatch": True,
        }
        config.update(self.overrides)
        return config

    def launch(self, command: Sequence[str] | None = None, **popen) -> Interchange:
        self.interchange = Interchange(self.config(), self.workdir, command, **popen)
        return self.interchange

    @property
    def worker_port(self) -> int:
        """Where managers connect, as the interchange answers it."""
        if self._worker_port is None:
            self._worker_port = self.command("WORKER_BINDS", within_s=30)
        return self._worker_port

    @property
    def worker_url(self) -> str:
        return tcp_url(self.address, self.worker_port)

    def command(self, request: object, within_s: float = PATIENCE_S) -> object:
        """One request, one reply; a reply that is a refusal raises here, as it does in HTEX."""
        return pickle.loads(self.command_raw(pickle.dumps(request), within_s))

    def command_raw(self, request: bytes, within_s: float = PATIENCE_S) -> bytes:
        if not self.commands.poll(within_s * 1000, zmq.POLLOUT):
            raise Silence(f"the interchange did not connect within {within_s} s")
        self.commands.send(request)
        return receive(self.commands, within_s, f"reply to {request[:60]!r}")

    def managers(self) -> list[dict]:
        return self.command("MANAGERS")

    def submit(
        self, task_id: int, buffer: bytes = b"work", context: dict | None = None, protocol: int = 4
    ) -> dict:
        task = {"task_id": task_id, "context": context or {}, "buffer": buffer}
        self.tasks.send(pickle.dumps(task, protocol))
        return task

    def submit_raw(self, frame: bytes) -> None:
        self.tasks.send(frame)

    def settle_log(self) -> None:
        """Returns when everything that was logged before now is in the file. The line of a task
        marks the place (level DEBUG); a registered manager may be given that task."""
        self.marks += 1
        self.submit(self.marks)
        self.interchange.wait_for_log(f"Put task {self.marks} onto pending_task_queue")

    def result(self, within_s: float = PATIENCE_S) -> dict:
        return pickle.loads(self.result_raw(within_s))

    def result_raw(self, within_s: float = PATIENCE_S) -> bytes:
        return receive(self.results, within_s, "result")

    def report(self, within_s: float = PATIENCE_S) -> tuple:
        """The next message at the monitoring hub."""
        return pickle.loads(receive(self.hub, within_s, "monitoring message"))

    def pending_reports(self) -> list[tuple]:
        """What the hub has received already."""
        reports = []
        while self.hub.poll(0):
            reports.append(pickle.loads(self.hub.recv()))
        return reports

    def close(self) -> None:
        """As a submit process that ends: every socket is gone."""
        self.context.destroy(linger=0)
        if self.hub_context:
            self.hub_context.destroy(linger=0)


class FakeManager:
    """Plays process_worker_pool: probes, registers, beats, takes batches and answers tasks."""

    def __init__(
        self,
        url: str,
        identity: bytes = b"manager-a",
        *,
        cert_dir: str | None = None,
        source: str | None = None,
        watched: bool = False,
        read_ahead: int | None = None,
        receive_buffer_bytes: int | None = None,
    ) -> None:
        """With a read-ahead, so many messages are taken off the wire before they are read; with a
        receive buffer, the kernel takes no more than that."""
        self.identity = identity
        self.context = curvezmq.ClientContext(cert_dir)
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.IDENTITY, identity)
        if read_ahead is not None:
            self.socket.setsockopt(zmq.RCVHWM, read_ahead)
        if receive_buffer_bytes is not None:
            self.socket.setsockopt(zmq.RCVBUF, receive_buffer_bytes)
        self.monitor = self.socket.get_monitor_socket() if watched else None
        # libzmq connects from a chosen local address when it stands before a semicolon.
        self.socket.connect(url.replace("tcp://", f"tcp://{source}:0;") if source else url)
        self.waiting: list[dict] = []

    def send(self, message: object) -> None:
        self.socket.send(pickle.dumps(message))

    def send_frames(self, *frames: bytes) -> None:
        self.socket.send_multipart(frames)

    def receive(self, within_s: float = PATIENCE_S) -> bytes:
        return receive(self.socket, within_s, f"message to {self.identity!r}")

    def probe(self, within_s: float = PATIENCE_S) -> None:
        self.send({"type": "connection_probe"})
        answer = self.receive(within_s)
        assert answer == b"", answer

    def register(self, **fields) -> FakeManager:
        self.send(registration(self.identity.decode(errors="replace"), **fields))
        return self

    def enlist(self, submit_side: FakeSubmitSide, **fields) -> FakeManager:
        """Probes, registers, and returns when the interchange lists it."""
        self.probe()
        self.register(**fields)
        # The echo comes after the registration was handled: one connection keeps its order.
        self.beat()
        names = [manager["manager"] for manager in submit_side.managers()]
        assert self.identity.decode() in names, names
        return self

    def beat(self, within_s: float = PATIENCE_S) -> None:
        """A heartbeat and its echo; tasks that come before the echo are kept for `tasks`. What
        was sent to this manager earlier has arrived when this returns."""
        self.send({"type": "heartbeat"})
        while (message := pickle.loads(self.receive(within_s))) != HEARTBEAT_CODE:
            assert isinstance(message, list), f"neither tasks nor the echo: {message!r}"
            self.waiting.extend(message)

    def tasks(self, count: int, within_s: float = PATIENCE_S) -> list[dict]:
        """Exactly `count` tasks, in the order of arrival."""
        end = time.monotonic() + within_s
        while len(self.waiting) < count:
            batch = pickle.loads(self.receive(max(0.0, end - time.monotonic())))
            assert isinstance(batch, list), f"not a batch: {batch!r}"
            self.waiting.extend(batch)
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        return taken

    def batch(self, within_s: float = PATIENCE_S) -> list[dict]:
        """The tasks of the next frame."""
        batch = pickle.loads(self.receive(within_s))
        assert isinstance(batch, list), f"not a batch: {batch!r}"
        return batch

    def holds_nothing_new(self) -> bool:
        """True if no task was sent to it before now."""
        self.beat()
        return not self.waiting

    def answer(self, task_id: int, result: bytes = b"done", *, marker: bool = False) -> bytes:
        """A result, as one frame or behind the marker frame of older managers."""
        frame = pickle.dumps({"type": "result", "task_id": task_id, "result": result})
        if marker:
            self.send_frames(pickle.dumps({"type": "result"}), frame)
        else:
            self.send_frames(frame)
        return frame

    def expect_shutdown(self, within_s: float = PATIENCE_S) -> None:
        code = pickle.loads(self.receive(within_s))
        assert code == SHUTDOWN_CODE, code

    def local_endpoint(self, within_s: float = PATIENCE_S) -> tuple[str, int]:
        """The address and port that the interchange sees as its peer (needs `watched`)."""
        end = time.monotonic() + within_s
        while self.monitor.poll(max(0.0, end - time.monotonic()) * 1000):
            event = recv_monitor_message(self.monitor)
            if event["event"] == zmq.EVENT_CONNECTED:
                duplicate = socket.fromfd(event["value"], socket.AF_INET, socket.SOCK_STREAM)
                with duplicate:
                    return duplicate.getsockname()[:2]
        raise Silence("no connection event")

    def close(self) -> None:
        self.context.destroy(linger=0)

    def __enter__(self) -> FakeManager:
        return self

    def __exit__(self, *_) -> None:
        self.close()


def _port_of(sock: zmq.Socket) -> int:
    return int(sock.getsockopt(zmq.LAST_ENDPOINT).rstrip(b"\0").rpartition(b":")[2])
