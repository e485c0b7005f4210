"""Output on terminals that do not use UTF-8: only characters that these terminals can show."""

from __future__ import annotations

import subprocess

import pytest
from test_status import place  # noqa: F401
from test_top import enlisted

from harness.machine.terminal import Terminal
from harness.setup import environment

pytestmark = pytest.mark.ours_only("this is about our own command line")

VARIABLES = ("LC_ALL", "LC_CTYPE", "LANG")
OTHERS = [
    {"LC_ALL": "C"},
    {"LC_CTYPE": "POSIX", "LANG": "C.UTF-8"},
    {"LANG": "en_US.ISO-8859-1"},
    {},
]


def set_locale(monkeypatch, variables: dict[str, str]) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def seen(*arguments, key: str = "") -> bytes:
    """Returns all output to a terminal."""
    with Terminal([str(environment.binary()), *map(str, arguments)]) as terminal:
        if key:
            terminal.wait_for("node0")
            terminal.press("?")
            terminal.wait_for("Keys (press any key to close)")
            terminal.press(" ", key)
        terminal.wait_exit()
        return terminal.raw


@pytest.mark.parametrize("variables", OTHERS, ids=str)
def test_a_terminal_without_utf_8(start, connect, monkeypatch, tmp_path, variables):
    side = enlisted(start, connect, 2)
    connect(side, b"other").enlist(side, hostname="n\u0153ud", block_id="7", max_capacity=4)
    file = tmp_path / "config.py"
    file.write_text("raise ValueError('n\u0153ud \u00d7 2 \u2026')\n")
    for arguments, key in [
        (("top",), "q"),
        (("status", "--managers"), ""),
        (("doctor", file), ""),
        (("--help",), ""),
    ]:
        set_locale(monkeypatch, variables)
        assert seen(*arguments, key=key).isascii(), arguments
        if arguments != ("--help",):
            set_locale(monkeypatch, {"LC_CTYPE": "C.UTF-8"})
            assert not seen(*arguments, key=key).isascii(), arguments


@pytest.mark.parametrize("variables", OTHERS, ids=str)
def test_a_pipe_has_what_its_locale_shows(start, connect, monkeypatch, variables):
    side = enlisted(start, connect, 1)
    connect(side, b"other").enlist(side, hostname="n\u0153ud", block_id="7", max_capacity=4)
    set_locale(monkeypatch, variables)
    piped = subprocess.run([environment.binary(), "status", "--managers"], capture_output=True)
    assert piped.stdout.isascii() and b"n\\u{153}ud" in piped.stdout, piped
    # Output for programs is the same in every locale.
    told = subprocess.run([environment.binary(), "status", "--json"], capture_output=True)
    assert "n\u0153ud".encode() in told.stdout, told


def test_a_dumb_terminal_gets_lines(start, connect, monkeypatch):
    """A dumb terminal gets no colours and no cursor movements."""
    enlisted(start, connect, 1)
    monkeypatch.setenv("TERM", "dumb")
    # On a CI system, clap uses colours on any terminal.
    monkeypatch.setenv("CI", "true")
    for arguments in [("status",), ("doctor", "nowhere.py"), ("--help",), ("top",)]:
        assert b"\x1b" not in seen(*arguments), arguments
    assert b"`htex-interchange status` prints the same information as text" in seen("top")
    watching = ["timeout", "-s", "INT", "4", str(environment.binary()), "status", "--watch=0.1"]
    with Terminal(watching) as terminal:
        terminal.wait_exit()
        assert terminal.raw.count(b"node0") > 1 and b"\x1b" not in terminal.raw
