"""`--survive`: the keeper replaces a killed broker by another one, with the same port, sockets and
files. It gives up a broker that ends again and again."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress

import pytest

from harness.htex import metrics
from harness.machine import processes, refused_calls, sockets
from harness.machine.waiting import wait_until
from harness.setup import environment

pytestmark = [
    pytest.mark.ours_only("stock does not survive"),
    pytest.mark.expect_error("htex-interchange was killed"),
]
SERVES_WITHIN_S = 5.0
GONE_WITHIN_S = 10.0
# The duration of a whole restart on a machine that is busy with other tests.
PATIENCE_S = 10.0
WATCHED = "HTEX_INTERCHANGE_WATCHED"
# The same value as in src/keeper/restarts.rs.
ENDS_MAX = 3
FAULT = 70
WHY = "was killed (SIGKILL), as by the kernel when memory runs out, or by kill -9"


@pytest.fixture
def survivor(start):
    """`survivor("--events", "events.jsonl")` returns a submit side that watches its interchange, as
    the package's executor does."""

    def make(*more: str, **options):
        preexec_fn = options.pop("preexec_fn", None)
        side = start(launch=False, **options)
        environ = {**os.environ, WATCHED: str(side.config()["client_ports"][2])}
        command = [str(environment.binary()), "--survive", *more]
        side.launch(command, env=environ, preexec_fn=preexec_fn)
        assert isinstance(side.worker_port, int)
        return side

    return make


def broker_of(side) -> int | None:
    return processes.broker_below(side.interchange.process.pid)


def kill(side) -> int:
    """Kills the current broker, and returns its process id."""
    broker = wait_until(lambda: broker_of(side), PATIENCE_S, "there is a broker")
    os.kill(broker, signal.SIGKILL)
    return broker


def next_broker(side, before: int, context=None) -> int:
    def another() -> int | None:
        broker = broker_of(side)
        return broker if broker != before else None

    return wait_until(another, PATIENCE_S, "another broker", every_s=0.001, context=context)


def listens(broker: int | None, side) -> bool:
    # A broker that has just ended cannot be asked.
    with suppress(Exception):
        return side.worker_port in [port for _, port in sockets.listening(broker)]
    return False


def restarted(side, before: int) -> int:
    """Waits for the broker that serves after this one, and returns its process id."""
    broker = next_broker(side, before, side.interchange.tail)
    wait_until(
        lambda: listens(broker, side), PATIENCE_S, "it listens", context=side.interchange.tail
    )
    side.interchange.broker = broker
    return broker


def outcome(side) -> dict:
    """Returns the next result, and skips reports of restarts and of accepted tasks."""
    while "task_id" not in (message := side.result()):
        assert message["type"].startswith("htex-interchange-")
    return message


def warnings_of_restarts(side) -> list[str]:
    return side.interchange.log_lines("WARNING", "Restarted after the interchange ")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"encrypted": True},
        {"address": "::1"},
        {"interchange_address": None},
        {"worker_port_range": (49152, 65536)},
    ],
    ids=["range", "encrypted", "ipv6", "everywhere", "any"],
)
def test_another_broker_serves_the_same_port(survivor, connect, options, request, measured):
    if ":" in options.get("address", ""):
        request.getfixturevalue("ipv6_loopback")
    side = survivor(**options)
    connect(side, b"first").enlist(side)
    bound = sockets.listening(side.interchange.pid)
    name = processes.read(side.interchange.pid).name
    began = time.monotonic()
    before = kill(side)
    broker = restarted(side, before)
    took = time.monotonic() - began
    measured(f"killed; another broker listens after {took * 1000:.0f} ms")
    assert took < SERVES_WITHIN_S
    assert sockets.listening(broker) == bound
    assert processes.read(broker).name == name
    manager = connect(side, b"second").enlist(side)
    side.submit(7)
    assert manager.tasks(1)[0]["task_id"] == 7
    manager.answer(7)
    assert outcome(side)["task_id"] == 7
    (line,) = warnings_of_restarts(side)
    assert f"Restarted after the interchange {WHY}" in line
    assert line.endswith("ms after its end; restart number 1 [restarted]")
    assert side.interchange.terminate() < 4.0
    assert not processes.alive(broker)
    assert side.interchange.process.returncode == 0


