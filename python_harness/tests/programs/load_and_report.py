"""Loads a Parsl configuration that the interchange refuses; reports what parsl.load() raised.

Usage: load_and_report.py RUN_DIR. This is a separate process because a failed load leaves threads.
"""

import json
import os
import sys
import time
from pathlib import Path

import parsl

from harness.htex import executors
from harness.htex.selectors import UnimportableSelector

config = executors.kernel_config(Path(sys.argv[1]), manager_selector=UnimportableSelector())
begin = time.monotonic()
report = {"type": None, "text": "parsl.load() returned"}
try:
    parsl.load(config)
except Exception as reason:
    report = {"type": type(reason).__name__, "text": str(reason)}
report["seconds"] = time.monotonic() - begin
print(json.dumps(report), flush=True)
os._exit(0)
