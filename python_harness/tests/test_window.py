"""The window of supported releases: each release runs a real workflow through the binary, in its
own environment, and managers of one release serve an executor of another.

A short run takes the oldest release, as other tests use the newest; with --long every edge of the
window is tested. Parsl's own interchange is not tested here: an older release brings its own.
"""

from __future__ import annotations

import time

import pytest

from harness.releases import supported, window
from harness.releases.supported import BEFORE_NEWEST, NEWEST, OLDEST, TOO_OLD, WINDOW
from harness.releases.written import padded

# The first test that needs an environment creates it, within that test's time.
pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.ours_only("every release brings the stock interchange that it needs"),
]


def in_a_long_run(name: str):
    """A release that a short run leaves out."""
    short = name == OLDEST
    return pytest.param(name, id=name, marks=() if short else pytest.mark.long)


@pytest.mark.parametrize("name", [in_a_long_run(name) for name in WINDOW])
def test_workflow_encrypted_with_monitoring(name, tmp_path):
    """Runs a long workflow for each release: values, an exception, 4 MB, priorities, a hold,
    commands, and node records in the release's own database."""
    report = window.report_of(
        supported.release(name), tmp_path / "run", encrypted=True, monitoring=True
    )
    assert report["version"] == padded(name)
    faults = window.workflow_faults(report, manager_version=padded(name))
    assert not faults + window.node_faults(report["nodes"])


@pytest.mark.long
@pytest.mark.parametrize("name", WINDOW)
def test_workflow_plain(name, tmp_path):
    report = window.report_of(
        supported.release(name), tmp_path / "run", encrypted=False, monitoring=True
    )
    faults = window.workflow_faults(report, manager_version=padded(name))
    assert not faults + window.node_faults(report["nodes"])


@pytest.mark.parametrize(
    ("submitting", "managing"),
    [
        (NEWEST, "2026.9.28"),
        pytest.param("2026.9.28", NEWEST, marks=pytest.mark.long),
        pytest.param(NEWEST, "2026.7.20", marks=pytest.mark.long),
        pytest.param("2026.7.20", NEWEST, marks=pytest.mark.long),
        pytest.param("2026.7.27", "2026.10.5", marks=pytest.mark.long),
        pytest.param(NEWEST, BEFORE_NEWEST, marks=pytest.mark.long),
        pytest.param(BEFORE_NEWEST, NEWEST, marks=pytest.mark.long),
    ],
)
def test_managers_of_another_release(submitting, managing, tmp_path):
    """The version check is off: results arrive in the framing of the manager's release, and are
    accepted."""
    managers = supported.release(managing)
    report = window.report_of(
        supported.release(submitting),
        tmp_path / "run",
        monitoring=True,
        manager_path=str(managers.place / "bin"),
        check_versions=False,
    )
    faults = window.workflow_faults(report, manager_version=padded(managing))
    assert not faults + window.node_faults(report["nodes"])


@pytest.mark.expect_error("version")
@pytest.mark.parametrize(
    ("submitting", "managing", "check"),
    [
        pytest.param(NEWEST, "2026.9.28", True, id=f"{NEWEST}-checked"),
        # Before 2026.5.18 the option applies to Python alone: another release of Parsl is still
        # refused.
        pytest.param("2026.1.5", "2025.9.29", False, id="unchecked-python", marks=pytest.mark.long),
    ],
)
def test_managers_of_another_release_are_refused(submitting, managing, check, tmp_path):
    managers = supported.release(managing)
    report = window.report_of(
        supported.release(submitting),
        tmp_path / "run",
        manager_path=str(managers.place / "bin"),
        check_versions=check,
    )
    assert report["first_error"].startswith(("BadStateException", "VersionMismatch"))
    assert padded(managing) in report["first_error"]


@pytest.mark.expect_error("2025.06.30")
def test_a_release_with_two_sockets_is_refused_at_once(tmp_path, measured):
    """parsl.load() raises the reason; the user does not wait for HTEX's two minutes."""
    begin = time.monotonic()
    report = window.report_of(supported.release(TOO_OLD), tmp_path / "run", encrypted=True)
    measured(
        f"refusal of Parsl {TOO_OLD}: load() raised after {report['load_s']:.1f} s, "
        f"the program ended after {time.monotonic() - begin:.1f} s"
    )
    assert report["load_s"] < 10
    assert "2025.06.30" in report["load_error"], report["load_error"]
    assert "2025.06.30" in window.interchange_log(tmp_path / "run")
