"""Tests htex-interchange's executor under one release of Parsl when its broker is replaced.

Prints one JSON report. Run by that release's Python: python -m harness.releases.survive_program
REQUEST, a JSON object: `run_dir`; `scenario`, the name of a function here; `encrypted`.

No broker and no manager runs: a *fake* broker decides which messages are read, answered and lost.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import zmq
from parsl import curvezmq
from parsl.addresses import tcp_url
from parsl.serialize import serialize

from harness.htex import executors, jobs
from harness.machine.waiting import wait_until
from htex_interchange import HighThroughputExecutor, InterchangeLost, ResultLost

PATIENCE_S = 20.0
SHUTDOWN_S = 4.0
WHY = "was killed (SIGKILL), by nobody: it is a fake"
# The program that the executor starts as its interchange: a keeper that keeps no broker.
FAKE_KEEPER = """
import os, signal, sys
config = sys.stdin.buffer.read()
with open(sys.argv[1] + ".new", "wb") as file:
    file.write(config)
os.rename(sys.argv[1] + ".new", sys.argv[1])
signal.pause()
"""


class FakeBroker:
    """A series of brokers, one at a time; the executor sees only their sockets."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.restarts = 0
        self.context: curvezmq.BaseContext | None = None

    def come(self, commands: int = zmq.REP, only_results: bool = False) -> None:
        config = pickle.loads(self.place.read_bytes())
        self.context = curvezmq.ServerContext(config["cert_dir"])
        kinds = (zmq.DEALER, zmq.DEALER, commands)
        self.tasks, self.results, self.commands = map(self.context.socket, kinds)
        for sock, port in zip(
            (self.tasks, self.results, self.commands), config["client_ports"], strict=True
        ):
            # A message that never comes ends the program with an error.
            sock.setsockopt(zmq.RCVTIMEO, int(1000 * PATIENCE_S))
            if sock is self.results or not only_results:
                sock.connect(tcp_url(config["client_address"], port))

    def begin(self) -> None:
        """Starts the first broker and answers the executor's request for the managers' port."""
        wait_until(self.place.exists, PATIENCE_S, "the configuration is there")
        self.come()
        self.asked()
        self.reply(1234)

    def come_again(self, accepted: list, live: list) -> None:
        self.come()
        self.tell_of_restart(accepted, live)

    def tell_of_restart(self, accepted: list, live: list) -> None:
        self.restarts += 1
        self.tell(
            type="htex-interchange-restart",
            restart=self.restarts,
            why=WHY,
            down_s=0.25,
            accepted=accepted,
            live=live,
        )

    def tell_accepted(self, *runs: list) -> None:
        self.tell(type="htex-interchange-accepted", runs=list(runs))

    def tell(self, **message: object) -> None:
        self.results.send(pickle.dumps(message, 4))

    def answer(self, *task_ids: int) -> None:
        """Sends a result for each task: ten times the task's id."""
        for task_id in task_ids:
            self.tell(type="result", task_id=task_id, result=serialize(10 * task_id))

    def take(self, count: int) -> list[int]:
        return [self._task_id() for _ in range(count)]

    def take_all(self, *task_ids: int) -> list[int]:
        """Reads tasks until all of these have arrived, and returns ids in the order of first
        arrival; a task that waited to be sent may arrive twice."""
        found: dict[int, None] = {}
        while not found.keys() >= set(task_ids):
            found[self._task_id()] = None
        return list(found)

    def more(self) -> list[int]:
        """Returns the ids of all further tasks that have arrived."""
        found = []
        while self.tasks.poll(0):
            found.append(self._task_id())
        return found

    def _task_id(self) -> int:
        assert self.tasks.poll(1000 * PATIENCE_S), "no task comes"
        return pickle.loads(self.tasks.recv())["task_id"]

    def asked(self) -> object:
        assert self.commands.poll(1000 * PATIENCE_S), "no command comes"
        return pickle.loads(self.commands.recv())

    def reply(self, value: object) -> None:
        self.commands.send(pickle.dumps(value))

    def end(self) -> None:
        """Ends the broker. Messages that it has sent are delivered; messages that it has not read
        are lost."""
        if self.context is not None:
            self.context.destroy(linger=1000)
        self.context = None


