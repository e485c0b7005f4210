"""A release of Parsl that did not exist when this was written: what Parsl's own tests say about it,
and the command that makes it the newest supported one.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys

import pytest

from harness.parsl_suite import report
from harness.parsl_suite.choice import PARTS
from harness.parsl_suite.outcome import NOT_REACHED, OURS, STOCK, Comparison, PartRun, Verdict
from harness.releases import origin, supported, unpublished, written
from harness.setup import environment
from harness.suite import window
from harness.suite.stages import Outcome

pytestmark = pytest.mark.ours_only("it compares with stock by itself")

P, F, S, NEVER = "passed", "failed", "skipped", "never reached"
NEXT = "2999.01.04"


def part_run(outcomes: dict[str, str], place) -> PartRun:
    verdicts = {
        test: Verdict(F, NOT_REACHED) if outcome == NEVER else Verdict(outcome, "why")
        for test, outcome in outcomes.items()
    }
    return PartRun(verdicts, len(verdicts), 1.0, place, [])


def compared(tmp_path, stock: str, ours: str, *more: tuple[str, str]) -> Comparison:
    """Compares one test by the outcomes of its tries: the first, the repetition, and alone."""

    def both(stock: str, ours: str) -> dict[str, PartRun]:
        return {
            STOCK: part_run({"t": stock}, tmp_path),
            OURS: part_run({"t": ours}, tmp_path),
        }

    comparison = Comparison(PARTS[0], both(stock, ours))
    if more:
        comparison.again = both(*more[0])
    if more[1:]:
        comparison.alone["t"] = both(*more[1])
    return comparison


@pytest.mark.parametrize(
    ("tries", "goes_on", "is_named"),
    [
        # (stock, ours) of the first try, the repetition, and the try alone.
        ([(P, P)], False, False),
        ([(P, F)], True, True),
        ([(P, F), (P, P)], False, False),
        ([(P, F), (F, F)], False, False),
        ([(P, F), (P, F)], True, True),
        ([(P, F), (P, F), (P, P)], False, False),
        ([(P, F), (P, F), (F, F)], False, False),
        ([(P, F), (P, F), (P, F)], True, True),
        # A chance failure of Parsl's interchange does not hide one of htex-interchange.
        ([(F, F), (P, F), (P, F)], True, True),
        ([(F, F), (F, F)], False, False),
        ([(F, P), (P, P)], False, False),
        # A skipped test does not pass; if Parsl's interchange skips it as well, nothing is
        # reported.
        ([(P, S), (P, S), (P, S)], True, True),
        ([(S, S)], False, False),
        # If the run with Parsl's interchange broke off, the test alone decides.
        ([(NEVER, F), (NEVER, F)], True, False),
        ([(NEVER, F), (NEVER, F), (P, F)], True, True),
        ([(P, NEVER), (P, P)], False, False),
    ],
)
def test_flaky_tests_blame_no_side(tries, goes_on, is_named, tmp_path):
    comparison = compared(tmp_path, *tries[0], *tries[1:])
    assert comparison.undecided() == ({"t"} if goes_on else set())
    assert comparison.only_ours() == ({"t"} if is_named else set())


def test_the_verdict_is_printed_in_words(tmp_path, capsys):
    binary = environment.binary()
    bad = compared(tmp_path, P, F, (P, F), (P, F))
    good = compared(tmp_path, P, P)
    verdicts = [
        report.show("2027.1.4", [good], binary, 1.0),
        report.show("2027.2.1", [good, bad], binary, 1.0),
    ]
    capsys.readouterr()
    assert report.conclude(verdicts[:1]) == 0
    words = "Parsl 2027.1.4: passes with stock and not with ours: nothing (1 tests pass with both)"
    assert capsys.readouterr().out.splitlines() == [words]
    assert report.conclude(verdicts) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        words,
        "Parsl 2027.2.1: passes with stock and not with ours: 1 of its tests",
    ]
    assert lines[2].startswith("  t  (why; ") and len(lines) == 3
    # Without any comparison, there is no reason to report success.
    assert report.conclude([report.show("2027.1.4", [], binary, 1.0)]) == 1


def test_a_release_is_a_name_or_a_path(tmp_path):
    named = origin.parse("2027.01.04")
    assert (named.version, named.folder, named.label) == ("2027.1.4",) * 3
    made = tmp_path / "parsl-2027.1.4-py3-none-any.whl"
    made.touch()
    tree = tmp_path / "branch"
    (tree / "parsl").mkdir(parents=True)
    version = tree / "parsl" / "version.py"
    version.write_text("VERSION = '2027.01.04'\n")
    for path in (made, tree):
        found = origin.parse(str(path))
        assert found.version == "2027.1.4" and str(path) in found.label
        assert found.folder.startswith("2027.1.4-")
    # A changed file changes the inputs of the environment, but the environment's folder stays the
    # same.
    before = origin.parse(str(tree))
    inputs = before.inputs()
    version.write_text("VERSION = '2027.01.04'\n# changed\n")
    after = origin.parse(str(tree))
    assert after.folder == before.folder and after.inputs() != inputs
    with after.requirement() as requirement:
        assert str(tree) not in requirement
    for wrong in ("main", "2027", str(tmp_path), str(tmp_path / "nothing"), ""):
        with pytest.raises(environment.Unprepared, match="is neither a release of Parsl") as reason:
            origin.parse(wrong)
        assert reason.value.exit_code == 2


@pytest.fixture
def copy(tmp_path):
    """A copy of the files that name the newest release."""
    for place in written.places():
        target = tmp_path / place.path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(written.PROJECT / place.path, target)
    return tmp_path


@pytest.fixture
def move_copy(copy, monkeypatch):
    """The copy and the command for these files, which finds every release installed."""
    release = supported.release(written.newest())
    monkeypatch.setattr(supported, "release", lambda _: release)
    return copy, functools.partial(window.move, project=copy)


def test_every_place_names_the_same_release():
    paths = {str(place.path) for place in written.places()}
    assert {"README.md", "src/submit_side/releases.rs"} < paths
    assert "python_harness/requirements.txt" in paths
    assert written.moved(written.newest()).keys() == {place.path for place in written.places()}
    assert written.numbers(written.oldest()) < written.numbers(written.newest())


def test_a_move_changes_the_name_and_nothing_else(copy):
    before = {place.path: (copy / place.path).read_text() for place in written.places(copy)}
    old = written.newest(copy)
    written.write(written.moved(NEXT, copy), copy)
    assert written.newest(copy) == "2999.1.4"
    for path, text in before.items():
        one = "2999.1.4" if path.name.startswith("requirements") else NEXT
        now = (copy / path).read_text()
        lines = zip(text.splitlines(), now.splitlines(), strict=True)
        ((was, is_now),) = [(one, other) for one, other in lines if one != other]
        assert is_now in (was.replace(old, one, 1), was.replace(written.padded(old), one, 1))
    assert not list(copy.rglob("*.new"))


@pytest.mark.parametrize(
    ("name", "outcome", "only_check", "code", "says"),
    [
        (NEXT, Outcome(passed=9), False, 0, "Left to do by hand"),
        (NEXT, Outcome(passed=9), True, 0, "Nothing was changed, as --check says"),
        (NEXT, Outcome(passed=8, failed=1), False, 1, "1 tests fail with Parsl 2999.01.04"),
        (NEXT, Outcome(), False, 1, "0 pass"),
        (written.newest(), Outcome(passed=9), False, 2, "is the end of the window"),
        ("2026.01.05", Outcome(passed=9), True, 2, "is within the window"),
        ("2020.1.6", Outcome(passed=9), False, 2, "is older than the window"),
        ("main", Outcome(passed=9), False, 2, "is not a release"),
    ],
)
def test_the_window_moves_or_says_why_not(name, outcome, only_check, code, says, move_copy, capsys):
    copy, move = move_copy
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    assert move(name, only_check=only_check, guards=lambda _: outcome) == code
    assert says in capsys.readouterr().out
    after = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    assert (after != before) == (code == 0 and not only_check)


def test_a_contradicting_file_moves_nothing(copy, capsys):
    readme = copy / written.README
    readme.write_text(readme.read_text().replace(f"to {written.padded(written.newest())},", "to x"))
    assert window.move(NEXT, only_check=False, project=copy) == 1
    assert "README.md should have one line like" in capsys.readouterr().out
    assert written.newest(copy) == written.newest()


def command(*arguments: str, **env: str) -> subprocess.CompletedProcess:
    program = [sys.executable, str(environment.HARNESS_DIR), *arguments]
    env = {**os.environ, environment.BINARY_VARIABLE: str(environment.binary()), **env}
    return subprocess.run(program, env=env, capture_output=True, text=True, timeout=1500)


@pytest.fixture
def no_environment():
    """`no_environment(release)` removes the environment of the release, now and after the test."""
    places = []

    def remove(name: str) -> None:
        places.append(supported.RELEASES_DIR / origin.parse(name).folder)
        clear(places[-1])

    def clear(place) -> None:
        shutil.rmtree(place, ignore_errors=True)
        for beside in (".stamp", ".lock"):
            place.with_name(place.name + beside).unlink(missing_ok=True)

    yield remove
    for place in places:
        clear(place)


FAKE_TESTS = """
import os
from pathlib import Path

