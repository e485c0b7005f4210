"""The command channel: every request gets exactly one reply, and the right one."""

from __future__ import annotations

import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from parsl.executors.high_throughput.zmq_pipes import CommandClient

from harness.fakes.wire import idle_row, registration
from harness.machine.waiting import wait_until

HOLDS_OF_OLD_AND_NEW_PARSL = [
    pytest.param(lambda uid: ["HOLD_MANAGER", uid], id="2026.07.27-and-newer"),
    pytest.param(
        lambda uid: f"HOLD_WORKER;{uid}",
        id="2026.07.20-and-older",
        marks=pytest.mark.ours_only("stock dropped the older spelling"),
    ),
]


def test_worker_binds_is_an_int_port(start):
    side = start()
    assert type(side.command("WORKER_BINDS")) is int
    assert 0 < side.command("WORKER_BINDS") < 65536


def test_nothing_registered(start):
    side = start()
    assert side.command("MANAGERS") == []
    assert side.command("MANAGERS_PACKAGES") == {}
    assert side.command("CONNECTED_BLOCKS") == []


@pytest.mark.quick
def test_managers_lists_what_htex_reads(start, connect):
    side = start()
    connect(side).enlist(side, worker_count=3, max_capacity=5, block_id="7")
    (row,) = side.managers()
    idle = row.pop("idle_duration")
    assert type(idle) is float and 0 <= idle < 10
    assert type(row["tasks"]) is int and type(row["active"]) is bool
    assert row == idle_row(registration("manager-a", worker_count=3, block_id="7"))


def test_managers_in_order_of_registration(start, connect):
    side = start()
    names = [b"zeta", b"alpha", b"mu", b"beta"]
    for number, name in enumerate(names):
        connect(side, name).enlist(side, block_id=str(number))
    assert [row["manager"] for row in side.managers()] == [name.decode() for name in names]
    assert side.command("CONNECTED_BLOCKS") == ["0", "1", "2", "3"]


def test_tasks_are_counted_and_idle_time_starts_over(start, connect):
    side = start()
    manager = connect(side).enlist(side, max_capacity=2)
    side.submit(1)
    side.submit(2)
    manager.tasks(2)
    (row,) = side.managers()
    assert row["tasks"] == 2 and row["idle_duration"] == 0.0
    manager.answer(1)
    side.result()
    (row,) = side.managers()
    assert row["tasks"] == 1 and row["idle_duration"] == 0.0
    manager.answer(2)
    side.result()
    wait_until(lambda: side.managers()[0]["idle_duration"] > 0.0, 2, "idle time counts")
    assert side.managers()[0]["idle_duration"] < 2.0


def test_block_ids_come_back_as_they_were_sent(start, connect):
    """Parsl's tests register with the integer 0, which is falsy."""
    side = start()
    connect(side, b"a").enlist(side, block_id=0)
    connect(side, b"b").enlist(side, block_id="0")
    connect(side, b"c").enlist(side, block_id="0")
    blocks = side.command("CONNECTED_BLOCKS")
    assert blocks == [0, "0", "0"] and type(blocks[0]) is int
    assert [row["block_id"] for row in side.managers()] == [0, "0", "0"]


def test_connected_blocks_remembers_lost_managers(start, connect):
    side = start(heartbeat_threshold=1)
    connect(side).enlist(side, block_id="5")
    wait_until(lambda: side.managers() == [], 5, "the silent manager is expired")
    assert side.command("CONNECTED_BLOCKS") == ["5"]


def test_packages(start, connect):
    side = start()
    packages = {"numpy": "2.1", "a-package": "0.1.dev3+g12", "ünï": None, None: "1.0"}
    connect(side).enlist(side, packages=packages)
    assert side.command("MANAGERS_PACKAGES") == {"manager-a": packages}


@pytest.mark.ours_only("stock dies of a registration without packages here")
def test_packages_of_a_manager_that_sent_none(start, connect):
    side = start()
    manager = connect(side)
    manager.probe()
    message = registration("manager-a")
    del message["packages"]
    manager.send(message)
    manager.beat()
    assert side.command("MANAGERS_PACKAGES") == {"manager-a": {}}


