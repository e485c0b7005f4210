"""A run through the interchange as a user sees it: `parsl-visualize` in a real browser.

Half of the data on its pages passed through the interchange: the managers' NODE_INFO and, from the
workers, when a task ran and what it used. The test reads everything from the rendered page, charts
included.
"""

from __future__ import annotations

import getpass
import platform
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import parsl
import psutil
import pytest
from parsl.monitoring import MonitoringHub

from harness.htex import jobs
from harness.htex.executors import kernel_config
from harness.machine.waiting import wait_until
from harness.setup import debian, environment
from harness.web import browser, visualization

# The first run downloads 180 MB: a browser, graphviz and the packages that parsl-visualize needs.
pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

NAME = "seen-in-a-browser"
VERSION = "7"
WORKERS = 2
RESULT_S = 60

# In the order of submission; each is submitted after the previous one has ended.
TASKS = ["add", "add", "reject", "touch_and_wait"]
WAITING = TASKS.index("touch_and_wait")
GIB = 1024**3

# Registration, a dispatch and a result for each task, and the hold when the run ends.
NODE_ROWS = 1 + 2 * len(TASKS) + 1

# What parsl-visualize shows instead of a page or a chart that it cannot create.
EXCUSES = ["cannot be generated", "could not be found", "does not have any resource"]

# The error of the only line that needs jQuery, which the pages would load from another machine.
WITHOUT_JQUERY = "ReferenceError: $ is not defined"

TABLE = """[...document.querySelectorAll('tbody tr')].map(
    row => [...row.cells].map(cell => cell.innerText.trim()))"""
FACTS = """Object.fromEntries([...document.querySelectorAll('li')].map(
    line => line.innerText.split(': ').map(part => part.trim())))"""
LINKS = "[...document.querySelectorAll('tbody a')].map(link => link.pathname)"
READ = f"({{table: {TABLE}, links: {LINKS}, facts: {FACTS}, charts: {visualization.CHARTS}}})"


@pytest.fixture
def prepared(measured):
    """Prepares the browser and parsl-visualize, before anything runs that pip and apt-get could
    disturb."""
    begin = time.monotonic()
    try:
        browser.program()
        visualization.prepare()
    except environment.Unprepared as reason:
        if debian.networked():
            pytest.fail(str(reason), pytrace=False)
        pytest.skip(f"this machine has no network to fetch it from: {reason}")
    measured(f"preparing the browser and parsl-visualize: {time.monotonic() - begin:.1f} s")


def query(database: Path, text: str) -> list[tuple]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(text).fetchall()


def run_workflow(place: Path) -> Path:
    """Runs a workflow with one failure, one dependency, and one task that runs until it was seen
    running; returns the run's database."""
    database = place / "monitoring.db"
    hub = MonitoringHub(
        workflow_name=NAME, workflow_version=VERSION, resource_monitoring_interval=0.5
    )
    add, reject = parsl.python_app(jobs.add), parsl.python_app(jobs.reject)
    touch_and_wait = parsl.python_app(jobs.touch_and_wait)
    with parsl.load(kernel_config(place, monitoring=hub, max_workers_per_node=WORKERS)):
        first = add(1, 2)
        assert first.result(RESULT_S) == 3
        assert add(first, 4).result(RESULT_S) == 7
        assert isinstance(reject("no good").exception(RESULT_S), jobs.Rejected)
        last = touch_and_wait(str(place / "started"), str(place / "proceed"))
        seen = f"select count(*) from resource where task_id = {WAITING}"
        wait_until(
            lambda: query(database, seen)[0][0] >= 3,
            RESULT_S,
            "the database has three records of what a task uses",
            every_s=0.1,
        )
        (place / "proceed").touch()
        last.result(RESULT_S)
    return database


