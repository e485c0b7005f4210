"""`htex-interchange enable`: makes a Python start htex-interchange wherever it would start Parsl's
own interchange."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import parsl
import pytest

from harness.machine import processes
from harness.setup import environment, layer

pytestmark = pytest.mark.ours_only("this is about our own command line")

SECONDS = 180
PROGRAM = Path(__file__).parent / "programs" / "by_command.py"
MODULE = "parsl.executors.high_throughput.interchange"
FILES = ["htex_interchange_enabled.pth", "htex_interchange_enabled.py"]
VERSION = "{}.{}".format(*sys.version_info)
ENABLED, NOT_DONE, NOT_ENABLED = 0, 1, 3

# A fake binary that prints how it was called, and that its standard input is unread.
FAKE = """#!/bin/sh
echo "$0 $* by $HTEX_INTERCHANGE_STARTED_BY: $(cat)"
"""


class Environment:
    """A virtual environment with the harness's packages, and Parsl's scripts as pip installs
    them."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.scripts = place / "bin"
        self.python = self.scripts / "python"
        # Like an editable install, and read after the file of `enable`: that file must not depend
        # on where Parsl is.
        harness = Path(sysconfig.get_path("purelib"))
        self.packages = layer.on_top(sys.executable, place, harness, "zz_harness.pth")
        for name in ("interchange.py", "process_worker_pool.py"):
            _, _, body = (environment.VENV_BIN / name).read_text().partition("\n")
            self.script(self.scripts / name, body)
        self.interchange = self.scripts / "interchange.py"
        self.pth = self.packages / FILES[0]

    def script(self, file: Path, body: str) -> Path:
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!{self.python}\n{body}")
        file.chmod(0o755)
        return file

    def run(self, *words, text: str = "", **options) -> subprocess.CompletedProcess:
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        env["PATH"] = f"{self.scripts}:{os.environ['PATH']}"
        return subprocess.run(
            list(map(str, words)),
            env={**env, **options.pop("env", {})},
            input=text,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            **options,
        )

    def tool(
        self, name: str, *words, status: int = 0, python: Path | None = None, **options
    ) -> str:
        """Returns the tool's output. The tool finds the Python by PATH unless one is named."""
        named = ["--python", python] if python else []
        told = self.run(environment.binary(), name, *named, *words, **options)
        assert told.returncode == status, told
        if status == NOT_DONE:
            assert told.stdout == "" and told.stderr.count("\n") == 1, told
        else:
            assert told.stderr == "", told
        return told.stdout + told.stderr

    def enable_fake(self) -> Path:
        """Makes the Python start a fake program, which prints how it is called, as if that program
        had enabled it."""
        self.tool("enable")
        binary = self.script(self.place / "fake", "")
        binary.write_text(FAKE)
        module = self.packages / FILES[1]
        text = module.read_text()
        assert text.count(str(environment.binary())) == 1
        module.write_text(text.replace(str(environment.binary()), str(binary)))
        return binary

    def files(self) -> set[Path]:
        return {file for file in self.place.rglob("*") if file.is_file()}


@pytest.fixture
def venv(tmp_path) -> Environment:
    return Environment(tmp_path / "venv")


def commands(venv: Environment) -> dict[str, list]:
    return {
        "default": [],
        "path": [venv.interchange],
        "module": [venv.python, "-m", MODULE],
    }


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "how", ["default", *(pytest.param(how, marks=pytest.mark.long) for how in ("path", "module"))]
)
def test_a_run_is_served_by_ours_until_it_is_disabled(venv, tmp_path, how):
    command = commands(venv)[how]

    def run(name: str) -> dict:
        told = venv.run(venv.python, PROGRAM, tmp_path / name, *command)
        assert told.returncode == 0, told
        report = json.loads(told.stdout.splitlines()[-1])
        assert report["results"] == [number**2 for number in range(20)]
        return report

    venv.tool("enable")
    assert run("ours")["executable"] == str(environment.binary())
    (log,) = (tmp_path / "ours").rglob("interchange.log")
    text = log.read_text()
    assert text.count(f"Started by {venv.pth} in place of Parsl's own interchange\n") == 1
    assert f"The submit side has Python {VERSION}, according to the command line [" in text
    assert f"The submit side has Parsl {parsl.__version__}, according to the command line [" in text
    venv.tool("disable")
    stock = run("stock")["executable"]
    assert Path(stock).name.startswith("python")


