"""Makes unpublished releases of Parsl from a published one, for tests of future releases."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from harness.releases import written


def wheel(version: str, folder: Path) -> Path:
    """Returns the newest tested release as a wheel with the version `version`."""
    (real,) = _downloaded(folder / "real", "--only-binary=:all:")
    old, new = written.newest(), written.pypi_name(version)
    made = folder / f"parsl-{new}-py3-none-any.whl"
    record = []
    with zipfile.ZipFile(real) as source, zipfile.ZipFile(made, "w") as target:
        for file in source.infolist():
            name, data = file.filename, source.read(file)
            if name.endswith(".dist-info/RECORD"):
                continue
            if name.endswith(".dist-info/METADATA"):
                data = data.replace(f"\nVersion: {old}\n".encode(), f"\nVersion: {new}\n".encode())
            if name == "parsl/version.py":
                data = f"VERSION = '{written.padded(new)}'\n".encode()
            # Renames the entry itself, because a new entry would lose the file's permissions.
            file.filename = name = name.replace(f"parsl-{old}.", f"parsl-{new}.", 1)
            target.writestr(file, data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record.append(f"{name},sha256={digest},{len(data)}\n")
        name = f"parsl-{new}.dist-info/RECORD"
        target.writestr(name, "".join([*record, f"{name},,\n"]))
    return made


def tree(version: str, folder: Path) -> Path:
    """Returns the newest tested release's source tree with the version `version`."""
    (real,) = _downloaded(folder / "real", "--no-binary=:all:")
    with tarfile.open(real) as archive:
        archive.extractall(folder, filter="data")
    made = folder / real.name.removesuffix(".tar.gz")
    (made / "parsl" / "version.py").write_text(f"VERSION = '{written.padded(version)}'\n")
    return made


def _downloaded(folder: Path, kind: str) -> list[Path]:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", kind]
    subprocess.run([*command, "--dest", folder, f"parsl=={written.newest()}"], check=True)
    return list(folder.iterdir())