def visit(address: str) -> dict[str, browser.Page]:
    """Returns every page that the visualizer has for its only workflow, by name."""
    pages = {}
    with browser.Browser(visualization.substitutes()) as chromium:

        def open_page(name: str, path: str, charts: int = 0) -> browser.Page:
            pages[name] = chromium.open(
                address + path,
                read=READ,
                until=f"document.querySelectorAll('.plotly-graph-div').length >= {charts} && "
                + visualization.DRAWN,
            )
            return pages[name]

        index = open_page("index", "/")
        found = index.value["links"]
        assert len(found) == 1, f"workflows in the list: {found}"
        (workflow,) = found
        open_page("workflow", workflow, charts=2)
        open_page("tasks", workflow + "task/")
        open_page("app", workflow + "app/add")
        open_page("task", f"{workflow}task/{WAITING}", charts=1)
        open_page("failure", f"{workflow}task/{TASKS.index('reject')}", charts=1)
        open_page("apps", workflow + "dag_group_by_apps", charts=1)
        open_page("states", workflow + "dag_group_by_states", charts=1)
        open_page("resources", workflow + "resource_usage", charts=6)
    return pages


def check_every_page(pages: dict[str, browser.Page]) -> None:
    for name, page in pages.items():
        answered = {url: status for url, status in page.statuses.items() if status != 200}
        assert page.status == 200 and not answered, (name, page.status, answered)
        unexpected = [text for text in page.console_errors if WITHOUT_JQUERY not in text]
        assert not unexpected, (name, unexpected)
        assert page.substituted == [visualization.PLOTLY_URL], (name, page.substituted)
        assert not [excuse for excuse in EXCUSES if excuse in page.html], (name, page.html)


def check_summary(pages: dict[str, browser.Page], place: Path) -> None:
    (row,) = pages["index"].value["table"]
    done, failed = len(TASKS) - 1, 1
    owner = getpass.getuser()
    assert row[:4] == [NAME, VERSION, owner, "Completed"]
    assert row[5].split() == [str(done), str(failed)]
    for name in ("workflow", "tasks", "resources"):
        facts = pages[name].value["facts"]
        assert facts["Number of completed tasks"] == str(done), (name, facts)
        assert facts["Number of failed tasks"] == str(failed), (name, facts)
        assert facts["Owner"] == owner and facts["Host"] == platform.node(), (name, facts)
        assert Path(facts["Run directory"]).parent == place, (name, facts)
    counts = {name: str(TASKS.count(name)) for name in TASKS}
    assert dict(pages["workflow"].value["table"]) == counts
    listed = [(name, number) for name, number, *_ in pages["tasks"].value["table"]]
    assert listed == [(name, str(number)) for number, name in enumerate(TASKS)]
    assert [row[1:3] for row in pages["app"].value["table"]] == [["0", "None"], ["1", "0"]]


def check_states(pages: dict[str, browser.Page]) -> None:
    """Workers report `running` and `running_ended` through the interchange. A worker may send its
    report before Parsl's kernel records that the task was launched."""
    for name, end in (("task", "exec_done"), ("failure", "failed")):
        states = [state for _, state in pages[name].value["table"]]
        assert states[0] == "pending" and states[-2:] == ["running_ended", end], (name, states)
        assert sorted(states[1:-2]) == ["launched", "running"], (name, states)
    gantt, tries = pages["workflow"].value["charts"]
    shown = {"pending", "launched", "running", "running_ended", "exec_done", "failed"}
    assert set(gantt["legend"]) == shown, gantt["legend"]
    assert gantt["areas"] >= len(TASKS), gantt
    assert tries["legend"][0] == "All" and set(tries["legend"][1:]) == set(TASKS), tries
    assert tries["lines"] == len(tries["legend"]), tries
    assert max(tries["traces"]["touch_and_wait"]["y"]) == 1, tries
    (apps,), (states,) = pages["apps"].value["charts"], pages["states"].value["charts"]
    assert apps["marks"] == states["marks"] == len(TASKS) and apps["lines"] == 1, (apps, states)
    assert len(apps["traces"]["add"]["x"]) == 2, apps
    at_end = {name: len(trace["x"]) for name, trace in states["traces"].items() if trace["x"]}
    assert at_end == {"Dependency": 3, "exec_done": 3, "failed": 1}, at_end


def check_resources(pages: dict[str, browser.Page], database: Path) -> None:
    """The workers' measurements passed through the interchange to the hub."""
    (memory,) = pages["task"].value["charts"]
    (trace,) = memory["traces"].values()
    text = f"psutil_process_memory_resident from resource where task_id = {WAITING}"
    recorded = [row[0] / 1e9 for row in query(database, f"select {text} order by timestamp")]
    assert len(recorded) >= 3 and sorted(trace["y"]) == pytest.approx(sorted(recorded))
    assert memory["lines"] == 1 and memory["marks"] == len(recorded), memory
    assert memory["y_title"] == "Memory usage (GB)", memory
    bars = [chart for chart in pages["resources"].value["charts"] if chart["bars"]]
    assert len(bars) == 3, bars
    # Each task counts once in each distribution.
    assert [sum(chart["traces"]["tasks"]["y"]) for chart in bars] == [len(TASKS)] * 3, bars


