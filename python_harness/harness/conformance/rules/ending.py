"""Tests the rules of section 1.13 (the end)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys

from harness.conformance.registry import rule
from harness.conformance.rules.starting import half_configured
from harness.conformance.stage import PATIENCE_S, START_S, Stage, nobody_listens
from harness.machine import processes
from harness.machine.waiting import wait_until

# Time limit for the interchange to end after its executor's process has ended.
GONE_S = 5.0
TERMINATED_S = 5.0


@rule("P-1.13.1")
def ends_at_once(stage: Stage) -> None:
    side = stage.side()
    stage.manager(side).enlist(side)
    side.interchange.terminate(TERMINATED_S)


@rule("P-1.13.2")
def ends_under_load(stage: Stage) -> None:
    side = stage.side(hub=True, logging_level=20)
    manager = stage.manager(side).enlist(side, max_capacity=500)
    for _ in range(3000):
        side.task(b"x" * 1024)
    for task in manager.tasks(500):
        manager.answer(task["task_id"], b"r" * 2000)
    side.interchange.terminate(TERMINATED_S)


@rule("P-1.13.3")
def ends_before_its_configuration(stage: Stage) -> None:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    is_terminated(stage.popen(stdin=subprocess.PIPE, **quiet))
    process, _ = half_configured(stage, stage.side(launch=False))
    is_terminated(process)


def is_terminated(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(TERMINATED_S)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"it still runs after {TERMINATED_S} s") from None
    finally:
        process.stdin.close()


@rule("P-1.13.4")
def ends_with_the_executor(stage: Stage) -> None:
    request = {
        "workdir": str(stage.workdir),
        "command": stage.command,
        "release": stage.dialect.name,
    }
    words = [sys.executable, "-m", "harness.conformance.executor", json.dumps(request)]
    executor = stage.popen(words, stdout=subprocess.PIPE, text=True)
    with executor.stdout:
        line = executor.stdout.readline()
    assert line, "the executor could not start it"
    told = json.loads(line)
    started = processes.read(told["interchange"])
    executor.kill()
    executor.wait(START_S)
    try:
        nobody_listens("127.0.0.1", told["port"], GONE_S)
    finally:
        if started and started.same_as(processes.read(started.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)


@rule("P-1.13.5")
def survives_ctrl_c(stage: Stage) -> None:
    side = stage.side()
    side.interchange.process.send_signal(signal.SIGINT)
    side.work_goes_on()


@rule("P-1.13.6")
def frees_its_port(stage: Stage) -> None:
    side = stage.side()
    port = side.worker_port
    side.interchange.terminate(PATIENCE_S)
    nobody_listens(side.address, port)
    again = stage.side(worker_port=port)
    assert again.worker_port == port


@rule("P-1.13.7")
def leaves_no_process(stage: Stage) -> None:
    side = stage.side()
    side.work_goes_on()
    below = processes.descendants(side.interchange.process.pid)
    side.interchange.terminate(TERMINATED_S)

    def left() -> list[processes.Process]:
        return [each for each in below if each.same_as(processes.read(each.pid)) and each.running]

    wait_until(lambda: not left(), GONE_S, "what it started has ended")
