"""A Parsl program for an environment with Parsl and the wheel of htex-interchange, without this
harness.

Usage: installed.py linked|named|unnamed RUN_DIR. `linked` uses the package's executor, `named`
Parsl's executor with the binary's name, and `unnamed` Parsl's executor alone. Prints one JSON line.
"""

import json
import os
import sys

import parsl
from parsl import Config, python_app

how, run_dir = sys.argv[1:]
options = {"encrypted": True, "max_workers_per_node": 2, "cores_per_worker": 0.5}
if how == "linked":
    from htex_interchange import HighThroughputExecutor
else:
    from parsl.executors import HighThroughputExecutor

    if how == "named":
        options["interchange_launch_cmd"] = ["htex-interchange"]


@python_app
def square(number):
    return number**2


executor = HighThroughputExecutor(**options)
with parsl.load(Config(executors=[executor], run_dir=run_dir)):
    results = [future.result() for future in [square(number) for number in range(50)]]
    report = {
        "results": results,
        "executable": os.readlink(f"/proc/{executor.interchange_proc.pid}/exe"),
        "certificates": executor.cert_dir,
        "executor": f"{type(executor).__module__}.{type(executor).__name__}",
    }
print(json.dumps(report))
