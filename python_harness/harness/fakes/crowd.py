"""Many fake managers in one process, and the bookkeeping of a load that is played over the wire.

They show what real managers cannot show within a test's time: a thousand managers, managers that
never read, managers that die at an exact moment. They answer tasks at once, and check that they
never receive more tasks than they have room for.
"""

from __future__ import annotations

import pickle
import time
from collections import Counter
from collections.abc import Sequence

import zmq
from parsl import curvezmq

from harness.fakes.wire import HEARTBEAT_CODE, SHUTDOWN_CODE, FakeSubmitSide, registration
from harness.machine.waiting import wait_until

BEAT_EVERY_S = 0.5
HEARTBEAT = pickle.dumps({"type": "heartbeat"})
REGISTERED_WITHIN_S = 60


class FakeCrowd:
    """Equal managers that read and answer only while `work` runs."""

    def __init__(
        self,
        side: FakeSubmitSide,
        count: int,
        *,
        max_capacity: int,
        prefix: str = "crowd",
        beating: bool = True,
        url: str | None = None,
        result: bytes = b"done",
        **fields,
    ) -> None:
        self.result = result
        self.answered = 0
        self.answered_at = time.monotonic()
        self.max_capacity = max_capacity
        self.beating = beating
        self.holding = False
        self.told_to_exit: set[str] = set()
        self.in_hand: dict[zmq.Socket, list[int]] = {}
        self.name_of: dict[zmq.Socket, str] = {}
        self.beat_at = 0.0
        self.context = curvezmq.ClientContext(side.cert_dir)
        self.context._ctx.set(zmq.MAX_SOCKETS, count + 16)
        self.poller = zmq.Poller()
        for number in range(count):
            self._join(f"{prefix}-{number}", url or side.worker_url, fields)
        mine = set(self.name_of.values())

        def all_listed() -> bool:
            self.work()
            return mine <= {row["manager"] for row in side.managers()}

        wait_until(all_listed, REGISTERED_WITHIN_S, f"{count} managers are registered")

    def _join(self, name: str, url: str, fields: dict) -> None:
        sock = self.context.socket(zmq.DEALER)
        sock.setsockopt(zmq.LINGER, 0)
        sock.setsockopt(zmq.IDENTITY, name.encode())
        sock.connect(url)
        sock.send(pickle.dumps(registration(name, max_capacity=self.max_capacity, **fields)))
        self.poller.register(sock, zmq.POLLIN)
        self.in_hand[sock], self.name_of[sock] = [], name

    def work(self, patience_ms: int = 10) -> None:
        """Reads all messages, answers tasks (unless `holding`), and sends heartbeats when due."""
        if self.beating and time.monotonic() >= self.beat_at:
            self.beat_at = time.monotonic() + BEAT_EVERY_S
            for sock in self.in_hand:
                sock.send(HEARTBEAT)
        for sock, _ in self.poller.poll(patience_ms):
            while sock.poll(0):
                self._take(sock, pickle.loads(sock.recv()))

    def _take(self, sock: zmq.Socket, message: object) -> None:
        if message == HEARTBEAT_CODE:
            return
        if message == SHUTDOWN_CODE:
            self.told_to_exit.add(self.name_of[sock])
            return
        hand = self.in_hand[sock]
        hand.extend(task["task_id"] for task in message)
        assert len(hand) <= self.max_capacity, f"{len(hand)} tasks with one manager"
        if not self.holding:
            while hand:
                answer = {"type": "result", "task_id": hand.pop(), "result": self.result}
                sock.send(pickle.dumps(answer))
                self.answered, self.answered_at = self.answered + 1, time.monotonic()

    def idle_s(self) -> float:
        """Seconds since a manager last answered a task."""
        return time.monotonic() - self.answered_at

    def hold(self, count: int, within_s: float) -> None:
        """Receives `count` tasks and leaves them unanswered."""
        self.holding = True

        def all_taken() -> bool:
            self.work()
            return sum(map(len, self.in_hand.values())) >= count

        wait_until(all_taken, within_s, f"{count} tasks in hand", every_s=0)

    def die(self) -> None:
        """Closes every connection at once, without any further message."""
        self.context.destroy(linger=0)
        self.in_hand.clear()


class WireBooks:
    """Counts every task that a fake submit side has sent, and every message returned for each."""

    def __init__(self, side: FakeSubmitSide) -> None:
        self.side = side
        self.submitted = 0
        self.answers: Counter[int] = Counter()
        self.lost: dict[int, dict] = {}

    def submit(self, count: int, buffer: bytes = b"work") -> None:
        for _ in range(count):
            self.submitted += 1
            self.side.submit(self.submitted, buffer)

    def read(self) -> None:
        while self.side.results.poll(0):
            message = self.side.result()
            task = message["task_id"]
            assert 1 <= task <= self.submitted, f"task {task} was never submitted"
            self.answers[task] += 1
            assert self.answers[task] == 1, f"task {task} has ended twice"
            if "exception" in message:
                self.lost[task] = message

    def results(self) -> int:
        return len(self.answers) - len(self.lost)

    def losses(self) -> int:
        return len(self.lost)

    def until(self, crowds: FakeCrowd | Sequence[FakeCrowd], answers: int, within_s: float) -> None:
        """Runs the managers until `answers` tasks have ended."""
        crowds = [crowds] if isinstance(crowds, FakeCrowd) else crowds

        def enough() -> bool:
            for crowd in crowds:
                crowd.work()
            self.read()
            return len(self.answers) >= answers

        wait_until(enough, within_s, f"{answers} tasks have ended", every_s=0)

    def run(
        self,
        crowds: FakeCrowd | Sequence[FakeCrowd],
        count: int,
        within_s: float,
        buffer: bytes = b"work",
    ) -> None:
        """Submits tasks and runs the managers until each task has a result; fails if one ends
        twice."""
        first = self.submitted + 1
        self.submit(count, buffer)
        crowds = [crowds] if isinstance(crowds, FakeCrowd) else crowds

        def all_done() -> bool:
            for crowd in crowds:
                crowd.work()
            self.read()
            return all(task in self.answers for task in range(first, first + count))

        wait_until(all_done, within_s, f"{count} tasks are done", every_s=0)
        lost = [task for task in range(first, first + count) if task in self.lost]
        assert not lost, f"these tasks failed: {lost}"
