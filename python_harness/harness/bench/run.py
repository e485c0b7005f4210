"""The command `bench`: compares stock, htex-interchange and the floor under a compiled load.

`benches/load` plays the submit side and the managers and checks every byte. `benches/floor`
replaces the interchange by the minimum that libzmq itself needs. In each scenario the three run in
turn, in alternating order, so that a machine that slows down favours none of them. Ratios are the
result; absolute figures vary with the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from parsl.version import VERSION as PARSL_VERSION

from harness.bench import build, faults, goals, picture, soak, table
from harness.bench.cases import CASES, Case
from harness.measure.compare import console
from harness.setup import environment

FOLDER = environment.BUILD_DIR / "bench"
JSON_FILE = FOLDER / "results.json"
PICTURE_FILE = FOLDER / "bench.png"
SOAK_JSON_FILE = FOLDER / "soak.json"
SOAK_PICTURE_FILE = FOLDER / "soak.png"

# Time limit far above the longest run; a load that hangs ends by its own limit long before.
RUN_TIMEOUT_S = 900

# One run of one contender: the load's figures, and the contender's name.
Run = dict[str, object]


def run(options: argparse.Namespace) -> int:
    if options.soak is not None:
        return _soak(options)
    json_file = Path(options.json or JSON_FILE)
    if options.stored:
        results = json.loads(json_file.read_text())
    else:
        tools = build.build()
        if options.self_check:
            return faults.run(tools, _versions())
        commands = {
            "stock": environment.stock_command(),
            "ours": [str(environment.require_binary()), *options.ours_options],
            "floor": [str(tools.floor)],
        }
        json_file.parent.mkdir(parents=True, exist_ok=True)
        results = {}
        # An interrupted load leaves its folder, which contains keys; this folder contains that one
        # and is removed.
        with tempfile.TemporaryDirectory(prefix="htex-interchange-bench-") as folder:
            os.environ["TMPDIR"] = folder
            for results in _measure(tools.load, commands, options):
                json_file.write_text(json.dumps(results, indent=1) + "\n")
    table.show(results)
    picture_file = Path(options.picture or PICTURE_FILE)
    picture_file.parent.mkdir(parents=True, exist_ok=True)
    if picture.draw(results, picture_file):
        console.print(f"picture: {_shown(picture_file)}")
    console.print(f"results: {_shown(json_file)}")
    if options.goals and not goals.show(results):
        return 1
    return 1 if results["failures"] else 0


def _soak(options: argparse.Namespace) -> int:
    json_file = Path(options.json or SOAK_JSON_FILE)
    picture_file = Path(options.picture or SOAK_PICTURE_FILE)
    for file in (json_file, picture_file):
        file.parent.mkdir(parents=True, exist_ok=True)
    if options.stored:
        return soak.show(json.loads(json_file.read_text()), picture_file)
    tools = build.build()
    ours = [str(environment.require_binary()), *options.ours_options]
    with tempfile.TemporaryDirectory(prefix="htex-interchange-soak-") as folder:
        os.environ["TMPDIR"] = folder
        load = [str(tools.load), *_versions()]
        return soak.run(load, ours, options.soak, json_file, picture_file)


def _shown(path: Path) -> Path:
    """Returns the path relative to the current directory if possible, as a user would type it."""
    try:
        return path.resolve().relative_to(Path.cwd())
    except ValueError:
        return path


def _measure(
    load: Path, commands: dict[str, list[str]], options: argparse.Namespace
) -> Iterator[dict]:
    """Yields the results so far after each case, because a user may interrupt a long series."""
    named = options.scenario
    cases = [case for case in CASES if (case.name in named if named else not case.only_by_name)]
    # A scenario named on the command line is run plain and encrypted, even with `--quick`.
    is_short = options.quick and not options.scenario
    if is_short:
        cases = [case for case in cases if case.in_quick]
    results = {
        "machine": _machine(),
        "quick": options.quick,
        "ours_options": options.ours_options,
        "not_run": {case.name: case.stock_note for case in cases if case.stock_note},
        "failures": [],
        "runs": [],
    }
    for number in range(options.rounds or (1 if options.quick else 3)):
        for case in cases:
            for encrypted in case.kinds(is_short):
                order = list(commands) if number % 2 == 0 else list(reversed(commands))
                for contender in order:
                    arguments = case.arguments(contender, encrypted, options.quick)
                    if arguments is None:
                        continue
                    command = [str(load), *_versions(), *arguments, "--", *commands[contender]]
                    one = {"case": case.name, "encrypted": encrypted, "contender": contender}
                    _add_run(case, one | {"round": number + 1}, command, results)
            results["medians"] = medians(results["runs"])
            results["rounds"] = number + 1
            yield results


def _add_run(case: Case, one: Run, command: list[str], results: dict) -> None:
    kind = "encrypted" if one["encrypted"] else "plain"
    title = f"{one['round']}. {case.name}, {kind}, {one['contender']}"
    begin = time.monotonic()
    figures = _run(command)
    if isinstance(figures, str):
        results["failures"].append(f"{title}: {figures}")
        console.print(f"  {title}: {figures}", style="red", markup=False, soft_wrap=True)
        return
    figures.pop("command")
    took_s = round(time.monotonic() - begin, 2)
    results["runs"].append(one | {"took_s": took_s, "figures": figures})
    console.print(f"  {title}: {case.gist(figures)}", soft_wrap=True)


def _run(command: list[str]) -> dict | str:
    """Returns the figures of one run, or the message that explains why there are none."""
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"it was still running after {RUN_TIMEOUT_S} s"
    if result.returncode != 0:
        lines = result.stderr.strip().splitlines() or [f"exit status {result.returncode}"]
        return lines[-1]
    return json.loads(result.stdout)


def medians(runs: list[Run]) -> dict:
    """Returns case -> "plain" or "encrypted" -> contender -> figure -> median over the rounds."""
    found: dict = {}
    for one in runs:
        kind = "encrypted" if one["encrypted"] else "plain"
        by_contender = found.setdefault(one["case"], {}).setdefault(kind, {})
        figures = by_contender.setdefault(one["contender"], {})
        for name, value in one["figures"].items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                figures.setdefault(name, []).append(value)
    for kinds in found.values():
        for contenders in kinds.values():
            for figures in contenders.values():
                for name, values in figures.items():
                    figures[name] = statistics.median(values)
    return found


def _versions() -> list[str]:
    """Returns the versions that managers report; the interchanges compare them with this
    environment's."""
    python = platform.python_version()
    return ["--parsl-version", PARSL_VERSION, "--python-version", python]


def _machine() -> dict:
    return {
        "processor": _processor(),
        "processors": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "parsl": PARSL_VERSION,
        "zmq_of_stock": _libzmq(),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _libzmq() -> str:
    import zmq

    return zmq.zmq_version()
