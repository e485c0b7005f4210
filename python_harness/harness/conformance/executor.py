"""An executor in a separate process, which a test can kill.

It starts the interchange's command, prints one JSON line with the interchange's process id and
port, and waits.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

from harness.conformance.dialect import Dialect
from harness.conformance.stage import Stage


def main() -> None:
    request = json.loads(sys.argv[1])
    stage = Stage(Path(request["workdir"]), request["command"], Dialect(request["release"]))
    side = stage.side()
    told = {"interchange": side.interchange.process.pid, "port": side.worker_port}
    print(json.dumps(told), flush=True)
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
