"""`htex-interchange doctor` on a Python file: loading the file changes nothing, and a file that
cannot be loaded here is not called wrong."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

import pytest
from test_doctor import NOT_EXAMINED, NOTHING, diagnosis, doctor, ids, only_problem

from harness.setup import environment

pytestmark = pytest.mark.ours_only("this is about our own command line")

HEAD = """
import os, sys
from parsl import Config
from parsl.executors import HighThroughputExecutor, ThreadPoolExecutor
from parsl.providers import LocalProvider
made = lambda label="htex", **options: HighThroughputExecutor(
    label=label, interchange_launch_cmd=[{binary!r}], **{{"address": "127.0.0.1", **options}}
)

"""
CONFIG = "config = Config(executors=[made()], strategy='none')\n"


def written(tmp_path: Path, text: str, name: str = "my_config.py") -> Path:
    file = tmp_path / name
    file.write_text(HEAD.format(binary=str(environment.binary())) + text)
    return file


def snapshot(place: Path) -> dict:
    """Returns every name below a directory with its content, mode and times of change."""
    found = {}
    for path in [place, *sorted(place.rglob("*"))]:
        about = path.lstat()
        data = path.read_bytes() if path.is_file() else None
        found[str(path)] = (about.st_mode, about.st_mtime_ns, about.st_ctime_ns, data)
    return found


# Each line changes something in the directory `kept`, or has another effect outside the process.
CHANGES = {
    "rmtree": "import shutil; shutil.rmtree('kept')",
    "remove": "os.remove('kept/data')",
    "unlink": "import pathlib; pathlib.Path('kept/data').unlink()",
    "rename": "os.rename('kept/data', 'kept/other')",
    "write": "open('kept/data', 'w').write('gone')",
    "write_text": "import pathlib; pathlib.Path('kept/data').write_text('gone')",
    "os_open": "os.write(os.open('kept/new', os.O_CREAT | os.O_WRONLY), b'x')",
    "mkdir": "os.makedirs('kept/a/b', exist_ok=True)",
    "chmod": "os.chmod('kept/data', 0o777)",
    "utime": "os.utime('kept/data', (0, 0))",
    "truncate": "os.truncate('kept/data', 0)",
    "symlink": "os.symlink('data', 'kept/link')",
    "fifo": "os.mkfifo('kept/fifo')",
    "subprocess": "import subprocess; subprocess.run(['touch', 'kept/new'])",
    "system": "os.system('touch kept/new')",
    "spawn": "import multiprocessing as m; m.get_context('spawn').Process(target=print).start()",
    "fork": "os.fork() or (open('kept/new', 'w'), os._exit(0))",
    "sqlite": "import sqlite3; sqlite3.connect('kept/new.db').execute('create table t (a)')",
    "ctypes": "import ctypes; ctypes.CDLL(None).unlink(b'kept/data')",
    "thread": "import threading as t; w = t.Thread(target=lambda: os.remove('kept/data'))\n"
    "w.start(); w.join()",
    "logging": "import logging; logging.basicConfig(filename='kept/log'); logging.error('x')",
}


@pytest.mark.parametrize("change", CHANGES)
def test_loading_changes_nothing(tmp_path, change):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "data").write_text("precious")
    file = written(tmp_path, CHANGES[change] + "\n" + CONFIG)
    before = snapshot(tmp_path)
    told = doctor(file, cwd=tmp_path)
    assert snapshot(tmp_path) == before
    assert told.returncode in (NOTHING, NOT_EXAMINED), told
    words = " ".join((told.stdout + told.stderr).split())
    line = " ".join(CHANGES[change].splitlines()[0].split())
    assert f"my_config.py, line 10: {line}" in words and "--run" in words


@pytest.mark.parametrize("change", ["rmtree", "write", "mkdir", "system", "ctypes"])
def test_with_run_the_file_may_change_things(tmp_path, change):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "data").write_text("precious")
    file = written(tmp_path, CHANGES[change] + "\n" + CONFIG)
    before = snapshot(tmp_path)
    told = doctor("--run", file, cwd=tmp_path)
    assert told.returncode == NOTHING and "with all side effects" in told.stdout, told
    assert snapshot(tmp_path) != before


def test_exit_handlers_change_nothing(tmp_path):
    text = "import atexit\natexit.register(lambda: os.remove(__file__))\n" + CONFIG
    file = written(tmp_path, text)
    before = snapshot(tmp_path)
    assert ids(diagnosis(file, cwd=tmp_path)) == []
    assert snapshot(tmp_path) == before


def test_loading_connects_to_nothing(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        where = server.getsockname()
        file = written(tmp_path, f"import socket; socket.create_connection({where})\n" + CONFIG)
        told = doctor(file)
        assert told.returncode == NOT_EXAMINED and f"connect to {where}" in told.stderr
        with pytest.raises(BlockingIOError):
            server.accept()
        assert doctor("--run", file).returncode == NOTHING
        server.accept()[0].close()


def test_loading_a_selector_changes_nothing(tmp_path):
    """The selector's module is loaded once more, in a separate process."""
    (tmp_path / "own.py").write_text(
        "import os, sys\nfrom parsl.executors.high_throughput.manager_selector import *\n"
        "class Own(RandomManagerSelector): pass\n"
        "if 'my_config' not in sys.modules:\n    os.mkfifo('fifo')\n"
    )
    text = "from own import Own\nconfig = Config(executors=[made(manager_selector=Own())])\n"
    file = written(tmp_path, text)
    before = snapshot(tmp_path)
    diagnosis(file, cwd=tmp_path)
    assert snapshot(tmp_path) == before


