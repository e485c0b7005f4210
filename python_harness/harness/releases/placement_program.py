"""Reports where a task's placement words (which managers fit) appear in messages of one Parsl
release.

Prints one JSON report. Run by that release's Python: python -m harness.releases.placement_program
REQUEST, a JSON object: `run_dir`; `interchange`, the binary.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import parsl
from parsl.executors.errors import InvalidResourceSpecification

from harness.htex import jobs
from harness.htex.executors import executor, kernel_config
from htex_interchange import HighThroughputExecutor

RESULT_S = 60
PLACEMENT = {"cores": 2, "manager_affinity": "x", "task_type": "t"}
BAD = [{"cores": "2"}, {"gpus": 1}, {"mine": 1}, {"routing": "hard"}]


class Recorder:
    """Replaces the pipe to the interchange, and completes and records each message as the
    executor's own pipe does."""

    def __init__(self, htex) -> None:
        self.htex = htex
        self.messages = []
        # A barrier at which that many threads meet, each in the middle of a submission.
        self.meeting = Barrier(1)

    def put(self, message) -> None:
        self.meeting.wait(RESULT_S)
        self.messages.append(self.htex._completed(message))


def main(request: dict) -> dict:
    run_dir = Path(request["run_dir"])
    return {**_on_the_wire(), **_in_workers(run_dir, request["interchange"])}


def _on_the_wire() -> dict:
    htex = executor(
        kind=HighThroughputExecutor, max_workers_per_node=4, cores_per_worker=1, init_blocks=0
    )
    htex.outgoing_q = recorder = Recorder(htex)
    specification = {"priority": 3, **PLACEMENT}
    futures = [htex.submit(jobs.add, specification, 1, 2), htex.submit(jobs.add, {}, 1, 2)]
    placed, plain = recorder.messages
    report = {
        "with_context": "context" in placed,
        "placement": _home(placed).get("placement"),
        "resource_spec": _home(placed).get("resource_spec"),
        "plain_has_placement": "placement" in _home(plain),
        "specification": specification,
        "outstanding": [_called(htex.outstanding)],
        "refused": [_refused_key(htex, bad) for bad in BAD],
    }
    for future in futures:
        htex._tasks.pop(future.parsl_executor_task_id)
        future.set_result(None)
    report["outstanding"].append(_called(htex.outstanding))
    report["threads_got"] = _from_threads(htex, recorder)
    return report


def _from_threads(htex: HighThroughputExecutor, recorder: Recorder) -> dict:
    """Submits tasks from several threads at once and returns the placement that each task
    received."""
    recorder.messages.clear()
    numbers = range(8)
    recorder.meeting = Barrier(len(numbers))

    def submit(number: int) -> tuple[int, int]:
        future = htex.submit(jobs.add, {"cores": number + 1}, number, 0)
        return future.parsl_executor_task_id, number

    with ThreadPoolExecutor(len(numbers)) as threads:
        number_of = dict(threads.map(submit, numbers))
    found = {
        number_of[message["task_id"]]: _home(message)["placement"]["cores"]
        for message in recorder.messages
    }
    return {str(number): found[number] for number in numbers}


def _in_workers(run_dir: Path, interchange: str) -> dict:
    config = kernel_config(
        run_dir,
        # With releases before 2025.07.07, one manager may miss its own connection and end.
        init_blocks=2,
        kind=HighThroughputExecutor,
        interchange_launch_cmd=[interchange],
        max_workers_per_node=2,
        cores_per_worker=0.1,
    )
    (htex,) = config.executors
    words = {"cores": 0.2, "manager_affinity": "nul \0", "task_type": "t", "priority": 3}
    with parsl.load(config):
        results = [htex.submit(jobs.add, words, 1, 2) for _ in range(2)]
        exported = [htex.submit(jobs.exported, words) for _ in range(2)]
        return {
            "results": [future.result(RESULT_S) for future in results],
            "exported": [future.result(RESULT_S) for future in exported],
        }


def _home(message: dict) -> dict:
    """Returns the part of a task message that holds a task's metadata in this release."""
    return message.get("context", message)


def _refused_key(htex: HighThroughputExecutor, specification: dict) -> str:
    try:
        htex.submit(jobs.add, specification, 1, 2)
    except InvalidResourceSpecification as reason:
        (key,) = reason.invalid_keys
        return key
    return "nothing"


def _called(what):
    """Returns the value of an attribute that is a property in some releases and a method in
    others."""
    return what() if callable(what) else what


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))), flush=True)
