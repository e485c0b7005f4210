"""A submit process under load: one executor, two blocks, many tasks.

Usage: loaded_submit_process.py DIR TASKS SECONDS THRESHOLD_S. Each task lasts SECONDS, except for
the first fifty, which are short. Prints one JSON line when the short tasks are done. Prints another
one with the outcomes when all tasks are done, then waits to be killed.
"""

import json
import signal
import sys
import time
from pathlib import Path

from harness.htex import executors
from harness.htex.books import Books

directory, tasks = Path(sys.argv[1]), int(sys.argv[2])
seconds, threshold_s = float(sys.argv[3]), int(sys.argv[4])
with executors.running(
    directory / "run",
    blocks=2,
    heartbeat_threshold=threshold_s,
    max_workers_per_node=2,
    prefetch_capacity=2,
) as htex:
    books = Books(htex, directory)
    books.submit(50)
    books.submit(tasks - 50, seconds)
    books.wait_done(50)
    print(json.dumps({"interchange": htex.interchange_proc.pid}), flush=True)
    print(json.dumps(books.balance(120)), flush=True)
    while time.sleep(3600) is None:
        signal.pause()
