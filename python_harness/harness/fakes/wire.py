"""Both ends of the interchange's wire, played with pyzmq: a submit side and a manager.

They speak the protocol of Parsl 2026.10.26, and they are *fakes*: no task runs. They let a test
choose every frame, also frames that no real manager would send. They work with Parsl's own
interchange too, which validated the tests that use them.
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

# An expected message arrives within milliseconds; this only bounds a failing test.
PATIENCE_S = 10.0

# The port range for which pyzmq's bind_to_random_port, and the interchange, let the system choose.
ANY_PORT = (49152, 65536)


class Silence(AssertionError):
    """No message arrived within the deadline."""


def receive(sock: zmq.Socket, within_s: float, what: str) -> bytes:
    if not sock.poll(within_s * 1000):
        raise Silence(f"no {what} within {within_s} s")
    return sock.recv()


def registration(uid: str, **fields) -> dict:
    """Returns a manager's registration with the fields that Parsl 2026.10.26 sends."""
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
    """Returns the row, without `idle_duration`, that MANAGERS reports for a manager with this
    registration and no tasks."""
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
        """`results_read_ahead` limits the messages that the result socket receives before they are
        read; 0, as in the executor, means no limit."""
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
        # Of the submit side's sockets, only the hub's is a CURVE server.
        self.hub_context = curvezmq.ServerContext(self.cert_dir) if hub else None
        self.hub = self._bound(self.hub_context, zmq.DEALER) if hub else None
        self.overrides = overrides
        self.interchange: Interchange | None = None
        self._worker_port: int | None = None
        # Ids of tasks that only mark a position in the log; far above the ids of a test's tasks.
        self.marks = 1_000_000

    def _bound(self, context: curvezmq.BaseContext, kind: int, read_ahead: int = 0) -> zmq.Socket:
        sock = context.socket(kind)
        sock.setsockopt(zmq.LINGER, 0)
        if kind == zmq.DEALER:
            sock.set_hwm(0)
            # Must be set before the bind: accepted connections inherit a listener's options at that
            # time.
            sock.setsockopt(zmq.RCVHWM, read_ahead)
        sock.bind_to_random_port(tcp_url(self.address), min_port=ANY_PORT[0], max_port=ANY_PORT[1])
        return sock

    def config(self) -> dict:
        """Returns the configuration that HTEX would write to the interchange's stdin."""
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
        """The port for managers, as the interchange reports it."""
        if self._worker_port is None:
            self._worker_port = self.command("WORKER_BINDS", within_s=30)
        return self._worker_port

    @property
    def worker_url(self) -> str:
        return tcp_url(self.address, self.worker_port)

    def command(self, request: object, within_s: float = PATIENCE_S) -> object:
        """Sends one request and returns its reply; raises if the reply is a refusal, as HTEX
        does."""
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
        """Returns when all earlier log lines are in the file. The log line of an extra task marks
        the position (level DEBUG); a registered manager may receive that task."""
        self.marks += 1
        self.submit(self.marks)
        self.interchange.wait_for_log(f"Put task {self.marks} onto pending_task_queue")

    def result(self, within_s: float = PATIENCE_S) -> dict:
        return pickle.loads(self.result_raw(within_s))

    def result_raw(self, within_s: float = PATIENCE_S) -> bytes:
        return receive(self.results, within_s, "result")

    def report(self, within_s: float = PATIENCE_S) -> tuple:
        """Returns the next message at the monitoring hub."""
        return pickle.loads(receive(self.hub, within_s, "monitoring message"))

    def pending_reports(self) -> list[tuple]:
        """Returns all messages that the hub has already received."""
        reports = []
        while self.hub.poll(0):
            reports.append(pickle.loads(self.hub.recv()))
        return reports

    def close(self) -> None:
        """Closes every socket, like a submit process that ends."""
        self.context.destroy(linger=0)
        if self.hub_context:
            self.hub_context.destroy(linger=0)


class FakeManager:
    """Plays process_worker_pool: probes, registers, sends heartbeats, reads batches, answers
    tasks."""

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
        """`read_ahead` limits the messages that libzmq receives before they are read;
        `receive_buffer_bytes` limits the kernel's receive buffer."""
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
        # In a libzmq address, the part before a semicolon is the local address of the connection.
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
        """Probes, registers, and returns when the interchange lists the manager."""
        self.probe()
        self.register(**fields)
        # The echo arrives after the registration was handled, because one connection keeps its
        # order.
        self.beat()
        names = [manager["manager"] for manager in submit_side.managers()]
        assert self.identity.decode() in names, names
        return self

    def beat(self, within_s: float = PATIENCE_S) -> None:
        """Sends a heartbeat and waits for its echo. Tasks that arrive first are kept for `tasks`.
        On return, every earlier message to this manager has arrived."""
        self.send({"type": "heartbeat"})
        while (message := pickle.loads(self.receive(within_s))) != HEARTBEAT_CODE:
            assert isinstance(message, list), f"neither tasks nor the echo: {message!r}"
            self.waiting.extend(message)

    def tasks(self, count: int, within_s: float = PATIENCE_S) -> list[dict]:
        """Returns exactly `count` tasks, in the order of arrival."""
        end = time.monotonic() + within_s
        while len(self.waiting) < count:
            batch = pickle.loads(self.receive(max(0.0, end - time.monotonic())))
            assert isinstance(batch, list), f"not a batch: {batch!r}"
            self.waiting.extend(batch)
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        return taken

    def batch(self, within_s: float = PATIENCE_S) -> list[dict]:
        """Returns the tasks of the next frame."""
        batch = pickle.loads(self.receive(within_s))
        assert isinstance(batch, list), f"not a batch: {batch!r}"
        return batch

    def holds_nothing_new(self) -> bool:
        """Whether no new task had been sent to the manager before this call."""
        self.beat()
        return not self.waiting

    def answer(self, task_id: int, result: bytes = b"done", *, marker: bool = False) -> bytes:
        """Sends a result, as one frame or behind the marker frame of older managers."""
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
        """The manager's address and port as the interchange sees them (needs `watched`)."""
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
