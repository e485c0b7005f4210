"""Unmodified Parsl as a whole: the binary instead of interchange.py, and what remains after a
run."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import parsl
import pytest

from harness.htex import jobs
from harness.htex.executors import kernel_config
from harness.htex.interchange import stock_under_test
from harness.machine import processes
from harness.machine.waiting import wait_until
from harness.setup import environment

PROGRAM = Path(__file__).parent / "programs" / "unmodified.py"


@pytest.mark.ours_only("it is what is replaced")
@pytest.mark.parametrize(
    "how", ["copy", *(pytest.param(how, marks=pytest.mark.long) for how in ("symlink", "hardlink"))]
)
def test_unmodified_program_with_the_binary_as_interchange_py(tmp_path, how):
    """The program does not name htex-interchange: HTEX starts whichever `interchange.py` is first
    on PATH."""
    binary = environment.binary()
    place = tmp_path / "bin" / "interchange.py"
    place.parent.mkdir()
    if how == "symlink":
        place.symlink_to(binary)
    elif how == "copy":
        shutil.copy2(binary, place)
    else:
        try:
            os.link(binary, place)
        except OSError:
            pytest.skip("the binary is on another file system")
    env = dict(os.environ, PATH=f"{place.parent}:{os.environ['PATH']}")
    told = subprocess.run(
        [sys.executable, str(PROGRAM), str(tmp_path / "run")],
        env=env,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert told.returncode == 0, told.stderr
    report = json.loads(told.stdout.splitlines()[-1])
    assert report["results"] == [number**2 for number in range(20)]
    assert report["exception"] == "ZeroDivisionError"
    with open(binary, "rb") as file:
        assert report["sha256"] == hashlib.sha256(file.read()).hexdigest()


def test_no_process_and_no_thread_is_left_and_the_directory_is_removable(removable):
    before = {process.pid for process in processes.running_descendants()}
    threads = set(threading.enumerate())
    with parsl.load(kernel_config(removable)):
        assert parsl.python_app(jobs.add)(2, 3).result(timeout=60) == 5
    shutil.rmtree(removable)
    assert not removable.exists()
    wait_until(
        lambda: {process.pid for process in processes.running_descendants()} <= before,
        8,
        "every process of the run is gone",
    )
    wait_until(lambda: set(threading.enumerate()) <= threads, 5, "every thread is gone")
    assert not removable.exists()


def test_the_running_interchange_is_the_tested_one(removable):
    """Guards all other tests: the running interchange is the executable that they intend to
    test."""
    with parsl.load(kernel_config(removable)) as kernel:
        running = processes.executable(kernel.executors["htex"].interchange_proc.pid)
        if stock_under_test():
            assert "python" in running.name
        else:
            assert running == environment.binary()


def test_retry_after_a_lost_worker(removable):
    """Parsl's own retries recognize the exception type and run the task again."""
    config = kernel_config(removable)
    config.retries = 1
    marker = removable / "died-once"
    with parsl.load(config):
        assert parsl.python_app(jobs.die_once)(str(marker)).result(timeout=60) == "alive"
    assert marker.exists()