FORMS = {
    "module": ["{python}", "-m", MODULE],
    "attached": ["{python}", f"-m{MODULE}"],
    "after others": ["{python}", "-Eum", MODULE],
    "isolated": ["{python}", "-I", "-X", "importtime", "-W", "ignore", "-m", MODULE],
    "script by its path": ["{scripts}/interchange.py"],
    "script by PATH": ["interchange.py"],
    "script of a Python": ["{python}", "-u", "{scripts}/interchange.py"],
    "file of the module": ["{python}", "{module}"],
    "script of a source tree": ["{tree}"],
}
# The script that setuptools writes.
OF_A_TREE = """# EASY-INSTALL-DEV-SCRIPT: 'parsl==2026.10.26','interchange.py'
__file__ = {!r}
with open(__file__) as f:
    exec(compile(f.read(), __file__, 'exec'))
"""


@pytest.mark.parametrize("form", FORMS)
def test_every_way_to_start_parsls_own(venv, form):
    venv.enable_fake()
    tree = OF_A_TREE.format(str(module_file()))
    places = {
        "python": venv.python,
        "scripts": venv.scripts,
        "module": module_file(),
        "tree": venv.script(venv.place / "tree" / "interchange.py", tree),
    }
    told = venv.run(*[word.format(**places) for word in FORMS[form]], text="input")
    versions = f"--python-version {VERSION} --parsl-version {parsl.__version__}"
    assert told.stdout == f"{venv.place}/fake {versions} by {venv.pth}: input\n", told


def module_file() -> Path:
    return Path(parsl.__file__).parent / "executors" / "high_throughput" / "interchange.py"


OWN = (
    "import sys, parsl.version\nprint('own', sys.argv[1:], sys.stdin.read(), len(sys.meta_path))\n"
)
# A program named interchange.py that starts child processes.
PARENT = """import multiprocessing
def child(queue):
    queue.put("child")
if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    print(queue.get(timeout=50))
    process.join()
"""


def test_other_programs_run_as_before(venv, tmp_path):
    own = venv.script(tmp_path / "own" / "interchange.py", OWN)
    parent = venv.script(tmp_path / "parent" / "interchange.py", PARENT)
    changed = module_file().read_text() + "\n# Changed by a user.\nprint('changed')\n"
    changed = venv.script(tmp_path / "changed" / "interchange.py", changed)
    programs = [
        [own],
        [own, "more"],
        [parent],
        [changed],
        [venv.python, "-m", "parsl.version"],
        [venv.python, "-c", "import sys; print(sys.argv)", "interchange.py"],
        [venv.python, "-m", MODULE, "more"],
        [venv.interchange, "more"],
        [venv.python, "-m", "pdb", "-c", "q", venv.interchange],
        [venv.python, "-m", "nowhere.interchange"],
    ]
    before = [venv.run(*program, text="input") for program in programs]
    assert "own [] input" in before[0].stdout and before[2].stdout == "child\n"
    assert "UnpicklingError" in before[3].stderr and "UnpicklingError" in before[6].stderr
    venv.enable_fake()
    after = [venv.run(*program, text="input") for program in programs]
    assert [vars(told) for told in after] == [vars(told) for told in before]


def test_a_start_with_other_arguments_loads_nothing(venv):
    venv.enable_fake()
    for words in (["-c", "pass"], ["-m", "parsl.version"], [venv.place / "lib"]):
        told = venv.run(venv.python, "-X", "importtime", *words)
        assert "import time" in told.stderr and "htex_interchange_enabled" not in told.stderr


