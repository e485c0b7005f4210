"""A fake manager in a separate process, which can be stopped and killed like that of a real node.

In a test's own process, libzmq's I/O thread would go on reading; a stopped process reads nothing.
The manager registers and then reads every message. It answers nothing and sends no heartbeats.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys

from harness.fakes.wire import PATIENCE_S, FakeManager, FakeSubmitSide
from harness.machine import processes
from harness.machine.waiting import wait_until

STOPPED_WITHIN_S = 5.0
# Roughly how many bytes the receiving kernel buffers for a stopped process.
RECEIVE_BUFFER_BYTES = 256 << 10


class ManagerProcess:
    """Starts the process; the manager registers soon after the constructor returns."""

    def __init__(self, side: FakeSubmitSide, identity: str, **fields) -> None:
        self.identity = identity
        about = {"url": side.worker_url, "cert_dir": side.cert_dir, "identity": identity}
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__, json.dumps({**about, "fields": fields})],
            stdin=subprocess.DEVNULL,
        )

    def enlist(self, side: FakeSubmitSide) -> ManagerProcess:
        """Returns when the interchange lists the manager."""
        wait_until(
            lambda: self.identity in [row["manager"] for row in side.managers()],
            PATIENCE_S,
            f"{self.identity} is listed",
        )
        return self

    def stop(self) -> None:
        """Stops the process: it reads nothing more, but its connection stays open."""
        self.process.send_signal(signal.SIGSTOP)
        pid = self.process.pid
        wait_until(lambda: processes.read(pid).state == "T", STOPPED_WITHIN_S, "it is stopped")

    def kill(self) -> None:
        """Kills the process, even a stopped one; its connection closes."""
        self.process.kill()
        self.process.wait()


def main(url: str, cert_dir: str | None, identity: str, fields: dict) -> None:
    manager = FakeManager(
        url,
        identity.encode(),
        cert_dir=cert_dir,
        read_ahead=1,
        receive_buffer_bytes=RECEIVE_BUFFER_BYTES,
    )
    manager.register(**fields)
    while True:
        manager.socket.recv()


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