def check_nodes(pages: dict[str, browser.Page], database: Path) -> None:
    """NODE_INFO comes from the interchange itself. The visualizer adds up all reports of a node, so
    a total shows both their number and their content."""
    columns = "hostname, block_id, worker_count, cpu_count, total_memory, python_v, active"
    rows = query(database, f"select {columns} from node order by id")
    machine = (psutil.cpu_count(), psutil.virtual_memory().total, platform.python_version())
    expected = (platform.node(), "0", WORKERS, *machine)
    assert [row[:-1] for row in rows] == [expected] * NODE_ROWS
    assert [bool(row[-1]) for row in rows] == [True] * (NODE_ROWS - 1) + [False]
    charts = {chart["y_title"]: chart for chart in pages["resources"].value["charts"]}
    totals = {
        "Number of workers": ("Total of workers in whole run", WORKERS),
        "Number of CPU cores": ("Total CPU cores", psutil.cpu_count()),
        "Memory (GB)": ("Total memory", psutil.virtual_memory().total / GIB),
    }
    for title, (name, of_one_row) in totals.items():
        chart = charts[title]
        assert name in chart["legend"] and chart["lines"] == len(chart["legend"]) == 2, chart
        heights = chart["traces"][name]["y"]
        assert heights == pytest.approx([NODE_ROWS * of_one_row] * len(heights)), chart
    used = charts["Number of workers"]["traces"]["Total busy workers"]["y"]
    assert 0 < max(used) <= WORKERS and sum(used) >= 1.0, used
    # The axis begins with the manager's registration or the first launch, whichever is earlier.
    moments = query(
        database,
        "select min(task_try_time_launched), max(task_try_time_returned), "
        "(select min(timestamp) from node) from try",
    )
    launched, returned, registered = (f"'{moment}'" for moment in moments[0])
    ((seconds,),) = query(
        database,
        f"select strftime('%s', {returned}) - "
        f"min(strftime('%s', {launched}), strftime('%s', {registered}))",
    )
    assert len(used) == seconds + 1, (used, moments)


def test_run_is_seen_in_parsl_visualize(prepared, removable, tmp_path, measured):
    begin = time.monotonic()
    database = run_workflow(removable)
    ran = time.monotonic()
    with visualization.serving(database, tmp_path / "visualize.log") as address:
        served = time.monotonic()
        pages = visit(address)
    opened = time.monotonic()
    measured(
        f"the run {ran - begin:.1f} s, parsl-visualize's start {served - ran:.1f} s, "
        f"{len(pages)} pages {opened - served:.1f} s"
    )
    check_every_page(pages)
    check_summary(pages, removable)
    check_states(pages)
    check_resources(pages, database)
    check_nodes(pages, database)


def test_the_browser_reports_what_is_wrong_with_a_page(prepared, tmp_path):
    """Checks the assumptions of the other test: errors are noticed, and no page contacts another
    machine."""
    script = "https://example.org/script.js"
    broken = tmp_path / "broken.html"
    broken.write_text(
        f"<title>broken</title><script src='{script}'></script><script src='absent.js'></script>"
        "<p id=end>unfinished</p><script>console.error('said', 3);"
        "setTimeout(() => { document.getElementById('end').textContent = 'finished' });"
        "undefinedFunction();</script>"
    )
    finished = "document.getElementById('end').textContent === 'finished'"
    page = browser.screenshot(broken.as_uri(), tmp_path / "page.png", until=finished)
    assert '<p id="end">finished</p>' in page.html
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
    assert page.refused == [script]
    absent, thrown, said = sorted(page.console_errors)
    assert "ERR_FILE_NOT_FOUND" in absent and said == "said 3"
    assert thrown.startswith("ReferenceError: undefinedFunction")
    with pytest.raises(browser.BrowserFailed, match="condition not reached: false"):
        browser.rendered(broken.as_uri(), until="false", within_s=1)
