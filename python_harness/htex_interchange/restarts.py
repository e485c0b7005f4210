"""What an executor does after its interchange's broker was killed and another broker took over.

Each outstanding task is in one of three states. It did not arrive: it is sent again. It is queued
or with a manager: nothing is to be done. Or it was done, and its result is either in transit or
lost with the broker.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from htex_interchange.books import (
    RESTART,
    Comparison,
    Restart,
    TaskIds,
    compare,
    told_to_executor,
    unpickled,
)
from htex_interchange.errors import ResultLost

# Loggers below "parsl" write to parsl.log.
logger = logging.getLogger("parsl.htex_interchange")

# Seconds after which results in doubt may be declared lost even though other results keep arriving.
# The next limit must be reached as well.
IN_DOUBT_S = 5.0
# Results of other tasks in a row after which the results in doubt are not expected any more. libzmq
# takes turns between connections, so a result from the old connection would have been among them.
OTHERS_IN_A_ROW = 100
# Seconds until libzmq has surely noticed that the old connection broke. A send before that may
# still use the old connection, so the kept messages are sent again after this delay.
SETTLED_S = 0.25
# Seconds to wait for the threads that send again. Each of them ends within `SLICE_MS` of a send.
JOIN_S = 5.0


class KeptMessages:
    """The messages of sent tasks, by task id. A message is kept until the task has ended or is
    known to have been accepted."""

    def __init__(self, outstanding: Mapping[Any, Future[Any]]) -> None:
        self._outstanding = outstanding
        self._messages: dict[int, bytes] = {}

    def keep(self, task_id: int, message: bytes) -> None:
        future = self._outstanding.get(task_id)
        # Without a future, the task has already been failed together with all others.
        if future is not None:
            self._messages[task_id] = message
            future.add_done_callback(lambda _: self.forget(task_id))

    def get(self, task_id: int) -> bytes | None:
        return self._messages.get(task_id)

    def ids(self) -> list[int]:
        """Returns the ids in the order in which the tasks were submitted."""
        return list(self._messages)

    def forget(self, task_id: int) -> None:
        self._messages.pop(task_id, None)

    def forget_all(self, task_ids: TaskIds) -> None:
        for task_id in self.ids():
            if task_id in task_ids:
                self.forget(task_id)


class Restarts:
    """Handles the interchange's reports of restarts. The result thread calls `for_parsl`."""

    def __init__(
        self,
        label: str,
        outstanding: Mapping[Any, Future[Any]],
        fail: Callable[[int, Exception], bool],
        kept: KeptMessages,
        send_again: Callable[[int], bool],
        settle: Callable[[], None],
    ) -> None:
        """`fail` fails a task, and returns whether the task was outstanding. `send_again` sends a
        task's kept message; it returns False if no peer accepted the message within a moment.
        `settle` makes libzmq drop what it holds for a broken connection."""
        self._label = label
        self._outstanding = outstanding
        self._fail = fail
        self._kept = kept
        self._send_again = send_again
        self._settle = settle
        # The newest restart's number and the time of its report. One tuple, because other threads
        # read both together.
        self._newest: tuple[int, float] = (0, 0.0)
        self._undecided: _Undecided | None = None
        self._stopped = threading.Event()
        # Whether no thread could be started after the newest restart. Each message tries again.
        self._refused = False
        # Held while a thread is started or all are stopped: a thread cannot be joined before it
        # runs.
        self._starting = threading.Lock()
        self._sending: list[threading.Thread] = []

    @property
    def undecided(self) -> bool:
        """Whether silence of the result socket means that results are lost."""
        return self._undecided is not None

    def epoch(self) -> int:
        """Returns a number that changes at each restart, and once more when the broken connection
        is surely gone. A request from an earlier epoch may never get a reply."""
        number, heard = self._newest
        return 2 * number + (number > 0 and time.monotonic() > heard + SETTLED_S)

    def for_parsl(self, message: Any) -> Any:
        """Returns the part of a message that is meant for Parsl, or None. In older releases of
        Parsl, a message is a list of frames."""
        if self._refused:
            self._begin_to_send()
        if message is None:
            self._decide()
            return None
        if isinstance(message, list):
            passed: set[int] = set()
            frames = [frame for frame in message if self._is_for_parsl(frame, passed)]
            left: Any = frames or None
        else:
            left = message if self._is_for_parsl(message, set()) else None
        if self._undecided is not None and self._undecided.is_over():
            self._decide()
        return left

    def stop_sending(self) -> None:
        """Ends all sending of kept messages, and waits for the threads that send."""
        with self._starting:
            self._stopped.set()
        for thread in self._sending:
            thread.join(JOIN_S)

    def no_more_results(self) -> None:
        """Logs the tasks that are still in doubt. Called in the result thread, or after its end."""
        self._tell_of_undecided("the executor was shut down before their state was known")

    def _is_for_parsl(self, frame: bytes, passed: set[int]) -> bool:
        told = told_to_executor(frame)
        if told is not None:
            if told["type"] == RESTART:
                self._restarted(Restart.told_by(told))
            else:
                self._kept.forget_all(TaskIds(told["runs"]))
            return False
        number, _ = self._newest
        if not number:
            return True
        task_id = unpickled(frame).get("task_id")
        if not isinstance(task_id, int) or task_id == -1:
            return True
        if self._undecided is not None:
            self._undecided.note_result(task_id)
        # A task may be answered twice: first as lost and later with its result, or first by the
        # previous broker and then by a manager with older records. The second answer would end
        # Parsl's result thread.
        is_first = task_id in self._outstanding and task_id not in passed
        passed.add(task_id)
        return is_first

    def _restarted(self, restart: Restart) -> None:
        number, _ = self._newest
        if restart.number <= number:
            # The report arrived over an old connection: a newer restart is already known.
            return
        self._tell_of_undecided(
            "another restart followed, after which all tasks were compared again"
        )
        self._kept.forget_all(restart.accepted)
        compared = compare(list(self._outstanding), restart.accepted, restart.live)
        again = [task_id for task_id in compared.again if self._kept.get(task_id) is not None]
        # Tasks without a kept message are being submitted at this moment.
        self._newest = (restart.number, time.monotonic())
        self._undecided = _Undecided(restart, compared, len(again))
        self._begin_to_send()
        if not self._undecided.task_ids:
            self._decide()

    def _decide(self) -> None:
        """Fails all tasks in doubt with `ResultLost`."""
        undecided, self._undecided = self._undecided, None
        if undecided is None:
            return
        lost = 0
        for task_id in sorted(undecided.task_ids):
            restart = undecided.restart
            reason = ResultLost(self._label, task_id, undecided.when, restart.why)
            lost += self._fail(task_id, reason)
        undecided.warn(self._label, f"{lost} had been done or given up and their results are lost")

    def _tell_of_undecided(self, why: str) -> None:
        undecided, self._undecided = self._undecided, None
        if undecided is not None:
            undecided.warn(
                self._label,
                f"{len(undecided.task_ids)} had been done or given up, and {why}",
            )

    def _begin_to_send(self) -> None:
        """Starts a thread for sending, because a send blocks if the broker is down again."""
        number, _ = self._newest
        thread = threading.Thread(
            target=self._send_all_again,
            args=(number,),
            name="HTEX-Interchange-Send-Again",
            daemon=True,
        )
        with self._starting:
            if self._stopped.is_set():
                return
            try:
                thread.start()
            except RuntimeError:
                # The user has as many threads and processes as the system allows.
                if not self._refused:
                    logger.warning("No thread can be started to send tasks again; trying on")
                self._refused = True
                return
            self._refused = False
            self._sending = [one for one in self._sending if one.is_alive()] + [thread]

    def _send_all_again(self, number: int) -> None:
        """Sends every message that is kept by then and was not accepted. A message that already
        went over the new connection is sent twice, and the interchange drops the second copy. After
        a newer restart, another thread sends instead."""
        if self._stopped.wait(SETTLED_S):
            return
        self._settle()
        for task_id in sorted(self._kept.ids()):
            is_sent = False
            while not is_sent:
                if self._stopped.is_set() or self._newest[0] != number:
                    return
                is_sent = self._send_again(task_id)


class _Undecided:
    """A restart whose previous broker's results may still arrive."""

    def __init__(self, restart: Restart, compared: Comparison, sent_again: int) -> None:
        self.restart = restart
        self.when = time.time()
        self.task_ids = set(compared.in_doubt)
        self._live = len(compared.live)
        self._sent_again = sent_again
        self._until = time.monotonic() + IN_DOUBT_S
        self._others = 0

    def note_result(self, task_id: int) -> None:
        self._others += 1
        if task_id in self.task_ids:
            self.task_ids.discard(task_id)
            self._others = 0

    def is_over(self) -> bool:
        if not self.task_ids:
            return True
        return self._others >= OTHERS_IN_A_ROW and time.monotonic() >= self._until

    def warn(self, label: str, outcome: str) -> None:
        logger.warning(
            "The interchange of executor %s %s, and was replaced within %.3f s (restart %d). Of "
            "the outstanding tasks %d had not arrived and are sent again, %s, and %d are queued "
            "or with managers, which report their results",
            label,
            self.restart.why,
            self.restart.down_s,
            self.restart.number,
            self._sent_again,
            outcome,
            self._live,
        )
