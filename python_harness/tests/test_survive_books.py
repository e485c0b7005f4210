"""With `survive`, what the executor does when the broker was replaced: it compares its own records
with those of the next broker. The broker is a *fake*; `test_survive.py` kills the real one."""

from __future__ import annotations

import pickle
import random
import threading
from concurrent.futures import Future

import pytest
from parsl.launchers import SimpleLauncher

from harness.htex import executors
from harness.htex.provider import local_provider
from harness.machine.waiting import wait_until
from harness.releases import supported
from harness.releases.supported import NEWEST, OLDEST
from harness.setup import environment
from htex_interchange import HighThroughputExecutor, MPIExecutor, ResultLost, restarts
from htex_interchange.books import TaskIds, compare
from htex_interchange.flags import survives
from htex_interchange.guards import DECIDING_MS, GuardedResults
from htex_interchange.restarts import OTHERS_IN_A_ROW, KeptMessages, Restarts

pytestmark = pytest.mark.ours_only("stock's ends with its first fault")

PROGRAM = "harness.releases.survive_program"
LOST = "ResultLost"


def ten_times(*task_ids: int, **others: object) -> dict:
    return {**{str(one): 10 * one for one in task_ids}, **{k[1:]: v for k, v in others.items()}}


@pytest.fixture(params=[NEWEST, OLDEST])
def report_of(request, tmp_path):
    """`report_of("books")` runs that scenario under the release of this test, and returns its
    report."""
    release = supported.release(request.param)

    def run(scenario: str, *, encrypted: bool = False) -> dict:
        asked = {"run_dir": str(tmp_path), "scenario": scenario, "encrypted": encrypted}
        report = release.report_of(PROGRAM, asked, tmp_path)
        assert report.pop("threads") == []
        return report

    return run


@pytest.mark.parametrize("with_keys", [False, True], ids=["plain", "encrypted"])
def test_each_task_is_handled_by_its_recorded_state(report_of, with_keys):
    report = report_of("books", encrypted=with_keys)
    (warning,) = report.pop("warnings")
    assert report == {
        "took": list(range(1, 9)),
        "first": [9, 10, 11, 12],
        "doubles": [],
        "last": [13],
        "kept": [],
        "result_thread": True,
        "outcomes": ten_times(1, 2, 3, 4, 5, *range(9, 14), _6=LOST, _7=LOST, _8=LOST),
    }
    for words in ("htex was killed (SIGKILL)", "0.250 s", "restart 1", "3 had been", "and 2 are"):
        assert words in warning


def test_tasks_in_transit_are_sent_again_in_order(report_of):
    report = report_of("in_transit")
    (warning,) = report.pop("warnings")
    assert "15 had not arrived" in warning
    assert report == {
        "took": list(range(1, 7)),
        "again": [5, *range(7, 21)],
        "more": [],
        "kept": [],
        "result_thread": True,
        "outcomes": ten_times(1, 2, 5, *range(7, 21), _3=LOST, _4=LOST, _6=LOST),
    }


def test_unacknowledged_tasks_are_sent_again(report_of):
    """The first message may have gone into the connection that broke."""
    report = report_of("a_send_into_a_broken_connection")
    assert (report["first"], report["more"]) == ([2, 3], [])
    assert report["outcomes"] == ten_times(1, 2, 3)


def test_the_newer_of_two_restarts_counts(report_of):
    report = report_of("a_second_restart")
    assert set(report["again"]) <= {3, 4, 5}
    assert report["outcomes"] == ten_times(1, 2, 4, 5, _3=LOST)
    assert 1 <= len(report["warnings"]) <= 2 and "restart 2" in report["warnings"][-1]
    assert report["result_thread"]


def test_a_command_lost_with_the_broker_is_sent_again(report_of):
    report = report_of("a_command_in_flight")
    assert report["asked"] == ["CONNECTED_BLOCKS"] * 2
    assert report["replies"] == [["0"], ["1"]]


def test_a_command_sent_twice_gets_the_later_answer(report_of):
    report = report_of("a_stale_reply")
    assert report["replies"] == [["fresh"]] and report["differ"]


def test_a_stale_answer_alone_does_not_count(report_of):
    report = report_of("a_stale_reply_alone")
    assert report["replies"] == ["InterchangeLost"] and not report["hangs"]


def test_a_shutdown_waits_for_no_broker(report_of):
    """The program itself checks how long the shutdown takes."""
    report = report_of("no_broker_at_the_shutdown")
    assert report["outcomes"] == {} and report["result_thread"]


def test_the_keeper_gives_up_during_the_comparison(report_of):
    report = report_of("the_keeper_gives_up")
    assert report["replies"] == ["InterchangeLost"]
    outcomes = report["outcomes"]
    assert outcomes.pop("3") in (LOST, "InterchangeLost")
    assert outcomes == ten_times(1, _2="InterchangeLost", _4="InterchangeLost")


