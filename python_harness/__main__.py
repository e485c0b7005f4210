"""Entry point: `python3 python_harness COMMAND`, and `--help` names the commands.

Only the standard library is used here, and only syntax that an old Python can parse, so that
a Python that is too old is told so in one sentence. Everything else lives in `harness/`.
"""

import os
import sys

OLDEST = (3, 10)

if sys.version_info < OLDEST:
    sys.stderr.write(
        "htex-interchange harness: Python %d.%d or newer is needed, this is %s (%s).\n"
        "Remedy: run it with a newer interpreter, e.g. python3.11 python_harness ...\n"
        % (OLDEST + (sys.version.split()[0], sys.executable))
    )
    sys.exit(2)

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
