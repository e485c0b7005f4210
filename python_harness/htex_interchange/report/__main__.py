"""Runs the report's command: `python -m htex_interchange.report RUNDIR [--out FILE]`."""

import sys

from htex_interchange.report.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
