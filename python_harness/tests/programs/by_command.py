"""A Parsl program that sets the command by which its executor starts the interchange.

Usage: by_command.py RUN_DIR [WORD…]. The words are the command; without words, HTEX's default is
used. Prints one JSON line.
"""

import json
import os
import sys

import parsl
from parsl import Config, python_app
from parsl.executors import HighThroughputExecutor


@python_app
def square(number):
    return number**2


run_dir, *words = sys.argv[1:]
executor = HighThroughputExecutor(
    address="127.0.0.1",
    max_workers_per_node=2,
    cores_per_worker=0.5,
    interchange_launch_cmd=words or None,
)
with parsl.load(Config(executors=[executor], run_dir=run_dir)):
    results = [future.result() for future in [square(number) for number in range(20)]]
    executable = os.readlink(f"/proc/{executor.interchange_proc.pid}/exe")
print(json.dumps({"results": results, "executable": executable}))
