"""A submit process that the test kills: one executor, one block, tasks that would run for a minute.

Usage: submit_process.py RUN_DIR [COMMAND ...]. Prints one JSON line when a task runs, then waits.
"""

import json
import signal
import sys
import time
from pathlib import Path

from harness.htex import executors, jobs
from harness.machine.waiting import wait_until

run_dir = Path(sys.argv[1])
options = {"interchange_launch_cmd": sys.argv[2:]} if len(sys.argv) > 2 else {}
started = run_dir / "task-started"
with executors.running(run_dir / "run", heartbeat_threshold=120, **options) as htex:
    future = htex.submit(jobs.touch_and_wait, {}, str(started), str(run_dir / "never"))
    wait_until(started.exists, 30, "the task runs")
    print(json.dumps({"interchange": htex.interchange_proc.pid}), flush=True)
    while time.sleep(3600) is None:
        signal.pause()
