"""Imports between the rooms (top-level packages) of the harness go in one direction."""

from __future__ import annotations

import ast
from pathlib import Path

from harness.setup import environment

PACKAGE = environment.HARNESS_DIR / "harness"

# Which rooms each room may import. The commands in `cli.py` may import all rooms.
ARROWS = {
    "machine": set(),
    "setup": {"machine"},
    "htex": {"machine", "setup"},
    "fakes": {"machine", "htex"},
    "web": {"machine", "setup"},
    "measure": {"machine", "setup", "fakes"},
    "bench": {"machine", "setup", "measure"},
    "demo": {"machine", "setup", "htex"},
    "releases": {"machine", "setup", "htex"},
    "differential": {"setup", "htex", "fakes"},
    "conformance": {"machine", "setup", "htex", "fakes", "differential", "releases"},
    "fuzz": {"machine", "setup", "htex", "fakes", "releases"},
    "mutants": {"setup"},
    "parsl_suite": {"machine", "setup", "measure", "releases"},
    "publish": {"machine", "setup"},
    "suite": {"machine", "setup", "bench", "releases"},
}


def rooms_named_in(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        found |= {name.split(".")[1] for name in names if name.startswith("harness.")}
    return found


def test_imports_follow_the_arrows():
    found = {
        folder.name: {room for file in folder.rglob("*.py") for room in rooms_named_in(file)}
        for folder in PACKAGE.iterdir()
        if (folder / "__init__.py").exists()
    }
    assert {room: named - {room} for room, named in found.items()} == ARROWS


def test_the_arrows_make_no_circle():
    left = dict(ARROWS)
    while free := {room for room, named in left.items() if not named & left.keys()}:
        left = {room: named for room, named in left.items() if room not in free}
    assert left == {}


def test_the_top_folder_contains_only_the_commands():
    assert sorted(path.name for path in PACKAGE.glob("*.py")) == ["__init__.py", "cli.py"]
    # The package that users install does not import the test harness.
    package = environment.HARNESS_DIR / "htex_interchange"
    assert [path for path in package.rglob("*.py") if rooms_named_in(path)] == []
