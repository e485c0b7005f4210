"""What `parsl-tests` says: a table for each release, the differences, and the verdict."""

from __future__ import annotations

import os
from pathlib import Path

from rich.table import Table

from harness.machine import processes
from harness.measure.compare import console
from harness.parsl_suite.outcome import NOT_REACHED, OURS, STOCK, Comparison
from harness.setup import environment

OUTCOMES = ("passed", "failed", "skipped")


def show(name: str, comparisons: list[Comparison], binary: Path, seconds: float) -> list[str]:
    """Prints a release's table and differences; returns what is wrong with ours."""
    console.print(_table(name, comparisons, seconds))
    faults = []
    for comparison in comparisons:
        _differences(comparison)
        faults += _faults(comparison, binary)
    starts = {kind: sum(one.runs[kind].starts for one in comparisons) for kind in (STOCK, OURS)}
    served = sum(one.runs[OURS].served_by()[str(binary)] for one in comparisons)
    console.print(
        f"interchanges started: {starts[OURS]} of ours, {starts[STOCK]} of stock; in {served} "
        f"tests the kernel named {binary.name} (SHA-256 {processes.sha256(binary)[:16]}...)",
        soft_wrap=True,
    )
    return faults


def conclude(faults: list[str]) -> int:
    for fault in faults:
        console.print(f"FAILED {fault}", soft_wrap=True)
    console.print(
        "parsl-tests failed"
        if faults
        else "parsl-tests passed: no test fails with ours that passes with stock"
    )
    return 1 if faults else 0


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
    """Every test that did not pass everywhere, and how."""
    ours, stock = comparison.runs[OURS], comparison.runs[STOCK]
    for kind in (STOCK, OURS):
        for test in sorted(comparison.flaky(kind)):
            _line(f"flaky with {kind}", test, comparison.runs[kind].verdicts[test].why)
    for test in sorted(comparison.fails(OURS) & comparison.fails(STOCK)):
        _line("fails with both", test, ours.verdicts[test].why)
    for test in sorted(comparison.fails(STOCK) & ours.named("passed")):
        _line("fails with stock only", test, stock.verdicts[test].why)
    for test in sorted(ours.named("skipped") ^ stock.named("skipped")):
        _line("skipped with one only", test, "")


def _line(what: str, test: str, why: str) -> None:
    if why == NOT_REACHED:
        return
    console.print(f"  {what}: {test.removeprefix('parsl/tests/')}  {why}", soft_wrap=True)


def _faults(comparison: Comparison, binary: Path) -> list[str]:
    ours = comparison.runs[OURS]
    where = os.path.relpath(ours.place, environment.PROJECT_DIR)
    faults = [
        f"fails with ours only: {test} ({ours.verdicts[test].why}; {where})"
        for test in sorted(comparison.only_ours())
    ]
    # Where a run broke off, with whichever of the two, there is nothing to compare.
    for kind in (STOCK, OURS):
        faults += [f"{comparison.part.name}, {kind}: {one}" for one in comparison.runs[kind].faults]
    if not ours.starts:
        faults.append(f"{comparison.part.name}: our binary was never started")
    # The wrapper is a shell for a moment, before it becomes the binary; stock is a Python.
    stock = [path for path in ours.served_by() if "python" in os.path.basename(path)]
    if stock:
        faults.append(f"{comparison.part.name}: stock served as well ({stock})")
    return faults
