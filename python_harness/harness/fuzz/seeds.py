"""Makes tests/fuzz/seeds: the real frames from which fuzzing starts.

Most are recorded: a workflow runs under several releases of Parsl with the binary as interchange,
and each shape of message that its processes send is kept in one file. Paths and this machine's name
are replaced in them, byte by byte. Messages that a short workflow does not send are pickled here by
Parsl's own classes.
"""

from __future__ import annotations

import decimal
import enum
import fractions
import json
import os
import pickle
import shutil
import socket
import struct
import subprocess
import tempfile
import uuid
from dataclasses import asdict
from pathlib import Path

import zmq.auth
from parsl.executors.high_throughput.manager_selector import (
    BlockIdManagerSelector,
    RandomManagerSelector,
)
from parsl.logconfigs.file import FileLogging
from parsl.logconfigs.json import JSONLogging
from parsl.logconfigs.noop import NoopLogging

from harness.fakes import wire
from harness.htex.selectors import AlphabeticalSelector
from harness.releases import supported
from harness.releases.window import PROGRAM, PROGRAM_S, Request
from harness.setup import environment

SEEDS_DIR = environment.PROJECT_DIR / "tests" / "fuzz" / "seeds"
RECORDING_DIR = Path(__file__).parent / "recording"

# One release for each dialect that managers and executors have spoken.
RECORDED = ("2025.6.30", "2026.1.5", "2026.7.20", "2026.8.10", "2026.9.28", supported.NEWEST)

# Codes of `conversation` for the channel by which a frame arrives.
TASK, MESSAGE, MARKED, COMMAND = range(4)


class Urgency(enum.IntEnum):
    NOW = -3


def make() -> None:
    """Replaces the folder's contents by newly recorded and newly pickled frames."""
    shutil.rmtree(SEEDS_DIR, ignore_errors=True)
    for name in RECORDED:
        print(f"fuzz: recording Parsl {name}", flush=True)
        _keep_recorded(name, record(name))
    for name, frame in authored().items():
        _write(name, frame)
    sizes = [path.stat().st_size for path in SEEDS_DIR.iterdir()]
    print(f"fuzz: {len(sizes)} seeds, {sum(sizes)} bytes, in {SEEDS_DIR}", flush=True)


def container(*frames: bytes) -> bytes:
    """Packs several frames into one input, in the format that `bodies/frames.rs` reads."""
    return b"".join(struct.pack("<H", len(frame)) + frame for frame in frames)


def frames_of(data: bytes) -> list[bytes]:
    frames = []
    while data:
        (size,) = struct.unpack_from("<H", data)
        frames.append(data[2 : 2 + size])
        data = data[2 + size :]
    return frames


def record(name: str) -> dict[str, bytes]:
    """Records a workflow's messages under one release, by shape, without anything specific to this
    machine."""
    release = supported.release(name)
    with tempfile.TemporaryDirectory(prefix="htex-") as folder:
        kept, run_dir = Path(folder) / "kept", Path(folder) / "run"
        kept.mkdir()
        run_dir.mkdir()
        env = release.child_environment()
        env["PYTHONPATH"] = os.pathsep.join([str(RECORDING_DIR), env["PYTHONPATH"]])
        env["HTEX_RECORD_TO"] = str(kept)
        env["HTEX_RECORDED_BINARY"] = str(environment.binary())
        request = Request(str(run_dir), str(RECORDING_DIR / "keep_config.py"), monitoring=True)
        told = subprocess.run(
            [str(release.python), "-m", PROGRAM, json.dumps(asdict(request))],
            cwd=run_dir,
            env=env,
            capture_output=True,
            text=True,
            timeout=PROGRAM_S,
        )
        if told.returncode != 0:
            raise RuntimeError(f"Parsl {name}: exit {told.returncode}\n{told.stderr[-3000:]}")
        private = [folder, str(environment.PROJECT_DIR), str(Path.home()), socket.gethostname()]
        return {path.name: _scrubbed(path.read_bytes(), private) for path in kept.iterdir()}