FACTORY = "def site_a() -> Config:\n    return Config(executors=[made('a')])\n"
# Forms in which configurations are published, and what doctor finds in each.
SOUND = {
    "plain": (CONFIG, "config"),
    "factory": (FACTORY, "site_a()"),
    "annotated by text": (FACTORY.replace("Config:", "'Config':"), "site_a()"),
    "annotated late": (
        "from typing import Optional\ndef site_a() -> 'Optional[Config]':\n"
        "    return Config(executors=[made('a')])\n",
        "site_a()",
    ),
    "documented": (FACTORY.replace(" -> Config:", ":\n    '''Returns a Config.'''"), "site_a()"),
    "bare factory": (FACTORY.replace(" -> Config", ""), "site_a()"),
    "several executors": (
        "config = Config(executors=[made('a'), made('b'), ThreadPoolExecutor(label='t')])\n",
        "config",
    ),
    "variables": ("os.environ['OMP_NUM_THREADS'] = '1'\n" + CONFIG, "config"),
    "program": (
        "import parsl\nif __name__ == '__main__':\n    with parsl.load(Config([made()])):\n"
        "        open('result', 'w')\n",
        "the argument of parsl.load()",
    ),
    "main": (
        "import parsl\ndef main():\n    parsl.load(Config([made()]))\n"
        "if __name__ == '__main__':\n    main()\n",
        "the argument of parsl.load()",
    ),
    "dataclass": (
        "from dataclasses import dataclass\n@dataclass\nclass Site:\n    label: str = 'a'\n"
        "    def parsl_config(self) -> Config:\n        return Config([made(self.label)])\n"
        "config = Site().parsl_config()\n",
        "config",
    ),
    "logging": (
        "import logging, parsl\nos.makedirs('logs', exist_ok=True)\n"
        "parsl.set_file_logger('logs/parsl.log')\nlogging.basicConfig(filename='logs/own')\n"
        + CONFIG,
        "config",
    ),
    "temporary": ("import tempfile\nrun_dir = tempfile.gettempdir()\n" + CONFIG, "config"),
    "free port": (
        "import socket\nwith socket.socket() as s:\n    s.bind(('', 0))\n" + CONFIG,
        "config",
    ),
    "route": ("from parsl.addresses import *\nwhere = address_by_hostname()\n" + CONFIG, "config"),
    "tolerant": (
        "import subprocess\ntry:\n    subprocess.check_output(['hostname'])\n"
        "except OSError:\n    pass\n" + CONFIG,
        "config",
    ),
    "by site": ("SITES = {'a': {'x': [Config([made()])]}}\n", "SITES['a']['x'][0]"),
    "of a class": ("class Site:\n    config = Config([made()])\n", "Site.config"),
    "chosen": (
        "def site_a(is_on=True):\n    return Config([made('a')]) if is_on else None\n",
        "site_a()",
    ),
    "unheeded": (
        "import parsl, time\ntry:\n    parsl.load(Config([made()]))\nexcept:\n"
        "    time.sleep(600)\n",
        "the argument of parsl.load()",
    ),
    "usage": ("config = Config(executors=[made()], usage_tracking=3)\n", "config"),
    "locks": ("import multiprocessing as m\nlock = m.Lock(); m.Queue()\n" + CONFIG, "config"),
}


