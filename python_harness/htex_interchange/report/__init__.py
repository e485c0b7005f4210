"""The report of a run, from the events that its interchange wrote.

    python -m htex_interchange.report RUNDIR [--out FILE]

Nothing here needs Parsl, or anything else beside the standard library.
"""
