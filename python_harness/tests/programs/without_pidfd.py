"""Runs a command for which the kernel's pidfd calls fail with ERRNO: without_pidfd.py ERRNO COMMAND
…"""

import os
import sys

from harness.machine import refused_calls

refused_calls.refusing({"pidfd_open": int(sys.argv[1])})()
os.execvp(sys.argv[2], sys.argv[2:])
