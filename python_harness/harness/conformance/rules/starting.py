"""Tests the rules of sections 1.1 (launch), 1.2 (start-up configuration) and 1.12 (log)."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pathlib
import pickle
import socket
import subprocess
import termios
import time

import zmq
from parsl.executors.high_throughput.errors import VersionMismatch
from parsl.serialize import deserialize

from harness.conformance.registry import rule
from harness.conformance.stage import (
    LISTEN_S,
    PATIENCE_S,
    START_S,
    Ended,
    Side,
    Stage,
    Untried,
)
from harness.htex.interchange import JSON_KEYS
from harness.machine.waiting import wait_until

# Contents of stdin that are not a configuration.
NO_CONFIGURATION = {
    "nothing": b"",
    "no pickle": b"hello, this is no pickle\n",
    "a list": pickle.dumps([1, 2, 3]),
    "a dict that is cut off": pickle.dumps({"client_address": "127.0.0.1", "logdir": "x" * 99})[
        :-9
    ],
}


# Variables of a login session that a batch job may lack.
OF_A_SESSION = {"HOME", "USER", "LOGNAME", "SHELL", "TERM", "LANG", "TMPDIR", "PWD", "OLDPWD"}


def refuses(side: Side, what: str) -> None:
    """Starts the interchange, sends WORKER_BINDS as an executor does, and fails unless the
    interchange ends with a nonzero status."""
    side.launch_with()
    side.interchange.expected_to_end = True
    end = time.monotonic() + START_S
    if not side.cert_dir and side.connects_or_ends(side.interchange.process):
        side.commands.send(pickle.dumps("WORKER_BINDS"))
    try:
        code = side.interchange.process.wait(max(0.0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise AssertionError(f"it still runs after {START_S} s with {what}") from None
    assert code != 0, f"it ended with status 0 for {what}"


@contextlib.contextmanager
def taken_port():
    """A port on which another program listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def free_port() -> int:
    with taken_port() as port:
        return port


@contextlib.contextmanager
def taken_but_the_last(count: int):
    """Returns the first of this many ports in a row. Another program uses all of them but the
    last."""
    for _ in range(100):
        with contextlib.ExitStack() as held:
            first = held.enter_context(taken_port())
            try:
                for port in range(first + 1, first + count):
                    beside = held.enter_context(socket.socket())
                    beside.bind(("127.0.0.1", port))
                    beside.listen()
            except (OSError, OverflowError):
                continue
            beside.close()
            yield first
            return
    raise Untried(f"no {count} ports in a row are free")


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def half_configured(stage: Stage, side: Side) -> tuple[subprocess.Popen, bytes]:
    """Returns a process that has read the first half of its configuration, and the second half."""
    raw = pickle.dumps(side.config())
    half = len(raw) // 2
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = stage.popen(stdin=subprocess.PIPE, **quiet)
    process.stdin.write(raw[:half])
    process.stdin.flush()

    def has_read() -> bool:
        unread = fcntl.ioctl(process.stdin, termios.FIONREAD, bytes(4))
        return unread == bytes(4) or process.poll() is not None

    wait_until(has_read, START_S, "it reads its stdin")
    return process, raw[half:]


@rule("P-1.1.2")
def needs_only_its_configuration(stage: Stage) -> None:
    side = stage.side(launch=False)
    env = {name: value for name, value in os.environ.items() if name not in OF_A_SESSION}
    side.start(cwd="/", env=env)
    side.work_goes_on()


@rule("P-1.1.3")
def waits_for_the_whole_pickle(stage: Stage) -> None:
    side = stage.side(launch=False)
    process, rest = half_configured(stage, side)
    early = side.commands.poll(LISTEN_S * 1000, zmq.POLLOUT)
    assert not early, "it connected before it could know where"
    assert process.poll() is None, "it ended before the pickle was whole"
    process.stdin.write(rest)
    process.stdin.close()
    connected = side.connects_or_ends(process)
    assert process.poll() is None, "it ended when it had read half of the pickle"
    assert connected, "it did not connect"


