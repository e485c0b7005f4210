"""Tools for users: the shim that an unchanged Parsl finds, completions and the manual page."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.machine import processes
from harness.setup import environment

pytestmark = pytest.mark.ours_only("this is about our own command line")

SECONDS = 20
PROGRAM = Path(__file__).parent / "programs" / "unmodified.py"
STOCK = environment.VENV_BIN / "interchange.py"


def tool(*arguments, path: str | None = None, **options) -> subprocess.CompletedProcess:
    options.setdefault("binary", environment.binary())
    command = [str(options.pop("binary")), *map(str, arguments)]
    env = dict(os.environ) if path is None else {**os.environ, "PATH": path}
    return subprocess.run(
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        **options,
    )


def install(*arguments, **options) -> str:
    told = tool("install-shim", *arguments, **options)
    assert told.returncode == 0 and told.stderr == "", told
    return told.stdout


def refusal(*arguments, **options) -> str:
    told = tool("install-shim", *arguments, **options)
    assert told.returncode == 1 and told.stdout == "", told
    assert told.stderr.count("\n") == 1 and told.stderr.startswith("htex-interchange: ")
    return told.stderr


def content(directory: Path) -> list[str]:
    return sorted(os.listdir(directory))


@pytest.mark.parametrize("how", [[], ["--copy"]], ids=["link", "copy"])
def test_a_shim_serves_an_unmodified_program(tmp_path, how):
    """A shell runs the line that the tool prints, as a user would."""
    told = install(tmp_path / "a dir", *how)
    assert f"With this PATH, Parsl would run {STOCK}." in told
    (line,) = [line for line in told.splitlines() if "export PATH" in line]
    ran = subprocess.run(
        ["sh", "-c", f'{line}\nexec "$@"', "sh", sys.executable, PROGRAM, tmp_path / "run"],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout.splitlines()[-1])
    assert report["results"] == [number**2 for number in range(20)]
    (log,) = (tmp_path / "run").rglob("interchange.log")
    assert "htex-interchange" in log.read_text()
    assert Path(tmp_path / "a dir" / "interchange.py").is_symlink() == (how == [])


def test_it_says_which_interchange_would_be_used(tmp_path):
    ours = str(tmp_path)
    stock = str(STOCK.parent)
    first = install(tmp_path, path=f"{ours}:{stock}")
    assert "the first interchange.py on PATH" in first and "export" not in first
    second = install(tmp_path, path=f"{stock}:{ours}")
    assert f"{STOCK} comes before it on PATH" in second
    assert f'export PATH={ours}:"$PATH"' in second
    nowhere = install(tmp_path, path="/nowhere")
    assert "No directory on PATH has an interchange.py" in nowhere
    assert f'export PATH={ours}:"$PATH"' in nowhere
    # Another path to the same directory is recognized, and a file that is not executable does not
    # count.
    (tmp_path / "way").symlink_to(tmp_path)
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "interchange.py").write_text("import parsl\n")
    other = install(tmp_path, path=f"{tmp_path}/text:{tmp_path}/way:{stock}")
    assert "the first interchange.py on PATH" in other
    gone = install("--remove", tmp_path, path=f"{ours}:{stock}")
    assert f"Parsl would run {STOCK}" in gone and "export" not in gone


def test_a_shim_of_ours_is_renewed_and_removed(tmp_path):
    """Also covers a shim from an earlier release: a link to that release's path, or a copy of its
    binary."""
    place = tmp_path / "bin" / "interchange.py"
    elsewhere = tmp_path / "htex-interchange"
    for before in ([], ["--copy"]):
        for now in ([], ["--copy"]):
            # A copy of another length can only be taken for one of another release.
            shutil.copy2(environment.binary(), elsewhere)
            with open(elsewhere, "ab") as file:
                file.write(b"older")
            install(place.parent, *before, binary=elsewhere)
            elsewhere.unlink()
            install(place.parent, *now)
            assert content(place.parent) == ["interchange.py"]
            assert place.is_symlink() == (now == [])
            assert place.samefile(environment.binary()) == (now == [])
            assert tool("--version", binary=place).returncode == 0
    assert "Removed " in install("--remove", place.parent)
    assert content(place.parent) == []
    assert "does not exist" in install("--remove", place.parent)


def test_a_link_by_another_name_is_ours(tmp_path):
    install(tmp_path / "one", "--copy")
    install(tmp_path / "two", binary=tmp_path / "one" / "interchange.py")
    install(tmp_path / "two")
    assert (tmp_path / "two" / "interchange.py").samefile(environment.binary())


def identity(place: Path) -> tuple:
    status = os.lstat(place)
    return status.st_ino, status.st_size, status.st_mtime_ns


def strangers(place: Path) -> list:
    """Returns functions, each of which puts another program's file or link at `place`."""
    return [
        lambda: shutil.copy2(STOCK, place),
        lambda: place.symlink_to(STOCK),
        lambda: place.symlink_to(place.parent / "nothing"),
        lambda: shutil.copy2("/bin/ls", place),
        lambda: place.write_text(""),
    ]


