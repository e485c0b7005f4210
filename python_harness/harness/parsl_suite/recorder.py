"""A pytest plugin for Parsl's own suite: records each test's outcome, and which interchange served
it.

The pytest of a release loads it (`-p harness.parsl_suite.recorder`). It appends one JSON line per
event to the file that PARSL_TESTS_RECORD names, so that even a run that dies leaves a record.
PARSL_TESTS_STARTS names the file in which the wrapper `interchange.py` notes each interchange that
it starts; the kernel reports which file a live interchange executes. Only the standard library is
used, because the plugin runs under the release's Python.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
from pathlib import Path

RECORD = "PARSL_TESTS_RECORD"
STARTS = "PARSL_TESTS_STARTS"
LIMIT = "PARSL_TESTS_LIMIT_S"


class Recorder:
    """Records one pytest session."""

    def __init__(self, record: Path, starts: Path) -> None:
        self.record = record
        self.starts = starts
        self.phases: dict[str, tuple[str, str]] = {}
        self.served: set[str] = set()
        self.started_before = 0
        self.last_phase_s = 0.0

    def write(self, **event) -> None:
        with open(self.record, "a") as file:
            file.write(json.dumps(event) + "\n")

    def pytest_collection_finish(self, session) -> None:
        self.write(event="collected", tests=[item.nodeid for item in session.items])

    def pytest_collectreport(self, report) -> None:
        """Records a module that cannot be imported as one failed test."""
        if report.failed:
            self.write(
                event="test",
                test=report.nodeid,
                verdict="failed",
                why=_last_line(report),
                seconds=0,
                served=[],
                starts=0,
            )

    def pytest_runtest_logstart(self, nodeid) -> None:
        self.phases, self.served = {}, set()
        self.started_before = len(self._starts())
        self.last_phase_s = 0.0

    def pytest_runtest_logreport(self, report) -> None:
        self.served |= self._executables()
        self.last_phase_s += report.duration
        text = "" if report.outcome == "passed" else _last_line(report)
        self.phases[report.when] = (report.outcome, text)

    def pytest_runtest_logfinish(self, nodeid) -> None:
        outcomes = [outcome for outcome, _ in self.phases.values()]
        verdict = next((bad for bad in ("failed", "skipped") if bad in outcomes), "passed")
        why = " | ".join(text for _, text in self.phases.values() if text)
        self.write(
            event="test",
            test=nodeid,
            verdict=verdict,
            why=why,
            seconds=round(self.last_phase_s, 2),
            served=sorted(self.served),
            starts=len(self._starts()) - self.started_before,
        )

    def _starts(self) -> list[str]:
        """Returns one line of /proc/<pid>/stat for each interchange, as read at its start."""
        return self.starts.read_text().splitlines() if self.starts.exists() else []

    def _executables(self) -> set[str]:
        """Returns the files that the live interchanges execute."""
        found = set()
        for line in self._starts():
            pid = line.split()[0]
            try:
                if _start_time(Path(f"/proc/{pid}/stat").read_text()) == _start_time(line):
                    found.add(os.readlink(f"/proc/{pid}/exe"))
            except OSError:
                continue
        return found


def _start_time(stat: str) -> str:
    """Returns the 22nd field. The second field, the name, is in parentheses and may contain
    blanks."""
    return stat.rpartition(")")[2].split()[19]


def _last_line(report) -> str:
    """Returns the reason in one line; for a skipped test, the reason is the last item of a
    tuple."""
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[-1])
    crash = getattr(report.longrepr, "reprcrash", None)
    lines = (crash.message if crash else str(report.longrepr or "")).strip().splitlines()
    if not lines:
        return report.outcome
    return lines[0 if crash else -1][:300]


def _report_no_usage() -> None:
    """Disables usage tracking. Some configurations of Parsl's tests report to Parsl's developers,
    who count users; these runs must not be counted."""
    from parsl.usage_tracking.usage import UsageTracker

    UsageTracker.check_tracking_level = lambda self: 0


def pytest_configure(config) -> None:
    """Makes a session that exceeds every time limit print its stack traces and end, even if it
    hangs at exit."""
    # Duplicates stderr, because pytest replaces file descriptor 2 while it captures output.
    shown = os.fdopen(os.dup(sys.__stderr__.fileno()), "w")
    faulthandler.dump_traceback_later(float(os.environ[LIMIT]), exit=True, file=shown)
    _report_no_usage()
    config.pluginmanager.register(
        Recorder(Path(os.environ[RECORD]), Path(os.environ[STARTS])), "parsl_suite_recorder"
    )
