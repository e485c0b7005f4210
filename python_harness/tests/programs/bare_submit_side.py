"""A submit process without Parsl's executor: launches the interchange and then waits.

Usage: bare_submit_side.py WORKDIR STAGE [COMMAND ...]. STAGE is the point up to which the program
runs before it prints its JSON line and waits: `launched` (nothing is written to stdin), `written`
(the configuration is written, but stdin stays open), `closed` (stdin is closed, no request is
sent), `answered` (the port is known), `forked` (a child keeps the sockets and outlives the
program).
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
# With --survive this program watches its interchange, as the package's executor does.
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
