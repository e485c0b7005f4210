"""The tools that make what is published, for other machines than this one too: maturin packs, zig
compiles against the symbols of an old glibc and includes its libc++.

Tools, caches and build results stay below `target/wheel`, so that a second build is quick and no
file of the repository changes. What is built contains neither the time of the build nor paths of
the machine that built it.
"""

from __future__ import annotations

import os
from pathlib import Path

from harness.setup import cargo_tools, environment

PROJECT = environment.PROJECT_DIR
WORKSHOP = PROJECT / "target" / "wheel"
VENV = WORKSHOP / "venv"
REQUIREMENTS = environment.HARNESS_DIR / "requirements-wheel.txt"

# Rust's target for each machine, which has its name from `uname -m`: with glibc, and static.
TARGETS = {
    "x86_64": "x86_64-unknown-linux-gnu",
    "aarch64": "aarch64-unknown-linux-gnu",
}
STATIC_TARGETS = {
    "x86_64": "x86_64-unknown-linux-musl",
    "aarch64": "aarch64-unknown-linux-musl",
}
ALL_TARGETS = (*TARGETS.values(), *STATIC_TARGETS.values())
# The earliest time that a zip file can record.
SOURCE_DATE_EPOCH_S = 315532800


def prepare(target: str) -> dict[str, str]:
    """Installs what a build for `target` needs, and returns the environment variables of the build.

    Raises:
        Unprepared: a tool is missing; the text names the remedy.
    """
    environment.check_compilers()
    environment.require_rust_target(target)
    prepare_tools()
    return surroundings()


def prepare_tools() -> None:
    environment.prepare_venv(VENV, ["--requirement", str(REQUIREMENTS)], REQUIREMENTS.read_text())


def ziglang() -> Path:
    """Returns the folder of zig, which contains the sources of what it links."""
    prepare_tools()
    (found,) = VENV.glob("lib/python3*/site-packages/ziglang")
    return found


def surroundings() -> dict[str, str]:
    cargo_home = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    places = {str(PROJECT): "htex-interchange", str(cargo_home): "cargo"}
    in_rust = [f"--remap-path-prefix={place}={name}" for place, name in places.items()]
    in_c = [f"-ffile-prefix-map={place}={name}" for place, name in places.items()]
    env = dict(os.environ)
    # These variables name the machine's own compilers, which must not be used instead of zig.
    for name in ("CC", "CXX", "AR", "RANLIB"):
        env.pop(name, None)
    env |= {
        "PATH": cargo_tools.path_with(VENV / "bin"),
        "CARGO_TARGET_DIR": str(WORKSHOP / "cargo"),
        "CARGO_ZIGBUILD_CACHE_DIR": str(WORKSHOP / "zigbuild"),
        "ZIG_GLOBAL_CACHE_DIR": str(WORKSHOP / "zig"),
        "SOURCE_DATE_EPOCH": str(SOURCE_DATE_EPOCH_S),
        "RUSTFLAGS": " ".join([*filter(None, [env.get("RUSTFLAGS")]), *in_rust]),
    }
    for name in ("CFLAGS", "CXXFLAGS"):
        env[name] = " ".join([*filter(None, [env.get(name)]), *in_c])
    return env
