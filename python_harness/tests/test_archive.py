"""The archive with the static program."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from harness.htex import executors, jobs
from harness.machine import processes
from harness.publish import archive, licences, native, toolchain
from harness.setup import environment
from tests.test_install import BUILD_S, VERSION, readelf

pytestmark = [
    pytest.mark.ours_only("this is about our own package"),
    pytest.mark.long,
    pytest.mark.timeout(BUILD_S),
]

MACHINE = "x86_64"
ROOT = f"htex-interchange-{VERSION}-{MACHINE}-linux-static"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return archive.build(tmp_path_factory.mktemp("archive"), MACHINE, environment.binary())


@pytest.fixture(scope="module")
def unpacked(made, tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("unpacked")
    subprocess.run(["tar", "-xzf", made, "-C", place], check=True)
    return place / ROOT


def test_it_holds_what_a_package_needs(made, unpacked):
    subprocess.run(["sha256sum", "--check", f"{made.name}.sha256"], cwd=made.parent, check=True)
    with tarfile.open(made) as tar:
        assert {entry.name.partition("/")[0] for entry in tar} == {ROOT}
        assert {(entry.uid, entry.uname, entry.mtime) for entry in tar} == {
            (0, "", toolchain.SOURCE_DATE_EPOCH_S)
        }
    files = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    assert files == {
        "LICENSE",
        licences.FILE.name,
        "bin/htex-interchange",
        "htex-interchange.cdx.json",
        "share/man/man1/htex-interchange.1",
        *archive.COMPLETIONS.values(),
    }
    page = (unpacked / "share/man/man1/htex-interchange.1").read_text()
    assert f"htex-interchange {VERSION}" in page
    musl = native.musl()
    assert musl.text.splitlines()[0] in (unpacked / licences.FILE.name).read_text()
    bill = json.loads((unpacked / "htex-interchange.cdx.json").read_text())
    assert ("musl", musl.version) in {(one["name"], one["version"]) for one in bill["components"]}


def test_the_program_needs_nothing_of_the_system(unpacked, measured):
    program = unpacked / "bin" / "htex-interchange"
    assert "(NEEDED)" not in readelf("--dynamic", program)
    assert "INTERP" not in readelf("--program-headers", program)
    for place in (environment.PROJECT_DIR, Path.home()):
        assert str(place).encode() not in program.read_bytes()
    digest = hashlib.sha256(program.read_bytes()).hexdigest()
    measured(f"static: {program.stat().st_size / 1e6:.1f} MB, sha256 {digest[:12]}")
    command = [program, "--version", "--verbose"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"target: {toolchain.STATIC_TARGETS[MACHINE]}\n" in told
    assert "\ncurve: yes\n" in told


def test_it_serves_an_encrypted_run(unpacked, tmp_path):
    program = unpacked / "bin" / "htex-interchange"
    options = {"interchange_launch_cmd": [str(program)], "encrypted": True}
    with executors.running(tmp_path, **options) as htex:
        assert processes.executable(htex.interchange_proc.pid) == program
        futures = [htex.submit(jobs.add, {}, number, 1) for number in range(50)]
        assert [future.result(60) for future in futures] == [number + 1 for number in range(50)]


def test_a_second_archive_has_the_same_bytes(made, tmp_path):
    again = archive.build(tmp_path, MACHINE, environment.binary())
    assert again.read_bytes() == made.read_bytes()
