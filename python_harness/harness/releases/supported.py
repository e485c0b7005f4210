"""The supported releases of Parsl, each in its own virtual environment.

`WINDOW` holds one release per edge of the protocol: the first or the last that speaks a dialect. An
environment is created at its first use (`target/harness/releases/<release>`) and kept. Releases are
named as on PyPI. This module uses only the standard library: it imports no Parsl, and programs run
under the release's Python.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.releases import origin, written
from harness.releases.origin import Origin
from harness.setup import environment, layer

RELEASES_DIR = environment.BUILD_DIR / "releases"
REQUIREMENTS = environment.HARNESS_DIR / "requirements-releases.txt"

# The environment variable by which `window` makes another release the newest, to test that release.
NEXT_VARIABLE = "HTEX_TEST_NEXT_RELEASE"
NEXT = os.environ.get(NEXT_VARIABLE)

NEWEST = NEXT or written.newest()

# What begins or ends with each release; the letters of the protocol's dialects in brackets.
WINDOW = {
    "2025.6.30": "[C] the first with one socket for managers; managers never probe",
    "2025.7.7": "[C] managers probe before they register",
    "2025.9.29": "[D] a task has a context; _check_python_mismatch exists",
    "2026.1.5": "[D] exceptions only in dill's serialization; the last that is plain by default",
    "2026.5.18": "[D] log_config; the unchecked mismatch covers Parsl too",
    "2026.7.20": "[D] the last that holds with the words HOLD_WORKER;id",
    "2026.7.27": "[E] HOLD_MANAGER; the last with a plain hub",
    "2026.8.10": "[F] the hub is encrypted",
    "2026.9.28": "[F] the last whose results come behind a marker frame",
    "2026.10.5": "[G] one frame per result",
    written.newest(): "[H] managers report their drain time",
    **({NEXT: "the intended end of the window"} if NEXT else {}),
}
BEFORE_NEWEST = list(WINDOW)[-2]

# The oldest release. A short run tests only this release and the newest, which differ the most.
OLDEST = next(iter(WINDOW))

# A release from the last period in which managers used two sockets; refused, with a reason.
TOO_OLD = "2025.6.2"


class ProgramFailed(AssertionError):
    """The program printed no report; the exception's text is the program's output."""


@dataclass(frozen=True)
class Release:
    """One installed release; `release(name)` creates it."""

    origin: Origin

    @property
    def name(self) -> str:
        return self.origin.label

    @property
    def place(self) -> Path:
        return RELEASES_DIR / self.origin.folder

    @property
    def python(self) -> Path:
        return self.place / "bin" / "python"

    @cached_property
    def package(self) -> Path:
        """The directory of the release's package `parsl`."""
        return layer.site_packages(self.place) / "parsl"

    @property
    def version(self) -> tuple[int, ...]:
        return written.numbers(self.origin.version)

    def child_environment(self, *first_in_path: Path) -> dict[str, str]:
        """Returns the environment variables for the release's programs: its own scripts come first
        in PATH, and the harness's virtual environment is left out."""
        env = dict(os.environ)
        own = str(environment.VENV_BIN)
        inherited = [part for part in env.get("PATH", os.defpath).split(os.pathsep) if part != own]
        places = [*map(str, first_in_path), str(self.place / "bin"), *inherited]
        env["PATH"] = os.pathsep.join(places)
        env["PYTHONPATH"] = str(environment.HARNESS_DIR)
        env["VIRTUAL_ENV"] = str(self.place)
        env["PYTHONUNBUFFERED"] = "1"
        return env

    def report_of(
        self, program: str, request: Mapping[str, Any], cwd: Path, timeout_s: float = 120
    ) -> dict[str, Any]:
        """Runs a program (a module of `harness.releases`) under this release and returns the report
        in the last line of its output.

        Raises:
            ProgramFailed: there is no report; the text says how the program ended.
        """
        try:
            told = subprocess.run(
                [str(self.python), "-m", program, json.dumps(request)],
                cwd=cwd,
                env=self.child_environment(),
                capture_output=True,
                text=True,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired as late:
            raise ProgramFailed(f"no report in {timeout_s} s: {str(late.stderr)[-3000:]}") from None
        lines = told.stdout.splitlines()
        if told.returncode != 0 or not lines:
            raise ProgramFailed(f"exit {told.returncode}\n{told.stderr[-3000:]}")
        report: dict[str, Any] = json.loads(lines[-1])
        return report


def release(name: str) -> Release:
    """Returns a release, and first creates its environment if that is missing. An environment made
    from a path is made again whenever the files there change.

    Raises:
        environment.Unprepared: the release cannot be installed.
    """
    wanted = Release(origin.parse(name))
    inputs = REQUIREMENTS.read_text() + wanted.origin.inputs()
    try:
        with wanted.origin.requirement() as pinned:
            requirements = ["--requirement", str(REQUIREMENTS), pinned]
            environment.prepare_venv(wanted.place, requirements, inputs)
    except environment.Unprepared:
        shutil.rmtree(wanted.place, ignore_errors=True)
        raise environment.Unprepared(
            f"Parsl {wanted.name} cannot be installed; see the output above. Remedy: `pip "
            "index versions parsl` lists the releases of an index; give pip access to one (pip "
            f"config, PIP_INDEX_URL, a proxy). If it conflicts with a pin, {REQUIREMENTS.name} "
            "has them.",
            environment.EXIT_ENVIRONMENT,
        ) from None
    return wanted
