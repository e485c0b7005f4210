"""Runs `window_program.py` under one release of Parsl with the binary, and judges the report.

The program runs in a separate process, under the release's Python. This module reads and judges its
report, so that a test lists everything that was wrong at once.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from harness.releases.supported import Release
from harness.setup import environment

PROGRAM = "harness.releases.window_program"
PROGRAM_S = 360

# The program's report, which is the same with every release.
EXPECTED = {
    "load_error": None,
    "first_error": None,
    "sums": [2 * number for number in range(40)],
    "exception": ["Rejected", "no good"],
    "four_mb_is_equal": True,
    "order": ["minus", "zero", "ten", "none"],
    "held": [False],
    "next_block": "1",
    "blocks": ["0", "1"],
}


@dataclass(frozen=True)
class Request:
    """The request to the program."""

    run_dir: str
    interchange: str
    encrypted: bool = True
    monitoring: bool = False
    manager_path: str = ""
    check_versions: bool = True
    interchange_options: tuple[str, ...] = ()


# How often a run is tried if its manager misses its own connection.
MISSES_MAX = 3


def report_of(release: Release, run_dir: Path, **options) -> dict:
    """Runs the workflow under `release`, with the binary as interchange, and returns the report."""
    for miss in range(MISSES_MAX - 1):
        report = _report_of(release, run_dir, options)
        if not _missed_its_connection(run_dir):
            return report
        run_dir.rename(run_dir.with_name(f"{run_dir.name}-missed-{miss}"))
    return _report_of(release, run_dir, options)


def _missed_its_connection(run_dir: Path) -> bool:
    """Whether a manager missed its own connection.

    Managers before 2025.07.07 connect first and only then watch for that event. If the event occurs
    in between, they wait for it for 30 s and end, although the interchange accepted their
    connection.
    """
    gave_up = any(
        "No viable address found" in log.read_text(errors="replace")
        for log in run_dir.rglob("manager.log")
    )
    was_let_in = any(
        "Accepted a connection" in log.read_text(errors="replace")
        for log in run_dir.rglob("interchange.log")
    )
    return gave_up and was_let_in


def _report_of(release: Release, run_dir: Path, options: dict) -> dict:
    run_dir.mkdir(parents=True, exist_ok=True)
    request = Request(str(run_dir), str(environment.binary()), **options)
    return release.report_of(PROGRAM, asdict(request), run_dir, PROGRAM_S)


def interchange_log(run_dir: Path) -> str:
    """Returns the log of a run's only interchange."""
    (log,) = run_dir.rglob("interchange.log")
    return log.read_text(errors="replace")


def workflow_faults(report: dict, *, manager_version: str, served: str = "") -> list[str]:
    """Returns everything that is wrong in the report of a whole workflow. `served` names the
    executable that must have served, if not the binary."""
    wanted = dict(EXPECTED, served=served or str(environment.binary()))
    wanted["manager"] = {"block_id": "0", "active": True, "parsl_version": manager_version}
    faults = [
        f"{key}: {report.get(key)!r}, expected {value!r}"
        for key, value in wanted.items()
        if report.get(key) != value
    ]
    if report.get("workers", 1) != 1:
        faults.append(f"workers: {report['workers']}")
    if report.get("packages", 0) < 1:
        faults.append("the manager's packages are not known")
    return faults


def node_faults(rows: list[dict]) -> list[str]:
    """Returns what is wrong in the hub's database, which must show a held block and its
    successor."""
    faults = []
    if {row["block_id"] for row in rows} != {"0", "1"}:
        faults.append(f"blocks in the node table: {rows}")
    if not any(row["block_id"] == "0" and not row["active"] for row in rows):
        faults.append("the hold is not in the node table")
    if any(row["worker_count"] != 1 or not row["hostname"] for row in rows):
        faults.append(f"node rows: {rows}")
    return faults
