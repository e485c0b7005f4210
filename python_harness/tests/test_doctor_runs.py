"""`htex-interchange doctor` on earlier runs: real ones, successful and failed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from harness.htex import executors
from harness.htex.selectors import UnimportableSelector
from harness.machine import processes
from harness.machine.waiting import wait_until
from harness.setup import environment

pytestmark = pytest.mark.ours_only("this is about our own command line")

SECONDS = 60
STATUS = {"note": 0, "warning": 3, "problem": 4}


def diagnosis(directory: Path) -> dict:
    told = subprocess.run(
        [environment.binary(), "doctor", "--json", directory],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert told.stdout, told
    document = json.loads(told.stdout)
    worst = max((STATUS[one["severity"]] for one in document["findings"]), default=0)
    assert told.returncode == worst, told
    return document


def found(document: dict) -> dict[str, dict]:
    return {one["id"]: one for one in document["findings"]}


def test_a_good_run_running_and_ended(tmp_path):
    with executors.running(tmp_path) as htex:
        assert htex.submit(abs, {}, -42).result(30) == 42
        running = found(diagnosis(tmp_path / "htex"))
        assert list(running) == ["still-running"]
        assert f"process {executors.broker_pid(htex)} " in running["still-running"]["what"]
        assert "with 1 manager." in running["still-running"]["what"]
    # On a busy disk the last lines may be lost: the interchange has 200 ms to write them.
    assert set(found(diagnosis(tmp_path / "htex"))) <= {"no-ending"}


def test_a_manager_that_was_lost(tmp_path):
    with executors.running(tmp_path, heartbeat_threshold=6) as htex:
        task = htex.submit(time.sleep, {}, 60)
        wait_until(lambda: htex.connected_managers()[0]["tasks"], 10, "the task is in its hands")
        for manager in executors.manager_processes():
            processes.send(manager, signal.SIGKILL)
        assert "ManagerLost" in type(task.exception(30)).__name__
    lost = found(diagnosis(tmp_path / "htex"))
    assert lost["manager-lost"]["severity"] == "problem"
    what = lost["manager-lost"]["what"]
    assert f"Lost: 1 manager on {os.uname().nodename}, with 1 task." in what
    others = {name for name, one in lost.items() if one["severity"] != "note"}
    assert others <= {"manager-lost", "blocks-failed"}
    reword(tmp_path / "htex" / "interchange.log")
    reworded = found(diagnosis(tmp_path / "htex"))
    assert reworded["manager-lost"]["what"].startswith(what.partition(" The last loss: ")[0])
    assert {name: one["severity"] for name, one in reworded.items()} == {
        name: one["severity"] for name, one in lost.items()
    }


def reword(log: Path) -> None:
    """Replaces the message of each line, but keeps what precedes the message, its fields and its
    code."""
    line = re.compile(r"(.*? [A-Z]+: ).*?((?: [a-z_]+=[^ \"]+)*(?: \[[a-z-]+\])?)")
    lines = [line.fullmatch(text) for text in log.read_text().splitlines()]
    assert all(lines) and any(one[2].endswith("[manager-lost]") for one in lines)
    log.write_text("".join(f"{one[1]}Other words{one[2]}\n" for one in lines))


def totals(directory: Path) -> dict:
    status = [environment.binary(), "status", "--json", directory]
    told = subprocess.run(status, capture_output=True, text=True, timeout=SECONDS)
    return json.loads(told.stdout)["totals"]


def test_a_worker_that_died_and_a_manager_that_parsl_took_away(tmp_path):
    """The manager was held and had no task, so its end was intended."""
    with executors.running(tmp_path, heartbeat_threshold=6) as htex:
        assert "WorkerLost" in type(htex.submit(os._exit, {}, 1).exception(30)).__name__
        (manager,) = htex.connected_managers()
        htex._hold_block(manager["block_id"])
        for process in executors.manager_processes():
            processes.send(process, signal.SIGKILL)
        wait_until(lambda: not htex.connected_managers(), 10, "the manager is gone")
        # Requests that arrive close together get the same document.
        wait_until(lambda: totals(tmp_path)["managers_lost"] == 1, 10, "the loss is told")
        assert totals(tmp_path)["managers_lost_held"] == 1
    said = "executor:351 handle INFO: Task 0 try 0 failed with exception of type WorkerLost\n"
    (tmp_path / "parsl.log").write_text(said)
    told = found(diagnosis(tmp_path / "htex"))
    others = {name for name, one in told.items() if one["severity"] != "note"}
    assert others - {"blocks-failed"} == {"workers-died"}
    assert told["workers-died"]["evidence"][0].endswith("Worker 0 has died")


@pytest.mark.expect_error("refused to start")
def test_a_start_that_was_refused(tmp_path):
    with (
        executors.not_started(tmp_path, manager_selector=UnimportableSelector()) as htex,
        pytest.raises(ValueError, match="refused to start"),
    ):
        htex.start()
    refused = found(diagnosis(tmp_path / "htex"))
    assert list(refused) == ["start-refused"]
    assert "UnimportableSelector" in refused["start-refused"]["what"]


def test_a_block_that_cannot_start(tmp_path):
    def provide(htex):
        htex.provider.script_dir = str(tmp_path / "submit_scripts")
        os.makedirs(htex.provider.script_dir)

    options = {"launch_cmd": "htex-no-such-pool.py", "block_error_handler": False}
    with executors.running(tmp_path, blocks=0, prepare=provide, **options) as htex:
        htex.scale_out_facade(1)
        place = Path(htex.provider.script_dir)
        wait_until(lambda: "not found" in words(place), 20, "the shell has complained")
        task = htex.submit(abs, {}, 1)
        # A command and its answer show that the interchange still runs.
        assert htex.connected_managers() == []
    failed = found(diagnosis(tmp_path / "htex"))
    assert failed["never-registered"]["severity"] == "problem"
    assert "htex-no-such-pool.py: command not found" in failed["never-registered"]["why"]
    assert "1 block submitted" in failed["never-registered"]["what"]
    assert "At the end 1 task waited" in failed["tasks-unanswered"]["what"]
    assert len(failed) == 2 and not task.done()


def words(place: Path) -> str:
    return "".join(file.read_text() for file in place.glob("*.err"))


def test_an_interchange_that_was_killed(tmp_path):
    """The log breaks off, which is the only sign left."""
    with executors.running(tmp_path, blocks=0) as htex:
        processes.kill_with_keeper(htex.interchange_proc)
    broken = found(diagnosis(tmp_path / "htex"))
    assert list(broken) == ["no-ending"] and broken["no-ending"]["severity"] == "warning"
    # If Parsl logs that it was about to end the interchange, then only the last lines of the log
    # were lost.
    said = "executor:928 shutdown INFO: Terminating interchange and result queue thread\n"
    (tmp_path / "parsl.log").write_text(said)
    assert found(diagnosis(tmp_path / "htex"))["no-ending"]["severity"] == "note"


def test_a_run_that_stock_served(tmp_path):
    command = environment.stock_command()
    with executors.running(tmp_path, interchange_launch_cmd=command) as htex:
        assert htex.submit(abs, {}, -8).result(30) == 8
    assert list(found(diagnosis(tmp_path / "htex"))) == ["stock"]


def test_a_directory_without_a_run(tmp_path):
    told = subprocess.run(
        [environment.binary(), "doctor", tmp_path], capture_output=True, text=True, timeout=SECONDS
    )
    assert told.returncode == 1 and "neither a run's directory" in told.stderr
