"""`htex-interchange guide`: its pages on a pipe and on a terminal, its search for a word, and the
commands that its pages recommend."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from parsl.executors import HighThroughputExecutor
from test_status import place  # noqa: F401
from test_top import enlisted

import htex_interchange
from harness import cli
from harness.machine.terminal import Terminal
from harness.setup import environment

pytestmark = pytest.mark.ours_only("this is about our own command line")

SECONDS = 30
WRONG_ARGUMENTS = 2
PAGES = environment.PROJECT_DIR / "src" / "guide"
HARNESS = "python3 python_harness "


def guide(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [environment.binary(), "guide", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env={**os.environ, "LC_ALL": "C.UTF-8", **env},
    )


def test_every_page_is_listed_and_printed():
    listed = guide()
    assert (listed.returncode, listed.stderr) == (0, "")
    for page in PAGES.glob("*.md"):
        topic = page.stem
        title = page.read_text().splitlines()[0].removeprefix("# ")
        assert f"\n  {topic} " in listed.stdout
        told = guide(topic)
        assert (told.returncode, told.stderr) == (0, ""), told
        assert told.stdout.startswith(f"{title}\n{'=' * len(title)}\n")
        assert "\x1b" not in told.stdout and "|---" not in told.stdout
        assert guide(topic, LC_ALL="C").stdout.isascii()


@pytest.mark.parametrize("topic", ["never-registered", "port-taken"])
def test_a_finding_has_the_page_that_doctor_explains_it_by(topic):
    explained = subprocess.run(
        [environment.binary(), "doctor", "--explain", topic], capture_output=True, text=True
    )
    assert guide(topic).stdout.startswith(explained.stdout)


@pytest.mark.parametrize(
    ("word", "has"),
    [
        ("--events", "line of JSON"),
        ("htex_interchange_slots", "worker slots"),
        ("Metrics", "htex_interchange_tasks_done_total"),
        ("slots", "cores_per_worker"),
        ("70", "internal error"),
    ],
)
def test_a_word_finds_its_section_or_row(word, has):
    told = guide(word)
    assert told.returncode == 0 and has in told.stdout, told
    assert "(from `htex-interchange guide " in told.stdout


def test_an_unknown_topic_lists_near_ones():
    told = guide("trubleshoot")
    assert (told.returncode, told.stdout) == (WRONG_ARGUMENTS, "")
    assert "Similar: troubleshoot" in told.stderr and "\nPages: use, install, " in told.stderr
    assert guide("survive").stdout.startswith("`--survive`\n")
    assert guide("ManagerLost").stdout.startswith("manager-lost\n")


def on_a_terminal(topic: str, **env: str) -> bytes:
    """Returns all output to a terminal of 24 rows."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"LC_ALL": "C.UTF-8", "TERM": "xterm", **env}.items():
            patch.setenv(name, value)
        with Terminal([str(environment.binary()), "guide", topic]) as terminal:
            terminal.wait_exit()
            return terminal.raw


def pager(folder: Path, script: str) -> str:
    """Creates a program that acts as a pager, and returns its path as a word of a shell command."""
    program = folder / "pager"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return shlex.quote(str(program))


def test_a_long_page_goes_to_the_pager_of_a_terminal(tmp_path):
    shown = on_a_terminal("operate", PAGER=pager(tmp_path, 'echo "paged $1: $(wc -l)"') + " a")
    lines = int(shown.split(b"paged a: ")[1].split()[0])
    assert lines > 100


def test_a_short_page_goes_to_no_pager(tmp_path):
    shown = on_a_terminal("protocol-rules", PAGER=pager(tmp_path, "echo paged"))
    assert b"no topic" in shown and b"paged" not in shown
    assert b"paged" not in on_a_terminal("--strict", PAGER=pager(tmp_path, "echo paged"))


@pytest.mark.parametrize("name", ["no-such-pager --here", ""])
def test_a_page_is_shown_without_a_pager(tmp_path, name):
    """A missing pager counts as no pager. PATH has only `sh` and `cat`, and neither less nor
    more."""
    for program in ("sh", "cat"):
        (tmp_path / program).symlink_to(shutil.which(program))
    shown = on_a_terminal("operate", PAGER=name, PATH=str(tmp_path))
    assert shown.count(b"\n") > 100 and b"Metrics" in shown


