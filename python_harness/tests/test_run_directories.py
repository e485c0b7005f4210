"""Run directories with characters that are special to a shell: Parsl fails in some of them, which
`doctor` reports beforehand; the interchange serves in each."""

from __future__ import annotations

import os

import parsl
import pytest
from test_doctor import diagnosis

from harness.htex import executors
from harness.setup import environment

SECONDS = 60
# Characters that cause no problem, all in one name.
PLAIN = "a#b~c!d*e[1]=f,g%h@i+Zoë"
APART = ("a b", "it's", 'a"b', "a$b", "a&b", "a;b", "a(b", "a{b}", "a\\b", "a|b", "a<b", "a`b")
# With these names the shell or Python raises an error, and Parsl fails at once.
TOLD_TO_PARSL = ("it's", "a{b}", "a|b")


@pytest.mark.parametrize("name", [*APART, "a\nb", os.fsdecode(b"Zo\xeb")])
def test_the_interchange_serves_in_any_run_directory(start, tmp_path, name):
    side = start(logdir=str(tmp_path / name / "htex"))
    assert side.command("MANAGERS") == []
    assert (tmp_path / name / "htex" / "interchange.log").exists()


CONFIGS = """
from parsl import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider

for place, run_dir in enumerate({run_dirs!r}):
    globals()[f"config{{place}}"] = Config(
        executors=[
            HighThroughputExecutor(
                label=str(place), address="127.0.0.1", provider=LocalProvider(),
                interchange_launch_cmd=[{binary!r}],
            )
        ],
        run_dir=run_dir,
    )
"""


@pytest.mark.ours_only("this is about our own command line")
def test_doctor_reports_problematic_run_directories(tmp_path):
    names = [PLAIN, *APART, ""]
    run_dirs = [name and str(tmp_path / name) for name in names]
    file = tmp_path / "configs.py"
    file.write_text(CONFIGS.format(run_dirs=run_dirs, binary=str(environment.binary())))
    found = [one for one in diagnosis(file)["findings"] if one["severity"] == "problem"]
    told = {(one["id"], one["executor"]) for one in found}
    assert told == {("run-dir-name", str(place)) for place in range(1, len(names))}
    assert all(one["evidence"] for one in found)


@pytest.mark.parametrize("name", [PLAIN, *TOLD_TO_PARSL])
def test_parsl_fails_in_problematic_run_directories(tmp_path, name):
    config = executors.kernel_config(tmp_path / name)
    config.strategy = "simple"
    config.strategy_period = 0.2
    with parsl.load(config):
        task = parsl.python_app(abs)(-1)
        failure = task.exception(SECONDS)
    assert (failure is None) == (name == PLAIN), failure
    if failure is not None:
        assert "Failed to start block" in str(failure)
