"""What goes out with the program: its bill of materials, and the same bytes each time."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from cyclonedx.validation.json import JsonStrictValidator

from harness.publish import licences, sbom, toolchain, wheel
from harness.setup import environment

pytestmark = pytest.mark.ours_only("this is about our own package")

PROJECT = environment.PROJECT_DIR
BUILD_S = 3600
BUILD_IN = "import sys; from pathlib import Path; from harness.publish import wheel; \
print(wheel.build(Path(sys.argv[1])))"


def components(bill: dict) -> set[tuple[str, str]]:
    every = [bill["metadata"]["component"], *bill["components"]]
    return {(component["name"], component["version"]) for component in every}


@pytest.mark.long
@pytest.mark.timeout(BUILD_S)
def test_the_wheel_has_a_bill_of_what_is_inside(tmp_path):
    with zipfile.ZipFile(wheel.build(tmp_path)) as file:
        (name,) = [name for name in file.namelist() if "/sboms/" in name]
        assert name.endswith(".dist-info/sboms/htex-interchange.cyclonedx.json")
        text = file.read(name).decode()
        (script,) = [name for name in file.namelist() if "/scripts/" in name]
        binary = file.read(script)
        (notice,) = [name for name in file.namelist() if name.endswith(licences.FILE.name)]
        assert file.read(notice) == licences.FILE.read_bytes()
    assert JsonStrictValidator(sbom.SCHEMA).validate_str(text) is None
    for place in (PROJECT, Path.home()):
        assert str(place) not in text
    bill = json.loads(text)
    assert bill["metadata"]["timestamp"].startswith("1980-01-01T00:00:00")

    libraries = {part["name"]: part for part in bill["components"] if is_library(part)}
    assert set(libraries) == {
        *("libzmq", "libsodium", "libc++", "libc++abi", "libunwind", "rust-std")
    }
    of_crates = components(bill) - {(part["name"], part["version"]) for part in libraries.values()}
    assert of_crates == shown_by_cargo(toolchain.TARGETS["x86_64"])
    program = tmp_path / "program"
    program.write_bytes(binary)
    program.chmod(0o755)
    told = subprocess.run(
        [program, "--version", "--verbose"], capture_output=True, text=True, check=True
    )
    reported = dict(line.split(": ", 1) for line in told.stdout.splitlines())
    for name in ("libzmq", "libsodium"):
        assert libraries[name]["version"] == reported[name]
        assert libraries[name]["hashes"]
    assert libraries["rust-std"]["version"] == reported["rustc"].split()[0]
    # libzmq has its version as numbers.
    assert libraries["libsodium"]["version"].encode() in binary


def is_library(component: dict) -> bool:
    return component["bom-ref"].startswith("library:")


def shown_by_cargo(target: str) -> set[tuple[str, str]]:
    """Returns the crates of the plain command, as somebody would check the bill by hand."""
    command = ["tree", "--locked", "--edges", "normal", "--target", target, "--prefix", "none"]
    told = subprocess.run(
        [environment.cargo(), *command], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    found = re.findall(r"^(\S+) v(\S+)", told.stdout, re.MULTILINE)
    assert len(found) > 100
    return set(found)


@pytest.mark.long
@pytest.mark.timeout(2 * BUILD_S)
def test_two_clones_in_two_places_give_the_same_wheel(tmp_path, measured):
    """The places have paths of different lengths, and their own HOME and CARGO_HOME."""
    wheels = [built_in(tmp_path / "a"), built_in(tmp_path / "another" / "place" / "than that")]
    one, other = (contents(made) for made in wheels)
    differing = sorted(name for name in one | other if one.get(name) != other.get(name))
    assert differing == []
    digests = {hashlib.sha256(made.read_bytes()).hexdigest() for made in wheels}
    assert len(digests) == 1
    measured(f"the wheel from two places: sha256 {digests.pop()}")


def contents(made: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(made) as file:
        return {name: file.read(name) for name in file.namelist()}


def built_in(place: Path) -> Path:
    """Builds the wheel from a clone that has this tree's changes, too."""
    clone, home = place / "clone", place / "home"
    git = ["git", "-C", str(PROJECT)]
    subprocess.run([*git, "clone", "--quiet", "--no-local", PROJECT, clone], check=True)
    for tree in (PROJECT, clone):
        listed = subprocess.run(
            ["git", "-C", tree, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            capture_output=True,
            text=True,
            check=True,
        )
        for name in filter(None, listed.stdout.split("\0")):
            if not (PROJECT / name).exists():
                (clone / name).unlink(missing_ok=True)
            elif tree == PROJECT:
                (clone / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(PROJECT / name, clone / name)
    env = of_its_own(home)
    env["PYTHONPATH"] = str(clone / "python_harness")
    out = place / "wheels"
    told = subprocess.run([sys.executable, "-c", BUILD_IN, out], env=env, cwd=clone)
    assert told.returncode == 0
    shutil.rmtree(clone / "target")
    (made,) = out.iterdir()
    return made


def of_its_own(home: Path) -> dict[str, str]:
    """Returns an environment with another HOME. What was downloaded before is used by links, and
    the configuration of pip and rustup stays."""
    user = Path.home()
    cargo_home = Path(os.environ.get("CARGO_HOME") or user / ".cargo")
    own = home / "cargo"
    own.mkdir(parents=True)
    for name in ("registry", "config.toml", "config"):
        if (cargo_home / name).exists():
            (own / name).symlink_to(cargo_home / name)
    return os.environ | {
        "HOME": str(home),
        "CARGO_HOME": str(own),
        "CARGO": environment.cargo(),
        "RUSTUP_HOME": os.environ.get("RUSTUP_HOME") or str(user / ".rustup"),
        "XDG_CONFIG_HOME": os.environ.get("XDG_CONFIG_HOME") or str(user / ".config"),
        "PIP_CACHE_DIR": os.environ.get("PIP_CACHE_DIR") or str(user / ".cache" / "pip"),
    }
