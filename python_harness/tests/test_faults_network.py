"""A network between managers and the interchange that delays, loses, drops, cuts and recovers while
real managers work. At the end, every task is accounted for."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from parsl.executors.high_throughput.errors import ManagerLost
from parsl.executors.high_throughput.executor import DEFAULT_LAUNCH_CMD
from parsl.serialize import deserialize

from harness.fakes.proxy import Proxy
from harness.fakes.wire import FakeManager, Silence
from harness.htex import executors
from harness.htex.books import Books
from harness.htex.executors import add_blocks
from harness.htex.interchange import command_under_test, stock_under_test
from harness.machine import network, processes, usage
from harness.machine.waiting import wait_until

pytestmark = pytest.mark.timeout(180)

ESTABLISHED = "01"
KEEPALIVE_TIMER = "02"
THRESHOLD_S = 120
DISCONNECTED = "it gets no new tasks until it sends a message"

# Slow tests run in one variant only, unless --long is given.
MOSTLY_ENCRYPTED, MOSTLY_PLAIN = (
    pytest.mark.parametrize(
        "encrypted",
        [
            pytest.param(encrypted, marks=() if encrypted is short else pytest.mark.long)
            for encrypted in (False, True)
        ],
        ids=["plain", "encrypted"],
    )
    for short in (True, False)
)


@pytest.fixture
def net() -> Iterator[network.Network]:
    reason = network.why_impossible()
    if reason:
        pytest.skip(reason)
    with network.Network() as made, made.head.entered():
        yield made


@contextmanager
def across(net: network.Network, run_dir: Path, **options):
    """Runs an executor whose managers are at the other end of the network."""
    options.setdefault("encrypted", True)
    options.setdefault("max_workers_per_node", 2)
    options.setdefault("prefetch_capacity", 2)
    with executors.running(
        run_dir,
        address=network.HEAD_ADDRESS,
        launch_cmd=net.node.prefix() + DEFAULT_LAUNCH_CMD,
        **options,
    ) as htex:
        yield htex


def manager_pools() -> list[processes.Process]:
    """Returns the process_worker_pools that this test has started, with all processes below
    them."""
    return [
        process
        for process in processes.running_descendants()
        if "process_worker_pool.py" in processes.command_line(process.pid)
        or "multiprocessing" in processes.command_line(process.pid)
    ]


def test_packets_are_late_and_some_are_lost(net, tmp_path, measured):
    """A round trip takes 200 ms, and 5 % of the packets are lost."""
    net.delay_s, net.loss = 0.1, 0.05
    with across(net, tmp_path / "run", blocks=2, heartbeat_threshold=30) as htex:
        books = Books(htex, tmp_path)
        books.submit(100)
        assert books.balance(60, capacity=4) == {"result": 100}
    measured(f"{net.carried} packets carried, {net.dropped} lost")
    assert net.dropped > 5


def test_a_cut_shorter_than_the_threshold_costs_nothing(net, tmp_path):
    with across(net, tmp_path / "run", blocks=2, heartbeat_threshold=15) as htex:
        books = Books(htex, tmp_path)
        books.submit(150)
        books.wait_done(30)
        net.cut()
        time.sleep(3.0)  # The test needs the cut to last this long.
        assert net.dropped > 0
        assert books.done() < 150
        net.heal()
        assert books.balance(60, capacity=4) == {"result": 150}


def test_a_cut_longer_than_the_threshold_loses_the_managers(net, tmp_path):
    with across(net, tmp_path / "run", blocks=2, heartbeat_threshold=4) as htex:
        books = Books(htex, tmp_path)
        books.submit(150)
        books.wait_done(30)
        net.cut()
        wait_until(lambda: htex.connected_managers() == [], 15, "both are lost")
        net.heal()
        # The managers end, and do not connect again.
        wait_until(lambda: not manager_pools(), 15, "the managers have gone")
        add_blocks(htex, 1)
        outcomes = books.balance(60, (ManagerLost,), capacity=4)
        # Each manager had two running tasks and two prefetched ones.
        assert 1 <= outcomes["ManagerLost"] <= 8
        assert outcomes["result"] == 150 - outcomes["ManagerLost"]


@pytest.mark.long
def test_a_node_that_vanishes_is_lost_at_the_threshold(net, tmp_path, measured):
    """The node's power fails: no connection is closed, and no peer is notified."""
    with across(net, tmp_path / "run", blocks=1, heartbeat_threshold=4) as htex:
        books = Books(htex, tmp_path)
        books.submit(20, seconds=0.3)
        books.wait_done(2)
        net.cut()
        begin = time.monotonic()
        for process in manager_pools():
            processes.send(process, signal.SIGKILL)
        wait_until(lambda: htex.connected_managers() == [], 15, "it is lost", every_s=0.05)
        measured(f"lost after {time.monotonic() - begin:.1f} s (threshold 4 s)")
        net.heal()
        add_blocks(htex, 1)
        outcomes = books.balance(60, (ManagerLost,), capacity=4)
        assert 1 <= outcomes["ManagerLost"] <= 4
        assert outcomes.total() == 20


