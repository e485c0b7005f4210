"""`htex-interchange doctor` on a configuration: it reports what is broken there, and nothing
else."""

from __future__ import annotations

import json
import os
import re
import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from parsl.version import VERSION

from harness.releases import supported
from harness.setup import environment

pytestmark = pytest.mark.ours_only("this is about our own command line")

# Python and Parsl start slowly on a loaded machine.
SECONDS = 100
NOTHING, NOT_EXAMINED, WARNINGS, PROBLEMS = 0, 1, 3, 4
BY_STATUS = {"problem": PROBLEMS, "warning": WARNINGS}

CONFIG = """
from parsl import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider

executor = HighThroughputExecutor(
    label="htex", interchange_launch_cmd=[{binary!r}], {options}
    provider=LocalProvider({provider}),
)
config = Config(executors=[executor], run_dir={run_dir!r}, strategy="none")
"""


def written(tmp_path: Path, options: str = "", provider: str = "", *, more: str = "") -> Path:
    """Writes a configuration as users write it, in a separate file."""
    if "address=" not in options:
        options = f'address="127.0.0.1", {options}'
    options = options and options.rstrip(", ") + ","
    file = tmp_path / "my_config.py"
    text = CONFIG.format(
        binary=str(environment.binary()),
        options=options,
        provider=provider,
        run_dir=str(tmp_path / "runinfo"),
    )
    file.write_text(text + more)
    return file


def doctor(*arguments, env=None, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [environment.binary(), "doctor", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env=env,
        **options,
    )


def diagnosis(*arguments, **options) -> dict:
    """Returns doctor's JSON document, and checks that the exit status is that of the worst
    finding."""
    told = doctor("--json", *arguments, **options)
    assert told.returncode in (NOTHING, WARNINGS, PROBLEMS), told
    document = json.loads(told.stdout)
    severities = [finding["severity"] for finding in document["findings"]]
    expected = max([BY_STATUS.get(severity, NOTHING) for severity in severities], default=NOTHING)
    assert told.returncode == expected, told
    return document


def ids(document: dict, *severities: str) -> list[str]:
    wanted = severities or ("problem", "warning")
    return [one["id"] for one in document["findings"] if one["severity"] in wanted]


def only_problem(document: dict) -> dict:
    """Returns the only finding, which is a problem: there is no second problem and no warning."""
    assert len(ids(document)) == 1, document["findings"]
    (found,) = (one for one in document["findings"] if one["severity"] == "problem")
    assert found["what"] and found["why"] and found["remedy"], found
    return found


@pytest.mark.quick
def test_a_sound_configuration_is_called_sound_and_works(tmp_path):
    file = written(tmp_path, more="\nassert __name__ != '__main__'\n")
    told = doctor(file)
    assert told.returncode == NOTHING, told
    assert "No problem was found. Checked: " in told.stdout
    for part in ("Parsl's release", "ports", "addresses", "certificates", "descriptors"):
        assert part in told.stdout
    assert f"loaded by {environment.VENV_BIN.resolve()}" in told.stdout.replace(
        str(environment.VENV_BIN), str(environment.VENV_BIN.resolve())
    )
    # No process was started and no file was written, not even compiled Python.
    assert os.listdir(tmp_path) == ["my_config.py"]
    program = "import parsl, my_config\n" + (
        "with parsl.load(my_config.config):\n"
        "    print(parsl.python_app(lambda: 6 * 7)().result(timeout=60))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert ran.returncode == 0 and ran.stdout == "42\n", ran
    assert diagnosis(tmp_path / "runinfo")["findings"] == []


@pytest.fixture
def listening():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def test_a_port_that_is_taken(tmp_path, listening):
    found = only_problem(diagnosis(written(tmp_path, f"worker_port={listening}")))
    assert found["id"] == "port-taken" and found["executor"] == "htex"
    assert f"process {os.getpid()} (" in found["what"]


def test_a_range_without_a_free_port(tmp_path, listening):
    option = f"worker_port_range=({listening}, {listening + 1})"
    assert only_problem(diagnosis(written(tmp_path, option)))["id"] == "port-range-exhausted"
    option = f"interchange_port_range=({listening}, {listening + 3})"
    assert only_problem(diagnosis(written(tmp_path, option)))["id"] == "submit-ports-exhausted"


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("203.0.113.7", "address-not-here"),
        ("fe80::1%nowhere0", "address-not-here"),
        ("fe80::1", "address-not-here"),
        ("localhost", "address-is-a-name"),
        ("no-such-host.invalid", "address-is-a-name"),
    ],
)
def test_an_unreachable_address(tmp_path, address, name):
    found = only_problem(diagnosis(written(tmp_path, f"address={address!r}")))
    assert found["id"] == name and address in found["what"]