class Gate:
    """Blocks Parsl's result thread in the callback of a task that the broker answers."""

    def __init__(self, broker: FakeBroker, future: Future) -> None:
        self.reached, self.open = threading.Event(), threading.Event()
        future.add_done_callback(self._hold)
        broker.answer(future.parsl_executor_task_id)
        assert self.reached.wait(PATIENCE_S)

    def _hold(self, _future: Future) -> None:
        self.reached.set()
        self.open.wait(PATIENCE_S)


class Run:
    """An executor without blocks, its fake broker, and the futures of its tasks."""

    def __init__(self, htex: HighThroughputExecutor, broker: FakeBroker) -> None:
        self.htex = htex
        self.broker = broker
        self.futures: list[Future] = []
        self.endings: dict[int, int] = {}

    def submit(self, count: int) -> None:
        for _ in range(count):
            future = self.htex.submit(jobs.add, {}, 1, 1)
            self.futures.append(future)
            future.add_done_callback(self._ended)

    def _ended(self, future: Future) -> None:
        task_id = future.parsl_executor_task_id
        self.endings[task_id] = self.endings.get(task_id, 0) + 1

    def wait(self, *task_ids: int) -> None:
        for task_id in task_ids:
            self.futures[task_id - 1].exception(PATIENCE_S)

    def wait_sent_again(self) -> None:
        """Waits until the resending thread has ended: nothing more is resent before the next
        restart."""
        wait_until(
            lambda: "HTEX-Interchange-Send-Again" not in thread_names(),
            PATIENCE_S,
            "all was sent again",
        )

    def outcomes(self) -> dict[str, object]:
        assert all(count == 1 for count in self.endings.values()), self.endings
        return {
            str(future.parsl_executor_task_id): _outcome(future)
            for future in self.futures
            if future.done()
        }

    def kept(self) -> list[int]:
        return self.htex.outgoing_q._kept.ids()


def _outcome(future: Future) -> object:
    failure = future.exception()
    return future.result() if failure is None else type(failure).__name__


def thread_names() -> set[str]:
    return {one.name for one in threading.enumerate() if one.name.startswith("HTEX")}


@contextmanager
def running(request: dict) -> Iterator[Run]:
    run_dir = Path(request["run_dir"])
    place = run_dir / "config.pkl"
    broker = FakeBroker(place)
    options = {
        "kind": HighThroughputExecutor,
        "interchange_launch_cmd": [sys.executable, "-c", FAKE_KEEPER, str(place), "--survive"],
        "encrypted": request["encrypted"],
    }
    with executors.not_started(run_dir, **options) as htex:
        beginning = threading.Thread(target=broker.begin)
        beginning.start()
        htex.start()
        beginning.join()
        try:
            yield Run(htex, broker)
        finally:
            begin = time.monotonic()
            htex.shutdown()
            broker.end()
            assert time.monotonic() - begin < SHUTDOWN_S, "the shutdown hangs"


def books(run: Run) -> dict:
    """Handles 12 tasks by their state at the restart. Task 1 blocks the result thread. The results
    of 2 and 3 were sent but not yet processed. Tasks 4 and 5 are live. Tasks 6 to 8 were accepted,
    and their results are lost. Tasks 9 to 12 have not been accepted."""
    broker = run.broker
    run.submit(8)
    took = broker.take(8)
    gate = Gate(broker, run.futures[0])
    broker.tell_accepted([1, 8])
    broker.answer(2, 3)
    broker.end()
    submitting = threading.Thread(target=run.submit, args=(4,))
    submitting.start()
    wait_until(lambda: 9 in run.kept(), PATIENCE_S, "a task waits for a broker")
    broker.come_again([[1, 8]], [[4, 5]])
    submitting.join(PATIENCE_S)
    gate.open.set()
    first = broker.take_all(*range(9, 13))
    broker.tell_accepted([1, 12])
    run.wait(2, 3, 6, 7, 8)
    # The results of 2 and 6 arrive too late.
    broker.answer(2, 4, 5, 6, *range(9, 13))
    run.wait(4, 5, *range(9, 13))
    run.wait_sent_again()
    doubles = sorted(set(broker.more()) - set(range(9, 13)))
    run.submit(1)
    last = broker.take(1)
    broker.answer(13)
    run.wait(13)
    return {"took": took, "first": first, "doubles": doubles, "last": last, "kept": run.kept()}


