"""The command `test`: runs all checks and tests, stage by stage, and prints a summary line at the
end.

A failed stage does not stop the others. `--quick` runs the checks that are most likely to fail, in
under three minutes if everything was built before: the Rust tests of changed crates, a binary of
the dev profile (the release build takes longer than all the rest), and the tests marked `quick`.
The last line is plain, for people and for CI: `htex-interchange: N passed, N failed`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from harness.setup import environment
from harness.suite import stages
from harness.suite.stages import Outcome

Stage = tuple[str, Callable[[], Outcome]]


def run(options: argparse.Namespace, pytest_arguments: list[str]) -> int:
    """Runs all stages (or only the named ones); returns 0 if nothing failed."""
    in_order = quick(pytest_arguments) if options.quick else whole(pytest_arguments, options.long)
    # With arguments for pytest, only those tests and the build they need are run.
    wanted = options.only or (["build", "pytest"] if pytest_arguments else list(in_order))
    total, times = Outcome(), []
    for name, (title, stage) in in_order.items():
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


def whole(pytest_arguments: list[str], long: bool) -> dict[str, Stage]:
    arguments = [*(["--long"] if long else []), *pytest_arguments]
    return {
        **_checks(),
        "cargo": ("cargo test", stages.cargo_test),
        "build": ("cargo build --release", stages.build),
        "pytest": ("pytest against Parsl", lambda: stages.pytest(arguments)),
    }


def quick(pytest_arguments: list[str]) -> dict[str, Stage]:
    arguments = ["-m", "quick", *pytest_arguments]
    return {
        **_checks(),
        "cargo": ("cargo test, changed crates only", stages.cargo_test_of_changes),
        "build": ("cargo build", stages.quick_build),
        "pytest": (
            "pytest against Parsl, the most sensitive tests",
            lambda: stages.pytest(arguments),
        ),
    }


def _checks() -> dict[str, Stage]:
    return {
        "fmt": ("cargo fmt --check", stages.rustfmt),
        "ruff": ("ruff check, ruff format --check", stages.ruff),
        "mypy": ("mypy --strict", stages.mypy),
        "clippy": ("cargo clippy --all-targets -- -D warnings", stages.clippy),
        "deny": ("cargo deny check", stages.deny),
    }


def _print_summary(total: Outcome, times: list[tuple[str, Outcome, float]]) -> None:
    print()
    for title, outcome, seconds in times:
        verdict = "FAILED" if outcome.failed else "skipped" if not outcome.passed else "ok"
        print(f"{verdict:8} {seconds:7.1f} s  {title}")
    line = f"htex-interchange: {total.passed} passed, {total.failed} failed"
    print(f"\n{line}, {total.skipped} skipped" if total.skipped else f"\n{line}", flush=True)
