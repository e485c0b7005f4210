"""The command `archive`: the program alone, static, for any Linux of its machine.

It is linked with musl, so it needs no library of the system. The archive also holds the manual
page, completions for shells, licences and the bill of materials; its digest is written beside it.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
from pathlib import Path

from harness.publish import licences, sbom, sdist, toolchain, wheel
from harness.setup import environment

OUT = toolchain.PROJECT / "target" / "archives"
WORKSHOP = toolchain.WORKSHOP / "archive"
# The platform tag of wheels with musl; the archive's program comes out of such a wheel.
PLATFORM = "musllinux_1_2"
NAME = environment.BINARY_NAME

# What each shell calls a file of completions, and where packages put it.
COMPLETIONS = {
    "bash": f"share/bash-completion/completions/{NAME}",
    "fish": f"share/fish/vendor_completions.d/{NAME}.fish",
    "zsh": f"share/zsh/site-functions/_{NAME}",
}


def run(options: argparse.Namespace) -> int:
    out = Path(options.out).absolute() if options.out else OUT
    print(build(out, options.target, environment.require_binary()))
    return 0


def build(out: Path, machine: str, printer: Path) -> Path:
    """Builds the archive for `machine`, as `uname -m` names it, into `out` and returns its path.
    `printer` is the program of this machine, which prints the page and the completions.

    Raises:
        Unprepared: a tool is missing, or the build failed; the reason was printed.
    """
    target = toolchain.STATIC_TARGETS[machine]
    tree = WORKSHOP / f"{NAME}-{sdist.version()}-{machine}-linux-static"
    shutil.rmtree(tree, ignore_errors=True)
    place = WORKSHOP / target
    program = wheel.extract_program(wheel.pack(target, PLATFORM, place), place)
    _put(tree / "bin" / NAME, program.read_bytes(), mode=0o755)
    _put(tree / "share/man/man1" / f"{NAME}.1", _printed(printer, "man"))
    for shell, place in COMPLETIONS.items():
        _put(tree / place, _printed(printer, "completions", shell))
    _put(tree / f"{NAME}.cdx.json", sbom.made(target).encode())
    for path in (toolchain.PROJECT / "LICENSE", licences.FILE):
        _put(tree / path.name, path.read_bytes())
    out.mkdir(parents=True, exist_ok=True)
    archive = out / f"{tree.name}.tar.gz"
    sdist.pack(tree, archive)
    shutil.rmtree(tree)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    archive.with_name(f"{archive.name}.sha256").write_text(f"{digest}  {archive.name}\n")
    return archive


def _printed(printer: Path, *words: str) -> bytes:
    return subprocess.check_output([printer, *words])


def _put(place: Path, content: bytes, mode: int = 0o644) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    place.chmod(mode)
