"""What a part of Parsl's suite came to: each test's verdict, a run, and both contenders' runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from harness.parsl_suite.choice import Part

OURS, STOCK = "ours", "stock"
NOT_REACHED = "the run ended before it"


@dataclass
class Verdict:
    """What became of one test."""

    outcome: str
    why: str = ""
    seconds: float = 0.0
    served: list[str] = field(default_factory=list)
    starts: int = 0


@dataclass
class PartRun:
    """One part of the suite, run once with one contender."""

    verdicts: dict[str, Verdict]
    starts: int
    seconds: float
    place: Path
    faults: list[str]

    def named(self, outcome: str) -> set[str]:
        return {test for test, verdict in self.verdicts.items() if verdict.outcome == outcome}

    def with_interchange(self) -> set[str]:
        """Tests that started an interchange, or during which one lived."""
        return {test for test, one in self.verdicts.items() if one.served or one.starts}

    def served_by(self) -> Counter:
        """How many tests had an interchange of which executable."""
        return Counter(path for verdict in self.verdicts.values() for path in verdict.served)


@dataclass
class Comparison:
    """A part with both contenders, the second try included."""

    part: Part
    runs: dict[str, PartRun]
    again: dict[str, PartRun] = field(default_factory=dict)

    def fails(self, kind: str) -> set[str]:
        """Failed both times."""
        failed = self.runs[kind].named("failed")
        return failed & self.again[kind].named("failed") if self.again else failed

    def only_ours(self) -> set[str]:
        passed = self.runs[STOCK].named("passed")
        if self.again:
            passed |= self.again[STOCK].named("passed")
        return self.fails(OURS) & passed

    def flaky(self, kind: str) -> set[str]:
        return self.runs[kind].named("failed") - self.fails(kind)
