"""Variants of the newest release of Parsl that do not exist: one with a later version number, and
one whose executor receives values from the interchange instead of sending commands.

Each variant has its own environment, which holds the altered package and Parsl's two programs and
takes everything else from the release's environment. This module quotes Parsl's text only at the
places where it inserts or replaces code.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from harness.releases import supported
from harness.setup import layer

SCRIPTS = ("interchange.py", "process_worker_pool.py")
EXECUTOR = "executors/high_throughput/executor.py"
FUTURE = "2027.01.04"

# Insertions as on the branch of Parsl #4133: values are reported on the result channel, and a hold
# names a manager by bytes.
OBSERVING = [
    (
        '                else:\n                    raise BadMessage("Message received with un',
        """\
                elif msg['type'] == 'observation':
                    self.observed[msg['key']] = msg['value']
                elif msg['type'] == 'manager-observation':
                    self.observed_of.setdefault(msg['manager'], {})[msg['key']] = msg['value']
""",
    ),
    (
        "    def _hold_manager(self",
        """\
    def _await_observation(self, key):
        import time
        end = time.monotonic() + 60
        while key not in self.observed:
            assert time.monotonic() < end, f"no {key} was told"
            time.sleep(0.01)
        return self.observed[key]

""",
    ),
    (
        "        self.worker_port = worker_port\n",
        "        self.observed = {}\n        self.observed_of = {}\n",
    ),
]
INSTEAD = [
    (
        'self.command_client.run("WORKER_BINDS", timeout_s=120)',
        'self._await_observation("worker_port")',
    ),
    (
        'self.command_client.run("MANAGERS")',
        "[dict(told) for told in list(self.observed_of.values())]",
    ),
    (
        'self.command_client.run("MANAGERS_PACKAGES")',
        '{name.decode(): told["packages"] for name, told in list(self.observed_of.items())}',
    ),
    (
        'self.command_client.run("CONNECTED_BLOCKS")',
        'self.observed.get("connected_blocks", [])',
    ),
    ('["HOLD_MANAGER", manager_id]', '["HOLD_WORKER", manager_id]'),
]


@dataclass(frozen=True)
class Altered(supported.Release):
    """An altered release in an environment at a place of the test's choice."""

    at: Path = Path()

    @property
    def place(self) -> Path:
        return self.at


def of_the_future(at: Path) -> Altered:
    """Returns a variant whose version is later than every tested release."""
    altered = _copy(at)
    (altered.package / "version.py").write_text(f"VERSION = '{FUTURE}'\n")
    return altered


def observing(at: Path) -> Altered:
    """Returns a variant whose executor sends no queries and waits for the interchange's reports."""
    altered = _copy(at)
    file = altered.package / EXECUTOR
    text = file.read_text()
    for before, added in OBSERVING:
        assert text.count(before) == 1, before
        text = text.replace(before, added + before)
    for asks, looks in INSTEAD:
        assert text.count(asks) == 1, asks
        text = text.replace(asks, looks)
    file.write_text(text)
    return altered


def _copy(at: Path) -> Altered:
    base = supported.release(supported.NEWEST)
    packages = layer.on_top(base.python, at, base.package.parent)
    shutil.copytree(base.package, packages / "parsl")
    for name in SCRIPTS:
        lines = (base.place / "bin" / name).read_text().splitlines(keepends=True)
        script = at / "bin" / name
        script.write_text("".join([f"#!{at / 'bin' / 'python'}\n", *lines[1:]]))
        script.chmod(0o755)
    return Altered(base.origin, at)
