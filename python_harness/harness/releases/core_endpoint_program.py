"""Run under a Python that has Globus Compute: a core endpoint that starts a user endpoint.

It is the release's own core endpoint, for an endpoint's directory. Only its cloud is missing, which
would order it to start a user endpoint; this program gives that order itself. AMQP connections go
to a loopback port on which no process listens. Prints one JSON object (the user endpoint's process)
and keeps that process until standard input ends.

    python -m harness.releases.core_endpoint_program ENDPOINT_DIR HOME
"""

from __future__ import annotations

import json
import os
import pwd
import signal
import sys
import time
import uuid
from pathlib import Path

from globus_compute_endpoint.endpoint.config.utils import get_config
from globus_compute_endpoint.endpoint.identity_mapper import MappedPosixIdentity

try:
    from globus_compute_endpoint.endpoint.core_endpoint import CoreEndpoint
except ImportError:  # Its name until 4.10.
    from globus_compute_endpoint.endpoint.endpoint_manager import EndpointManager as CoreEndpoint

# An AMQP address with a port on which only root could listen, and no process does.
CLOSED = "amqp://user:secret@127.0.0.1:1/%2F"
ENDS_S = 20


def queue(name: str) -> dict:
    return {
        "connection_url": CLOSED,
        "queue": name,
        "queue_publish_kwargs": {"exchange": "results", "routing_key": name},
    }


def credentials(endpoint_id: str) -> dict:
    names = ["task_queue_info", "result_queue_info", "heartbeat_queue_info", "command_queue_info"]
    return {"endpoint_id": endpoint_id, **{name: queue(name) for name in names}}


def main(endpoint_dir: Path, home: str) -> None:
    # A connected endpoint has these files open and relies on them.
    for _ in range(3):
        os.open(os.devnull, os.O_RDONLY)
    core_id, user_id = str(uuid.uuid4()), str(uuid.uuid4())
    core = CoreEndpoint(endpoint_dir, core_id, get_config(endpoint_dir), credentials(core_id))
    record = list(pwd.getpwuid(os.getuid()))
    record[5] = home
    owner = MappedPosixIdentity(pwd.struct_passwd(record), [], None)
    # A user endpoint's name in the form that the cloud uses.
    name = f"uep.{core_id}.{user_id}"
    core.cmd_start_endpoint(owner, [], {"name": name, "amqp_creds": credentials(user_id)})
    (pid,) = core._children
    print(json.dumps({"pid": pid, "name": name}), flush=True)
    sys.stdin.read()
    end(pid)


def end(pid: int) -> None:
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + ENDS_S
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            os.killpg(pid, signal.SIGKILL)
        time.sleep(0.05)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
    # Threads of the core endpoint may still wait for its cloud.
    os._exit(0)