@pytest.mark.ours_only("stock forgot WORKERS in 2026.07.13")
def test_workers_is_the_sum(start, connect):
    side = start()
    connect(side, b"a").enlist(side, worker_count=3)
    connect(side, b"b").enlist(side, worker_count=4)
    assert side.command("WORKERS") == 7


@pytest.mark.parametrize(
    "request_",
    ["MANGERS_PACKAGES", "", None, 7, ("MANAGERS",), ["HOLD_MANAGER"], {"a": [1]}, b"MANAGERS"],
    ids=repr,
)
def test_unknown_command_is_answered_with_none(start, request_):
    side = start()
    assert side.command(request_) is None
    assert side.command("MANAGERS") == []


@pytest.mark.ours_only("stock dies of a command it cannot unpickle")
@pytest.mark.parametrize("frame", [b"", b"\x80", b"not a pickle", b"\x80\x04.", b"(" * 5000])
def test_undecodable_command_is_answered_with_none(start, frame):
    side = start()
    assert pickle.loads(side.command_raw(frame)) is None
    assert side.command("MANAGERS") == []


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_commands_of_any_pickle_protocol(start, protocol):
    side = start()
    assert pickle.loads(side.command_raw(pickle.dumps("CONNECTED_BLOCKS", protocol))) == []


@pytest.mark.parametrize("hold", HOLDS_OF_OLD_AND_NEW_PARSL)
def test_hold_stops_new_tasks_and_keeps_old_ones(start, connect, hold):
    side = start()
    manager = connect(side).enlist(side, max_capacity=2)
    side.submit(1)
    manager.tasks(1)
    assert side.command(hold("manager-a")) is None
    (row,) = side.managers()
    assert row["active"] is False and row["tasks"] == 1
    side.submit(2)
    side.interchange.wait_for_log("Put task 2 onto pending_task_queue")
    assert manager.holds_nothing_new()
    frame = manager.answer(1)
    assert side.result_raw() == frame
    assert manager.holds_nothing_new()
    connect(side, b"other").enlist(side).tasks(1)


def test_hold_of_an_unknown_manager(start):
    side = start()
    assert side.command(["HOLD_MANAGER", "nobody"]) is None
    side.settle_log()
    assert len(side.interchange.log_lines("WARNING", "hold")) == 1


@pytest.mark.ours_only("stock dies of it")
@pytest.mark.parametrize("uid", [5, None, b"manager-a", ["x"], 2**70], ids=repr)
def test_hold_of_something_that_is_no_name(start, connect, uid):
    side = start()
    connect(side).enlist(side)
    assert side.command(["HOLD_MANAGER", uid]) is None
    assert len(side.managers()) == 1


def test_fifty_threads_of_commands(start, connect, tmp_path):
    """Uses Parsl's own command client as Parsl's stress test does, including a misspelt command."""
    side = start(launch=False)
    with closing(CommandClient("127.0.0.1", (49152, 65535))) as client:
        side.overrides["client_ports"] = (*side.config()["client_ports"][:2], client.port)
        side.launch()
        expected = {
            "MANAGERS": [],
            "CONNECTED_BLOCKS": [],
            "MANAGERS_PACKAGES": {},
            "MANGERS_PACKAGES": None,
            "WORKER_BINDS": client.run("WORKER_BINDS", timeout_s=30),
        }
        together = threading.Barrier(50)

        def ask_in_turn(_):
            together.wait(10)
            for _ in range(10):
                for request, reply in expected.items():
                    assert client.run(request, timeout_s=30) == reply
            return True

        with ThreadPoolExecutor(50) as pool:
            assert all(pool.map(ask_in_turn, range(50)))


def test_commands_are_answered_while_tasks_pour_in(start, connect, measured):
    side = start(logging_level=20)
    manager = connect(side).enlist(side, max_capacity=1)
    for number in range(1, 5001):
        side.submit(number, b"x" * 1024)
    slowest = 0.0
    for _ in range(20):
        begin = time.perf_counter()
        side.command("CONNECTED_BLOCKS")
        slowest = max(slowest, time.perf_counter() - begin)
    manager.tasks(1)
    measured(f"slowest of 20 commands under load: {slowest * 1000:.1f} ms")
    assert slowest < 1.0
