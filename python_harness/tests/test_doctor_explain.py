"""`htex-interchange doctor --explain ID`: the page on each finding, and how users get to it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from harness.setup import environment

pytestmark = pytest.mark.ours_only("this is about our own command line")

SECONDS = 30
WRONG_ARGUMENTS = 2
# The parts of each page, in this order.
PARTS = ["Shown when: ", "Cause: ", "What to do: ", "Related: "]


def doctor(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [environment.binary(), "doctor", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def unknown(wanted: str) -> tuple[str, dict[str, str]]:
    """Returns the answer to an unknown id: the first line, and the meaning of each suggested id."""
    told = doctor("--explain", wanted)
    assert (told.returncode, told.stdout) == (WRONG_ARGUMENTS, ""), told
    first, _, rest = told.stderr.partition("\n\n")
    return first, dict(re.split("  +", line, maxsplit=1) for line in rest.splitlines())


def test_every_id_has_a_page():
    first, meanings = unknown("no-such-thing-at-all")
    assert "no finding has the id" in first
    assert len(meanings) > 100
    for wanted, meaning in meanings.items():
        told = doctor("--explain", wanted)
        assert (told.returncode, told.stderr) == (0, ""), told
        head, *parts = told.stdout.split("\n\n")
        assert head == wanted
        assert " ".join(parts[0].split()) == meaning
        assert [part for part in PARTS if f"\n\n  {part}" in told.stdout] == PARTS, told.stdout
        assert all(len(line) <= 100 for line in told.stdout.splitlines())


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("never-registred", "never-registered"),
        ("registered", "never-registered"),
        ("Managers-Lost", "manager-lost"),
        ("port-take", "port-taken"),
    ],
)
def test_an_unknown_id_gets_those_near_it(wrong, right):
    first, meanings = unknown(wrong)
    assert right in first.partition("Similar: ")[2]
    assert right in meanings


def test_explain_examines_nothing(tmp_path: Path):
    file = tmp_path / "my_config.py"
    file.write_text(f"open({str(tmp_path / 'trace')!r}, 'w')\n")
    told = doctor("--explain", "manager-lost", str(file))
    assert told.stdout == doctor("--explain", "manager-lost").stdout
    assert not (tmp_path / "trace").exists()


def test_doctor_requires_an_argument():
    told = doctor()
    assert told.returncode == WRONG_ARGUMENTS
    assert "CONFIG.py|RUNDIR|ENDPOINT" in told.stderr
    assert doctor("--explain", "manager-lost", "--json").returncode == WRONG_ARGUMENTS


def test_a_finding_names_its_page(tmp_path: Path):
    (tmp_path / "000" / "htex").mkdir(parents=True)
    line = "2026-11-30 01:02:03.004 interchange:1 MainProcess(7) x [ERROR]  Something odd\n"
    (tmp_path / "000" / "htex" / "interchange.log").write_text(line)
    told = doctor(str(tmp_path / "000"))
    assert told.stdout.endswith("explains this finding; it does so for every finding.\n")
    shown = re.findall("^  ([a-z-]+)", told.stdout, re.MULTILINE)
    assert shown
    for wanted in shown:
        assert doctor("--explain", wanted).returncode == 0, wanted
