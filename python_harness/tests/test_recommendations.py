"""Each recommended command works for the run that it is recommended for, when it is copied into a
shell unchanged.

All text between back-quotes is a command, or one of the WORDS.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest
from test_status import place  # noqa: F401

from harness.htex import executors
from harness.htex.interchange import command_under_test
from harness.htex.selectors import UnimportableSelector
from harness.machine import processes
from harness.machine.terminal import Terminal
from harness.machine.waiting import wait_until
from harness.setup import environment

pytestmark = pytest.mark.ours_only("this is about our own command line")

SECONDS = 30
PROBLEM, WRONG_ARGUMENTS, NONE_FOUND = 1, 2, 3
NAMES = ["plain", "two  blanks", """it's "so" $HOME""", "tick`s", "Zo\udceb", "Zo\u00eb"]
# Terms of Parsl, and commands for the user's own shell.
WORDS = {"retries", "address", "status", "fg"}
TOOLS = ("status", "top", "doctor", "report")
# These commands would change the Python of these tests: only their arguments are tried.
CHANGING = ("enable", "disable", "install-shim")
# A placeholder for what only the user knows: the configuration that started a run.
UNKNOWN = "CONFIG.py"


def run(command: list, **options) -> subprocess.CompletedProcess:
    options = {"stdin": subprocess.DEVNULL, "capture_output": True, "timeout": SECONDS} | options
    return subprocess.run(command, **options)


def told(tool: str, run_dir: Path) -> str:
    """Returns what a tool reports on a run, which it must find."""
    answer = run([environment.binary(), tool, run_dir])
    text = os.fsdecode(answer.stdout + answer.stderr)
    is_found = is_about_the_run(tool, answer.returncode, text)
    assert is_found, answer
    return text


def is_about_the_run(tool: str, status: int, text: str) -> bool:
    if tool == "status":
        return status in (0, PROBLEM) or (status == NONE_FOUND and "interchange.log: " in text)
    return status not in ((WRONG_ARGUMENTS,) if tool == "report" else (PROBLEM, WRONG_ARGUMENTS))


def recommended(text: str, *, config: Path | None = None) -> list[str]:
    """Returns the commands that a text recommends."""
    found = [one for one in re.findall(r"(?<![^\s(])`([^`]*)`", text) if one not in WORDS]
    if config:
        found = [one.replace(UNKNOWN, str(config)) for one in found]
    assert not any(re.search(r"\b(RUNDIR|DIR|CONFIG\.py|ID|PYTHON)\b", one) for one in found), found
    return found


def follow(command: str) -> str:
    """Runs a command as a user copies it, with the program on PATH; returns its output."""
    binary = environment.binary()
    path = f"{binary.parent}{os.pathsep}{os.environ['PATH']}"
    variables = os.environ | {"PATH": path}
    program, tool = [*command.split(), ""][:2]
    if (program, tool) == ("htex-interchange", "top"):
        with Terminal(["bash", "-c", command], env=variables) as terminal:
            terminal.wait_for("queue ")
            terminal.press("q")
            assert terminal.wait_exit() == 0
            return ""
    if tool in CHANGING:
        assert run(["bash", "-c", f"{command} --help"], env=variables).returncode == 0, command
        return ""
    answer = run(["bash", "-c", command], env=variables)
    text = os.fsdecode(answer.stdout + answer.stderr)
    is_good = answer.returncode == 0
    if program == "htex-interchange" and tool in TOOLS:
        is_good = is_about_the_run(tool, answer.returncode, text)
    assert is_good, (command, answer)
    return text


def follow_all(text: str, **options) -> dict[str, str]:
    """Follows all recommended commands, and the commands that their output recommends in turn;
    returns each one's output."""
    answers: dict[str, str] = {}
    texts = [text]
    while texts:
        for command in recommended(texts.pop(), **options):
            if command not in answers:
                answers[command] = follow(command)
                # A page of --explain is about all runs, and its commands may concern other runs.
                texts += [] if "--explain" in command else [answers[command]]
    return answers


def submit_to_nobody(htex) -> None:
    """Submits a task and waits until it is queued: nothing can be reported on a task in transit."""
    htex.submit(abs, {}, -1)
    wait_until(lambda: recommended(told("status", htex.run_dir)), SECONDS, "the task is queued")


def waiting_for_managers(run_dir):
    """A run with a task and no manager; yields what `status` reports."""
    with executors.running(run_dir, blocks=0) as htex:
        submit_to_nobody(htex)
        yield told("status", run_dir)
        processes.kill_with_keeper(htex.interchange_proc)
    yield told("status", run_dir)


