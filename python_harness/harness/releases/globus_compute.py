"""The tested releases of Globus Compute, each in its own virtual environment."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness.releases import written
from harness.setup import environment, layer

PLACES = environment.BUILD_DIR / "globus-compute"
COMMAND = "globus-compute-endpoint"

# Releases of Globus Compute, each with the Parsl installed beside it. The first two require exactly
# this Parsl; the last requires Parsl of July 2026 or later.
RELEASES = {"4.0.0": "2025.9.15", "4.10.2": "2026.4.20", "4.19.0": written.newest()}


@dataclass(frozen=True)
class GlobusCompute:
    """One installed release of Globus Compute; `globus_compute(name)` creates it."""

    name: str
    place: Path

    @property
    def scripts(self) -> Path:
        return self.place / "bin"

    @property
    def python(self) -> Path:
        return self.scripts / "python"

    @property
    def parsl(self) -> str:
        return RELEASES[self.name]

    def packages(self) -> Path:
        return layer.site_packages(self.place)

    def on_top(self, place: Path) -> GlobusCompute:
        """Returns the same release in an environment of the test's own, which the test may
        change."""
        layer.on_top(self.python, place, self.packages())
        made = GlobusCompute(self.name, place)
        script = (self.scripts / COMMAND).read_text()
        (made.scripts / COMMAND).write_text(script.replace(str(self.scripts), str(made.scripts)))
        (made.scripts / COMMAND).chmod(0o755)
        return made

    def child_environment(self, home: Path, *first_in_path: Path) -> dict[str, str]:
        """Returns the environment variables for its programs: a separate home, its own scripts
        first in PATH, and nothing of the harness's environment."""
        own = str(environment.VENV_BIN)
        inherited = [part for part in os.environ["PATH"].split(os.pathsep) if part != own]
        places = [*map(str, first_in_path), str(self.scripts), *inherited]
        env = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
        env["PATH"] = os.pathsep.join(places)
        env["PYTHONPATH"] = str(environment.HARNESS_DIR)
        env["HOME"] = str(home)
        return env

    def configure(self, home: Path, name: str) -> Path:
        """Creates an endpoint with the release's own command, and returns the endpoint's
        directory."""
        # The tests may run as root, for whom the command would create a multi-user endpoint.
        subprocess.run(
            [self.scripts / COMMAND, "configure", "--multi-user", "false", name],
            env=self.child_environment(home),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=60,
        )
        return home / ".globus_compute" / name


def globus_compute(name: str) -> GlobusCompute:
    """Returns the release, and first installs its some eighty packages if they are missing."""
    wanted = GlobusCompute(name, PLACES / name)
    pinned = [f"globus-compute-endpoint=={name}", f"parsl=={RELEASES[name]}"]
    environment.prepare_venv(wanted.place, pinned, "\n".join(pinned))
    return wanted
