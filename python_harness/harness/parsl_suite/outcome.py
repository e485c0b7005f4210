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
    """A part with both contenders, further tries included."""

    part: Part
    runs: dict[str, PartRun]
    # What failed with either, once more with both.
    again: dict[str, PartRun] = field(default_factory=dict)
    # And by test, in a session of its own.
    alone: dict[str, dict[str, PartRun]] = field(default_factory=dict)

    def to_try_again(self) -> set[str]:
        return self._lacking(OURS) | self._lacking(STOCK)

    def undecided(self) -> set[str]:
        """Never passed with ours, while nothing says that stock fails as well."""
        return {
            test
            for test in self.fails(OURS)
            if self._outcomes(STOCK, test)[-1:] in ([], ["passed"])
        }

    def only_ours(self) -> set[str]:
        """Never passed with ours, and passed with stock when it was tried last."""
        return {test for test in self.fails(OURS) if self._outcomes(STOCK, test)[-1:] == ["passed"]}

    def fails(self, kind: str) -> set[str]:
        """Passed in no try."""
        return {test for test in self._lacking(kind) if "passed" not in self._outcomes(kind, test)}

    def flaky(self, kind: str) -> set[str]:
        return self._lacking(kind) - self.fails(kind)

    def passed_with_both(self) -> int:
        return len(self.runs[OURS].named("passed") & self.runs[STOCK].named("passed"))

    def _lacking(self, kind: str) -> set[str]:
        """Failed with it at first, or was skipped where the other contender passed."""
        one, other = self.runs[kind], self.runs[STOCK if kind == OURS else OURS]
        return one.named("failed") | one.named("skipped") & other.named("passed")

    def _outcomes(self, kind: str, test: str) -> list[str]:
        """How its tries ended, in order, without those that never came to it."""
        tries = [self.runs, self.again, self.alone.get(test, {})]
        verdicts = [one[kind].verdicts.get(test) for one in tries if one]
        return [one.outcome for one in verdicts if one and one.why != NOT_REACHED]