def in_transit(run: Run) -> dict:
    """Tasks that the broker received but did not accept are lost with the broker, and sent
    again."""
    broker = run.broker
    run.submit(20)
    took = broker.take(6)
    broker.end()
    broker.come_again([[1, 4], [6, 6]], [[1, 2]])
    again = broker.take(15)
    broker.tell_accepted([1, 20])
    wait_until(lambda: run.kept() == [], PATIENCE_S, "nothing is kept")
    broker.answer(1, 2, 5, *range(7, 21))
    run.wait(*range(1, 21))
    run.wait_sent_again()
    return {"took": took, "again": again, "more": broker.more(), "kept": run.kept()}


def a_send_into_a_broken_connection(run: Run) -> dict:
    """Tasks that may have been written to the broken connection are sent again exactly once, after
    libzmq has noticed the break."""
    broker = run.broker
    run.submit(3)
    broker.take(3)
    broker.end()
    broker.come_again([[1, 1]], [[1, 1]])
    first = broker.take(2)
    run.wait_sent_again()
    broker.answer(1, 2, 3)
    run.wait(1, 2, 3)
    return {"first": first, "more": broker.more()}


def a_second_restart(run: Run) -> dict:
    """The executor learns of two restarts at once. Task 4 was accepted between them; the second
    broker's list of accepted and live tasks counts."""
    broker = run.broker
    run.submit(5)
    broker.take(5)
    gate = Gate(broker, run.futures[0])
    broker.end()
    broker.come_again([[1, 2]], [])
    broker.answer(2)
    broker.end()
    broker.come_again([[1, 4]], [[4, 4]])
    gate.open.set()
    run.wait(2, 3)
    again = broker.take_all(5)
    broker.tell_accepted([1, 5])
    broker.answer(4, 5)
    run.wait(4, 5)
    run.wait_sent_again()
    return {"again": again, "more": broker.more()}


def a_command_in_flight(run: Run) -> dict:
    """A command is lost with its broker and sent again to the next one."""
    broker = run.broker
    replies, asking = asked_in_a_thread(run)
    asked = [broker.asked()]
    broker.end()
    broker.come_again([], [])
    asked.append(broker.asked())
    broker.reply(["0"])
    answer_copies(broker, asking, ["0"])
    # The executor can send another command afterwards.
    replies_after, asking = asked_in_a_thread(run)
    answer_copies(broker, asking, ["1"])
    return {"asked": asked, "replies": replies + replies_after}


def a_stale_reply(run: Run) -> dict:
    """The command is sent before and after the restart. The executor ignores the reply to the first
    copy and returns the reply to the second."""
    broker = run.broker
    replies, asking, first, second = asked_before_and_after_a_restart(run)
    for question, reply in ((first, ["stale"]), (second, ["fresh"])):
        broker.commands.send_multipart([*question[:-1], pickle.dumps(reply)])
    answer_copies(broker, asking, ["fresh"])
    return {"replies": replies, "differ": first != second and first[-1] == second[-1]}


def answer_copies(broker: FakeBroker, asking: threading.Thread, reply: object) -> None:
    """Answers a command until its caller has a reply: once the broken connection is surely gone,
    the executor sends another copy, and accepts a reply to that one alone."""
    deadline = time.monotonic() + PATIENCE_S
    while asking.is_alive() and time.monotonic() < deadline:
        if broker.commands.poll(100):
            *envelope, _ = broker.commands.recv_multipart()
            broker.commands.send_multipart([*envelope, pickle.dumps(reply)])


def asked_before_and_after_a_restart(
    run: Run,
) -> tuple[list[object], threading.Thread, list[bytes], list[bytes]]:
    """Starts a command and restarts the broker. Returns the list for its reply, its thread, and the
    two copies of the command as the broker's socket received them."""
    broker = run.broker
    broker.end()
    # Without a connection the socket takes no command. One that it took before it noticed the end
    # would be lost.
    socket = run.htex.command_client._pipe.zmq_socket
    wait_until(lambda: not socket.poll(0, zmq.POLLOUT), PATIENCE_S, "the end is noticed")
    broker.come(commands=zmq.ROUTER)
    replies, asking = asked_in_a_thread(run)
    first = broker.commands.recv_multipart()
    broker.tell_of_restart([], [])
    return replies, asking, first, broker.commands.recv_multipart()