def _scrubbed(data: bytes, private: list[str]) -> bytes:
    """Replaces each private text by one of the same length, so that lengths in a pickle stay
    correct."""
    for text in private:
        data = data.replace(text.encode(), b"/path-or-name".ljust(len(text), b"x")[: len(text)])
    return data


def _keep_recorded(name: str, recorded: dict[str, bytes]) -> None:
    conversation = [b"\x01"]
    for shape, data in sorted(recorded.items(), key=_order):
        if shape == "config":
            _write(f"{name}-{shape}", data)
            continue
        frames = frames_of(data)
        # A message of several frames is one input of the target that unpacks frames.
        _write(f"{name}-{shape}", data if len(frames) > 1 else frames[0])
        way = {"task": TASK, "command": COMMAND, "marked": MARKED}.get(
            shape.partition("-")[0], MESSAGE
        )
        if len(data) < 1000 or "registration" in shape:
            conversation.append(bytes([way]) + (data if way == MARKED else frames[0]))
    _write(f"{name}-conversation", container(*conversation))


def _order(item: tuple[str, bytes]) -> tuple[int, str]:
    """Sort key: the message's place in a conversation."""
    steps = ["command-WORKER", "message-connection", "message-registration", "task", "message"]
    return next((i for i, step in enumerate(steps) if item[0].startswith(step)), 9), item[0]


def _write(name: str, frame: bytes) -> None:
    SEEDS_DIR.mkdir(parents=True, exist_ok=True)
    (SEEDS_DIR / name).write_bytes(frame)


def authored() -> dict[str, bytes]:
    """Returns messages that a short workflow does not send."""
    seeds = {}
    for name, config in configs().items():
        for protocol in (2, 4):
            seeds[f"config-{name}-{protocol}"] = pickle.dumps(config, protocol)
    for name, priority in priorities().items():
        for protocol in (3, 4):
            spec = {"resource_spec": {"priority": priority}}
            task = {"task_id": 7, "context": spec, "buffer": b"work"}
            seeds[f"task-{name}-{protocol}"] = pickle.dumps(task, protocol)
    for name, words in needs().items():
        for protocol in (2, 4):
            context = {"resource_spec": {"priority": 3}, "placement": words}
            task = {"task_id": 9, "context": context, "buffer": b"work"}
            seeds[f"task-needs-{name}-{protocol}"] = pickle.dumps(task, protocol)
    work = ((uuid.UUID(int=1), None), {"path": Path("a")})
    task = {"task_id": 8, "context": {"task_executor": {"a": work}}, "buffer": b"work"}
    seeds["task-executor"] = pickle.dumps(task, 4)
    words = ["OUTSTANDING_C", "WORKER_PORTS", "HOLD_WORKER;m0", ["HOLD_MANAGER", "m0"], "MANGERS"]
    for number, word in enumerate(words):
        seeds[f"command-{number}"] = pickle.dumps(word)
    for kind in ("drain", "connection_probe", "heartbeat"):
        seeds[f"message-{kind}"] = pickle.dumps({"type": kind})
    answers = [(0, [], None), (3, [b"m0", b"m1"], None), (4, None, "Traceback:\nValueError: no")]
    for number, answer in enumerate(answers):
        seeds[f"answer-{number}"] = pickle.dumps(answer, 4)
    return seeds | handshakes() | {"conversation": conversation()}


