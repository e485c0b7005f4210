"""The simulation of the broker: many seeds, and brokers broken on purpose that it must catch."""

from __future__ import annotations

import pytest

from harness.mutants.run import Workshop, source_of
from harness.mutants.table import MUTANTS

pytestmark = [
    pytest.mark.ours_only("this is about our own broker"),
    # A build from nothing on a busy machine.
    pytest.mark.timeout(1200),
]

SEEDS = 300
SEEDS_LONG = 10_000
# In every run: one about results, one about liveness, one about connections.
ALWAYS = (
    "a result is dropped",
    "nobody waits until the worker socket is empty",
    "a connection belongs to two managers",
)


@pytest.fixture(scope="session")
def workshop() -> Workshop:
    return Workshop()


def test_what_is_to_be_broken_is_there_once():
    assert len(MUTANTS) >= 25
    names = [mutant.what for mutant in MUTANTS]
    assert len(set(names)) == len(names) and set(ALWAYS) <= set(names)
    counts = {mutant.what: source_of(mutant).count(mutant.old) for mutant in MUTANTS}
    assert counts == dict.fromkeys(names, 1)
    assert all(mutant.new != mutant.old for mutant in MUTANTS)


@pytest.mark.parametrize(
    "mutant",
    [
        pytest.param(mutant, marks=[] if mutant.what in ALWAYS else pytest.mark.long)
        for mutant in MUTANTS
    ],
    ids=lambda mutant: mutant.what.replace(" ", "-"),
)
def test_broken_broker_is_caught(workshop, mutant, measured):
    verdict = workshop.play(mutant, seeds=SEEDS)
    assert verdict.caught, f"{mutant.what}: {verdict.how}"
    measured(f"{mutant.what}: {verdict.how[:120]}")


@pytest.mark.long
def test_ten_thousand_seeds(workshop):
    verdict = workshop.play(None, seeds=SEEDS_LONG, release=True)
    assert not verdict.caught, verdict.how