@pytest.mark.parametrize("address", ["", "*", "::1%lo"])
def test_an_address_that_serves(tmp_path, ipv6_loopback, address):
    assert ids(diagnosis(written(tmp_path, f"address={address!r}"))) == []


def test_a_loopback_address_for_other_machines(tmp_path):
    slurm = (
        "\nfrom parsl.launchers import SrunLauncher\nfrom parsl.providers import SlurmProvider\n"
        "executor._provider = SlurmProvider(nodes_per_block=2, launcher=SrunLauncher())"
    )
    found = ids(diagnosis(written(tmp_path, more=slurm)))
    # This machine has no batch system either.
    assert found == ["address-loopback", "batch-system-missing"]


CERTIFICATES = """
import os
from parsl.curvezmq import create_certificates
executor.cert_dir = {place!r}
"""


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (lambda place: os.chmod(place, 0o755), "certificates-mode"),
        (lambda place: (place / "server.key_secret").unlink(), "certificates-missing"),
        (lambda place: (place / "server.key_secret").write_text("?"), "certificates-unreadable"),
    ],
    ids=["mode", "missing", "unreadable"],
)
def test_certificates(tmp_path, spoil, name):
    from parsl.curvezmq import create_certificates

    place = Path(create_certificates(tmp_path))
    file = written(tmp_path, "encrypted=True", more=CERTIFICATES.format(place=str(place)))
    assert diagnosis(file)["findings"] == []
    spoil(place)
    found = only_problem(diagnosis(file))
    assert found["id"] == name and str(place) in found["what"]


def test_directories_whose_names_are_not_utf8(tmp_path):
    """Directories whose names are not valid UTF-8 are examined; their names are passed as bytes."""
    from parsl.curvezmq import create_certificates

    above = tmp_path / os.fsdecode(b"Zo\xeb")
    above.mkdir()
    place = Path(create_certificates(above))
    (above / "runinfo").write_text("in the way")
    more = CERTIFICATES.format(place=str(place))
    more += f"config.run_dir = {str(above / 'runinfo')!r}\n"
    file = written(tmp_path, "encrypted=True", more=more)
    found = only_problem(diagnosis(file))
    assert found["id"] == "run-dir" and "Zo\ufffd/runinfo" in found["what"]
    (above / "runinfo").unlink()
    assert diagnosis(file)["findings"] == []
    os.chmod(place, 0o755)
    assert only_problem(diagnosis(file))["id"] == "certificates-mode"


def limit_to(descriptors: int):
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))


def test_too_few_descriptors_for_the_blocks(tmp_path):
    """1,024 descriptors are enough for 903 managers: 95 % of them, without those that are open from
    the start."""
    for blocks, expected in ((700, []), (800, ["descriptors-scarce"]), (910, ["descriptors"])):
        file = written(tmp_path, provider=f"max_blocks={blocks}")
        document = diagnosis(file, preexec_fn=limit_to(1024))
        assert ids(document) == expected
    assert "1024" in only_problem(document)["what"]
    # With enough descriptors, the same blocks are no problem.
    assert ids(diagnosis(file, preexec_fn=limit_to(4096))) == []


SELECTOR = """
from parsl.executors.high_throughput.manager_selector import ManagerSelector
class Own(ManagerSelector):
    def sort_managers(self, ready_managers, manager_list):
        return list(manager_list)
executor.manager_selector = Own()
"""
FROM_NOWHERE = "import types, sys\nsys.modules['nowhere'] = m = types.ModuleType('nowhere')\n" + (
    "m.Own, Own.__module__ = Own, 'nowhere'\n"
)
WITHOUT_METHOD = "class Other: pass\nexecutor.manager_selector = Other()\n"


