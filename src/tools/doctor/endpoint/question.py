"""Tells `htex-interchange doctor` what an endpoint of Globus Compute is set up with.

Run by the Python of the endpoint's command, which reads the endpoint's files as the endpoint does:
one JSON document. Nothing of Globus Compute is imported, and nothing is started.
"""

import json
import os
import sys
from importlib import metadata


def version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def loaded(name):
    """What YAML has in a file of the endpoint; None if there is no such file, or nothing in it."""
    import yaml

    try:
        with open(os.path.join(sys.argv[1], name), encoding="utf-8") as file:
            return yaml.safe_load(file.read()) or None
    except FileNotFoundError:
        return None


def environment():
    """PATH as user endpoints get it, or why they get nothing of the file."""
    try:
        path = (loaded("user_environment.yaml") or {}).items()
        path = dict(path).get("PATH")
    except ImportError as error:
        return {"unread": str(error)}
    except Exception as error:
        return {"trouble": f"{type(error).__name__}: {error}"}
    return {"path": None if path is None else str(path).encode(errors="replace").decode()}


def has_engine():
    """Whether the endpoint is one that starts no user endpoints, as they were before these."""
    try:
        return "engine" in (loaded("config.yaml") or {})
    except Exception:
        return False


answer = {
    "python": ".".join(map(str, sys.version_info[:2])),
    "release": version("globus-compute-endpoint"),
    "parsl": version("parsl"),
    "scripts": os.path.dirname(sys.executable),
    "environment": environment(),
    "has_engine": has_engine(),
}
print(json.dumps(answer))
