"""Parsl's HighThroughputExecutor with htex-interchange as its broker, and both ends linked.

    from htex_interchange import HighThroughputExecutor

is the one line that changes. If the interchange ends unexpectedly, every future fails with
`InterchangeLost` within a second; with Parsl's own interchange, the futures wait for ever.

Names are imported on first use, so `htex_interchange.report` starts without Parsl, and works where
Parsl is not installed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from htex_interchange.command import find_binary, launch_command
    from htex_interchange.errors import InterchangeLost, ResultLost
    from htex_interchange.executor import HighThroughputExecutor, LinkedEnds, MPIExecutor
    from htex_interchange.selectors import PackManagerSelector, SpreadManagerSelector

__all__ = [
    "HighThroughputExecutor",
    "InterchangeLost",
    "LinkedEnds",
    "MPIExecutor",
    "PackManagerSelector",
    "ResultLost",
    "SpreadManagerSelector",
    "find_binary",
    "launch_command",
]

_MODULES = {
    "HighThroughputExecutor": "executor",
    "InterchangeLost": "errors",
    "LinkedEnds": "executor",
    "MPIExecutor": "executor",
    "PackManagerSelector": "selectors",
    "ResultLost": "errors",
    "SpreadManagerSelector": "selectors",
    "find_binary": "command",
    "launch_command": "command",
}


def __getattr__(name: str) -> object:
    if name in _MODULES.values():
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_MODULES[name]}")
    # Later look-ups find the name without calling this function.
    globals()[name] = value = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
