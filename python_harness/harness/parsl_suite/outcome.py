"""Outcomes of Parsl's tests: of one test, of one run, and of both contenders' runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from harness.parsl_suite.choice import Part

OURS, STOCK = "ours", "stock"
NOT_REACHED = "the run ended before this test"


@dataclass
class Verdict:
    """The outcome of one test."""

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
        """Returns the tests that started an interchange, or during which an interchange ran."""
        return {test for test, one in self.verdicts.items() if one.served or one.starts}

    def served_by(self) -> Counter:
        """Counts tests by the executable of their interchange."""
        return Counter(path for verdict in self.verdicts.values() for path in verdict.served)


@dataclass
class Comparison:
    """One part's runs with both contenders, including repetitions."""

    part: Part
    runs: dict[str, PartRun]
    # Second runs, with both contenders, of all tests that failed with either of them.
    again: dict[str, PartRun] = field(default_factory=dict)
    # Third runs of single tests, each in a separate session, by test.
    alone: dict[str, dict[str, PartRun]] = field(default_factory=dict)

    def to_try_again(self) -> set[str]:
        return self._lacking(OURS) | self._lacking(STOCK)

    def undecided(self) -> set[str]:
        """Returns tests that never passed with htex-interchange and are not known to fail with
        stock."""
        return {
            test
            for test in self.fails(OURS)
            if self._outcomes(STOCK, test)[-1:] in ([], ["passed"])
        }

    def only_ours(self) -> set[str]:
        """Returns tests that never passed with htex-interchange, and passed in their last run with
        stock."""
        return {test for test in self.fails(OURS) if self._outcomes(STOCK, test)[-1:] == ["passed"]}

    def fails(self, kind: str) -> set[str]:
        """Returns tests that passed in no run with this contender."""
        return {test for test in self._lacking(kind) if "passed" not in self._outcomes(kind, test)}

    def flaky(self, kind: str) -> set[str]:
        return self._lacking(kind) - self.fails(kind)

    def passed_with_both(self) -> int:
        return len(self.runs[OURS].named("passed") & self.runs[STOCK].named("passed"))

    def _lacking(self, kind: str) -> set[str]:
        """Returns tests that failed in the first run with this contender, or were skipped there but
        passed with the other contender."""
        one, other = self.runs[kind], self.runs[STOCK if kind == OURS else OURS]
        return one.named("failed") | one.named("skipped") & other.named("passed")

    def _outcomes(self, kind: str, test: str) -> list[str]:
        """Returns the outcomes of a test's runs in order, without runs that ended before they
        reached it."""
        tries = [self.runs, self.again, self.alone.get(test, {})]
        verdicts = [one[kind].verdicts.get(test) for one in tries if one]
        return [one.outcome for one in verdicts if one and one.why != NOT_REACHED]
