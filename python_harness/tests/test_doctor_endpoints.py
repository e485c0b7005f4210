"""`htex-interchange doctor` on an endpoint of Globus Compute: which interchange the endpoint would
use.

The endpoint's Python is a fake in which YAML is JSON; `test_globus_compute.py` has real endpoints.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.setup import environment, layer

pytestmark = pytest.mark.ours_only("this is about our own command line")

SECONDS = 60
NOTHING, NOT_EXAMINED, WARNINGS, PROBLEMS = 0, 1, 3, 4
COMMAND = "globus-compute-endpoint"
TEMPLATE = "engine:\n  type: GlobusComputeEngine\n"

# Every JSON document is valid YAML. Other YAML is left to the real reader.
YAML = "from json import loads as safe_load\n"


@dataclass(frozen=True)
class Endpoint:
    """An endpoint's directory, and the environment whose command starts the endpoint."""

    directory: Path
    venv: Path

    @property
    def scripts(self) -> Path:
        return self.venv / "bin"

    @property
    def packages(self) -> Path:
        return layer.site_packages(self.venv)

    def with_environment(self, content: object) -> Endpoint:
        (self.directory / "user_environment.yaml").write_text(json.dumps(content))
        return self

    def shim(self, name: str = "shim") -> Path:
        shim = self.venv.parent / name
        made = run("install-shim", "--globus-compute", shim)
        assert made.returncode == 0, made.stderr
        return shim


