"""Services that only report on a run do not decide about it. If metrics, events or status cannot be
provided as requested, the run goes on, and the log and `status` say why. With `--strict` the start
is refused."""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from harness.htex.interchange import command_under_test
from harness.machine.waiting import wait_until
from harness.setup import environment

pytestmark = pytest.mark.ours_only("stock has no such services")

DIRECTORY_VARIABLE = "HTEX_INTERCHANGE_STATUS_DIR"
WITHIN_S = 5.0
# The id of a user that may not use a port below 1024.
NOBODYS_ID = 54_322
SOCKET_NAME_MAX = 107

METRICS = "Continuing without metrics: cannot listen for metrics at "
PORT_FILE = "Continuing without the file with the port of metrics: "
EVENTS = "Continuing without events: events cannot be written to "
STATUS = "Continuing without status: no directory is suitable for the status socket: "


def taken_port(place: Path):
    listener = socket.create_server(("127.0.0.1", 0))
    return ["--metrics", str(listener.getsockname()[1])], METRICS, "in use", listener


def forbidden_port(place: Path):
    return ["--metrics", "1"], METRICS, "Permission denied", as_nobody(place)


def address_not_here(place: Path):
    return ["--metrics", "192.0.2.1:9464"], METRICS, "Cannot assign requested address", None


def port_file_nowhere(place: Path):
    words = ["--metrics", "0", "--metrics-port-file", str(place / "no" / "port")]
    return words, PORT_FILE, "No such file", None


def event_directory_cannot_be_made(place: Path):
    (place / "file").write_text("")
    return ["--events", str(place / "file" / "events.jsonl")], EVENTS, "File exists", None


def event_disk_is_full(place: Path):
    return ["--events", "/dev/full"], EVENTS, "No space left", None


def event_pipe_without_a_reader(place: Path):
    os.mkfifo(place / "pipe")
    return ["--events", str(place / "pipe")], EVENTS, "No such device or address", None


def event_file_system_is_read_only(place: Path):
    return ["--events", "/proc/events.jsonl"], EVENTS, "events.jsonl", None


def event_file_may_not_grow(place: Path):
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    return ["--events", str(place / "events.jsonl")], EVENTS, "File too large", limited


def status_path_is_too_long(place: Path):
    long = place / ("x" * (SOCKET_NAME_MAX + 1))
    return [], STATUS, "path must be shorter", {DIRECTORY_VARIABLE: str(long)}


def status_directory_is_shared(place: Path):
    (place / "shared").mkdir(mode=0o755)
    (place / "shared").chmod(0o755)
    return [], STATUS, "with mode 0700", {DIRECTORY_VARIABLE: str(place / "shared")}


def status_directory_is_a_file(place: Path):
    (place / "file").write_text("")
    return [], STATUS, "must be a directory", {DIRECTORY_VARIABLE: str(place / "file")}


TROUBLES = [
    taken_port,
    forbidden_port,
    address_not_here,
    port_file_nowhere,
    event_directory_cannot_be_made,
    event_disk_is_full,
    event_pipe_without_a_reader,
    event_file_system_is_read_only,
    event_file_may_not_grow,
    status_path_is_too_long,
    status_directory_is_shared,
    status_directory_is_a_file,
]


def as_nobody(place: Path):
    """Returns the function that makes a process run as an unprivileged user, who gets access to
    everything that is needed."""
    if os.getuid() != 0:
        return lambda: None
    os.chown(place / "sockets", NOBODYS_ID, NOBODYS_ID)

    def become() -> None:
        os.setgroups([])
        os.setgid(NOBODYS_ID)
        os.setuid(NOBODYS_ID)

    return become


@pytest.fixture
def open_place():
    """A directory that every user can reach, with a program that every user can run."""
    with tempfile.TemporaryDirectory(prefix="htex-side-") as name:
        place = Path(name)
        shutil.copy(command_under_test()[0], place / "htex-interchange")
        (place / "log").mkdir()
        (place / "sockets").mkdir()
        for path in (place, place / "htex-interchange", place / "log"):
            path.chmod(0o777)
        (place / "sockets").chmod(0o700)
        yield place


