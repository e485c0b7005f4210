"""The command `wheel`: builds the wheel for `pip install`, for Linux with glibc 2.17 or later on
x86-64 or aarch64.

maturin packs the binary and the Python package. zig compiles and links against the symbols of an
old glibc, and includes its libc++. Tools, caches and build results stay below `target/wheel`, so
that a second build is quick and no file of the repository changes. The file contains neither the
time of the build nor paths of the machine that built it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from harness.machine import runner
from harness.setup import environment

PROJECT = environment.PROJECT_DIR
WORKSHOP = PROJECT / "target" / "wheel"
VENV = WORKSHOP / "venv"
REQUIREMENTS = environment.HARNESS_DIR / "requirements-wheel.txt"
WHEELS = PROJECT / "target" / "wheels"

# Rust's target for each machine, which has its name from `uname -m`.
TARGETS = {
    "x86_64": "x86_64-unknown-linux-gnu",
    "aarch64": "aarch64-unknown-linux-gnu",
}
PLATFORM = "manylinux_2_17"
# The earliest time that a zip file can record.
SOURCE_DATE_EPOCH_S = 315532800


def build(out: Path = WHEELS, machine: str = "x86_64") -> Path:
    """Builds the wheel for `machine`, as `uname -m` names it, into `out` and returns its path.

    Raises:
        Unprepared: a tool is missing, or the build failed; the reason was printed.
    """
    environment.check_compilers()
    environment.require_rust_target(TARGETS[machine])
    environment.prepare_venv(VENV, ["--requirement", str(REQUIREMENTS)], REQUIREMENTS.read_text())
    bill = _bill_of_materials(TARGETS[machine])
    out.mkdir(parents=True, exist_ok=True)
    before = _wheels_in(out)
    command = [str(VENV / "bin" / "maturin"), "build", "--release", "--zig"]
    command += ["--target", TARGETS[machine], "--compatibility", PLATFORM]
    command += ["--sbom-include", str(bill), "--out", str(out.resolve())]
    result = runner.run(command, cwd=environment.HARNESS_DIR, env=_surroundings())
    if result.code != 0:
        raise environment.Unprepared(
            f"the wheel could not be built (maturin build, exit {result.code}); see the output "
            "above.",
            environment.EXIT_BUILD,
        )
    after = _wheels_in(out)
    (built,) = [wheel for wheel in after if after[wheel] != before.get(wheel)]
    return built


def _bill_of_materials(target: str) -> Path:
    """Has the program `harness.publish.sbom` write what maturin puts beside the binary. A program,
    because that room needs this one."""
    bill = WORKSHOP / "sbom" / target / "htex-interchange.cyclonedx.json"
    command = [sys.executable, "-m", "harness.publish.sbom", target, str(bill)]
    result = runner.run(command, cwd=environment.HARNESS_DIR)
    if result.code != 0:
        raise environment.Unprepared(
            f"the bill of materials could not be written (exit {result.code}); the reason stands "
            "above.",
            environment.EXIT_BUILD,
        )
    return bill


def _wheels_in(out: Path) -> dict[Path, tuple[int, int]]:
    """Returns each wheel with the inode and modification time, which change when a wheel is
    written."""
    found = {wheel: wheel.stat() for wheel in out.glob("htex_interchange-*.whl")}
    return {wheel: (status.st_ino, status.st_mtime_ns) for wheel, status in found.items()}


def _surroundings() -> dict[str, str]:
    cargo_home = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    places = {str(PROJECT): "htex-interchange", str(cargo_home): "cargo"}
    in_rust = [f"--remap-path-prefix={place}={name}" for place, name in places.items()]
    in_c = [f"-ffile-prefix-map={place}={name}" for place, name in places.items()]
    env = dict(os.environ)
    # These variables name the machine's own compilers, which must not be used instead of zig.
    for name in ("CC", "CXX", "AR", "RANLIB"):
        env.pop(name, None)
    env |= {
        "PATH": os.pathsep.join(
            [str(VENV / "bin"), str(Path(environment.cargo()).parent), env.get("PATH", os.defpath)]
        ),
        "CARGO_TARGET_DIR": str(WORKSHOP / "cargo"),
        "CARGO_ZIGBUILD_CACHE_DIR": str(WORKSHOP / "zigbuild"),
        "ZIG_GLOBAL_CACHE_DIR": str(WORKSHOP / "zig"),
        "SOURCE_DATE_EPOCH": str(SOURCE_DATE_EPOCH_S),
        "RUSTFLAGS": " ".join([*filter(None, [env.get("RUSTFLAGS")]), *in_rust]),
    }
    for name in ("CFLAGS", "CXXFLAGS"):
        env[name] = " ".join([*filter(None, [env.get(name)]), *in_c])
    return env
