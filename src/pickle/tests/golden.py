"""Writes golden/*.pickle: the shapes that Parsl sends, as CPython pickles them.

Run by hand, once; the files are kept. Classes of Parsl are stood in for by empty ones of the same
name, since a pickle holds no more of a class than its name. What each file holds is written down,
again by hand, in golden.rs.
"""

import datetime
import decimal
import enum
import fractions
import math
import pathlib
import pickle
import sys
import types
import uuid

HERE = pathlib.Path(__file__).parent / "golden"


def stand_in(module, name, bases=(), body=None):
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        sys.modules.setdefault(".".join(parts[:end]), types.ModuleType(".".join(parts[:end])))
    made = type(name, bases, {"__module__": module, **(body or {})})
    setattr(sys.modules[module], name, made)
    return made


RandomManagerSelector = stand_in(
    "parsl.executors.high_throughput.manager_selector", "RandomManagerSelector"
)
FileLogging = stand_in("parsl.logconfigs.file", "FileLogging")
RemoteExceptionWrapper = stand_in("parsl.app.errors", "RemoteExceptionWrapper")
MessageType = enum.Enum("MessageType", {"NODE_INFO": 3}, module="parsl.monitoring.message_type")
sys.modules.setdefault("parsl.monitoring", types.ModuleType("parsl.monitoring"))
sys.modules["parsl.monitoring.message_type"] = types.ModuleType("parsl.monitoring.message_type")
sys.modules["parsl.monitoring.message_type"].MessageType = MessageType


def config():
    logging = FileLogging()
    logging.uuid = uuid.UUID("12345678-1234-5678-1234-567812345678")
    logging.format_string = None
    logging.level = 10
    address = "127.0.0.1"
    return {
        "client_address": address,
        "client_ports": (55001, 55002, 55003),
        "interchange_address": None,
        "worker_port": None,
        "worker_port_range": (54000, 55000),
        "hub_address": address,
        "hub_zmq_port": 0,
        "logdir": "/runs/000/htex",
        "heartbeat_threshold": 120,
        "poll_period": 10,
        "logging_level": 10,
        "cert_dir": pathlib.PurePosixPath("/runs/certs"),
        "manager_selector": RandomManagerSelector(),
        "run_id": "e9d2bb5f-33d7-4a3b-9ab2-b11a3b2ae2f9",
        "log_config": logging,
        "_check_python_mismatch": False,
    }


def odd_context():
    shared = (1, 2)
    loop = ["me"]
    loop.append(loop)
    return {
        "resource_spec": {"priority": decimal.Decimal("2.5"), "cores": 2},
        "fraction": fractions.Fraction(1, 3),
        "set": {7},
        "bytes": b"\xff",
        "shared": [shared, shared],
        "loop": loop,
        "float": -0.5,
        "huge": 2**80,
        "minus": -(2**63),
        "text": "h\u00e9 \U0001f600",
        "flag": True,
    }


def main():
    result = pickle.dumps(42, 4)
    shapes = {
        "task_plain": {"task_id": 7, "context": {}, "buffer": b"\x04payload"},
        "task_priority": {
            "task_id": 70000,
            "context": {"resource_spec": {"priority": -3}},
            "buffer": b"x" * 300,
        },
        "task_odd": {"task_id": 8, "context": odd_context(), "buffer": b"b"},
        "config": config(),
        "registration": {
            "type": "registration",
            "parsl_v": "2026.10.26",
            "python_v": "3.11.7",
            "packages": {"parsl": "2026.10.26", "typeguard": "4.4.4"},
            "worker_count": 16,
            "uid": "0a1b2c",
            "block_id": "0",
            "start_time": 1700000000.25,
            "prefetch_capacity": 0,
            "max_capacity": 16,
            "os": "Linux",
            "hostname": "node1",
            "dir": "/tmp",
            "cpu_count": 128,
            "total_memory": 2**38,
            "drain_time": math.inf,
        },
        "result": {"type": "result", "task_id": 1, "result": result},
        "exception": {"type": "result", "task_id": 2, "exception": remote_exception()},
        "heartbeat": {"type": "heartbeat"},
        "node_info": (
            MessageType.NODE_INFO,
            {
                "run_id": "r",
                "active": True,
                "last_heartbeat": datetime.datetime(2026, 10, 26, 1, 2, 3, 4),
                "timestamp": datetime.datetime(2026, 10, 26, 1, 2, 3, 5),
                "cpu_count": None,
            },
        ),
        "command": ["HOLD_MANAGER", "ab12"],
    }
    HERE.mkdir(exist_ok=True)
    for name, shape in shapes.items():
        for protocol in range(6):
            (HERE / f"{name}.{protocol}.pickle").write_bytes(pickle.dumps(shape, protocol))


def remote_exception():
    wrapper = RemoteExceptionWrapper()
    wrapper.e_type = pickle.dumps(ValueError, 4)
    wrapper.cause = None
    return wrapper


if __name__ == "__main__":
    main()
