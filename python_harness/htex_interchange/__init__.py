"""Parsl's HighThroughputExecutor with htex-interchange as its broker, and both ends linked.

    from htex_interchange import HighThroughputExecutor

is the one line that changes. If the interchange ends unexpectedly, every future fails with
`InterchangeLost` within a second; stock leaves them waiting for ever.
"""

from htex_interchange.command import find_binary, launch_command
from htex_interchange.errors import InterchangeLost
from htex_interchange.executor import HighThroughputExecutor, LinkedEnds, MPIExecutor

__all__ = [
    "HighThroughputExecutor",
    "InterchangeLost",
    "LinkedEnds",
    "MPIExecutor",
    "find_binary",
    "launch_command",
]
