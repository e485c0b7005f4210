"""README as a new user plays it: what is read from it, and the play in fresh systems."""

from __future__ import annotations

import ast
import re
from types import SimpleNamespace

import pytest

from harness.publish import fresh_root, newcomer
from harness.publish.fresh_root import Ended
from harness.publish.newcomer import Record, Step
from harness.setup import environment

pytestmark = pytest.mark.ours_only("this is about our own README")

README = (environment.PROJECT_DIR / "README.md").read_text()
PLAY_S = 7200

SAMPLE = """\
# Title

First words.

Install *git*
and make:

```sh
git clone there   # a copy
# only a comment

cd there
```

```python
not = "a step"
```

Then this:

```sh
run '#1'
```
"""


def test_steps_are_the_commands_of_the_shell_blocks():
    assert newcomer.steps_of(SAMPLE) == [
        Step(9, "git clone there", "Install *git* and make:"),
        Step(12, "cd there", "Install *git* and make:"),
        Step(22, "run '#1'", "Then this:"),
    ]


def test_the_table_has_all_of_readme_and_nothing_else():
    assert newcomer.strangers(README) == []


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("harness demo ", "harness show ", "README says `python3 python_harness show`, and nobody"),
        ("harness demo ", "harness show ", "README no longer says `python3 python_harness demo`"),
        ("environment that has Parsl", "environment", "README no longer says 'into the environ"),
        ("Debian's packages", "You need", "names none of Debian's packages"),
        ("import HighThroughputExecutor  #", "import Other\n#", "`from htex_interchange import O"),
        ("```python\nHigh", "```text\nHigh", "no Python for my_config.py"),
    ],
)
def test_a_changed_readme_is_noticed(before, after, fault):
    changed = README.replace(before, after)
    assert changed != README
    assert [one for one in newcomer.strangers(changed) if fault in one]


def test_the_versions_in_readme_are_those_that_are_needed():
    manifest = (environment.PROJECT_DIR / "Cargo.toml").read_text()
    rust = re.search(r'^rust-version = "(.+)"', manifest, re.MULTILINE)[1]
    tree = ast.parse((environment.HARNESS_DIR / "__main__.py").read_text())
    (oldest,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "OLDEST"
    ]
    words = " ".join(README.split())
    assert f"Rust {rust} or newer" in words
    assert f"Python {'.'.join(map(str, oldest))} or newer with its venv module" in words
    assert "python3-venv" in newcomer.packages_of(README)


def test_configurations_are_made_of_the_lines_in_readme():
    made = newcomer.configurations_of(README)
    names: dict = {}
    exec(made[newcomer.CONFIGURATION], names)
    (executor,) = names["config"].executors
    assert executor.encrypted
    # This executor looks for its binary at once, so it is made only in the play.
    compile(made[newcomer.OF_THE_PACKAGE], "README", "exec")
    assert '(interchange_launch_cmd=["htex-interchange"])' in made[newcomer.CONFIGURATION]
    assert "HighThroughputExecutor(survive=True)" in made[newcomer.OF_THE_PACKAGE]


@pytest.mark.parametrize(
    ("code", "output", "lacks"),
    [
        (127, "sh: 1: git: not found\n", "what brings `git`"),
        (1, "python3: No module named venv\n", "Python's module `venv`"),
        (3, "failed. Remedy: install it (apt install x)\n", "does not say: install it (apt"),
        (0, "demo failed\n", "the output, which lacks /passed/"),
        (1, "no reason\n", "what this command needs, or the program is wrong"),
    ],
)
def test_a_failed_step_names_what_readme_lacks(code, output, lacks, capsys):
    record = Record()
    step = Step(7, "run it", "Install nothing:")
    assert not record.step("builder", step, Ended(code, 1.5, output), "passed")
    (why,) = record.failed
    assert why.startswith("README.md:7: `run it`, after 'Install nothing:': ")
    assert lacks in why
    assert f"FAILED  builder     README.md:7       1.5 s  exit {code}\n" in capsys.readouterr().out


def test_a_step_that_shows_what_it_promises_is_right(capsys):
    record = Record()
    assert record.step("builder", Step(7, "run", "Run:"), Ended(0, 1.5, "a\npassed\n"), "^passed$")
    assert record.failed == []
    assert capsys.readouterr().out.endswith("        $ run\n        | a\n        | passed\n")
    assert not record.step("builder", Step(7, "run", "Run:"), Ended(None, 1.5, ""), "")


def test_a_failed_step_shows_more_of_its_output(capsys):
    output = "undefined symbol\n" + "x" * 5000 + "\n" * 20
    Record().step("builder", Step(7, "run", "Run:"), Ended(0, 1.5, output))
    assert "undefined symbol" not in capsys.readouterr().out
    Record().step("builder", Step(7, "run", "Run:"), Ended(1, 1.5, output))
    told = capsys.readouterr().out
    assert "        | undefined symbol\n" in told
    assert max(map(len, told.splitlines())) < 500


@pytest.mark.long
@pytest.mark.timeout(PLAY_S)
def test_readme_leads_a_new_user_to_a_run(measured):
    why_not = fresh_root.why_not()
    if why_not:
        pytest.skip(why_not)
    failed = newcomer.run(SimpleNamespace(again=False))
    record = newcomer.RECORD.read_text()
    assert failed == 0, record
    seconds = re.findall(r"^ok .* ([0-9.]+) s ", record, re.MULTILINE)
    assert len(seconds) > len(newcomer.PLAYS)
    measured(f"README, played by a new user: {sum(map(float, seconds)) / 60:.0f} min")
