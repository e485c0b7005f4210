"""A refused start: it is reported on stderr and in the log, and raised where the user waits."""

from __future__ import annotations

import json
import os
import pickle
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from parsl.logconfigs.noop import NoopLogging

from harness.htex import executors
from harness.htex.interchange import Interchange, command_under_test
from harness.htex.selectors import UnimportableSelector
from harness.machine import refused_calls

# The beginning of every refusal's text.
REFUSAL = "htex-interchange refused to start: "
LOAD_PROGRAM = Path(__file__).parent / "programs" / "load_and_report.py"

# The id of a user that has no other process.
NOBODYS_ID = 54_321

# Time from the process's launch to its end, and time until the user gets the exception. On a quiet
# machine both take a tenth of a second; a refusal that no command asks for waits for 10 s.
EXIT_WITHIN_S = 5.0
RAISE_WITHIN_S = 5.0

pytestmark = [
    pytest.mark.ours_only("stock crashes and leaves the executor waiting for 120 s"),
    pytest.mark.expect_death,
    pytest.mark.expect_error("refused to start"),
]

# Configurations that leave the command channel usable: name -> (changed keys, word of the text).
ANSWERABLE = {
    "wrong-type-of-heartbeat-threshold": ({"heartbeat_threshold": "often"}, "heartbeat_threshold"),
    "wrong-type-of-hub-port": ({"hub_zmq_port": "many"}, "hub_zmq_port"),
    "worker-port-too-large": ({"worker_port": 70000}, "worker_port"),
    "worker-port-range-of-one": ({"worker_port_range": (54000,)}, "worker_port_range"),
    "worker-port-range-of-text": ({"worker_port_range": "54000-55000"}, "worker_port_range"),
    "selector-of-the-user": ({"manager_selector": UnimportableSelector()}, "UnimportableSelector"),
    "address-of-another-machine": ({"interchange_address": "203.0.113.7"}, "203.0.113.7"),
    "address-that-is-none": ({"interchange_address": "no such host"}, "no such host"),
    "zone-that-is-none": ({"interchange_address": "fe80::1%nowhere0"}, "no interface nowhere0"),
    "hub-at-every-address": ({"hub_address": "", "hub_zmq_port": 5}, "hub_address"),
    "two-socket-parsl": ({"worker_ports": None}, "worker_ports"),
}


def assert_said_once(interchange: Interchange, word: str, *, in_log: bool = True) -> None:
    """Checks that stderr has one line, without a traceback or panic, and that the log has the same
    reason."""
    lines = [line for line in interchange.stderr().splitlines() if line.strip()]
    assert len(lines) == 1, lines
    assert REFUSAL in lines[0] and word in lines[0]
    if in_log:
        assert any(word in line for line in interchange.log_lines("ERROR", "refused to start"))


def refused(side, word: str, measured, *, in_log: bool = True) -> None:
    interchange = side.launch()
    with pytest.raises(ValueError, match=REFUSAL) as caught:
        side.command("WORKER_BINDS", within_s=EXIT_WITHIN_S)
    assert interchange.wait_exit(within_s=EXIT_WITHIN_S) == 1
    took_s = time.monotonic() - interchange.launched
    measured(f"launch to exit: {took_s * 1000:.0f} ms")
    assert word in str(caught.value)
    assert_said_once(interchange, word, in_log=in_log)
    assert took_s < EXIT_WITHIN_S


@pytest.mark.parametrize(("changes", "word"), ANSWERABLE.values(), ids=ANSWERABLE)
def test_refusal_reaches_the_first_command(start, changes, word, measured):
    refused(start(launch=False, **changes), word, measured)


@pytest.mark.parametrize("key", ["logdir", "worker_port_range"])
def test_missing_key(start, key, measured):
    side = start(launch=False)
    config = side.config()
    del config[key]
    side.config = lambda: config
    refused(side, key, measured, in_log=key != "logdir")