@rule("P-1.1.4")
def is_quiet(stage: Stage) -> None:
    side = stage.side(launch=False, heartbeat_threshold=2)
    said = side.workdir / "stdout"
    with open(said, "wb") as stdout:
        side.start(stdout=stdout)
    manager = stage.manager(side).enlist(side, max_capacity=0)
    # Events that an interchange may warn about; the last one is a lost manager.
    for frames in ([b"no pickle"], [b"", b""], [pickle.dumps({"type": "of tomorrow"})]):
        manager.send_frames(*frames)
    manager.answer(10**6)
    side.command("OF_TOMORROW")
    for name in ("nobody", "manager-a"):
        side.hold(name)
    side.work_goes_on()
    wait_until(lambda: side.managers() == [], 2 + PATIENCE_S, "its managers are lost")
    assert (said.read_bytes(), side.interchange.stderr()) == (b"", "")


@rule("P-1.2.1")
def starts_with_the_keys_of_its_release(stage: Stage) -> None:
    assert 0 < stage.side().worker_port < 65536


@rule("P-1.2.2")
def does_not_monitor_without_a_port(stage: Stage) -> None:
    side = stage.side()
    assert side.config()["hub_address"] and side.config()["hub_zmq_port"] is None
    side.work_goes_on()


@rule("P-1.2.3")
def logdir_as_a_path(stage: Stage) -> None:
    logdir = stage.workdir / "as a path"
    stage.side(logdir=pathlib.Path(logdir)).work_goes_on()
    assert logdir.is_dir(), "it is not there"


@rule("P-1.2.4")
def logdir_is_created(stage: Stage) -> None:
    logdir = stage.workdir / "one" / "below" / "another"
    stage.side(logdir=str(logdir))
    assert logdir.is_dir(), "it is not there"


@rule("P-1.2.5")
def binds_the_worker_port(stage: Stage) -> None:
    port = free_port()
    side = stage.side(worker_port=port)
    assert side.worker_port == port
    side.work_goes_on()


@rule("P-1.2.6")
def chooses_from_the_range(stage: Stage) -> None:
    port = free_port()
    side = stage.side(worker_port_range=(port, port + 1))
    assert side.worker_port == port, f"{side.worker_port} is not in [{port}, {port + 1})"
    with taken_but_the_last(2) as taken:
        full = stage.side(launch=False, worker_port_range=(taken, taken + 1))
        full.launch_with()
        full.interchange.expected_to_end = True
        try:
            reply = full.command_raw(pickle.dumps("WORKER_BINDS"), START_S)
        except Ended:
            return
        assert no_port(reply), f"{pickle.loads(reply)} is not in [{taken}, {taken + 1})"


@rule("P-1.2.7")
def tries_another_port(stage: Stage) -> None:
    count = 8
    with taken_but_the_last(count) as first:
        side = stage.side(worker_port_range=(first, first + count))
        assert side.worker_port == first + count - 1


@rule("P-1.2.8")
def ends_without_a_configuration(stage: Stage) -> None:
    for what, raw in NO_CONFIGURATION.items():
        side = stage.side(launch=False)
        side.launch_with(raw)
        assert side.awaits_end(START_S) != 0, f"it ended with status 0 for {what}"


@rule("P-1.2.9")
def ends_without_a_port(stage: Stage) -> None:
    with taken_port() as port:
        refuses(stage.side(launch=False, worker_port=port), "a port that is taken")


@rule("P-1.2.10")
def answers_a_start_that_it_refuses(stage: Stage) -> None:
    with taken_port() as port:
        side = stage.side(launch=False, worker_port=port)
        side.launch_with()
        side.interchange.expected_to_end = True
        reply = side.command_raw(pickle.dumps("WORKER_BINDS"), START_S)
    assert no_port(reply), f"it answered {pickle.loads(reply)} for a port that it has not"


def no_port(reply: bytes) -> bool:
    """Whether the interchange refuses to start with this configuration."""
    try:
        return not isinstance(pickle.loads(reply), int)
    except Exception:
        return True


@rule("P-1.2.11")
def ignores_an_unknown_key(stage: Stage) -> None:
    stage.side(a_key_of_tomorrow={"a": (1, None)}).work_goes_on()


