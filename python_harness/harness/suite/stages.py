"""The stages of `test`, and the number of tests that each counts.

Formatting, lints, types and the build count as one test each; the tests in nextest's and pytest's
reports are added.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from harness.bench import counted
from harness.machine import runner
from harness.setup import environment
from harness.suite import changed

PROJECT = environment.PROJECT_DIR
PYPROJECT = str(environment.HARNESS_DIR / "pyproject.toml")
NEXTEST_CONFIG = str(PROJECT / ".ci" / "nextest.toml")
NEXTEST_REPORT = PROJECT / "target" / "nextest" / "default" / "junit.xml"
DENY_CONFIG = str(PROJECT / ".ci" / "deny.toml")
NOT_INSTALLED = "this toolchain has no {0}; remedy: rustup component add {0}"

# One more than the expected number of processors, because many tests mostly wait for a worker to
# start or for a deadline.
PYTEST_PROCESSES = 3

# pytest's exit code when no test matched the expression.
PYTEST_NOTHING_SELECTED = 5

# nextest's exit code when the selected crates have no test.
NEXTEST_NOTHING_SELECTED = 4


@dataclass
class Outcome:
    """The result of one stage, which is added to the last line: numbers of tests, and notes."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of_code(cls, code: int) -> Outcome:
        return cls(passed=int(code == 0), failed=int(code != 0))


def component_missing(name: str) -> bool:
    return runner.run([environment.cargo(), name, "--version"], capture_stdout=True).code != 0


def rustfmt() -> Outcome:
    if component_missing("fmt"):
        return Outcome(skipped=1, notes=[NOT_INSTALLED.format("rustfmt")])
    command = [environment.cargo(), "fmt", "--all", "--check"]
    return Outcome.of_code(runner.run(command, cwd=PROJECT).code)


def ruff() -> Outcome:
    """Checks lints and format of all Python files in the repository, including those in the Rust
    tree."""
    code = 0
    for command in (["check"], ["format", "--check"]):
        program = [str(environment.VENV_BIN / "ruff"), *command, "--quiet", "--config", PYPROJECT]
        code = code or runner.run([*program, "."], cwd=PROJECT).code
    return Outcome.of_code(code)


def mypy() -> Outcome:
    """Checks the types of the shipped package strictly."""
    command = [sys.executable, "-m", "mypy", "--config-file", PYPROJECT, "--no-error-summary"]
    return Outcome.of_code(runner.run(command, cwd=environment.HARNESS_DIR).code)


def clippy() -> Outcome:
    if component_missing("clippy"):
        return Outcome(skipped=1, notes=[NOT_INSTALLED.format("clippy")])
    command = [environment.cargo(), "clippy", "--workspace", "--all-targets", "--locked"]
    return Outcome.of_code(runner.run([*command, "--", "-D", "warnings"], cwd=PROJECT).code)


def deny() -> Outcome:
    """Checks licences, versions and sources of external crates. For the fuzz targets, which are not
    shipped, checks sources only."""
    command = [environment.cargo(), "deny", "--locked", "--config", DENY_CONFIG]
    of_fuzzing = ["--manifest-path", str(PROJECT / "tests" / "fuzz" / "Cargo.toml")]
    code = runner.run([*command, "check", "licenses", "bans", "sources"], cwd=PROJECT).code
    code = code or runner.run([*command, *of_fuzzing, "check", "sources"], cwd=PROJECT).code
    return Outcome.of_code(code)


def cargo_test() -> Outcome:
    """Runs every test of every crate, and then what nextest does not run: the benchmark's check of
    itself, and examples in documentation, if there are any."""
    outcome = _nextest(["--workspace"])
    for rest in (["--bench", "load"], ["--workspace", "--doc"]):
        command = [environment.cargo(), "test", "--locked", "--quiet", *rest]
        code = runner.run(command, cwd=PROJECT).code
        outcome.passed += int(code == 0)
        outcome.failed += int(code != 0)
    return outcome


def cargo_test_of_changes() -> Outcome:
    """Runs the tests of changed crates and of the crates that directly depend on them."""
    crates = changed.crates_to_test()
    if crates == []:
        return Outcome(notes=["no crate has changed"])
    if crates is None:
        return _nextest(["--workspace"])
    return _nextest([f"--package={crate}" for crate in crates])


def _nextest(which: list[str]) -> Outcome:
    environment.check_compilers()
    NEXTEST_REPORT.unlink(missing_ok=True)
    command = [environment.cargo(), "nextest", "run", "--locked", "--config-file", NEXTEST_CONFIG]
    result = runner.run([*command, *which], cwd=PROJECT)
    outcome = _read_report(NEXTEST_REPORT) if NEXTEST_REPORT.exists() else Outcome()
    if result.code not in (0, NEXTEST_NOTHING_SELECTED) and not outcome.failed:
        outcome.failed = 1
        outcome.notes.append(f"cargo nextest ended with exit code {result.code}")
    return outcome


def build() -> Outcome:
    """Builds the product together with the program that only a test runs, so that both link in
    parallel."""
    environment.require_binary("release", () if counted.why_not() else (counted.PACKAGE,))
    return Outcome(passed=1)


def quick_build() -> Outcome:
    environment.require_binary("dev")
    return Outcome(passed=1)


def pytest(arguments: list[str]) -> Outcome:
    if not os.access(environment.binary(), os.X_OK):
        return Outcome(failed=1, notes=["there is no binary to test"])
    report = environment.BUILD_DIR / "pytest.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-c", str(environment.HARNESS_DIR / "pytest.ini")]
    command += ["--rootdir", str(environment.HARNESS_DIR), f"--junitxml={report}"]
    command += ["--numprocesses", str(PYTEST_PROCESSES), "--quiet"]
    result = runner.run([*command, *arguments], cwd=environment.HARNESS_DIR)
    outcome = _read_report(report) if report.exists() else Outcome()
    if result.code not in (0, PYTEST_NOTHING_SELECTED) and not outcome.failed:
        outcome.failed = 1
        outcome.notes.append(f"pytest ended with exit code {result.code}")
    if result.left_behind:
        outcome.failed += 1
        outcome.notes.append(f"the tests left processes behind: {result.left_behind}")
    return outcome


def _read_report(path: Path) -> Outcome:
    """Counts tests by name, because a test that fails in its clean-up as well is reported twice."""
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
