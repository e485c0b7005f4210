"""An ordinary Parsl program, which refers neither to htex-interchange nor to this harness.

Usage: unmodified.py RUN_DIR. Prints one JSON line. Its digest is that of the executable that the
kernel shows for the interchange's process.
"""

import hashlib
import json
import sys

import parsl
from parsl import Config, python_app
from parsl.executors import HighThroughputExecutor


@python_app
def square(number):
    return number**2


@python_app
def divide(a, b):
    return a / b


executor = HighThroughputExecutor(max_workers_per_node=2, cores_per_worker=0.5)
with parsl.load(Config(executors=[executor], run_dir=sys.argv[1])):
    results = [future.result() for future in [square(number) for number in range(20)]]
    exception = type(divide(1, 0).exception()).__name__
    with open(f"/proc/{executor.interchange_proc.pid}/exe", "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
print(json.dumps({"results": results, "exception": exception, "sha256": digest}))
