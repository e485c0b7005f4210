"""The command `wheel`: builds the wheel for `pip install`, for Linux with glibc 2.17 or later on
x86-64 or aarch64."""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path

from harness.machine import runner
from harness.publish import sbom, toolchain
from harness.setup import environment

WHEELS = toolchain.PROJECT / "target" / "wheels"
PLATFORM = "manylinux_2_17"


def run(options: argparse.Namespace) -> int:
    print(build(Path(options.out).absolute() if options.out else WHEELS, options.target))
    return 0


def build(out: Path = WHEELS, machine: str = "x86_64") -> Path:
    """Builds the wheel for `machine`, as `uname -m` names it, into `out` and returns its path.

    Raises:
        Unprepared: a tool is missing, or the build failed; the reason was printed.
    """
    return pack(toolchain.TARGETS[machine], PLATFORM, out)


def pack(target: str, platform: str, out: Path) -> Path:
    """Builds the program for `target`, packs it as a wheel for the platform, and returns the wheel.

    Raises:
        Unprepared: a tool is missing, or the build failed; the reason was printed.
    """
    env = toolchain.prepare(target)
    bill = toolchain.WORKSHOP / "sbom" / target / "htex-interchange.cyclonedx.json"
    sbom.write(target, bill)
    out.mkdir(parents=True, exist_ok=True)
    before = _wheels_in(out)
    command = [str(toolchain.VENV / "bin" / "maturin"), "build", "--release", "--zig"]
    command += ["--target", target, "--compatibility", platform]
    command += ["--sbom-include", str(bill), "--out", str(out.resolve())]
    result = runner.run(command, cwd=environment.HARNESS_DIR, env=env)
    if result.code != 0:
        raise environment.Unprepared(
            f"the program could not be built for {target} (maturin build, exit {result.code}); "
            "see the output above.",
            environment.EXIT_BUILD,
        )
    after = _wheels_in(out)
    (built,) = [wheel for wheel in after if after[wheel] != before.get(wheel)]
    return built


def extract_program(made: Path, place: Path) -> Path:
    """Extracts the program from a wheel into `place`, so that it can be run."""
    with zipfile.ZipFile(made) as file:
        (name,) = [
            name
            for name in file.namelist()
            if name.endswith(f".data/scripts/{environment.BINARY_NAME}")
        ]
        program = Path(file.extract(name, place))
    program.chmod(0o755)
    return program


def _wheels_in(out: Path) -> dict[Path, tuple[int, int]]:
    """Returns each wheel with the inode and modification time, which change when a wheel is
    written."""
    found = {wheel: wheel.stat() for wheel in out.glob("htex_interchange-*.whl")}
    return {wheel: (status.st_ino, status.st_mtime_ns) for wheel, status in found.items()}
