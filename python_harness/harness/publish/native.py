"""The C and C++ libraries inside the program: their versions, licences and sources.

Cargo does not know them. Two crates that only the build uses carry libzmq and libsodium, and zig
brings LLVM's C++ runtime, and musl for a static program. Versions are read from the sources that
are compiled.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path

from harness.machine import runner
from harness.publish import crates, toolchain
from harness.setup import environment

LIBZMQ_CRATE = "zeromq-src"
LIBSODIUM_CRATE = "libsodium-sys-stable"
# libsodium's sources, inside its crate.
LIBSODIUM_ARCHIVE = "LATEST.tar.gz"
LLVM_LICENCE = "Apache-2.0 WITH LLVM-exception"
LLVM_RUNTIME = {
    "libc++": "libcxx",
    "libc++abi": "libcxxabi",
    "libunwind": "libunwind",
}


@dataclass(frozen=True)
class Library:
    name: str
    version: str
    # An SPDX expression, and its text.
    licence: str
    text: str
    homepage: str
    # Where the compiled sources come from, and the archive's sha256 if it is known.
    source: str
    sha256: str | None = None


def libraries(target: str) -> list[Library]:
    """Returns the libraries in the program that zig links for `target`."""
    is_static = target in toolchain.STATIC_TARGETS.values()
    return [libzmq(), libsodium(), *llvm_runtime(), *([musl()] if is_static else [])]


def libzmq() -> Library:
    crate_version, folder = _carrier(LIBZMQ_CRATE)
    # The crate names libzmq's version after its own.
    version = crate_version.partition("+")[2]
    return Library(
        "libzmq",
        version,
        "MPL-2.0",
        (folder / "vendor" / "LICENSE").read_text(),
        "https://zeromq.org",
        f"crate {LIBZMQ_CRATE} {crate_version} of crates.io",
        crates.locked()[LIBZMQ_CRATE, crate_version],
    )


def libsodium() -> Library:
    crate_version, folder = _carrier(LIBSODIUM_CRATE)
    archive = folder / LIBSODIUM_ARCHIVE
    with tarfile.open(archive) as sources:
        texts = {
            name: sources.extractfile(f"libsodium-stable/{name}").read().decode()
            for name in ("configure.ac", "LICENSE")
        }
    version = re.search(r"AC_INIT\(\[libsodium\],\s*\[([0-9.]+)", texts["configure.ac"])
    return Library(
        "libsodium",
        version[1],
        "ISC",
        texts["LICENSE"],
        "https://libsodium.org",
        f"{LIBSODIUM_ARCHIVE} in crate {LIBSODIUM_CRATE} {crate_version} of crates.io",
        hashlib.sha256(archive.read_bytes()).hexdigest(),
    )


def llvm_runtime() -> list[Library]:
    """Returns LLVM's runtime libraries, which zig compiles from the sources that it brings."""
    ziglang = toolchain.ziglang()
    return [
        Library(
            name,
            _llvm_version(ziglang),
            LLVM_LICENCE,
            (ziglang / "lib" / folder / "LICENSE.TXT").read_text(),
            "https://libcxx.llvm.org",
            _of_zig(),
        )
        for name, folder in LLVM_RUNTIME.items()
    ]


def musl() -> Library:
    """Returns the C library of a static program."""
    sources = toolchain.ziglang() / "lib" / "libc" / "musl"
    header = (sources / "src" / "internal" / "version.h").read_text()
    return Library(
        "musl",
        re.search(r'VERSION "(.+)"', header)[1],
        "MIT",
        (sources / "COPYRIGHT").read_text(),
        "https://musl.libc.org",
        _of_zig(),
    )


def _of_zig() -> str:
    version = re.search(r"^ziglang==(.+)$", toolchain.REQUIREMENTS.read_text(), re.MULTILINE)[1]
    return f"package ziglang {version} of PyPI"


def rust_std() -> Library:
    """Returns Rust's standard library, of which the compiler's version is that of its sources."""
    rustc = str(Path(environment.cargo()).with_name("rustc"))
    told = runner.run([rustc, "--version"], cwd=crates.PROJECT, capture_stdout=True)
    return Library(
        "rust-std",
        told.stdout.split()[1],
        "MIT OR Apache-2.0",
        "",
        "https://github.com/rust-lang/rust",
        "the toolchain",
    )


def _llvm_version(ziglang: Path) -> str:
    """Returns LLVM's version, which libc++ writes as one number: 220108 is 22.1.8."""
    header = (ziglang / "lib" / "libcxx" / "include" / "__config").read_text()
    number = int(re.search(r"define _LIBCPP_VERSION (\d+)", header)[1])
    return f"{number // 10000}.{number // 100 % 100}.{number % 100}"


def _carrier(name: str) -> tuple[str, Path]:
    """Returns the version and the folder of the external crate that carries a library."""
    command = [environment.cargo(), "metadata", "--locked", "--format-version=1"]
    told = runner.run(command, cwd=crates.PROJECT, capture_stdout=True)
    if told.code != 0:
        raise environment.Unprepared(
            f"`cargo metadata` failed (exit {told.code}); the reason stands above.",
            environment.EXIT_BUILD,
        )
    (found,) = [
        package
        for package in json.loads(told.stdout)["packages"]
        if package["name"] == name and package["source"]
    ]
    return found["version"], Path(found["manifest_path"]).parent
