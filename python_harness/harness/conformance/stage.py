"""The environment in which a rule is tested: an interchange started by the tested command, and
peers.

The peers are the harness's fakes in the dialect of one release. They wait for expected messages
until a deadline, and fail at once if the interchange ends. To show that a message does *not*
arrive, a test waits for a later message that must arrive. Only where no later message is due, as
with strangers, does a test listen for a fixed time.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import time
from pathlib import Path

import zmq
from parsl import curvezmq

from harness.conformance.dialect import Dialect
from harness.differential.peers import Ended, receive
from harness.differential.play import MARKER
from harness.fakes.stranger import Stranger
from harness.fakes.wire import (
    HEARTBEAT_CODE,
    FakeManager,
    FakeSubmitSide,
    Silence,
    registration,
)
from harness.htex.interchange import Interchange
from harness.machine.waiting import wait_until

PATIENCE_S = 8.0
START_S = 30.0
# A shorter deadline once a start has failed and none has succeeded: so a command that hangs is
# reported within minutes.
START_AGAIN_S = 4.0

# Seconds to listen for an unwanted message, where no later message is due.
LISTEN_S = 0.3

__all__ = ["LISTEN_S", "PATIENCE_S", "Ended", "Manager", "Side", "Stage", "Untried"]


class Untried(Exception):
    """The rule cannot be tested here; the exception's text gives the reason."""


class Starts:
    """The outcome of all starts so far, over all rules."""

    succeeded = False
    was_in_vain = False
    # Peers then use heartbeats to learn how far the interchange has read: P-1.5.4 alone is broken.
    has_ignored_a_probe = False

    @classmethod
    def patience_s(cls) -> float:
        return START_AGAIN_S if cls.was_in_vain and not cls.succeeded else START_S


class Stage:
    """All processes and sockets that one rule started; `close` ends and removes them."""

    def __init__(self, workdir: Path, command: list[str], dialect: Dialect) -> None:
        self.workdir = workdir
        self.command = command
        self.dialect = dialect
        self.sides: list[Side] = []
        self.managers: list[FakeManager] = []
        self.processes: list[subprocess.Popen] = []
        self.ids = 0
        self.over = False

    def side(self, *, launch: bool = True, **options) -> Side:
        """Returns an executor whose interchange has reported its port, or with `launch=False` one
        that has not started an interchange."""
        place = self.workdir / f"side{len(self.sides)}"
        place.mkdir()
        side = Side(self, place, **options)
        self.sides.append(side)
        if launch:
            side.start()
        return side

    def manager(self, side: Side, name: str = "manager-a", **options) -> Manager:
        options.setdefault("cert_dir", side.cert_dir)
        manager = Manager(side, name.encode("utf-8", "surrogateescape"), **options)
        self.managers.append(manager)
        return manager

    def stranger(self, side: Side, *, keys: tuple | None, server: bytes | None) -> Stranger:
        """Connects a peer with keys of the caller's choice."""
        stranger = Stranger(side, keys=keys, server=server)
        self.managers.append(stranger)
        return stranger

    def popen(self, command: list[str] | None = None, **options) -> subprocess.Popen:
        """Starts a process in its own process group, which `stop` kills."""
        options.setdefault("start_new_session", True)
        process = subprocess.Popen(command or self.command, **options)
        self.processes.append(process)
        return process

    def check_alive(self) -> None:
        """Fails if an interchange has ended unexpectedly."""
        for side in self.sides:
            interchange = side.interchange
            if interchange and not interchange.expected_to_end and not interchange.running:
                code = interchange.process.returncode
                raise Ended(f"the interchange ended, {_in_words(code)}: {last_words(interchange)}")

    def stop(self) -> None:
        """Kills all processes after the deadline, so that pending waits fail."""
        self.over = True
        for process in self._started():
            _end(process)

    def close(self) -> None:
        self.stop()
        for manager in self.managers:
            manager.close()
        for side in self.sides:
            side.close()

    def _started(self) -> list[subprocess.Popen]:
        interchanges = [side.interchange for side in self.sides if side.interchange]
        return [*self.processes, *(each.process for each in interchanges)]


