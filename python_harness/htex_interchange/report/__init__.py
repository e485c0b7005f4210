"""The report of a run, made from the events that its interchange wrote.

    python -m htex_interchange.report RUNDIR [--out FILE]

This package needs neither Parsl nor anything else beside the standard library.
"""