PROVIDERS = {
    "SlurmProvider": "launcher=SrunLauncher()",
    "PBSProProvider": "queue='q'",
    "CondorProvider": "",
    "LSFProvider": "",
    "TorqueProvider": "",
    "GridEngineProvider": "",
}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_providers_whose_commands_are_not_asked(tmp_path, provider):
    text = "from parsl.launchers import *\nfrom parsl.providers import *\n"
    text += f"config = Config([made(provider={provider}({PROVIDERS[provider]}))])\n"
    document = diagnosis(written(tmp_path, text), cwd=tmp_path)
    assert "found: config" in document["about"]
    assert "--run" not in " ".join(document["not_examined"]), document


@pytest.mark.parametrize("shape", SOUND)
def test_published_shapes(tmp_path, shape):
    text, name = SOUND[shape]
    file = written(tmp_path, text)
    before = snapshot(tmp_path)
    document = diagnosis(file, cwd=tmp_path)
    assert ids(document) == [] and f"found: {name}" in document["about"], document
    assert snapshot(tmp_path) == before


def test_functions_with_similar_names_are_not_called(tmp_path):
    text = "def clear_config():\n    print('called', file=sys.stderr); os.remove(__file__)\n"
    told = doctor("--run", written(tmp_path, text))
    assert told.returncode == NOT_EXAMINED and "Config" in told.stderr
    assert (tmp_path / "my_config.py").exists()


def test_one_of_several_factories_raises(tmp_path):
    broken = FACTORY.replace("site_a", "site_b").replace("[made('a')]", "[], nonsense=1")
    unset = FACTORY.replace("site_a", "site_c").replace("'a'", "os.environ['NO_ACCOUNT']")
    needing = "def site_d(account, queue) -> Config:\n    return Config([made(account)])\n"
    document = diagnosis(written(tmp_path, FACTORY + broken + unset + needing))
    found = only_problem(document)
    assert found["id"] == "config-raises" and found["what"].startswith("site_b() of ")
    assert "line 13: return Config(executors=[], nonsense=1)" in found["evidence"][0]
    assert "found: site_a()" in document["about"]
    not_examined = "; ".join(document["not_examined"])
    assert "site_c(): the environment variable NO_ACCOUNT is not set here" in not_examined
    assert "site_d(account, queue) of line 16" in not_examined


# Failures because of this machine rather than the file, with a word that doctor's message must
# contain.
NOT_WRONG = {
    "variable": ("account = os.environ['NO_ACCOUNT']\n", "NO_ACCOUNT"),
    "module": ("import no_such_module\n", "--python"),
    "input": ("input()\n", "EOFError"),
    "file": ("open('no-such-input').read()\n", "no-such-input"),
    "argv": ("path = sys.argv[1]\n", "--"),
    "argparse": (
        "import argparse\np = argparse.ArgumentParser()\np.add_argument('site')\np.parse_args()\n",
        "required: site",
    ),
    "exit": ("sys.exit('choose a site')\n", "choose a site"),
    "child": (
        "import subprocess\nsubprocess.run([sys.executable, '-c', 'import parsl'])\n",
        "--run",
    ),
    "needing": ("def build(account) -> Config:\n    return Config([made()])\n", "build(account)"),
}


