"""The harness's only way to wait: until a condition holds, with a deadline and a description.

Nothing in the harness waits for a fixed time instead. Tests are written so that something
observable marks the moment: a log line, a reply, an ended process.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T],
    deadline_s: float,
    what: str,
    *,
    every_s: float = 0.01,
    context: Callable[[], str] | None = None,
) -> T:
    """Returns the first truthy value of `condition`; fails with `what` after `deadline_s`."""
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end:
            detail = f"\n{context()}" if context else ""
            waited = f"not reached within {deadline_s} s: {what} (last value: {value!r})"
            raise AssertionError(waited + detail)
        time.sleep(every_s)
