"""Prepares a fresh clone so that the harness can run, with the standard library only.

Creates a virtual environment in the ignored build folder (`target/harness/venv`), installs the
pinned requirements with pip (from the index in the user's pip configuration), and builds the binary
with cargo. A stamp records everything on which the environment depends, so the second run is
immediate. An incomplete environment has no stamp and is made again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

from harness.machine import runner

HARNESS_DIR = Path(__file__).resolve().parents[2]
PROJECT_DIR = HARNESS_DIR.parent
BUILD_DIR = PROJECT_DIR / "target" / "harness"
VENV_DIR = BUILD_DIR / "venv"
VENV_BIN = VENV_DIR / "bin"
REQUIREMENTS = HARNESS_DIR / "requirements.txt"
BINARY_NAME = "htex-interchange"
BINARY_VARIABLE = "HTEX_INTERCHANGE_BIN"

# Older kernels cut off longer first lines of scripts.
SHEBANG_LIMIT = 127

EXIT_ENVIRONMENT = 3
EXIT_BUILD = 4


class Unprepared(Exception):
    """Something that the harness needs is missing; the exception's text names the remedy."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def inside_venv() -> bool:
    return Path(sys.prefix).resolve() == VENV_DIR.resolve()


def ensure_venv() -> None:
    """Makes the harness's own environment if it is missing or was made from other inputs."""
    prepare_venv(VENV_DIR, ["--requirement", str(REQUIREMENTS)], REQUIREMENTS.read_text())


def prepare_venv(place: Path, requirements: list[str], inputs: str) -> None:
    """Makes an environment with pip's arguments `requirements`. A stamp beside it records that it
    is complete and what it was made from (`inputs`, this file, this Python, its place)."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with _lock(place.with_name(place.name + ".lock")):
        stamp = place.with_name(place.name + ".stamp")
        wanted = _fingerprint(place, inputs)
        complete = stamp.exists() and stamp.read_text() == wanted
        if complete and (place / "bin" / "python").exists():
            return
        stamp.unlink(missing_ok=True)
        _make_venv(place)
        _install(place, requirements)
        _repair_shebangs(place / "bin")
        stamp.write_text(wanted)


def enter_venv(arguments: list[str]) -> None:
    """Replaces this process by the same command under the environment's Python."""
    python = str(VENV_BIN / "python")
    sys.stdout.flush()
    os.execv(python, [python, str(HARNESS_DIR), *arguments])


def child_environment() -> dict[str, str]:
    """Returns the environment variables for the harness's programs. The venv's scripts come first
    in PATH, where Parsl finds its worker pool, and workers can import the harness."""
    env = dict(os.environ)
    env["PATH"] = os.pathsep.join([str(VENV_BIN), env.get("PATH", os.defpath)])
    env["PYTHONPATH"] = os.pathsep.join([str(HARNESS_DIR), *filter(None, [env.get("PYTHONPATH")])])
    env["VIRTUAL_ENV"] = str(VENV_DIR)
    env["PYTHONUNBUFFERED"] = "1"
    return env


def binary() -> Path:
    """Returns the interchange to test: HTEX_INTERCHANGE_BIN, or else the release build."""
    named = os.environ.get(BINARY_VARIABLE)
    return Path(named).resolve() if named else PROJECT_DIR / "target" / "release" / BINARY_NAME


def cargo() -> str:
    found = os.environ.get("CARGO") or shutil.which("cargo")
    if not found:
        at_home = Path.home() / ".cargo" / "bin" / "cargo"
        found = str(at_home) if at_home.exists() else None
    if not found:
        raise Unprepared(
            "cargo was not found. Remedy: install a Rust toolchain (rustup, or your system's "
            "package) and put its bin folder on PATH.",
            EXIT_ENVIRONMENT,
        )
    return found


def require_rust_target(triple: str) -> None:
    """Installs Rust's standard library for `triple` from the toolchain's own channel.

    Raises:
        Unprepared: the toolchain lacks it, and rustup is missing or failed.
    """
    rustc = str(Path(cargo()).with_name("rustc"))
    sysroot = runner.run([rustc, "--print", "sysroot"], capture_stdout=True).stdout.strip()
    if (Path(sysroot) / "lib" / "rustlib" / triple / "lib").is_dir():
        return
    rustup = shutil.which("rustup") or str(Path(cargo()).with_name("rustup"))
    added = runner.run([rustup, "target", "add", triple]) if Path(rustup).exists() else None
    if added is None or added.code != 0:
        raise Unprepared(
            f"this Rust toolchain cannot compile for {triple}. Remedy: run `rustup target add "
            f"{triple}` with access to Rust's download server, or install the system's package of "
            "Rust's standard library for that machine.",
            EXIT_ENVIRONMENT,
        )


def check_toolchain() -> None:
    """Reports tools that a build would lack, before any time is spent on other steps."""
    if not os.environ.get(BINARY_VARIABLE):
        cargo()
        check_compilers()


