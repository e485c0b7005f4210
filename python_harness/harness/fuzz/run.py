"""The command `fuzz`: runs the targets of tests/fuzz, one after another, each for some seconds.

It needs a nightly compiler. New inputs stay in `target/fuzz/corpus`, where the next run continues.
`--keep` minimises them into tests/fuzz/corpus, which is committed. A finding is reported with its
input's path: fix the bug, and move the input below tests/fuzz/found, so that `cargo test` runs it
from then on.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from harness.machine import runner
from harness.setup import cargo_tools, environment

PROJECT = environment.PROJECT_DIR
FUZZ_DIR = PROJECT / "tests" / "fuzz"
BUILD_DIR = PROJECT / "target" / "fuzz"
CARGO_FUZZ = "0.13.2"

# Initial inputs of every target, in addition to the target's corpus.
SEEDS = [FUZZ_DIR / "seeds", FUZZ_DIR / "found", PROJECT / "tests" / "pickle" / "golden"]

MEMORY_MB = 1024
# Maximum length of an input. Frames of this length can have every shape; longer ones are only
# slower.
INPUT_BYTES_MAX = 4096
# Time limits for one input; `ORACLE_S` limits CPython's answer to each question.
SLOW_S = {"against_cpython": 30}
SLOW_OTHERS_S = 5
ORACLE_S = "1"

DONE = re.compile(r"^#(\d+)\s+DONE\s+(.*)$")
SHOWN_LINES = 20


@dataclass
class Outcome:
    target: str
    code: int
    lines: list[str]

    @property
    def final(self) -> str:
        """The number of executions and the coverage."""
        done = [match for line in self.lines if (match := DONE.match(line))]
        return f"{done[-1][1]} executions, {' '.join(done[-1][2].split())}" if done else ""

    @property
    def finding(self) -> str:
        """The first lines of the error, and the path of its input."""
        begin = [n for n, line in enumerate(self.lines) if "panicked" in line or "ERROR" in line]
        about = self.lines[begin[0] :][:SHOWN_LINES] if begin else self.lines[-SHOWN_LINES:]
        return "\n".join([*about, *(line for line in self.lines if "Test unit" in line)])


def targets() -> list[str]:
    """Returns the targets in the order of the manifest."""
    manifest = (FUZZ_DIR / "Cargo.toml").read_text()
    return re.findall(r'\[\[bin\]\]\nname = "(\w+)"', manifest)


def run(options) -> int:
    """Runs the command; returns 0 if nothing was found."""
    if options.seeds:
        from harness.fuzz import seeds

        environment.require_binary()
        seeds.make()
        return 0
    unknown = set(options.targets) - set(targets())
    if unknown:
        known = ", ".join(targets())
        print(f"no target {', '.join(sorted(unknown))}; there are {known}", file=sys.stderr)
        return 2
    build()
    outcomes = []
    for target in options.targets or targets():
        outcome = fuzz(target, options.seconds)
        outcomes.append(outcome)
        verdict = "FOUND" if outcome.code else "ok"
        print(f"{verdict:6} {target:16} {outcome.final}", flush=True)
        if outcome.code:
            print(outcome.finding, flush=True)
        elif options.keep:
            keep(target)
    found = [outcome.target for outcome in outcomes if outcome.code]
    print(f"fuzz: {len(outcomes)} targets, findings in: {', '.join(found) or 'none'}")
    return 1 if found else 0


def build() -> None:
    """Builds all targets."""
    cargo = environment.cargo()
    if runner.run([cargo, "+nightly", "--version"], capture_stdout=True).code != 0:
        raise environment.Unprepared(
            "fuzzing needs a nightly compiler. Remedy: rustup toolchain install nightly",
            environment.EXIT_ENVIRONMENT,
        )
    environment.check_compilers()
    tools = cargo_tools.folder("cargo-fuzz", CARGO_FUZZ)
    env = os.environ | {"PATH": cargo_tools.path_with(tools)}
    command = [cargo, "+nightly", "fuzz", "build", "--fuzz-dir", str(FUZZ_DIR)]
    # The fuzzed code contains no `unsafe`, and runs twice as fast without a sanitizer.
    command += ["--target-dir", str(BUILD_DIR), "--sanitizer", "none"]
    _built(runner.run(command, cwd=PROJECT, env=env).code, "cargo fuzz build")


def _built(code: int, what: str) -> None:
    if code:
        reason = f"{what} failed (exit {code}); see the output above."
        raise environment.Unprepared(reason, environment.EXIT_BUILD)


def fuzz(target: str, seconds: int) -> Outcome:
    """Runs one target for `seconds`, or until a finding."""
    grown, artifacts = BUILD_DIR / "corpus" / target, BUILD_DIR / "artifacts" / target
    places = [grown, FUZZ_DIR / "corpus" / target, *SEEDS]
    for place in (grown, artifacts):
        place.mkdir(parents=True, exist_ok=True)
    limits = [f"-max_total_time={seconds}", f"-artifact_prefix={artifacts}/"]
    return _fuzzer(target, [*limits, *(str(place) for place in places if place.is_dir())])


def keep(target: str) -> None:
    """Replaces the committed corpus by a minimal set of inputs with the same coverage. Hit counts
    are ignored, because they would require ten times as many inputs."""
    committed = FUZZ_DIR / "corpus" / target
    places = [BUILD_DIR / "corpus" / target, committed, *SEEDS]
    with tempfile.TemporaryDirectory(dir=BUILD_DIR) as folder:
        merge = ["-merge=1", "-set_cover_merge=1", "-use_counters=0", folder]
        outcome = _fuzzer(target, [*merge, *(str(place) for place in places if place.is_dir())])
        if outcome.code:
            raise RuntimeError(outcome.finding)
        shutil.rmtree(committed, ignore_errors=True)
        committed.mkdir(parents=True)
        begun_with = {path.read_bytes() for place in SEEDS for path in place.glob("*")}
        for path in Path(folder).iterdir():
            if path.read_bytes() not in begun_with:
                shutil.copyfile(path, committed / path.name)


def _fuzzer(target: str, arguments: list[str]) -> Outcome:
    (binary,) = BUILD_DIR.glob(f"*/release/{target}")
    slow_s = SLOW_S.get(target, SLOW_OTHERS_S)
    limits = [f"-rss_limit_mb={MEMORY_MB}", f"-timeout={slow_s}", f"-max_len={INPUT_BYTES_MAX}"]
    env = dict(os.environ, HTEX_TEST_PYTHON=sys.executable, HTEX_TEST_ORACLE_S=ORACLE_S)
    lines: list[str] = []
    # Merges stderr, to which the fuzzer writes, into stdout.
    joined = ["/bin/sh", "-c", 'exec "$@" 2>&1', "sh", str(binary)]
    result = runner.run([*joined, *limits, *arguments], cwd=PROJECT, env=env, on_line=lines.append)
    return Outcome(target, result.code, lines)