@pytest.mark.parametrize("spoil", ["gone", "may not be run", "is no program"])
def test_without_the_binary_parsls_own_runs(venv, spoil):
    binary = venv.enable_fake()
    if spoil == "gone":
        binary.unlink()
    elif spoil == "may not be run":
        binary.chmod(0o644)
    else:
        binary.write_text("no program")
    for program in ([venv.python, "-m", MODULE], [venv.interchange]):
        told = venv.run(*program, text="input")
        first, second, *_, last = told.stderr.splitlines()
        assert first.startswith(f"htex-interchange: {binary} cannot be started ("), told
        assert str(venv.pth) in first and second.startswith("Traceback")
        assert last.startswith("_pickle.UnpicklingError") and told.stdout == ""
    if spoil != "is no program":
        assert "Parsl's own interchange serves" in venv.tool("enabled", status=NOT_ENABLED)


@pytest.mark.parametrize("text", [None, "import", "1 / 0\n", "raise ImportError\n"])
def test_an_error_in_the_module_breaks_no_program(venv, text):
    venv.tool("enable")
    module = venv.packages / FILES[1]
    if text is None:
        module.unlink()
    else:
        module.write_text(text)
    told = venv.run(venv.python, "-m", MODULE, text="input")
    # The only traceback is that of Parsl's own interchange, which could not read its configuration.
    assert "UnpicklingError" in told.stderr and told.stderr.startswith("Traceback")
    assert told.stderr.count("Traceback") == 1 and FILES[1] not in told.stderr
    assert venv.run(venv.python, "-c", "pass").stderr == ""
    assert venv.run(venv.python, "-c", "pass", "interchange.py").stderr == ""


@pytest.mark.parametrize("how", ["STARTED_BY", "HANDED_OVER"])
def test_parsls_own_runs_when_htex_interchange_starts_it(venv, how):
    """Handing over, as with `--newer-parsl stock`, must not come back to htex-interchange: that
    would never end."""
    venv.enable_fake()
    told = venv.run(venv.interchange, text="input", env={f"HTEX_INTERCHANGE_{how}": "1"})
    assert "UnpicklingError" in told.stderr and told.stdout == ""


def test_disable_removes_exactly_what_enable_wrote(venv):
    before = venv.files()
    version = "{}.{}.{}".format(*sys.version_info)
    told = venv.tool("enabled", status=NOT_ENABLED)
    assert told == f"{venv.python} (Python {version}) is not enabled.\n"
    for _ in range(2):
        told = venv.tool("enable")
        assert f"starts {environment.binary()} wherever" in told and str(venv.pth) in told
        assert sorted(file.name for file in venv.files() - before) == FILES
    told = venv.tool("enabled")
    assert f"By      {venv.pth}\n" in told
    assert f"Starts  {environment.binary()} (release " in told
    assert told.endswith(", the same as this program)\n")
    # Python compiles the module.
    venv.run(venv.python, "-m", MODULE, env={"PYTHONDONTWRITEBYTECODE": ""})
    assert len(venv.files() - before) == 3
    assert venv.tool("disable") == f"Removed {venv.pth}.\n"
    assert venv.files() == before
    assert venv.tool("disable") == f"{venv.python} was not enabled.\n"


def test_files_of_another_release_are_renewed(venv):
    venv.enable_fake()
    module = venv.packages / FILES[1]
    assert "Another release" not in venv.tool("enabled", status=NOT_ENABLED)
    module.write_text(module.read_text() + "# Another one.\n")
    assert "Another release installed it" in venv.tool("enabled", status=NOT_ENABLED)
    venv.tool("enable")
    assert "Another release" not in venv.tool("enabled")


@pytest.mark.parametrize("name", FILES)
def test_foreign_files_stay(venv, name):
    file = venv.packages / name
    file.write_text("import os\n")
    before = venv.files()
    for tool in ("enable", "disable"):
        refusal = venv.tool(tool, status=NOT_DONE)
        assert f"{file} was not made by htex-interchange, and is kept" in refusal
    assert venv.files() == before and file.read_text() == "import os\n"


def test_packages_that_cannot_be_written(venv, tmp_path):
    venv.packages.chmod(0o555)
    limited = {"status": NOT_DONE, "preexec_fn": processes.without_privilege}
    told = venv.tool("enable", **limited)
    assert f"{FILES[1]} cannot be written: Permission denied" in told and "--user" not in told
    told = venv.tool("enable", "--user", status=NOT_DONE)
    assert "does not use the user's own packages" in told
    # A Python that uses packages of the user.
    base = Path(sys._base_executable)
    user = {"env": {"PYTHONUSERBASE": str(tmp_path / "user"), "HOME": str(tmp_path)}}
    told = venv.tool("enable", "--user", python=base, **user)
    (pth,) = (tmp_path / "user").rglob("*.pth")
    assert f"{pth} makes it do so.\n" in told
    assert f"By      {pth}\n" in venv.tool("enabled", python=base, **user)
    assert venv.tool("disable", python=base, **user) == f"Removed {pth}.\n"
    assert [file for file in (tmp_path / "user").rglob("*") if file.is_file()] == []


