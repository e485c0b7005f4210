"""Small environments on top of others; their own packages take precedence over those below."""

from __future__ import annotations

import subprocess
from pathlib import Path


def site_packages(environment: Path) -> Path:
    """Returns the folder of a virtual environment's packages."""
    (found,) = (environment / "lib").glob("python3.*/site-packages")
    return found


def bare(python: Path | str, place: Path) -> Path:
    """Makes a virtual environment of `python` without packages. Returns the folder for its
    packages."""
    subprocess.run([python, "-m", "venv", "--without-pip", place], check=True)
    return site_packages(place)


def on_top(python: Path | str, place: Path, below: Path, pth: str = "below.pth") -> Path:
    """Makes an environment as `bare` does, and adds the packages in the folder `below`; the file
    `pth` in its package folder names that folder."""
    packages = bare(python, place)
    (packages / pth).write_text(f"{below}\n")
    return packages
