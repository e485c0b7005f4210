"""Real frames, for the guide's page of frames and for programs that test a codec.

`python -m harness.conformance.frames` rewrites the page. Python's pickle and Parsl's own classes
make each frame from fixed values; a test compares the frames with those that stock sends. Names,
hosts and times are made up.
"""

from __future__ import annotations

import datetime
import json
import pickle
import sys
from dataclasses import dataclass
from pathlib import Path

from parsl.app.errors import RemoteExceptionWrapper
from parsl.executors.high_throughput.errors import ManagerLost, VersionMismatch
from parsl.executors.high_throughput.manager_selector import RandomManagerSelector
from parsl.monitoring.message_type import MessageType
from parsl.serialize import serialize

from harness.conformance import page
from harness.fakes.bad_frames import BAD_MESSAGES, BAD_TASKS
from harness.fakes.wire import HEARTBEAT_CODE, SHUTDOWN_CODE, registration

PATH = page.PATH.parent / "frames.md"

PROTOCOL = 4
RELEASE = "2026.10.26"
NOON_S = 1_767_268_800.0
NOON = datetime.datetime(2026, 1, 1, 12)
MANAGER = "manager-a"

TO_INTERCHANGE = "executor -> interchange"
TO_EXECUTOR = "interchange -> executor"
FROM_MANAGER = "manager -> interchange"
TO_MANAGER = "interchange -> manager"
TO_HUB = "interchange -> hub"

# Largest frame in bytes among the vectors. Larger frames only matter to interchanges; tests of a
# codec can make them themselves.
LARGEST_VECTOR = 1 << 14

BYTES_PER_LINE = 20

HEAD = f"""# Frames

Real messages of HTEX's protocol, byte by byte.

They are the bodies as Python 3.11 and Parsl {RELEASE} pickle them; names, hosts and times are
made up. The rules behind them are in [protocol]. `python3 -m harness.conformance.frames` makes
this page, which a test repeats, and `conformance --vectors DIR` writes the frames as files.

[protocol]: protocol.md
"""


@dataclass(frozen=True)
class Message:
    """One message: the frames that follow the identity, and the rule that describes it."""

    name: str
    direction: str
    rule: str
    says: str
    frames: tuple[bytes, ...]
    valid: bool = True


def registration_message() -> dict:
    fields = {
        "parsl_v": RELEASE,
        "python_v": "3.11.7",
        "start_time": NOON_S,
        "hostname": "node-17",
        "max_capacity": 2,
        "packages": {"parsl": RELEASE, "dill": "0.4.0"},
    }
    return registration(MANAGER, **fields)


def configuration() -> dict:
    address = "127.0.0.1"
    return {
        "client_address": address,
        "client_ports": (55001, 55002, 55003),
        "interchange_address": None,
        "worker_port": None,
        "worker_port_range": (54000, 55000),
        "hub_address": address,
        "hub_zmq_port": None,
        "logdir": "/scratch/runinfo/000/htex",
        "heartbeat_threshold": 120,
        "poll_period": 10,
        "logging_level": 20,
        "cert_dir": None,
        "manager_selector": RandomManagerSelector(),
        "run_id": "a-run",
        "log_config": None,
        "_check_python_mismatch": True,
    }


def tasks() -> list[dict]:
    """Returns tasks as an executor sends them. Each is pickled and loaded separately, so that no
    two tasks share objects."""
    specs: list[dict] = [{}, {"resource_spec": {"priority": 3}}]
    told = [
        {"task_id": number, "context": context, "buffer": b"work"}
        for number, context in enumerate(specs, 1)
    ]
    return [pickle.loads(pickle.dumps(task, PROTOCOL)) for task in told]


def rows() -> list[dict]:
    """Returns the reply to MANAGERS while both tasks are held."""
    sent = registration_message()
    return [
        {
            "manager": MANAGER,
            "block_id": sent["block_id"],
            "worker_count": sent["worker_count"],
            "tasks": 2,
            "idle_duration": 0.0,
            "active": True,
            "parsl_version": sent["parsl_v"],
            "python_version": sent["python_v"],
            "draining": False,
        }
    ]


def node_info() -> tuple:
    record = {
        **registration_message(),
        "tasks": [1, 2],
        "active": True,
        "draining": False,
        "idle_since": None,
        "timestamp": NOON,
        "last_heartbeat": NOON,
        "run_id": "a-run",
    }
    return MessageType.NODE_INFO, record


def manager_lost() -> dict:
    lost = ManagerLost(MANAGER.encode(), "node-17")
    lost.tstamp = NOON_S
    wrapper = RemoteExceptionWrapper(ManagerLost, lost, None)
    return {"type": "result", "task_id": 1, "exception": serialize(wrapper)}


def version_mismatch() -> dict:
    texts = [f"py.v={python} parsl.v={RELEASE}" for python in ("3.11", "3.12")]
    exception = serialize(VersionMismatch(*texts))
    return {"type": "result", "task_id": -1, "exception": exception}


