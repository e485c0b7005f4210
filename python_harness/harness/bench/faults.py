"""Checks that the load detects errors: the floor makes one deliberate error at a time."""

from __future__ import annotations

import subprocess

from harness.bench.build import Tools
from harness.measure.compare import console

VIOLATION = 1

# The floor's errors, each with words of the message that must report it.
FAULTS = {
    "lose": "no message arrived for",
    "double": "arrived twice",
    "swap": "in the order of dispatch",
    "flip": "differs from the submitted one",
    "overfill": "has 16 slots, but holds 17",
    "starve": "slots could be filled",
    "lose-result": "no message arrived for",
    "double-result": "arrived twice",
    "flip-result": "a result arrived that no manager sent",
}


def run(tools: Tools, versions: list[str]) -> int:
    """Returns 0 if the load reported each error, and nothing without an error."""
    missed = []
    for fault, words in {"none": "", **FAULTS}.items():
        arguments = ["--scenario", "throughput", "--tasks", "20000", "--patience-s", "3"]
        floor = [str(tools.floor), *(["--fault", fault] if words else [])]
        result = subprocess.run(
            [str(tools.load), *versions, *arguments, "--", *floor],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        line = result.stderr.strip()
        is_right = (
            result.returncode == VIOLATION and words in line if words else result.returncode == 0
        )
        if not is_right:
            missed.append(fault)
        verdict = "right" if is_right else "WRONG"
        console.print(f"  {fault}: {verdict}: {line[:160]}", markup=False, soft_wrap=True)
    console.print(f"missed: {', '.join(missed)}" if missed else "the load reported every fault")
    return 1 if missed else 0
