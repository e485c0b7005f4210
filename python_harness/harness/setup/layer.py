"""Small environments on top of others: what they hold themselves goes before what lies below."""

from __future__ import annotations

import subprocess
from pathlib import Path


def site_packages(environment: Path) -> Path:
    """Where the packages of a virtual environment are."""
    (found,) = (environment / "lib").glob("python3.*/site-packages")
    return found


def bare(python: Path | str, place: Path) -> Path:
    """A virtual environment of `python` without any package. Returns where its own will be."""
    subprocess.run([python, "-m", "venv", "--without-pip", place], check=True)
    return site_packages(place)


def on_top(python: Path | str, place: Path, below: Path, pth: str = "below.pth") -> Path:
    """As `bare`, with the packages in `below`, that are read by a file of the name `pth`."""
    packages = bare(python, place)
    (packages / pth).write_text(f"{below}\n")
    return packages
