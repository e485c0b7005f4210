"""The command `parsl-tests`: runs a Parsl release's own tests with htex-interchange and with stock.

The tests are those that the release's distribution ships (`parsl/tests`), unchanged, under the
release's own Python. No test names an interchange: HTEX starts the first `interchange.py` in PATH.
That is a wrapper, which records its starts and becomes the contender. The command fails if a test
passes with stock and not with htex-interchange.

Failed tests of a part are run again together, with both contenders. Each test that then still fails
with htex-interchange only is run once more alone, with htex-interchange first. Merely flaky tests,
with either contender, are thereby identified. `choice.py` selects the tests; it does not depend on
the release.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import sys
import time
from pathlib import Path

from harness.machine import processes, runner
from harness.parsl_suite import report
from harness.parsl_suite.choice import LEFT_OUT_MARKS, MPI_TESTS, QUICK_PARTS, Part, parts_of
from harness.parsl_suite.outcome import NOT_REACHED, OURS, STOCK, Comparison, PartRun, Verdict
from harness.releases import supported
from harness.releases.supported import Release
from harness.setup import environment

RUNS_DIR = environment.BUILD_DIR / "parsl-tests"
TEST_TIMEOUT_S = 150
PART_LIMIT_S = 1800

# If more tests than this fail with htex-interchange only, chance is not the cause, and running each
# alone would take hours.
ALONE_MAX = 20

WRAPPER = """#!/bin/sh
# Stands first in PATH: what HTEX starts as interchange. The process keeps its id and start time.
read -r itself < /proc/$$/stat
echo "$itself" >> {starts}
exec {command} "$@"
"""


def run(binary: Path, options: argparse.Namespace) -> int:
    """Returns 0 if, for every release, no test passes with stock and fails with
    htex-interchange."""
    releases = [supported.release(name) for name in options.releases or [supported.NEWEST]]
    conclusions = []
    for release in releases:
        begin = time.monotonic()
        parts = QUICK_PARTS if options.quick else parts_of(release)
        comparisons = compare(release, binary, parts)
        shown = report.show(release.name, comparisons, binary, time.monotonic() - begin)
        conclusions.append(shown)
    return report.conclude(conclusions)


def compare(
    release: Release, binary: Path, parts: tuple[Part, ...], runs_dir: Path = RUNS_DIR
) -> list[Comparison]:
    """Runs every part with stock and with htex-interchange, one after the other."""
    provide_missing_files(release)
    return [
        compare_part(release, binary, part, runs_dir) for part in parts if part.modules(release)
    ]


def compare_part(release: Release, binary: Path, part: Part, runs_dir: Path) -> Comparison:
    def one_run(kind: str, tests: list[str] | None = None, suffix: str = "") -> PartRun:
        return run_part(release, kind, binary, part, tests, runs_dir=runs_dir, suffix=suffix)

    comparison = Comparison(part, {kind: one_run(kind) for kind in (STOCK, OURS)})
    if failed := sorted(comparison.to_try_again()):
        comparison.again = {kind: one_run(kind, failed, "-again") for kind in (STOCK, OURS)}
    undecided = sorted(comparison.undecided())
    if len(undecided) <= ALONE_MAX:
        for number, test in enumerate(undecided):
            # In reverse order, so that a test that fails at every second run has failed with both
            # contenders.
            comparison.alone[test] = {
                kind: one_run(kind, [test], f"-alone-{number}") for kind in (OURS, STOCK)
            }
    return comparison


def run_part(
    release: Release,
    kind: str,
    binary: Path,
    part: Part,
    tests: list[str] | None = None,
    *,
    runs_dir: Path = RUNS_DIR,
    suffix: str = "",
) -> PartRun:
    """Runs a part (or only `tests` of it) in a separate directory, and reads the record."""
    place = runs_dir / release.place.name / f"{part.name}-{kind}{suffix}"
    shutil.rmtree(place, ignore_errors=True)
    (place / "bin").mkdir(parents=True)
    _write_wrapper(release, kind, binary, place)
    site = release.package.parent
    wanted = [str(site / test) for test in tests or part.modules(release)]
    env = release.child_environment(place / "bin")
    env["HOME"] = str(place)
    env["PARSL_TESTS_RECORD"] = str(place / "record.jsonl")
    env["PARSL_TESTS_STARTS"] = str(place / "starts")
    env["PARSL_TESTS_LIMIT_S"] = str(PART_LIMIT_S)
    command = [str(release.python), "-m", "pytest", "-p", "harness.parsl_suite.recorder"]
    command += ["-p", "no:cacheprovider", "--rootdir", str(site), "--quiet", "-ra"]
    command += ["--continue-on-collection-errors"]
    command += ["--timeout", str(TEST_TIMEOUT_S), "--timeout-method", "signal"]
    command += ["-m", LEFT_OUT_MARKS, "--config", part.config_argument(release), *wanted]
    what = f"{part.name}, {len(tests)} of it again" if tests else part.name
    print(f"parsl-tests: {release.name}, {what}, {kind} ...", flush=True)
    begin = time.monotonic()
    # Writes to a file, not to a pipe: an orphan of a test that keeps a pipe open would block this
    # run.
    into_file = f'exec "$@" > {shlex.quote(str(place / "pytest.txt"))} 2>&1'
    command = [sys.executable, "-m", "harness.parsl_suite.init", *command]
    result = runner.run(["sh", "-c", into_file, "sh", *command], cwd=place, env=env)
    return _read(place, result, time.monotonic() - begin)


def provide_missing_files(release: Release) -> None:
    """Creates the node lists that the MPI tests read, for batch jobs of four and of eight nodes.
    The distribution contains only the Python files of the tests."""
    for place in MPI_TESTS:
        if not (release.package / "tests" / place).exists():
            continue
        folder = release.package / "tests" / place / "mocks"
        folder.mkdir(exist_ok=True)
        for name, nodes in (("pbs_nodefile", 4), ("pbs_nodefile.8", 8)):
            names = [f"NODE{number:03}\n" for number in range(1, nodes + 1)]
            (folder / name).write_text("".join(names))


def _write_wrapper(release: Release, kind: str, binary: Path, place: Path) -> None:
    stock = [str(release.python), str(release.place / "bin" / "interchange.py")]
    command = [str(binary)] if kind == OURS else stock
    path = place / "bin" / "interchange.py"
    starts = shlex.quote(str(place / "starts"))
    path.write_text(WRAPPER.format(starts=starts, command=shlex.join(command)))
    path.chmod(0o755)


def _read(place: Path, result: runner.Result, seconds: float) -> PartRun:
    """Reads the record of a run; a collected test without a verdict counts as failed with its
    run."""
    record, starts = place / "record.jsonl", place / "starts"
    lines = record.read_text().splitlines() if record.exists() else []
    verdicts = {}
    collected: list[str] = []
    for event in map(json.loads, lines):
        if event["event"] == "collected":
            collected = event["tests"]
        else:
            verdicts[event["test"]] = Verdict(
                event["verdict"],
                event["why"],
                event["seconds"],
                event["served"],
                event["starts"],
            )
    faults = []
    shown = os.path.relpath(place / "pytest.txt", environment.PROJECT_DIR)
    missing = [test for test in collected if test not in verdicts]
    verdicts.update({test: Verdict("failed", NOT_REACHED) for test in missing})
    if missing or not collected or result.code not in (0, 1):
        faults.append(
            f"pytest ended with {result.code}, {len(missing)} of {len(collected)} tests without "
            f"a verdict: {shown}"
        )
    if seconds >= PART_LIMIT_S:
        faults.append(f"it hung, and was killed after {PART_LIMIT_S} s: {shown}")
    left = [text for text in result.left_behind if "interchange" in text]
    if left:
        faults.append(f"processes still running: {left}")
    processes.wait_gone(5.0)
    count = len(starts.read_text().splitlines()) if starts.exists() else 0
    return PartRun(verdicts, count, seconds, place, faults)
