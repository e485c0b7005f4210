"""The binary as a user runs it: --version, --help, wrong usage, and a terminal as stdin."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from harness.machine import usage
from harness.setup import environment

pytestmark = pytest.mark.ours_only("this is about our own command line")

SECONDS = 5
# The tools for users, in the order in which --help lists them.
TOOLS = [
    *("status", "top", "install-shim", "enable", "disable", "enabled"),
    *("doctor", "guide", "report", "completions", "man"),
]


def run(*arguments: str, **options) -> subprocess.CompletedProcess:
    options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run(
        [str(environment.binary()), *arguments],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        **options,
    )


def test_version():
    told = run("--version")
    assert told.returncode == 0 and told.stderr == ""
    assert re.fullmatch(r"htex-interchange \d+\.\d+\.\d+.*\n", told.stdout)


def test_verbose_version_tells_what_is_inside():
    told = run("--version", "--verbose")
    assert told.returncode == 0 and told.stderr == ""
    parts = dict(line.split(": ", 1) for line in told.stdout.splitlines())
    assert list(parts) == [
        *("version", "commit", "target", "rustc"),
        *("libzmq", "curve", "libsodium", "features", "profile"),
    ]
    assert run("--version").stdout == f"htex-interchange {parts['version']}\n"
    assert re.fullmatch(r"[0-9a-f]{40}|unknown", parts["commit"])
    assert (parts["libzmq"], parts["curve"]) == ("4.3.5", "yes")
    assert run("--verbose", "--version").stdout == told.stdout

    alone = run("--verbose")
    assert alone.returncode == 2 and alone.stdout == ""
    assert "--version" in alone.stderr


def test_help_names_every_option():
    told = run("--help")
    assert told.returncode == 0 and told.stderr == ""
    for option in (
        "--watch-pid",
        "--python-version",
        "--parsl-version",
        "--disconnect-grace",
        "--version",
        "--help",
    ):
        assert option in told.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["--no-such-option"],
        ["a-word"],
        ["--watch-pid"],
        ["--watch-pid", "soon"],
        ["--watch-pid", "-4"],
        ["--python-version", "three"],
        ["--io-threads", "0"],
        ["--disconnect-grace", "0"],
        ["--disconnect-grace", "-1"],
        ["--disconnect-grace", "inf"],
        ["completions"],
        ["install-shim"],
        ["install-shim", "--remove", "--copy", "somewhere"],
        ["enable", "python3"],
        ["disable", "--user"],
        ["completions", "no-shell"],
        ["--io-threads", "2", "completions", "bash"],
        ["Zo\udceb"],
        ["--io-threads", "\udceb"],
        ["--\udceb"],
        ["completions", "\udceb"],
    ],
    ids=lambda words: ascii(" ".join(words)),
)
def test_wrong_usage(arguments):
    told = run(*arguments)
    assert told.returncode == 2
    assert told.stdout == "" and told.stderr.strip()
    assert "panicked" not in told.stderr


def test_on_a_terminal_the_program_describes_itself():
    """A user who types the program's name gets some lines of text, not a process that waits for a
    pickle."""
    master, slave = pty.openpty()
    try:
        told = run(stdin=slave)
    finally:
        os.close(slave)
        os.close(master)
    assert told.returncode == 2
    assert told.stdout == ""
    _what, _who, how, _tools, *names = told.stderr.splitlines()
    assert "interchange_launch_cmd" in how
    assert [line.split()[1] for line in names] == TOOLS


def test_help_names_every_tool():
    told = run("--help")
    tools = told.stdout.partition("Tools:\n")[2].partition("\n\n")[0]
    assert [line.split()[0] for line in tools.splitlines()] == [*TOOLS, "help"]
    for tool in TOOLS:
        helped = run(tool, "--help")
        assert helped.returncode == 0 and f"Usage: htex-interchange {tool}" in helped.stdout


def test_a_tool_ends_before_it_reads_its_input():
    """The interchange itself begins by reading standard input; a tool does not read it."""
    reading, writing = os.pipe()
    try:
        assert run("completions", "bash", stdin=reading).returncode == 0
    finally:
        os.close(reading)
        os.close(writing)


def test_nothing_but_glibc_is_loaded(start):
    """The binary is self-contained: libzmq, libsodium and libstdc++ are linked into it."""
    side = start(encrypted=True)
    with open(f"/proc/{side.interchange.pid}/maps") as maps:
        libraries = {line.split()[-1] for line in maps if ".so" in line}
    allowed = re.compile(r"/(ld-linux|ld-|libc|libm|libpthread|libdl|librt|libgcc_s)[-.]")
    assert [library for library in libraries if not allowed.search(library)] == []


@pytest.mark.parametrize("count", [1, 3])
def test_io_threads(count, start):
    command = [str(environment.binary()), "--io-threads", str(count)]
    side = start(command=command, encrypted=True)
    tasks = Path(f"/proc/{side.interchange.pid}/task")
    names = [(thread / "comm").read_text() for thread in tasks.iterdir()]
    assert len([name for name in names if "/IO/" in name]) == count


def test_process_is_small_and_quick(start, measured):
    side = start()
    side.command("WORKER_BINDS")
    resident = usage.resident_bytes(side.interchange.pid) / 1e6
    measured(f"resident after the start: {resident:.1f} MB")
    assert resident < 30
