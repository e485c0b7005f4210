"""What `htex-interchange status` finds wrong; each test causes the fault for real."""

from __future__ import annotations

import json
import os
import pickle
import resource
import signal
import subprocess

import pytest
import zmq
from parsl import curvezmq
from test_status import NONE_FOUND, WRONG, documents, place, status, told  # noqa: F401

from harness.fakes.wire import FakeManager, registration
from harness.machine.waiting import wait_until
from harness.setup import environment

pytestmark = pytest.mark.ours_only("this is about our own command line")

FOUND_WITHIN_S = 20
# A limit of descriptors, and more managers than it allows.
LIMIT, MANAGERS = 64, 80


def found(severity: str, *texts: str, within_s: float = FOUND_WITHIN_S) -> str:
    """Returns the line of the finding with these texts, once there is one."""

    def line() -> str:
        lines = (line for line in status().stdout.splitlines() if line.startswith(severity))
        return next((line for line in lines if all(text in line for text in texts)), "")

    return wait_until(
        line,
        within_s,
        f"{severity} with {texts}",
        every_s=0.2,
        context=lambda: status().stdout,
    )


def test_the_submit_process_is_stopped(start):
    """Usually because of Ctrl-Z. Until then no finding is reported, also with `--json`."""
    with subprocess.Popen(["sleep", "1000"]) as watched:
        try:
            side = start(launch=False)
            side.launch([str(environment.binary()), "--watch-pid", str(watched.pid)])
            side.submit(1)
            assert side.worker_port and "submit process" not in told()
            watched.send_signal(signal.SIGSTOP)
            found("PROBLEM", "The submit process is stopped", f"kill -CONT {watched.pid}")
            about = json.loads(status("--json").stdout)["interchange"]
            assert (about["submit_pid"], about["submit_state"]) == (watched.pid, "T")
            watched.send_signal(signal.SIGCONT)
            wait_until(
                lambda: "submit process" not in status().stdout,
                FOUND_WITHIN_S,
                "it is well",
                every_s=0.2,
            )
        finally:
            side.interchange.expected_to_end = True
            watched.kill()


def test_keys_are_refused(start, tmp_path):
    side = start(encrypted=True)
    side.submit(1)
    (tmp_path / "other").mkdir()
    theirs = curvezmq.create_certificates(tmp_path / "other")
    public, _ = zmq.auth.load_certificate(f"{side.cert_dir}/server.key")
    with zmq.Context() as context, context.socket(zmq.DEALER) as stranger:
        stranger.setsockopt(zmq.LINGER, 0)
        mine = zmq.auth.load_certificate(f"{theirs}/client.key_secret")
        stranger.curve_publickey, stranger.curve_secretkey = mine
        stranger.curve_serverkey = public
        stranger.connect(side.worker_url)
        stranger.send(pickle.dumps(registration("stranger")))
        found("PROBLEM", "1 task waits", "no manager has ever registered")
        wait_until(
            lambda: "refused because the key is not one of this run" in status().stdout,
            FOUND_WITHIN_S,
            "it says why",
        )
        assert "Rejected" in told(exit_status=WRONG)


def test_peers_without_encryption_are_counted(start):
    side = start(encrypted=True)
    side.submit(1)
    with FakeManager(side.worker_url) as manager:
        manager.register()
        found("PROBLEM", "no manager has ever registered")
        text = " ".join(status().stdout.split())
        assert "this run is encrypted, and the peers may be managers that are not encrypted" in text


def test_unread_results(start, connect):
    """As with a submit process whose other threads do not run. Once it reads results, no finding
    remains."""
    side = start(launch=False, results_read_ahead=1)
    side.launch([str(environment.binary()), "--max-queued-bytes", "20000000"])
    tasks, result = 60, bytes(1_000_000)
    for task in range(tasks):
        side.submit(task)
    manager = connect(side).enlist(side, max_capacity=4)
    answered = 0
    while manager.waiting or manager.socket.poll(1000):
        batch = manager.waiting or pickle.loads(manager.socket.recv())
        manager.waiting = []
        for task in batch:
            manager.answer(task["task_id"], result)
            answered += 1
    assert answered < tasks
    found("PROBLEM", "no tasks, because the submit process takes no results")
    assert "NO TASKS ARE DISPATCHED" in told(exit_status=WRONG)
    for _ in range(answered):
        side.result()
    wait_until(lambda: "dispatches no tasks" not in status().stdout, FOUND_WITHIN_S, "it goes on")


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, LIMIT))


@pytest.mark.expect_error("Out of descriptors")
def test_descriptors_have_run_out(start):
    side = start(launch=False, heartbeat_threshold=60)
    side.launch(preexec_fn=limited)
    context = zmq.Context()
    context.setsockopt(zmq.MAX_SOCKETS, 2 * MANAGERS)
    knocking = []
    try:
        for number in range(MANAGERS):
            sock = context.socket(zmq.DEALER)
            knocking.append(sock)
            sock.setsockopt(zmq.LINGER, 0)
            sock.connect(side.worker_url)
            sock.send(pickle.dumps(registration(f"manager-{number}")))
        line = found("PROBLEM", "The interchange accepts no more managers until some leave")
        assert f"of {LIMIT} descriptors" in line and "NO MANAGER IS ACCEPTED" in status().stdout
    finally:
        context.destroy(linger=0)


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_the_hub_has_died(start, encrypted):
    """The hub is reported after it has died, just as if it had been missing from the start."""
    side = start(encrypted=encrypted, hub=True)
    wait_until(lambda: documents()[0]["hub"]["answers"], FOUND_WITHIN_S, "it answers")
    assert "Monitoring" in told() and ", answers, " in told()
    side.hub_context.destroy(linger=0)
    side.hub_context = side.hub = None
    found("WARNING", "The monitoring hub at", "does not answer")
    assert not documents()[0]["hub"]["answers"]


def test_a_task_that_does_not_end(start, connect):
    side = start()
    manager = connect(side).enlist(side, max_capacity=2)
    side.submit(1)
    side.submit(2)
    manager.tasks(2)
    manager.answer(2)
    assert side.result()["task_id"] == 2
    found("NOTE", "1 task (the longest for ", " in flight on 1 manager; no task waits.")
    assert "In flight      1 task (the longest for " in told()


def test_files_of_a_killed_interchange_are_reported(start, place):  # noqa: F811
    side = start()
    side.interchange.wait_for_log("Serving status at")
    pid = side.interchange.pid
    side.interchange.end()
    answer = status()
    assert answer.returncode == NONE_FOUND
    assert f"no socket; 1 left by killed processes ({pid}), now removed" in answer.stderr
    below = subprocess.run(
        [environment.binary(), "status", "."],
        cwd=side.workdir,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=FOUND_WITHIN_S,
    )
    where = os.path.realpath(side.workdir)
    assert f"at or below {where}.\n" in below.stderr
    assert f"`htex-interchange doctor {where}` examines what went wrong." in below.stderr


@pytest.mark.expect_error("has incompatible version info")
def test_a_version_mismatch_is_reported_after_the_end(start, connect):
    side = start()
    side.interchange.expected_to_end = True
    connect(side).register(parsl_v="2020.01.01")
    side.interchange.wait_exit(FOUND_WITHIN_S)
    answer = status(side.workdir)
    assert answer.returncode == NONE_FOUND
    assert "it has ended. Manager b'manager-a' has incompatible version info" in answer.stderr
    assert "parsl.v=2020.01.01" in answer.stderr
