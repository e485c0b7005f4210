"""What git says of the clone that is published."""

from __future__ import annotations

import subprocess

from harness.setup import environment


def git(*words: str) -> str:
    """Returns the output of a git command.

    Raises:
        Unprepared: it failed, as outside of a clone.
    """
    told = subprocess.run(
        ["git", *words], cwd=environment.PROJECT_DIR, capture_output=True, text=True
    )
    if told.returncode != 0:
        raise environment.Unprepared(
            f"`git {words[0]}` failed: {told.stderr.strip()}. Remedy: run this in a git clone.",
            environment.EXIT_ENVIRONMENT,
        )
    return told.stdout