def run(*arguments, path: str | None = None, cwd: Path | None = None):
    env = dict(os.environ) if path is None else {**os.environ, "PATH": path}
    return subprocess.run(
        [environment.binary(), *map(str, arguments)],
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def diagnosis(endpoint: Endpoint, *arguments, path: str | None = None) -> tuple[int, dict]:
    path = f"{endpoint.scripts}:/usr/bin:/bin" if path is None else path
    told = run("doctor", "--json", *arguments, endpoint.directory, path=path)
    assert told.stderr == "", told
    return told.returncode, json.loads(told.stdout)


def found(endpoint: Endpoint, *arguments, path: str | None = None) -> list[str]:
    status, told = diagnosis(endpoint, *arguments, path=path)
    severities = {finding["severity"] for finding in told["findings"]}
    worst = PROBLEMS if "problem" in severities else WARNINGS
    assert status == (NOTHING if severities == {"note"} else worst)
    return [finding["id"] for finding in told["findings"]]


@pytest.fixture(scope="module")
def venv(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("endpoint") / "venv"
    layer.bare(sys.executable, place)
    return place


@pytest.fixture
def endpoint(tmp_path, venv) -> Endpoint:
    """A freshly configured endpoint of Globus Compute 4.19.0, whose name contains a space."""
    copy = tmp_path / "venv"
    subprocess.run(["cp", "-a", venv, copy], check=True)
    directory = tmp_path / ".globus_compute" / "my endpoint"
    directory.mkdir(parents=True)
    (directory / "config.yaml").write_text("{}")
    (directory / "user_config_template.yaml.j2").write_text(TEMPLATE)
    made = Endpoint(directory, copy)
    (made.packages / "yaml.py").write_text(YAML)
    installed(made, "globus_compute_endpoint", "4.19.0")
    installed(made, "parsl", "2026.10.26")
    command(made.scripts, f"#!{made.scripts}/python")
    return made


def installed(endpoint: Endpoint, package: str, release: str) -> None:
    place = endpoint.packages / f"{package}-{release}.dist-info"
    place.mkdir()
    name = package.replace("_", "-")
    (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {release}\n")


def command(place: Path, head: str) -> None:
    place.mkdir(exist_ok=True)
    (place / COMMAND).write_text(f"{head}\n")
    (place / COMMAND).chmod(0o755)


def test_an_unchanged_endpoint_uses_stock(endpoint):
    status, told = diagnosis(endpoint)
    (finding,) = told["findings"]
    assert (status, finding["id"], finding["severity"]) == (NOTHING, "stock", "note")
    assert f"started by {endpoint.scripts / COMMAND}" in finding["what"]
    assert "install-shim --globus-compute DIR" in finding["remedy"]
    assert "htex-interchange enable --python" in finding["remedy"]
    version = ".".join(map(str, sys.version_info[:2]))
    release = f"(Globus Compute 4.19.0, Python {version}, Parsl 2026.10.26)"
    assert told["about"] == f"The endpoint my endpoint in {endpoint.directory} {release}"
    assert "user_environment.yaml" in told["examined"]
    assert any("already" in what for what in told["not_examined"])


def test_a_shim_serves_if_it_is_the_first(endpoint):
    shim = endpoint.shim()
    line = {"PATH": f"{shim}:{endpoint.scripts}:/usr/bin:/bin"}
    assert found(endpoint.with_environment(line)) == ["served-by-shim"]
    # The shell's PATH does not matter, as long as it has a command to ask.
    assert found(endpoint, path=f"{endpoint.scripts}") == ["served-by-shim"]
    behind = {"PATH": f"{endpoint.scripts}:{shim}"}
    assert found(endpoint.with_environment(behind)) == ["stock", "shim-not-first"]
    text = run("doctor", endpoint.directory, path=str(endpoint.scripts))
    assert text.returncode == WARNINGS and "Warnings\n  shim-not-first" in text.stdout


def test_a_path_that_leads_nowhere(endpoint):
    shim = endpoint.shim()
    assert found(endpoint.with_environment({"PATH": str(shim)})) == ["shim-alone"]
    assert found(endpoint.with_environment({"PATH": ""})) == ["endpoint-command-missing"]
    two = f"{shim}:{endpoint.shim('another shim')}"
    assert found(endpoint.with_environment({"PATH": two})) == ["shim-alone"]
    missing = f"{endpoint.directory}/nowhere:{endpoint.scripts}"
    assert found(endpoint.with_environment({"PATH": missing})) == ["stock"]
    unexpanded = endpoint.with_environment({"PATH": f"{shim}:$PATH"})
    assert found(unexpanded) == ["path-not-expanded", "shim-alone"]


@pytest.mark.parametrize("content", [["PATH", "/bin"], "PATH=/bin", 7])
def test_an_environment_that_is_no_mapping(endpoint, content):
    status, told = diagnosis(endpoint.with_environment(content))
    by_id = {finding["id"]: finding for finding in told["findings"]}
    assert status == WARNINGS and "environment-unusable" in by_id
    assert "AttributeError" in by_id["environment-unusable"]["what"]


def test_an_environment_that_is_no_yaml(endpoint):
    (endpoint.directory / "user_environment.yaml").write_bytes(b"\xff{")
    assert "environment-unusable" in found(endpoint)
    for nothing in ("null", "{}"):
        (endpoint.directory / "user_environment.yaml").write_text(nothing)
        assert found(endpoint) == ["stock"]


def test_a_pth_serves_where_path_does_not(endpoint):
    python = endpoint.scripts / "python"
    assert run("enable", "--python", python).returncode == 0
    assert found(endpoint) == ["served-by-pth"]
    assert run("disable", "--python", python).returncode == 0
    assert found(endpoint) == ["stock"]


def test_a_command_that_enters_another_environment(endpoint):
    """Globus Compute's system packages install a command that enters another environment."""
    shim, wrapper = endpoint.shim(), endpoint.venv.parent / "wrapper"
    command(wrapper, "#!/bin/sh")
    line = {"PATH": f"{shim}:{wrapper}"}
    expected = ["served-by-shim", "shim-may-be-hidden"]
    assert found(endpoint.with_environment(line)) == expected
    # With nothing else on PATH, doctor finds no Python to ask.
    told = run("doctor", endpoint.directory, path=str(wrapper))
    assert told.returncode == NOT_EXAMINED and "--python" in told.stderr
    python = endpoint.scripts / "python"
    assert found(endpoint, "--python", python, path="/nowhere") == expected


def test_another_environment_than_that_of_the_shell(endpoint, tmp_path, venv):
    """The endpoint's PATH leads to another environment, and doctor reports on that environment."""
    other = Endpoint(endpoint.directory, tmp_path / "other")
    subprocess.run(["cp", "-a", venv, other.venv], check=True)
    (other.packages / "yaml.py").write_text(YAML)
    installed(other, "globus_compute_endpoint", "4.0.0")
    installed(other, "parsl", "2025.6.2")
    command(other.scripts, f"#!{other.scripts}/python")
    endpoint.with_environment({"PATH": str(other.scripts)})
    _, told = diagnosis(endpoint)
    assert "(Globus Compute 4.0.0, " in told["about"]
    assert found(endpoint) == ["parsl-too-old", "stock"]


def test_an_engine_that_has_no_interchange(endpoint):
    template = endpoint.directory / "user_config_template.yaml.j2"
    template.write_text("engine:\n  type: ThreadPoolEngine\n")
    assert found(endpoint) == ["stock", "engine-without-interchange"]


def test_an_endpoint_without_user_endpoints(endpoint):
    """The endpoint's own directory has the engine, and `user_environment.yaml` does not apply to
    it."""
    shim = endpoint.shim()
    (endpoint.directory / "config.yaml").write_text('{"engine": {}}')
    endpoint.with_environment({"PATH": f"{shim}:{endpoint.scripts}"})
    assert found(endpoint) == ["environment-unread", "stock"]
    first = f"{shim}:{endpoint.scripts}"
    assert found(endpoint, path=first) == ["environment-unread", "served-by-shim"]


def test_the_current_directory_can_be_named_by_a_dot(endpoint):
    told = run("doctor", ".", path=str(endpoint.scripts), cwd=endpoint.directory)
    assert told.returncode == NOTHING
    assert told.stdout.startswith(f"The endpoint my endpoint in {endpoint.directory} (")