def worker_connections(pid: int, port: int) -> list[list[str]]:
    """Returns the fields of each open connection at the worker port."""
    # The port is listed in one table if it is bound for IPv4 only, and in the other if it is bound
    # for both families.
    tables = [Path(f"/proc/{pid}/net/{name}").read_text() for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables for line in table.splitlines()[1:]]
    return [row for row in rows if row[1].endswith(f":{port:04X}") and row[3] == ESTABLISHED]


@pytest.mark.ours_only("stock keeps the descriptor of each node that vanished")
def test_connections_are_probed_so_that_vanished_nodes_give_descriptors_back(net, tmp_path):
    """Without keepalive probes, a run over many short-lived nodes would end at the limit of
    descriptors."""
    with across(net, tmp_path / "run", blocks=1, heartbeat_threshold=THRESHOLD_S) as htex:
        pid, port = executors.broker_pid(htex), htex.worker_port
        (row,) = wait_until(lambda: worker_connections(pid, port), 10, "a connection")
        timer, _, expires = row[5].partition(":")
        assert timer == KEEPALIVE_TIMER, row
        # The connection must not end before its manager is lost: messages in transit may arrive
        # when the network recovers.
        assert 100 < int(expires, 16) / os.sysconf("SC_CLK_TCK") <= THRESHOLD_S


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.ours_only("stock keeps the descriptor of each node that vanished")
def test_the_descriptor_of_a_vanished_node_comes_back(net, tmp_path, measured):
    with across(net, tmp_path / "run", blocks=1, heartbeat_threshold=4) as htex:
        pid = executors.broker_pid(htex)
        before = usage.descriptors(pid)
        net.cut()
        begin = time.monotonic()
        for process in manager_pools():
            processes.send(process, signal.SIGKILL)
        wait_until(lambda: usage.descriptors(pid) < before, 240, "one less is open")
        measured(f"the descriptor came back after {time.monotonic() - begin:.0f} s")


@contextmanager
def behind_a_proxy(run_dir: Path, *, blocks: int, **options):
    """Runs an executor whose managers connect to a proxy."""
    with (
        executors.running(
            run_dir, blocks=0, max_workers_per_node=2, prefetch_capacity=2, **options
        ) as htex,
        Proxy(("127.0.0.1", htex.worker_port)) as proxy,
    ):
        direct, indirect = f"--port={htex.worker_port}", f"--port={proxy.port}"
        assert direct in htex.launch_cmd
        htex.launch_cmd = htex.launch_cmd.replace(direct, indirect)
        add_blocks(htex, blocks)
        assert proxy.accepted >= blocks
        yield htex, proxy


@pytest.mark.ours_only("stock has no such option")
@MOSTLY_ENCRYPTED
def test_connections_that_heal_in_silence_outlive_the_grace(tmp_path, encrypted):
    """Real managers work and send nothing for several grace periods: they ignore the echoes that
    the interchange sends to test their connections."""
    grace_s = 3
    command = [*command_under_test(), "--disconnect-grace", str(grace_s)]
    options = {"encrypted": encrypted, "heartbeat_period": 30, "heartbeat_threshold": THRESHOLD_S}
    with behind_a_proxy(tmp_path / "run", blocks=2, interchange_launch_cmd=command, **options) as (
        htex,
        proxy,
    ):
        books = Books(htex, tmp_path)
        books.submit(4, seconds=3.0 * grace_s)
        wait_until(books.ran.read_text, 30, "the first task runs")
        proxy.cut()
        log = Path(htex.logdir, "interchange.log")
        wait_until(lambda: log.read_text().count(DISCONNECTED) == 2, 5, "both are disconnected")
        proxy.heal()
        assert books.balance(60, capacity=4) == {"result": 4}
        assert "has not reconnected" not in log.read_text()


