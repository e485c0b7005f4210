"""Another client of HTEX's interchange, Globus Compute's engine, works unchanged."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from harness.setup import environment

PLACE = environment.BUILD_DIR / "globus-compute"
REQUIREMENTS = environment.HARNESS_DIR / "requirements-globus-compute.txt"

# Its environment is some eighty packages.
pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(400),
    pytest.mark.ours_only("it names the command of the interchange itself"),
]


def test_its_engine_runs_tasks_and_learns_where_they_ran(tmp_path, measured):
    environment.prepare_venv(PLACE, ["--requirement", str(REQUIREMENTS)], REQUIREMENTS.read_text())
    env = dict(os.environ)
    env["PATH"] = os.pathsep.join([str(PLACE / "bin"), env.get("PATH", os.defpath)])
    env["PYTHONPATH"] = str(environment.HARNESS_DIR)
    env["HOME"] = str(tmp_path)
    program = [PLACE / "bin" / "python", "-m", "harness.releases.globus_compute_program"]
    ended = subprocess.run(
        [*program, str(tmp_path / "run"), str(environment.binary())],
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout.splitlines()[-1])
    assert report.pop("shutdown_s") < 9
    blocks = report.pop("blocks")
    # Records go by the hub's process, results do not: for a task of a millisecond the engine may
    # have its result first, with stock as well. Every record says the same.
    late = blocks.count(None)
    measured(f"{late} of {len(blocks)} results were there before their placement")
    assert set(blocks) - {None} == {"0"} and late <= len(blocks) / 2
    assert report == {
        "encrypted": True,
        "values": [None if number % 10 == 0 else 2 * number for number in range(60)],
        "executor_tasks": 60,
        "tasks_left": 0,
        "parsl_of_manager": "2026.10.26",
    }
    (log,) = (tmp_path / "run").rglob("interchange.log")
    text = log.read_text()
    assert "htex-interchange" in text and " ERROR " not in text