def test_a_given_port_is_kept(survivor):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    side = survivor(worker_port=port)
    assert side.worker_port == port
    restarted(side, kill(side))


def test_no_other_program_takes_the_port_meanwhile(survivor):
    """No broker runs, and the other program sets SO_REUSEADDR as libzmq does."""
    side = survivor()
    keeper = side.interchange.process
    broker = side.interchange.pid
    keeper.send_signal(signal.SIGSTOP)
    os.kill(broker, signal.SIGKILL)
    wait_until(lambda: nobody_listens(side), PATIENCE_S, "all threads of the broker are gone")
    for reuses in (0, 1):
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuses)
            with pytest.raises(OSError, match=os.strerror(errno.EADDRINUSE)):
                other.bind((side.address, side.worker_port))
    keeper.send_signal(signal.SIGCONT)
    restarted(side, broker)


def nobody_listens(side) -> bool:
    with socket.socket() as other:
        return other.connect_ex((side.address, side.worker_port)) == errno.ECONNREFUSED


def test_it_is_killed_twice_within_a_second(survivor, connect, measured):
    side = survivor()
    began = time.monotonic()
    first = kill(side)
    second = next_broker(side, first)
    wait_until(lambda: listens(second, side), PATIENCE_S, "it listens", every_s=0.001)
    os.kill(second, signal.SIGKILL)
    measured(f"killed twice within {time.monotonic() - began:.2f} s")
    restarted(side, second)
    connect(side).enlist(side)
    assert warnings_of_restarts(side)[-1].endswith("restart number 2 [restarted]")


def test_the_second_broker_is_killed_while_it_starts(survivor, connect):
    """The broker is killed at any instruction, as soon as it exists."""
    side = survivor()
    second = next_broker(side, kill(side))
    os.kill(second, signal.SIGKILL)
    restarted(side, second)
    connect(side).enlist(side)
    (line,) = warnings_of_restarts(side)
    assert line.endswith("restart number 2 [restarted]")


def test_a_broker_that_keeps_ending_is_given_up(survivor, connect):
    """The executor reads the reason in the log. The interchange sends it no message, and managers
    leave."""
    side = survivor()
    manager = connect(side).enlist(side)
    broker = 0
    # The first broker has served.
    for restarts in range(1 + ENDS_MAX):
        broker = next_broker(side, broker)
        # Log lines that were not written yet are lost with the broker.
        wait_until(
            lambda n=restarts: len(warnings_of_restarts(side)) == n, PATIENCE_S, "it is told"
        )
        os.kill(broker, signal.SIGKILL)
    assert side.interchange.wait_exit(GONE_WITHIN_S) == -signal.SIGKILL
    (line,) = side.interchange.log_lines("ERROR")
    assert f"htex-interchange {WHY}; it was process {broker}" in line
    assert "It was not started again: it has ended 3 times within 60 s, each time" in line
    # An executor that watches its interchange notices the end itself.
    while side.results.poll(0):
        assert "task_id" not in side.result()
    assert len(warnings_of_restarts(side)) == ENDS_MAX
    manager.close()


@pytest.mark.expect_error("htex-interchange could not continue: ")
@pytest.mark.expect_error("htex-interchange ended with status 70")
def test_a_broker_that_cannot_restart_is_given_up(survivor):
    """Files that the first broker read from the disk may have been removed."""
    side = survivor(encrypted=True)
    shutil.rmtree(side.cert_dir)
    kill(side)
    assert side.interchange.wait_exit(GONE_WITHIN_S) == FAULT
    *why, last = side.interchange.log_lines("ERROR")
    assert len(why) == ENDS_MAX
    assert all("could not continue: the certificates cannot be used" in line for line in why)
    assert "ended with status 70, by an internal error" in last
    assert "It was not started again: " in last


