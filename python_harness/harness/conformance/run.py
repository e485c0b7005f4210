"""The command `conformance`: tests the command of any interchange against the protocol page's
rules.

The peers run under the Python of the release whose dialect they speak, as its executor would. That
release itself therefore makes every message that they send.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

from harness.conformance import page
from harness.machine import runner
from harness.releases import supported, written
from harness.setup import environment

PLAYER = "harness.conformance.play"
STATES = ("holds", "broken", "not tried")

EXIT_BROKEN = 1
EXIT_USAGE = 2


def run(options: argparse.Namespace) -> int:
    """Runs the command; returns 0 if no rule is broken."""
    if options.vectors:
        from harness.conformance import frames

        count = frames.write_vectors(Path(options.vectors))
        print(f"{count} frames are in {options.vectors}", file=sys.stderr)
        if not options.words:
            return 0
    if fault := _fault(options):
        print(f"htex-interchange harness: {fault}", file=sys.stderr)
        return EXIT_USAGE
    if not options.json:
        print(f"The rules of {page.NAME}, as Parsl {_release(options.release)} speaks\n")
    outcomes = played(options.words, options.release, options.rule, quiet=options.json)
    if options.json:
        print(json.dumps(_document(outcomes, options), indent=1))
    else:
        _print_summary(outcomes)
    broken = any(outcome["state"] == "broken" for outcome in outcomes)
    return EXIT_BROKEN if broken or len(outcomes) < _wanted(options.rule) else 0


def played(
    command: list[str], release: str | None, only: list[str], *, quiet: bool = True
) -> list[dict]:
    """Returns the outcome of each rule in the page's order. Unless `quiet`, prints each as it
    arrives."""
    python, env = _python_of(release)
    # Paths become absolute because rules start the command in other directories.
    words = [str(Path(word).absolute()) if Path(word).is_file() else word for word in command]
    request = {"command": words, "release": _release(release), "only": only}
    found: dict[str, dict] = {}

    def read(line: str) -> None:
        try:
            outcome = json.loads(line)
            found[outcome["number"]] = outcome
        except (ValueError, TypeError, KeyError):
            # The line is not an outcome, but perhaps the command's own output.
            print(line, file=sys.stderr)
            return
        if not quiet and outcome["state"] != "not tried":
            _print(outcome)

    player = [str(python), "-m", PLAYER, json.dumps(request)]
    ended = runner.run(player, env=env, on_line=read)
    if ended.code != 0:
        print(f"the player ended with status {ended.code}", file=sys.stderr)
    return [found[number] for number in page.rules() if number in found]


def _name(release: str | None) -> str:
    return written.pypi_name(release) if release else supported.NEWEST


def _release(release: str | None) -> str:
    """Returns the release's name in the form that Parsl and the protocol page use."""
    return written.padded(_name(release))


def _python_of(release: str | None) -> tuple[Path, dict[str, str]]:
    """Returns the release's Python and environment; the newest release is in the harness's own."""
    if _name(release) == supported.NEWEST:
        return Path(sys.executable), environment.child_environment()
    chosen = supported.release(_name(release))
    return chosen.python, chosen.child_environment()


def _fault(options: argparse.Namespace) -> str | None:
    if not options.words:
        return "conformance needs the command of an interchange, behind --"
    if shutil.which(options.words[0]) is None:
        return f"there is no program {options.words[0]}"
    unknown = [number for number in options.rule if number not in page.rules()]
    if unknown:
        return f"{page.NAME} has no rule {', '.join(unknown)}"
    oldest = written.oldest()
    if written.numbers(_name(options.release)) < written.numbers(oldest):
        return f"the protocol page begins with release {oldest}"
    return None


def _wanted(only: list[str]) -> int:
    return len(set(only)) or len(page.rules())


def _print(outcome: dict) -> None:
    rule = page.rules()[outcome["number"]]
    state = "BROKEN" if outcome["state"] == "broken" else outcome["state"]
    print(f"{state:<7} {rule.number:<9} {rule.sentence}", flush=True)
    if outcome["state"] == "broken":
        print(f"{'':<17} {outcome['detail']}", flush=True)


def _print_summary(outcomes: list[dict]) -> None:
    by_state = {state: [each for each in outcomes if each["state"] == state] for state in STATES}
    untried: dict[str, list[str]] = {}
    for outcome in by_state["not tried"]:
        untried.setdefault(outcome["detail"], []).append(outcome["number"])
    print()
    for reason, numbers in untried.items():
        print(f"not tried, {reason}: {', '.join(numbers)}")
    for outcome in by_state["broken"]:
        print(f"BROKEN {outcome['number']} ({page.NAME}): {outcome['detail']}")
    held, broken, untried_count = (len(by_state[state]) for state in STATES)
    print(f"{held} rules hold, {broken} are broken, {untried_count} were not tried")


def _document(outcomes: list[dict], options: argparse.Namespace) -> dict:
    told = []
    for outcome in outcomes:
        rule = page.rules()[outcome["number"]]
        told.append(
            {
                **outcome,
                "sentence": rule.sentence,
                "releases": rule.releases,
                "page": page.NAME,
            }
        )
    return {"release": _release(options.release), "command": options.words, "rules": told}
