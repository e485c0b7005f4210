"""A new user's Parsl program, played by `newcomer`. It needs nothing but Parsl.

Usage: newcomer_program.py MODULE [RUNS ENOUGH]. Runs tasks with the configuration in MODULE, and
fails if they were not encrypted or another interchange served them. Creates the file RUNS after the
first results, and goes on until there is a file ENOUGH.
"""

import importlib
import os
import sys
import time
from pathlib import Path

import parsl

TASKS = 50
PATIENCE_S = 240.0


@parsl.python_app
def square(number):
    return number**2


def main(module, *files):
    config = importlib.import_module(module).config
    (executor,) = config.executors
    count = 0
    until = time.monotonic() + PATIENCE_S
    with parsl.load(config):
        while True:
            results = [future.result() for future in [square(number) for number in range(TASKS)]]
            assert results == [number**2 for number in range(TASKS)], results
            count += TASKS
            if not files:
                break
            Path(files[0]).touch()
            if Path(files[1]).exists() or time.monotonic() > until:
                break
            time.sleep(0.2)
        serves = os.readlink(f"/proc/{executor.interchange_proc.pid}/exe")
    assert executor.encrypted and executor.cert_dir, "not encrypted"
    assert os.path.basename(serves) == "htex-interchange", serves
    print(count, "tasks, encrypted, through", serves)


if __name__ == "__main__":
    main(*sys.argv[1:])