def fake_python(file: Path, **answer) -> Path:
    """Writes a fake Python that answers with these places; a place that is not given is empty."""
    told = {"version": "3.12.1", "purelib": "/nowhere", "user": None, "places": [], **answer}
    for name in ("purelib", "user"):
        told[name] = told[name] and list(os.fsencode(told[name]))
    told["places"] = [list(os.fsencode(place)) for place in told["places"]]
    file.write_text(f"#!/bin/sh\necho 'a word before it'\necho '{json.dumps(told)}'\n")
    file.chmod(0o755)
    return file


def test_pythons_of_other_kinds(venv, tmp_path):
    def refused(python: Path, tool: str = "enable", *words) -> str:
        return venv.tool(tool, *words, python=python, status=NOT_DONE)

    assert "cannot be run: No such file" in refused(tmp_path / "nothing")
    assert "is not a usable Python" in refused(Path("/bin/ls"))
    odd = tmp_path / "python"
    assert "has no site-packages" in refused(fake_python(odd))
    locked, own = tmp_path / "locked", tmp_path / "own"
    locked.mkdir(mode=0o555)
    (locked / FILES[0]).mkdir()
    fake_python(odd, purelib=own / "x" / "y", places=[own / "x" / "y"])
    own.touch()
    assert "cannot be written" in refused(odd) and "--user" not in refused(odd)
    fake_python(odd, purelib=own / "x", user=tmp_path / "mine", places=[own / "x"])
    assert f"; use --user to write {tmp_path}/mine/{FILES[0]} instead" in refused(odd)
    # An environment that includes the packages of another environment, which is enabled.
    venv.tool("enable")
    both = fake_python(odd, purelib=tmp_path / "inner", places=[tmp_path / "inner", venv.packages])
    assert f"By      {venv.pth}\n" in venv.tool("enabled", python=both)
    assert f"is still enabled by {venv.pth}, which belongs to another" in refused(both, "disable")
    venv.tool("enable", python=both)
    assert f"By      {tmp_path}/inner/" in venv.tool("enabled", python=both)


def test_a_file_that_comes_first_is_reported(venv, tmp_path):
    venv.enable_fake()
    odd = tmp_path / "python"
    later = tmp_path / "later"
    fake_python(odd, purelib=later, places=[venv.packages, later])
    assert f"However, {venv.pth} takes precedence" in venv.tool("enable", python=odd)


def test_doctor_knows_which_interchange_serves(venv, tmp_path):
    def findings(command: str) -> list[dict]:
        file = tmp_path / "my_config.py"
        file.write_text(
            "from parsl.executors import HighThroughputExecutor\n"
            f"it = HighThroughputExecutor(address='127.0.0.1', interchange_launch_cmd={command})\n"
        )
        told = venv.run(environment.binary(), "doctor", "--json", "--python", venv.python, file)
        found = json.loads(told.stdout)["findings"]
        return [one for one in found if one["id"] in ("enabled", "stock", "launch-unknown")]

    starts = ["None", repr([str(venv.interchange)]), repr([str(venv.python), "-m", MODULE])]
    for start in starts:
        (found,) = findings(start)
        assert found["id"] == "stock" and "htex-interchange enable" in found["remedy"]
    venv.tool("enable")
    for start in starts:
        (found,) = findings(start)
        assert found["id"] == "enabled" and str(environment.binary()) in found["what"]
        assert str(venv.pth) in found["why"]
    (found,) = findings(repr([str(venv.interchange), "more"]))
    assert found["id"] == "stock"
    venv.enable_fake().unlink()
    (found,) = findings("None")
    assert found["id"] == "stock" and "which does not run" in found["why"]