@pytest.mark.parametrize("case", NOT_WRONG)
def test_not_examined_is_not_wrong(tmp_path, case):
    text, word = NOT_WRONG[case]
    more = "" if case == "needing" else CONFIG
    told = doctor(written(tmp_path, text + more), cwd=tmp_path)
    assert told.returncode == NOT_EXAMINED and word in told.stderr, told
    assert "PROBLEM" not in told.stdout and "config-raises" not in told.stdout
    assert told.stderr.count("\n") == 1


# Failures in functions that would succeed elsewhere, with the text that doctor reports.
ELSEWHERE = {
    "int(os.environ.get('NO_NODES'))": "TypeError: int() argument must be",
    "open(os.getenv('NO_NODES'))": "NO_NODES is not set here",
    "SlurmProvider('x', os.getenv('NO_ACCOUNT'), worker_init=os.getenv('NO_INIT'))": (
        "NO_ACCOUNT and NO_INIT are not set here"
    ),
    "{'a': 1}[os.environ.get('NO_SITE', 'laptop')]": "KeyError: 'laptop', and NO_SITE is not set",
    "os.path.dirname(shutil.which('no-conda'))": "no-conda is not found here",
    "{'a': 1}[socket.gethostname()]": f"and this machine is {socket.gethostname()}",
    "sys.stdin.read().split()[0]": "standard input is empty here",
    "exec('raise ValueError(\\'Unknown site; set NO_SITE\\')')": "set NO_SITE, and NO_SITE is not",
    "exec('assert 0, \\'activate it first\\'')": "AssertionError: activate it first",
    "[].pop()": "IndexError: pop from empty list",
}


def test_failures_that_may_not_occur_elsewhere_are_not_wrong(tmp_path):
    text = "import shutil, socket\nfrom parsl.providers import SlurmProvider\n" + "".join(
        f"def f{number}() -> Config:\n    return {code}\n" for number, code in enumerate(ELSEWHERE)
    )
    told = doctor(written(tmp_path, text), cwd=tmp_path)
    assert told.returncode == NOT_EXAMINED and "config-raises" not in told.stdout, told
    for number, (code, words) in enumerate(ELSEWHERE.items()):
        reason = told.stderr.partition(f"f{number}(): ")[2].partition(" (my_config.py, line ")[0]
        assert words in reason, code


def test_errors_after_an_unset_variable_are_still_found(tmp_path):
    """The same error would occur anywhere; an error from a value that may have come from outside
    would not."""
    bodies = [
        "Config([], nonsense=1)",
        "Config([], retries='many')",
        "Confg([])",
        "parsl.channels.LocalChannel()",
        "Config([], retries=os.getenv('NO_TRIES'))",
    ]
    text = "import parsl, parsl.providers\nlevel = os.getenv('NO_LEVEL')\n" + "".join(
        f"def f{number}() -> Config:\n    return {code}\n" for number, code in enumerate(bodies)
    )
    document = diagnosis(written(tmp_path, text))
    assert ids(document) == ["config-raises"] * 4
    lacked = document["findings"][3]
    assert "has no parsl.channels." in lacked["why"] and "--python" in lacked["remedy"]
    assert "NO_TRIES is not set here" in "; ".join(document["not_examined"])


def test_imports_that_fail_for_another_reason_than_python(tmp_path):
    """A name that this Parsl does not have, a package in a directory above, and a file that hides a
    module."""
    lacking = written(tmp_path, "from parsl.providers import CobaltProvider\n", "lacking.py")
    found = only_problem(diagnosis(lacking))
    assert "has no parsl.providers.CobaltProvider." in found["why"]
    sites = tmp_path / "sites"
    sites.mkdir()
    (tmp_path / "common.py").write_text("LABEL = 'shared'\n")
    text = "from common import LABEL\nconfig = Config(executors=[made(LABEL)])\n"
    told = doctor(written(sites, text))
    assert told.returncode == NOT_EXAMINED, told
    assert f"PYTHONPATH={tmp_path} makes it available" in told.stderr
    (sites / "zmq.py").write_text("import nothing_of_that_name\n")
    told = doctor(written(sites, CONFIG))
    assert told.returncode == NOT_EXAMINED and "cannot import Parsl" in told.stderr
    assert f"{sites / 'zmq.py'} hides the module zmq" in told.stderr


