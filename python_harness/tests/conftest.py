"""Fixtures: real interchange processes that are watched, and clean-up so that nothing outlives a
test.

After each test: no interchange died unexpectedly, no process that the test started still runs, and
no interchange.log holds an ERROR line (unless the test is marked with the text that it expects). A
process that still runs is ended by its process id.
"""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import socket
import tempfile
from pathlib import Path

import pytest

from harness.fakes import history
from harness.fakes.crowd import FakeCrowd
from harness.fakes.manager_process import ManagerProcess
from harness.fakes.wire import FakeManager, FakeSubmitSide
from harness.htex.interchange import line_level, stock_under_test
from harness.machine import processes
from harness.setup import environment

# Time for a process to end after a signal to end, before it counts as left behind.
LEFT_BEHIND_AFTER_S = 30.0

# With this variable set, tests marked `ours_only` run against Parsl's own interchange and must fail
# there.
DIFFERENCES_VARIABLE = "HTEX_TEST_DIFFERENCES"


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="also run the tests marked `long`")


def pytest_configure(config):
    processes.become_subreaper()
    os.environ.update(environment.child_environment())
    # Tables and pictures are compared as users see them.
    os.environ["LC_ALL"] = "C.UTF-8"


def pytest_collection_modifyitems(config, items):
    for item in items:
        if item.get_closest_marker("long") and not config.getoption("--long"):
            item.add_marker(pytest.mark.skip(reason="long; run with --long"))
        ours_only = item.get_closest_marker("ours_only")
        if ours_only and stock_under_test():
            if os.environ.get(DIFFERENCES_VARIABLE):
                item.add_marker(pytest.mark.xfail(reason=ours_only.args[0], strict=True))
            else:
                item.add_marker(pytest.mark.skip(reason=f"stock: {ours_only.args[0]}"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if outcome.get_result().failed:
        item.stash[FAILED] = True


FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(hookwrapper=True)
def pytest_report_to_serializable(report):
    """Reports a test as any other if a name that is not valid UTF-8 makes it fail. A worker of
    xdist would end if it had to send such a string."""
    outcome = yield
    outcome.force_result(as_text(outcome.get_result()))


def as_text(value):
    match value:
        case str():
            return value.encode(errors="backslashreplace").decode()
        case dict():
            return {as_text(key): as_text(each) for key, each in value.items()}
        case list() | tuple():
            return type(value)(as_text(each) for each in value)
        case _:
            return value


def pytest_terminal_summary(terminalreporter):
    """Shows what tests measured, so that a bound that is only narrowly met is noticed."""
    lines = [
        f"{report.nodeid.rpartition('/')[2]}: {text}"
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, text in report.user_properties
        if name == "measured"
    ]
    if lines:
        terminalreporter.section("measured")
        for line in sorted(lines):
            terminalreporter.line(line)


@pytest.fixture
def measured(record_property):
    """`measured("SIGTERM to exit: 3 ms")` adds this text to the summary of the test run."""
    return lambda text: record_property("measured", text)


@pytest.fixture(autouse=True, scope="session")
def status_directory():
    """A separate directory for the status sockets of the tests' interchanges. Its name is short, as
    the path of a socket must be."""
    with tempfile.TemporaryDirectory(prefix="htex-status-") as name:
        os.environ["HTEX_INTERCHANGE_STATUS_DIR"] = name
        yield Path(name)


@pytest.fixture(autouse=True)
def nothing_left_behind():
    before = {(process.pid, process.start_ticks) for process in processes.descendants()}
    yield

    def left():
        return [
            process
            for process in processes.running_descendants()
            if (process.pid, process.start_ticks) not in before
        ]

    if left():
        processes.wait_gone(LEFT_BEHIND_AFTER_S)
    remaining = left()
    described = [process.describe() for process in remaining]
    for process in remaining:
        processes.send(process, 9)
    if remaining:
        processes.wait_gone(2.0)
    processes.reap_zombies()
    assert not remaining, f"left behind by this test: {described}"


@pytest.fixture(autouse=True)
def no_error_logged(request, tmp_path):
    yield
    if stock_under_test():
        return
    expected = [mark.args[0] for mark in request.node.iter_markers("expect_error")]
    found = [
        f"{path.relative_to(tmp_path)}: {line}"
        for path in tmp_path.rglob("interchange.log")
        for line in path.read_text(errors="replace").splitlines()
        if line_level(line) in ("ERROR", "CRITICAL") and not any(text in line for text in expected)
    ]
    assert not found, "ERROR lines of the interchange:\n" + "\n".join(found[:10])


@pytest.fixture
def start(request, tmp_path, no_error_logged):
    """`start(encrypted=True, heartbeat_threshold=3)` returns a submit side with a live interchange.
    With `launch=False`, the interchange is not started yet."""
    sides: list[FakeSubmitSide] = []

    def make(*, launch: bool = True, command=None, **options) -> FakeSubmitSide:
        workdir = tmp_path / f"side{len(sides)}"
        workdir.mkdir()
        side = FakeSubmitSide(workdir, **options)
        sides.append(side)
        if launch:
            side.launch(command)
            assert isinstance(side.worker_port, int)
        return side

    yield make
    died = []
    for side in sides:
        interchange = side.interchange
        if interchange and not interchange.running and not interchange.expected_to_end:
            died.append(interchange.tail())
        if interchange and request.node.stash.get(FAILED, False):
            print(interchange.tail(40))
        if interchange:
            interchange.end()
        side.close()
    stock_may_die = stock_under_test() and request.node.get_closest_marker("ours_only")
    if not stock_may_die and not request.node.get_closest_marker("expect_death"):
        assert not died, "an interchange died unexpectedly:\n" + "\n".join(died)


@pytest.fixture
def connect():
    """`connect(side, b"name")` returns a FakeManager; its `.enlist(side, max_capacity=2)` registers
    it."""
    managers: list[FakeManager] = []

    def make(side: FakeSubmitSide, identity: bytes = b"manager-a", **options) -> FakeManager:
        options.setdefault("cert_dir", side.cert_dir)
        manager = FakeManager(side.worker_url, identity, **options)
        managers.append(manager)
        return manager

    yield make
    for manager in managers:
        manager.close()


@pytest.fixture
def connect_process():
    """`connect_process(side, "name", max_capacity=2)` returns a ManagerProcess; call its
    `.enlist(side)`."""
    managers: list[ManagerProcess] = []

    def make(side: FakeSubmitSide, identity: str, **fields) -> ManagerProcess:
        managers.append(ManagerProcess(side, identity, **fields))
        return managers[-1]

    yield make
    for manager in managers:
        manager.kill()


@pytest.fixture
def crowd():
    """`crowd(side, 1000, max_capacity=4)` returns a FakeCrowd of registered managers."""
    crowds: list[FakeCrowd] = []

    def make(side: FakeSubmitSide, count: int, **options) -> FakeCrowd:
        crowds.append(FakeCrowd(side, count, **options))
        return crowds[-1]

    yield make
    for one in crowds:
        one.die()


@pytest.fixture(params=["plain", "encrypted"])
def encrypted(request) -> bool:
    return request.param == "encrypted"


@pytest.fixture
def ipv6_loopback():
    """The address ::1; skips the test if this machine does not have it."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    return "::1"


@pytest.fixture
def link_local():
    """A link-local address of this machine with its interface, such as fe80::1%eth0."""
    table = Path("/proc/net/if_inet6")
    for line in table.read_text().splitlines() if table.exists() else []:
        digits, _, _, scope, flags, interface = line.split()
        # The scope is link-local, and duplicate address detection is complete.
        if int(scope, 16) == 0x20 and int(flags, 16) & 0x40 == 0:
            address = ipaddress.IPv6Address(int(digits, 16))
            return f"{address}%{interface}"
    pytest.skip("this machine has no link-local address")


@pytest.fixture
def removable(tmp_path):
    """A directory for a run; the test itself removes it immediately after the run's end."""
    path = tmp_path / "run"
    path.mkdir()
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def run_of(tmp_path):
    """`run_of(events)` writes the events to a file and returns the report's data about the only run
    in it. A text among the events is written as a whole line."""

    def make(events: list[dict | str]):
        place = tmp_path / "events.jsonl"
        lines = [one if isinstance(one, str) else json.dumps(one) for one in events]
        place.write_text("".join(line + "\n" for line in lines))
        (run,) = history.read(place)
        return run

    return make
