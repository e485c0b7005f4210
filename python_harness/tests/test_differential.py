"""Plays the same conversations to Parsl's interchange and to htex-interchange, and shows that a
wrong candidate is caught.

A difference is a failure unless a named rule (`harness/differential/rules.py`) or a named ending
(`harness/differential/endings.py`) says that the difference is intended. There are 20
conversations, 500 with `--long`. `HTEX_TEST_SEED=17` replays one, `HTEX_TEST_SEED=100-199` a
hundred.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from harness.differential import run as differential
from harness.differential.endings import ENDINGS
from harness.differential.mutants import MUTANTS
from harness.differential.rules import RULES
from harness.differential.script import KINDS, Conversation, draw
from harness.differential.values import names_foreign
from harness.htex.interchange import stock_under_test
from harness.setup import environment

# A mutant counts as not caught if this many conversations of its kind do not reveal it.
CHANCES = 5


def pytest_generate_tests(metafunc):
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", differential.seeds(metafunc.config.getoption("--long")))


@pytest.mark.expect_error("incompatible version info")
def test_stock_and_ours_do_the_same(seed, tmp_path, tmp_path_factory):
    told = differential.conversation(seed)
    stock_dir = tmp_path_factory.mktemp("stock")
    found = differential.difference(told, stock_dir, tmp_path)
    assert found is None, found


def test_stock_does_the_same_twice(tmp_path_factory):
    """Two runs of Parsl's interchange do not differ: chance causes no difference, so every other
    difference is one of htex-interchange."""
    told = differential.conversation(4)
    places = [tmp_path_factory.mktemp("stock") for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda place: differential.play_stock(told, place), places)
    assert differential.compare(told, first, second) is None


@pytest.fixture(scope="module")
def by_stock(tmp_path_factory):
    """Returns the transcript of Parsl's interchange for a conversation, as a future; it is played
    once, for all mutants."""
    known: dict[int, Future[differential.Transcript]] = {}
    with ThreadPoolExecutor(1) as pool:

        def transcript(seed: int) -> Future[differential.Transcript]:
            if seed not in known:
                told, place = differential.conversation(seed), tmp_path_factory.mktemp("stock")
                known[seed] = pool.submit(differential.play_stock, told, place)
            return known[seed]

        yield transcript


@pytest.mark.skipif(stock_under_test(), reason="it alters ours")
@pytest.mark.expect_error("incompatible version info")
@pytest.mark.parametrize("name", MUTANTS)
def test_a_wrong_candidate_is_caught(name, by_stock, tmp_path):
    needs, make = MUTANTS[name]
    for seed in seeds_that(needs)[:CHANCES]:
        told = differential.conversation(seed)
        stock = by_stock(seed)
        ours = differential.play_ours(told, tmp_path / str(seed), make())
        found = differential.compare(told, stock.result(), ours)
        if found:
            print(found)
            return
    pytest.fail(f"not caught: {name}")


def seeds_that(needs: str) -> list[int]:
    """Returns the seeds of conversations in which a mutant can show, those with the most events of
    the needed kind first."""
    told = [differential.conversation(seed) for seed in range(1, 1 + differential.SEEDS)]
    wanted = "hold" if needs == "hub" else needs
    able = [each for each in told if each.by_block and (each.hub or needs != "hub")]
    if needs != "silence":
        able = [each for each in able if each.kind == "plain"]
    if needs == "names":
        able.sort(key=lambda each: -sum(map(names_foreign, tasks_of(each))))
    else:
        able.sort(key=lambda each: -sum(event.kind == wanted for event in each.events))
    return [each.seed for each in able]


def tasks_of(told: Conversation) -> list[dict]:
    return [task for event in told.events for task in event.what.get("tasks", [])]


def test_every_difference_is_in_the_guide():
    page = (environment.PROJECT_DIR / "src/guide/differences.md").read_text()
    listed = " ".join(page.split())
    entries = {entry.words for entry in [*RULES, *ENDINGS.values()]}
    assert [entry for entry in entries if entry not in listed] == []


def test_the_seeds_hold_every_kind_and_ending():
    told = [differential.conversation(seed) for seed in range(1, differential.SEEDS_LONG + 1)]
    assert {each.kind for each in told} == set(KINDS)
    assert {each.ending for each in told} == set(ENDINGS)
    assert {event.kind for each in told for event in each.events} >= {"silence", "reconnect"}
    again = draw(7, list(ENDINGS))
    assert [*map(str, again.events)] == [*map(str, differential.conversation(7).events)]
