"""Finds the command that starts the interchange."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path

from parsl.version import VERSION

BINARY_NAME = "htex-interchange"


def find_binary() -> str:
    """Returns the path of the binary: beside this Python's scripts (where pip puts it), then on
    PATH.

    Raises:
        FileNotFoundError: the binary is in none of these places; the text names them.
    """
    for folder in _script_folders():
        candidate = folder / BINARY_NAME
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return str(candidate)
    found = shutil.which(BINARY_NAME)
    if found:
        return found
    places = ", ".join(map(str, _script_folders()))
    raise FileNotFoundError(
        f"{BINARY_NAME} was not found in {places}, nor on PATH. Install it for this Python, put "
        "its folder on PATH, or name it: interchange_launch_cmd=['/path/to/htex-interchange']"
    )


def launch_command() -> list[str]:
    """Returns the command with the Python and Parsl versions of this process, so that the
    interchange does not have to guess them.

    Raises:
        FileNotFoundError: as `find_binary`.
    """
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return [find_binary(), "--python-version", python, "--parsl-version", VERSION]


def _script_folders() -> list[Path]:
    """Returns the folders of this environment's scripts, of the interpreter, and of the user's
    scripts, without duplicates."""
    folders = [
        sysconfig.get_path("scripts"),
        os.path.dirname(sys.executable),
        sysconfig.get_path("scripts", f"{os.name}_user"),
    ]
    return [Path(folder) for folder in dict.fromkeys(folders) if folder]