import parsl
import pytest
from parsl.executors import HighThroughputExecutor


def served(run_dir) -> str:
    executor = HighThroughputExecutor(address="127.0.0.1", encrypted=False)
    executor.provider.init_blocks = 0
    with parsl.load(parsl.Config(executors=[executor], run_dir=str(run_dir), strategy="none")):
        return os.path.basename(os.readlink(f"/proc/{executor.interchange_proc.pid}/exe"))


@pytest.mark.local
def test_passes_with_both(tmp_path):
    assert served(tmp_path)


@pytest.mark.local
def test_fails_with_both(tmp_path):
    assert served(tmp_path) == "nobody"


@pytest.mark.local
def test_fails_every_second_time():
    count = Path(__file__).with_suffix(".count")
    with open(count, "a") as file:
        file.write("x")
    assert count.stat().st_size % 2
"""
STOCK_ALONE = """

@pytest.mark.local
def test_of_stock_alone(tmp_path):
    assert "python" in served(tmp_path)
"""


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_a_branch_ends_with_a_verdict(tmp_path, no_environment):
    """A tree with tests made for this test only, in a known folder and in a new one."""
    tree = unpublished.tree("2027.01.04", tmp_path)
    no_environment(str(tree))
    tests = tree / "parsl" / "tests"
    for place in tests.glob("test_*"):
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    for folder in ("test_htex", "test_next"):
        (tests / folder).mkdir()
        (tests / folder / "__init__.py").touch()
        (tests / folder / f"{folder}_it.py").write_text(FAKE_TESTS)
    new_one = tests / "test_next" / "test_next_it.py"
    new_one.write_text(FAKE_TESTS + STOCK_ALONE)
    told = command("parsl-tests", str(tree))
    said = told.stdout[told.stdout.rindex("Parsl 2027.1.4") :].splitlines()
    assert said[0].endswith("passes with stock and not with ours: 1 of its tests"), told.stdout
    assert said[1].startswith("  test_next/test_next_it.py::test_of_stock_alone  (")
    assert told.returncode == 1 and len(said) == 2, told.stdout
    assert told.stdout.count("flaky with ours") == 2 and told.stdout.count("fails with both") == 2
    new_one.write_text(FAKE_TESTS)
    told = command("parsl-tests", str(tree))
    assert told.stdout.splitlines()[-1].endswith(
        "passes with stock and not with ours: nothing (2 tests pass with both)"
    )
    assert told.returncode == 0


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_the_next_release_is_checked(tmp_path, no_environment, measured):
    """A release from a package index: the command runs all tests that guard the window, and changes
    no file."""
    no_environment(NEXT)
    unpublished.wheel(NEXT, tmp_path)
    links = " ".join(filter(None, [str(tmp_path), os.environ.get("PIP_FIND_LINKS")]))
    before = {place.path: (written.PROJECT / place.path).read_text() for place in written.places()}
    told = command("window", NEXT, "--check", PIP_FIND_LINKS=links)
    assert told.returncode == 0, told.stdout[-3000:] + told.stderr[-3000:]
    assert "and none fails" in told.stdout and "Of its files" not in told.stdout
    measured(next(line for line in told.stdout.splitlines() if "tests pass with Parsl" in line))
    assert before == {path: (written.PROJECT / path).read_text() for path in before}
