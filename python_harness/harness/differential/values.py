"""Values that the differential test puts into messages, and descriptions of what it receives.

A seed determines task contexts with the kinds of objects that clients pass, priorities of all
number types, packages, and garbage frames. `describe` turns any received object into a text with
its types, cycles and shared containers. Two texts are equal only if the objects are.
"""

from __future__ import annotations

import datetime
import pathlib
import pickle
import posixpath
import random
import uuid
import zlib
from collections import OrderedDict
from decimal import Decimal
from fractions import Fraction

from parsl.app.errors import RemoteExceptionWrapper
from parsl.serialize import deserialize

# Numbers with the same order in Python and in exact arithmetic; NaN has no order and is left out.
PRIORITIES = [
    None,
    0,
    1,
    1,
    2,
    3,
    5,
    10,
    -1,
    -7,
    255,
    256,
    65536,
    -(2**31),
    2**31,
    2**53,
    2**53 + 1,
    2**60,
    2**60 + 1,
    -(2**70),
    10**30,
    -(10**40),
    True,
    False,
    0.0,
    -0.0,
    1.0,
    0.5,
    -2.25,
    1e300,
    float("inf"),
    float("-inf"),
    Decimal("1.5"),
    Decimal(-3),
    Fraction(3, 2),
    Fraction(-1, 4),
]

GARBAGE = [
    [b"FuzzyByte\rSTREAM"],
    [b"{}"],
    [b'{"type":"heartbeat"}'],
    [b""],
    [b"\x80"],
    [bytes(range(256))],
    [pickle.dumps({"task_id": 1})],
    [pickle.dumps(["type", "heartbeat"])],
    [pickle.dumps({"type": "result", "task_id": 1, "result": b"x" * 100})[:-30]],
    [b"", b"\xff\xfe"],
    [b"a", b"b", b"c"],
    [b"x"] * 30,
    [b"\x80\x04\xff."],
    [b"\x80\x7f."],
    [b"."],
    [pickle.dumps({"type": "heartbeat"})[:-1]],
    [pickle.dumps({"type": "nonsense"})],
    [pickle.dumps({"type": None})],
    [pickle.dumps({"type": "heartbeat"}), pickle.dumps({"type": "heartbeat"})],
]

# Requests that no supported release knows.
UNKNOWN_COMMANDS = [
    "MANGERS_PACKAGES",
    "",
    "managers",
    None,
    7,
    ("MANAGERS",),
    ["HOLD_MANAGER"],
    ["MANAGERS"],
    {"a": [1]},
    b"MANAGERS",
    ["HOLD_MANAGER", "m0", "m1"],
    "WORKER_PORTS",
    ("HOLD_MANAGER", "m0"),
]


TRACEBACK, NO_TRACEBACK = "with a traceback", "without a traceback"


def context(rng: random.Random, priority: object) -> dict:
    """Returns a task's context: empty, with an MPI specification, or with a client's own
    objects."""
    spec: dict = {}
    if rng.random() < 0.2:
        spec.update(num_nodes=2, ranks_per_node=4, launcher_options="--x")
    if priority is not None:
        spec["priority"] = priority
    made: dict = {"resource_spec": spec} if spec or rng.random() < 0.3 else {}
    if rng.random() < 0.4:
        arguments = tuple(_thing(rng) for _ in range(rng.randrange(4)))
        made["task_executor"] = {"f": "a.module.run", "a": arguments, "k": {"key": _thing(rng)}}
    return made


def _thing(rng: random.Random) -> object:
    shared = [1, 2]
    cyclic: dict = {"name": "cycle"}
    cyclic["self"] = cyclic
    return rng.choice(
        [
            uuid.UUID(int=rng.getrandbits(128)),
            None,
            ("nested", ("tuple",)),
            {1, 2, 3},
            frozenset({"a"}),
            pathlib.PurePosixPath("/a/b"),
            Decimal("1.50"),
            Fraction(1, 3),
            datetime.datetime(2026, 1, 2, 3, 4, 5, 6),
            datetime.timedelta(days=1),
            1 + 2j,
            range(1, 9, 2),
            slice(1, None),
            ...,
            bytearray(b"bytes"),
            OrderedDict(b=1, a=2),
            Decimal,
            posixpath.join,
            (shared, shared),
            cyclic,
            2**200,
            -1,
            1.5,
            float("-inf"),
            "ünï\U0001f600",
            b"\x00\xff",
            [],
            {},
            (),
            True,
            "x" * 300,
            [[]] * 3,
        ]
    )


def names_foreign(task: object) -> bool:
    """Whether a task names an object that a manager may be unable to import (here: a function)."""
    executor = isinstance(task, dict) and task.get("context", {}).get("task_executor")
    return bool(executor) and posixpath.join in (*executor["a"], *executor["k"].values())


def buffer(rng: random.Random) -> bytes:
    size = rng.choice(
        [0, 1, 10, 100, 255, 256, 1000] + [65535, 65536, 70000] * (rng.random() < 0.1)
    )
    return bytes([rng.randrange(256)]) * size


def packages(rng: random.Random) -> dict:
    return rng.choice(
        [
            {"parsl": "2026.10.26", "dill": "0.4"},
            {},
            {"numpy": "2.1", "ünï": None, None: "1.0"},
            {f"package-{number}": f"{number}.0" for number in range(rng.randrange(300))},
        ]
    )


def describe(value: object) -> str:
    """Describes an object as text: types, values, and which containers are the same object."""
    return _describe(value, {})


def _describe(value: object, seen: dict[int, int]) -> str:
    kind = type(value).__name__
    if isinstance(value, (bytes, bytearray)) and len(value) > 40:
        return f"{kind}({len(value)} bytes, crc {zlib.crc32(value):08x})"
    if not isinstance(value, (dict, list, tuple, set, frozenset, bytearray)):
        return (
            f"{kind}:{value!r}" if kind not in ("str", "bytes", "int", "NoneType") else repr(value)
        )
    if isinstance(value, (dict, list, set, bytearray)):
        if id(value) in seen:
            return f"<the {kind} #{seen[id(value)]}>"
        seen[id(value)] = len(seen)
    if isinstance(value, bytearray):
        return repr(value)
    if isinstance(value, dict):
        pairs = [(_describe(key, seen), key) for key in value]
        # The order of keys matters for an OrderedDict only; those of other dicts are sorted.
        ordered = pairs if isinstance(value, OrderedDict) else sorted(pairs, key=lambda p: p[0])
        inside = ", ".join(f"{text}: {_describe(value[key], seen)}" for text, key in ordered)
    elif isinstance(value, (set, frozenset)):
        inside = ", ".join(sorted(_describe(item, seen) for item in value))
    else:
        inside = ", ".join(_describe(item, seen) for item in value)
    return f"{kind}({inside})"


def describe_failure(message: dict) -> str:
    """Describes a result that the interchange wrote itself, without the time of a loss."""
    fields = sorted(message)
    if "exception" not in message:
        return f"without an outcome: {fields}"
    if not isinstance(message["exception"], bytes):
        return f"an exception that is a {type(message['exception']).__name__}"
    failure = deserialize(message["exception"])
    wrapped = ""
    if isinstance(failure, RemoteExceptionWrapper):
        traceback = NO_TRACEBACK if failure.e_traceback is None else TRACEBACK
        wrapped = f"wrapped {traceback} {failure.e_type.__qualname__}, cause {failure.cause!r}: "
        failure = failure.e_value
    told = {name: value for name, value in vars(failure).items() if name != "tstamp"}
    return f"{fields} {wrapped}{type(failure).__qualname__}({failure}) {describe(told)}"
