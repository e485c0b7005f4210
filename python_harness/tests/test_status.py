"""`htex-interchange status`: what it reports on real runs, and on interchanges that do not
answer."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import parsl
import pytest

from harness.htex import executors, jobs, metrics
from harness.machine.waiting import wait_until
from harness.setup import environment

pytestmark = pytest.mark.ours_only("this is about our own command line")

SECONDS = 30
RESULT_S = 120
DIRECTORY_VARIABLE = "HTEX_INTERCHANGE_STATUS_DIR"

FINE, WRONG, WRONG_ARGUMENTS, NONE_FOUND = 0, 1, 2, 3


@pytest.fixture(autouse=True)
def place(monkeypatch):
    """A directory for the sockets of this test's interchanges only. Its name is short, because the
    path of a socket has to be."""
    with tempfile.TemporaryDirectory(prefix="htex-") as directory:
        monkeypatch.setenv(DIRECTORY_VARIABLE, directory)
        monkeypatch.delenv("NO_COLOR", raising=False)
        yield Path(directory)


def status(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run(
        [environment.binary(), "status", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def told(*arguments, exit_status: int = FINE) -> str:
    answer = status(*arguments)
    assert answer.returncode == exit_status, answer
    assert answer.stderr == "", answer
    return answer.stdout


def documents(*arguments) -> list[dict]:
    return [json.loads(line) for line in told("--json", *arguments).splitlines()]


@pytest.mark.quick
def test_a_healthy_run(tmp_path):
    with executors.running(tmp_path / "runinfo" / "000", blocks=2, max_workers_per_node=2) as htex:
        futures = [htex.submit(jobs.add, {}, number, 1) for number in range(10)]
        assert [future.result(RESULT_S) for future in futures] == list(range(1, 11))
        text = told()
        assert "\nNothing is wrong.\nNOTE" in text and "Idle: every task" in text
        assert "runinfo/000/htex" in text.splitlines()[0]
        assert "\x1b" not in text
        head = next(line for line in text.splitlines() if line.startswith("BLOCK"))
        rows = text.splitlines()[text.splitlines().index(head) + 1 :][:2]
        assert [row.split()[:5] for row in rows] == [
            ["0", "1", "1", "2", "0/2"],
            ["1", "1", "1", "2", "0/2"],
        ]
        assert len([line for line in told("--managers").splitlines() if "idle" in line]) == 2
        for directory in ("runinfo", "runinfo/000", "runinfo/000/htex"):
            assert told(tmp_path / directory).splitlines()[1] == "Nothing is wrong."
        (tmp_path / "runinfo" / "000" / "other").mkdir()
        other = status(tmp_path / "runinfo" / "000" / "other")
        assert other.returncode == NONE_FOUND and other.stdout == ""
        assert "No log of an interchange" in other.stderr
        (document,) = documents()
        check_document(document, htex)
    ended = status(tmp_path / "runinfo")
    assert ended.returncode == NONE_FOUND
    assert "interchange.log: it has ended. Exiting on SIGTERM" in ended.stderr


def check_document(document: dict, htex) -> None:
    """Checks that the document reports what the run above did."""
    assert document["format"] == 1 and document["state"] == "running"
    about = document["interchange"]
    assert about["pid"] == executors.broker_pid(htex)
    assert about["parsl"] == parsl.version.VERSION and about["encrypted"] is True
    assert document["totals"]["tasks_received"] == document["totals"]["tasks_done"] == 10
    assert document["totals"]["tasks_lost"] == document["in_flight"] == 0
    assert document["queue"]["tasks"] == 0
    managers = {row["manager"]: row for row in htex.connected_managers()}
    assert {row["id"] for row in document["managers"]} == set(managers)
    assert {row["block"] for row in document["managers"]} == {"0", "1"}
    assert sum(row["tasks_done"] for row in document["managers"]) == 10
    for row in document["managers"]:
        assert (row["workers"], row["in_flight"], row["held"]) == (2, 0, False)
        assert row["oldest_task"] is None and row["idle_s"] >= 0
    assert [event["change"] for event in document["events"]] == ["registered"] * 2


def test_tasks_at_work_and_waiting(tmp_path):
    with executors.running(tmp_path / "run") as htex:
        started, proceed = tmp_path / "started", tmp_path / "proceed"
        futures = [htex.submit(jobs.touch_and_wait, {}, str(started), str(proceed))]
        wait_until(started.exists, RESULT_S, "the task runs")
        futures += [htex.submit(jobs.add, {}, 1, 1) for _ in range(3)]
        wait_until(lambda: documents()[0]["queue"]["tasks"] == 3, RESULT_S, "three wait")
        (document,) = documents()
        (manager,) = document["managers"]
        assert manager["in_flight"] == 1 and manager["oldest_task"] == 1
        assert 0 < manager["oldest_task_s"] < 60 and manager["idle_s"] is None
        text = told()
        assert "3 tasks wait" in text and "the only manager that accepts tasks is full" in text
        assert "Nothing is wrong." in text
        proceed.touch()
        for future in futures:
            future.result(RESULT_S)


def test_a_block_that_cannot_start(tmp_path):
    with executors.running(tmp_path / "run", blocks=0, launch_cmd="exit 3") as htex:
        htex.scale_out_facade(1)
        future = htex.submit(jobs.add, {}, 1, 1)
        wait_until(lambda: documents()[0]["queue"]["tasks"] == 1, RESULT_S, "the task waits")
        text = told()
        assert "1 task waits" in text and "no manager has ever registered" in text
        assert f"submit_scripts in {tmp_path / 'run'})" in text
        assert f"`htex-interchange doctor {tmp_path / 'run'}`: it reads" in text
        assert f"manager.log in {tmp_path / 'run' / 'htex'}/block-*" in text
        assert "No manager is registered." in text
        assert not future.done()


def test_everyone_is_held(tmp_path):
    with executors.running(tmp_path / "run", blocks=2) as htex:
        for block in ("0", "1"):
            htex._hold_block(block)
        htex.submit(jobs.add, {}, 1, 1)
        wait_until(lambda: status().returncode == WRONG, RESULT_S, "that is wrong", every_s=0.5)
        text = told(exit_status=WRONG)
        assert text.splitlines()[1] == "1 problem."
        assert "none of 2 managers accepts any: 2 held." in text


def test_tasks_that_fit_no_manager(start, connect):
    side = start(command=[str(environment.binary()), "--metrics", "0"])
    small = connect(side).enlist(side, worker_count=4, max_capacity=8, cpu_count=4)
    for task_id in (1, 2):
        side.submit(task_id, context={"placement": {"cores": 8}})
    side.submit(3, context={"placement": {"cores": 4}})
    assert [task["task_id"] for task in small.tasks(1)] == [3]
    sentence = "2 tasks need 8 slots on one manager; the largest manager has 4."
    logged = sentence.replace("the largest manager", "the largest")
    side.interchange.wait_for_log(f"{logged} They ask for 8 cores, and wait for a block")
    assert len(side.interchange.log_lines("WARNING", "slots on one manager")) == 1
    text = told(side.workdir, "--managers")
    assert f"WARNING        {sentence}" in text and "Required: 8 cores." in text
    assert "; 2 fit no manager" in text and "1 task on 4 slots" in text
    (row,) = [line for line in text.splitlines() if "fake-host" in line and "full" in line]
    assert "1/8" in row and "4/4" in row
    (document,) = documents(side.workdir)
    (unmet,) = document["queue"]["unmet"]
    assert document["queue"]["asking"] == unmet["tasks"] == 2 and document["reservation"] is None
    lack = {"lack": "slots", "slots_needed": 8, "slots_largest": 4}
    assert lack.items() <= unmet.items() and unmet["needs"] == "8 cores"
    samples = metrics.samples(side)
    name = metrics.PREFIX + "queue_unmet_tasks"
    by_lack = {key[1][1]: value for key, value in samples.items() if key[0] == name}
    assert by_lack == {"slots": 2, "time": 0, "node": 0, "affinity": 0, "managers": 0}
    values = metrics.values(side)
    assert (values["slots"], values["busy_slots"], values["queue_asking_tasks"]) == (4, 4, 2)
    # A manager of another block has the slots that the tasks need.
    large = connect(side, b"large").enlist(side, worker_count=8, max_capacity=8, cpu_count=8)
    assert [task["task_id"] for task in large.tasks(1)] == [1]
    # A measurement from a moment ago may be shown again.
    wait_until(lambda: "2 tasks on 12 slots" in told(side.workdir), 10, "both tasks are shown")
    text = told(side.workdir)
    assert "fit no manager" not in text and "slots on one manager" not in text


def test_a_stopped_interchange_does_not_delay_the_others(start, measured):
    stopped, other = start(), start()
    os.kill(stopped.interchange.pid, signal.SIGSTOP)
    try:
        begin = time.monotonic()
        text = told(exit_status=WRONG)
        took = time.monotonic() - begin
        sentence = f"Process {stopped.interchange.pid} does not answer: it is stopped (SIGSTOP)"
        assert f"PROBLEM        {sentence}" in text and str(stopped.workdir) in text
        assert "side1/log" in text and "Nothing is wrong." in text
        assert 2.5 < took < 10
        measured(f"status beside a stopped interchange: {took:.1f} s")
        assert sentence in told(stopped.workdir, exit_status=WRONG)
        assert "does not answer" not in told(other.workdir)
        as_json = status("--json")
        assert as_json.returncode == WRONG and sentence in as_json.stderr
        assert len(as_json.stdout.splitlines()) == 1
    finally:
        os.kill(stopped.interchange.pid, signal.SIGCONT)
    assert "does not answer" not in told()


def test_two_interchanges(start, tmp_path):
    sides = [start(), start(encrypted=True)]
    text = told()
    assert text.count("In short") == 2 and "Back-pressure" not in text
    assert text.index("side0/log") < text.index("side1/log")
    assert told("--all").count("Back-pressure") == 2
    alone = told(sides[0].workdir)
    assert "Back-pressure" in alone and "side1" not in alone and ", not encrypted," in alone
    assert ", encrypted," in told(sides[1].workdir)
    # For the directory above, `status` shows the later run, and nothing of the earlier one.
    latest = told(tmp_path)
    assert "side0" not in latest and "1 of earlier runs not shown; --all shows all." in latest
    pids = [document["interchange"]["pid"] for document in documents()]
    assert pids == [side.interchange.pid for side in sides]


def test_a_directory_that_others_may_read(start, place):
    place.chmod(0o755)
    side = start()
    side.interchange.wait_for_log("WARNING: Continuing without status: no directory is suitable")
    assert list(place.iterdir()) == []
    answer = status(side.workdir)
    assert answer.returncode == NONE_FOUND
    assert f"{place}: neither searched nor used" in answer.stderr and "mode 0700" in answer.stderr
    pid = side.interchange.pid
    assert f"process {pid} runs here but serves no status" in answer.stderr


def test_a_killed_interchange(start, place):
    side = start()
    side.interchange.wait_for_log("Serving status at")
    assert len(list(place.iterdir())) == 1
    side.interchange.end()
    answer = status(side.workdir)
    assert answer.returncode == NONE_FOUND
    assert "ran here and was killed" in answer.stderr
    assert f"{place}: no socket; 1 left by killed processes" in answer.stderr
    assert list(place.iterdir()) == []


def test_a_directory_whose_name_is_not_utf8(start, tmp_path):
    """The directory's name is shown as text, and found by its bytes."""
    run = tmp_path / os.fsdecode(b"Zo\xeb")
    side = start(logdir=str(run / "htex"))
    (document,) = documents(run)
    about = document["interchange"]
    assert bytes(about["logdir_bytes"]) == os.fsencode(run / "htex")
    assert about["logdir"].endswith("/Zo\ufffd/htex")
    assert "Zo\ufffd/htex" in told(run).splitlines()[0]
    doctor = subprocess.run(
        [environment.binary(), "doctor", "--json", run / "htex"], capture_output=True, text=True
    )
    assert "still-running" in {one["id"] for one in json.loads(doctor.stdout)["findings"]}
    os.kill(side.interchange.pid, signal.SIGSTOP)
    try:
        silent = status(run)
    finally:
        os.kill(side.interchange.pid, signal.SIGCONT)
    assert silent.returncode == WRONG and "it is stopped" in silent.stdout
    side.interchange.terminate()
    ended = status(run)
    assert ended.returncode == NONE_FOUND and "it has ended" in ended.stderr


