"""The harness's command line: its commands, what each needs prepared, and the exit codes.

0 success; 1 a test, a check or a comparison failed; 2 wrong usage; 3 the machine lacks something
(the message names the remedy); 4 the build failed; 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys

from harness.bench.cases import CASES
from harness.machine import processes, runner
from harness.publish import toolchain
from harness.setup import environment

PROGRAM = "python3 python_harness"

EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

Commands = argparse._SubParsersAction


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["report"]:
        from htex_interchange.report.command import main as report

        # `report` needs no environment. Here a report without events counts as a wrong argument.
        return EXIT_USAGE if report(arguments[1:], f"{PROGRAM} report") else 0
    options, extra = _parse(arguments)
    processes.become_subreaper()
    runner.install_signal_handlers()
    try:
        if not environment.inside_venv():
            if options.command not in WITHOUT_TOOLCHAIN:
                environment.check_toolchain()
            environment.ensure_venv()
            environment.enter_venv(arguments)
        os.environ.update(environment.child_environment())
        return _dispatch(options, extra)
    except environment.Unprepared as reason:
        print(f"htex-interchange harness: {reason}", file=sys.stderr)
        return reason.exit_code
    except KeyboardInterrupt:
        print("\nhtex-interchange harness: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    finally:
        processes.end_descendants()


# Commands whose `run` receives the binary and the options, with their modules.
ON_THE_BINARY = {
    "cpu": "harness.measure.cpu",
    "demo": "harness.demo.run",
    "parsl-tests": "harness.parsl_suite.run",
    "perf": "harness.measure.perf",
    "window": "harness.suite.window",
}
# Commands that need no binary or build their own, with their modules.
BY_THEMSELVES = {
    "archive": "harness.publish.archive",
    "bench": "harness.bench.run",
    "conformance": "harness.conformance.run",
    "fuzz": "harness.fuzz.run",
    "licences": "harness.publish.licences",
    "newcomer": "harness.publish.newcomer",
    "recipes": "harness.publish.recipes",
    "release": "harness.publish.release",
    "sdist": "harness.publish.sdist",
    "wheel": "harness.publish.wheel",
}
# Commands that build nothing.
WITHOUT_TOOLCHAIN = ("env", "conformance")


def _dispatch(options: argparse.Namespace, extra: list[str]) -> int:
    """Runs the command. Each command is imported only here, because it needs the environment's
    packages."""
    if options.command == "test":
        from harness.suite import run as suite

        return suite.run(options, extra)
    if options.command == "env":
        print(environment.VENV_BIN / "python")
        return 0
    if options.command in BY_THEMSELVES:
        return importlib.import_module(BY_THEMSELVES[options.command]).run(options)
    ours = environment.require_binary()
    return importlib.import_module(ON_THE_BINARY[options.command]).run(ours, options)


def _parse(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Demo, tests and measurements of htex-interchange. The first run makes a "
        "virtual environment in target/harness and builds the binary.",
        epilog="HTEX_INTERCHANGE_BIN names another binary than target/release/htex-interchange.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="run a real workflow with the binary")
    demo.add_argument(
        "--tasks", type=int, default=1000, help="number of simulations (default 1000)"
    )

    _add_tests(commands)
    _add_measurements(commands)

    _add_conformance(commands)

    # Only makes the command appear in the list of commands: `main` handles it before parsing.
    commands.add_parser("report", help="make an HTML page with charts of a run, from its events")

    _add_publishing(commands)

    commands.add_parser("env", help="only make the environment, and print the path of its Python")

    words: list[str] = []
    if arguments[:1] == ["conformance"] and "--" in arguments:
        # Everything after `--` is another program's command line and must not be parsed.
        begin = arguments.index("--")
        arguments, words = arguments[:begin], arguments[begin + 1 :]
    options, extra = parser.parse_known_args(arguments)
    options.words = words
    if extra and options.command != "test":
        parser.error(f"unrecognized arguments: {' '.join(extra)}")
    return options, extra


def _add_tests(commands: Commands) -> None:
    test = commands.add_parser("test", help="run all tests and checks; other options go to pytest")
    how_much = test.add_mutually_exclusive_group()
    how_much.add_argument("--long", action="store_true", help="also the tests marked `long`")
    how_much.add_argument(
        "--quick", action="store_true", help="the most sensitive tests, 3 minutes"
    )
    test.add_argument(
        "--only",
        action="append",
        choices=["fmt", "ruff", "mypy", "clippy", "deny", "cargo", "build", "pytest"],
        help="run only this stage (repeatable)",
    )

    parsl = commands.add_parser(
        "parsl-tests", help="run Parsl's own tests with stock and with ours"
    )
    parsl.add_argument(
        "releases",
        nargs="*",
        metavar="RELEASE",
        help="a release, or the path of a source tree or a wheel (default: the newest supported)",
    )
    parsl.add_argument("--quick", action="store_true", help="run about a minute of them")

    window = commands.add_parser("window", help="make a newer Parsl the newest supported one")
    window.add_argument(
        "release", metavar="RELEASE", help="its version, as Parsl or PyPI writes it"
    )
    window.add_argument("--check", action="store_true", help="test it and change nothing")

    fuzz = commands.add_parser("fuzz", help="fuzz the parsers of messages with LLVM's fuzzer")
    fuzz.add_argument(
        "targets", nargs="*", metavar="TARGET", help="default: all, one after another"
    )
    fuzz.add_argument(
        "--seconds", type=int, default=60, help="seconds for each target (default 60)"
    )
    fuzz.add_argument("--keep", action="store_true", help="minimise the new inputs into tests/fuzz")
    fuzz.add_argument("--seeds", action="store_true", help="only record tests/fuzz/seeds again")


def _add_publishing(commands: Commands) -> None:
    for name, what, folder in (
        ("wheel", "the wheel that pip installs, for old clusters too", "target/wheels"),
        ("archive", "a static binary for any Linux, with its manual page", "target/archives"),
    ):
        built = commands.add_parser(name, help=f"build {what}")
        built.add_argument(
            "--out", metavar="DIR", help=f"directory of the {name} (default: {folder})"
        )
        built.add_argument(
            "--target",
            default="x86_64",
            choices=list(toolchain.TARGETS),
            help=f"machine that the {name} is for (default: x86_64)",
        )

    sdist = commands.add_parser("sdist", help="make the source archive, to build a wheel from")
    sdist.add_argument(
        "--out", metavar="DIR", help="directory of the archive (default: target/sdist)"
    )

    commands.add_parser("licences", help="write the licences of what is inside into one file")

    newcomer = commands.add_parser("newcomer", help="play README as a new user; needs root")
    newcomer.add_argument("--again", action="store_true", help="keep what the last run built")

    recipes = commands.add_parser("recipes", help="lint and build the recipes in packaging/")
    recipes.add_argument("--lint-only", action="store_true", help="build nothing")

    release = commands.add_parser("release", help="make and check all files of a release")
    release.add_argument("--dry-run", action="store_true", help="publish nothing; required")
    release.add_argument("--without-tests", action="store_true", help="do not run `test --long`")
    release.add_argument(
        "--out", metavar="DIR", help="directory of the files (default: target/release-files)"
    )


def _add_conformance(commands: Commands) -> None:
    conformance = commands.add_parser(
        "conformance",
        help="test any interchange command against the protocol's rules",
        usage=f"{PROGRAM} conformance [options] -- COMMAND ...",
        description="Shows which rules of guide/protocol the interchange that COMMAND starts "
        "keeps, which it breaks, and which cannot be tested. Exits with 1 if it breaks any.",
    )
    conformance.add_argument(
        "--release", metavar="R", help="release whose dialect the peers use (default: the newest)"
    )
    conformance.add_argument(
        "--json", action="store_true", help="print one JSON document instead of lines"
    )
    conformance.add_argument(
        "--rule",
        action="append",
        default=[],
        metavar="NUMBER",
        help="test only this rule, such as P-1.4.2 (repeatable)",
    )
    conformance.add_argument(
        "--vectors",
        metavar="DIR",
        help="write the frames of the protocol page there; COMMAND is optional",
    )


# Tasks are numbered with 31 bits, and no machine does 100,000 a second for longer.
HOURS_MAX = 5.0


def _hours(text: str) -> float:
    hours = float(text)
    if not 0 < hours < HOURS_MAX:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and {HOURS_MAX:.0f} hours")
    return hours


def _add_measurements(commands: Commands) -> None:
    perf = commands.add_parser("perf", help="run parsl-perf with stock and with ours")
    perf.add_argument("--pairs", type=int, default=3, help="runs of each (default 3)")
    perf.add_argument("--tasks", type=int, default=3000, help="tasks of a run (default 3000)")
    perf.add_argument("--workers", type=int, default=2, help="workers of the manager (default 2)")
    perf.add_argument(
        "--sequential", type=int, default=500, help="number of tasks run one after another"
    )
    perf.add_argument("--argsize", type=int, default=0, help="extra bytes in each argument")
    perf.add_argument("--plain", action="store_true", help="encrypted=False")

    cpu = commands.add_parser(
        "cpu", help="measure CPU, memory and start-up time of the interchange process"
    )
    cpu.add_argument("--tasks", type=int, default=20000, help="tasks of a run (default 20000)")
    cpu.add_argument("--pairs", type=int, default=3, help="runs of each (default 3)")
    cpu.add_argument("--managers", type=int, default=4)
    cpu.add_argument("--slots", type=int, default=16, help="workers of a manager (default 16)")
    cpu.add_argument("--bytes", type=int, default=1024, help="size of a task's buffer")
    cpu.add_argument(
        "--window", type=int, default=0, help="limit of outstanding tasks (0: no limit)"
    )
    cpu.add_argument("--idle", type=float, default=10.0, help="seconds of each idle measurement")
    cpu.add_argument("--starts", type=int, default=10, help="number of launches to time")

    bench = commands.add_parser(
        "bench", help="measure stock, ours and the floor with a compiled load program"
    )
    cases = [case.name for case in CASES]
    bench.add_argument(
        "--scenario",
        action="append",
        choices=cases,
        metavar="NAME",
        help=f"measure only this one (repeatable): {', '.join(cases)}",
    )
    bench.add_argument(
        "--soak",
        type=_hours,
        metavar="HOURS",
        help="only this: tasks through managers that come and go, for so long; 1 if anything grows "
        "(as 0.5; results in target/harness/bench/soak.json and soak.png)",
    )
    bench.add_argument("--rounds", type=int, help="runs of each (default 3, with --quick 1)")
    bench.add_argument("--quick", action="store_true", help="small sizes, about two minutes in all")
    bench.add_argument(
        "--goals", action="store_true", help="show which goals are reached; exit 1 if not all"
    )
    bench.add_argument(
        "--json", metavar="FILE", help="file of results (target/harness/bench/results.json)"
    )
    bench.add_argument(
        "--picture", metavar="FILE", help="PNG file (target/harness/bench/bench.png)"
    )
    bench.add_argument(
        "--with",
        action="append",
        default=[],
        dest="ours_options",
        metavar="OPTION",
        help="an option for htex-interchange, such as --with=--io-threads=2 (repeatable)",
    )
    bench.add_argument("--stored", action="store_true", help="only show the results in --json")
    bench.add_argument(
        "--self-check",
        action="store_true",
        help="only test that the load program detects the faults of a deliberately wrong floor",
    )
