"""Run under a Python that has Globus Compute: runs the engine without its cloud.

The engine starts the interchange as it does in an endpoint, by PATH. Tasks are real Globus Compute
tasks, executed by its worker code in real managers. Prints one JSON object.

    python -m harness.releases.globus_compute_program RUN_DIR
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid

from globus_compute_common import messagepack
from globus_compute_common.messagepack.message_types import Task
from globus_compute_endpoint.engines import GlobusComputeEngine
from globus_compute_endpoint.engines.base import GCFuture
from globus_compute_sdk.serialize import ComputeSerializer
from parsl.providers import LocalProvider

TASKS = 60
FAILS_EVERY = 10
ANSWER_S = 120


def double(number):
    return 2 * number


def fail(number):
    raise ValueError(f"no {number}")


def main(run_dir: str) -> None:
    os.makedirs(run_dir)
    os.chdir(run_dir)
    engine = GlobusComputeEngine(
        address="127.0.0.1",
        max_workers_per_node=2,
        provider=LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1),
    )
    engine.start(endpoint_id=uuid.uuid4(), run_dir=run_dir, monitored=True)
    try:
        report = workflow(engine)
    finally:
        begun = time.monotonic()
        engine.shutdown()
    report["shutdown_s"] = time.monotonic() - begun
    print(json.dumps(report), flush=True)


def workflow(engine: GlobusComputeEngine) -> dict:
    futures = [submit(engine, number) for number in range(TASKS)]
    results = [messagepack.unpack(future.result(timeout=ANSWER_S)) for future in futures]
    values = ComputeSerializer()
    (manager,) = engine.get_connected_managers()
    (packages,) = engine.executor.connected_managers_packages().values()
    return {
        "served": os.readlink(f"/proc/{engine.executor.interchange_proc.pid}/exe"),
        "encrypted": engine.executor.encrypted,
        "values": [
            None if result.error_details else values.deserialize(result.data) for result in results
        ],
        "blocks": [future.block_id for future in futures],
        "executor_tasks": len({future.executor_task_id for future in futures}),
        "tasks_left": manager["tasks"],
        "parsl_of_manager": packages["parsl"],
    }


def submit(engine: GlobusComputeEngine, number: int) -> GCFuture:
    values = ComputeSerializer()
    function = fail if number % FAILS_EVERY == 0 else double
    parts = [values.serialize(part) for part in (function, (number,), {})]
    task = Task(task_id=uuid.uuid4(), task_buffer=values.pack_buffers(parts))
    future = GCFuture(task.task_id, function_id=uuid.uuid4())
    engine.submit(future, messagepack.pack(task), resource_specification={})
    return future


if __name__ == "__main__":
    main(sys.argv[1])
    # The engine leaves threads behind that wait for its cloud.
    os._exit(0)
