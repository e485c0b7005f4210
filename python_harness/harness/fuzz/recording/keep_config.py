#!/usr/bin/env python3
"""Records the start-up configuration, and then becomes the interchange.

HTEX's launch command names this script. The script executes the interchange that
HTEX_RECORDED_BINARY names, with the same configuration on its standard input.
"""

import os
import sys

config = sys.stdin.buffer.read()
with open(os.path.join(os.environ["HTEX_RECORD_TO"], "config"), "wb") as file:
    file.write(config)
descriptor = os.memfd_create("config")
os.write(descriptor, config)
os.lseek(descriptor, 0, os.SEEK_SET)
os.dup2(descriptor, 0)
binary = os.environ["HTEX_RECORDED_BINARY"]
os.execv(binary, [binary])
