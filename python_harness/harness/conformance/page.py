"""Reads the rules from the guide's protocol page: number, sentence, releases, reason.

Only the page contains the rules' text; the functions that test them (`rules/`) refer to numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from harness.setup import environment

NAME = "guide/protocol"
PATH = environment.PROJECT_DIR / "src" / "guide" / "protocol.md"

NUMBER = r"P-\d+\.\d+\.\d+"
RELEASE = r"\d{4}\.\d{2}\.\d{2}"
# A reference to a rule in a comment: guide/protocol, P-1.4.2.
NAMED = re.compile(rf"guide/protocol, ({NUMBER})")
# A rule on the page: **P-1.4.2** Sentence. *(since 2026.10.05)* Reason.
RULE = re.compile(rf"\*\*({NUMBER})\*\* (.+?\.) \*\((.+?)\)\* ?(.*)")
RANGES = [
    (re.compile("all releases"), (False, False)),
    (re.compile(rf"since ({RELEASE})"), (True, False)),
    (re.compile(rf"until ({RELEASE})"), (False, True)),
    (re.compile(rf"({RELEASE}) to ({RELEASE})"), (True, True)),
]


def numbers(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split("."))


@dataclass(frozen=True)
class Rule:
    """One numbered rule, which applies from release `since` to `until`; None means no limit."""

    number: str
    sentence: str
    reason: str
    since: str | None
    until: str | None

    @property
    def binds_the_interchange(self) -> bool:
        return self.sentence.startswith("The interchange ")

    @property
    def releases(self) -> str:
        if self.since and self.until:
            return f"{self.since} to {self.until}"
        if self.since:
            return f"since {self.since}"
        return f"until {self.until}" if self.until else "all releases"

    def holds_in(self, release: tuple[int, ...]) -> bool:
        begun = self.since is None or numbers(self.since) <= release
        return begun and (self.until is None or release <= numbers(self.until))


@cache
def rules() -> dict[str, Rule]:
    """Returns every rule of the page by its number, in the page's order."""
    found: dict[str, Rule] = {}
    for paragraph in PATH.read_text().split("\n\n"):
        if not paragraph.startswith("**P-"):
            continue
        rule = _parsed(" ".join(paragraph.split()))
        assert rule.number not in found, f"{rule.number} stands twice in {PATH.name}"
        found[rule.number] = rule
    return found


def _parsed(text: str) -> Rule:
    match = RULE.fullmatch(text)
    assert match, f"{PATH.name} has a rule that is none: {text}"
    number, sentence, releases, reason = match.groups()
    for pattern, (has_since, has_until) in RANGES:
        if named := pattern.fullmatch(releases):
            ends = list(named.groups())
            since = ends.pop(0) if has_since else None
            until = ends.pop(0) if has_until else None
            return Rule(number, sentence, reason, since, until)
    raise AssertionError(f"{number} holds in unknown releases: {releases}")