@pytest.fixture
def launched(start, open_place):
    """`launched(trouble, *words)` starts an interchange in that trouble. It returns the submit
    side, the interchange, the beginning of the expected warning, and the reason."""
    held = []

    def launch(trouble, *words: str):
        arguments, says, reason, how = trouble(open_place)
        held.append(how)
        side = start(launch=False, logdir=str(open_place / "log"))
        popen: dict = {"env": os.environ | {DIRECTORY_VARIABLE: str(open_place / "sockets")}}
        if isinstance(how, dict):
            popen["env"] |= how
        elif callable(how):
            popen["preexec_fn"] = how
        command = [str(open_place / "htex-interchange"), *arguments, *words]
        interchange = side.launch(command, **popen)
        return side, interchange, says, reason

    yield launch
    for one in held:
        if isinstance(one, socket.socket):
            one.close()


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.__name__)
def test_the_run_continues_without_a_side_service_and_says_why(launched, connect, trouble):
    side, interchange, says, reason = launched(trouble)
    manager = connect(side).enlist(side)
    side.submit(1)
    manager.answer(manager.tasks(1)[0]["task_id"])
    assert side.result()["task_id"] == 1
    if trouble is event_file_may_not_grow:
        # The log may not grow either: the test only sees that the interchange lives.
        return
    (warning,) = interchange.log_lines("WARNING", "Continuing without")
    assert says in warning and reason in warning and "--strict" in warning


@pytest.mark.expect_death
@pytest.mark.expect_error("refused to start")
@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.__name__)
def test_a_strict_start_without_a_side_service_is_refused(launched, trouble):
    side, interchange, says, reason = launched(trouble, "--strict")
    what = says.split(": ", 1)[1].removesuffix(": ")
    with pytest.raises(ValueError, match=f"refused to start: {what}") as caught:
        side.command("WORKER_BINDS", within_s=3)
    assert reason in str(caught.value)
    assert interchange.wait_exit(within_s=3) == 1
    # A request sent over a connection from before the refusal would be lost.
    assert "Connected to client" not in interchange.log()


def status(directory: Path, *words: str) -> tuple[int, str]:
    told = subprocess.run(
        [environment.binary(), "status", *words],
        env=os.environ | {DIRECTORY_VARIABLE: str(directory)},
        capture_output=True,
        text=True,
        timeout=20,
    )
    return told.returncode, told.stdout + told.stderr


def test_status_names_what_is_served_and_what_is_not(start, tmp_path):
    sockets = Path(os.environ[DIRECTORY_VARIABLE])
    port_file = tmp_path / "metrics.port"
    command = [*command_under_test(), "--metrics", "0", "--events", "events.jsonl"]
    side = start(command=[*command, "--metrics-port-file", str(port_file)])
    port = int(port_file.read_text())
    at = f"http://127.0.0.1:{port}/metrics"
    _, text = status(sockets, str(side.interchange.logdir))
    assert f"Metrics        {at}\n" in text
    assert f"Events         {side.interchange.logdir / 'events.jsonl'}\n" in text
    _, text = status(sockets, "--json", str(side.interchange.logdir))
    document = json.loads(text)
    assert document["metrics"] == {"asked_for": "127.0.0.1:0", "at": at, "trouble": None}
    other = start(command=[*command_under_test(), "--metrics", str(port), "--events", "/dev/full"])
    _, text = status(sockets, str(other.interchange.logdir))
    asked = f"Metrics were requested at 127.0.0.1:{port}, but the interchange does not serve them"
    assert f"{asked}: cannot listen" in text
    asked = "Events were requested, but the interchange does not write them"
    assert f"{asked}: events cannot be written to /dev/" in text
    assert (
        "\nMetrics        not running at 127.0.0.1" in text
        and "\nEvents         not running at /dev/full" in text
    )
    side.interchange.terminate()
    assert not port_file.exists()


def test_the_port_of_a_killed_run_is_not_left_for_one_without_metrics(start, tmp_path):
    """Otherwise a program would read a port at which no metrics are served."""
    port_file = tmp_path / "metrics.port"
    command = [*command_under_test(), "--metrics-port-file", str(port_file), "--metrics"]
    killed = start(command=[*command, "0"])
    port = int(port_file.read_text())
    killed.interchange.end()
    assert int(port_file.read_text()) == port
    start(command=[*command, "192.0.2.1:9464"])
    assert not port_file.exists()


