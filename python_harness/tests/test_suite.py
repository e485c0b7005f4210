"""The test suite itself: which crates a quick run tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path, PurePosixPath

import conftest
import pytest

from harness.setup import environment
from harness.suite import changed
from harness.suite.changed import Crate

HARNESS = Path(conftest.__file__).parents[1]
CRATES = [
    Crate("program", PurePosixPath("."), frozenset({"broker", "protocol"})),
    Crate("broker", PurePosixPath("crates/broker"), frozenset({"protocol"})),
    Crate("protocol", PurePosixPath("crates/protocol"), frozenset({"pickle"})),
    Crate("pickle", PurePosixPath("crates/pickle")),
    Crate("pickle-fuzz", PurePosixPath("crates/pickle/fuzz"), frozenset({"pickle"})),
]


@pytest.mark.parametrize(
    ("paths", "tested"),
    [
        ([], []),
        (["src/main.rs"], ["program"]),
        (["Cargo.lock", "README.md"], ["program"]),
        # A path belongs to the crate with the longest folder above it, and folder names are
        # compared as a whole.
        (["crates/broker/src/lib.rs"], ["program", "broker"]),
        (["crates/brokers/src/lib.rs"], ["program"]),
        (["crates/pickle/fuzz/one.rs"], ["pickle-fuzz"]),
        # The crates directly above a changed crate are tested as well; crates further above are
        # not.
        (["crates/pickle/src/read.rs"], ["protocol", "pickle", "pickle-fuzz"]),
        (
            ["crates/pickle/src/read.rs", "benches/floor.rs"],
            ["program", "protocol", "pickle", "pickle-fuzz"],
        ),
        (["python_harness/harness/cli.py"], []),
    ],
)
def test_a_path_belongs_to_the_crate_with_the_longest_folder(paths, tested):
    assert changed.crates_of(paths, CRATES) == tested


def test_the_workspace_is_what_cargo_says_it_is():
    crates = changed.workspace()
    names = [crate.name for crate in crates]
    assert "htex-interchange" in names
    assert all(crate.depends_on < set(names) for crate in crates)
    (program,) = [crate for crate in crates if crate.name == "htex-interchange"]
    assert program.name in changed.crates_of([str(program.folder / "Cargo.toml")], crates)


def test_changes_are_found_by_git(tmp_path, monkeypatch):
    """Covers uncommitted, moved and untracked files, and the last commit. Without a clone, the
    result is None."""
    monkeypatch.setattr(changed, "PROJECT", tmp_path)
    if not tmp_path.is_relative_to(environment.PROJECT_DIR):
        assert changed.changed_paths() is None

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@localhost"]
        subprocess.run(["git", "-C", tmp_path, *identity, *arguments], check=True)

    git("init", "--quiet")
    for number, name in enumerate(("first", "second", "a third")):
        (tmp_path / name).write_text(name)
        git("add", "--all")
        git("commit", "--quiet", "--message", str(number))
    assert changed.changed_paths() == ["a third"]
    git("mv", "second", "moved")
    (tmp_path / "first").write_text("other")
    (tmp_path / "new").touch()
    assert sorted(changed.changed_paths()) == ["a third", "first", "moved", "new", "second"]
    git("update-ref", "refs/remotes/origin/main", "HEAD")
    assert sorted(changed.changed_paths()) == ["first", "moved", "new", "second"]


FAILS_OVER_A_NAME = """
def test_it():
    assert "Zo\\udceb" == "", "this is of Zo\\udceb"
"""


def test_a_failure_with_undecodable_text_is_reported(tmp_path):
    """Workers of xdist send only strings that are valid UTF-8. A worker that has to send another
    string would end the whole run."""
    for name, text in {
        "conftest.py": Path(conftest.__file__).read_text(),
        "pytest.ini": "[pytest]",
        "test_name.py": FAILS_OVER_A_NAME,
    }.items():
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-n", "1", "-q", "-p", "no:cacheprovider"]
    told = subprocess.run(
        [*command, "--rootdir", tmp_path, tmp_path],
        env=os.environ | {"PYTHONPATH": str(HARNESS)},
        capture_output=True,
        text=True,
    )
    assert "this is of Zo\\udceb" in told.stdout and "1 failed" in told.stdout, told.stdout
    assert "INTERNALERROR" not in told.stdout, told.stdout