def test_port_range_exhausted(start, measured):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        side = start(launch=False, worker_port_range=(port, port + 1))
        refused(side, str(port), measured)


def test_chosen_port_taken(start, measured):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused(start(launch=False, worker_port=port), str(port), measured)


def test_log_directory_cannot_be_made(start, tmp_path, measured):
    (tmp_path / "file").write_text("in the way")
    side = start(launch=False, logdir=str(tmp_path / "file" / "log"))
    refused(side, "log", measured, in_log=False)


@pytest.mark.parametrize("log_config", [None, NoopLogging()], ids=["log", "no-log"])
def test_no_thread_can_be_created(start, log_config):
    """No thread can be created, neither for the log nor, without a log, for libzmq, which would
    abort."""
    side = start(launch=False, log_config=log_config)
    interchange = side.launch(preexec_fn=refused_calls.refusing_threads())
    exits_with_reason(interchange, "threads are needed, but only 0 can be started", in_log=False)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody without processes")
def test_too_few_threads_for_libzmq(start, measured, nobodys_place):
    """At the limit of `ulimit -u`, there is room for the log's thread and two of libzmq's threads,
    but not for all that were requested."""
    program, logdir = nobodys_place
    side = start(launch=False, logdir=str(logdir))

    def limited() -> None:
        os.setgroups([])
        os.setgid(NOBODYS_ID)
        os.setuid(NOBODYS_ID)
        # The process itself and its keeper count as well.
        resource.setrlimit(resource.RLIMIT_NPROC, (2 + 1 + 2, 2 + 1 + 2))

    command = [str(program), "--io-threads", "4"]
    interchange = side.launch(command, preexec_fn=limited)
    with pytest.raises(ValueError, match="5 more threads are needed, but only 2 can be started"):
        side.command("WORKER_BINDS", within_s=3)
    exits_with_reason(
        interchange, "5 more threads are needed, but only 2 can be started", in_log=True
    )


@pytest.fixture
def nobodys_place():
    """A copy of the program, and a log directory, that an unprivileged user can reach."""
    with tempfile.TemporaryDirectory(prefix="htex-nobody-") as directory:
        program = Path(shutil.copy(command_under_test()[0], directory))
        logdir = Path(directory) / "log"
        logdir.mkdir()
        for path in (Path(directory), program, logdir):
            path.chmod(0o755)
            os.chown(path, NOBODYS_ID, NOBODYS_ID)
        yield program, logdir


def test_refusal_is_given_to_an_encrypted_submit_side(start, measured):
    side = start(launch=False, encrypted=True, heartbeat_threshold="often")
    refused(side, "heartbeat_threshold", measured)


def test_refused_without_anyone_asking(start):
    """A submit side that dies before it sends a command must not leave the refused process
    waiting."""
    side = start(launch=False, heartbeat_threshold="often")
    interchange = side.launch()
    side.context.destroy(linger=0)
    assert interchange.wait_exit(within_s=5) == 1


UNANSWERABLE = {
    "no-client-ports": lambda config: config.pop("client_ports"),
    "two-client-ports": lambda config: config.update(client_ports=(50000, 50001)),
    "client-ports-of-text": lambda config: config.update(client_ports=("a", "b", "c")),
    "no-client-address": lambda config: config.pop("client_address"),
    "client-address-is-a-name": lambda config: config.update(client_address="no such host"),
}


def exits_with_reason(interchange: Interchange, word: str, *, in_log: bool) -> None:
    assert interchange.wait_exit(within_s=EXIT_WITHIN_S) == 1
    assert_said_once(interchange, word, in_log=in_log)


@pytest.mark.parametrize("spoil", UNANSWERABLE.values(), ids=UNANSWERABLE)
def test_refused_without_a_channel_to_answer(start, spoil):
    side = start(launch=False)
    config = side.config()
    spoil(config)
    side.config = lambda: config
    exits_with_reason(side.launch(), "client", in_log=True)


