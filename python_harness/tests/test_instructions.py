"""The cost of each step in a task's processing, in instructions. This number is the same on any
machine, busy or not, so an increase of a few percent is noticed, with its step.

callgrind counts the instructions of `benches/counted.rs`, step by step. The bounds apply to one
compiler (`benches/instructions.json`). HTEX_TEST_STORE_INSTRUCTIONS=1 stores the current counts, to
be reviewed in the diff of a commit.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import uuid
from pathlib import Path

import pytest

from harness.bench import counted as program
from harness.bench.counted import BOUNDS, BOUNDS_FILE, STORE_VARIABLE, here
from harness.htex.interchange import stock_under_test

TOLERANCE = 0.05

MEASURED_FUNCTION = "*steps::measured*"
COUNTING_S = 60
BUILD_S = 1200

# glibc chooses its copying functions by the processor. Without these features it uses the functions
# for any x86-64, which are the same everywhere. Older releases of glibc have other names for the
# features; unknown names are ignored.
ANY_PROCESSOR = "glibc.cpu.hwcaps=" + ",".join(
    f"-{feature}"
    for feature in ("AVX2", "AVX2_Usable", "AVX_Fast_Unaligned_Load", "AVX512VL", "ERMS", "FSRM")
)

# How much more a task may cost among 1,000 managers than among 4: silent managers cause no work.
MANAGERS_TOLERANCE = 0.02

pytestmark = [
    pytest.mark.timeout(BUILD_S + COUNTING_S),
    pytest.mark.skipif(stock_under_test(), reason="stock: this is about our own code"),
]


@pytest.fixture(scope="session")
def counted() -> Path:
    """Builds and returns the program whose instructions are counted. Skips the test, with the
    reason, where the counts would mean nothing."""
    if reason := program.why_not():
        pytest.skip(reason)
    return program.build(BUILD_S)


def run(command: list[str], **options) -> subprocess.CompletedProcess:
    done = subprocess.run(command, capture_output=True, timeout=COUNTING_S, **options)
    assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stderr.decode()}"
    return done


def steps_of(counted: Path) -> list[str]:
    return run([str(counted)]).stdout.decode().split()


def instructions(counted: Path, step: str, folder: Path) -> float:
    """Returns the instructions of one operation of the step."""
    profile = folder / f"callgrind.{step}"
    options = [f"--callgrind-out-file={profile}", f"--toggle-collect={MEASURED_FUNCTION}"]
    # The environment contains no options or limits of the user.
    env = {"PATH": os.environ["PATH"], "GLIBC_TUNABLES": ANY_PROCESSOR}
    done = run(["valgrind", "--tool=callgrind", *options, str(counted), step], env=env)
    total = re.search(r"^totals: (\d+)$", profile.read_text(), re.MULTILINE)
    assert total and int(total[1]), f"callgrind has not seen {MEASURED_FUNCTION}"
    return int(total[1]) / int(done.stdout)


@pytest.mark.parametrize("step", BOUNDS.get("steps", {}))
def test_no_step_costs_more_than_before(counted, step, tmp_path, measured):
    if os.environ.get(STORE_VARIABLE):
        pytest.skip("the bounds are stored anew")
    stored = BOUNDS["steps"][step]
    now = instructions(counted, step, tmp_path)
    change = now / stored - 1
    told = f"{now:.0f} instructions, stored {stored:.0f} ({change:+.1%})"
    lower = f"; lower the bound: {STORE_VARIABLE}=1" if change < -TOLERANCE else ""
    measured(told + lower)
    other_libc = here()["libc"] != BOUNDS["libc"]
    remark = f"; they are of {BOUNDS['libc']}, this is {here()['libc']}" if other_libc else ""
    assert change <= TOLERANCE, f"{step}: {told}{remark}"


def test_the_bounds_are_those_of_all_steps(counted, tmp_path):
    steps = steps_of(counted)
    if os.environ.get(STORE_VARIABLE):
        counts = {step: round(instructions(counted, step, tmp_path), 1) for step in steps}
        BOUNDS_FILE.write_text(json.dumps({**here(), "steps": counts}, indent=2) + "\n")
    else:
        assert steps == list(BOUNDS["steps"]), f"to be stored anew, with {STORE_VARIABLE}=1"


def test_silent_managers_cost_nothing(counted, tmp_path, measured):
    few, many = (
        instructions(counted, f"dispatch_{managers}_managers", tmp_path) for managers in (4, 1000)
    )
    measured(f"a task among 4 managers: {few:.0f} instructions, among 1,000: {many:.0f}")
    assert many <= few * (1 + MANAGERS_TOLERANCE)


def task(context: dict) -> dict:
    return {"task_id": 100_000, "context": context, "buffer": b"Z" * 1024}


MESSAGES = {
    "task": task({"resource_spec": {}}),
    "task_with_priority": task({"resource_spec": {"priority": 7}}),
    "task_with_needs": task(
        {
            "resource_spec": {"priority": 7},
            "placement": {
                "cores": 4,
                "memory": 4000,
                "running_time_min": 60.0,
                "manager_affinity": "sample 17",
                "task_type": "relax",
                "routing": "hard",
            },
        }
    ),
    "task_with_executor": task(
        {
            "task_executor": {
                "f": "globus_compute_endpoint.engines.helper.execute_task",
                "a": (uuid.UUID(bytes=b"\x17" * 16), uuid.UUID(bytes=b"\x29" * 16)),
                "k": {
                    "run_dir": "tasks_working_dir",
                    "run_in_sandbox": False,
                    "result_serializers": None,
                },
            }
        }
    ),
    "result": {"type": "result", "task_id": 100_000, "result": b"Z" * 1024},
    "heartbeat": {"type": "heartbeat"},
    "registration": {
        "type": "registration",
        "parsl_v": "2026.10.26",
        "python_v": "3.11.7",
        "packages": {f"package-{number}": f"1.{number}.0" for number in range(60)},
        "worker_count": 16,
        "uid": "0123456789ab",
        "block_id": "0",
        "start_time": 1_790_000_000.5,
        "drain_time": float("inf"),
        "prefetch_capacity": 0,
        "max_capacity": 16,
        "os": "Linux",
        "hostname": "node1.example.org",
        "dir": "/scratch/run",
        "cpu_count": 16,
        "total_memory": 2**36,
    },
}


@pytest.mark.parametrize("name", MESSAGES)
def test_counted_pickles_are_those_that_python_writes(counted, name):
    written = run([str(counted), "--message", name]).stdout
    assert written == pickle.dumps(MESSAGES[name], protocol=4)