class Side(FakeSubmitSide):
    """An executor that speaks the stage's dialect."""

    def __init__(
        self,
        stage: Stage,
        workdir: Path,
        *,
        encrypted: bool = False,
        hub: bool = False,
        address: str = "127.0.0.1",
        **overrides,
    ) -> None:
        super().__init__(workdir, encrypted=encrypted, address=address, **overrides)
        self.stage = stage
        self.dialect = stage.dialect
        self.witness: Manager | None = None
        if hub:
            secured = self.cert_dir if self.dialect.encrypts_the_hub else None
            self.hub_context = curvezmq.ServerContext(secured)
            self.hub = self._bound(self.hub_context, zmq.DEALER)

    def config(self) -> dict:
        return self.dialect.config(super().config())

    def launch_with(self, config: dict | bytes | None = None, **popen) -> Interchange:
        """Starts the command with `config` on its stdin, without waiting for a reaction."""
        config = self.config() if config is None else config
        popen.setdefault("stdout", subprocess.DEVNULL)
        self.interchange = Interchange(config, self.workdir, self.stage.command, **popen)
        return self.interchange

    def start(self, **popen) -> None:
        self.launch_with(**popen)
        port = self.worker_port
        assert type(port) is int, f"the worker port is {port!r}"

    @property
    def worker_port(self) -> int:
        if self._worker_port is None:
            try:
                self._worker_port = self.command("WORKER_BINDS", within_s=Starts.patience_s())
            except AssertionError:
                Starts.was_in_vain = True
                raise
            Starts.succeeded = True
        return self._worker_port

    def connects_or_ends(self, process: subprocess.Popen, within_s: float = START_S) -> bool:
        """Whether the command channel connected within that time and before the process ended."""
        end = time.monotonic() + within_s
        while not self.commands.poll(50, zmq.POLLOUT):
            if process.poll() is not None or time.monotonic() > end:
                return False
        return True

    def awaited(self, sock: zmq.Socket, what: str, within_s: float) -> bytes:
        """Returns the next message from this socket: its last frame, because the number of frames
        is the subject of other rules (P-1.6.1, P-1.7.2)."""
        try:
            frame = receive(self.interchange, sock, what, within_s)
            while sock.getsockopt(zmq.RCVMORE):
                frame = sock.recv()
            return frame
        except Ended:
            code = self.interchange.process.returncode
            words = last_words(self.interchange)
            raise Ended(f"it ended, {_in_words(code)}, before a {what}: {words}") from None

    def command(self, request: object, within_s: float = PATIENCE_S) -> object:
        return pickle.loads(self.command_raw(pickle.dumps(request), within_s, f"{request!r}"))

    def command_raw(
        self, request: bytes, within_s: float = PATIENCE_S, named: str | None = None
    ) -> bytes:
        end = time.monotonic() + within_s
        while not self.commands.poll(50, zmq.POLLOUT):
            if not self.interchange.running:
                code = self.interchange.process.returncode
                raise Ended(f"it ended before it connected, {_in_words(code)}")
            assert time.monotonic() < end, f"it did not connect within {within_s} s"
        self.commands.send(request)
        what = f"reply to {named or repr(request)[:60]}"
        return self.awaited(self.commands, what, within_s)

    def result_raw(self, within_s: float = PATIENCE_S) -> bytes:
        return self.awaited(self.results, "result", within_s)

    def report(self, within_s: float = PATIENCE_S) -> tuple:
        return pickle.loads(self.awaited(self.hub, "record at the hub", within_s))

    def next_id(self) -> int:
        self.stage.ids += 1
        return self.stage.ids

    def task(
        self, buffer: bytes = b"work", context: dict | None = None, task_id: int | None = None
    ) -> dict:
        """Submits one task and returns the message sent."""
        task_id = self.next_id() if task_id is None else task_id
        task = self.dialect.task(task_id, buffer, context or {})
        self.tasks.send(pickle.dumps(task))
        return task

    def tasks_of(self, count: int) -> list[dict]:
        return [self.task() for _ in range(count)]

    def prioritized(self, *priorities: object) -> list[dict]:
        """Submits one task for each priority; None means a task without a priority."""
        return [
            self.task(context={} if each is None else {"resource_spec": {"priority": each}})
            for each in priorities
        ]

    def row(self, name: str = "manager-a") -> dict | None:
        """Returns this manager's row in the reply to MANAGERS, if it has one."""
        return {row["manager"]: row for row in self.managers()}.get(name)

    def hold(self, name: object) -> object:
        return self.command(self.dialect.hold(name))

    def work_goes_on(self) -> None:
        """Fails unless a task reaches a new manager, the witness, and the witness's result reaches
        the executor. Earlier tasks and results may arrive before these."""
        if self.witness is None:
            self.witness = self.stage.manager(self, "witness")
            self.witness.enlist(self, block_id="witness", max_capacity=1000)
        witness, task = self.witness, self.task()
        while witness.tasks(1)[0]["task_id"] != task["task_id"]:
            pass
        frame = witness.answer(task["task_id"])
        while self.result_raw() != frame:
            pass

    def awaits_end(self, within_s: float = PATIENCE_S) -> int:
        """Waits for the interchange to end and returns its exit status."""
        return self.interchange.wait_exit(within_s)


