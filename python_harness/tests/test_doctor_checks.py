"""What a run needs to start, beyond our own door: `doctor` looks for it, and says if it is not."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from test_doctor import diagnosis, ids, only_problem, written

from harness.setup import environment

pytestmark = pytest.mark.ours_only("this is about our own command line")

# Each of Parsl's providers that runs commands, with what makes one and the commands.
PROVIDERS = {
    "SlurmProvider": ("", ["sbatch", "squeue", "scancel"]),
    "PBSProProvider": ("", ["qsub", "qstat", "qdel"]),
    "TorqueProvider": ("", ["qsub", "qstat", "qdel"]),
    "LSFProvider": ("", ["bsub", "bjobs", "bkill"]),
    "GridEngineProvider": ("", ["qsub", "qstat", "qdel"]),
    "CondorProvider": ("", ["condor_submit", "condor_q", "condor_rm"]),
}
CONFIG = """
from parsl import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import {provider}

config = Config(
    executors=[
        HighThroughputExecutor(
            label="htex", interchange_launch_cmd=[{binary!r}], {options}
            provider={provider}({arguments}),
        )
    ],
    run_dir={run_dir!r},
)
"""


def with_provider(tmp_path: Path, provider: str, arguments: str, options: str = "") -> Path:
    file = tmp_path / "my_config.py"
    file.write_text(
        CONFIG.format(
            provider=provider,
            arguments=arguments,
            options=options,
            binary=str(environment.binary()),
            run_dir=str(tmp_path / "runinfo"),
        )
    )
    return file


def fake_commands(tmp_path: Path, names: list[str]) -> dict:
    """The environment of a machine that has them; none is ever run for its answer."""
    place = tmp_path / "fake-commands"
    place.mkdir()
    for name in names:
        (place / name).write_text("#!/bin/sh\nexit 1\n")
        (place / name).chmod(0o755)
    return os.environ | {"PATH": f"{place}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_batch_systems_commands(tmp_path, provider):
    arguments, commands = PROVIDERS[provider]
    file = with_provider(tmp_path, provider, arguments)
    missing = only_problem(diagnosis(file))
    assert missing["id"] == "batch-system-missing"
    assert all(command in missing["what"] for command in commands)
    assert any(f"command -v {commands[0]}" in line for line in missing["evidence"])
    assert ids(diagnosis(file, env=fake_commands(tmp_path, commands))) == []


def test_a_launcher_on_this_machine(tmp_path):
    arguments = "launcher=__import__('parsl').launchers.MpiExecLauncher()"
    file = with_provider(tmp_path, "LocalProvider", arguments)
    assert only_problem(diagnosis(file))["id"] == "launcher-command-missing"
    assert ids(diagnosis(file, env=fake_commands(tmp_path, ["mpiexec"]))) == []


@pytest.mark.parametrize(
    ("provider", "arguments", "needs"),
    [
        ("SlurmProvider", "nodes_per_block=4", ["sbatch", "squeue", "scancel"]),
        ("PBSProProvider", "", ["qsub", "qstat", "qdel"]),
        (
            "LocalProvider",
            "nodes_per_block=4, launcher=__import__('parsl').launchers.SrunLauncher()",
            ["srun"],
        ),
    ],
)
def test_several_nodes_and_a_loopback_address(tmp_path, provider, arguments, needs):
    file = with_provider(tmp_path, provider, arguments, 'address="127.0.0.1",')
    found = only_problem(diagnosis(file, env=fake_commands(tmp_path, needs)))
    assert found["id"] == "address-loopback"
    assert 'address="127.0.0.1"' in found["evidence"]


def test_a_port_of_monitoring_that_is_taken(tmp_path):
    more = (
        "\nfrom parsl.monitoring import MonitoringHub\n"
        "from parsl.monitoring.radios.udp import UDPRadio\n"
        "executor.remote_monitoring_radio = UDPRadio(address='127.0.0.1', port={port})\n"
        "config = Config(executors=[executor], run_dir=config.run_dir, strategy='none',\n"
        "    monitoring=MonitoringHub())\n"
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("0.0.0.0", 0))
        file = written(tmp_path, more=more.format(port=holder.getsockname()[1]))
        found = only_problem(diagnosis(file))
        assert found["id"] == "monitoring-port-taken"
    assert ids(diagnosis(file)) == []


def test_a_program_on_a_file_system_that_runs_none(tmp_path):
    place = tmp_path / "noexec"
    place.mkdir()
    mount = f"mount -t tmpfs -o noexec,mode=755 none {place}"
    binary = environment.binary()
    file = written(tmp_path)
    file.write_text(file.read_text().replace(str(binary), str(place / "htex-interchange")))
    script = f"{mount} && cp {binary} {place} && exec {binary} doctor --json {file}"
    namespace = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if not shutil.which("unshare") or subprocess.run([*namespace, mount]).returncode:
        pytest.skip("this machine lets no user mount")
    told = subprocess.run([*namespace, script], capture_output=True, text=True, timeout=100)
    assert '"launch-noexec"' in told.stdout and "findmnt" in told.stdout, told


@pytest.mark.parametrize("options", ['address=""', "address=None", "worker_port=0"])
def test_what_parsl_takes_for_absent(tmp_path, options):
    file = with_provider(tmp_path, "LocalProvider", "", options + ",")
    assert ids(diagnosis(file)) == []
