"""Accounts for the tasks of a load: what was submitted, what ran, and how each task ended.

`Books` is for a real executor with real managers. Each task records that it ran, so a task that was
dispatched twice is noticed even if only one of its results arrived. A second result for one task
would end the executor's result thread, which is therefore checked as well.
"""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path

from parsl.executors import HighThroughputExecutor

from harness.htex import jobs
from harness.machine.waiting import wait_until

SERVES_WITHIN_S = 30


class Books:
    """Submits tasks to a real executor, and at the end accounts for each of them."""

    def __init__(self, htex: HighThroughputExecutor, tmp_path: Path) -> None:
        self.htex = htex
        self.ran = tmp_path / "ran"
        self.ran.touch()
        self.futures: dict[int, Future] = {}

    def submit(self, count: int, seconds: float = 0.02) -> None:
        for _ in range(count):
            number = len(self.futures)
            self.futures[number] = self.htex.submit(
                jobs.counted, {}, str(self.ran), number, seconds
            )

    def all(self) -> list[Future]:
        return list(self.futures.values())

    def settled(self, for_s: float, within_s: float = 60) -> None:
        """Returns when all tasks have ended, or when none has ended for `for_s`."""
        seen, since = self.done(), time.monotonic()

        def is_quiet() -> bool:
            nonlocal seen, since
            if (now_done := self.done()) != seen:
                seen, since = now_done, time.monotonic()
            return seen == len(self.futures) or time.monotonic() - since >= for_s

        wait_until(is_quiet, within_s, "no task ends any more")

    def done(self) -> int:
        return sum(future.done() for future in self.futures.values())

    def wait_done(self, count: int, within_s: float = 60) -> None:
        wait_until(lambda: self.done() >= count, within_s, f"{count} tasks are done")

    def nobody_above(self, capacity: int) -> None:
        rows = self.htex.connected_managers()
        assert all(row["tasks"] <= capacity for row in rows), rows

    def balance(
        self, within_s: float, losses: tuple[type[Exception], ...] = (), capacity: int | None = None
    ) -> Counter:
        """Counts tasks by outcome; fails if a task did not end, or ran twice."""
        end = time.monotonic() + within_s
        while time.monotonic() < end and self.done() < len(self.futures):
            if capacity is not None:
                self.nobody_above(capacity)
            time.sleep(0.05)
        outcomes = Counter(self._outcome(*item, losses) for item in self.futures.items())
        runs = Counter(self.ran.read_text().split())
        twice = [number for number, times in runs.items() if times > 1]
        assert not twice, f"these tasks ran more than once: {twice}"
        self.serves()
        return outcomes

    def _outcome(self, number: int, future, losses) -> str:
        try:
            value = future.result(timeout=0)
        except (FutureTimeoutError, CancelledError):
            open_ones = [n for n, other in self.futures.items() if not other.done()]
            raise AssertionError(f"tasks without a result: {open_ones}") from None
        except losses as loss:
            return type(loss).__name__
        assert value == number, f"task {number} has the result of another task: {value}"
        return "result"

    def no_wrong_end(self) -> None:
        """Fails if a finished task has another task's result."""
        for number, future in self.futures.items():
            assert not future.done() or future.result() == number

    def serves(self) -> None:
        """Fails unless the interchange runs and answers, and reports no tasks for any manager."""
        htex = self.htex
        assert htex._result_queue_thread.is_alive(), "the executor's result thread has died"
        assert htex.interchange_proc.poll() is None, "the interchange has ended"
        wait_until(
            lambda: all(row["tasks"] == 0 for row in htex.connected_managers()),
            SERVES_WITHIN_S,
            "no manager has a task",
            every_s=0.05,
        )
        assert htex.outstanding() == 0 and not htex.tasks
