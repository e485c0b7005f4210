"""`test`: everything that tests, stage by stage, and one line at the end that says it all.

A stage that fails does not hide the others. Formatting, clippy and the build count as one test
each; cargo's and pytest's own counts are added. The last line is plain, for people and for CI:
`htex-interchange: N passed, N failed`.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from xml.etree import ElementTree

from harness.machine import runner
from harness.setup import environment

PROJECT = environment.PROJECT_DIR
CARGO_SUMMARY = re.compile(r"test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored")
NOT_INSTALLED = "this toolchain has no {0}; remedy: rustup component add {0}"

# Two at a time: many tests wait for a worker to start or a deadline to pass.
PYTEST_PROCESSES = 2

# pytest's exit code when no test matched the expression.
PYTEST_NOTHING_SELECTED = 5


@dataclass
class Outcome:
    """What one stage contributes to the last line."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of_code(cls, code: int) -> Outcome:
        return cls(passed=int(code == 0), failed=int(code != 0))


def run(pytest_arguments: list[str], *, long: bool, only: list[str] | None) -> int:
    """All stages (or `only` these); 0 if nothing failed."""
    stages_in_order: dict[str, tuple[str, Callable[[], Outcome]]] = {
        "fmt": ("cargo fmt --check", _format),
        "clippy": ("cargo clippy --all-targets -- -D warnings", _clippy),
        "cargo": ("cargo test", _cargo_test),
        "build": ("cargo build --release", _build),
        "pytest": ("pytest against Parsl", lambda: _pytest(pytest_arguments, long)),
    }
    # An expression for pytest means that somebody works on those tests.
    wanted = only or (["build", "pytest"] if pytest_arguments else list(stages_in_order))
    total, times = Outcome(), []
    for name, (title, stage) in stages_in_order.items():
        if name not in wanted:
            continue
        print(f"\n=== {title}", flush=True)
        begin = time.monotonic()
        try:
            outcome = stage()
        except environment.Unprepared as reason:
            outcome = Outcome(failed=1, notes=[str(reason)])
        for note in outcome.notes:
            print(f"!!! {note}", flush=True)
        times.append((title, outcome, time.monotonic() - begin))
        total.passed += outcome.passed
        total.failed += outcome.failed
        total.skipped += outcome.skipped
    _print_summary(total, times)
    return 1 if total.failed or not total.passed else 0


def _print_summary(total: Outcome, times: list[tuple[str, Outcome, float]]) -> None:
    print()
    for title, outcome, seconds in times:
        verdict = "FAILED" if outcome.failed else "skipped" if not outcome.passed else "ok"
        print(f"{verdict:8} {seconds:7.1f} s  {title}")
    line = f"htex-interchange: {total.passed} passed, {total.failed} failed"
    print(f"\n{line}, {total.skipped} skipped" if total.skipped else f"\n{line}", flush=True)


def _component_missing(name: str) -> bool:
    return runner.run([environment.cargo(), name, "--version"], capture_stdout=True).code != 0


def _format() -> Outcome:
    if _component_missing("fmt"):
        return Outcome(skipped=1, notes=[NOT_INSTALLED.format("rustfmt")])
    command = [environment.cargo(), "fmt", "--check"]
    return Outcome.of_code(runner.run(command, cwd=PROJECT).code)


def _clippy() -> Outcome:
    if _component_missing("clippy"):
        return Outcome(skipped=1, notes=[NOT_INSTALLED.format("clippy")])
    command = [environment.cargo(), "clippy", "--all-targets", "--locked"]
    return Outcome.of_code(runner.run([*command, "--", "-D", "warnings"], cwd=PROJECT).code)


def _cargo_test() -> Outcome:
    """Adds up the summaries of all test programs; `--no-fail-fast` shows every failure."""
    environment.check_compilers()
    command = [environment.cargo(), "test", "--locked", "--no-fail-fast"]
    result = runner.run(command, cwd=PROJECT, capture_stdout=True, echo=True)
    outcome = Outcome()
    for passed, failed, ignored in CARGO_SUMMARY.findall(result.stdout):
        outcome.passed += int(passed)
        outcome.failed += int(failed)
        outcome.skipped += int(ignored)
    if result.code != 0 and not outcome.failed:
        outcome.failed = 1
        outcome.notes.append(f"cargo test ended with exit code {result.code}")
    return outcome


def _build() -> Outcome:
    environment.require_binary()
    return Outcome(passed=1)


def _pytest(arguments: list[str], long: bool) -> Outcome:
    if not os.access(environment.binary(), os.X_OK):
        return Outcome(failed=1, notes=["there is no binary to test"])
    report = environment.BUILD_DIR / "pytest.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-c", str(environment.HARNESS_DIR / "pytest.ini")]
    command += ["--rootdir", str(environment.HARNESS_DIR), f"--junitxml={report}"]
    command += ["--numprocesses", str(PYTEST_PROCESSES), "--quiet"]
    command += ["--long"] if long else []
    result = runner.run([*command, *arguments], cwd=environment.HARNESS_DIR)
    outcome = _read_report(report) if report.exists() else Outcome()
    if result.code not in (0, PYTEST_NOTHING_SELECTED) and not outcome.failed:
        outcome.failed = 1
        outcome.notes.append(f"pytest ended with exit code {result.code}")
    if result.left_behind:
        outcome.failed += 1
        outcome.notes.append(f"the tests left processes behind: {result.left_behind}")
    return outcome


def _read_report(path) -> Outcome:
    """Counts tests: one that fails and whose clean-up fails too stands in the report twice."""
    verdicts: dict[tuple, str] = {}
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        name = (case.get("classname"), case.get("name"))
        if case.find("failure") is not None or case.find("error") is not None:
            verdicts[name] = "failed"
        elif case.find("skipped") is not None:
            verdicts.setdefault(name, "skipped")
        else:
            verdicts.setdefault(name, "passed")
    counts = Counter(verdicts.values())
    return Outcome(counts["passed"], counts["failed"], counts["skipped"])
