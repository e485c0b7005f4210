"""Runs one command as `init` would: adopts the orphans below it, and reaps them when they end.

Usage: python -m harness.parsl_suite.init COMMAND [ARGUMENT ...]. Parsl's tests check that the
processes of a killed manager have ended. The harness itself adopts orphans but reaps them only at
the end, so they would remain as zombies and count as alive. The exit code is the command's.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from harness.machine import processes


def main(command: list[str]) -> int:
    processes.become_subreaper()
    # An interruption also reaches the command, and this process ends when the command does. The
    # command must not inherit ignored signals from a shell's background job: Parsl's tests send
    # both signals.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    child = subprocess.Popen(command)
    while True:
        pid, status = os.wait()
        if pid == child.pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
