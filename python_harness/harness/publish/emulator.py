"""Runs programs of aarch64 here, with qemu's emulation of a user's process.

The emulator and that machine's glibc come from Debian's packages, below target/. The guest's system
calls are the host kernel's, so sockets, signals and child processes are real.
"""

from __future__ import annotations

import platform
from pathlib import Path

from harness.machine import runner
from harness.publish import toolchain
from harness.setup import debian, environment

MACHINE = "aarch64"
TARGET = toolchain.TARGETS[MACHINE]
PLACE = environment.BUILD_DIR / "emulator"
PACKAGES = ["qemu-user-static", "libc6-arm64-cross"]
PROGRAM = Path("usr", "bin", f"qemu-{MACHINE}-static")
# Where the package has the guest's loader and libraries, below `lib`.
GUEST_ROOT = Path("usr", f"{MACHINE}-linux-gnu")
# Page sizes of kernels for this machine: most distributions', and that of clusters with Grace.
PAGES_BYTES = (4096, 65536)
# Seeds that each simulation of the broker plays, of the hundreds that it plays without emulation:
# its code is the same on every machine, and emulation makes it more than ten times slower.
SIMULATED_SEEDS = 10


def command(page_bytes: int = PAGES_BYTES[0]) -> list[str]:
    """Returns the words that run a program of aarch64 when they stand before it.

    Raises:
        Unprepared: the packages could not be unpacked, or the emulator does not start.
    """
    debian.unpacked(PLACE, PACKAGES, _finish)
    root = PLACE / "root"
    return [str(root / PROGRAM), "-L", str(root / GUEST_ROOT), "-p", str(page_bytes)]


def cargo_test(packages: list[str], page_bytes: int) -> int:
    """Runs the Rust tests of packages of this workspace under emulation, and returns cargo's exit
    status."""
    env = toolchain.prepare(TARGET)
    runner_of = f"CARGO_TARGET_{TARGET.upper().replace('-', '_')}_RUNNER"
    env[runner_of] = " ".join(command(page_bytes))
    # Tests that start their own file once more need the emulator, too.
    env["HTEX_TEST_RUNNER"] = env[runner_of]
    # A backtrace crashes in the emulator if its pages are larger than the kernel's, and would hide
    # why a test fails.
    env["RUST_BACKTRACE"] = "0"
    env["HTEX_SIM_SEEDS"] = str(SIMULATED_SEEDS)
    words = [str(toolchain.VENV / "bin" / "cargo-zigbuild"), "test", "--no-fail-fast", "--locked"]
    words += ["--target", TARGET]
    for package in packages:
        words += ["--package", package]
    return runner.run(words, cwd=environment.PROJECT_DIR, env=env).code


def _finish(root: Path) -> None:
    if not debian.runs(root / PROGRAM, "--version"):
        raise environment.Unprepared(
            f"{PROGRAM.name} does not start on this {platform.machine()} machine.",
            environment.EXIT_ENVIRONMENT,
        )
