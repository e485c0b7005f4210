"""Builds the compiled programs of `bench`; cargo reports the paths of the executables."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from harness.machine import runner
from harness.setup import environment


@dataclass(frozen=True)
class Tools:
    load: Path
    floor: Path


def build() -> Tools:
    """Builds the programs. Must be called before the product is built: building benches also
    replaces the product's binary by one with features that only tests and benches enable."""
    environment.check_compilers()
    result = runner.run(command("load", "floor"), cwd=environment.PROJECT_DIR, capture_stdout=True)
    if result.code != 0:
        raise environment.Unprepared(
            f"the build of the benches failed (exit {result.code}); see the output above.",
            environment.EXIT_BUILD,
        )
    found = executables(result.stdout)
    return Tools(load=found["load"], floor=found["floor"])


def command(*benches: str) -> list[str]:
    """Returns the build command, whose output `executables` reads."""
    words = [environment.cargo(), "build", "--release", "--locked"]
    for bench in benches:
        words += ["--bench", bench]
    return [*words, "--message-format=json-render-diagnostics"]


def executables(told: str, kind: str = "bench") -> dict[str, Path]:
    """Returns the built programs of one kind by name, from cargo's messages."""
    found: dict[str, Path] = {}
    for line in told.splitlines():
        message = json.loads(line) if line.startswith("{") else {}
        if message.get("executable") and message["target"]["kind"] == [kind]:
            found[message["target"]["name"]] = Path(message["executable"])
    return found
