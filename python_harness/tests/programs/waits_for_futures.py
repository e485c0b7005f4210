"""A submit process with Parsl's own executor, which waits for its tasks and reports their outcomes.

Usage: waits_for_futures.py RUN_DIR. Prints a JSON line with the broker's process id once a task is
done and others run. Prints another line with the reasons for which the other tasks failed.
"""

import json
import sys
import time
from pathlib import Path

from harness.htex import executors, jobs

FAILED_WITHIN_S = 15

with executors.running(Path(sys.argv[1]), max_workers_per_node=2) as htex:
    assert htex.submit(jobs.add, {}, 1, 2).result(60) == 3
    futures = [htex.submit(time.sleep, {}, 60) for _ in range(20)]
    print(json.dumps({"broker": executors.broker_pid(htex)}), flush=True)
    reasons = sorted({str(future.exception(FAILED_WITHIN_S)) for future in futures})
    print(json.dumps(reasons), flush=True)
