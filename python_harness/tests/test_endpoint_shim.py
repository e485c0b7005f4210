"""The shim for Globus Compute's endpoints: which calls it serves, and to which command it passes
all others.

The real command is replaced by a fake one that prints how it was called; `test_globus_compute.py`
has real endpoints.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.machine import processes
from harness.setup import environment

pytestmark = pytest.mark.ours_only("this is about our own command line")

SECONDS = 20
NAME = "globus-compute-endpoint"
ASKED = ["python-exec", "parsl.executors.high_throughput.interchange"]
NOT_RUN, NOT_FOUND = 126, 127

TELLS = """#!/bin/sh
printf '%s\\n' real "$0" "$PPID" "$@"
[ -z "$CREDENTIALS" ] || cat "/proc/self/fd/$CREDENTIALS"
exit 7
"""


def tool(*arguments, path: str | None = None) -> subprocess.CompletedProcess:
    return subprocess.run(
        [environment.binary(), "install-shim", "--globus-compute", *map(str, arguments)],
        env=dict(os.environ) if path is None else {**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def install(directory: Path, *arguments, path: str | None = None) -> str:
    told = tool(directory, *arguments, path=path)
    assert told.returncode == 0 and told.stderr == "", told
    return told.stdout


def script(place: Path, text: str) -> Path:
    place.parent.mkdir(exist_ok=True)
    place.write_text(text)
    place.chmod(0o755)
    return place


@pytest.fixture
def real(tmp_path) -> Path:
    return script(tmp_path / "real" / NAME, TELLS)


def call(*words, path: str | None, **options) -> subprocess.CompletedProcess:
    """Runs the command that an endpoint would find by that name, or another named command."""
    env = {name: value for name, value in os.environ.items() if name != "PATH"}
    env.update(options.pop("variables", {}))
    if path is not None:
        env["PATH"] = path
    options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run(words, env=env, capture_output=True, timeout=SECONDS, **options)


def shims(tmp_path: Path) -> list[Path]:
    """Creates directories with a shim, one for each kind of link or copy of the binary."""
    ways = {
        "link": lambda place: place.symlink_to(environment.binary()),
        "copy": lambda place: shutil.copy2(environment.binary(), place),
        "older": lambda place: place.write_bytes(environment.binary().read_bytes() + b"older"),
        "again": lambda place: place.symlink_to(tmp_path / "copy" / NAME),
        "hard": lambda place: os.link(tmp_path / "copy" / NAME, place),
        "moved": lambda place: place.symlink_to(tmp_path / "nowhere" / "htex-interchange"),
    }
    for directory, make in ways.items():
        (tmp_path / directory).mkdir()
        make(tmp_path / directory / NAME)
    (tmp_path / "older" / NAME).chmod(0o755)
    return [tmp_path / directory for directory in ways]


ODD = [
    ["start", "my endpoint", "--die-with-parent"],
    ["python-exec", "parsl.executors.high_throughput.process_worker_pool", "-a", "10.0.0.1"],
    [*ASKED, "--debug"],
    ["-h", *ASKED],
    [],
    ["--version"],
    ["status"],
    [b"Zo\xeb", "", "a\nb", "*"],
]


@pytest.mark.parametrize("words", ODD, ids=str)
def test_other_calls_go_to_the_next_command(tmp_path, real, words):
    """Arguments, descriptors, exit status and process are unchanged: the caller notices no other
    program."""
    install(tmp_path / "a shim")
    credentials = os.memfd_create("credentials")
    os.write(credentials, b"secret")
    told = call(
        NAME,
        *words,
        path=f"{tmp_path / 'a shim'}:{real.parent}:/usr/bin:/bin",
        variables={"CREDENTIALS": str(credentials)},
        pass_fds=[credentials],
    )
    os.close(credentials)
    assert told.returncode == 7 and told.stderr == b""
    said = [os.fsencode(word) for word in words]
    first, name, parent, *rest = told.stdout.split(b"\n")
    assert (first, name, int(parent)) == (b"real", os.fsencode(real), os.getpid())
    assert rest == [*b"\n".join(said).split(b"\n"), b"secret"][0 if words else 1 :]


def test_the_shim_never_finds_itself(tmp_path, real):
    """However many shims come first on PATH, and whatever kind each is, the real command is found
    behind them."""
    ours = shims(tmp_path)
    rest = [real.parent, "/usr/bin", "/bin"]
    for first in ours[:-1]:
        path = os.pathsep.join(map(str, [first, *ours, *rest]))
        told = call(NAME, "start", path=path)
        assert told.returncode == 7, (first, told)
        assert told.stdout.split(b"\n")[1] == os.fsencode(real)


def test_a_shim_without_a_next_command_says_so(tmp_path):
    ours = shims(tmp_path)
    shim = ours[0] / NAME
    everywhere = os.pathsep.join(map(str, ours))
    (tmp_path / "directory" / NAME).mkdir(parents=True)
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / NAME).write_text("not executable")
    nowhere = f"{tmp_path / 'directory'}:{tmp_path / 'text'}:/no such place"
    for path in [None, "", "/nowhere", everywhere, f"{everywhere}:{nowhere}"]:
        told = call(shim, "start", path=path, cwd=tmp_path)
        assert (told.returncode, told.stdout) == (NOT_FOUND, b""), (path, told)
        (line,) = told.stderr.decode().splitlines()
        assert line.startswith(f"{NAME}: ") and "another program of this name" in line


def test_an_empty_path_is_this_directory(real):
    """An empty PATH entry means the current directory, as for a shell and for Python."""
    shim = real.parent.parent / "shim"
    install(shim)
    told = call(shim / NAME, "start", path="", cwd=real.parent, preexec_fn=lambda: os.dup2(0, 3))
    assert told.stdout.startswith(b"real\n./globus-compute-endpoint\n")


@pytest.mark.parametrize("how", ["exec ", ""], ids=["exec", "child"])
def test_a_circle_of_wrappers_ends(tmp_path, how):
    """Another program's wrapper calls the first command of that name again, which is the shim."""
    shim = tmp_path / "shim"
    install(shim)
    wrapper = script(tmp_path / "wrapper" / NAME, f'#!/bin/sh\n{how}{NAME} "$@"\n')
    told = call(NAME, "start", path=f"{shim}:{wrapper.parent}:/usr/bin:/bin")
    assert told.returncode == NOT_FOUND
    (line,) = told.stderr.decode().splitlines()
    assert "starts this one again" in line