def test_a_failure_of_all_tasks_passes(report_of):
    report = report_of("a_failure_of_all")
    assert report["reason"] == "all of it"
    assert report["outcomes"] == {"1": "BadStateException", "2": "BadStateException"}


def test_the_loss_of_a_result_says_what_happened(report_of):
    report = report_of("what_is_lost")
    assert report["task_ids"] == [1, 2] and report["label"] == "htex" and report["says"]


def unstarted(kind: type = HighThroughputExecutor, **options) -> HighThroughputExecutor:
    return executors.executor(kind=kind, **options)


def test_the_constructor_passes_the_flag_on():
    ours = [str(environment.binary())]
    assert (
        "--survive" in unstarted(interchange_launch_cmd=ours, survive=True).interchange_launch_cmd
    )
    for told in ({}, {"survive": False}):
        htex = unstarted(interchange_launch_cmd=ours, **told)
        assert not survives(htex.interchange_launch_cmd)
        assert "survive=False" in repr(htex)
    named = unstarted(interchange_launch_cmd=[*ours, "--survive"], survive=True)
    assert named.interchange_launch_cmd.count("--survive") == 1
    # Parsl's scheduler of MPI tasks cannot hold more tasks than workers.
    mpi = MPIExecutor(
        address="127.0.0.1",
        interchange_launch_cmd=ours[0],
        max_workers_per_block=1,
        mpi_launcher="mpiexec",
        provider=local_provider(init_blocks=0, launcher=SimpleLauncher()),
        survive=True,
    )
    assert "--exact-capacity" in mpi.interchange_launch_cmd
    assert "--exact-capacity" not in named.interchange_launch_cmd
    theirs = unstarted(interchange_launch_cmd=["another.py"], survive=True)
    assert theirs.interchange_launch_cmd == ["another.py"]
    assert survives(["nice", *ours, "--survive"]) and not survives("interchange.py")
    for kind in (HighThroughputExecutor, MPIExecutor):
        for bad in (1, "yes", None):
            with pytest.raises(TypeError, match="survive must be True or False"):
                kind(survive=bad)


def test_without_survive_no_message_is_kept(tmp_path):
    with executors.running(
        tmp_path / "run", kind=HighThroughputExecutor, survive=False, blocks=0
    ) as htex:
        assert htex.outgoing_q._kept is None
        assert htex._restarts is None


class Model:
    """The possible states of each task, and the expected outcome of a comparison for each state."""

    STATES = ("new", "on its way", "queued", "in hands", "answered", "result unread", "result lost")

    def __init__(self, seed: int) -> None:
        choice = random.Random(seed)
        weights = [choice.random() for _ in self.STATES]
        self.states = choice.choices(self.STATES, weights, k=choice.randrange(1, 200))

    def ids(self, *states: str) -> list[int]:
        return [task_id for task_id, state in enumerate(self.states, 1) if state in states]


