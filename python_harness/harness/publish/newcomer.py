"""The command `newcomer`: plays README to the letter, as a new user would, and records it.

Two fresh systems play it: a builder with the packages that README names and a Rust toolchain, and a
login node with nothing but Python. Commands and configurations are read from README. The table
below says of each command where it is played and what shows that it worked; a command that the
table does not know, or one that README no longer has, fails the play.
"""

from __future__ import annotations

import fcntl
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from harness.publish import clone, fresh_root, sdist
from harness.publish.fresh_root import Ended, Root, Session
from harness.setup import environment

PROJECT = environment.PROJECT_DIR
WORKSHOP = PROJECT / "target" / "newcomer"
RECORD = WORKSHOP / "record.txt"
PROGRAM = Path(__file__).with_name("newcomer_program.py")

BUILDER, LOGIN_NODE = "builder", "login-node"
# README's sentence on the login node: "That machine needs no compiler".
OF_THE_LOGIN_NODE = ["python3-venv"]
CLONE = "htex-interchange"
# What an earlier run compiled and downloaded, in the builder's home.
REUSED = (".cache", ".cargo", f"{CLONE}/target")
SERVER = "srv/htex-interchange.git"

SOON_S = 300.0
COMPILING_S = 3600.0
# How much of a step's output the record has: a linker's reason stands before a long command.
TAIL_LINES, FAILED_LINES, COLUMNS = 12, 60, 400


@dataclass(frozen=True)
class Step:
    """A command of README, and the sentences before it. Line 0 is what README does not write."""

    line: int
    command: str
    sentence: str


@dataclass(frozen=True)
class Play:
    """Where a command is played, and what its output must show."""

    where: str
    shows: str = ""
    limit_s: float = SOON_S
    during_a_run: bool = False
    # Who plays it instead, if this does not.
    left_to: str | None = None


PLAYS = {
    "git clone https://github.com/htex-interchange/htex-interchange": Play(BUILDER),
    "cd htex-interchange": Play(BUILDER),
    "python3 python_harness demo": Play(BUILDER, "^demo passed$", COMPILING_S),
    "python3 python_harness test": Play(
        BUILDER, left_to="CI plays it on every change: it takes 25 minutes"
    ),
    "python3 python_harness wheel": Play(
        BUILDER, r"/target/wheels/htex_interchange-\S+\.whl$", COMPILING_S
    ),
    "pip install htex_interchange-*.whl": Play(LOGIN_NODE, "Successfully installed .*htex.inter"),
    "htex-interchange doctor my_config.py": Play(LOGIN_NODE, "^No problem was found"),
    "htex-interchange status": Play(LOGIN_NODE, "^Nothing is wrong", during_a_run=True),
}
# What README takes for granted on the login node: a sentence of it, and what the user did before.
GRANTED = {
    "into the environment that has Parsl": (
        "python3 -m venv parsl && . parsl/bin/activate && pip install parsl"
    ),
}
# A Parsl program with README's line, and one with README's import.
CONFIGURATION, OF_THE_PACKAGE = "my_config", "my_config_of_the_package"
RUNS = "^[0-9]+ tasks, encrypted, through .*/htex-interchange$"


@dataclass
class Record:
    """What was played so far, as text."""

    lines: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def say(self, line: str) -> None:
        print(line, flush=True)
        self.lines.append(line)

    def step(self, where: str, step: Step, ended: Ended, shows: str = "") -> bool:
        """Records how a command ended; returns whether it did what README says."""
        right = ended.code == 0 and bool(re.search(shows, ended.output, re.MULTILINE))
        how = "did not end" if ended.code is None else f"exit {ended.code}"
        mark = "ok" if right else "FAILED"
        place = f"README.md:{step.line}" if step.line else "the user's"
        self.say(f"{mark:6}  {where:10}  {place:13}  {ended.seconds:6.1f} s  {how}")
        self.say(f"        $ {step.command}")
        for line in ended.output.splitlines()[-(TAIL_LINES if right else FAILED_LINES) :]:
            self.say(f"        | {line[:COLUMNS]}")
        if not right:
            self.fail(explanation(step, ended, shows))
        return right

    def fail(self, why: str) -> None:
        self.failed.append(why)


