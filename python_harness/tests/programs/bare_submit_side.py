"""A submit process without Parsl's executor: launches the interchange and then waits.

Usage: bare_submit_side.py WORKDIR STAGE [COMMAND ...]. STAGE is how far it gets before it prints
its JSON line and waits: `launched` (nothing written to stdin), `written` (the configuration is,
but stdin stays open), `closed` (stdin closed, nothing asked), `answered` (the port is known),
`forked` (then it has a child that keeps its sockets and outlives it).
"""

import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

from harness.fakes.wire import FakeSubmitSide
from harness.htex.interchange import command_under_test

workdir, stage = Path(sys.argv[1]), sys.argv[2]
side = FakeSubmitSide(workdir)
command = sys.argv[3:] or command_under_test()
# With --survive it watches its interchange, as the package's executor does.
watched = {"HTEX_INTERCHANGE_WATCHED": str(side.config()["client_ports"][2])}
environ = {**os.environ, **(watched if "--survive" in command else {})}
process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, env=environ)
if stage != "launched":
    process.stdin.write(pickle.dumps(side.config()))
    process.stdin.flush()
if stage in ("closed", "answered", "forked"):
    process.stdin.close()
port = side.worker_port if stage in ("answered", "forked") else None
fork = os.fork() if stage == "forked" else None
if fork != 0:
    report = {"interchange": process.pid, "port": port, "fork": fork}
    print(json.dumps(report), flush=True)
while True:
    signal.pause()
