"""The wheel for aarch64, and the program of that machine under emulation here.

The emulator has another instruction set, and this machine's kernel. So neither memory order nor
speed is tested.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from harness.htex import executors, jobs
from harness.machine import processes
from harness.publish import emulator, wheel
from tests.test_install import BUILD_S, VERSION, needs_only_an_old_glibc, readelf

pytestmark = [
    pytest.mark.ours_only("this is about our own package"),
    pytest.mark.long,
    pytest.mark.timeout(BUILD_S),
]

PACKAGES = ["htex-pickle", "protocol", "broker", "logging", "submit_side", "status"]
LARGEST_PAGE = max(emulator.PAGES_BYTES)
PAGES = pytest.mark.parametrize("page_bytes", emulator.PAGES_BYTES)


@pytest.fixture(scope="module")
def binary(tmp_path_factory) -> Path:
    """The binary of the wheel."""
    place = tmp_path_factory.mktemp("wheel")
    made = wheel.build(place, emulator.MACHINE)
    platforms = made.stem.split("-")[-1]
    assert set(platforms.split(".")) == {"manylinux_2_17_aarch64", "manylinux2014_aarch64"}
    return wheel.extract_program(made, place)


def test_the_wheel_runs_on_old_clusters(binary, measured):
    assert "AArch64" in readelf("--file-header", binary)
    measured(needs_only_an_old_glibc(binary))
    segments = re.findall(r"\n +LOAD .* (0x\w+)(?=\n)", readelf("--program-headers", binary))
    assert segments and all(int(align, 16) % LARGEST_PAGE == 0 for align in segments)


@PAGES
def test_the_program_tells_what_is_inside(binary, page_bytes):
    command = [*emulator.command(page_bytes), str(binary), "--version", "--verbose"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told.startswith(f"version: {VERSION}\n")
    assert f"target: {emulator.TARGET}\n" in told
    assert "\ncurve: yes\n" in told


@PAGES
def test_rust_tests(page_bytes):
    assert emulator.cargo_test(PACKAGES, page_bytes) == 0


@PAGES
def test_an_encrypted_run_with_the_broker_emulated(binary, tmp_path, page_bytes):
    """The submit side, the manager and its workers are this machine's own programs."""
    command = [*emulator.command(page_bytes), str(binary)]
    options = {"interchange_launch_cmd": command, "encrypted": True, "max_workers_per_node": 2}
    with executors.running(tmp_path, **options) as htex:
        emulated = processes.executable(htex.interchange_proc.pid)
        assert emulated.name == Path(command[0]).name
        futures = [htex.submit(jobs.add, {}, number, 1) for number in range(200)]
        assert [future.result(60) for future in futures] == [number + 1 for number in range(200)]
        echoed = htex.submit(jobs.echo, {}, b"x" * 2_000_000)
        assert len(echoed.result(60)) == 2_000_000
