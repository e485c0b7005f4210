"""No peer's pickle runs code in the broker, or costs the broker more than the pickle's own bytes:
every kind of bomb, on every channel that carries pickles."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import zmq

from harness.fakes import bombs
from harness.fakes.wire import registration
from harness.htex.interchange import Interchange
from harness.machine import usage
from harness.machine.waiting import wait_until

pytestmark = pytest.mark.ours_only("stock runs what it reads")

KINDS = sorted(bombs.bombs(Path()))
# A debug build with its log stays far below this. Each costly pickle could allocate more.
GROWTH_BYTES_MAX = 200 << 20


@pytest.fixture
def folder(tmp_path):
    """The directory in which a bomb that goes off leaves a file."""
    made = tmp_path / "went-off"
    made.mkdir()
    return made


def test_each_bomb_is_a_real_one(folder):
    """If the bombs were not real, the other tests could not fail."""
    command = [sys.executable, "-m", "harness.fakes.bombs", str(folder)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert told.returncode == 0, told.stderr
    assert sorted(path.name for path in folder.iterdir()) == KINDS


def by_worker_port(side, connect, program: bytes) -> None:
    """Sends a bomb alone, and inside each message that a manager can send."""
    bomber = connect(side, b"bomber")
    task = {"type": "result", "task_id": 1, "result": b""}
    for message in (
        registration("bomber", max_capacity=0),
        {"type": "connection_probe"},
        {"type": "heartbeat"},
        {"type": "drain"},
        {"type": "nonsense"},
        {"type": "monitoring", "payload": ()},
        task,
    ):
        bomber.send_frames(bombs.within(message, program))
    bomber.send_frames(bombs.whole(program))
    bomber.send_frames(bombs.whole(b"}" + bombs.text("type") + program + b"s"))
    bomber.send_frames(b"result", bombs.whole(program))


def by_tasks(side, _connect, program: bytes) -> None:
    side.submit_raw(bombs.whole(program))
    side.marks += 1
    for task in (
        {"task_id": side.marks, "context": {}, "buffer": b""},
        {"task_id": -side.marks, "buffer": b""},
    ):
        side.submit_raw(bombs.within(task, program))
    id_of = b"}" + bombs.text("task_id") + program + b"s"
    side.submit_raw(bombs.whole(id_of))
    spec = b"}" + bombs.text("resource_spec") + b"}" + bombs.text("priority") + program + b"ss"
    side.marks += 1
    head = pickle.dumps({"task_id": side.marks, "buffer": b""}, 2)[:-1]
    side.submit_raw(head + bombs.text("context") + spec + b"s.")


def by_commands(side, _connect, program: bytes) -> None:
    for request in (
        program,
        b"]" + program + b"a",
        b"](" + bombs.text("HOLD_MANAGER") + program + b"e",
    ):
        side.command_raw(bombs.whole(request))


CHANNELS = {"worker-port": by_worker_port, "tasks": by_tasks, "commands": by_commands}


def work_goes_on(side, connect) -> None:
    """Checks that all earlier messages have been processed: tasks are sent to a manager that does
    not load them, and the last one arrives."""
    manager = connect(side, b"sound")
    manager.probe()
    manager.register(max_capacity=10_000)
    side.submit(7, b"the last one", {"resource_spec": {"priority": float("inf")}})
    wait_until(lambda: b"the last one" in manager.receive(), 10, "the last task")
    side.settle_log()


@pytest.mark.parametrize("channel", CHANNELS)
def test_no_bomb_goes_off(start, connect, folder, channel):
    side = start(hub=True)
    for program in bombs.bombs(folder).values():
        CHANNELS[channel](side, connect, program)
    work_goes_on(side, connect)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("channel", CHANNELS)
def test_costly_programs_cost_their_own_bytes(start, connect, channel, measured):
    side = start(hub=True)
    side.settle_log()
    before = usage.resident_bytes(side.interchange.pid)
    for program in bombs.costly().values():
        CHANNELS[channel](side, connect, program)
    work_goes_on(side, connect)
    growth = usage.resident_bytes(side.interchange.pid) - before
    measured(f"costly pickles by {channel}: {growth >> 20} MiB more")
    assert growth < GROWTH_BYTES_MAX


def configured(start, program: bytes):
    """Returns a submit side whose interchange gets this program beside its configuration."""
    side = start(launch=False)
    side.interchange = Interchange(bombs.within(side.config(), program), side.workdir)
    return side


# HTEX never writes a pickle that needs another program's registry, so such a configuration is
# refused.
OF_A_REGISTRY = ("persistent-id", "extension")


@pytest.mark.expect_death
@pytest.mark.expect_error("refused to start")
@pytest.mark.parametrize("kind", KINDS)
def test_no_bomb_goes_off_in_the_configuration(start, folder, kind):
    """The interchange starts or refuses to start; in both cases the bomb does not go off."""
    side = configured(start, bombs.bombs(folder)[kind])
    if any(name in kind for name in OF_A_REGISTRY):
        assert side.interchange.wait_exit(5) == 1
    else:
        assert isinstance(side.command("WORKER_BINDS"), int)
    assert list(folder.iterdir()) == []


@pytest.mark.expect_death
@pytest.mark.expect_error("refused to start")
@pytest.mark.parametrize("kind", KINDS)
def test_no_bomb_goes_off_instead_of_a_configuration(tmp_path, folder, kind):
    raw = bombs.whole(bombs.bombs(folder)[kind])
    interchange = Interchange(raw, tmp_path)
    assert interchange.wait_exit(5) == 1
    assert list(folder.iterdir()) == []


@pytest.mark.expect_death
@pytest.mark.parametrize("kind", bombs.costly())
def test_costly_configurations_end_in_time(start, kind):
    """Either the interchange refuses to start, or it starts and then answers."""
    side = configured(start, bombs.costly()[kind])

    def ends_or(told: int) -> bool:
        return not side.interchange.running or bool(side.commands.poll(0, told))

    wait_until(lambda: ends_or(zmq.POLLOUT), 5, "it has started or refused to")
    if side.interchange.running:
        side.commands.send(pickle.dumps("WORKER_BINDS"))
        wait_until(lambda: ends_or(zmq.POLLIN), 5, "it answers or refuses")
    assert side.interchange.running or side.interchange.wait_exit(1) == 1
