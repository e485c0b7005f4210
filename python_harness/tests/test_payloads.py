"""What an application sends beside its function: contexts with any objects, priorities of any type.

Executors and workers are real. The executor pickles a context, the interchange links it into a
batch, the manager unpickles it, and the worker passes it to the application's own executor
function. Everything is returned as a result. Several odd tasks share one batch, because a pickle
that disturbs its neighbour shows only there.
"""

from __future__ import annotations

import array
import collections
import datetime
import functools
import http
import ipaddress
import math
import operator
import os
import pathlib
import random
import re
import signal
import types
import uuid
from decimal import Decimal
from fractions import Fraction

import pytest

from harness.htex import executors, jobs
from harness.htex.executors import add_blocks
from harness.machine.waiting import wait_until

RESULT_S = 120
WORKERS = 2

# Values that must come back equal and with the same type.
VALUES = {
    "tuples": ((), (1,), (1, (2, (3, None)))),
    "uuid": uuid.UUID(int=2**127 + 5),
    "sets": {1, "two", (3,)},
    "frozenset": frozenset({frozenset(), frozenset({1})}),
    "decimal": (Decimal("1.10"), Decimal("-Infinity"), Decimal(10) ** 50),
    "fraction": Fraction(-7, 3),
    "paths": (
        pathlib.PurePosixPath("/a/b"),
        pathlib.Path("relative"),
        pathlib.PureWindowsPath("c:/d"),
    ),
    "bytes": (b"", b"\0" * 300, bytes(range(256)), b"x" * 70_000, bytearray(b"abc")),
    "text": ("", "\0", "ü€😀", "\ud800", "x" * 70_000),
    "integers": (0, -1, 255, 256, 65536, -(2**31), 2**31, 2**63, -(2**64), 10**400),
    "floats": (0.0, -0.0, 1e-320, math.inf, -math.inf, 3.5, 2 + 3j),
    "times": (
        datetime.datetime(2026, 2, 3, 4, 5, 6, 7, datetime.timezone.utc),
        datetime.timedelta(days=-1, microseconds=1),
        datetime.date(2026, 1, 1),
    ),
    "classes": (collections.OrderedDict, int, ValueError, jobs.Rejected),
    "functions": (len, os.path.join, jobs.add, operator.itemgetter, datetime.datetime.now),
    "bound methods": ("abc".upper, [1, 2].index, {}.get),
    "enumerations": (signal.SIGTERM, http.HTTPStatus.NOT_FOUND, re.IGNORECASE | re.DOTALL),
    "containers": (
        collections.OrderedDict(b=1, a=2),
        collections.defaultdict(list, k=[1]),
        collections.Counter("abca"),
        collections.deque([1, 2, 3], maxlen=3),
        array.array("d", [1.5, 2.5]),
        types.SimpleNamespace(a=1, b=(2,)),
    ),
    "addresses": (ipaddress.ip_address("::1"), ipaddress.ip_network("10.0.0.0/8")),
    "singletons": (None, True, False, Ellipsis, NotImplemented),
    "spans": (range(0, 10, 3), slice(1, None, 2), re.compile("a+b")),
    "many keys": {f"key {number}": number for number in range(2500)},
    "many memos": [(str(number), [number]) for number in range(1200)],
    "the interchange's own words": {
        "type": "result",
        "task_id": -1,
        "context": {"resource_spec": {"priority": "high"}},
        "buffer": b"none",
        "priority": None,
    },
}


def context_of(*arguments, **keywords) -> dict:
    return {"task_executor": {"f": "harness.htex.jobs.run_buffer", "a": arguments, "k": keywords}}


def same(left, right) -> bool:
    """Whether two values are equal and of the same types at every level. Values without equality
    must have the same text."""
    if type(left) is not type(right):
        return False
    if isinstance(left, (tuple, list, collections.deque)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, float):
        return math.copysign(1, left) == math.copysign(1, right) and left == right
    if isinstance(left, (types.BuiltinMethodType, functools.partial)):
        return left == right or repr(left).split(" at ")[0] == repr(right).split(" at ")[0]
    return left == right


