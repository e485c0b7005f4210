"""Runs one command as `init` would: adopts the orphans below it, and collects them when they end.

Usage: python -m harness.parsl_suite.init COMMAND [ARGUMENT ...]. Parsl's tests look whether the
processes of a killed manager are gone; below the harness, which adopts orphans and collects them
only at the end, they would stay as zombies and count as alive. The exit code is the command's.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from harness.machine import processes


def main(command: list[str]) -> int:
    processes.become_subreaper()
    # An interruption reaches the command by itself; this process ends when that does. Neither may
    # be ignored below: a shell's background jobs inherit that, and Parsl's tests send both.
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
