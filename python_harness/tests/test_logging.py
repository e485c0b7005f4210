"""interchange.log: the formats that Parsl can configure, and the lines that its users search
for."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import pytest
from parsl.logconfigs.file import FileLogging
from parsl.logconfigs.json import JSONLogging
from parsl.logconfigs.noop import NoopLogging

from harness.htex.interchange import JSON_KEYS
from harness.machine.waiting import wait_until

DEFAULT_LINE = re.compile(
    r"\d{10}\.\d{6} \d{4}-\d\d-\d\d \d\d:\d\d:\d\d MainProcess-(\d+) \S+-\d+ \S+:\d+ \S+ "
    r"(DEBUG|INFO|WARNING|ERROR): .*"
)


def test_log_exists_when_the_port_is_answered(start):
    side = start(launch=False)
    assert not Path(side.config()["logdir"]).exists()
    side.launch()
    side.command("WORKER_BINDS", within_s=30)
    assert (side.interchange.logdir / "interchange.log").exists()


def test_log_directory_may_be_a_path_object_of_any_depth(start, tmp_path):
    logdir = tmp_path / "several" / "levels" / "down"
    start(logdir=logdir)
    assert (logdir / "interchange.log").exists()


@pytest.mark.parametrize("kind", [str, Path])
def test_log_directory_may_have_bytes_that_are_not_utf8(start, connect, tmp_path, kind):
    logdir = tmp_path / os.fsdecode(b"Zo\xeb")
    side = start(logdir=kind(logdir))
    connect(side).enlist(side)
    assert os.listdir(os.fsencode(tmp_path / os.fsdecode(b"Zo\xeb"))) == [b"interchange.log"]


@pytest.mark.ours_only("stock waits for a reader, whatever signal comes")
def test_an_unread_log_delays_neither_start_nor_end(start, connect, tmp_path):
    logdir = tmp_path / "log"
    logdir.mkdir()
    os.mkfifo(logdir / "interchange.jsonlog")
    side = start(log_config=JSONLogging(level=10), logdir=str(logdir))
    manager = connect(side).enlist(side, max_capacity=500)
    # More lines than a pipe holds.
    for task_id in range(1, 2001):
        side.submit(task_id)
    for _ in range(4):
        for task in manager.tasks(500):
            manager.answer(task["task_id"])
    for _ in range(2000):
        side.result()
    assert side.interchange.terminate() < 4.0


def test_relative_log_directory(start, tmp_path):
    side = start(launch=False, logdir="./htex")
    side.launch(cwd=tmp_path)
    assert side.worker_port
    assert (tmp_path / "htex" / "interchange.log").exists()


def test_default_format(start, connect):
    side = start()
    connect(side).enlist(side)
    side.settle_log()
    lines = side.interchange.log().splitlines()
    matches = [DEFAULT_LINE.fullmatch(line) for line in lines]
    assert len(lines) > 3
    assert [line for line, match in zip(lines, matches, strict=True) if not match] == []
    assert {int(match[1]) for match in matches} == {side.interchange.pid}


def test_each_task_is_logged_at_debug_while_it_runs(start):
    """Parsl's test of priorities searches for this text."""
    side = start(logging_level=10)
    for task_id in (1, 2, 3):
        side.submit(task_id)
        side.interchange.wait_for_log(f"Put task {task_id} onto pending_task_queue")


def test_level_info_is_silent_about_tasks(start, connect):
    side = start(logging_level=20)
    manager = connect(side).enlist(side)
    side.submit(1)
    manager.tasks(1)
    manager.answer(1)
    side.result()
    # The line about this message follows where lines about the task would have been.
    manager.send({"type": "drain"})
    side.interchange.wait_for_log("is drained")
    assert "pending_task_queue" not in side.interchange.log()
    assert side.interchange.log_lines("DEBUG") == []


def test_file_logging_with_a_format_of_the_user(start):
    """The format applies from the first line on: no banner precedes it."""
    side = start(log_config=FileLogging(format_string="XXXXYYYYY %(message)s"))
    side.command("MANAGERS")
    lines = wait_until(lambda: side.interchange.log().splitlines(), 5, "a first line")
    assert lines[0].startswith("XXXXYYYYY ")
    assert all(line.startswith("XXXXYYYYY ") for line in lines)


