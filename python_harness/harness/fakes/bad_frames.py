"""Frames that no peer of Parsl sends, and that an interchange has to survive."""

from __future__ import annotations

import pickle

GOOD_RESULT = pickle.dumps({"type": "result", "task_id": 1, "result": b"x" * 100})


def deep_nesting(depth: int) -> bytes:
    """Returns a pickle of lists nested `depth` deep."""
    return b"\x80\x04" + b"]" * depth + b"a" * (depth - 1) + b"."


# Messages for the manager socket. The interchange logs one WARNING for each, regardless of its
# number of frames.
BAD_MESSAGES = {
    "fuzz-of-parsl-3262": [b"FuzzyByte\rSTREAM"],
    "json-object": [b"{}"],
    "json-heartbeat": [b'{"type":"heartbeat"}'],
    "empty": [b""],
    "one-byte": [b"\x80"],
    "random": [bytes(range(256))],
    "no-type": [pickle.dumps({"task_id": 1})],
    "not-a-dict": [pickle.dumps(["type", "heartbeat"])],
    "truncated": [GOOD_RESULT[:-30]],
    "two-garbage-frames": [b"", b"\xff\xfe"],
    "three-garbage-frames": [b"a", b"b", b"c"],
    "thirty-frames": [b"x"] * 30,
    "empty-frames": [b"", b"", b""],
    "unknown-opcode": [b"\x80\x04\xff."],
    "unknown-protocol": [b"\x80\x7f."],
    "length-beyond-the-end": [b"\x80\x04\x8e" + (2**62).to_bytes(8, "little") + b"x."],
    "memo-index-beyond": [b"\x80\x04j\x00\x00\x00\x04."],
    "pop-of-nothing": [b"\x80\x040."],
    "stop-at-once": [b"."],
    "cut-before-its-end": [pickle.dumps({"type": "heartbeat"})[:-1]],
}

# Messages for the manager socket which htex-interchange handles like BAD_MESSAGES; stock logs no
# WARNING, or runs their contents.
HOSTILE_MESSAGES = {
    "deep-nesting": [deep_nesting(100_000)],
    "many-marks": [b"\x80\x04" + b"(" * 1_000_000 + b"."],
    "unknown-type": [pickle.dumps({"type": "nonsense"})],
    "type-is-no-text": [pickle.dumps({"type": ["heartbeat"]})],
}

# Messages for the task socket.
BAD_TASKS = {
    "empty": b"",
    "not-a-pickle": b"hello",
    "truncated": pickle.dumps({"task_id": 5, "context": {}, "buffer": b"x" * 99})[:-9],
    "no-task-id": pickle.dumps({"context": {}, "buffer": b""}),
    "a-list": pickle.dumps([1, 2]),
    "deep": deep_nesting(100_000),
}