def test_a_run_whose_directory_was_purged_says_so(start, connect, tmp_path):
    sockets = Path(os.environ[DIRECTORY_VARIABLE])
    run = tmp_path / "runinfo" / "000"
    side = start(logdir=str(run / "htex"))
    connect(side).enlist(side)
    shutil.rmtree(run)
    for named in (run, run / "htex"):
        _, text = status(sockets, str(named))
        assert "The log was removed during the run" in text
        assert "slow" not in text and "disk" not in text
    exit_status, text = status(sockets, str(tmp_path / "runinfo" / "001"))
    assert exit_status == 2 and "No such file or directory" in text


def test_a_status_socket_that_was_swept_away(start, tmp_path, monkeypatch):
    with tempfile.TemporaryDirectory(prefix="htex-") as name:
        sockets = Path(name)
        monkeypatch.setenv(DIRECTORY_VARIABLE, name)
        side = start()
        logdir = side.interchange.logdir
        (swept,) = sockets.glob("*.sock")
        swept.unlink()
        exit_status, text = status(sockets, str(logdir))
        assert exit_status == 3 and f"its process {side.interchange.pid} runs here" in text
        assert "its socket was removed" in text and "The run continues" in text


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_two_interchanges_with_one_events_file_write_one_each(start, connect, tmp_path):
    shared = tmp_path / "events.jsonl"
    shared.write_text('{"t": 1.0, "event": "end", "reason": "an earlier run"}\n')
    command = [*command_under_test(), "--events", str(shared)]
    sides = [start(command=command, logdir=str(tmp_path / label)) for label in ("one", "two")]
    for side in sides:
        manager = connect(side).enlist(side)
        side.submit(7)
        manager.answer(manager.tasks(1)[0]["task_id"])
        side.result()
    files = [shared, tmp_path / "events.two.jsonl"]
    assert sorted(tmp_path.glob("events*")) == sorted(files)
    for file, label in zip(files, ("one", "two"), strict=True):
        wait_until(lambda file=file: '"state":"done"' in file.read_text(), WITHIN_S, "it is done")
        labels = [line["label"] for line in lines(file) if line["event"] == "start"]
        tasks = [line["state"] for line in lines(file) if line["event"] == "task"]
        assert labels == [label] and tasks == ["queued", "dispatched", "done"]
    assert sides[0].interchange.log_lines("WARNING") == []
    (warning,) = sides[1].interchange.log_lines("WARNING")
    assert f"writes events to {shared}: this one writes to {files[1]}" in warning
    _, text = status(Path(os.environ[DIRECTORY_VARIABLE]), str(tmp_path / "two"))
    assert f"so this interchange writes its own to {files[1]}." in text
    # An interchange that starts after the first one has ended appends to the first one's file, as
    # to any existing file.
    sides[0].interchange.terminate()
    start(command=command, logdir=str(tmp_path / "three"))
    wait_until(lambda: '"label":"three"' in shared.read_text(), WITHIN_S, "it is gone on with")


def test_an_interchange_in_a_container_is_visible_outside(start):
    """The interchange has another process id inside its container than outside. Outside, that id
    belongs to another process, or to none. The first process of the container is its keeper."""
    sockets = Path(os.environ[DIRECTORY_VARIABLE])
    container = ["unshare", "--user", "--map-root-user", "--pid", "--mount-proc", "--fork"]
    container.append("--kill-child")
    if subprocess.run([*container, "true"], capture_output=True).returncode != 0:
        pytest.skip("no namespace of one's own can be had here")
    side = start(command=[*container, *command_under_test()])
    logdir = str(side.interchange.logdir)
    for outside in ([], container[:-1]):
        told = subprocess.run(
            [*outside, str(environment.binary()), "status", logdir],
            capture_output=True,
            text=True,
            timeout=20,
        )
        assert "Nothing is wrong." in told.stdout and "process 2 on " in told.stdout, told
    side.interchange.end()
    (dead,) = sockets.glob("2-*.sock")
    exit_status, _ = status(sockets, logdir)
    assert exit_status == 3 and dead.exists()