@rule("P-1.2.12")
def serves_every_address(stage: Stage) -> None:
    side = stage.side(interchange_address=None)
    addresses = ["127.0.0.1", "127.0.0.2", *(["[::1]"] if has_ipv6() else [])]
    for number, address in enumerate(addresses):
        url = f"tcp://{address}:{side.worker_port}"
        stage.manager(side, f"m{number}", url=url).enlist(side, max_capacity=0)


@rule("P-1.2.13")
def checks_without_the_flag(stage: Stage) -> None:
    side = stage.side()
    assert "_check_python_mismatch" not in side.config()
    side.interchange.expected_to_end = True
    stage.manager(side).register(parsl_v="1999.01.01")
    assert type(deserialize(side.result()["exception"])) is VersionMismatch


@rule("P-1.2.14")
def serves_ipv6(stage: Stage) -> None:
    if not has_ipv6():
        raise Untried("this machine has no IPv6 loopback")
    stage.side(address="::1").work_goes_on()


@rule("P-1.2.15")
def serves_no_other_address(stage: Stage) -> None:
    side = stage.side()
    for address, served in ((side.address, True), ("127.0.0.2", False)):
        with socket.socket() as probe:
            connected = probe.connect_ex((address, side.worker_port)) == 0
        assert connected == served, f"{address} is {'served' if connected else 'not served'}"


@rule("P-1.2.16")
def logdir_is_there_already(stage: Stage) -> None:
    logdir = stage.workdir / "there already"
    logdir.mkdir()
    kept = logdir / "of-the-executor"
    kept.write_text("kept")
    stage.side(logdir=str(logdir)).work_goes_on()
    assert kept.exists() and kept.read_text() == "kept", f"{kept.name} is gone"


@rule("P-1.12.1")
def writes_its_log(stage: Stage) -> None:
    side = stage.side()
    path = side.interchange.logdir / "interchange.log"
    wait_until(lambda: path.exists() and path.stat().st_size, PATIENCE_S, f"{path.name} has lines")


@rule("P-1.12.2")
def logs_each_task(stage: Stage) -> None:
    side = stage.side()
    task = side.task()
    side.interchange.wait_for_log(f"Put task {task['task_id']} onto pending_task_queue", PATIENCE_S)


@rule("P-1.12.3")
def writes_no_log(stage: Stage) -> None:
    from parsl.logconfigs.noop import NoopLogging

    side = stage.side(log_config=NoopLogging())
    side.work_goes_on()
    logdir = side.interchange.logdir
    written = [path.name for path in logdir.glob("*")] if logdir.exists() else []
    assert written == [], written


@rule("P-1.12.4")
def logs_in_a_format(stage: Stage) -> None:
    from parsl.logconfigs.file import FileLogging

    mark = "a mark of the format"
    side = stage.side(log_config=FileLogging(format_string=f"{mark} %(message)s", level=20))
    side.work_goes_on()
    lines = _lines_of(side, "interchange.log")
    # Only the first line is checked, because a log message may span several lines.
    assert lines[0].startswith(mark), f"its first line is {lines[0]!r}"
    debug = [line for line in lines if "onto pending_task_queue" in line]
    assert debug == [], f"a level below the one that is set: {debug[0]!r}"


@rule("P-1.12.5")
def logs_as_json(stage: Stage) -> None:
    from parsl.logconfigs.json import JSONLogging

    side = stage.side(log_config=JSONLogging())
    side.work_goes_on()
    for line in _lines_of(side, "interchange.jsonlog"):
        missing = JSON_KEYS - json.loads(line).keys()
        assert not missing, f"a line lacks {', '.join(sorted(missing))}"


@rule("P-1.12.6")
def logs_from_a_level(stage: Stage) -> None:
    side = stage.side(logging_level=20)
    side.work_goes_on()
    debug = side.interchange.log_lines("DEBUG")
    assert debug == [], f"a line below the level: {debug[0]!r}"


def _lines_of(side: Side, name: str) -> list[str]:
    """Waits until the file has lines and returns them, without a last line that is still
    incomplete."""
    path = side.interchange.logdir / name
    wait_until(
        lambda: path.exists() and path.read_text().count("\n") > 1, PATIENCE_S, f"{name} has lines"
    )
    return path.read_text().split("\n")[:-1]