def nested(depth: int):
    inner = ()
    for _ in range(depth):
        inner = (inner,)
    return inner


def test_every_kind_of_object_in_one_batch(tmp_path):
    """All tasks wait for the first manager, so that they share its batches."""
    with executors.running(tmp_path / "run", blocks=0, max_workers_per_node=WORKERS) as htex:
        futures = {
            name: htex.submit_payload(context_of(value, keyword=value), name.encode())
            for name, value in VALUES.items()
        }
        add_blocks(htex, 1)
        wrong = []
        for name, future in futures.items():
            buffer, arguments, keywords = future.result(RESULT_S)
            if buffer != name.encode() or not same(arguments, (VALUES[name],)):
                wrong.append(f"{name}: {arguments!r}")
            # An object that occurs twice in the context arrives as one object, and so do its parts.
            if keywords["keyword"] is not arguments[0]:
                wrong.append(f"{name}: it came as two objects")
        assert not wrong
        assert htex.outstanding() == 0


@pytest.mark.parametrize("neighbours", [0, 3], ids=["alone", "among others"])
def test_containers_that_hold_themselves(tmp_path, neighbours):
    ring: list = ["ring"]
    ring.append(ring)
    table: dict = {"name": "table"}
    table["self"] = table
    pair = ([],)
    pair[0].append(pair)
    shared = ["shared"]
    with executors.running(tmp_path / "run", blocks=0, max_workers_per_node=8) as htex:
        around = [htex.submit_payload(context_of(shared, shared), b"before")] * neighbours
        future = htex.submit_payload(context_of(ring, table, pair, shared, shared), b"rings")
        around += [htex.submit_payload(context_of(ring), b"after") for _ in range(neighbours)]
        add_blocks(htex, 1)
        buffer, (ring, table, pair, one, other), _ = future.result(RESULT_S)
        assert buffer == b"rings" and one == ["shared"] and one is other
        assert ring[0] == "ring" and ring[1] is ring
        assert table["self"] is table
        assert type(pair) is tuple and pair[0][0] is pair
        for future in around:
            buffer, arguments, _ = future.result(RESULT_S)
            if buffer == b"before":
                assert arguments[0] is arguments[1] and arguments[0] == ["shared"]
            else:
                assert arguments[0][1] is arguments[0]


def test_deep_nesting(tmp_path):
    with executors.running(tmp_path / "run") as htex:
        _, (value,), _ = htex.submit_payload(context_of(nested(200)), b"").result(RESULT_S)
    assert value == nested(200)