def test_an_interchange_that_cannot_run(tmp_path):
    shim = tmp_path / "shim"
    install(shim)
    broken = script(tmp_path / "broken" / NAME, "#!/nowhere/python\n")
    told = call(NAME, "start", path=f"{shim}:{broken.parent}")
    assert told.returncode == NOT_RUN
    assert f"{broken} cannot be run" in told.stderr.decode()


@pytest.mark.parametrize("how", [[], ["--copy"]], ids=["link", "copy"])
def test_it_serves_as_the_engine_asks(tmp_path, start, how):
    """The shim serves the interchange, and logs in which way it was started."""
    install(tmp_path / "shim", *how)
    shim = tmp_path / "shim" / NAME
    served = start(command=[str(shim), *ASKED]).interchange
    named = environment.binary() if how == [] else shim
    assert processes.executable(served.pid) == named
    (line,) = served.log_lines("INFO", "Started by an endpoint of Globus Compute")
    assert f"a shim for {named} on PATH" in line


def test_the_printed_line_is_valid_yaml(tmp_path, real):
    """DIR comes first, followed by the current PATH without the entries that depend on the current
    directory."""
    shim = tmp_path / "it's a shim"
    path = f"{real.parent}:.::{shim}:bin:/usr/bin:/a # b"
    told = install(shim, path=path)
    assert f"which is {real} here" in told
    (line,) = [line.strip() for line in told.splitlines() if line.strip().startswith("PATH:")]
    quoted = line.removeprefix("PATH: '").removesuffix("'").replace("''", "'")
    assert quoted == f"{shim}:{real.parent}:/usr/bin:/a # b"
    alone = install(shim, path=f"{shim}:/usr/bin")
    assert "No other globus-compute-endpoint is on PATH here" in alone and "PATH:" not in alone


def test_only_our_own_shim_is_removed(tmp_path, real):
    install(tmp_path / "shim")
    (tmp_path / "shim" / "interchange.py").touch()
    told = install(tmp_path / "shim", "--remove", path=str(real.parent))
    assert "Removed " in told and f"With this PATH, endpoints would run {real}." in told
    assert "from the PATH in user_environment.yaml" in told
    assert os.listdir(tmp_path / "shim") == ["interchange.py"]
    assert "does not exist" in install(tmp_path / "shim", "--remove")


def test_the_real_command_is_not_replaced_by_mistake(real):
    before = real.read_text()
    told = tool(real.parent)
    assert told.returncode == 1
    assert f"{real} is another program, and was not made by this tool;" in told.stderr
    assert "choose another directory" in told.stderr
    assert tool(real.parent, "--remove").returncode == 1
    assert real.read_text() == before
    install(real.parent, "--force")
    assert real.samefile(environment.binary())