def runs_of(task_ids: list[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for task_id in task_ids:
        if runs and runs[-1][1] == task_id - 1:
            runs[-1][1] = task_id
        else:
            runs.append([task_id, task_id])
    return runs


@pytest.fixture
def without_waits(monkeypatch):
    for name in ("SETTLED_S", "IN_DOUBT_S"):
        monkeypatch.setattr(restarts, name, 0.0)


@pytest.mark.parametrize("seed", range(100))
def test_the_comparison_of_a_model(seed, without_waits):
    """After the comparison, results arrive late, twice and in any order; the executor follows the
    broker's records."""
    model = Model(seed)
    live = model.ids("queued", "in hands")
    in_doubt = model.ids("result unread", "result lost")
    accepted = sorted(live + in_doubt + model.ids("answered"))
    outstanding = sorted(live + in_doubt + model.ids("on its way", "new"))
    random.Random(seed).shuffle(outstanding)
    found = compare(outstanding, TaskIds(runs_of(accepted)), TaskIds(runs_of(live)))
    assert found.live == live
    assert found.in_doubt == in_doubt
    assert found.again == model.ids("on its way", "new")

    side = Side(outstanding, kept=set(model.ids("on its way")))
    side.hear_restart(1, runs_of(accepted), runs_of(live))
    answered = model.ids("result unread") + model.ids("answered") * 2 + live
    random.Random(seed).shuffle(answered)
    passed = [side.hear_result(task_id) for task_id in answered]
    assert sum(passed) == len(answered) - 2 * len(model.ids("answered"))
    side.restarts.for_parsl(None)
    lost = model.ids("result lost")
    assert sorted(side.failed) == lost
    assert not any(side.hear_result(task_id) for task_id in lost)
    side.wait_sent_again()
    assert side.sent == model.ids("on its way")
    assert sorted(side.books) == model.ids("on its way", "new")


class Side:
    """The executor's records around a real `Restarts`, without a socket."""

    def __init__(self, outstanding, kept=frozenset()) -> None:
        self.books: dict[int, Future] = {task_id: Future() for task_id in outstanding}
        self.failed: dict[int, Exception] = {}
        self.sent: list[int] = []
        self.is_away = False
        messages = KeptMessages(self.books)
        for task_id in kept:
            messages.keep(task_id, b"task")
        self.kept = messages
        self.restarts = Restarts("htex", self.books, self._fail, messages, self._send, lambda: None)

    def _fail(self, task_id: int, reason: Exception) -> bool:
        self.failed[task_id] = reason
        return self.books.pop(task_id, None) is not None

    def _send(self, task_id: int) -> bool:
        if self.is_away:
            return False
        self.sent.append(task_id)
        self.kept.forget(task_id)
        return True

    def hear_restart(self, number: int, accepted: list, live: list) -> None:
        assert self.restarts.for_parsl(restart(number, accepted, live)) is None

    def hear_result(self, task_id: int) -> bool:
        """Passes a result on; returns whether Parsl sees the result, and if so removes the task
        from the records."""
        message = result(task_id)
        passed = self.restarts.for_parsl(message)
        assert passed in (None, message)
        if passed is not None:
            self.books.pop(task_id).set_result(None)
        return passed is not None

    def wait_sent_again(self) -> None:
        for thread in self.restarts._sending:
            thread.join(10)


def restart(number: int, accepted: list, live: list) -> bytes:
    message = {"type": "htex-interchange-restart", "restart": number, "why": "was killed"}
    return pickle.dumps({**message, "down_s": 0.1, "accepted": accepted, "live": live}, 4)


def result(task_id: int) -> bytes:
    return pickle.dumps({"type": "result", "task_id": task_id, "result": b"x"}, 4)


def test_frames_of_older_releases_come_in_lists():
    """Parsl gets only the results of its own outstanding tasks, once each."""
    side = Side([1, 2, 3])
    lost, late, held, stranger = map(result, range(1, 5))
    assert side.restarts.for_parsl([lost, late]) == [lost, late]
    assert side.restarts.for_parsl([restart(1, [[1, 3]], [[3, 3]])]) is None
    assert side.restarts.for_parsl([late, late, held, stranger]) == [late, held]
    assert side.restarts.for_parsl([stranger]) is None
    side.restarts.for_parsl(None)
    assert list(side.failed) == [1]
    side.restarts.stop_sending()


def test_a_stream_of_results_hides_no_loss(without_waits):
    """Results of the previous broker are awaited for as long as some of them arrive among the
    others."""
    side = Side(range(1, 3 * OTHERS_IN_A_ROW))
    side.hear_restart(1, [[1, 3 * OTHERS_IN_A_ROW]], [[4, 3 * OTHERS_IN_A_ROW]])
    others = iter(range(4, 3 * OTHERS_IN_A_ROW))
    for _ in range(OTHERS_IN_A_ROW - 1):
        assert side.hear_result(next(others))
    assert side.hear_result(1) and side.failed == {}
    for _ in range(OTHERS_IN_A_ROW - 1):
        assert side.hear_result(next(others))
    assert side.failed == {} and side.restarts.undecided
    assert side.hear_result(next(others))
    assert list(side.failed) == [2, 3] and not side.restarts.undecided
    side.restarts.stop_sending()


def test_time_alone_loses_nothing(monkeypatch):
    """A user's code may block the result thread, which then has read nothing."""
    monkeypatch.setattr(restarts, "IN_DOUBT_S", 0.0)
    side = Side([1, 2, 3])
    side.hear_restart(1, [[1, 3]], [[3, 3]])
    assert side.hear_result(3) and side.hear_result(1)
    assert side.failed == {}
    assert side.hear_result(2) and not side.restarts.undecided
    side.restarts.stop_sending()


class FakePipe:
    """A fake pipe that records how long the caller waits for a message."""

    port = 1

    def get(self, timeout_ms: int) -> None:
        self.waited_ms = timeout_ms


def test_silence_that_decides_is_longer():
    side, pipe = Side([1]), FakePipe()
    results = GuardedResults(pipe, lambda: False, pytest.fail, side.restarts)
    results.get(10)
    assert pipe.waited_ms == 10
    side.hear_restart(1, [[1, 1]], [])
    results.get(10)
    assert pipe.waited_ms == DECIDING_MS and list(side.failed) == [1]
    results.get(10)
    assert pipe.waited_ms == 10
    side.restarts.stop_sending()


class FakeBrokenPipe(FakePipe):
    def get(self, timeout_ms: int) -> None:
        raise MemoryError("no room for it")


def test_futures_fail_when_the_result_thread_ends():
    """Parsl's result thread ends with the first exception of `get`."""
    failures: list[Exception] = []
    results = GuardedResults(FakeBrokenPipe(), lambda: False, failures.append)
    with pytest.raises(MemoryError):
        results.get(10)
    (failure,) = failures
    assert "no more results can be received: MemoryError" in str(failure)
    assert isinstance(failure.__cause__, MemoryError)


def test_tasks_are_sent_again_once_a_thread_can_be_started(monkeypatch, caplog):
    """A user may have as many threads and processes as the system allows."""
    side = Side([1, 2], kept=[1])

    class Refused(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading, "Thread", Refused)
        side.hear_restart(1, [], [])
        assert side.restarts.for_parsl(None) is None
    assert caplog.text.count("No thread can be started") == 1
    assert side.restarts.for_parsl(None) is None
    side.wait_sent_again()
    assert side.sent == [1]
    side.restarts.stop_sending()


def test_a_late_report_of_an_older_restart_is_ignored():
    side = Side([1, 2])
    side.hear_restart(2, [[1, 2]], [[1, 2]])
    for number, accepted in ((1, [[1, 2]]), (2, []), (2, [[1, 2]])):
        side.hear_restart(number, accepted, [])
        side.restarts.for_parsl(None)
        assert side.failed == {} and side.sent == []
    side.restarts.stop_sending()


def test_after_two_restarts_tasks_are_sent_again_once():
    side = Side([1, 2], kept=[1, 2])
    side.is_away = True
    side.hear_restart(1, [], [])
    (first,) = side.restarts._sending
    side.hear_restart(2, [[1, 1]], [[1, 1]])
    first.join(10)
    assert not first.is_alive() and side.sent == []
    side.is_away = False
    wait_until(lambda: side.sent == [2], 10, "it is sent again")
    side.restarts.stop_sending()


def test_a_stop_while_a_sending_thread_is_started(monkeypatch):
    """The result thread starts to send in the moment in which another thread shuts down."""
    faults: list[str] = []

    def stop() -> None:
        try:
            side.restarts.stop_sending()
        except RuntimeError as fault:
            faults.append(str(fault))

    stopping = threading.Thread(target=stop)

    class StoppedAtTheStart(threading.Thread):
        def start(self) -> None:
            stopping.start()
            stopping.join(0.5)
            super().start()

    side = Side([1], kept=[1])
    monkeypatch.setattr(threading, "Thread", StoppedAtTheStart)
    side.hear_restart(1, [], [])
    stopping.join(10)
    assert (faults, side.sent) == ([], [])
    assert not any(thread.is_alive() for thread in side.restarts._sending)


def test_similar_messages_are_passed_to_parsl():
    """No message of a task is mistaken for one of the interchange itself."""
    side = Side([1])
    for frame in (
        pickle.dumps({"type": "result", "task_id": 1, "result": b"htex-interchange-restart"}),
        pickle.dumps({"htex-interchange-restart": 1}),
        pickle.dumps(["htex-interchange-restart"]),
        b"htex-interchange-restart is no pickle",
        pickle.dumps({"type": "result", "task_id": 9}),
    ):
        assert side.restarts.for_parsl(frame) is frame
    side.hear_restart(1, [], [])
    for frame in (
        b"no pickle",
        pickle.dumps({"type": "other"}),
        pickle.dumps({"type": "result", "task_id": -1, "exception": b""}),
    ):
        assert side.restarts.for_parsl(frame) is frame
    side.restarts.stop_sending()


def test_messages_of_accepted_or_ended_tasks_are_not_kept():
    side = Side(range(1, 7), kept=range(1, 7))
    accepted = {"type": "htex-interchange-accepted", "runs": [[5, 6], [1, 2]]}
    assert side.restarts.for_parsl(pickle.dumps(accepted)) is None
    assert side.kept.ids() == [3, 4]
    side.books[3].set_exception(ResultLost("htex", 3, 0.0, "was killed"))
    assert side.kept.ids() == [4]
    del side.books[4]
    side.kept.keep(4, b"again")
    side.kept.keep(7, b"failed meanwhile")
    assert side.kept.get(7) is None


@pytest.mark.parametrize(
    ("runs", "members"),
    [
        ([], []),
        ([[3, 3]], [3]),
        ([[8, 9], [1, 2]], [1, 2, 8, 9]),
        ([[1, 9], [2, 3]], [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ([(1, 3), (3, 5), (4, 4)], [1, 2, 3, 4, 5]),
    ],
)
def test_runs_are_sets_of_ids(runs, members):
    task_ids = TaskIds(runs)
    assert [number for number in range(12) if number in task_ids] == members