class Manager(FakeManager):
    """A manager that speaks the stage's dialect."""

    def __init__(self, side: Side, identity: bytes, **options) -> None:
        super().__init__(options.pop("url", side.worker_url), identity, **options)
        self.side = side
        self.dialect = side.dialect
        self.registered = False

    @property
    def name(self) -> str:
        return self.identity.decode("utf-8", "surrogateescape")

    def receive(self, within_s: float = PATIENCE_S) -> bytes:
        what = f"message to {self.name!r}"
        return self.side.awaited(self.socket, what, within_s)

    def probe(self, within_s: float = PATIENCE_S) -> None:
        if self.dialect.probes:
            super().probe(within_s)

    def register(self, *, omit: tuple[str, ...] = (), **fields) -> Manager:
        uid = fields.pop("uid", self.identity.decode(errors="replace"))
        message = self.dialect.registration(registration(uid, **fields))
        for name in omit:
            message.pop(name, None)
        self.send(message)
        self.registered = True
        return self

    def enlist(self, submit_side: FakeSubmitSide, **fields) -> Manager:
        """Probes, registers, and returns when the interchange has read the registration."""
        self.is_answered_a_probe()
        self.register(**fields)
        self.read_so_far()
        return self

    def item(self, message: dict) -> bytes:
        """Sends a result or a record in the release's format; returns the frame without the
        marker."""
        frame = pickle.dumps(message)
        self.send_frames(*([MARKER] if self.dialect.marks_results else []), frame)
        return frame

    def tasks(self, count: int, within_s: float = PATIENCE_S) -> list[dict]:
        """Returns exactly this many tasks in the order of arrival. Echoes between them are the
        subject of P-1.5.3."""
        end = time.monotonic() + within_s
        while len(self.waiting) < count:
            batch = pickle.loads(self.receive(max(0.0, end - time.monotonic())))
            if batch != HEARTBEAT_CODE:
                assert isinstance(batch, list), f"not a batch: {batch!r}"
                self.waiting += batch
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        return taken

    def gets(self, task: dict) -> None:
        """Fails unless this task is dispatched next. P-1.4.2 checks that it is unchanged."""
        (came,) = self.tasks(1)
        assert came["task_id"] == task["task_id"], f"task {came['task_id']} came"

    def answer(self, task_id: int, result: bytes = b"done", *, marker: bool = False) -> bytes:
        return self.item({"type": "result", "task_id": task_id, "result": result})

    def read_so_far(self) -> None:
        """Returns when the interchange has read (but perhaps not handled) all messages of this
        manager."""
        if self.is_answered_a_probe():
            return
        if not self.registered:
            # In this dialect the interchange answers registered managers only.
            self.register(max_capacity=0)
        self.beat()

    def is_answered_a_probe(self) -> bool:
        """Whether the interchange answers a probe. Tasks that arrive before the answer are kept for
        `tasks`."""
        if not self.dialect.probes or Starts.has_ignored_a_probe:
            return False
        self.send({"type": "connection_probe"})
        try:
            while frame := self.receive():
                batch = pickle.loads(frame)
                if batch != HEARTBEAT_CODE:
                    assert isinstance(batch, list), f"neither tasks nor the answer: {batch!r}"
                    self.waiting += batch
        except Silence:
            Starts.has_ignored_a_probe = True
            return False
        return True

    def gets_no_task(self) -> None:
        """Fails if a task reaches this manager, either while no other manager is registered or
        after the witness has registered, which then receives the task."""
        self.side.task()
        for _ in range(3):
            self.side.command("CONNECTED_BLOCKS")
        self.read_so_far()
        self.side.work_goes_on()
        self.read_so_far()
        assert self.waiting == [], "it was given a task"

    def hears_nothing(self, listen_s: float = LISTEN_S) -> None:
        assert not self.socket.poll(listen_s * 1000), f"{self.name} got {self.socket.recv()!r}"


def last_words(interchange: Interchange) -> str:
    """Returns the last line that the interchange wrote to stderr."""
    lines = [line for line in interchange.stderr().splitlines() if line.strip()]
    return lines[-1][:200] if lines else "nothing on stderr"


def nobody_listens(address: str, port: int, within_s: float = PATIENCE_S) -> None:
    """Waits until no process listens at the port."""

    def refused() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((address, port)) != 0

    wait_until(refused, within_s, f"nothing listens at port {port}")


def _in_words(code: int | None) -> str:
    return f"signal {-code}" if code and code < 0 else f"status {code}"


def _end(process: subprocess.Popen) -> None:
    """Kills the process group, including the processes that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
