"""Globus Compute, another client of HTEX's interchange, with its code unchanged.

An endpoint is set up as the guide's page `use` says. Its core endpoint, its user endpoint and its
engine are those of the release; only the cloud service is missing.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.machine import processes
from harness.machine.waiting import wait_until
from harness.releases.globus_compute import RELEASES, GlobusCompute, globus_compute
from harness.setup import environment

# An environment holds about eighty packages.
pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(600),
    pytest.mark.ours_only("it is about who serves"),
]

STARTED_S = 60
ENDED_S = 60
TOOL_S = 60


@pytest.fixture(params=RELEASES)
def installed(request) -> GlobusCompute:
    return globus_compute(request.param)


def tool(installed: GlobusCompute, home: Path, *arguments) -> subprocess.CompletedProcess:
    """Runs a tool of htex-interchange in a shell where the endpoint's environment is active."""
    return subprocess.run(
        [environment.binary(), *map(str, arguments)],
        env=installed.child_environment(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TOOL_S,
    )


def line_of_shim(installed: GlobusCompute, home: Path) -> str:
    """Returns the line that `install-shim` recommends for user_environment.yaml."""
    told = tool(installed, home, "install-shim", "--globus-compute", home / "shim")
    assert told.returncode == 0, told.stderr
    (line,) = [line.strip() for line in told.stdout.splitlines() if "PATH: " in line]
    return line


def findings(installed: GlobusCompute, home: Path, endpoint: Path) -> dict[str, str]:
    told = tool(installed, home, "doctor", "--json", endpoint)
    assert told.returncode == 0, told
    diagnosis = json.loads(told.stdout)
    assert f"(Globus Compute {installed.name}, " in diagnosis["about"]
    return {finding["id"]: finding["what"] for finding in diagnosis["findings"]}


@contextmanager
def user_endpoint(installed: GlobusCompute, home: Path, endpoint: Path) -> Iterator[dict]:
    """Starts the core endpoint of `endpoint`, which starts a user endpoint; yields the process and
    name of the user endpoint."""
    program = [installed.python, "-m", "harness.releases.core_endpoint_program"]
    # Users may start the endpoint in another directory, and without an active environment.
    env = {**installed.child_environment(home), "PATH": os.defpath}
    core = subprocess.Popen(
        [*program, endpoint, home],
        env=env,
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield json.loads(core.stdout.readline())
    finally:
        core.stdin.close()
        core.stdout.close()
        assert core.wait(ENDED_S) == 0


def interchange_of(started: dict, log: Path) -> int:
    """Returns the child of the user endpoint that writes this log."""

    def writing() -> list[int]:
        children = processes.running_descendants(started["pid"])
        return [
            process.pid
            for process in children
            if process.ppid == started["pid"] and has_open(process.pid, log)
        ]

    wait_until(lambda: len(writing()) == 1, STARTED_S, f"{log.name} is written by one")
    return writing()[0]


def has_open(pid: int, file: Path) -> bool:
    try:
        return any(one.resolve() == file for one in Path(f"/proc/{pid}/fd").iterdir())
    except FileNotFoundError:
        return False


def log_of(home: Path, started: dict) -> Path:
    executor = "GlobusComputeEngine-HighThroughputExecutor"
    return home / ".globus_compute" / started["name"] / executor / "interchange.log"


def by_shim(installed: GlobusCompute, home: Path, endpoint: Path) -> str:
    with open(endpoint / "user_environment.yaml", "a") as file:
        file.write(f"{line_of_shim(installed, home)}\n")
    return "Started by an endpoint of Globus Compute"


def by_pth(installed: GlobusCompute, home: Path, endpoint: Path) -> str:
    enabled = tool(installed, home, "enable", "--python", installed.python)
    assert enabled.returncode == 0, enabled.stderr
    return f"Started by {installed.packages()}"


@pytest.mark.parametrize("way", [by_shim, by_pth])
def test_an_endpoint_is_served(installed, tmp_path, status_directory, way):
    installed = installed.on_top(tmp_path / "venv")
    endpoint = installed.configure(tmp_path, "my_endpoint")
    assert "stock" in findings(installed, tmp_path, endpoint)
    way_in_log = way(installed, tmp_path, endpoint)
    with open(endpoint / "user_environment.yaml", "a") as file:
        # When it runs as root, the endpoint gets no other variable of this test's environment.
        file.write(f"HTEX_INTERCHANGE_STATUS_DIR: {status_directory}\n")
    expected = {by_shim: "served-by-shim", by_pth: "served-by-pth"}[way]
    assert list(findings(installed, tmp_path, endpoint)) == [expected]
    with user_endpoint(installed, tmp_path, endpoint) as started:
        log = log_of(tmp_path, started)
        pid = interchange_of(started, log)
        assert processes.executable(pid) == environment.binary()
        wait_until(lambda: "Connected to client" in log.read_text(), 20, "it serves")
        user_id = started["name"].rsplit(".", 1)[1][:8]
        name = f"endpoint my_endpoint, user endpoint {user_id}"
        status = tool(installed, tmp_path, "status", endpoint)
        assert status.returncode == 0 and status.stdout.startswith(f"{name} "), status.stdout
        serving = findings(installed, tmp_path, endpoint)["serving"]
        assert serving == f"htex-interchange serves {name} now, as process {pid}."
    assert way_in_log in log.read_text()
    assert not processes.alive(pid)
    told = tool(installed, tmp_path, "status", endpoint)
    assert told.returncode == 3
    assert f"{log}: it has ended. Exiting on SIGTERM" in told.stderr, told.stderr


def test_a_shim_off_the_path_is_reported(tmp_path):
    """The result that the other tests would get if the shim were not used."""
    installed = globus_compute(list(RELEASES)[-1])
    endpoint = installed.configure(tmp_path, "my_endpoint")
    line_of_shim(installed, tmp_path)
    assert "stock" in findings(installed, tmp_path, endpoint)
    with user_endpoint(installed, tmp_path, endpoint) as started:
        pid = interchange_of(started, log_of(tmp_path, started))
        assert "python" in processes.executable(pid).name


def test_its_engine_runs_tasks_and_learns_where_they_ran(installed, tmp_path, measured):
    path = line_of_shim(installed, tmp_path).removeprefix("PATH: '").removesuffix("'")
    program = [installed.python, "-m", "harness.releases.globus_compute_program"]
    ended = subprocess.run(
        [*program, tmp_path / "run"],
        env={**installed.child_environment(tmp_path), "PATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout.splitlines()[-1])
    assert report.pop("shutdown_s") < 9
    blocks = report.pop("blocks")
    # Placement records pass through the hub's process, and results do not. For a task of a
    # millisecond, the engine may get the result first, with Parsl's interchange as well. All
    # records name the same block.
    late = blocks.count(None)
    measured(f"{late} of {len(blocks)} results were there before their placement")
    assert set(blocks) - {None} == {"0"}
    assert report == {
        "served": str(environment.binary()),
        "encrypted": True,
        "values": [None if number % 10 == 0 else 2 * number for number in range(60)],
        "executor_tasks": 60,
        "tasks_left": 0,
        "parsl_of_manager": installed.parsl,
    }
    (log,) = (tmp_path / "run").rglob("interchange.log")
    text = log.read_text()
    assert "htex-interchange" in text and " ERROR " not in text