@pytest.mark.parametrize(
    ("name", "locale"), [(name, "C.UTF-8") for name in NAMES] + [(name, "C") for name in NAMES[-2:]]
)
def test_from_a_stuck_run_to_its_cause(tmp_path, monkeypatch, name, locale):
    """There is no parsl.log, as with `initialize_logging=False`."""
    monkeypatch.setenv("LC_ALL", locale)
    with closing(waiting_for_managers(tmp_path / name / "000")) as situations:
        stuck = next(situations)
        (doctor, *_) = answers = list(follow_all(stuck).values())
        assert "still-running" in doctor or "never-registered" in doctor, doctor
        killed = next(situations)
        (after, *_) = more = list(follow_all(killed).values())
        assert "no-ending" in after, after
    for text in (stuck, killed, *answers, *more):
        assert locale != "C" or text.isascii(), text


def logged(run_dir: Path) -> str:
    return (run_dir / "htex" / "interchange.log").read_text()


def test_a_manager_that_was_lost(tmp_path):
    run_dir = tmp_path / "000"
    with executors.running(run_dir, heartbeat_threshold=6) as htex:
        task = htex.submit(time.sleep, {}, 60)
        wait_until(lambda: htex.connected_managers()[0]["tasks"], 10, "the task is in its hands")
        for manager in executors.manager_processes():
            processes.send(manager, signal.SIGKILL)
        assert "ManagerLost" in type(task.exception(30)).__name__
        htex.submit(abs, {}, -1)
        for text in (told("status", run_dir), told("doctor", run_dir), logged(run_dir)):
            follow_all(text)
    ended = "".join(follow_all(told("status", run_dir)).values())
    assert "manager-lost" in ended
    follow_all(logged(run_dir))


@pytest.mark.expect_error("refused to start")
def test_a_start_that_was_refused(tmp_path):
    run_dir = tmp_path / "it's" / "000"
    with (
        executors.not_started(run_dir, manager_selector=UnimportableSelector()) as htex,
        pytest.raises(ValueError, match="refused to start"),
    ):
        htex.start()
    config = tmp_path / "config.py"
    config.write_text(
        "from parsl import Config\n"
        "from parsl.executors import HighThroughputExecutor as Htex\n"
        "class Selector:\n    def sort_managers(self, ready, interesting):\n        return []\n"
        "config = Config([Htex(label='htex', address='127.0.0.1', encrypted=False)])\n"
    )
    answers = follow_all(told("status", run_dir), config=config)
    assert any(command.startswith("htex-interchange doctor") for command in answers)
    assert "start-refused" in "".join(answers.values())
    follow_all(logged(run_dir), config=config)


def test_a_run_directory_that_was_purged(tmp_path):
    """Each of the tools asks the interchange that still runs."""
    run_dir = tmp_path / "a b" / "000"
    with executors.running(run_dir, blocks=0) as htex:
        submit_to_nobody(htex)
        shutil.rmtree(tmp_path / "a b")
        # Requests that arrive close together get the same document.
        wait_until(lambda: "was removed" in told("status", run_dir), SECONDS, "the loss is told")
        text = told("status", run_dir)
        assert "no manager has ever registered" in text
        told_again = "".join(follow_all(text).values())
        assert "still-running" in told_again and "nobody-takes-tasks" in told_again, told_again
        run_dir.mkdir(parents=True)


@pytest.mark.expect_error("cannot be")
def test_only_reporting_is_missing(tmp_path):
    """The lines of the log and those of `status` recommend what to check."""
    run_dir = tmp_path / "two  blanks" / "000"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        options = ["--metrics", port, "--events", "/dev/null/events.jsonl"]
        command = [*command_under_test(), *options]
        with executors.running(run_dir, blocks=0, interchange_launch_cmd=command):
            text = told("status", run_dir)
            assert "does not serve them" in text and "does not write them" in text
            follow_all(text)
            assert "`htex-interchange status`" in logged(run_dir)
            follow_all(logged(run_dir))


def test_an_interchange_that_is_stopped(tmp_path):
    with executors.running(tmp_path / "000", blocks=0) as htex:
        broker = executors.broker_pid(htex)
        os.kill(broker, signal.SIGSTOP)
        try:
            text = told("status", tmp_path / "000")
            assert follow_all(text) == {f"kill -CONT {broker}": ""}
        finally:
            os.kill(broker, signal.SIGCONT)
        assert "Nothing is wrong" in told("status", tmp_path / "000")


def test_events_of_two_executors(tmp_path):
    """Two executors name the same events file: the report covers both."""
    run_dir, file = tmp_path / "it's" / "000", tmp_path / "some events" / "events.jsonl"
    file.parent.mkdir()
    command = [*command_under_test(), "--events", str(file)]
    options = {"blocks": 0, "interchange_launch_cmd": command}
    with (
        executors.running(run_dir, **options),
        executors.running(tmp_path / "001", label="other", **options),
    ):
        text = told("status", tmp_path / "001")
        (report,) = [one for one in recommended(text) if "report" in one]
        follow(report)