def test_a_selector_that_no_other_process_can_load(tmp_path):
    file = written(tmp_path, more=SELECTOR + FROM_NOWHERE)
    found = only_problem(diagnosis(file, cwd=tmp_path))
    assert found["id"] == "selector-not-loaded" and "nowhere" in found["why"]
    file = written(tmp_path, more=SELECTOR + WITHOUT_METHOD)
    assert only_problem(diagnosis(file, cwd=tmp_path))["id"] == "selector-without-method"
    # Whether the selector can be imported depends on the directory in which the interchange would
    # be started.
    file = written(tmp_path, more=SELECTOR)
    document = diagnosis(file, cwd=tmp_path)
    assert ids(document) == [] and ids(document, "note") == ["selector-of-your-own"]
    assert only_problem(diagnosis(file, cwd="/"))["id"] == "selector-not-loaded"


@pytest.mark.parametrize(
    ("name", "problems"),
    [
        (supported.TOO_OLD, ["parsl-too-old"]),
        (supported.OLDEST, []),
        pytest.param("2026.7.20", [], marks=pytest.mark.long),
        pytest.param("2026.9.28", [], marks=pytest.mark.long),
    ],
)
def test_releases_of_parsl(tmp_path, name, problems):
    """Examines the same file with each release; the release's Python is found by its interchange.py
    on PATH."""
    release = supported.release(name)
    document = diagnosis(written(tmp_path), env=release.child_environment())
    assert ids(document) == problems
    assert str(release.place) in document["about"]


def test_managers_of_another_environment(tmp_path):
    """The scripts of another release come first on PATH: those of the interchange and of the
    managers."""
    other = supported.release(supported.OLDEST)
    path = f"{other.place}/bin:{os.environ['PATH']}"
    document = diagnosis(
        "--python", sys.executable, written(tmp_path), env={**os.environ, "PATH": path}
    )
    assert ids(document) == ["versions-differ", "manager-versions"]
    assert all("2025.06.30" in one["what"] for one in document["findings"])
    # With explicit versions, the interchange does not need to look them up.
    version = f"--python-version=3.{sys.version_info[1]}"
    exact = f'", "{version}", "--parsl-version", "{VERSION}"]'
    file = written(tmp_path)
    file.write_text(file.read_text().replace("']", "']" + " + [" + exact[3:], 1))
    document = diagnosis("--python", sys.executable, file, env={**os.environ, "PATH": path})
    assert ids(document) == ["manager-versions"]


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ("heartbeat_period=30, heartbeat_threshold=30", "heartbeats"),
        ("loopback_address='203.0.113.7'", "loopback-address"),
    ],
)
def test_other_options(tmp_path, options, name):
    assert only_problem(diagnosis(written(tmp_path, options)))["id"] == name


def test_programs_that_cannot_be_started(tmp_path):
    file = written(tmp_path)
    text = file.read_text()
    binary = f"[{str(environment.binary())!r}]"
    for command, name in [
        ('["htex-no-such-program"]', "launch-not-found"),
        ('"htex-interchange --io-threads 2"', "launch-not-found"),
        (f"[{str(file)!r}]", "launch-not-executable"),
    ]:
        file.write_text(text.replace(binary, command))
        assert only_problem(diagnosis(file))["id"] == name
    file.write_text(text.replace(binary, "None"))
    assert ids(diagnosis(file)) == [] and ids(diagnosis(file), "note") == ["stock"]
    bare = {**os.environ, "PATH": "/usr/bin:/bin"}
    document = diagnosis("--python", sys.executable, file, env=bare)
    assert ids(document) == ["launch-not-found", "no-worker-pool"]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["--max-queue", "5"], "arguments-wrong"),
        (["--metrics"], "arguments-wrong"),
        (["--events", "/dev/null/events.jsonl", "--strict"], "events-file"),
    ],
)
def test_arguments_that_prevent_the_start(tmp_path, words, name):
    file = written(tmp_path)
    binary = f"[{str(environment.binary())!r}]"
    file.write_text(file.read_text().replace(binary, repr([str(environment.binary()), *words])))
    found = only_problem(diagnosis(file))
    assert found["id"] == name and words[0] in found["what"]