def test_a_dumb_terminal_gets_plain_text(tmp_path):
    shown = on_a_terminal("operate", TERM="dumb", PAGER=pager(tmp_path, "echo paged"))
    assert b"paged" not in shown and b"\x1b" not in shown


def commands_of_the_harness() -> list[str]:
    pages = [environment.PROJECT_DIR / "README.md", *PAGES.rglob("*.md")]
    pages.append(environment.PROJECT_DIR / ".github" / "CONTRIBUTING.md")
    found = []
    for page in pages:
        for number, part in enumerate(page.read_text().split("```")):
            if number % 2:
                lines = [line.partition("  #")[0].strip() for line in part.splitlines()]
            else:
                lines = [" ".join(text.split()) for text in part.split("`")[1::2]]
            found += [line for line in lines if line.startswith(HARNESS)]
    return found


def test_every_named_command_of_the_harness_exists():
    """Placeholders are written in capitals or brackets."""
    commands = commands_of_the_harness()
    assert len(commands) > 20
    for command in commands:
        words = shlex.split(command.removeprefix(HARNESS).replace("[", "").replace("]", ""))
        if words[0] == "report":
            continue  # `main` forwards this command; test_report_page.py runs it.
        words = ["1" if word == "N" else word.replace("TARGET…", "scan") for word in words]
        words = [word.replace("RELEASE…", "2026.10.26") for word in words]
        told = io.StringIO()
        with contextlib.redirect_stderr(told):
            try:
                cli._parse(words)
            except SystemExit:
                pytest.fail(f"{command}: {told.getvalue()}")


def shape_of(screen: str) -> list[str]:
    """Returns the names of the values that `status` shows, line by line, and the header of its
    table."""
    kinds = ("PROBLEM", "WARNING", "NOTE", "Nothing is wrong.")
    names = [re.split(r"  +", line)[0] for line in screen.splitlines() if re.match("[A-Z]", line)]
    heads = [line for line in screen.splitlines() if line.startswith("BLOCK")]
    return [*heads, *(name for name in names if name not in kinds)]


def test_the_screen_of_status_looks_like_the_example(start, connect):
    page = (PAGES / "operate.md").read_text()
    (example,) = [part.split("```")[0] for part in page.split("```text\n")[1:]]
    enlisted(start, connect, 2)
    shown = subprocess.run([environment.binary(), "status"], capture_output=True, text=True).stdout
    assert shape_of(example) == shape_of(shown), shown


def test_every_topic_that_a_page_names_exists():
    pages = [environment.PROJECT_DIR / "README.md", *PAGES.rglob("*.md")]
    text = " ".join(" ".join(page.read_text() for page in pages).split())
    topics = set(re.findall(r"htex-interchange guide ([a-z-]+)", text + guide().stdout))
    assert "troubleshoot" in topics
    for topic in topics:
        told = guide(topic)
        assert told.returncode == 0, told.stderr


def python_examples() -> list[str]:
    pages = [environment.PROJECT_DIR / "README.md", *PAGES.rglob("*.md")]
    blocks = [part for page in pages for part in page.read_text().split("```python\n")[1:]]
    return [block.split("```")[0] for block in blocks]


def test_every_short_python_example_runs():
    """Each is an import, or an executor as Parsl's Config takes it. The long example of the page
    `use` runs in test_placement.py."""
    examples = [example for example in python_examples() if example.count("\n") < 5]
    assert len(examples) == len(python_examples()) - 2 == 4
    for example in examples:
        names: dict[str, Any] = {"HighThroughputExecutor": HighThroughputExecutor}
        if example.startswith("from "):
            exec(example, names)
            ours = htex_interchange.HighThroughputExecutor
            assert names["HighThroughputExecutor"] is ours
        else:
            made = eval(example, names)
            assert made.interchange_launch_cmd == ["htex-interchange"]


def test_the_slurm_example_is_a_configuration():
    """Nothing is started: the example of the page `use` must only be one that Parsl accepts."""
    (example,) = [example for example in python_examples() if "SlurmProvider(" in example]
    names: dict[str, Any] = {}
    exec(example, names)
    (executor,) = names["config"].executors
    assert executor.interchange_launch_cmd == ["htex-interchange"]
    assert executor.provider.nodes_per_block == 2
