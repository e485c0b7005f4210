"""Runs `parsl-visualize` in a separate environment to show the database of a run.

Its pages load plotly's JavaScript from another machine. In tests the browser receives the file from
plotly's Python package instead, which draws exactly what that package describes. The pages of
dependencies need graphviz's `dot`; if it is not on PATH, it is unpacked into target/.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.machine.waiting import wait_until
from harness.setup import debian, environment

PLACE = environment.BUILD_DIR / "visualization"
REQUIREMENTS = environment.HARNESS_DIR / "requirements-visualization.txt"
DOT_PLACE = environment.BUILD_DIR / "graphviz"
PLOTLY_URL = "https://cdn.plot.ly/plotly-latest.min.js"

# Start-up is slow because the program first imports pandas and plotly.
START_S = 60.0
END_S = 5.0

# JavaScript for Browser.open: DRAWN waits until every chart of the page is drawn; CHARTS reads the
# charts. Numbers are those that plotly has decoded; all else is counted in the SVG.
DRAWN = """[...document.querySelectorAll('.plotly-graph-div')].every(
    chart => chart.querySelector('.main-svg .trace') && chart._fullData)"""
CHARTS = """[...document.querySelectorAll('.plotly-graph-div')].map(chart => {
    const texts = name => [...chart.querySelectorAll(name)].map(node => node.textContent);
    const drawn = name => [...chart.querySelectorAll(name)].filter(
        node => (node.getAttribute('d') || '').length > 1).length;
    return {
        title: texts('.gtitle').join(), x_title: texts('.xtitle').join(),
        y_title: texts('.ytitle').join(), legend: texts('.legendtext'),
        lines: drawn('.scatterlayer path.js-line'), marks: drawn('.scatterlayer path.point'),
        areas: drawn('.scatterlayer path.js-fill'), bars: drawn('.barlayer .point path'),
        traces: Object.fromEntries(chart._fullData.map(trace => [
            trace.name, {x: [...trace.x || []], y: [...trace.y || []]}])),
    };
})"""


def prepare() -> None:
    """Installs the environment and `dot` if they are missing."""
    requirements = ["--requirement", str(REQUIREMENTS)]
    environment.prepare_venv(PLACE, requirements, REQUIREMENTS.read_text())
    _dot()


def substitutes() -> dict[str, Path]:
    """Returns plotly's JavaScript file by the URL that the pages load."""
    (script,) = PLACE.glob("lib/python3.*/site-packages/plotly/package_data/plotly.min.js")
    return {PLOTLY_URL: script}


@contextmanager
def serving(database: Path, log: Path) -> Iterator[str]:
    """Yields the address of a `parsl-visualize` that shows `database`; its output is written to
    `log`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(PLACE / "bin" / "parsl-visualize"), f"sqlite:///{database}"]
    env = dict(os.environ, PATH=os.pathsep.join([str(_dot().parent), os.environ["PATH"]]))
    env.pop("PYTHONPATH", None)
    with open(log, "wb") as said:
        process = subprocess.Popen(
            [*command, "--listen", "127.0.0.1", "--port", str(port)],
            env=env,
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
    try:
        wait_until(
            lambda: process.poll() is not None or _listens(port),
            START_S,
            "parsl-visualize listens",
            every_s=0.05,
            context=log.read_text,
        )
        assert process.poll() is None, f"parsl-visualize ended:\n{log.read_text()}"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _dot() -> Path:
    """Returns graphviz's `dot`, and first unpacks it if this machine has none."""
    on_path = shutil.which("dot")
    if on_path:
        return Path(on_path)
    try:
        debian.unpacked(DOT_PLACE, ["graphviz"], _finish)
    except environment.Unprepared as reason:
        raise environment.Unprepared(
            f"graphviz's dot is not on PATH, and {reason}. Remedy: install graphviz.",
            reason.exit_code,
        ) from None
    return DOT_PLACE / "bin" / "dot"


def _finish(root: Path) -> None:
    (plugins,) = root.glob("usr/lib/*/graphviz")
    dot = debian.launcher(root, root / "usr" / "bin" / "dot", GVBINDIR=str(plugins))
    # Registers graphviz's plugins, as the package does when it is installed.
    if not debian.runs(dot, "-c"):
        raise environment.Unprepared(
            "the unpacked graphviz does not start", environment.EXIT_ENVIRONMENT
        )