def configs() -> dict[str, dict]:
    """Returns configurations in the newest release's dialect, as they vary with the user's
    settings."""
    base = {
        "client_address": "127.0.0.1",
        "client_ports": (55001, 55002, 55003),
        "interchange_address": "::1",
        "worker_port": 54000,
        "worker_port_range": (54000, 55000),
        "hub_address": "127.0.0.1",
        "hub_zmq_port": 55004,
        "logdir": Path("/runs/000"),
        "heartbeat_threshold": 120,
        "poll_period": 10,
        "logging_level": 20,
        "cert_dir": "/runs/certs",
        "manager_selector": RandomManagerSelector(),
        "run_id": str(uuid.UUID(int=2)),
        "log_config": None,
        "_check_python_mismatch": False,
    }
    changes = {
        "file": {"log_config": FileLogging(format_string="%(asctime)-20.8s %(levelno)+05d %%")},
        "json": {"log_config": JSONLogging(level=1), "worker_port": None},
        "noop": {"log_config": NoopLogging(), "interchange_address": "*"},
        "block": {"manager_selector": BlockIdManagerSelector(), "heartbeat_threshold": 1.5},
        "user": {"manager_selector": AlphabeticalSelector(), "client_address": "localhost"},
        "too-old": {"worker_ports": (54001, 54002)},
    }
    return {name: base | change for name, change in changes.items()}


def priorities() -> dict[str, object]:
    return {
        "int": 3,
        "huge": 2**80,
        "float": -1.5,
        "nan": float("nan"),
        "bool": True,
        "text": "high",
        "decimal": decimal.Decimal("2.50"),
        "fraction": fractions.Fraction(1, 3),
        "enum": Urgency.NOW,
    }


def needs() -> dict[str, dict]:
    """Returns the requirements of tasks on their managers; the last of them is invalid."""
    return {
        "flat": {
            "cores": 4,
            "memory": 2000.5,
            "running_time_min": 60,
            "manager_affinity": "x",
            "task_type": "a",
            "routing": "hard",
        },
        "node": {"node": {"hostname": ["gpu*", "a"], "block_id": "0", "cpu_count": 64}},
        "odd": {
            "cores": decimal.Decimal("2.50"),
            "memory": fractions.Fraction(1, 3),
            "manager_affinity": (1, 2.5, (None, b"x", "é"), 2**80, decimal.Decimal("1E-3")),
        },
        "unread": {"cores": -1, "manager_affinity": [1], "node": {"hostname": 5}},
    }


def handshakes() -> dict[str, bytes]:
    """Returns a certificate of pyzmq, and the requests in which libzmq asks whether to admit a
    peer."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(path) for path in zmq.auth.create_certificates(folder, "server")]
        seeds = {f"certificate-{path.suffix[1:]}": path.read_bytes() for path in files}
        public, _secret = zmq.auth.load_certificate(files[0])
    seeds["certificate-key-alone"] = public
    # The key that `bodies/zap.rs` admits, and another key.
    keys = {"admitted": b"a key of thirty-two bytes, admit", "refused": bytes(32)}
    for name, key in keys.items():
        seeds[f"zap-{name}"] = container(b"1.0", b"7", b"htex", b"127.0.0.1", b"m0", b"CURVE", key)
    return seeds


def conversation() -> bytes:
    """Returns a conversation with two managers, a task for each, a refusal, a take-over, a drain,
    and an expiry."""

    def step(action: int, frame: bytes, manager: int = 0) -> bytes:
        return bytes([action | manager << 4]) + frame

    def message(content: object) -> bytes:
        return pickle.dumps(content, 4)

    registration = message(wire.registration("m0") | {"hostname": "node1"})
    result = message({"type": "result", "task_id": 1, "result": b"r"})
    tasks = [message({"task_id": i, "context": {}, "buffer": b"w"}) for i in (1, 2, 3)]
    return container(
        b"\x01",
        step(MESSAGE, registration),
        *(step(TASK, task) for task in tasks),
        step(6, b"-"),
        step(MESSAGE, message({"type": "heartbeat"})),
        step(MESSAGE, result),
        step(COMMAND, message("MANAGERS")),
        step(MESSAGE, registration, manager=3),
        step(4, b"-", manager=3),
        step(MESSAGE, registration, manager=1),
        step(MESSAGE, message({"type": "drain"}), manager=1),
        step(COMMAND, message(["HOLD_MANAGER", "m0"])),
        step(7, b"-"),
        step(5, b"\xc8"),
        step(7, b"-"),
        step(COMMAND, message("MANAGERS_PACKAGES")),
    )
