"""The output of `parsl-tests`: a table for each release, the differences, and the verdict."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from rich.table import Table

from harness.machine import processes
from harness.measure.compare import console
from harness.parsl_suite.outcome import NOT_REACHED, OURS, STOCK, Comparison
from harness.setup import environment

OUTCOMES = ("passed", "failed", "skipped")


@dataclass
class Conclusion:
    """The conclusion about one release."""

    name: str
    # Number of tests that passed with both contenders in the first run.
    passed: int = 0
    # One line for each test that passes with stock and not with htex-interchange.
    only_ours: list[str] = field(default_factory=list)
    # Other errors of htex-interchange's runs, which may have hidden tests that belong in
    # `only_ours`.
    faults: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return not self.only_ours and not self.faults


def show(name: str, comparisons: list[Comparison], binary: Path, seconds: float) -> Conclusion:
    """Prints a release's table and differences, and returns the conclusion."""
    console.print(_table(name, comparisons, seconds))
    conclusion = Conclusion(name)
    for comparison in comparisons:
        _differences(comparison)
        conclusion.passed += comparison.passed_with_both()
        conclusion.only_ours += _only_ours(comparison)
        conclusion.faults += _faults(comparison, binary)
    if not conclusion.passed:
        conclusion.faults.append("no test passed with both: nothing was compared")
    starts = {kind: sum(one.runs[kind].starts for one in comparisons) for kind in (STOCK, OURS)}
    served = sum(one.runs[OURS].served_by()[str(binary)] for one in comparisons)
    console.print(
        f"interchanges started: {starts[OURS]} of ours, {starts[STOCK]} of stock; in {served} "
        f"tests the kernel showed {binary.name} (SHA-256 {processes.sha256(binary)[:16]}...)",
        soft_wrap=True,
    )
    return conclusion


def conclude(conclusions: list[Conclusion]) -> int:
    for one in conclusions:
        _say(f"Parsl {one.name}: passes with stock and not with ours: {_named(one)}")
        for line in one.only_ours:
            _say(f"  {line}")
        for fault in one.faults:
            _say(f"  FAILED {fault}")
    return 0 if all(one.holds for one in conclusions) else 1


def _named(conclusion: Conclusion) -> str:
    if conclusion.only_ours:
        return f"{len(conclusion.only_ours)} of its tests"
    beyond = ", but not everything was compared" if conclusion.faults else ""
    return f"nothing ({conclusion.passed} tests pass with both{beyond})"


def _say(line: str) -> None:
    console.print(line, soft_wrap=True, markup=False, highlight=False)


def _table(name: str, comparisons: list[Comparison], seconds: float) -> Table:
    table = Table(title=f"Parsl {name}, its own tests ({seconds:.0f} s)")
    for heading in ("part", "with"):
        table.add_column(heading)
    for heading in (*OUTCOMES, "through it", "starts", "s"):
        table.add_column(heading, justify="right")
    totals = {kind: [0] * len(OUTCOMES) for kind in (STOCK, OURS)}
    for comparison in comparisons:
        for kind in (STOCK, OURS):
            run = comparison.runs[kind]
            counts = [len(run.named(outcome)) for outcome in OUTCOMES]
            totals[kind] = [one + other for one, other in zip(totals[kind], counts, strict=True)]
            shown = [*counts, len(run.with_interchange()), run.starts, f"{run.seconds:.0f}"]
            table.add_row(comparison.part.name, kind, *map(str, shown))
    for kind in (STOCK, OURS):
        table.add_row("all", kind, *map(str, totals[kind]))
    return table


def _differences(comparison: Comparison) -> None:
    """Prints every test that did not pass in all runs, and how it failed."""
    ours, stock = comparison.runs[OURS], comparison.runs[STOCK]
    for kind in (STOCK, OURS):
        for test in sorted(comparison.flaky(kind)):
            _line(f"flaky with {kind}", test, comparison.runs[kind].verdicts[test].why)
    only_ours = comparison.only_ours()
    for test in sorted(comparison.fails(OURS) - only_ours):
        _line("fails with both", test, ours.verdicts[test].why)
    for test in sorted(comparison.fails(STOCK) - comparison.fails(OURS)):
        _line("fails with stock only", test, stock.verdicts[test].why)
    # Errors of stock's runs do not count as failures: tests that are missing there were run again.
    for fault in stock.faults:
        _say(f"  {comparison.part.name}, {STOCK}: {fault}")


def _line(what: str, test: str, why: str) -> None:
    if why == NOT_REACHED:
        return
    _say(f"  {what}: {test.removeprefix('parsl/tests/')}  {why}")


def _only_ours(comparison: Comparison) -> list[str]:
    ours = comparison.runs[OURS]
    where = os.path.relpath(ours.place, environment.PROJECT_DIR)
    return [
        f"{test.removeprefix('parsl/tests/')}  ({ours.verdicts[test].why}; {where})"
        for test in sorted(comparison.only_ours())
    ]


def _faults(comparison: Comparison, binary: Path) -> list[str]:
    ours = comparison.runs[OURS]
    faults = [f"{comparison.part.name}, {OURS}: {one}" for one in ours.faults]
    if comparison.runs[STOCK].starts and not ours.starts:
        faults.append(f"{comparison.part.name}: our binary was never started")
    # The wrapper is a shell for a moment, before it becomes the binary; stock is a Python.
    stock = [path for path in ours.served_by() if "python" in os.path.basename(path)]
    if stock:
        faults.append(f"{comparison.part.name}: stock was started as well ({stock})")
    return faults
