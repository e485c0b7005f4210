"""Parsl's own tests of the newest release, with htex-interchange. Every run takes a minute's worth
of them, and `--long` all tests in which an interchange takes part. `python3 python_harness
parsl-tests` does the same for any release, and prints a table.
"""

from __future__ import annotations

import pytest

from harness.parsl_suite import run as parsl_tests
from harness.parsl_suite.choice import PARTS, QUICK_PARTS
from harness.parsl_suite.outcome import OURS
from harness.releases import supported
from harness.setup import environment

pytestmark = pytest.mark.ours_only("it compares with stock by itself")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", QUICK_PARTS, ids=lambda part: part.name)
def test_quick_subset(part, tmp_path_factory, measured):
    """Runs tests with htex-interchange only. A failed test is tried once more, and named if it was
    flaky."""
    release = supported.release(supported.NEWEST)
    place = tmp_path_factory.mktemp("parsl-tests")
    parsl_tests.provide_missing_files(release)
    run = parsl_tests.run_part(release, OURS, environment.binary(), part, runs_dir=place)
    failed = run.named("failed")
    if failed:
        again = parsl_tests.run_part(
            release,
            OURS,
            environment.binary(),
            part,
            sorted(failed),
            runs_dir=place,
            suffix="-again",
        )
        measured(f"failed at first: {sorted(failed)}")
        failed &= again.named("failed")
    assert not failed, {test: run.verdicts[test].why for test in failed}
    assert not run.faults
    assert len(run.named("passed")) >= 9, "the tests were not found"
    assert run.served_by()[str(environment.binary())], "another interchange served"
    measured(
        f"{part.name}: {len(run.verdicts)} of Parsl's tests, {run.starts} interchanges, "
        f"{run.seconds:.0f} s"
    )


@pytest.mark.long
@pytest.mark.timeout(4 * parsl_tests.PART_LIMIT_S)
@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_no_test_fails_with_ours_that_passes_with_stock(part, tmp_path_factory, measured):
    release = supported.release(supported.NEWEST)
    place = tmp_path_factory.mktemp("parsl-tests")
    (comparison,) = parsl_tests.compare(release, environment.binary(), (part,), runs_dir=place)
    ours = comparison.runs[OURS]
    measured(
        f"{part.name}: {len(ours.named('passed'))} passed, flaky with ours: "
        f"{sorted(comparison.flaky(OURS))}"
    )
    assert not comparison.only_ours(), {
        test: ours.verdicts[test].why for test in comparison.only_ours()
    }
    assert ours.starts and ours.with_interchange()
