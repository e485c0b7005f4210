"""The command `window RELEASE`: extends the window of supported releases to a newer release.

It runs the tests that guard each release of the window with the new release. If all pass, it writes
the new release wherever the newest one is named (`harness/releases/written.py`); otherwise nothing
is changed. At the end it lists the steps that need a person's judgement.
"""

from __future__ import annotations

import argparse
import filecmp
import os
from collections.abc import Callable
from pathlib import Path

from harness.releases import supported, written
from harness.releases.supported import Release
from harness.setup import environment
from harness.suite import stages
from harness.suite.stages import Outcome

# Tests of workflows in each dialect with managers of other releases, and of the package's executor:
# lost interchanges, and words that describe where a task fits.
GUARDS = ("test_window.py", "test_linked_ends.py", "test_placement_words.py")

# The folder of Parsl's parts that communicate with an interchange.
WIRE = Path("executors", "high_throughput")

LEFT_TO_DO = """\
Left to do by hand:
  1. Read what changed on the wire:
       diff -ru {old_wire} \\
                {new_wire}
     {differing}
     If a message, a command or a key of the configuration changed: the guide's page on
     testing, "Add a rule of the protocol", and a line of WINDOW in
     python_harness/harness/releases/supported.py for each release with which the wire
     changed, {old} included if it was the last of its kind.
  2. python3 python_harness parsl-tests {pypi_name}    Parsl's own tests of it, with both
  3. python3 python_harness fuzz --seeds           records its frames into tests/fuzz/seeds
  4. src/guide: a line in changelog.md; the example of `status` in operate.md, if its
     output has changed.
  5. python3 python_harness test --long            the whole window, built with the new end
  6. Commit all of it together.
"""


class Refused(Exception):
    """The window cannot be extended to this release; the exception's text gives the reason."""


def run(_binary: Path, options: argparse.Namespace) -> int:
    return move(options.release, only_check=options.check)


def move(
    name: str,
    *,
    only_check: bool,
    project: Path = written.PROJECT,
    guards: Callable[[str], Outcome] | None = None,
) -> int:
    """Tests the release and, unless `only_check`, makes it the newest. Returns 0 if it passed.

    Raises:
        environment.Unprepared: there is no such release.
    """
    try:
        new = _new_end(name, written.newest(project), written.oldest(project), only_check)
        texts = written.moved(new, project)
    except (Refused, written.Unmovable) as reason:
        print(f"window: {reason}. Nothing was changed.", flush=True)
        return 2 if isinstance(reason, Refused) else 1
    old = written.newest(project)
    release = supported.release(new)
    outcome = (guards or _guards)(new)
    shown = written.padded(new)
    if outcome.failed or not outcome.passed:
        print(
            f"\nwindow: {outcome.failed} tests fail with Parsl {shown}, {outcome.passed} pass; "
            "see the output above. Nothing was changed."
        )
        return 1
    print(f"\nwindow: {outcome.passed} tests pass with Parsl {shown}, and none fails.")
    if only_check:
        print("Nothing was changed, as --check says. What would be changed:")
    else:
        written.write(texts, project)
        print(f"The window is now {written.padded(written.oldest(project))} to {shown} now, in:")
    print("".join(f"  {path}\n" for path in texts))
    print(_left_to_do(supported.release(old), release), flush=True)
    return 0


def _new_end(name: str, newest: str, oldest: str, only_check: bool) -> str:
    """Returns the release in PyPI's spelling; raises Refused if the window may not end there."""
    if not written.is_release(name):
        raise Refused(
            f"{name!r} is not a release; releases are named like {written.padded(newest)}"
        )
    new = written.pypi_name(name)
    window = f"the window, {written.padded(oldest)} to {written.padded(newest)}"
    if written.numbers(new) < written.numbers(oldest):
        raise Refused(f"Parsl {written.padded(new)} is older than {window}")
    if written.numbers(new) < written.numbers(newest):
        raise Refused(f"Parsl {written.padded(new)} is within {window}, which moves forward only")
    if new == newest and not only_check:
        raise Refused(f"Parsl {written.padded(new)} is the end of {window}, already")
    return new


def _guards(new: str) -> Outcome:
    """Runs the tests in GUARDS that involve the new release."""
    os.environ[supported.NEXT_VARIABLE] = new
    tests = [str(environment.HARNESS_DIR / "tests" / name) for name in GUARDS]
    try:
        return stages.pytest(["--long", "-k", new, *tests])
    finally:
        del os.environ[supported.NEXT_VARIABLE]


def _left_to_do(old: Release, new: Release) -> str:
    wires = [release.package / WIRE for release in (old, new)]
    differing = _differing(*wires)
    return LEFT_TO_DO.format(
        old=old.name,
        pypi_name=new.name,
        old_wire=os.path.relpath(wires[0], written.PROJECT),
        new_wire=os.path.relpath(wires[1], written.PROJECT),
        differing=f"Of its files, {', '.join(differing)} differ."
        if differing
        else "They are the same.",
    )


def _differing(old: Path, new: Path) -> list[str]:
    """Returns Python files that only one of two folders has, or that differ."""
    names = sorted({path.relative_to(top) for top in (old, new) for path in top.rglob("*.py")})
    _, different, missing = filecmp.cmpfiles(old, new, map(str, names), shallow=False)
    return sorted([*different, *missing])
