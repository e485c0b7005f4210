"""Tools of cargo's that the harness compiles on first use, each in a folder of its version."""

from __future__ import annotations

import os
from pathlib import Path

from harness.machine import runner
from harness.setup import environment

PLACE = environment.PROJECT_DIR / "target" / "cargo-tools"


def folder(name: str, version: str, *options: str, before: tuple[str, ...] = ()) -> Path:
    """Returns the folder of a tool's program, which it first compiles if it is missing. `options`
    go to `cargo install`, and `before` stands before that word.

    Raises:
        Unprepared: it could not be compiled; the reason was printed.
    """
    root = PLACE / f"{name}-{version}"
    if not (root / "bin" / name).exists():
        print(f"harness: compiling {name} (first run only)", flush=True)
        command = [environment.cargo(), *before, "install", "--quiet", "--locked"]
        command += ["--root", str(root), *options, f"{name}@{version}"]
        env = os.environ | {"CARGO_TARGET_DIR": str(PLACE / "build"), "CARGO_INCREMENTAL": "0"}
        ended = runner.run(command, env=env, cwd=environment.PROJECT_DIR)
        if ended.code != 0:
            raise environment.Unprepared(
                f"{name} could not be compiled (exit {ended.code}); the reason stands above. It "
                "comes from crates.io and needs a C compiler.",
                environment.EXIT_BUILD,
            )
    return root / "bin"


def path_with(*folders: Path) -> str:
    """Returns PATH with these folders, and that of cargo, before all others."""
    cargo = Path(environment.cargo()).parent
    return os.pathsep.join([*map(str, folders), str(cargo), os.environ.get("PATH", os.defpath)])