INPUTS = {
    "empty": b"",
    "not-a-pickle": b"hello, this is no pickle\n",
    "a-list": pickle.dumps([1, 2, 3]),
    "truncated": pickle.dumps({"client_address": "127.0.0.1", "logdir": "x" * 200})[:-50],
    "deep": b"\x80\x04" + b"]" * 200_000 + b"a" * 199_999 + b".",
}


@pytest.mark.parametrize("raw", INPUTS.values(), ids=INPUTS)
def test_no_configuration_on_stdin(tmp_path, raw):
    interchange = Interchange(raw, tmp_path)
    exits_with_reason(interchange, "", in_log=False)


def spoiled_certificates(cert_dir: str, fault: str) -> None:
    secret = Path(cert_dir) / "server.key_secret"
    match fault:
        case "not-private":
            os.chmod(cert_dir, 0o755)
        case "no-secret":
            secret.unlink()
        case "no-directory":
            os.rename(cert_dir, cert_dir + "-elsewhere")
        case "corrupt":
            secret.write_text('metadata\ncurve\n    public-key = "short"\n')
        case "unreadable":
            secret.unlink()
            secret.mkdir()


@pytest.mark.parametrize(
    "fault", ["not-private", "no-secret", "no-directory", "corrupt", "unreadable"]
)
def test_certificates(start, fault):
    side = start(launch=False, encrypted=True)
    spoiled_certificates(side.cert_dir, fault)
    interchange = side.launch()
    # Without keys, nothing can be sent on the encrypted channel: the reason is on stderr and in the
    # log.
    exits_with_reason(interchange, "certificates", in_log=True)


def test_an_unknown_key_is_ignored(start, connect):
    """The opposite case: an option that a newer Parsl adds must not cause a refusal."""
    side = start(brand_new_option={"a": 1})
    connect(side).enlist(side)


EXECUTOR_FAULTS = {
    "selector": ({"manager_selector": UnimportableSelector()}, "UnimportableSelector"),
    "address": ({"address": "203.0.113.7"}, "203.0.113.7"),
    "arguments": (
        {"interchange_launch_cmd": [*command_under_test(), "--disconnect-grace", "0"]},
        "--disconnect-grace",
    ),
    # An argument with a byte that is not valid UTF-8, in Python's notation.
    "arguments-that-are-no-text": (
        {"interchange_launch_cmd": [*command_under_test(), "--io-threads", "Zo\udceb"]},
        "wrong arguments: invalid UTF-8",
    ),
    "first-argument-that-is-no-text": (
        {"interchange_launch_cmd": [*command_under_test(), "Zo\udceb"]},
        "wrong arguments: ",
    ),
}


@pytest.mark.parametrize("encrypted", [True, False], ids=["encrypted", "plain"])
@pytest.mark.parametrize(("options", "word"), EXECUTOR_FAULTS.values(), ids=EXECUTOR_FAULTS)
def test_executor_start_raises(tmp_path, options, word, encrypted, measured):
    with executors.not_started(tmp_path, encrypted=encrypted, **options) as htex:
        begin = time.monotonic()
        with pytest.raises(ValueError, match=REFUSAL) as caught:
            htex.start()
        took_s = time.monotonic() - begin
    measured(f"executor.start() raised after {took_s * 1000:.0f} ms")
    assert word in str(caught.value)
    assert took_s < RAISE_WITHIN_S


@pytest.mark.quick
def test_parsl_load_raises(tmp_path, measured):
    told = subprocess.run(
        [sys.executable, str(LOAD_PROGRAM), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    report = json.loads(told.stdout.splitlines()[-1])
    measured(f"parsl.load() raised after {report['seconds'] * 1000:.0f} ms")
    assert report["type"] == "ValueError"
    assert REFUSAL in report["text"] and "UnimportableSelector" in report["text"]
    assert report["seconds"] < RAISE_WITHIN_S
