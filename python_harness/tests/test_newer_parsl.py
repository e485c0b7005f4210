"""A Parsl newer than every tested release, and a Parsl whose executor sends no commands."""

from __future__ import annotations

import os
import pickle

import pytest

from harness.releases import altered, supported, window
from harness.releases.written import padded
from harness.setup import environment

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.ours_only("stock is of the very release that it serves"),
]


@pytest.fixture(scope="module")
def observing(tmp_path_factory):
    return altered.observing(tmp_path_factory.mktemp("observing") / "venv")


@pytest.fixture(scope="module")
def of_the_future(tmp_path_factory):
    return altered.of_the_future(tmp_path_factory.mktemp("future") / "venv")


def test_an_executor_that_only_listens_gets_observations(observing, tmp_path):
    report = window.report_of(observing, tmp_path / "run", encrypted=True, monitoring=True)
    faults = window.workflow_faults(report, manager_version=padded(supported.NEWEST))
    assert not faults + window.node_faults(report["nodes"])
    log = window.interchange_log(tmp_path / "run")
    assert (
        "The executor sends no commands" in log
        and "Received command request: WorkerBinds" not in log
    )


@pytest.mark.long
def test_idleness_is_reported_so_that_blocks_are_scaled_in(observing, tmp_path):
    """While a task runs in one block, Parsl's own strategy ends the other block."""
    request = {"run_dir": str(tmp_path), "interchange": str(environment.binary())}
    report = observing.report_of("harness.releases.scaling_program", request, tmp_path)
    assert report == {"blocks_before": 2, "blocks_after": 1}


@pytest.mark.parametrize("is_told", [False, True], ids=["asks-late", "asks-nothing"])
def test_only_a_listening_executor_gets_observations(request, start, is_told, monkeypatch):
    """The environment that is first on PATH decides. The test reads the socket in place of the
    executor's result thread."""
    if is_told:
        places = [request.getfixturevalue("observing").place / "bin", environment.VENV_BIN]
        monkeypatch.setenv("PATH", os.pathsep.join(map(str, [*places, "/usr/bin", "/bin"])))
    side = start(launch=False)
    side.launch()
    if is_told:
        told = pickle.loads(side.results.recv() if side.results.poll(20_000) else b"")
        assert told.keys() == {"type", "key", "value"}
        assert (told["type"], told["key"]) == ("observation", "worker_port")
    else:
        # Longer than an executor needs to send its first command; the test needs this time.
        assert side.results.poll(3_000) == 0
        assert isinstance(side.worker_port, int)
        assert side.results.poll(1_000) == 0


def test_a_newer_release_is_served_with_a_warning(of_the_future, tmp_path):
    report = window.report_of(of_the_future, tmp_path / "run")
    assert not window.workflow_faults(report, manager_version=altered.FUTURE)
    (line,) = [
        line for line in window.interchange_log(tmp_path / "run").splitlines() if "WARNING" in line
    ]
    assert f"Parsl {altered.FUTURE} is newer than {padded(supported.NEWEST)}" in line


def test_a_newer_parsl_can_be_served_by_its_own_interchange(of_the_future, tmp_path):
    report = window.report_of(
        of_the_future,
        tmp_path / "run",
        encrypted=True,
        interchange_options=("--newer-parsl", "stock"),
    )
    python = str((of_the_future.place / "bin" / "python").resolve())
    assert not window.workflow_faults(report, manager_version=altered.FUTURE, served=python)
    log = window.interchange_log(tmp_path / "run")
    assert f"handing over to its own interchange, {of_the_future.place}/bin/interchange.py" in log


@pytest.mark.long
def test_the_setting_for_newer_releases_does_not_affect_a_tested_one(tmp_path):
    report = window.report_of(
        supported.release(supported.NEWEST),
        tmp_path / "run",
        interchange_options=("--newer-parsl=stock",),
    )
    assert not window.workflow_faults(report, manager_version=padded(supported.NEWEST))