@MOSTLY_PLAIN
def test_connections_are_reset_while_tasks_run(tmp_path, encrypted):
    """A firewall forgets its connections: managers reconnect and keep their tasks."""
    with behind_a_proxy(
        tmp_path / "run", blocks=2, heartbeat_threshold=15, encrypted=encrypted
    ) as (htex, proxy):
        books = Books(htex, tmp_path)
        books.submit(8, seconds=3.0)
        # From now on nothing is in transit for three seconds: all tasks are dispatched, none is
        # done.
        wait_until(books.ran.read_text, 30, "the first task runs")
        proxy.cut()
        log = Path(htex.logdir, "interchange.log")
        wait_until(
            lambda: log.read_text().count(DISCONNECTED) == 2,
            5,
            "both are disconnected",
        )
        books.submit(20)
        proxy.heal()
        assert books.balance(60, capacity=4) == {"result": 28}


@pytest.mark.long
def test_a_frozen_network_is_no_loss_below_the_threshold(tmp_path):
    with behind_a_proxy(tmp_path / "run", blocks=2, heartbeat_threshold=15) as (htex, proxy):
        books = Books(htex, tmp_path)
        books.submit(150)
        books.wait_done(30)
        proxy.freeze()
        time.sleep(3.0)  # The test needs the network to be frozen this long.
        assert books.done() < 150
        proxy.thaw()
        assert books.balance(60, capacity=4) == {"result": 150}


def test_resets_under_load_leave_no_task_open_once_the_managers_end(tmp_path, measured):
    """A reset loses a batch or a result in transit, and neither end can detect that. Without a
    reconnect patience, such a task is in flight until its manager ends. Then it is reported lost,
    once."""
    command = command_under_test()
    if not stock_under_test():
        command += ["--reconnect-patience", "none"]
    with behind_a_proxy(
        tmp_path / "run", blocks=2, heartbeat_threshold=4, interchange_launch_cmd=command
    ) as (htex, proxy):
        books = Books(htex, tmp_path)
        books.submit(200, seconds=0.005)
        for number in range(3):
            books.wait_done(30 * (number + 1))
            proxy.cut()
            proxy.heal()
        books.settled(10.0)
        open_ones = 200 - books.done()
        measured(f"{open_ones} tasks were on their way when connections were reset")
        assert open_ones <= 8
        for process in manager_pools():
            processes.send(process, signal.SIGKILL)
        outcomes = books.balance(30, (ManagerLost,))
        assert outcomes["ManagerLost"] == open_ones and outcomes.total() == 200


@pytest.mark.ours_only("stock never gives such a task up")
def test_resets_under_load_leave_no_task_open_while_the_managers_live(tmp_path, measured):
    """Like the test above, but with a reconnect patience: every task that was lost with a
    connection is reported lost."""
    command = [*command_under_test(), "--reconnect-patience", "3"]
    with behind_a_proxy(
        tmp_path / "run", blocks=2, heartbeat_threshold=30, interchange_launch_cmd=command
    ) as (htex, proxy):
        books = Books(htex, tmp_path)
        books.submit(300, seconds=0.005)
        for number in range(3):
            books.wait_done(30 * (number + 1))
            proxy.freeze()
            wait_until(lambda: proxy.held_bytes > 0, 10, "something is on its way")
            proxy.lose()
        outcomes = books.balance(60, (ManagerLost,))
        measured(f"{outcomes['ManagerLost']} tasks were lost with connections")
        # The proxy holds results of two managers with two workers each.
        assert 1 <= outcomes["ManagerLost"] <= 3 * 2 * 4
        assert outcomes.total() == 300
        assert len(htex.connected_managers()) == 2


