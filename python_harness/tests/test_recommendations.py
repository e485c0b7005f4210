"""What `status` and `doctor` recommend works for that very run, copied into a shell as it is."""

from __future__ import annotations

import os
import re
import subprocess

import pytest
from test_status import place  # noqa: F401

from harness.htex import executors
from harness.setup import environment

pytestmark = pytest.mark.ours_only("this is about our own command line")

SECONDS = 30
NOTHING_FOUND, WRONG_ARGUMENTS, NO_RUN = 3, 2, 1
NAMES = ["plain", "two  blanks", """it's "so" $HOME""", "Zo\udceb", "Zo\u00eb"]


def run(command: list, **options) -> subprocess.CompletedProcess:
    options = {"stdin": subprocess.DEVNULL, "capture_output": True, "timeout": SECONDS} | options
    return subprocess.run(command, **options)


def recommended(told: subprocess.CompletedProcess) -> list[str]:
    """Each command between back-quotes, without those that name no run."""
    text = os.fsdecode(told.stdout + told.stderr)
    commands = re.findall(r"`(htex-interchange [^`]*)`", text)
    return [one for one in commands if not re.search(r"\b(RUNDIR|CONFIG\.py|ID|top)\b", one)]


def follow(command: str) -> subprocess.CompletedProcess:
    """As somebody copies it, with the program on PATH."""
    binary = environment.binary()
    path = f"{binary.parent}{os.pathsep}{os.environ['PATH']}"
    return run(["bash", "-c", command], env=os.environ | {"PATH": path})


def waiting_for_managers(run_dir):
    """A run with a task and nobody to take it; what `status` says."""
    with executors.running(run_dir, blocks=0) as htex:
        htex.submit(abs, {}, -1)
        told = run([environment.binary(), "status", run_dir])
        yield told
        htex.interchange_proc.kill()
        htex.interchange_proc.wait()
    yield run([environment.binary(), "status", run_dir])


@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
@pytest.mark.parametrize("name", NAMES)
def test_from_a_stuck_run_to_its_cause(tmp_path, monkeypatch, name, locale):
    """There is no parsl.log, as with `initialize_logging=False`."""
    monkeypatch.setenv("LC_ALL", locale)
    run_dir = tmp_path / name / "000"
    situations = waiting_for_managers(run_dir)
    stuck = next(situations)
    (command,) = recommended(stuck)
    doctor = follow(command)
    assert doctor.returncode not in (WRONG_ARGUMENTS, NO_RUN), doctor
    assert b"still-running" in doctor.stdout or b"never-registered" in doctor.stdout, doctor
    killed = next(situations)
    assert killed.returncode == NOTHING_FOUND
    (command,) = recommended(killed)
    doctor = follow(command)
    assert doctor.returncode == NOTHING_FOUND and b"no-ending" in doctor.stdout, doctor
    situations.close()
    for answer in (stuck, killed, doctor):
        assert locale != "C" or (answer.stdout + answer.stderr).isascii(), answer
    # What doctor recommends in turn.
    for further in recommended(doctor):
        answer = follow(further)
        assert answer.returncode != WRONG_ARGUMENTS, (further, answer)
