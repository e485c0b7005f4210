"""The file of events: one line for each state change, and no task waits for the disk."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from harness.htex import metrics
from harness.machine.waiting import wait_until
from harness.setup import environment

pytestmark = pytest.mark.ours_only("stock writes no events")

WRITTEN_WITHIN_S = 5.0
# Fields of each line about a task.
COMMON = {"t", "event", "task", "state"}


def with_events(*more: str, file: str = "events.jsonl") -> list[str]:
    return [str(environment.binary()), "--events", file, *more]


def lines(path: Path) -> list[dict]:
    """Returns the complete lines of the file."""
    whole, _, _ = path.read_text().rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]


def of_kind(path: Path, kind: str) -> list[dict]:
    return [line for line in lines(path) if line["event"] == kind]


def ended(side, **last) -> Path:
    """Ends the interchange once the file has a line with these fields, and returns the file. Lines
    of the last moment may be lost on a busy disk."""
    path = side.interchange.logdir / "events.jsonl"

    def is_written() -> bool:
        try:
            return any(last.items() <= line.items() for line in lines(path))
        except FileNotFoundError:
            # While files are rotated, the file is missing for a moment.
            return False

    wait_until(is_written, WRITTEN_WITHIN_S, f"{last} is written")
    side.interchange.terminate()
    return path


def test_a_file_whose_name_is_not_utf8(start, connect):
    """The file's name holds a byte that is not valid UTF-8, as Python passes it in the arguments of
    the command."""
    side = start(command=with_events(file="Zo\udceb.jsonl"))
    connect(side).enlist(side)
    path = side.interchange.logdir / "Zo\udceb.jsonl"
    wait_until(lambda: of_kind(path, "manager"), WRITTEN_WITHIN_S, "the registration is written")


@pytest.mark.quick
def test_a_run_can_be_rebuilt_from_its_events(start, connect):
    side = start(command=with_events(), heartbeat_threshold=2)
    first = connect(side, b"first").enlist(side, max_capacity=2, block_id="3", hostname="n1")
    for task_id in (1, 2, 3):
        side.submit(task_id)
    held = [task["task_id"] for task in first.tasks(2)]
    first.answer(held[0])
    assert side.result()["task_id"] == held[0]
    first.tasks(1)
    # The manager falls silent while it holds two tasks.
    assert {side.result(within_s=8)["task_id"] for _ in range(2)} == {1, 2, 3} - {held[0]}
    path = ended(side, event="manager", state="lost")
    tasks = [(line["task"], line["state"]) for line in of_kind(path, "task")]
    assert Counter(state for _, state in tasks) == {
        "queued": 3,
        "dispatched": 3,
        "done": 1,
        "failed": 2,
    }
    for task_id in (1, 2, 3):
        last = "done" if task_id == held[0] else "failed"
        assert [state for task, state in tasks if task == task_id] == ["queued", "dispatched", last]
    failed = [line for line in of_kind(path, "task") if line["state"] == "failed"]
    assert {(line["reason"], line["manager"]) for line in failed} == {("ManagerLost", "first")}
    registered, lost = of_kind(path, "manager")
    assert registered | {"t": 0} == {
        "t": 0,
        "event": "manager",
        "manager": "first",
        "state": "registered",
        "block": "3",
        "host": "n1",
        "workers": registered["workers"],
        "capacity": 2,
    }
    assert lost["state"] == "lost" and lost["tasks"] == 2 and 2 <= lost["silent_s"] < 8
    times = [line["t"] for line in lines(path)]
    assert times == sorted(times)


def test_events_have_what_a_task_requests_and_gets(start, connect):
    """Covers both forms in which a message can state requests; a task without requests has no such
    field."""
    side = start(command=with_events())
    manager = connect(side).enlist(side, worker_count=4, max_capacity=4, cpu_count=8)
    side.submit(1, context={"placement": {"cores": 6, "task_type": "a"}})
    side.submit(2)
    side.submit(3, context={"resource_spec": {"memory": 1}})
    manager.tasks(2)
    manager.answer(1)
    manager.tasks(1)
    manager.answer(2)
    manager.answer(3)
    tasks = of_kind(ended(side, task=3, state="done"), "task")
    fields = {(line["task"], line["state"]): line.keys() - COMMON for line in tasks}
    assert len(fields) == len(tasks) == 9
    needs = {line["task"]: line["needs"] for line in tasks if "needs" in line}
    assert needs == {1: '6 cores, type "a"', 3: "1 MB"}
    assert fields[1, "queued"] == {"needs"} and fields[2, "queued"] == set()
    slots = {line["task"]: line["slots"] for line in tasks if "slots" in line}
    assert slots == {1: 3} and fields[1, "dispatched"] == {"manager", "slots"}
    assert fields[2, "dispatched"] == fields[1, "done"] == {"manager"}


def test_the_first_event_names_the_run_and_the_last_the_reason(start):
    side = start(command=with_events())
    pid = side.interchange.pid
    first, *_, last = lines(ended(side, event="start"))
    assert first["event"] == "start" and first["format"] == 1 and first["pid"] == pid
    assert first["logdir"] == str(side.interchange.logdir)
    assert first["label"] == side.interchange.logdir.name
    assert last["event"] == "end" and last["reason"] == "told to end"


def test_files_are_bounded(start, connect):
    """The files are small on purpose. The newest lines are there, in order, without a gap."""
    side = start(command=with_events("--events-max-bytes", "20000"))
    manager = connect(side).enlist(side, max_capacity=1000)
    count = 2000
    for task_id in range(1, count + 1):
        side.submit(task_id)
    done = 0
    while done < count:
        for task in manager.batch():
            manager.answer(task["task_id"])
            done += 1
    for _ in range(count):
        side.result()
    path = ended(side, task=count, state="done")
    files = [path, *(path.with_name(f"{path.name}.{n}") for n in range(1, 5))]
    assert sorted(path.parent.glob("events.jsonl*")) == sorted(files)
    # The writer writes pieces of up to 64 KiB and does not split them between files.
    assert all(file.stat().st_size <= 20_000 + 65_536 for file in files)
    assert all(lines(file)[0]["event"] == "start" for file in files)
    told = [line for file in reversed(files) for line in lines(file) if line["event"] == "task"]
    newest = [line["task"] for line in told if line["state"] == "done"]
    assert newest == sorted(newest) and newest[-1] == count
    assert newest == list(range(newest[0], count + 1))


def test_a_stalled_disk_costs_lines_and_no_tasks(start, connect, tmp_path):
    """No process reads the far end of the pipe, as if a file system had stalled."""
    pipe = tmp_path / "stalled"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        side = start(command=with_events("--metrics", "0", file=str(pipe)))
        manager = connect(side).enlist(side, max_capacity=500)
        for task_id in range(1, 3001):
            side.submit(task_id)
        done = 0
        while done < 3000:
            for task in manager.batch():
                manager.answer(task["task_id"])
                done += 1
        assert {side.result()["task_id"] for _ in range(3000)} == set(range(1, 3001))
        assert metrics.values(side)["event_lines_dropped_total"] > 1000
        assert side.interchange.terminate() < 4.0
    finally:
        os.close(reader)


def test_a_file_that_is_moved_away_is_followed_by_another(start, connect):
    """The older files stay, however often the file is moved away."""
    side = start(command=with_events("--events-max-bytes", "20000"))
    manager = connect(side).enlist(side, max_capacity=500)
    path = side.interchange.logdir / "events.jsonl"
    oldest = path.with_name("events.jsonl.4")
    ids = iter(range(1, 1_000_000))

    def work() -> None:
        side.submit(next(ids))
        for task in manager.tasks(1):
            manager.answer(task["task_id"])
        side.result()

    def work_until(done, what: str) -> None:
        deadline = time.monotonic() + WRITTEN_WITHIN_S
        while not done():
            assert time.monotonic() < deadline, what
            work()

    def is_rotated() -> bool:
        """Whether a rotation is complete up to its last step, which removes the file beyond those
        that are kept."""
        with suppress(FileNotFoundError):
            if oldest.read_text() == "older 3\n":
                return len(list(path.parent.glob("events.jsonl*"))) == 5
        return False

    for number in range(1, 5):
        path.with_name(f"events.jsonl.{number}").write_text(f"older {number}\n")
    for number in range(3):
        away = path.with_name(f"away-{number}")
        wait_until(path.exists, WRITTEN_WITHIN_S, "there is a file")
        path.rename(away)
        work_until(lambda: path.exists() and lines(path), "there is another file")
        assert lines(path)[0]["event"] == "start"
        assert lines(away)[0]["event"] == "start"
    for number in range(1, 5):
        assert path.with_name(f"events.jsonl.{number}").read_text() == f"older {number}\n"
    side.interchange.wait_for_log("was moved or removed")
    work_until(is_rotated, "one rotation")
    assert lines(path.with_name("events.jsonl.1"))[0]["event"] == "start"
    assert len(side.interchange.log_lines("WARNING")) == 1


def test_a_pipe_is_not_renamed(start, connect, tmp_path):
    pipe = tmp_path / "read"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        side = start(command=with_events("--events-max-bytes", "4096", file=str(pipe)))
        manager = connect(side).enlist(side)
        text = b""
        for task_id in range(1, 51):
            side.submit(task_id)
            manager.tasks(1)
            manager.answer(task_id)
            side.result()
        while b'"task":50,"state":"done"' not in text:
            assert select.select([reader], [], [], WRITTEN_WITHIN_S)[0], text[-1000:]
            piece = os.read(reader, 65536)
            assert piece, text[-1000:]
            text += piece
        assert [path.name for path in tmp_path.glob("read*")] == ["read"]
        assert pipe.is_fifo()
    finally:
        os.close(reader)


def test_a_relative_file_is_below_the_logs_directory(start):
    side = start(command=with_events(file="deep/er/events.jsonl"))
    path = side.interchange.logdir / "deep" / "er" / "events.jsonl"
    wait_until(path.exists, WRITTEN_WITHIN_S, "the file is there")


def test_without_the_flag_there_is_no_file(start, connect):
    side = start()
    connect(side).enlist(side)
    side.interchange.terminate()
    names = {path.name for path in side.interchange.logdir.iterdir()}
    assert names == {"interchange.log"}


# A separate file system of limited size, most of which is occupied at first.
SMALL_DISK = """
mount -t tmpfs -o size={size} tmpfs {place} && head -c {taken} /dev/zero > {place}/ballast
exec "$@"
"""
SMALL_DISK_BYTES, TAKEN_BYTES = 256 << 10, 232 << 10


@pytest.fixture
def small_disk(tmp_path):
    """Starts `--events` on a file system that is nearly full, and which only that process sees."""
    place = tmp_path / "small"
    place.mkdir()
    script = SMALL_DISK.format(size=SMALL_DISK_BYTES, taken=TAKEN_BYTES, place=place)
    unshare = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*unshare, script, "sh", "true"], capture_output=True).returncode != 0:
        pytest.skip("no namespace of one's own can be had here")
    return [*unshare, script, "sh"], place


def test_dropped_lines_are_counted_exactly(start, connect, small_disk):
    """The disk becomes full and is emptied again: lines before, between and after the gaps are told
    apart."""
    prefix, place = small_disk
    command = with_events("--metrics", "0", file=str(place / "events.jsonl"))
    side = start(command=[*prefix, *command])
    seen = Path(f"/proc/{side.interchange.pid}/root{place}")
    path = seen / "events.jsonl"
    manager = connect(side).enlist(side)

    def work(first: int, last: int) -> None:
        for task_id in range(first, last + 1):
            side.submit(task_id)
            manager.answer(manager.tasks(1)[0]["task_id"])
            side.result()

    def dropped() -> float:
        return metrics.values(side)["event_lines_dropped_total"]

    work(1, 300)
    wait_until(lambda: dropped() > 200, WRITTEN_WITHIN_S, "the disk is full")
    (seen / "ballast").unlink()
    work(301, 350)
    last = '"task":350,"state":"done"'
    wait_until(lambda: last in path.read_text(), WRITTEN_WITHIN_S, "lines are written again")
    # No line is torn.
    there = lines(path)
    told = sum(line["lines"] for line in there if line["event"] == "dropped")
    tasks = [line for line in there if line["event"] == "task"]
    states = {(line["task"], line["state"]) for line in tasks}
    assert len(states) == len(tasks)
    assert len(tasks) + told == 3 * 350
    # The page of metrics is renewed only after a while.
    wait_until(lambda: dropped() == told, WRITTEN_WITHIN_S, "metrics tell as many")
    # The line about a gap has the time at which it could be written; later lines may have been
    # waiting by then.
    times = [line["t"] for line in there if line["event"] != "dropped"]
    assert times == sorted(times)
