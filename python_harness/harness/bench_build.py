"""Builds the compiled half of `bench`; where the executables are is what cargo reports."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from harness import environment, stages


@dataclass(frozen=True)
class Tools:
    load: Path
    floor: Path


def build() -> Tools:
    """To be called before the product is built: building benches also leaves a binary where the
    product goes, with the features that only tests and benches ask of crates."""
    environment.check_compilers()
    command = [environment.cargo(), "build", "--release", "--locked"]
    command += ["--bench", "load", "--bench", "floor"]
    command += ["--message-format=json-render-diagnostics"]
    result = stages.run(command, cwd=environment.PROJECT_DIR, capture_stdout=True)
    if result.code != 0:
        raise environment.Unprepared(
            f"the build of the benches failed (exit {result.code}); the reason stands above.",
            environment.EXIT_BUILD,
        )
    found: dict[str, Path] = {}
    for line in result.stdout.splitlines():
        message = json.loads(line) if line.startswith("{") else {}
        if message.get("executable") and message["target"]["kind"] == ["bench"]:
            found[message["target"]["name"]] = Path(message["executable"])
    return Tools(load=found["load"], floor=found["floor"])
