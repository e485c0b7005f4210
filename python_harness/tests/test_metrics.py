"""Metrics: read by Prometheus's own parser, and compared with what the test did."""

from __future__ import annotations

import json
import re
import socket
import urllib.error
from contextlib import suppress

import pytest

from harness.htex import metrics
from harness.machine import sockets, usage
from harness.machine.waiting import wait_until
from harness.setup import environment

pytestmark = pytest.mark.ours_only("stock tells no metrics")

DASHBOARD = environment.PROJECT_DIR / "python_harness" / "grafana" / "htex-interchange.json"
STATES = {"suspect", "draining", "held", "awaited", "full", "reserved", "busy", "idle"}
# Clients are served 50 times a second, and a measurement is reused for 100 ms.
LOOK_S = 5.0
# Nothing, half a request, nonsense, and a complete request whose answer is not read.
BAD_REQUESTS = [
    b"",
    b"GET /metrics HTTP/1.1\r\n",
    b"\0" * 3000,
    b"GET /metrics HTTP/1.0\r\n\r\n",
]


def with_metrics(*more: str, at: str = "0") -> list[str]:
    return [str(environment.binary()), "--metrics", at, *more]


def wait_for(side, **expected) -> dict:
    def as_expected():
        told = metrics.values(side)
        return told if expected.items() <= told.items() else None

    return wait_until(as_expected, LOOK_S, f"metrics say {expected}")


def test_metrics_match_the_work_done(start, connect):
    side = start(command=with_metrics())
    told = wait_for(side, tasks_received_total=0, queue_tasks=0, queue_asking_tasks=0, slots=0)
    assert told["held_bound_bytes"] > 1e6 and told["takes_tasks"] == told["dispatches"] == 1
    for task_id in range(1, 6):
        side.submit(task_id, b"x" * 1000)
    told = wait_for(side, tasks_received_total=5, queue_tasks=5)
    assert 5_000 < told["queue_bytes"] < 8_000 and told["queue_oldest_seconds"] > 0
    manager = connect(side).enlist(side, max_capacity=2)
    held = [task["task_id"] for task in manager.tasks(2)]
    wait_for(
        side,
        queue_tasks=3,
        tasks_in_flight=2,
        tasks_dispatched_total=2,
        capacity_tasks=2,
        managers_registered_total=1,
        connections=1,
    )
    for task_id in held:
        manager.answer(task_id)
        side.result()
    told = wait_for(
        side,
        tasks_done_total=2,
        tasks_dispatched_total=4,
        task_in_flight_seconds_count=2,
        task_queued_seconds_count=4,
        tasks_lost_total=0,
    )
    assert told["task_queued_seconds_sum"] > 0 and told["dispatch_latency_seconds_count"] >= 2
    assert 5_000 < told["tasks_bytes_total"] < 8_000 and told["batches_bytes_total"] > 4_000
    assert told["from_managers_bytes_total"] > told["results_bytes_total"] > 0


def test_states_of_managers_and_lost_tasks(start, connect):
    side = start(command=with_metrics(), heartbeat_threshold=2)
    manager = connect(side).enlist(side, max_capacity=1)
    side.submit(1)
    manager.tasks(1)
    name = metrics.PREFIX + "managers"

    def states() -> dict:
        return {key[1][1]: value for key, value in metrics.samples(side).items() if key[0] == name}

    wait_until(lambda: states().get("full") == 1, LOOK_S, "the manager is full")
    assert set(states()) == STATES and sum(states().values()) == 1
    side.command(["HOLD_MANAGER", "manager-a"])
    wait_until(lambda: states()["held"] == 1, LOOK_S, "the manager is held")
    side.result(within_s=8)
    told = wait_for(side, managers_lost_total=1, tasks_lost_total=1)
    assert told["tasks_done_total"] == 0 and sum(states().values()) == 0


def test_a_histogram_has_all_of_its_times(start, connect):
    side = start(command=with_metrics())
    manager = connect(side).enlist(side, max_capacity=50)
    for task_id in range(1, 51):
        side.submit(task_id)
    for task in manager.tasks(50):
        manager.answer(task["task_id"])
    wait_for(side, tasks_done_total=50, task_in_flight_seconds_count=50)
    name = metrics.PREFIX + "task_in_flight_seconds_bucket"
    told = metrics.samples(side).items()
    buckets = {float(dict(key[1:])["le"]): count for key, count in told if key[0] == name}
    counts = [buckets[bound] for bound in sorted(buckets)]
    assert counts == sorted(counts) and counts[-1] == buckets[float("inf")] == 50
    assert min(buckets) == 0.000125 and buckets[0.000125 * 2**16] == 50


def test_the_process_exposes_its_own_figures(start):
    side = start(command=with_metrics())
    told = {key[0]: value for key, value in metrics.samples(side).items()}
    pid = side.interchange.pid
    resident = usage.resident_bytes(pid)
    assert abs(told["process_resident_memory_bytes"] - resident) < 4e6
    assert 0 < told["process_cpu_seconds_total"] < 10
    assert told["process_open_fds"] < told["process_max_fds"]
    assert told[metrics.PREFIX + "info"] == 1


@pytest.mark.parametrize(("path", "status"), [("/", 404), ("/metrics/x", 404)])
def test_there_is_one_page(start, path, status):
    side = start(command=with_metrics())
    with pytest.raises(urllib.error.HTTPError) as caught:
        metrics.read(side, path)
    assert caught.value.code == status


def test_without_the_flag_no_port_is_open(start):
    side = start()
    ports = [port for _, port in sockets.listening(side.interchange.pid)]
    assert ports == [side.worker_port]


def test_a_port_alone_is_for_this_machine_only(start):
    side = start(command=with_metrics())
    port = int(metrics.address_of(side).rsplit(":", 1)[1])
    assert ("127.0.0.1", port) in sockets.listening(side.interchange.pid)
    ports = {port for _, port in sockets.listening(side.interchange.pid)}
    assert ports == {side.worker_port, port}


def test_misbehaving_clients_block_nobody(start, connect):
    """Tasks go on, and so do metrics for other clients, while the port is full of clients that send
    nothing, do not read, or send nonsense."""
    side = start(command=with_metrics())
    host, port = metrics.address_of(side).rsplit(":", 1)
    manager = connect(side).enlist(side, max_capacity=4)
    before = usage.descriptors(side.interchange.pid)
    crowd = []
    try:
        for number in range(200):
            peer = socket.create_connection((host, int(port)), timeout=10)
            crowd.append(peer)
            # The interchange may have closed the connection already.
            with suppress(OSError):
                peer.sendall(BAD_REQUESTS[number % len(BAD_REQUESTS)])
        for task_id in range(1, 101):
            side.submit(task_id)
            manager.answer(manager.tasks(1)[0]["task_id"])
            assert side.result()["task_id"] == task_id
        assert usage.descriptors(side.interchange.pid) < before + 40
        wait_for(side, tasks_done_total=100)
    finally:
        for peer in crowd:
            peer.close()
    side.interchange.terminate()


def test_the_dashboard_queries_existing_metrics(start):
    """The metrics page contains each name that a query of the Grafana dashboard uses."""
    side = start(command=with_metrics("--events", "events.jsonl"))
    told = {key[0] for key in metrics.samples(side)}
    panels = json.loads(DASHBOARD.read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    assert len(queries) > 10
    names = {name for query in queries for name in re.findall(r"\b(?:htex|process)_\w+", query)}
    assert names - told == set()