def good() -> list[Message]:
    """Returns one valid message of each kind, in the order of a run."""

    def one(name: str, direction: str, rule: str, says: str, value: object) -> Message:
        return Message(name, direction, rule, says, (pickle.dumps(value, PROTOCOL),))

    first, second = tasks()
    result = {"type": "result", "task_id": 1, "result": b"done"}
    marker, item = {"type": "result"}, pickle.dumps(result, PROTOCOL)
    return [
        one("configuration", TO_INTERCHANGE, "P-1.2.1", "on stdin", configuration()),
        one("worker-binds", TO_INTERCHANGE, "P-1.10.1", "the first command", "WORKER_BINDS"),
        one("worker-binds-answer", TO_EXECUTOR, "P-1.10.1", "port 54321", 54321),
        one("probe", FROM_MANAGER, "P-1.5.4", "a probe", {"type": "connection_probe"}),
        Message("probe-answer", TO_MANAGER, "P-1.5.4", "an empty frame", (b"",)),
        one("registration", FROM_MANAGER, "P-1.5.1", "two places", registration_message()),
        one("heartbeat", FROM_MANAGER, "P-1.5.2", "a heartbeat", {"type": "heartbeat"}),
        one("heartbeat-echo", TO_MANAGER, "P-1.5.2", "4294967295", HEARTBEAT_CODE),
        one("task", TO_INTERCHANGE, "P-1.4.2", "no priority", first),
        one("task-with-priority", TO_INTERCHANGE, "P-1.4.6", "priority 3", second),
        one("batch", TO_MANAGER, "P-1.4.3", "both tasks, the urgent one first", [second, first]),
        one("managers", TO_INTERCHANGE, "P-1.10.4", "a command", "MANAGERS"),
        one("managers-answer", TO_EXECUTOR, "P-1.10.4", "one manager, two tasks", rows()),
        one("result", FROM_MANAGER, "P-1.7.1", "since 2026.10.05; passed on as it is", result),
        Message(
            "result-behind-marker",
            FROM_MANAGER,
            "P-1.5.6",
            "until 2026.09.28: two frames, of which the second is passed on",
            (pickle.dumps(marker, PROTOCOL), item),
        ),
        one("hold", TO_INTERCHANGE, "P-1.10.7", "a command", ["HOLD_MANAGER", MANAGER]),
        one("drain", FROM_MANAGER, "P-1.5.22", "a drain", {"type": "drain"}),
        one("drained", TO_MANAGER, "P-1.6.2", "4294967294: exit", SHUTDOWN_CODE),
        one("manager-lost", TO_EXECUTOR, "P-1.8.3", "a failure, header 02", manager_lost()),
        one("version-mismatch", TO_EXECUTOR, "P-1.9.1", "of task -1", version_mismatch()),
        one("node-info", TO_HUB, "P-1.11.2", "a report", node_info()),
    ]


def bad() -> list[Message]:
    """Returns malformed messages that an interchange must survive."""
    messages = [
        Message(f"bad-{name}", FROM_MANAGER, "P-1.5.10", name, tuple(frames), valid=False)
        for name, frames in BAD_MESSAGES.items()
    ]
    return messages + [
        Message(f"bad-task-{name}", TO_INTERCHANGE, "P-1.4.13", name, (frame,), valid=False)
        for name, frame in BAD_TASKS.items()
        if len(frame) <= LARGEST_VECTOR
    ]


def write_vectors(folder: Path) -> int:
    """Writes one file per frame, and `index.json` with all frames; returns the number of files."""
    folder.mkdir(parents=True, exist_ok=True)
    index, count = [], 0
    for message in good() + bad():
        files = []
        for number, frame in enumerate(message.frames):
            suffix = f".{number}" if len(message.frames) > 1 else ""
            file = folder / f"{message.name}{suffix}.bin"
            file.write_bytes(frame)
            files.append({"file": file.name, "hex": frame.hex()})
            count += 1
        index.append(
            {
                "name": message.name,
                "direction": message.direction,
                "rule": message.rule,
                "valid": message.valid,
                "frames": files,
            }
        )
    (folder / "index.json").write_text(json.dumps(index, indent=1) + "\n")
    return count


def page_text() -> str:
    """Returns the page's complete text."""
    parts = [HEAD]
    for message in good():
        title = f"## {message.name}\n\n{message.direction}, {message.rule}: {message.says}"
        dumps = [f"```text\n{hex_dump(frame)}```\n" for frame in message.frames]
        parts.append("\n".join([f"{title}\n", *dumps]))
    return "\n".join(parts)


def hex_dump(frame: bytes) -> str:
    """Formats a frame in lines: offset, bytes in hexadecimal, and printable characters."""
    if not frame:
        return "(no bytes)\n"
    lines = []
    for begin in range(0, len(frame), BYTES_PER_LINE):
        piece = frame[begin : begin + BYTES_PER_LINE]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in piece)
        lines.append(f"{begin:04x}  {piece.hex(' '):<{3 * BYTES_PER_LINE}} {text}\n")
    return "".join(lines)


def main() -> None:
    PATH.write_text(page_text())
    print(f"{PATH}: {len(good())} messages", file=sys.stderr)


if __name__ == "__main__":
    main()
