"""Tests a command against the rules, several rules at once, and reports the outcome of each.

`python -m harness.conformance.play REQUEST` does the same under the Python of any release; the last
line of stdout is the report. This module imports only what exists in every release.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.conformance import page
from harness.conformance.dialect import Dialect
from harness.conformance.registry import Check, checks
from harness.conformance.stage import Stage, Untried, last_words
from harness.machine import processes

HOLDS, BROKEN, NOT_TRIED = "holds", "broken", "not tried"

# Number of rules tested at once. Rules mostly wait, but more at once would delay one another past
# their deadlines.
AT_ONCE = 4


# The local time zone of all parties. It is not UTC, so that times written in UTC are detected.
NOT_UTC = "XXX-05:30"


@dataclass(frozen=True)
class Outcome:
    """The outcome of one rule, and the reason for it."""

    number: str
    state: str
    detail: str = ""
    seconds: float = 0.0


def play(
    command: list[str],
    dialect: Dialect,
    only: Iterable[str] = (),
    tell: Callable[[Outcome], None] = lambda _: None,
) -> list[Outcome]:
    """Tests every rule of the page, or those in `only`. Returns outcomes in the page's order, and
    calls `tell` with each outcome as soon as it is known."""
    wanted = set(only) or page.rules().keys()
    outcomes: dict[str, Outcome] = {}
    with ThreadPoolExecutor(AT_ONCE) as pool, tempfile.TemporaryDirectory() as place:
        futures = []
        for number, rule in page.rules().items():
            if number not in wanted:
                continue
            if reason := _not_for(rule, dialect):
                outcomes[number] = Outcome(number, NOT_TRIED, reason)
                tell(outcomes[number])
                continue
            check, workdir = checks()[number], Path(place, number)
            futures.append(pool.submit(_tried, check, workdir, command, dialect))
        for future in as_completed(futures):
            outcome = future.result()
            outcomes[outcome.number] = outcome
            tell(outcome)
    return [outcomes[number] for number in page.rules() if number in outcomes]


def _not_for(rule: page.Rule, dialect: Dialect) -> str | None:
    """Returns why this rule is not tested at all; None if it is."""
    if not rule.binds_the_interchange:
        return "it does not bind the interchange"
    if not rule.holds_in(dialect.release):
        return f"another release's ({rule.releases})"
    if rule.number not in checks():
        return "no program can try it"
    return None


def _tried(check: Check, workdir: Path, command: list[str], dialect: Dialect) -> Outcome:
    workdir.mkdir()
    stage = Stage(workdir, command, dialect)
    begin = time.monotonic()
    watchdog = threading.Timer(check.deadline_s, stage.stop)
    watchdog.start()
    state, detail = HOLDS, ""
    try:
        check.play(stage)
        stage.check_alive()
        # A process that the deadline killed did not exit on its own.
        assert not stage.over, "it was stopped"
    except Untried as reason:
        state, detail = NOT_TRIED, str(reason)
    except Exception as fault:
        state, detail = BROKEN, _why(stage, fault)
    finally:
        watchdog.cancel()
        stage.close()
    return Outcome(check.number, state, detail, round(time.monotonic() - begin, 2))


def _why(stage: Stage, fault: Exception) -> str:
    """Returns the reason of a failure in one line."""
    text = str(fault).strip().splitlines() or [f"not so: {_place(fault)}"]
    said = text[0][:300]
    if not isinstance(fault, AssertionError):
        said = f"{type(fault).__name__}: {said}"
    if stage.over:
        said = f"the deadline has passed: {said}"
    ended = [
        each.interchange
        for each in stage.sides
        if each.interchange and not each.interchange.running
    ]
    words = [last_words(interchange) for interchange in ended if not stage.over]
    words = [each for each in words if each not in said and each != "nothing on stderr"]
    return f"{said} ({'; '.join(words)})" if words else said


def _place(fault: Exception) -> str:
    """Returns the source line that raised the exception."""
    return str(traceback.extract_tb(fault.__traceback__)[-1].line)


def main() -> None:
    request = json.loads(sys.argv[1])
    processes.become_subreaper()
    os.environ["TZ"] = NOT_UTC
    time.tzset()
    # Background jobs of a shell ignore SIGINT, and their children inherit that (P-1.13.5).
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def tell(outcome: Outcome) -> None:
        print(json.dumps(asdict(outcome)), flush=True)

    try:
        play(request["command"], Dialect(request["release"]), request["only"], tell)
    finally:
        processes.end_descendants()


if __name__ == "__main__":
    main()