def test_a_restarted_broker_ends_with_its_keeper(survivor):
    side = survivor()
    broker = restarted(side, kill(side))
    keeper = side.interchange.process
    keeper.kill()
    assert side.interchange.wait_exit(GONE_WITHIN_S) == -signal.SIGKILL
    wait_until(lambda: not processes.alive(broker), GONE_WITHIN_S, "it is gone")


def test_a_stopped_broker_is_killed_and_followed(survivor, connect):
    side = survivor()
    broker = side.interchange.pid
    os.kill(broker, signal.SIGSTOP)
    wait_until(lambda: processes.read(broker).state == "T", PATIENCE_S, "it is stopped")
    os.kill(broker, signal.SIGKILL)
    restarted(side, broker)
    connect(side).enlist(side)


def test_after_sigterm_nothing_is_restarted(survivor):
    """A broker that ignores SIGTERM is killed, and not replaced."""
    side = survivor()
    broker = side.interchange.pid
    os.kill(broker, signal.SIGSTOP)
    side.interchange.terminate(9.0)
    assert side.interchange.process.returncode == -signal.SIGKILL
    assert not processes.alive(broker)
    assert not warnings_of_restarts(side)


def test_sigterm_after_the_end_and_before_the_next_broker(survivor):
    """The broker's end and SIGTERM are both pending when the keeper resumes."""
    side = survivor()
    keeper = side.interchange.process
    broker = side.interchange.pid
    keeper.send_signal(signal.SIGSTOP)
    os.kill(broker, signal.SIGKILL)
    wait_until(lambda: not processes.alive(broker), PATIENCE_S, "the broker is dead")
    keeper.send_signal(signal.SIGTERM)
    keeper.send_signal(signal.SIGCONT)
    assert side.interchange.wait_exit(GONE_WITHIN_S) == -signal.SIGKILL
    assert not warnings_of_restarts(side)


def test_sigterm_while_the_keeper_waits_to_start_another(survivor):
    """After a broker that moved no task, the keeper waits for a moment before the next start. If
    the next broker already runs, it is told to end."""
    side = survivor()
    second = restarted(side, kill(side))
    os.kill(second, signal.SIGKILL)
    wait_until(lambda: processes.read(second) is None, PATIENCE_S, "its end is seen", every_s=0.001)
    assert side.interchange.terminate() < 4.0
    assert side.interchange.process.returncode in (0, -signal.SIGKILL)


def test_any_other_executor_learns_of_a_loss(start, connect):
    """Any other executor would neither send tasks in transit again nor notice lost ones."""
    side = start(command=[str(environment.binary()), "--survive"])
    manager = connect(side).enlist(side)
    (line,) = side.interchange.log_lines("WARNING", "--survive is ")
    assert "this run ends when its interchange process ends: only the executor of" in line
    os.kill(side.interchange.pid, signal.SIGKILL)
    manager.expect_shutdown(within_s=GONE_WITHIN_S)
    assert side.result()["task_id"] == -1
    side.interchange.terminate(GONE_WITHIN_S)
    assert side.interchange.process.returncode == -signal.SIGKILL


@pytest.mark.expect_error("htex-interchange was killed")
def test_without_memfd_the_run_continues_and_says_so(survivor, connect):
    """A kernel without memfd_create, as before Linux 3.17; and a limit that is reached later."""
    side = survivor(preexec_fn=refused_calls.refusing({"memfd_create": errno.ENOSYS}))
    (line,) = side.interchange.log_lines("WARNING", "--survive is ")
    assert "ends when its interchange process ends: no memory can be allocated" in line
    manager = connect(side).enlist(side)
    side.submit(1)
    assert manager.tasks(1)[0]["task_id"] == 1
    assert side.interchange.terminate() < 4.0

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8 << 20, 8 << 20))

    side = survivor(preexec_fn=limit)
    assert side.interchange.log_lines("WARNING", "--survive is ") == []
    side.submit(1, buffer=bytes(9 << 20))
    wait_until(
        lambda: side.interchange.log_lines("WARNING", "--survive is no longer in effect"),
        PATIENCE_S,
        "it is told",
    )
    os.kill(broker_of(side), signal.SIGKILL)
    assert side.interchange.wait_exit(GONE_WITHIN_S) == -signal.SIGKILL