@pytest.fixture
def behind_proxy(start, encrypted):
    """`behind_proxy("2")` returns an interchange with this reconnect patience, a proxy and a fake
    manager."""
    opened = []

    def make(patience: str):
        command = [*command_under_test(), "--reconnect-patience", patience]
        side = start(command=command, encrypted=encrypted, heartbeat_threshold=60)
        opened.append(proxy := Proxy(("127.0.0.1", side.worker_port)).__enter__())
        url = f"tcp://127.0.0.1:{proxy.port}"
        opened.append(manager := FakeManager(url, b"manager-a", cert_dir=side.cert_dir))
        return side, proxy, manager.enlist(side, max_capacity=1)

    yield make
    for one in reversed(opened):
        one.__exit__()


def lose_a_batch(side, proxy, manager) -> None:
    proxy.freeze()
    side.submit(1)
    wait_until(lambda: proxy.held_bytes > 0, 5, "the batch is on its way")
    proxy.lose()
    manager.beat(within_s=10)
    assert manager.waiting == []


def lose_a_result(side, proxy, manager) -> None:
    side.submit(1)
    manager.tasks(1)
    proxy.freeze()
    manager.answer(1)
    wait_until(lambda: proxy.held_bytes > 0, 5, "the result is on its way")
    proxy.lose()
    manager.beat(within_s=10)


LOSSES = pytest.mark.parametrize("lose", [lose_a_batch, lose_a_result], ids=lambda f: f.__name__)


@LOSSES
@pytest.mark.ours_only("stock never gives such a task up")
def test_a_task_lost_with_a_connection_is_reported_after_the_patience(behind_proxy, lose, measured):
    patience_s = 1.5
    side, proxy, manager = behind_proxy(str(patience_s))
    begin = time.monotonic()
    lose(side, proxy, manager)
    back = time.monotonic()
    side.submit(2)
    failure = side.result(within_s=10)
    now = time.monotonic()
    measured(f"lost {now - back:.2f} s after it was back, patience {patience_s} s")
    assert patience_s <= now - begin and now - back < patience_s + 2
    assert failure["task_id"] == 1
    with pytest.raises(ManagerLost):
        deserialize(failure["exception"]).reraise()
    # The slot of task 1 is free again, and the manager is still served; its result for task 1 is
    # late.
    assert manager.tasks(1)[0]["task_id"] == 2
    manager.answer(1)
    manager.answer(2)
    assert side.result()["task_id"] == 2
    (line,) = side.interchange.log_lines("WARNING", "Reported tasks lost that manager")
    assert "manager-a" in line and "1 [1]" in line and "--reconnect-patience" in line
    side.interchange.wait_for_log("Dropping the result of task 1 (late result number 1)")


@LOSSES
@pytest.mark.ours_only("stock has no such option")
@MOSTLY_PLAIN
def test_without_a_patience_a_lost_task_stays_in_flight_with_its_manager(behind_proxy, lose):
    side, proxy, manager = behind_proxy("none")
    lose(side, proxy, manager)
    with pytest.raises(Silence):
        side.result(within_s=4)
    manager.beat()
    assert [row["tasks"] for row in side.managers()] == [1]


@pytest.mark.ours_only("stock reads ahead without a limit")
def test_a_task_connection_that_breaks_repeatedly(start, connect, encrypted):
    """With the smallest number of tasks read ahead: each new connection takes one of these
    places."""
    side = start(launch=False, encrypted=encrypted)
    task_port, *others = side.config()["client_ports"]
    with Proxy(("127.0.0.1", task_port)) as proxy:
        side.overrides["client_ports"] = (proxy.port, *others)
        side.launch([*command_under_test(), "--max-queued-bytes", "1000000"])
        manager = connect(side).enlist(side, max_capacity=1)
        for task_id in range(1, 13):
            side.submit(task_id, bytes(2000))
            assert [task["task_id"] for task in manager.tasks(1, within_s=10)] == [task_id]
            manager.answer(task_id)
            assert side.result()["task_id"] == task_id
            connections = proxy.accepted
            proxy.cut()
            proxy.heal()
            wait_until(
                lambda before=connections: proxy.accepted > before and proxy.open_connections,
                10,
                "the interchange connects again",
            )
