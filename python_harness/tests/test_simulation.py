"""The simulations of broker and turn: many seeds, every order of a few events, and deliberately
broken brokers and turns that the simulations must catch."""

from __future__ import annotations

import pytest

from harness.mutants import table, turn_table
from harness.mutants.run import BROKEN_ROOMS, Workshop, source_of

pytestmark = [
    pytest.mark.ours_only("this is about our own broker and turn"),
    # Time for a complete build on a busy machine.
    pytest.mark.timeout(1200),
]

SEEDS = 300
SEEDS_LONG = 10_000
# The number of events whose orders can all be played in about a minute.
STEPS_LONG = 5
MUTANTS = [*table.MUTANTS, *turn_table.MUTANTS]


@pytest.fixture(scope="session")
def workshop() -> Workshop:
    return Workshop()


def test_the_code_that_each_mutant_replaces_occurs_once():
    assert len(table.MUTANTS) >= 25
    assert len(turn_table.MUTANTS) >= 25
    names = [mutant.what for mutant in MUTANTS]
    assert len(set(names)) == len(names)
    counts = {mutant.what: source_of(mutant).count(mutant.old) for mutant in MUTANTS}
    assert counts == dict.fromkeys(names, 1)
    assert all(mutant.new != mutant.old for mutant in MUTANTS)


@pytest.mark.long
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.what.replace(" ", "-"))
def test_each_mutant_is_caught(workshop, mutant, measured):
    verdict = workshop.play(mutant, seeds=SEEDS)
    assert verdict.caught, f"{mutant.what}: {verdict.how}"
    measured(f"{mutant.what}: {verdict.how[:120]}")


@pytest.mark.long
@pytest.mark.parametrize("room", BROKEN_ROOMS)
def test_ten_thousand_seeds(workshop, room):
    verdict = workshop.play(None, room=room, seeds=SEEDS_LONG, release=True)
    assert not verdict.caught, verdict.how


@pytest.mark.long
def test_every_order_of_some_more_events(workshop):
    verdict = workshop.play(None, room="turn", explores=STEPS_LONG, release=True)
    assert not verdict.caught, verdict.how
