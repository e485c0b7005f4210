"""A small encrypted workflow through the package's executor; it fails if another interchange
serves."""

import os
import tempfile

import parsl
from parsl import Config, python_app

from htex_interchange import HighThroughputExecutor


@python_app
def square(number):
    return number**2


executor = HighThroughputExecutor(encrypted=True, max_workers_per_node=2, cores_per_worker=0.5)
with parsl.load(Config(executors=[executor], run_dir=tempfile.mkdtemp())):
    results = [future.result() for future in [square(number) for number in range(50)]]
    serves = os.readlink(f"/proc/{executor.interchange_proc.pid}/exe")

assert results == [number**2 for number in range(50)], results
assert os.path.basename(serves) == "htex-interchange", serves
print(f"50 tasks through {serves}")