def run(options) -> int:
    """Plays README of the last commit; returns 1 if a step failed."""
    why_not = fresh_root.why_not()
    if why_not:
        raise environment.Unprepared(f"nothing was played: {why_not}", environment.EXIT_ENVIRONMENT)
    WORKSHOP.mkdir(parents=True, exist_ok=True)
    with open(WORKSHOP / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        record = Record()
        verdict = "interrupted: not all of README was played"
        try:
            play(record, options.again)
            verdict = "README leads a new user from a clone to a run"
        finally:
            record.say("")
            for why in record.failed:
                record.say(f"FAILED: {why}")
            record.say("README failed a new user" if record.failed else verdict)
            RECORD.write_text("".join(f"{line}\n" for line in record.lines))
            print(RECORD)
    return int(bool(record.failed))


def play(record: Record, again: bool) -> None:
    """Plays all steps, and stops at the first that fails: the next ones build on it."""
    commit = clone.git("rev-parse", "--short=12", "HEAD").strip()
    readme = clone.git("show", "HEAD:README.md")
    now = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    record.say(f"README of commit {commit}, played in fresh systems on {now}")
    if clone.git("status", "--porcelain", "--untracked-files=no"):
        record.say("Changes that are not committed are left out.")
    steps = steps_of(readme)
    for fault in strangers(readme):
        record.fail(fault)
    if record.failed:
        return
    packages = packages_of(readme)
    record.say(f"{BUILDER}: {' '.join(packages)}, and a Rust toolchain")
    record.say(f"{LOGIN_NODE}: {' '.join(OF_THE_LOGIN_NODE)}\n")
    builder = Root(WORKSHOP / BUILDER, BUILDER, rust=True)
    login_node = Root(WORKSHOP / LOGIN_NODE, LOGIN_NODE)
    _make(builder, packages, again)
    _make(login_node, OF_THE_LOGIN_NODE, again)
    _serve_clone(builder)
    of = {BUILDER: builder, LOGIN_NODE: login_node}
    shells: dict[str, Session] = {}
    with ExitStack() as opened:
        for step in steps:
            where = PLAYS[step.command].where
            if where not in shells:
                shells[where] = opened.enter_context(fresh_root.session(of[where]))
                if where == LOGIN_NODE and not _arrive(record, shells[where], readme, builder):
                    return
            if not _played(record, shells[where], step):
                return
        program = program_of(OF_THE_PACKAGE)
        record.step(LOGIN_NODE, program, shells[LOGIN_NODE].run(program.command, SOON_S), RUNS)


def steps_of(readme: str) -> list[Step]:
    """Returns the commands in README's blocks of `sh`, without their comments."""
    found = []
    for block, begin in _blocks(readme, "sh"):
        before = readme[:begin].rpartition("```")[0].rstrip()
        sentence = " ".join(before.split("\n\n")[-1].split())
        line = readme[:begin].count("\n") + 1
        for number, text in enumerate(block.splitlines()):
            command = re.split(r"(?:^|\s+)#", text)[0].strip()
            if command:
                found.append(Step(line + number, command, sentence))
    return found


def configurations_of(readme: str) -> dict[str, str]:
    """Returns Parsl configurations by the names of their modules, made from README's Python: an
    executor for Parsl's `Config`, and an import with such an executor in its comment.

    Raises:
        ValueError: README has other Python, which nobody would play.
    """
    found = {}
    for block, _ in _blocks(readme, "python"):
        code, _, comment = block.strip().partition("  # ")
        if code.startswith("HighThroughputExecutor(") and "interchange_launch_cmd" in code:
            imported = "from parsl.executors import HighThroughputExecutor"
            name, executor = CONFIGURATION, code
        elif code.startswith("from htex_interchange import ") and "(..., " in comment:
            name, imported, executor = OF_THE_PACKAGE, code, comment.replace("(..., ", "(")
        else:
            raise ValueError(f"README says `{code.splitlines()[0]}`, and nobody plays it")
        lines = [
            "from parsl import Config",
            imported,
            "",
            f"config = Config(executors=[{executor}])",
        ]
        found[name] = "".join(f"{line}\n" for line in lines)
    return found


def program_of(module: str, *files: str) -> Step:
    """Returns the run of the user's program with a configuration of README's."""
    words = ["python", PROGRAM.name, module, *files]
    return Step(0, " ".join(words), f"the Python that makes {module}.py")


def packages_of(readme: str) -> list[str]:
    """Returns the packages of Debian that README names for a build."""
    found = re.search(r"Debian's packages: `([^`]+)`", _unwrapped(readme))
    return found[1].split() if found else []


def strangers(readme: str) -> list[str]:
    """Returns where README and what is played here differ."""
    commands = [step.command for step in steps_of(readme)]
    faults = [
        f"README says `{command}`, and nobody plays it: PLAYS in newcomer.py has no such command"
        for command in commands
        if command not in PLAYS
    ]
    faults += [
        f"README no longer says `{command}`, which PLAYS in newcomer.py has"
        for command in PLAYS
        if command not in commands
    ]
    faults += [
        f"README no longer says '{sentence}', so a new user does not know that this is needed: "
        f"{command}"
        for sentence, command in GRANTED.items()
        if sentence not in _unwrapped(readme)
    ]
    if not packages_of(readme):
        faults.append("README names none of Debian's packages that a build needs")
    try:
        missing = {CONFIGURATION, OF_THE_PACKAGE} - configurations_of(readme).keys()
        faults += [f"README has no Python for {name}.py" for name in sorted(missing)]
    except ValueError as stranger:
        faults.append(str(stranger))
    return faults


def explanation(step: Step, ended: Ended, shows: str) -> str:
    """Returns what README lacks, as far as the output of a failed step shows it. A program that
    is broken fails a new user, too, and README is not to blame."""
    lacks = "it does not say what this command needs, or the program is wrong; see its output above"
    for shown, what in (
        (r"Remedy: (.+)", "it does not say: {}"),
        (r"(\S+): (?:command )?not found", "it does not say what brings `{}`"),
        (r"No module named '?([\w.]+)", "it does not say what brings Python's module `{}`"),
    ):
        seen = re.search(shown, ended.output)
        if seen:
            lacks = what.format(seen[1])
            break
    else:
        if ended.code == 0:
            lacks = f"it promises something else than the output, which lacks /{shows}/"
    place = f"README.md:{step.line}" if step.line else "README.md"
    return f"{place}: `{step.command}`, after '{step.sentence}': {lacks}"


def _blocks(readme: str, language: str) -> Iterator[tuple[str, int]]:
    """Yields each block of code in `language`, and where it begins."""
    for found in re.finditer(rf"^```{language}\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL):
        yield found[1], found.start(1)


def _unwrapped(text: str) -> str:
    return " ".join(text.split())


def _make(root: Root, packages: list[str], again: bool) -> None:
    """Makes a system, or empties the home of one that is there and keeps what REUSED names."""
    if not (again and root.place.exists()):
        fresh_root.make(root, packages, WORKSHOP / "tools")
        return
    kept = root.place / "var" / "kept"
    for name in REUSED:
        if (root.home / name).exists() and not (kept / name).exists():
            (kept / name).parent.mkdir(parents=True, exist_ok=True)
            (root.home / name).rename(kept / name)
    fresh_root.prepare(root)


def _serve_clone(root: Root) -> None:
    """Makes the last commit what `git clone` gets in the builder from README's address, in the way
    in which a site names a mirror to git."""
    server = root.place / SERVER
    fresh_root.remove(server)
    clone.git("clone", "--quiet", "--bare", "--no-hardlinks", str(PROJECT), str(server))
    # git refuses a repository of another user.
    root.own(server)
    mirror = f'[url "/{SERVER}"]\n\tinsteadOf = {sdist.repository()}\n'
    root.write(root.place / "etc" / "gitconfig", mirror)


def _arrive(record: Record, shell: Session, readme: str, builder: Root) -> bool:
    """Puts on the login node what README takes for granted: the wheel that was copied, Parsl, and
    the user's own program. Returns whether that worked."""
    home = shell.root.home
    for wheel in (builder.home / CLONE / "target" / "wheels").glob("*.whl"):
        shutil.copy(wheel, home)
        record.say(f"copied  {LOGIN_NODE:10}  {wheel.name}")
    shutil.copy(PROGRAM, home)
    for name, text in configurations_of(readme).items():
        shell.root.write(home / f"{name}.py", text)
        record.say(f"written {LOGIN_NODE:10}  {name}.py")
        for line in text.splitlines():
            record.say(f"        | {line}")
    shell.root.own(home)
    return all(
        record.step(LOGIN_NODE, Step(0, command, sentence), shell.run(command, SOON_S))
        for sentence, command in GRANTED.items()
    )


def _played(record: Record, shell: Session, step: Step) -> bool:
    """Plays one command of README, beside a run if it needs one; returns whether it worked."""
    how = PLAYS[step.command]
    if how.left_to:
        record.say(f"left    {how.where:10}  README.md:{step.line:<3}  {how.left_to}")
        record.say(f"        $ {step.command}")
        return True
    if not how.during_a_run:
        right = record.step(how.where, step, shell.run(step.command, how.limit_s), how.shows)
        _reuse(shell.root, step)
        return right
    runs, enough = shell.root.home / "runs", shell.root.home / "enough"
    program = program_of(CONFIGURATION, "runs", "enough")
    with shell.beside(program.command, runs, SOON_S) as ended:
        right = record.step(how.where, step, shell.run(step.command, how.limit_s), how.shows)
        enough.touch()
    return record.step(how.where, program, ended[0], RUNS) and right


def _reuse(root: Root, step: Step) -> None:
    """Puts back what an earlier run kept, once there is a clone again."""
    kept = root.place / "var" / "kept"
    for name in REUSED if step.command == f"cd {CLONE}" else ():
        if (kept / name).exists():
            fresh_root.remove(root.home / name)
            (kept / name).rename(root.home / name)
