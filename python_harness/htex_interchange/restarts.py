"""What an executor does when its interchange's broker was killed and another one took over.

Each task that is outstanding is one of three: it did not arrive (it is sent again), somebody has it
(nothing is to be done), or it was done and its result is on its way or lost with the broker.
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

# parsl.log has what is logged below "parsl".
logger = logging.getLogger("parsl.htex_interchange")

# After this long, results that the broker before had sent are not waited for just because others
# keep coming...
IN_DOUBT_S = 5.0
# ...if so many came without one: libzmq takes turns between connections.
OTHERS_IN_A_ROW = 100
# A send may still go into the connection that broke, until libzmq has seen its end; after this
# long it has. What was sent before is sent again then.
SETTLED_S = 0.25
# Threads that send again end within a slice of a send.
JOIN_S = 5.0


class KeptMessages:
    """Tasks as they were sent, by id, until they need not be sent again: they have ended, or are
    known to have been accepted."""

    def __init__(self, outstanding: Mapping[Any, Future[Any]]) -> None:
        self._outstanding = outstanding
        self._messages: dict[int, bytes] = {}

    def keep(self, task_id: int, message: bytes) -> None:
        future = self._outstanding.get(task_id)
        # Without one it was failed meanwhile, with all others.
        if future is not None:
            self._messages[task_id] = message
            future.add_done_callback(lambda _: self.forget(task_id))

    def get(self, task_id: int) -> bytes | None:
        return self._messages.get(task_id)

    def ids(self) -> list[int]:
        """In the order in which they were submitted."""
        return list(self._messages)

    def forget(self, task_id: int) -> None:
        self._messages.pop(task_id, None)

    def forget_all(self, task_ids: TaskIds) -> None:
        for task_id in self.ids():
            if task_id in task_ids:
                self.forget(task_id)


class Restarts:
    """Hears of restarts in the result thread, which calls `for_parsl`."""

    def __init__(
        self,
        label: str,
        outstanding: Mapping[Any, Future[Any]],
        fail: Callable[[int, Exception], bool],
        kept: KeptMessages,
        send_again: Callable[[int], bool],
        settle: Callable[[], None],
    ) -> None:
        """`fail` ends a task that is outstanding, and says whether it was. `send_again` sends what
        is kept of one; False if nobody took it within a moment. `settle` has libzmq give up what
        it holds for a connection that broke."""
        self._label = label
        self._outstanding = outstanding
        self._fail = fail
        self._kept = kept
        self._send_again = send_again
        self._settle = settle
        # The newest restart, and when it was heard of: one tuple, since other threads read it.
        self._newest: tuple[int, float] = (0, 0.0)
        self._undecided: _Undecided | None = None
        self._stopped = threading.Event()
        self._sending: list[threading.Thread] = []

    @property
    def undecided(self) -> bool:
        """Whether silence of the result socket means that results are lost."""
        return self._undecided is not None

    def epoch(self) -> int:
        """Another number at each restart, and once more when the connection that broke is surely
        gone: a question from before may have no answer."""
        number, heard = self._newest
        return 2 * number + (number > 0 and time.monotonic() > heard + SETTLED_S)

    def for_parsl(self, message: Any) -> Any:
        """What of a message is Parsl's; None if nothing is. In older releases it has frames."""
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
        """Nothing is sent again from now on."""
        self._stopped.set()
        for thread in self._sending:
            thread.join(JOIN_S)

    def no_more_results(self) -> None:
        """In the result thread, or behind its end."""
        self._tell_of_undecided("the executor was shut down before more could be known")

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
        # A task may be answered twice: as lost, and after all; or by the broker before, and by a
        # manager whose books are older. Parsl's thread would end of the second.
        is_first = task_id in self._outstanding and task_id not in passed
        passed.add(task_id)
        return is_first

    def _restarted(self, restart: Restart) -> None:
        number, _ = self._newest
        if restart.number <= number:
            # From a connection of before: what is known is newer.
            return
        self._tell_of_undecided("another restart followed, and all was compared again")
        self._kept.forget_all(restart.accepted)
        compared = compare(list(self._outstanding), restart.accepted, restart.live)
        again = [task_id for task_id in compared.again if self._kept.get(task_id) is not None]
        # The others are being submitted just now.
        self._newest = (restart.number, time.monotonic())
        self._undecided = _Undecided(restart, compared, len(again))
        self._begin_to_send(restart.number)
        if not self._undecided.task_ids:
            self._decide()

    def _decide(self) -> None:
        """What was in doubt is lost."""
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

    def _begin_to_send(self, number: int) -> None:
        """In a thread of its own: the broker may be away again, and a send waits for it then."""
        thread = threading.Thread(
            target=self._send_all_again,
            args=(number,),
            name="HTEX-Interchange-Send-Again",
            daemon=True,
        )
        if self._stopped.is_set():
            return
        self._sending = [one for one in self._sending if one.is_alive()] + [thread]
        thread.start()

    def _send_all_again(self, number: int) -> None:
        """All that is kept by then and was not accepted. What went by the new connection already
        is sent twice, and the interchange drops the second. A newer restart has another thread."""
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
    """A restart, while results of the broker before may still come."""

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
            "or with managers, which say what became of them",
            label,
            self.restart.why,
            self.restart.down_s,
            self.restart.number,
            self._sent_again,
            outcome,
            self._live,
        )
