"""The protocol page, its frames, and the rules tested against htex-interchange, Parsl's
interchange, and broken copies of it."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys

import pytest

from harness import cli
from harness.conformance import frames, page, run, stock
from harness.conformance.copies import COPIES
from harness.conformance.registry import checks
from harness.fakes.wire import HEARTBEAT_CODE
from harness.htex.interchange import command_under_test, stock_under_test
from harness.setup import environment

# Rules about a dialect that no release has.
NOT_PLAYED = {"P-1.15.1"}

# The least number of rules that apply to the newest release's dialect.
TRIED_MIN = 122

# The broken copy that is tested in every run; the others take minutes.
FIRST_COPY = "results are pickled anew"


def broken(outcomes: list[dict]) -> dict[str, str]:
    return {each["number"]: each["detail"] for each in outcomes if each["state"] == "broken"}


def neighbours(copy) -> list[str]:
    """Returns the rules in the sections that a copy changes, without those that Parsl's interchange
    breaks."""
    return [
        number
        for number in page.rules()
        if number.rpartition(".")[0] in copy.sections and number not in stock.BREAKS
    ]


def test_every_rule_of_an_interchange_is_played():
    binding = {rule.number for rule in page.rules().values() if rule.binds_the_interchange}
    assert binding - checks().keys() == NOT_PLAYED
    assert checks().keys() <= binding


def test_rules_read_as_rules():
    found = []
    for rule in page.rules().values():
        parties = ("The interchange ", "An executor ", "A manager ")
        if not rule.sentence.startswith(parties) or not rule.reason:
            found.append(rule.number)
        if not {"must", "may"} & set(rule.sentence.split()):
            found.append(rule.number)
    assert found == []


def test_rule_numbers_are_ascending():
    """The rules' numbers are unique and ascending."""
    found = [tuple(map(int, number[2:].split("."))) for number in page.rules()]
    assert found == sorted(set(found))


def test_rules_named_in_code_exist():
    named = set()
    for path in (environment.PROJECT_DIR / "src").rglob("*.rs"):
        named |= set(page.NAMED.findall(path.read_text()))
    assert named and named <= page.rules().keys()


@pytest.mark.skipif(
    pickle.DEFAULT_PROTOCOL != frames.PROTOCOL, reason="Parsl's pickles are of another protocol"
)
def test_the_page_of_frames_is_up_to_date():
    """In a process of its own: which strings are one object, and so how Python pickles them,
    depends on what ran before."""
    program = "from harness.conformance import frames; print(frames.page_text(), end='')"
    made = subprocess.check_output(
        [sys.executable, "-c", program], cwd=environment.HARNESS_DIR, text=True
    )
    assert frames.PATH.read_text() == made, (
        "python -m harness.conformance.frames writes the page anew"
    )


def test_frames_name_rules_of_the_page():
    assert {message.rule for message in frames.good() + frames.bad()} <= page.rules().keys()


@pytest.mark.skipif(
    pickle.DEFAULT_PROTOCOL != frames.PROTOCOL, reason="stock's pickles are of another protocol"
)
def test_stock_sends_these_frames(start, connect):
    """Parsl's own interchange sends each kind of answer exactly as the page shows it, byte by
    byte."""
    wanted = {message.name: message.frames[0] for message in frames.good()}
    side = start(command=environment.stock_command(), _check_python_mismatch=False)
    manager = connect(side)
    manager.probe()
    for frame in (frames.tasks()[0], frames.tasks()[1]):
        side.submit_raw(pickle.dumps(frame, frames.PROTOCOL))
    # Both tasks are queued before a manager registers.
    side.settle_log()
    manager.send_frames(wanted["registration"])
    batch = manager.receive()
    # `settle_log` has sent another task, which has no priority and is dispatched later.
    assert pickle.loads(batch) == [frames.tasks()[1], frames.tasks()[0]]
    assert batch == wanted["batch"]
    assert side.command_raw(wanted["managers"]) == wanted["managers-answer"]
    manager.send_frames(wanted["heartbeat"])
    echo = manager.receive()
    assert echo == wanted["heartbeat-echo"] and pickle.loads(echo) == HEARTBEAT_CODE
    manager.send_frames(wanted["drain"])
    manager.send_frames(wanted["result"])
    assert side.result_raw() == wanted["result"]
    manager.answer(2)
    assert manager.receive() == wanted["drained"]
    side.interchange.end()


def test_vectors(tmp_path):
    assert cli.main(["conformance", "--vectors", str(tmp_path / "vectors")]) == 0
    index = json.loads((tmp_path / "vectors" / "index.json").read_text())
    names = [entry["name"] for entry in index]
    assert len(names) == len(set(names)) and {"registration", "bad-empty"} <= set(names)
    for entry in index:
        assert entry["rule"] in page.rules()
        for frame in entry["frames"]:
            raw = (tmp_path / "vectors" / frame["file"]).read_bytes()
            assert raw.hex() == frame["hex"]


@pytest.mark.skipif(stock_under_test(), reason="it is stock's own test below")
@pytest.mark.timeout(300)
def test_ours_keeps_every_rule():
    outcomes = run.played(command_under_test(), None, [])
    assert broken(outcomes) == {}
    assert sum(each["state"] == "holds" for each in outcomes) >= TRIED_MIN
    assert [each["number"] for each in outcomes] == list(page.rules())


@pytest.mark.long
@pytest.mark.timeout(600)
def test_stock_breaks_what_is_listed():
    outcomes = run.played(environment.stock_command(), None, [])
    assert broken(outcomes).keys() == stock.BREAKS.keys(), broken(outcomes)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "name",
    [name if name == FIRST_COPY else pytest.param(name, marks=pytest.mark.long) for name in COPIES],
)
def test_rules_that_a_copy_breaks_are_reported(name, tmp_path):
    copy = COPIES[name]
    outcomes = run.played(copy.write(tmp_path), None, neighbours(copy))
    assert broken(outcomes).keys() == copy.breaks, broken(outcomes)


def test_a_command_that_does_not_serve(tmp_path, capfd):
    """A command that is no interchange breaks rules, and the run continues to its end."""
    words = ["conformance", "--json", "--rule", "P-1.2.8", "--rule", "P-1.10.1", "--", "false"]
    assert cli.main(words) == 1
    document = json.loads(capfd.readouterr().out)
    assert document["command"] == ["false"]
    states = {each["number"]: each["state"] for each in document["rules"]}
    assert states == {"P-1.2.8": "holds", "P-1.10.1": "broken"}
    assert all(each["page"] == page.NAME and each["sentence"] for each in document["rules"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "needs the command of an interchange"),
        (["--", "no-such-program"], "there is no program no-such-program"),
        (["--rule", "P-9.9.9", "--", "false"], "has no rule P-9.9.9"),
        (["--release", "2024.01.01", "--", "false"], "begins with release"),
    ],
)
def test_wrong_arguments(words, said, capfd):
    assert cli.main(["conformance", *words]) == 2
    assert said in capfd.readouterr().err