def test_without_the_flag_the_same_executor_sees_it_end(start):
    side = start(launch=False)
    environ = {**os.environ, WATCHED: str(side.config()["client_ports"][2])}
    side.launch(env=environ)
    assert isinstance(side.worker_port, int)
    os.kill(side.interchange.pid, signal.SIGKILL)
    assert side.interchange.wait_exit(GONE_WITHIN_S) == -signal.SIGKILL
    (line,) = side.interchange.log_lines("ERROR")
    assert "not started again" not in line


def test_status_metrics_events_and_log_go_on(survivor, connect, status_directory):
    """Status, metrics, the file of events and the log show one run, with a restart in it."""
    options = ("--events", "events.jsonl", "--metrics", "0", "--metrics-port-file", "port")
    side = survivor(*options)

    def one_that_is_up_for_long_enough() -> dict | None:
        told = document(side)
        return told if told["interchange"]["uptime_s"] > 0.5 else None

    before = wait_until(one_that_is_up_for_long_enough, PATIENCE_S, "it is up")
    assert before["restart"] is None
    assert metrics.values(side)["restarts_total"] == 0
    port = (side.interchange.logdir / "port").read_text()
    killed = kill(side)
    broker = restarted(side, killed)
    connect(side).enlist(side)
    after = document(side)
    assert after["interchange"]["pid"] == broker
    assert after["interchange"]["started_at_s"] == before["interchange"]["started_at_s"]
    assert after["interchange"]["uptime_s"] > before["interchange"]["uptime_s"]
    restart = after["restart"]
    assert (restart["number"], restart["why"]) == (1, WHY)
    assert 0 < restart["down_s"] < SERVES_WITHIN_S
    assert 0 <= restart["ago_s"] < PATIENCE_S
    assert not list(status_directory.glob(f"{killed}-*.sock"))
    assert metrics.values(side)["restarts_total"] == 1
    assert (side.interchange.logdir / "port").read_text() == port
    text = told("status", side.interchange.logdir)
    assert "Restarted" in text and "was killed (SIGKILL)" in text
    side.interchange.terminate()
    events = side.interchange.logdir / "events.jsonl"
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    assert [line["event"] for line in lines[:3]] == ["start", "start", "restart"]
    assert lines[0]["t"] == lines[1]["t"]
    assert [line["pid"] for line in lines[:2]] == [killed, broker]
    assert lines[2]["number"] == 1 and lines[2]["why"] == WHY
    assert lines[2]["down_s"] == restart["down_s"]
    assert lines[-1]["event"] == "end"


def test_status_reports_tasks_in_doubt(survivor, connect):
    """Tasks that were sent immediately before the broker's end are in doubt from their manager's
    return until they end."""
    side = survivor()
    manager = connect(side).enlist(side, max_capacity=3)
    side.submit(1)
    side.submit(2)
    assert len(manager.tasks(2)) == 2
    restarted(side, kill(side))
    manager.beat()
    (one,) = document(side)["managers"]
    assert (one["in_flight"], one["in_doubt"]) == (2, 2)
    assert 0 < one["doubt_ends_in_s"] <= 120, "the threshold"
    assert "2 tasks are in doubt" in told("status", side.interchange.logdir)
    manager.answer(1)
    assert outcome(side)["task_id"] == 1
    wait_until(lambda: document(side)["managers"][0]["in_doubt"] == 1, PATIENCE_S, "one has ended")


def test_doctor_reports_a_restarted_run(survivor, connect):
    side = survivor()
    restarted(side, kill(side))
    connect(side).enlist(side)
    side.interchange.terminate()
    text = told("doctor", side.interchange.logdir)
    assert "interchange-killed" not in text and "no-ending" not in text, text
    assert "  restarted (" in text and "was killed (SIGKILL)" in text, text


def document(side) -> dict:
    return json.loads(told("status", "--json", side.interchange.logdir))


def told(*arguments) -> str:
    command = [environment.binary(), *map(str, arguments)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert answer.returncode == 0, answer
    return answer.stdout
