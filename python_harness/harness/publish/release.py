"""The command `release --dry-run`: checks a commit and makes everything that its release consists
of, in one folder. It publishes nothing: that is done by a person, and by the workflow that a
person's tag starts.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from harness.machine import runner
from harness.publish import archive, clone, licences, recipes, sbom, sdist, toolchain, wheel
from harness.setup import environment

PROJECT = environment.PROJECT_DIR
OUT = PROJECT / "target" / "release-files"
CHANGELOG = PROJECT / "src" / "guide" / "changelog.md"
CRATE = "htex-pickle"

OF_A_PERSON = """\
A release is published by a person:
  1. Set the version in Cargo.toml (and of pickle in [workspace.dependencies]), run `cargo check`,
     and give src/guide/changelog.md an entry for it.
  2. python3 python_harness release --dry-run    tests, checks and makes all files
  3. Commit and push; when CI has passed: git tag --sign vX.Y.Z; git push origin vX.Y.Z
  4. Approve the environment `release` of the workflow that the tag starts. It uploads to PyPI,
     crates.io and the release page. Once, before the first release: name this workflow as a
     trusted publisher on PyPI and crates.io (crates.io: publish the first version by hand).
  5. Propose the filled recipes to conda-forge, Spack and EasyBuild.
"""


class Refused(Exception):
    """The commit cannot be released as it is; the text names the remedy."""


def run(options: argparse.Namespace) -> int:
    if not options.dry_run:
        print(f"{OF_A_PERSON}\nOnly `release --dry-run` is a command.", file=sys.stderr)
        return 2
    out = Path(options.out).absolute() if options.out else OUT
    try:
        version = check_commit()
        if not options.without_tests:
            _test()
        digests = make(out, version)
    except Refused as reason:
        print(f"htex-interchange harness: {reason}", file=sys.stderr)
        return 1
    _print_table(out, digests)
    print(f"\nNothing was published. {OF_A_PERSON}", end="")
    return 0


def check_commit() -> str:
    """Returns the version of this commit, which has no changes beside it.

    Raises:
        Refused: the clone has changes, or its files name different versions.
    """
    changed = clone.git("status", "--porcelain")
    if changed:
        raise Refused(
            "a release is made of a commit, and these files differ from it:\n"
            f"{changed}Remedy: commit, stash or remove them."
        )
    return same_version(
        {
            "Cargo.toml": sdist.version(),
            "Cargo.toml, pickle in [workspace.dependencies]": pickle_version(
                (PROJECT / "Cargo.toml").read_text()
            ),
            "src/guide/changelog.md, its first entry": newest_entry(CHANGELOG.read_text())[0],
        }
    )


def same_version(named: dict[str, str]) -> str:
    """Returns the version that all places name.

    Raises:
        Refused: they differ.
    """
    if len(set(named.values())) != 1:
        lines = "".join(f"\n  {version:10} {place}" for place, version in named.items())
        raise Refused(f"the version is not the same everywhere:{lines}\nRemedy: make them one.")
    return next(iter(named.values()))


def pickle_version(manifest: str) -> str:
    return re.search(r'^pickle = \{.*\bversion = "(.+?)"', manifest, re.MULTILINE)[1]


def newest_entry(changelog: str) -> tuple[str, str]:
    """Returns the version and the text of the first entry."""
    _, heading, rest = changelog.partition("\n## ")
    if not heading:
        raise Refused("src/guide/changelog.md has no entry. Remedy: write one, `## X.Y.Z`.")
    title, _, text = rest.partition("\n")
    return title.split()[0], text.split("\n## ")[0].strip() + "\n"


def make(out: Path, version: str) -> dict[Path, str]:
    """Fills `out` with all files of the release, and returns their digests."""
    shutil.rmtree(out, ignore_errors=True)
    for_pypi = out / "pypi"
    for_pypi.mkdir(parents=True)
    wheels = [wheel.build(for_pypi, machine) for machine in toolchain.TARGETS]
    with tempfile.TemporaryDirectory() as place:
        program = own_program(wheels, Path(place))
        check_versions(wheels, program, version)
        for machine in toolchain.STATIC_TARGETS:
            archive.build(out, machine, program)
    sources = sdist.build(for_pypi)
    _check_crate()
    _write_licences_and_bills(out)
    filled = recipes.fill(sources, out / "recipes")
    wrong = [one.what for one in recipes.check(filled, None) if one.failed]
    if wrong:
        raise Refused(f"recipes that their linters refuse: {', '.join(wrong)}. See above.")
    (out / "NOTES.md").write_text(newest_entry(CHANGELOG.read_text())[1])
    return _write_sums(out)


def own_program(wheels: list[Path], place: Path) -> Path:
    """Extracts the program that this machine runs, from its wheel into `place`.

    Raises:
        Refused: none of the wheels is for this machine.
    """
    ours = [one for one in wheels if one.name.endswith(f"_{platform.machine()}.whl")]
    if not ours:
        raise Refused(
            f"no wheel is for {platform.machine()}, so the program cannot be tried. Remedy: make "
            f"the release on {' or '.join(toolchain.TARGETS)}."
        )
    return wheel.extract_program(ours[0], place)


def check_versions(wheels: list[Path], program: Path, version: str) -> None:
    """Compares the version with that of each wheel, of the program and of its manual page."""
    named = {wheel.name: wheel.name.split("-")[1] for wheel in wheels}
    page = subprocess.check_output([program, "man"], text=True)
    named["the manual page"] = version_of_page(page)
    told = subprocess.check_output([program, "--version"], text=True)
    named["htex-interchange --version"] = told.split()[-1]
    same_version({"the commit": version, **named})


def version_of_page(page: str) -> str:
    """Returns the version in the title line of a manual page."""
    found = re.search(r"^\.TH .*?htex-interchange (\d\S*?)\"?\s*$", page, re.MULTILINE)
    return found[1] if found else "none"


def _test() -> None:
    command = [sys.executable, str(environment.HARNESS_DIR), "test", "--long"]
    if runner.run(command, cwd=PROJECT).code != 0:
        raise Refused("`test --long` failed, which plays the whole window of releases. See above.")


def _check_crate() -> None:
    """Builds the crate that crates.io has from its own package, and compares its interface with
    that of the last release. The first release has nothing to be compared with."""
    package = ["package", "--locked", "--package", CRATE]
    if runner.run([environment.cargo(), *package], cwd=PROJECT).code != 0:
        raise Refused(f"`cargo package --package {CRATE}` failed; the reason stands above.")
    newest_first = ("--sort=-version:refname", "--no-contains", "HEAD")
    earlier = clone.git("tag", "--list", "v*", *newest_first).split()
    if not earlier:
        print(f"{CRATE}: no earlier release; this one is the first to compare with")
        return
    compare = ["semver-checks", "--package", CRATE, "--baseline-rev", earlier[0]]
    if runner.run([environment.cargo(), *compare], cwd=PROJECT).code != 0:
        raise Refused(
            f"the interface of {CRATE} breaks what {earlier[0]} promised, or cargo-semver-checks "
            "is missing. Remedy: raise the version, or cargo install cargo-semver-checks."
        )


def _write_licences_and_bills(out: Path) -> None:
    (out / licences.FILE.name).write_text(licences.made())
    for target in toolchain.ALL_TARGETS:
        sbom.write(target, out / f"htex-interchange-{target}.cdx.json")


def _write_sums(out: Path) -> dict[Path, str]:
    """Writes the digest of each file into one file, and returns them."""
    files = [path for path in sorted(out.rglob("*")) if path.is_file()]
    digests = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    lines = [f"{digest}  {path.relative_to(out)}\n" for path, digest in digests.items()]
    (out / "SHA256SUMS").write_text("".join(lines))
    return digests


def _print_table(out: Path, digests: dict[Path, str]) -> None:
    print(f"\n{out}, with SHA256SUMS:")
    for path, digest in digests.items():
        size_kb = path.stat().st_size / 1000
        print(f"  {size_kb:10,.1f} kB  {digest[:16]}  {path.relative_to(out)}")
