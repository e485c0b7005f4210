"""Distribution: the wheel, what pip installs from it, and `cargo install`."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.fakes.events import FakeRun
from harness.htex import executors, jobs
from harness.machine import processes
from harness.publish import wheel
from harness.releases import supported
from harness.setup import environment

pytestmark = pytest.mark.ours_only("this is about our own package")

PROGRAM = Path(__file__).parent / "programs" / "installed.py"
PROJECT = environment.PROJECT_DIR
VERSION = re.search(r'^version = "(.+)"', (PROJECT / "Cargo.toml").read_text(), re.MULTILINE)[1]
OLDEST_GLIBC = (2, 17)
OF_GLIBC = {"libc", "libm", "libpthread", "libdl", "librt", "ld-linux-x86-64", "ld-linux-aarch64"}
# The first build also compiles libzmq, libsodium and libc++.
BUILD_S = 2400


@dataclass(frozen=True)
class Built:
    wheel: Path
    # Files of the repository that the build changed, created or removed.
    touched: list[str]

    def names(self) -> list[str]:
        with zipfile.ZipFile(self.wheel) as file:
            return sorted(file.namelist())

    def binary(self, place: Path) -> Path:
        """Extracts the binary from the wheel."""
        return wheel.extract_program(self.wheel, place)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Built:
    """Each pytest process builds the wheel; the second build finds everything compiled."""
    before = repository()
    made = wheel.build(tmp_path_factory.mktemp("wheels"))
    after = repository()
    changed = {name for name, _ in before ^ after}
    return Built(made, sorted(changed))


def repository() -> set[tuple[str, tuple]]:
    """Returns every file of the repository with the properties that a change would alter, without
    files that programs may leave there."""
    found = set()
    for directory, folders, files in os.walk(PROJECT):
        ours = {"target", ".git", "__pycache__", "runinfo"}
        folders[:] = [folder for folder in folders if folder not in ours]
        for name in files:
            status = os.lstat(os.path.join(directory, name))
            path = os.path.relpath(os.path.join(directory, name), PROJECT)
            found.add((path, (status.st_size, status.st_mtime_ns, status.st_mode)))
    return found


def readelf(option: str, binary: Path) -> str:
    told = subprocess.run(
        ["readelf", "--wide", option, binary], capture_output=True, text=True, check=True
    )
    return told.stdout


def needed_glibc(binary: Path) -> tuple[int, ...]:
    """Returns the newest version of glibc that a symbol of `binary` requires."""
    needs = readelf("--version-info", binary).partition("Version needs section")[2]
    versions = re.findall(r"Name: GLIBC_([0-9.]+)", needs)
    return max(tuple(map(int, version.split("."))) for version in versions)


@pytest.mark.long
@pytest.mark.timeout(BUILD_S)
def test_the_wheel_runs_on_old_clusters(built, tmp_path, measured):
    name, version, *python, platforms = built.wheel.stem.split("-")
    assert (name, version, python) == ("htex_interchange", VERSION, ["py3", "none"])
    # The second tag is pip's earlier name for the first.
    assert set(platforms.split(".")) == {"manylinux_2_17_x86_64", "manylinux2014_x86_64"}
    measured(needs_only_an_old_glibc(built.binary(tmp_path)))


def needs_only_an_old_glibc(binary: Path) -> str:
    """Checks what a binary needs of the system, and returns it as a text."""
    newest = needed_glibc(binary)
    assert newest <= OLDEST_GLIBC
    needed = re.findall(r"\(NEEDED\).*\[(\S+?)\.so", readelf("--dynamic", binary))
    assert "libc" in needed and set(needed) <= OF_GLIBC, needed
    size_mb = binary.stat().st_size / 1e6
    return f"the wheel's binary needs glibc {'.'.join(map(str, newest))}, {size_mb:.1f} MB"


def test_the_required_glibc_is_read_correctly(tmp_path):
    """A binary made by the machine's own compiler needs a start symbol of glibc 2.34, or of the
    machine's glibc if that is older."""
    source, binary = tmp_path / "main.c", tmp_path / "main"
    source.write_text("int main(void) { return 0; }\n")
    compiler = os.environ.get("CC", "cc").split()
    subprocess.run([*compiler, source, "-o", binary], check=True)
    own = tuple(map(int, os.confstr("CS_GNU_LIBC_VERSION").split()[1].split(".")))
    if own >= (2, 34):
        assert needed_glibc(binary) == (2, 34) > OLDEST_GLIBC
    else:
        assert needed_glibc(binary) <= own


