"""`htex-interchange doctor` where the machine itself is the problem. The tests create real problems
in their own namespaces."""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import socket
import struct
import subprocess

import pytest
from test_doctor import diagnosis, doctor, ids, only_problem, written
from test_doctor_runs import diagnosis as diagnosis_of_run

from harness.htex import executors
from harness.machine import network
from harness.setup import environment

pytestmark = pytest.mark.ours_only("this is about our own command line")

SECONDS = 60


@pytest.fixture
def namespace():
    """A network namespace that acts as a machine with one address."""
    reason = network.why_impossible()
    if reason:
        pytest.skip(reason)
    made = network.Namespace(network.HEAD_ADDRESS)
    yield made
    made.close()


def cut_loopback() -> None:
    """Takes the loopback device down. A machine sends messages to its own addresses over this
    device, so none arrive now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        flags = struct.pack("16sh22x", b"lo", 0)
        fcntl.ioctl(control, network.SIOCSIFFLAGS, flags)


def test_an_own_address_that_is_cut_off(tmp_path, namespace):
    file = written(tmp_path, f"address={network.HEAD_ADDRESS!r}")
    with namespace.entered():
        assert ids(diagnosis(file)) == []
        cut_loopback()
        document = diagnosis(file)
    unreachable = [one for one in document["findings"] if one["id"] == "address-unreachable"]
    assert len(unreachable) == 1 and network.HEAD_ADDRESS in unreachable[0]["what"], document


def test_a_pyzmq_without_encryption(tmp_path):
    """The installed pyzmq, changed so that it reports no support for CURVE."""
    (tmp_path / "sitecustomize.py").write_text(
        "import zmq\nhas = zmq.has\nzmq.has = lambda what: what != 'curve' and has(what)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    found = only_problem(diagnosis(written(tmp_path, "encrypted=True"), env=env))
    assert found["id"] == "no-curve"
    assert ids(diagnosis(written(tmp_path, "encrypted=False"), env=env)) == []


def on_a_small_disk(place, command: str) -> subprocess.CompletedProcess:
    """Runs a command with a file system of 1 MB at `place`, which only that command sees."""
    mount = f"mount -t tmpfs -o size=1m small {shlex.quote(str(place))}"
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", f"{mount} || exit 99; {command}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def test_a_disk_without_room(tmp_path):
    if not shutil.which("unshare") or on_a_small_disk(tmp_path, "exit 0").returncode:
        pytest.skip("this machine cannot mount a small disk for a test")
    (tmp_path / "runinfo").mkdir()
    file = written(tmp_path)
    assert ids(diagnosis(file)) == []
    command = shlex.join([str(environment.binary()), "doctor", str(file)])
    told = on_a_small_disk(tmp_path / "runinfo", command)
    assert told.returncode == 3 and "disk-full" in told.stdout, told
    # The same check for a run.
    run = tmp_path / "run" / "000"
    with executors.running(run):
        pass
    copy = f"cp -r {shlex.quote(str(run))} {shlex.quote(str(tmp_path / 'runinfo'))}/"
    command = shlex.join([str(environment.binary()), "doctor", str(tmp_path / "runinfo" / "000")])
    told = on_a_small_disk(tmp_path / "runinfo", f"{copy}; {command}")
    assert told.returncode == 3 and "1 MB are free" not in told.stdout, told
    assert "disk-full" in told.stdout and "0 MB are free for" in told.stdout, told
    assert "disk-full" not in doctor(run).stdout


def test_blocks_that_have_just_been_submitted(tmp_path):
    """A block that cannot have begun yet is not reported, whatever its script prints; a block that
    has ended is."""
    scripts = tmp_path / "submit_scripts"
    with executors.running(tmp_path, blocks=0, launch_cmd="sleep 60") as htex:
        htex.provider.script_dir = str(scripts)
        scripts.mkdir()
        htex.scale_out_facade(1)
        found = {one["id"] for one in diagnosis_of_run(tmp_path / "htex")["findings"]}
        assert "still-running" in found and "never-registered" not in found
        (script,) = scripts.glob("*.sh")
        script.with_name(script.name + ".err").write_text("line 1: conda: command not found\n")
        found = {one["id"] for one in diagnosis_of_run(tmp_path / "htex")["findings"]}
        assert "never-registered" not in found
        script.with_name(script.name + ".ec").write_text("127\n")
        found = {one["id"]: one for one in diagnosis_of_run(tmp_path / "htex")["findings"]}
        assert "conda: command not found" in found["never-registered"]["why"]
        assert found["never-registered"]["severity"] == "problem"