def check_compilers() -> None:
    """Reports missing compilers before cargo does; libzmq and libsodium are compiled from
    source."""
    wanted = {
        "a C compiler": [os.environ.get("CC"), "cc", "gcc", "clang"],
        "a C++ compiler": [os.environ.get("CXX"), "c++", "g++", "clang++"],
        "make": [os.environ.get("MAKE"), "make", "gmake"],
    }
    missing = [
        what
        for what, names in wanted.items()
        if not any(name and shutil.which(name.split()[0]) for name in names)
    ]
    if missing:
        raise Unprepared(
            f"{' and '.join(missing)} not found; the binary contains libzmq and libsodium, which "
            "are compiled here. Remedy: install them (Debian: build-essential; Fedora: gcc-c++ "
            "make; cluster: load a compiler module).",
            EXIT_ENVIRONMENT,
        )


def build_binary(profile: str, beside: tuple[str, ...] = ()) -> Path:
    """Runs `cargo build --locked` for the binary and the programs of the packages `beside`. Returns
    the path of the executable as cargo reports it."""
    if os.environ.get(BINARY_VARIABLE):
        return binary()
    check_compilers()
    command = [cargo(), "build", "--locked", f"--profile={profile}"]
    for package in (BINARY_NAME, *beside):
        command += ["--package", package, "--bin", package]
    command += ["--message-format=json-render-diagnostics"]
    result = runner.run(command, cwd=PROJECT_DIR, capture_stdout=True)
    if result.code != 0:
        raise Unprepared(
            f"the build failed (cargo {' '.join(command[1:4])}, exit {result.code}); see the "
            "output above.",
            EXIT_BUILD,
        )
    for line in result.stdout.splitlines():
        message = json.loads(line) if line.startswith("{") else {}
        if message.get("executable") and message["target"]["name"] == BINARY_NAME:
            os.environ[BINARY_VARIABLE] = message["executable"]
    return binary()


def _fingerprint(place: Path, inputs: str) -> str:
    """Returns a digest of everything that would make an existing environment unusable if it
    changed."""
    parts = [inputs, Path(__file__).read_text(), sys.version, str(place)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@contextmanager
def _lock(path: Path):
    """Locks an environment, so that two harnesses started at once do not build it at the same
    time."""
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting until another harness has prepared the environment ...", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make_venv(place: Path) -> None:
    shown = place.relative_to(PROJECT_DIR)
    print(f"harness: making a virtual environment in {shown}", flush=True)
    shutil.rmtree(place, ignore_errors=True)
    made = runner.run([sys.executable, "-m", "venv", str(place)], capture_stdout=True)
    if made.code != 0:
        print(made.stdout, file=sys.stderr)
        raise Unprepared(
            f"`{sys.executable} -m venv` failed (exit {made.code}). Remedy: install the venv "
            f"module of this Python (Debian: apt install python3-venv), or use another Python.",
            EXIT_ENVIRONMENT,
        )


def _install(place: Path, requirements: list[str]) -> None:
    print("harness: installing the requirements with pip (first run only)", flush=True)
    command = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    command += ["--disable-pip-version-check", *requirements]
    installed = runner.run(command)
    if installed.code != 0:
        raise Unprepared(
            f"pip could not install {' '.join(requirements)} (exit {installed.code}); see the "
            "output above. Remedy: give pip access to a package index (pip config, "
            "PIP_INDEX_URL, a proxy), then run the command again.",
            EXIT_ENVIRONMENT,
        )


def _repair_shebangs(scripts: Path) -> None:
    """Replaces first lines with a path that is too long or contains blanks, which a kernel cannot
    run. pip leaves Parsl's scripts with such lines; they then start Python through the shell."""
    python = str(scripts / "python")
    plain = f"#!{scripts}".encode()
    if " " not in python and len(python) + 2 <= SHEBANG_LIMIT:
        return
    header = f"#!/bin/sh\n'''exec' \"{python}\" \"$0\" \"$@\"\n' '''\n".encode()
    for script in scripts.iterdir():
        if script.is_symlink() or not script.is_file():
            continue
        body = script.read_bytes()
        if body.startswith(plain):
            script.write_bytes(header + body.split(b"\n", 1)[1])


def stock_command() -> list[str]:
    """Returns the command of Parsl's own interchange under the environment's Python, as HTEX finds
    it."""
    return [str(VENV_BIN / "python"), str(VENV_BIN / "interchange.py")]


def require_binary(profile: str = "release", beside: tuple[str, ...] = ()) -> Path:
    """Returns the binary that HTEX_INTERCHANGE_BIN names, or else builds it with this cargo
    profile, together with the programs `beside` it. Raises Unprepared with the reason if there is
    no binary."""
    path = build_binary(profile, beside)
    if not os.access(path, os.X_OK):
        raise Unprepared(
            f"{path} is not an executable file. Remedy: cargo build --release, or let "
            f"{BINARY_VARIABLE} name the binary.",
            EXIT_BUILD,
        )
    return path