def test_buffers_that_are_not_pickles(tmp_path):
    """The buffer belongs to the application: it may hold any bytes, even bytes that look like the
    end of a pickle."""
    sizes = [0, 1, 255, 256, 65_535, 65_536, 3_000_000]
    buffers = [(b".\x80\x04(0Rb" * (size // 6 + 1))[:size] for size in sizes]
    with executors.running(tmp_path / "run", blocks=0, max_workers_per_node=WORKERS) as htex:
        futures = [htex.submit_payload(context_of(k=len(one)), one) for one in buffers]
        add_blocks(htex, 1)
        for buffer, future in zip(buffers, futures, strict=True):
            assert future.result(RESULT_S) == (buffer, (), {"k": len(buffer)})


def test_a_context_that_only_the_worker_cannot_load_fails_that_task_alone(tmp_path):
    """An executor function that does not exist is an ordinary exception."""
    with executors.running(tmp_path / "run", blocks=0, max_workers_per_node=WORKERS) as htex:
        missing = {"task_executor": {"f": "harness.htex.jobs.no_such_function", "a": (), "k": {}}}
        bad = htex.submit_payload(missing, b"")
        good = htex.submit_payload(context_of(1), b"good")
        add_blocks(htex, 1)
        assert isinstance(bad.exception(RESULT_S), AttributeError)
        assert good.result(RESULT_S) == (b"good", (1,), {})


PRIORITIES = {
    "plain numbers": [True, False, -5, 3, 2.5, -0.5, math.inf, -math.inf, 1e300, 1e-300],
    "huge integers": [
        2**2000,
        -(2**2000),
        10**30,
        -(10**30),
        2**63,
        2**64,
        1.5e300,
        -1,
        2**53 + 1,
        2**53,
    ],
    "decimals": [
        Decimal("0.5"),
        Decimal("-1e100"),
        0,
        1,
        Decimal("Infinity"),
        Decimal("0.25"),
        -2.5,
    ],
    "fractions": [Fraction(1, 3), Fraction(-7, 2), 0, -3, -4, 0.3, Fraction(10**40, 3)],
    "enumerations": [http.HTTPStatus.OK, signal.SIGHUP, 100, 0, signal.SIGTERM, 1.5],
    "equals": [2, 1.0, True, Decimal(1), http.HTTPStatus.CONTINUE, 1, 0, 100.0, signal.SIGHUP],
}


def order_of(htex, place: pathlib.Path, priorities: list) -> list[int]:
    """Returns indices into `priorities`, in the order in which the tasks ran on the only worker."""
    place.mkdir()
    started, proceed, order = (place / name for name in ("started", "proceed", "order"))
    first = htex.submit(jobs.touch_and_wait, {}, str(started), str(proceed))
    wait_until(started.exists, RESULT_S, "the worker is busy")
    futures = [
        htex.submit(jobs.note, {"priority": priority}, str(order), str(index))
        for index, priority in enumerate(priorities)
    ]
    log = pathlib.Path(htex.logdir) / "interchange.log"
    last = f"Put task {htex._task_counter} onto pending_task_queue"
    wait_until(lambda: last in log.read_text(), 10, "all are queued")
    proceed.touch()
    for future in [first, *futures]:
        future.result(RESULT_S)
    return [int(index) for index in order.read_text().split()]


def expected_order(priorities: list) -> list[int]:
    """Returns the order by Python's own comparison; equal priorities keep the order of
    submission."""
    return sorted(range(len(priorities)), key=lambda index: (priorities[index], index))


def test_priorities_of_every_number_type(tmp_path):
    wrong = []
    with executors.running(tmp_path / "run", worker_debug=True) as htex:
        for kind, values in PRIORITIES.items():
            priorities = values * 2
            random.Random(7).shuffle(priorities)
            order = order_of(htex, tmp_path / kind.replace(" ", "-"), priorities)
            if order != expected_order(priorities):
                wrong.append(f"{kind}: {[priorities[index] for index in order]}")
    assert not wrong


def numpy_order_is_right(tmp_path, kinds: list[tuple[str, object]]) -> None:
    numpy = pytest.importorskip("numpy")
    priorities = [getattr(numpy, name)(value) for name, value in kinds] + [1, 7]
    with executors.running(tmp_path / "run", worker_debug=True) as htex:
        assert order_of(htex, tmp_path / "numpy", priorities) == expected_order(priorities)


def test_priorities_of_numpy(tmp_path):
    numpy_order_is_right(
        tmp_path,
        [
            ("float64", 2.5),
            ("int64", -3),
            ("float32", 0.5),
            ("int32", 2),
            ("float64", "-inf"),
            ("float16", -1.5),
            ("int8", 100),
            ("int16", 300),
        ],
    )


@pytest.mark.ours_only("stock negates: it dies of numpy's bool, and unsigned numbers wrap round")
def test_priorities_of_numpy_that_cannot_be_negated(tmp_path):
    numpy_order_is_right(
        tmp_path,
        [
            ("uint8", 200),
            ("uint64", 2**64 - 1),
            ("bool_", True),
            ("uint16", 0),
            ("bool_", False),
        ],
    )
