"""Which function plays which rule."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

from harness.conformance.stage import Stage

Play = Callable[[Stage], None]

# What a rule may take, its interchange's start included.
DEADLINE_S = 60.0


@dataclass(frozen=True)
class Check:
    """How a rule is tried; every play has interchanges of its own."""

    number: str
    play: Play
    deadline_s: float


CHECKS: dict[str, Check] = {}


def rule(number: str, *, deadline_s: float = DEADLINE_S) -> Callable[[Play], Play]:
    """Registers a function that returns if the rule holds, raises AssertionError if it is broken,
    and `Untried` if it cannot be tried."""

    def register(play: Play) -> Play:
        assert number not in CHECKS, f"{number} is played twice"
        CHECKS[number] = Check(number, play, deadline_s)
        return play

    return register


def checks() -> dict[str, Check]:
    """All of them."""
    rooms = importlib.import_module("harness.conformance.rules")
    for module in pkgutil.iter_modules(rooms.__path__):
        importlib.import_module(f"{rooms.__name__}.{module.name}")
    return CHECKS