@pytest.mark.parametrize("which", range(5))
def test_foreign_files_stay_unless_forced(tmp_path, which):
    place = tmp_path / "interchange.py"
    strangers(place)[which]()
    before = identity(place)
    assert f"{place} is " in refusal(tmp_path) and "--force" in refusal(tmp_path)
    assert "so it is kept" in refusal("--remove", tmp_path)
    assert identity(place) == before
    assert content(tmp_path) == ["interchange.py"]
    install("--force", tmp_path)
    assert place.samefile(environment.binary())
    assert STOCK.read_text().startswith("#!")


def test_impossible_places(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "taken" / "interchange.py").mkdir(parents=True)
    assert "its parent does not exist" in refusal(tmp_path / "no" / "bin")
    assert "it exists, and is not a directory" in refusal(tmp_path / "file")
    assert "its parent is not a directory" in refusal(tmp_path / "file" / "bin")
    assert "is a directory" in refusal(tmp_path / "taken")
    assert "cannot be written" in refusal("--force", tmp_path / "taken")
    assert "PATH cannot contain a directory whose name has a colon" in refusal(tmp_path / "a:b")
    assert content(tmp_path) == ["file", "taken"]
    assert content(tmp_path / "taken") == ["interchange.py"]


def test_a_place_that_cannot_be_written(tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    assert "Permission denied" in refusal(locked, preexec_fn=processes.without_privilege)
    assert "Permission denied" in refusal(locked / "bin", preexec_fn=processes.without_privilege)
    assert content(locked) == []


def test_a_shim_does_not_become_a_link_to_itself(tmp_path):
    install(tmp_path, "--copy")
    shim = tmp_path / "interchange.py"
    assert "is the running program itself" in refusal(tmp_path, binary=shim)
    assert "is the running program itself" in refusal("--copy", tmp_path, binary=shim)
    assert tool("--version", binary=shim).returncode == 0
    assert "Removed " in install("--remove", tmp_path, binary=shim)


def complete(line: str) -> list[str]:
    """Returns what bash would offer at the end of `line`."""
    script = tool("completions", "bash").stdout
    ask = (
        'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}\n'
        "handler=$(complete -p htex-interchange)\n"
        'handler=${handler#*-F }; "${handler%% *}" htex-interchange "${COMP_WORDS[COMP_CWORD]}" '
        '"${COMP_WORDS[COMP_CWORD-1]}"\nprintf "%s\\n" "${COMPREPLY[@]}"'
    )
    told = subprocess.run(
        ["bash", "--norc", "-c", f"{script}\n{ask}", "bash", *line.split(" ")],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    return sorted(told.stdout.split())


def test_bash_completes_options_and_tools():
    script = tool("completions", "bash").stdout
    subprocess.run(["bash", "-n"], input=script, text=True, check=True, timeout=SECONDS)
    assert complete("htex-interchange --watch") == ["--watch-pid"]
    assert complete("htex-interchange install") == ["install-shim"]
    assert complete("htex-interchange install-shim --r") == ["--remove"]
    assert "zsh" in complete("htex-interchange completions ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "elvish", "powershell"])
def test_every_shell_has_a_script(shell):
    told = tool("completions", shell)
    assert told.returncode == 0
    assert "watch-pid" in told.stdout and "install-shim" in told.stdout


def test_a_reader_may_close_early():
    """As in `htex-interchange man | head -1`."""
    reading, writing = os.pipe()
    os.close(reading)
    told = subprocess.run(
        [environment.binary(), "man"], stdout=writing, stderr=subprocess.PIPE, timeout=SECONDS
    )
    os.close(writing)
    assert (told.returncode, told.stderr) == (0, b"")


SECTIONS = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "TOOLS", "EXIT STATUS"]


def test_the_manual_page_names_everything():
    """The page is checked as printed if a formatter is installed, else in its source."""
    page = tool("man").stdout
    headings = [line[4:].strip('"') for line in page.splitlines() if line.startswith(".SH ")]
    assert headings == SECTIONS
    if shutil.which("groff"):
        told = subprocess.run(
            ["groff", "-man", "-Tascii", "-ww", "-rLL=200n"],
            input=page,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=True,
            env={**os.environ, "GROFF_NO_SGR": "1"},
        )
        assert told.stderr == ""
        # In the formatter's output, a bold character is the character, a backspace and the
        # character again.
        while "\b" in told.stdout:
            told.stdout = re.sub(".\b", "", told.stdout)
        lines = told.stdout.splitlines()
        assert [line for line in lines if line in SECTIONS] == SECTIONS
        text = told.stdout
    else:
        text = page.replace("\\-", "-")
    for word in (
        "--disconnect-grace",
        "install-shim",
        "--remove",
        "completions",
        "70 an internal error",
    ):
        assert word in text
