"""Falsy values in the start-up configuration: they count as None where Parsl's interchange treats
them so, and are refused where Parsl's interchange fails with them."""

from __future__ import annotations

import pickle

import pytest
import zmq

from harness.fakes.wire import FakeSubmitSide
from harness.machine.waiting import wait_until
from harness.setup import environment

pytestmark = [pytest.mark.expect_death, pytest.mark.expect_error("refused to start")]

WITHIN_S = 30
FALSE_ONES = (None, False, 0, 0.0, "", b"", (), [], {})


@pytest.mark.parametrize("key", ["interchange_address", "worker_port", "log_config", "run_id"])
def test_each_false_value_counts_as_none(start, key):
    for value in FALSE_ONES if key != "run_id" else (None, 0, ""):
        assert start(**{key: value}).command("MANAGERS") == []


def answers(side: FakeSubmitSide) -> bool:
    """Whether the interchange serves requests instead of ending."""

    def can(what: int) -> bool:
        wait_until(
            lambda: side.commands.poll(0, what) or not side.interchange.running, WITHIN_S, "an end"
        )
        return bool(side.commands.poll(0, what))

    if not can(zmq.POLLOUT):
        return False
    side.commands.send(pickle.dumps("WORKER_BINDS"))
    # After a refusal, the answer is a text instead of a port number.
    return can(zmq.POLLIN) and b"refused to start" not in side.commands.recv()


@pytest.mark.expect_error("Exceptional ending for start")
def test_stock_accepts_and_fails_with_the_same_values(start):
    """All changes at once, because each start of Parsl's interchange takes a second."""
    all_changes = [
        {"interchange_address": "", "run_id": 0, "log_config": {}},
        {"interchange_address": [], "worker_port": False, "_check_python_mismatch": ""},
        {"hub_address": "", "hub_zmq_port": None},
        {"hub_address": None, "hub_zmq_port": 0},
        {"hub_address": "127.0.0.1", "hub_zmq_port": False},
        {"logdir": ""},
        {"cert_dir": ""},
        {"worker_port": 0, "worker_port_range": ()},
    ]
    outcomes = {}
    for kind, command in (
        ("stock", environment.stock_command()),
        ("ours", [str(environment.binary())]),
    ):
        sides = [start(launch=False, **changes) for changes in all_changes]
        for side in sides:
            side.launch(command)
        outcomes[kind] = [answers(side) for side in sides]
        for side in sides:
            side.interchange.end()
    expected = [True] * 4 + [False] * 4
    assert outcomes == {"stock": expected, "ours": expected}
