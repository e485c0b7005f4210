"""What a run needs to start besides htex-interchange itself: `doctor` looks for it and reports what
is missing."""

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

# Each of Parsl's providers that run commands: to submit, to query, and to cancel.
PROVIDERS = {
    "SlurmProvider": ["sbatch", "squeue", "scancel"],
    "PBSProProvider": ["qsub", "qstat", "qdel"],
    "TorqueProvider": ["qsub", "qstat", "qdel"],
    "LSFProvider": ["bsub", "bjobs", "bkill"],
    "GridEngineProvider": ["qsub", "qstat", "qdel"],
    "CondorProvider": ["condor_submit", "condor_q", "condor_rm"],
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
    """Returns the environment of a machine that has these commands; their output is never
    needed."""
    place = tmp_path / "fake-commands"
    place.mkdir()
    for name in names:
        (place / name).write_text("#!/bin/sh\nexit 1\n")
        (place / name).chmod(0o755)
    return os.environ | {"PATH": f"{place}{os.pathsep}{os.environ['PATH']}"}


def test_the_batch_systems_commands(tmp_path):
    file = tmp_path / "sites.py"
    file.write_text(
        "from parsl.executors import HighThroughputExecutor\nfrom parsl.providers import *\n"
        f"launched = [{str(environment.binary())!r}]\n"
    )
    with file.open("a") as sites:
        for name in PROVIDERS:
            options = f"label={name!r}, interchange_launch_cmd=launched, provider={name}()"
            sites.write(f"of_{name} = HighThroughputExecutor({options})\n")
    missing = {found["executor"]: found for found in diagnosis(file)["findings"]}
    assert missing.keys() == PROVIDERS.keys()
    for name, commands in PROVIDERS.items():
        found = missing[name]
        assert (found["id"], found["severity"]) == ("batch-system-missing", "problem")
        assert all(command in found["what"] for command in commands)
        evidence = f"`command -v {commands[0]}` finds nothing with PATH={os.environ['PATH']}"
        assert evidence in found["evidence"] and f"provider={name}" in found["evidence"]
    env = fake_commands(tmp_path, sorted({one for all_ in PROVIDERS.values() for one in all_}))
    assert ids(diagnosis(file, env=env)) == []
    # A run can go on without the command that cancels its blocks.
    for commands in PROVIDERS.values():
        (tmp_path / "fake-commands" / commands[-1]).unlink(missing_ok=True)
    found = diagnosis(file, env=env)
    assert ids(found, "warning") == ["batch-system-missing"] * len(PROVIDERS)
    assert ids(found, "problem") == []


def test_a_launcher_on_this_machine(tmp_path):
    arguments = "launcher=__import__('parsl').launchers.MpiExecLauncher()"
    file = with_provider(tmp_path, "LocalProvider", arguments)
    assert only_problem(diagnosis(file))["id"] == "launcher-command-missing"
    assert ids(diagnosis(file, env=fake_commands(tmp_path, ["mpiexec"]))) == []


OWN_WAY = """
from parsl.providers import SlurmProvider
class Own(SlurmProvider):
    def {method}(self, *arguments):
        return 0, "", ""
executor._provider = Own()
"""


def test_a_provider_that_runs_its_commands_elsewhere(tmp_path):
    """A subclass of a Parsl provider runs the provider's commands, unless it overrides the method
    that runs them."""
    for method, found in (("other", ["batch-system-missing"]), ("execute_wait", [])):
        file = written(tmp_path, "address='*'", more=OWN_WAY.format(method=method))
        document = diagnosis(file)
        assert ids(document) == found
        assert bool(found) != (
            "which commands Own needs to start blocks" in document["not_examined"]
        )


def test_port_ranges_that_parsl_requires(tmp_path):
    found = only_problem(diagnosis(written(tmp_path, "interchange_port_range=None")))
    assert found["id"] == "port-range-invalid" and found["evidence"]
    file = written(tmp_path, "worker_port_range=None")
    assert only_problem(diagnosis(file))["id"] == "port-range-invalid"
    # With a fixed port, the port range is not used.
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    file = written(tmp_path, f"worker_port_range=None, worker_port={port}")
    assert ids(diagnosis(file)) == []


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


def test_monitoring_that_nodes_cannot_reach(tmp_path):
    file = with_provider(
        tmp_path, "SlurmProvider", "", "remote_monitoring_radio=UDPRadio(address='localhost'),"
    )
    first = "from parsl.monitoring.radios.udp import UDPRadio\n"
    last = "from parsl.monitoring import MonitoringHub\nconfig.monitoring = MonitoringHub()\n"
    file.write_text(first + file.read_text() + last)
    env = fake_commands(tmp_path, ["sbatch", "squeue", "scancel"])
    assert ids(diagnosis(file, env=env)) == ["monitoring-loopback"]


def test_what_runs_inside_a_batch_job_is_not_called_missing(tmp_path):
    arguments = "nodes_per_block=2, launcher=__import__('parsl').launchers.SimpleLauncher()"
    file = with_provider(tmp_path, "SlurmProvider", arguments, "max_workers_per_block=1,")
    # MPIExecutor takes its command as one string.
    binary = repr(str(environment.binary()))
    text = file.read_text().replace("HighThroughputExecutor", "MPIExecutor")
    file.write_text(text.replace(f"[{binary}]", binary))
    found = diagnosis(file, env=fake_commands(tmp_path, ["sbatch", "sacct", "scancel"]))
    assert ids(found) == []
    assert any(what.startswith("mpiexec, with which tasks") for what in found["not_examined"])


def test_a_container_around_managers(tmp_path):
    launcher = "launcher=__import__('parsl').launchers.WrappedLauncher(prepend='no-docker run it')"
    file = with_provider(tmp_path, "LocalProvider", launcher)
    assert only_problem(diagnosis(file))["id"] == "launcher-command-missing"
    assert ids(diagnosis(file, env=fake_commands(tmp_path, ["no-docker"]))) == []


def test_a_script_that_the_system_does_not_run(tmp_path):
    file = written(tmp_path)
    binary = str(environment.binary())
    script = tmp_path / "wrapper"
    file.write_text(file.read_text().replace(binary, str(script)))
    for first_line in ("", "#!/usr/bin/env no-such-python\n"):
        script.write_text(f'{first_line}exec {binary} "$@"\n', newline="")
        script.chmod(0o755)
        assert not runs(script)
        assert only_problem(diagnosis(file))["id"] == "launch-not-executable"
    script.write_text(f'#!/bin/sh\nexec {binary} "$@"\n')
    assert runs(script)
    assert ids(diagnosis(file)) == []


def runs(script: Path) -> bool:
    try:
        return subprocess.run([script, "--version"], capture_output=True).returncode == 0
    except OSError:
        return False


def test_alternative_configurations_may_share_a_port(tmp_path):
    """All configurations of sites have the same port, because only one of them is ever used at a
    time."""
    more = (
        "\ndef of_site(label):\n"
        "    one = HighThroughputExecutor(label=label, address='127.0.0.1', worker_port={port},\n"
        "        provider=LocalProvider(),\n"
        "        interchange_launch_cmd=executor.interchange_launch_cmd)\n"
        "    return Config(executors=[one])\n"
        "config, other = of_site('one'), of_site('other')\n"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert ids(diagnosis(written(tmp_path, more=more.format(port=port)))) == []


@pytest.mark.parametrize("options", ['address=""', "address=None", "worker_port=0"])
def test_values_that_parsl_treats_as_absent(tmp_path, options):
    file = with_provider(tmp_path, "LocalProvider", "", options + ",")
    assert ids(diagnosis(file)) == []
