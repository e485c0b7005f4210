"""Registers the functions that test the rules, by rule number."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

from harness.conformance.stage import Stage

Play = Callable[[Stage], None]

# Time limit for one rule, including the start of its interchange.
DEADLINE_S = 60.0


@dataclass(frozen=True)
class Check:
    """The function that tests one rule; it starts its own interchanges."""

    number: str
    play: Play
    deadline_s: float


CHECKS: dict[str, Check] = {}


def rule(number: str, *, deadline_s: float = DEADLINE_S) -> Callable[[Play], Play]:
    """Registers a function that tests a rule. The function returns if the rule holds, and raises
    AssertionError if the rule is broken or `Untried` if it cannot be tested here."""

    def register(play: Play) -> Play:
        assert number not in CHECKS, f"{number} is played twice"
        CHECKS[number] = Check(number, play, deadline_s)
        return play

    return register


def checks() -> dict[str, Check]:
    """Imports all modules of rules and returns every registered check."""
    rooms = importlib.import_module("harness.conformance.rules")
    for module in pkgutil.iter_modules(rooms.__path__):
        importlib.import_module(f"{rooms.__name__}.{module.name}")
    return CHECKS
