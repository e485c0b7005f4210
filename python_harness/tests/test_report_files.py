"""Which files and lines of events the report reads, and what it says about unusable ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.fakes.history import BEGIN, FOUR_TASKS, change, read, says, start, task
from htex_interchange.report.events import LINE_BYTES_MAX, NoEvents, sources
from htex_interchange.report.recorder import runs_of


def test_dropped_and_unknown_lines(run_of):
    known = run_of(
        [
            *FOUR_TASKS,
            {"t": BEGIN + 12, "event": "weather"},
            task(12, 9, "dreamt"),
            change(12, "bored"),
        ]
    )
    assert known.reading.unknown == {"event weather": 1, "task dreamt": 1, "manager bored": 1}
    assert not known.is_partial and known.events == len(FOUR_TASKS)
    assert says(known)[-1].startswith("3 events of kinds that this report does not know")
    dropped = run_of([*FOUR_TASKS, {"t": BEGIN + 12, "event": "dropped", "lines": 120}])
    assert dropped.is_partial
    told = says(dropped)
    assert told[1].startswith("The interchange left out 120 lines that it could not write")
    assert len(told) == 2, told


# The beginning of an event in the first second of each run.
T = '"t": 1790000001, "event": '

BAD_LINES = {
    "{": "is no JSON object: {",
    "null": "is no JSON object: null",
    "[1]": "is no JSON object: [1]",
    '{"event": "end"}': "has no field 't'",
    '{"t": "soon", "event": "end"}': "'<' not supported between instances of 'float' and 'str'",
    '{"t": NaN, "event": "end"}': "t is nan",
    '{"t": 5, "event": "end"}': "t is 5",
    '{"t": 1790000001, "event": []}': "unhashable type: 'list'",
    '{"t": 1790000001, "event": "task", "task": "5", "state": "done"}': "task is '5'",
    '{"t": 1790000001, "event": "task", "task": 5, "state": "failed"}': "has no field 'reason'",
    "{" + T + '"task", "task": 5, "state": "dispatched", "manager": 7}': "manager is 7",
    "{"
    + T
    + '"task", "task": 5, "state": "dispatched", "manager": "m1", "slots": 0}': "slots is 0",
    "{" + T + '"manager", "manager": "a", "state": "registered"}': "has no field 'workers'",
    "{" + T + '"manager", "manager": "a", "state": "registered", "workers": -1}': "workers is -1",
    '{"t": 1790000001, "event": "manager", "manager": {}, "state": "held"}': "manager is {}",
    '{"t": 1790000001, "event": "dropped", "lines": null}': "lines is None",
    '{"t": 1790000001, "event": "end"} {"t": 1790000001, "event": "end"}': "is no JSON object: ",
    '{"t":1790000001,"event":"end","a":[{"b":1': "is no JSON object: ",
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_bad_line_is_counted_and_named(run_of, line):
    """A bad line changes nothing else in the report."""
    run = run_of([*FOUR_TASKS[:4], line, *FOUR_TASKS[4:]])
    ((file, number, reason),) = run.reading.named
    assert (file, number, run.reading.bad) == ("events.jsonl", 5, 1)
    assert reason.startswith(BAD_LINES[line])
    assert (run.tasks, run.done, run.worker_time.used) == (4, 4, 13) and run.is_partial
    assert any("1 line could not be read" in text.lower() for text in says(run))


def test_many_bad_lines_and_a_huge_one(run_of):
    huge = "x" * (3 * LINE_BYTES_MAX)
    garbage = [f"garbage {number}" for number in range(50)]
    run = run_of([*FOUR_TASKS[:4], *garbage, "", huge, *FOUR_TASKS[4:]])
    assert run.reading.bad == 51 and len(run.reading.named) == 10
    assert run.done == 4 and run.reading.named[9][1] == 4 + 10


def test_a_line_that_is_too_long_to_keep(run_of):
    huge = "x" * (3 * LINE_BYTES_MAX + 5)
    run = run_of([*FOUR_TASKS[:4], huge, "garbage", *FOUR_TASKS[4:]])
    assert [(line, reason) for _, line, reason in run.reading.named] == [
        (5, "longer than 1,048,576 bytes"),
        (6, "is no JSON object: garbage"),
    ]
    assert run.done == 4


def test_two_objects_that_only_join_into_one_line(run_of):
    """Lines are parsed together for speed; two invalid lines must not become valid when they are
    joined."""
    run = run_of([*FOUR_TASKS[:-1], '{"a": [{"b": 1}', '{"c": 2}]}', FOUR_TASKS[-1]])
    assert run.reading.bad == 2 and run.done == 4 and run.end is not None


def test_a_line_that_was_cut_off(tmp_path):
    place = tmp_path / "events.jsonl"
    whole = "".join(json.dumps(event) + "\n" for event in FOUR_TASKS)
    for cut in range(1, len(json.dumps(FOUR_TASKS[-1])) - 1):
        place.write_text(whole[: -1 - cut])
        (run,) = read(place)
        assert run.reading.cut_off and not run.reading.bad and not run.is_partial
        assert run.done == 4 and run.end is None and run.until == BEGIN + 10
        assert any("The last line is cut off." in text for text in says(run))
    place.write_text(whole[:-1])
    (run,) = read(place)
    assert run.end is not None and not run.reading.cut_off


def test_rotated_files_are_read_oldest_first(tmp_path):
    """Each file holds one line; file 10 is older than file 9."""
    names = ["events.jsonl", *(f"events.jsonl.{number}" for number in range(1, 15))]
    for name, event in zip(names, reversed(FOUR_TASKS), strict=True):
        (tmp_path / name).write_text(json.dumps(event) + "\n")
    (tmp_path / "events.jsonl.bak").write_text("not one of them\n")
    (source,) = sources(tmp_path)
    assert [path.name for path in source.files] == names[::-1] and not source.missing
    (run,) = runs_of(source)
    assert (run.done, run.worker_time.used, run.set_back_s) == (4, 13, 0) and run.start
    assert run.may_lack_beginning
    (tmp_path / "events.jsonl.6").unlink()
    (source,) = sources(tmp_path / "events.jsonl.3")
    assert source.missing == (6,)
    (run,) = runs_of(source)
    assert run.is_partial and any(
        "rotated files are missing (number 6)" in text.lower() for text in says(run)
    )


def rotated(folder: Path, events: list[dict], count: int) -> Path:
    """Writes this many files, each with the `start` line that the interchange repeats in all of
    them."""
    size = -(-len(events) // count)
    parts = [events[at : at + size] for at in range(0, len(events), size)]
    for number, part in enumerate(reversed(parts)):
        name = f"events.jsonl.{number}" if number else "events.jsonl"
        lines = [json.dumps(event) + "\n" for event in (start(), *part)]
        (folder / name).write_text("".join(lines))
    return folder / "events.jsonl"


def test_a_start_line_in_each_file_is_one_run(tmp_path):
    place = rotated(tmp_path, FOUR_TASKS[1:], 4)
    (run,) = read(place)
    assert (run.done, run.worker_time.used, run.duration_s) == (4, 13, 12)
    assert run.set_back_s == 0 and not run.is_partial
    assert says(run)[1].startswith("Workers had a task for 59 %")


def test_files_that_were_removed(tmp_path):
    """With four older files, it is unknown whether there were more. The remaining events begin with
    their first change, not with the process."""
    (run,) = read(rotated(tmp_path, FOUR_TASKS[1:], 5))
    assert run.may_lack_beginning and run.is_partial and not run.orphans
    assert run.begin == BEGIN + 1 and run.start["label"] == "htex"
    assert says(run)[1].startswith("The beginning may be missing")
    (tmp_path / "later").mkdir()
    (run,) = read(rotated(tmp_path / "later", FOUR_TASKS[9:], 6))
    assert run.begin == BEGIN + 4 and run.duration_s == 8
    # All four tasks, and the manager.
    assert run.orphans == 5 and run.tasks == 4 and run.done == 4
    assert not any("worker" in text and "%" in text for text in says(run))


def test_a_run_after_a_killed_run(tmp_path):
    """Half a line of the killed process precedes the first line of the next process."""
    place = tmp_path / "events.jsonl"
    later = [{**event, "t": event["t"] + 100} for event in FOUR_TASKS]
    whole = "".join(json.dumps(event) + "\n" for event in FOUR_TASKS)
    for cut in (1, 20, 40):
        whole_again = "".join(json.dumps(event) + "\n" for event in later)
        place.write_text(whole[: -1 - cut] + whole_again)
        first, second = read(place)
        assert first.end is None and second.end is not None and first.reading.bad == 1
        assert (first.done, second.done) == (4, 4) and second.begin == BEGIN + 100


def test_several_interchanges_and_runs(tmp_path):
    """Each label has its own file; a file that several processes appended to holds several runs."""
    lines = "".join(json.dumps(event) + "\n" for event in FOUR_TASKS)
    for place in ("000/one/events.jsonl", "000/two/log.jsonl", "001/one/events.jsonl"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(lines)
    (tmp_path / "000" / "other.jsonl").write_text('{"time": 1}\n')
    (tmp_path / "001" / "one" / "events.jsonl").write_text(lines + lines.replace("htex", "next"))
    assert [source.name for source in sources(tmp_path)] == [
        "000/one/events.jsonl",
        "000/two/log.jsonl",
        "001/one/events.jsonl",
    ]
    runs = read(tmp_path)
    assert [run.start["label"] for run in runs] == ["htex", "htex", "htex", "next"]
    assert [(run.done, run.worker_time.used) for run in runs] == [(4, 13)] * 4


@pytest.mark.parametrize("content", [None, "", "nothing\n", '{"t": 1}\n'])
def test_no_events_says_how_to_get_them(tmp_path, content):
    if content is not None:
        (tmp_path / "events.jsonl").write_text(content)
    with pytest.raises(NoEvents) as refused:
        sources(tmp_path)
    assert '["htex-interchange", "--events", "events.jsonl"]' in str(refused.value)
    with pytest.raises(NoEvents, match="does not exist"):
        sources(tmp_path / "absent")


def test_files_of_other_executors_are_named(tmp_path):
    """Two executors with the same file name: the second one's file lies beside the first one's."""
    for name in ("events.jsonl", "events.htex2.jsonl", "events.htex2.jsonl.1", "other.jsonl"):
        (tmp_path / name).write_text(json.dumps(start()) + "\n")
    (tmp_path / "events.notes.jsonl").write_text("no events\n")
    for name, other in (("events", "events.htex2"), ("events.htex2", "events")):
        (run, *_) = read(tmp_path / f"{name}.jsonl")
        assert f"Other event files in the folder of {name}.jsonl: {other}.jsonl." in says(run)
