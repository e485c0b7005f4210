"""Counts the instructions of `benches/counted.rs`, and checks that stored counts are comparable."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

from harness.bench import build as bench_build
from harness.setup import environment

STORE_VARIABLE = "HTEX_TEST_STORE_INSTRUCTIONS"
BOUNDS_FILE = environment.PROJECT_DIR / "benches" / "instructions.json"
BOUNDS = json.loads(BOUNDS_FILE.read_text()) if BOUNDS_FILE.exists() else {}

PACKAGE = "counted"


def rustc() -> str:
    """Returns the version of cargo's own compiler, such as `1.95`."""
    beside_cargo = Path(environment.cargo()).with_name("rustc")
    program = os.environ.get("RUSTC") or (str(beside_cargo) if beside_cargo.exists() else "rustc")
    told = subprocess.run(
        [program, "--version"],
        cwd=environment.PROJECT_DIR,
        capture_output=True,
        text=True,
        check=True,
    )
    version = re.match(r"rustc (\d+\.\d+)\.", told.stdout)
    return version[1] if version else told.stdout


def here() -> dict[str, str]:
    """Returns everything besides the code on which the counts depend."""
    return {
        "rustc": rustc(),
        "machine": platform.machine(),
        "libc": " ".join(platform.libc_ver()),
    }


def why_not() -> str | None:
    """Returns the reason why instructions cannot be counted or compared here; None if they can."""
    if not shutil.which("valgrind"):
        return "instructions are not counted: valgrind is not installed"
    found = here()
    for what in ("rustc", "machine"):
        stored = BOUNDS.get(what)
        if not os.environ.get(STORE_VARIABLE) and stored != found[what]:
            return (
                f"instructions are not compared: the stored ones are of {what} {stored}, this is "
                f"{found[what]}; {STORE_VARIABLE}=1 stores new ones"
            )
    return None


def build(within_s: float) -> Path:
    """Builds the program from the same crates as the product: after a build of the product, they
    need no compilation. The product's binary, which other tests are running, is not replaced."""
    command = [environment.cargo(), "build", "--release", "--locked"]
    command += ["--package", environment.BINARY_NAME, "--package", PACKAGE, "--bin", PACKAGE]
    built = subprocess.run(
        [*command, "--message-format=json-render-diagnostics"],
        cwd=environment.PROJECT_DIR,
        timeout=within_s,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert built.returncode == 0, f"the build of `{PACKAGE}` failed; see the output above"
    return bench_build.executables(built.stdout, "bin")[PACKAGE]