def test_file_logging_with_every_kind_of_field(start):
    pattern = "%(levelname)-8s|%(levelno)03d|%(process)d|%(name)s|%(created).3f|100%%|%(message)s"
    side = start(log_config=FileLogging(format_string=pattern, level=20))
    side.interchange.wait_for_log("|")
    for line in side.interchange.log().splitlines():
        level, number, process, name, created, percent, message = line.split("|", 6)
        assert re.fullmatch(r"INFO    |WARNING ", level)
        assert number in ("020", "030")
        assert int(process) == side.interchange.pid
        assert name == "parsl.executors.high_throughput.interchange"
        assert re.fullmatch(r"\d{10}\.\d{3}", created)
        assert percent == "100%" and message


def test_file_logging_level_outranks_the_executor(start):
    side = start(log_config=FileLogging(level=30), logging_level=10)
    side.command("MANAGERS")
    side.submit(1)
    side.command("MANAGERS")
    assert side.interchange.log() == ""


def test_file_logging_appends(start):
    side = start(launch=False, log_config=FileLogging())
    logdir = Path(side.config()["logdir"])
    logdir.mkdir()
    (logdir / "interchange.log").write_text("what was there\n")
    side.launch()
    assert side.worker_port
    assert side.interchange.log().startswith("what was there\n")


def test_json_logging(start):
    side = start(log_config=JSONLogging(level=10))
    path = side.interchange.logdir / "interchange.jsonlog"
    side.submit(1)
    wait_until(lambda: "Put task 1 onto" in path.read_text(), 5, "the task in the log")
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for record in records:
        assert record.keys() >= JSON_KEYS
        assert type(record["created"]) is float
        assert type(record["process"]) is int and record["process"] == side.interchange.pid
    assert not (side.interchange.logdir / "interchange.log").exists()


def test_no_logging(start, connect):
    side = start(log_config=NoopLogging())
    manager = connect(side).enlist(side)
    side.submit(1)
    manager.tasks(1)
    assert list(side.interchange.logdir.glob("*")) == []


@pytest.mark.ours_only("stock logs no connections")
def test_connections_are_logged_with_the_address_of_the_peer(start, connect, encrypted):
    side = start(encrypted=encrypted)
    manager = connect(side, watched=True)
    manager.probe()
    _, port = manager.local_endpoint()

    def mentions() -> int:
        return len(re.findall(rf"127\.0\.0\.1(:| port ){port}\b", side.interchange.log()))

    wait_until(mentions, 5, "the connection in the log", context=side.interchange.tail)
    before = mentions()
    manager.close()
    wait_until(
        lambda: mentions() > before,
        5,
        "the disconnection in the log",
        context=side.interchange.tail,
    )


def test_a_peer_cannot_forge_lines(start, connect):
    side = start()
    forged = "x\n1700000000.000000 2026-01-01 00:00:00 MainProcess-1 T-1 n:1 f ERROR: forged"
    manager = connect(side, forged.encode())
    manager.send({"type": "heartbeat"})
    manager.probe()
    manager.register(hostname=forged, block_id=forged)
    manager.beat()
    side.settle_log()
    assert side.interchange.log_lines("WARNING")
    for line in side.interchange.log().splitlines():
        assert DEFAULT_LINE.fullmatch(line), line


def test_stdout_and_stderr_stay_silent(start, connect):
    side = start()
    connect(side).enlist(side)
    side.command("nonsense")
    side.interchange.terminate()
    assert side.interchange.stderr() == ""


@pytest.mark.parametrize(
    "zone",
    [
        None,
        "Europe/Berlin",
        ":America/New_York",
        "EST5EDT",
        "CET-1CEST,M3.5.0,M10.5.0/3",
        "",
        "No/Zone",
    ],
    ids=str,
)
def test_times_are_those_of_the_zone(zone, start, monkeypatch):
    """Times are those of Python's `time.localtime`, in whichever form TZ is written."""
    if zone is None:
        monkeypatch.delenv("TZ", raising=False)
    else:
        monkeypatch.setenv("TZ", zone)
    time.tzset()
    side = start()
    side.interchange.wait_for_log("Bound to port")
    epoch_s, day, clock, *_ = side.interchange.log().splitlines()[0].split()
    expected = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(epoch_s)))
    monkeypatch.undo()
    time.tzset()
    assert f"{day} {clock}" == expected