def package_of_sites(tmp_path: Path) -> Path:
    package = tmp_path / "sites"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "common.py").write_text("LABEL = 'shared'\n")
    return package


def test_the_recommended_command_shows_the_same_error(tmp_path):
    package = package_of_sites(tmp_path)
    text = "from sites.common import LABEL\nsys.argv[2] and Config([], nonsense=LABEL)\n"
    found = only_problem(diagnosis(written(package, text), "--", "--label", "it's"))
    command = found["remedy"].partition("`")[2].partition("`")[0]
    ran = subprocess.run(["sh", "-c", command], capture_output=True, text=True, cwd="/")
    assert ran.returncode == 1 and "unexpected keyword argument 'nonsense'" in ran.stderr


def test_directories_are_relative_to_where_the_file_changed_to(tmp_path):
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "runinfo").write_text("in the way")
    file = written(tmp_path, f"os.chdir({str(tmp_path / 'away')!r})\n" + CONFIG)
    found = only_problem(diagnosis(file, cwd=tmp_path))
    assert found["id"] == "run-dir" and str(tmp_path / "away" / "runinfo") in found["what"]


def test_arguments_of_the_program(tmp_path):
    text = (
        "import argparse\np = argparse.ArgumentParser()\np.add_argument('--site', required=True)\n"
    )
    text += "config = Config(executors=[made(p.parse_args().site)])\n"
    document = diagnosis(written(tmp_path, text), "--", "--site", "here")
    assert ids(document) == []


def test_a_file_that_takes_long(tmp_path):
    """A slow file is not wrong; its loading is ended, and may be given more time."""
    file = written(tmp_path, "import time\ntime.sleep(600)\n" + CONFIG)
    begin = time.monotonic()
    told = doctor("--load-within", "1", file)
    assert told.returncode == NOT_EXAMINED and "--load-within" in told.stderr, told
    assert time.monotonic() - begin < 70
    file = written(tmp_path, "import time\ntime.sleep(2)\n" + CONFIG)
    assert ids(diagnosis(file)) == []


FAULTS = {
    "SyntaxError": "config = Config(\n",
    "NameError": "config = Confg()\n",
    "TypeError": "config = Config(nonsense=1)\n",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_file_stays_one(tmp_path, fault):
    told = diagnosis(written(tmp_path, FAULTS[fault]))
    found = only_problem(told)
    assert found["id"] == "config-raises" and fault in found["what"]
    assert f"line 10: {FAULTS[fault].strip()}" in found["evidence"][0]


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("my own.ipynb", "{}", "--to script '"),
        ("config.yaml", "engine: {}", "Globus Compute"),
        ("run.sh", "#!/bin/bash\n", "shell script"),
        ("job", "#!/bin/sh\n", "shell script"),
        ("site.parsl", "x", "not a Python file"),
    ],
)
def test_files_that_are_not_python(tmp_path, name, text, word):
    file = tmp_path / name
    file.write_text(text)
    told = doctor(file)
    assert told.returncode == NOT_EXAMINED and word in told.stderr and told.stdout == ""


def test_a_member_of_a_package(tmp_path):
    package = package_of_sites(tmp_path)
    text = "from .common import LABEL\nconfig = Config(executors=[made(LABEL)])\n"
    assert ids(diagnosis(written(package, text))) == []


def test_doctor_announces_its_actions_first(tmp_path):
    file = written(tmp_path, CONFIG)
    first = doctor(file).stdout.splitlines()[0]
    assert first.startswith(f"Loads {file} with ")
    assert first.endswith("in a process that may not write files, connect or start processes.")
    assert diagnosis(file)["does"] == first
    assert "as your program would" in doctor("--run", file).stdout.splitlines()[0]