def asked_in_a_thread(run: Run) -> tuple[list[object], threading.Thread]:
    """Sends a command in a thread. The list receives the reply, or InterchangeLost's name."""
    replies: list[object] = []

    def ask() -> None:
        try:
            replies.append(run.htex.connected_blocks())
        except InterchangeLost as lost:
            replies.append(type(lost).__name__)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    return replies, asking


def a_stale_reply_alone(run: Run) -> dict:
    """An executor that has received only the stale reply still notices the interchange's end."""
    broker = run.broker
    replies, asking, first, _ = asked_before_and_after_a_restart(run)
    broker.commands.send_multipart([*first[:-1], pickle.dumps(["stale"])])
    # Delivers the stale reply before the connection closes.
    broker.end()
    run.htex.interchange_proc.kill()
    asking.join(PATIENCE_S)
    return {"replies": replies, "hangs": asking.is_alive()}


def no_broker_at_the_shutdown(run: Run) -> dict:
    """Tasks that wait to be sent again, with no broker to read them, do not block the shutdown."""
    broker = run.broker
    run.submit(3)
    broker.take(3)
    broker.end()
    broker.come(only_results=True)
    broker.tell_of_restart([], [])
    wait_until(
        lambda: "HTEX-Interchange-Send-Again" in thread_names(), PATIENCE_S, "they are to be sent"
    )
    return {}


def the_keeper_gives_up(run: Run) -> dict:
    """The keeper ends while the executor must still determine which tasks are lost."""
    broker = run.broker
    run.submit(4)
    broker.take(4)
    gate = Gate(broker, run.futures[0])
    broker.end()
    broker.come_again([[1, 3]], [[2, 2]])
    broker.end()
    run.htex.interchange_proc.kill()
    wait_until(run.htex._watch.ended.is_set, PATIENCE_S, "it has ended")
    gate.open.set()
    run.wait(1, 2, 3, 4)
    replies, asking = asked_in_a_thread(run)
    asking.join(PATIENCE_S)
    return {"replies": replies}


def a_failure_of_all(run: Run) -> dict:
    """A failure of all tasks (a result of task -1) is processed after a restart, too."""
    broker = run.broker
    run.submit(2)
    broker.take(2)
    broker.end()
    broker.come_again([[1, 2]], [[1, 2]])
    broker.tell(type="result", task_id=-1, exception=serialize(ValueError("all of it")))
    run.wait(1, 2)
    return {"reason": str(run.htex.executor_exception)}


def what_is_lost(run: Run) -> dict:
    """A lost result fails its task with a ResultLost, which explains the cause."""
    broker = run.broker
    run.submit(2)
    broker.take(2)
    broker.end()
    broker.come_again([[1, 2]], [])
    run.wait(1, 2)
    lost = [future.exception() for future in run.futures]
    assert all(isinstance(one, ResultLost) for one in lost)
    assert pickle.loads(pickle.dumps(lost[0])).__dict__ == lost[0].__dict__
    assert abs(lost[0].when - time.time()) < PATIENCE_S
    return {
        "task_ids": [one.task_id for one in lost],
        "label": lost[0].label,
        "why": lost[0].why,
        "says": all(word in str(lost[0]) for word in ("task 1", "htex", WHY, "lost")),
    }


SCENARIOS = [
    books,
    in_transit,
    a_send_into_a_broken_connection,
    a_second_restart,
    a_command_in_flight,
    a_stale_reply,
    a_stale_reply_alone,
    no_broker_at_the_shutdown,
    the_keeper_gives_up,
    a_failure_of_all,
    what_is_lost,
]


class Warnings(logging.Handler):
    """Collects the warnings that parsl.log would receive."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith("parsl.htex_interchange"):
            self.texts.append(record.getMessage())


def main(request: dict) -> dict:
    os.environ.pop("HTEX_INTERCHANGE_WATCHED", None)
    warnings = Warnings()
    logging.getLogger("parsl").addHandler(warnings)
    (scenario,) = (one for one in SCENARIOS if one.__name__ == request["scenario"])
    with running(request) as run:
        report = scenario(run)
        report["result_thread"] = run.htex._result_queue_thread.is_alive()
        report["outcomes"] = run.outcomes()
    report["threads"] = sorted(thread_names())
    report["warnings"] = warnings.texts
    return report


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))), flush=True)