def test_ports_of_metrics(tmp_path, listening):
    file = written(tmp_path)
    words = [str(environment.binary()), "--metrics", str(listening)]
    plain = file.read_text()
    file.write_text(plain.replace(f"[{str(environment.binary())!r}]", repr(words)))
    found = diagnosis(file)
    assert ids(found) == ids(found, "warning") == ["metrics-port"]
    file.write_text(plain.replace(f"[{str(environment.binary())!r}]", repr([*words, "--strict"])))
    assert only_problem(diagnosis(file))["id"] == "metrics-port"
    other = (
        "\nother = HighThroughputExecutor(label='other', address='127.0.0.1',\n"
        "    interchange_launch_cmd=executor.interchange_launch_cmd)\n"
        "config = Config(executors=[executor, other])\n"
    )
    found = ids(diagnosis(written(tmp_path, more=other)), "problem")
    assert found == []
    file = written(tmp_path, more=other)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = repr([str(environment.binary()), "--metrics", str(port), "--strict"])
    file.write_text(file.read_text().replace(f"[{str(environment.binary())!r}]", words))
    assert only_problem(diagnosis(file))["id"] == "port-twice"


def test_a_run_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "runinfo").write_text("in the way")
    found = only_problem(diagnosis(written(tmp_path)))
    assert found["id"] == "run-dir" and "in the way" not in found["what"]


FORMS = {
    "function": "del config, executor\ndef fresh() -> Config:\n    return made",
    "executor": "del config",
    "program": "del config, executor\nimport parsl\nwith parsl.load(made):\n    raise OSError",
    "guarded": "del config, executor\nimport parsl\nif __name__ == '__main__':\n"
    "    parsl.load(made)\n    raise OSError",
    "bare": "del config\nexecutor.run_dir = '/'\nexecutor.start()\nraise SystemExit(9)",
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_a_configuration(tmp_path, form, listening):
    """In every form of a configuration file the problem is found, and nothing is started."""
    more = f"made = [config]\n{FORMS[form]}\n".replace("made = [config]", "made = config")
    if form in ("function", "program", "guarded"):
        # In these forms, only the function or the loaded module gives the configuration.
        more = more.replace("made = config\n", "made = (lambda it: lambda: it)(config)\n")
        more = more.replace("return made", "return made()").replace("load(made)", "load(made())")
    else:
        more = more.replace("made = config\n", "")
    file = written(tmp_path, f"worker_port={listening}", more=more)
    assert only_problem(diagnosis(file))["id"] == "port-taken"
    assert os.listdir(tmp_path) == ["my_config.py"]


def test_a_file_with_a_fault_shows_its_traceback(tmp_path):
    more = "\nimport os\ndef broken():\n    try:\n        return os.environ['NOT_SET']\n"
    more += "    except KeyError:\n        return Config(nonsense=1)\nbroken()\n"
    told = doctor(written(tmp_path, more=more))
    assert told.returncode == PROBLEMS
    assert "config-raises" in told.stdout
    assert re.search(r"return Config\(nonsense=1\)", told.stdout) and "TypeError" in told.stdout
    assert "question.py" not in told.stdout and "importlib" not in told.stdout
    # The traceback does not show doctor's own frames between the file and its environment either.
    assert "NOT_SET" in told.stdout and "surroundings" not in told.stdout


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("x = 1\n", "no Config"),
        (None, "no such file"),
    ],
)
def test_what_cannot_be_examined(tmp_path, text, word):
    file = tmp_path / "file.py"
    if text is not None:
        file.write_text(text)
    told = doctor(file)
    assert told.returncode == NOT_EXAMINED and told.stdout.count("\n") <= 1
    assert word in told.stderr and told.stderr.count("\n") == 1


def test_a_python_without_parsl(tmp_path):
    bare = Path(sys.base_prefix) / "bin" / "python3"
    told = doctor("--python", bare, written(tmp_path))
    assert told.returncode == NOT_EXAMINED and "has no Parsl" in told.stderr
    told = doctor("--python", tmp_path / "nothing", written(tmp_path))
    assert told.returncode == NOT_EXAMINED and "cannot be run" in told.stderr
    assert doctor().returncode == 2


def test_a_newer_parsl_gives_a_note(tmp_path):
    """The installed Parsl with a changed version number, because no newer Parsl exists yet."""
    fake_newer = "import parsl.version\nparsl.version.VERSION = '9999.01.04'\n"
    (tmp_path / "sitecustomize.py").write_text(fake_newer)
    document = diagnosis(written(tmp_path), env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert "parsl-newer" in ids(document, "note")
