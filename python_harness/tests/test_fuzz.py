"""Runs each fuzzing target for some seconds from the committed corpus: no check fails."""

from __future__ import annotations

import pytest

from harness.fuzz import run as fuzz
from harness.htex.interchange import stock_under_test
from harness.setup import environment

SECONDS = 20
BUILD_S = 1800

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(BUILD_S),
    pytest.mark.skipif(stock_under_test(), reason="stock: this is about our own code"),
]


@pytest.fixture(scope="module")
def built():
    try:
        fuzz.build()
    except environment.Unprepared as reason:
        if reason.exit_code != environment.EXIT_ENVIRONMENT:
            raise
        pytest.skip(str(reason))


@pytest.mark.parametrize("target", fuzz.targets())
def test_fuzzing_finds_nothing(built, target, measured):
    outcome = fuzz.fuzz(target, SECONDS)
    measured(f"{target}: {outcome.final}")
    assert outcome.code == 0, outcome.finding
    assert outcome.final, "it has run to its end"