def test_wrong_arguments(tmp_path):
    both = ["--json", "--managers"]
    for wrong in ([tmp_path / "nothing"], ["--watch=0"], ["--watch=soon"], both):
        assert status(*wrong).returncode == WRONG_ARGUMENTS
    nowhere = status()
    assert nowhere.returncode == NONE_FOUND and DIRECTORY_VARIABLE in nowhere.stderr


def test_a_watched_interchange_ends(start):
    side = start()
    watching = subprocess.Popen(
        [environment.binary(), "status", "--watch=0.2", side.workdir],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that run in the background of a shell ignore SIGINT, and this process would inherit
        # that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        marks = (", up ", "has ended.")
        heads = (line for line in watching.stdout if any(mark in line for mark in marks))
        assert ", up " in next(heads) and ", up " in next(heads)
        side.interchange.terminate()
        assert "side0/log has ended." in next(line for line in heads if ", up " not in line)
        assert "Exiting on SIGTERM" in next(watching.stdout)
    finally:
        watching.send_signal(signal.SIGINT)
        _, error = watching.communicate(timeout=SECONDS)
    assert (watching.returncode, error) == (-signal.SIGINT, "")


def test_hostile_readers(tmp_path, place, measured):
    """The clients connect and never read, send garbage, or send a line without an end. Tasks go on,
    and correct clients are answered."""
    with executors.running(tmp_path / "run") as htex, ExitStack() as held:
        (path,) = place.iterdir()
        assert htex.submit(jobs.add, {}, 1, 1).result(RESULT_S) == 2

        def connected() -> socket.socket:
            stream = held.enter_context(socket.socket(socket.AF_UNIX))
            stream.setblocking(False)
            try:
                stream.connect(str(path))
            except BlockingIOError:
                stream.close()
            return stream

        says = [b'{"ask":"status"}\n', b"\0garbage\n", b"x" * 100_000, b""]
        begin = time.monotonic()
        for number in range(200):
            stream = connected()
            with suppress(OSError):
                stream.send(says[number % 4])
            if number % 20 == 0:
                assert htex.submit(jobs.add, {}, number, 1).result(RESULT_S) == number + 1
                assert told().splitlines()[1] == "Nothing is wrong."
        stream = held.enter_context(socket.socket(socket.AF_UNIX))
        stream.settimeout(SECONDS)
        stream.connect(str(path))
        with pytest.raises((BrokenPipeError, ConnectionResetError, TimeoutError)):
            send_for_a_second(stream)
        took = time.monotonic() - begin
        measured(f"200 hostile readers, with 10 tasks and 10 looks between them: {took:.1f} s")
        assert documents()[0]["totals"]["tasks_done"] == 11


def send_for_a_second(stream: socket.socket) -> None:
    for _ in range(100):
        stream.send(b"y" * 10_000)
        time.sleep(0.01)