@pytest.mark.long
@pytest.mark.timeout(BUILD_S)
def test_the_wheel_is_complete_and_reproducible(built, tmp_path):
    """A second build gives the same bytes, and the wheel contains no path of the build
    directory."""
    assert built.touched == []
    package = sorted(
        str(path.relative_to(environment.HARNESS_DIR))
        for path in (environment.HARNESS_DIR / "htex_interchange").rglob("*.*")
        if path.suffix != ".pyc"
    )
    assert "htex_interchange/report/page.css" in package
    prefix = f"htex_interchange-{VERSION}"
    others = [name for name in built.names() if name not in package]
    assert set(built.names()) >= set(package)
    assert f"{prefix}.data/scripts/htex-interchange" in others
    for licence in ("LICENSE", "THIRD-PARTY-LICENSES.txt"):
        assert f"{prefix}.dist-info/licenses/{licence}" in others
    assert all(
        name.startswith((f"{prefix}.data/scripts/", f"{prefix}.dist-info/")) for name in others
    )
    with zipfile.ZipFile(built.wheel) as file:
        metadata = file.read(f"{prefix}.dist-info/METADATA").decode()
    assert f"\nVersion: {VERSION}\n" in metadata
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    with zipfile.ZipFile(built.wheel) as file:
        for name in built.names():
            inside = file.read(name)
            for place in (PROJECT, Path.home()):
                assert str(place).encode() not in inside, name
    again = wheel.build(tmp_path / "again")
    assert again.name == built.wheel.name
    assert again.read_bytes() == built.wheel.read_bytes()


class Fresh:
    """A virtual environment with Parsl, and without anything of the harness."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.scripts = place / "bin"
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        self.pip("install", f"parsl=={supported.NEWEST}")

    def pip(self, *words: object) -> None:
        command = [self.scripts / "python", "-m", "pip", "--disable-pip-version-check"]
        self.run([*command, words[0], "--quiet", *words[1:]], timeout=600)

    def run(
        self, command: list, *, before: Path | None = None, timeout: float = 90
    ) -> subprocess.CompletedProcess:
        """Runs a command with the environment's scripts first on PATH, or after `before`."""
        foreign = {str(environment.VENV_BIN)}
        rest = [part for part in os.environ["PATH"].split(":") if part not in foreign]
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        env["PATH"] = ":".join([*([str(before)] if before else []), str(self.scripts), *rest])
        env["VIRTUAL_ENV"] = str(self.place)
        told = subprocess.run(
            list(map(str, command)),
            env=env,
            cwd=self.place,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert told.returncode == 0, told.stdout + told.stderr
        return told

    def workflow(self, how: str, run_dir: Path, before: Path | None = None) -> dict:
        told = self.run([self.scripts / "python", PROGRAM, how, run_dir], before=before)
        report = json.loads(told.stdout.splitlines()[-1])
        assert report["results"] == [number**2 for number in range(50)]
        assert report["certificates"]
        return report

    def files(self) -> set[str]:
        return {
            str(path.relative_to(self.place))
            for path in self.place.rglob("*")
            if "__pycache__" not in path.parts
        }


@pytest.mark.long
@pytest.mark.timeout(BUILD_S)
def test_the_wheel_works_in_a_fresh_environment(built, tmp_path):
    fresh = Fresh(tmp_path / "venv")
    before = fresh.files()
    fresh.pip("install", built.wheel)
    binary = fresh.scripts / "htex-interchange"
    assert fresh.run([binary, "--version"]).stdout == f"htex-interchange {VERSION}\n"

    linked = fresh.workflow("linked", tmp_path / "linked")
    assert linked["executor"] == "htex_interchange.executor.HighThroughputExecutor"
    named = fresh.workflow("named", tmp_path / "named")
    assert named["executor"].startswith("parsl.")
    shim = tmp_path / "shim"
    told = fresh.run(["htex-interchange", "install-shim", shim], before=shim)
    assert "the first interchange.py on PATH" in told.stdout
    unnamed = fresh.workflow("unnamed", tmp_path / "unnamed", before=shim)
    assert {str(binary)} == {run["executable"] for run in (linked, named, unnamed)}

    FakeRun(seed=1).write(tmp_path / "runinfo" / "events.jsonl")
    report = [fresh.scripts / "python", "-I", "-m", "htex_interchange.report"]
    fresh.run([*report, tmp_path / "runinfo"])
    assert (tmp_path / "runinfo" / "htex-report.html").read_text().endswith("</html>\n")

    fresh.pip("uninstall", "--yes", "htex-interchange")
    assert fresh.files() == before
    # The shim is now a broken link, and Parsl starts its own interchange again.
    path = f"{shim}:{fresh.scripts}"
    assert shutil.which("interchange.py", path=path) == str(fresh.scripts / "interchange.py")


@pytest.mark.timeout(BUILD_S)
def test_cargo_install_gives_a_working_binary(tmp_path, measured):
    """The installation reuses what `cargo build --release` has compiled."""
    command = [environment.cargo(), "install", "--locked", "--path", PROJECT, "--root", tmp_path]
    command += ["--target-dir", PROJECT / "target", "--no-track"]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    binary = tmp_path / "bin" / "htex-interchange"
    assert sorted(os.listdir(tmp_path / "bin")) == [binary.name]
    digest = hashlib.sha256(binary.read_bytes()).hexdigest()
    measured(f"cargo install: {binary.stat().st_size / 1e6:.1f} MB, sha256 {digest[:12]}")
    options = {"interchange_launch_cmd": [str(binary)], "encrypted": True}
    with executors.running(tmp_path / "run", **options) as htex:
        assert processes.executable(htex.interchange_proc.pid) == binary
        assert htex.submit(jobs.add, {}, 2, 3).result(timeout=60) == 5
