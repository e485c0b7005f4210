"""The program whose instructions a test counts (`benches/counted.rs`), and whether what is counted
here can be compared with what is stored."""

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
    """The compiler that belongs to cargo, as `1.95`."""
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
    """What the numbers depend on beside the code."""
    return {
        "rustc": rustc(),
        "machine": platform.machine(),
        "libc": " ".join(platform.libc_ver()),
    }


def why_not() -> str | None:
    """The reason for which nothing is counted here, if there is one."""
    if not shutil.which("valgrind"):
        return "instructions are not counted: valgrind is not installed"
    found = here()
    for what in ("rustc", "machine"):
        stored = BOUNDS.get(what)
        if not os.environ.get(STORE_VARIABLE) and stored != found[what]:
            return (
                f"instructions are not compared: the stored ones are of {what} {stored}, this is "
                f"{found[what]}; {STORE_VARIABLE}=1 stores them anew"
            )
    return None


def build(within_s: float) -> Path:
    """Of the very crates of the product, so that nothing is left to do where it was built beside
    it; the product itself, which other tests run at this moment, stays as it is."""
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
    assert built.returncode == 0, f"the build of `{PACKAGE}` failed; the reason stands above"
    return bench_build.executables(built.stdout, "bin")[PACKAGE]
