"""`htex-interchange top` on a terminal: what it shows of real runs, and what its keys do."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest
from test_status import DIRECTORY_VARIABLE, NONE_FOUND, WRONG_ARGUMENTS, place  # noqa: F401

from harness.htex import executors, jobs
from harness.machine.terminal import Terminal
from harness.machine.waiting import wait_until
from harness.setup import environment

pytestmark = pytest.mark.ours_only("this is about our own command line")

SECONDS = 30
RESULT_S = 120


def top(*arguments, **options) -> Terminal:
    return Terminal([str(environment.binary()), "top", *map(str, arguments)], **options)


def enlisted(start, connect, managers: int, **options):
    """Returns a submit side with fake managers on different hosts."""
    side = start(**options)
    for number in range(managers):
        connect(side, f"manager-{number}".encode()).enlist(
            side, hostname=f"node{number}", block_id=str(number // 2), max_capacity=4
        )
    return side


def test_a_real_run_is_shown_and_a_manager_held(tmp_path):
    with executors.running(tmp_path / "runinfo" / "000", blocks=2) as htex, top() as terminal:
        terminal.wait_for("runinfo/000/htex", "Nothing is wrong.", "managers 2", "BLOCK▲", "idle")
        ids = sorted(row["manager"] for row in htex.connected_managers())
        assert all(name[:12] in terminal.text() for name in ids)
        started, proceed = tmp_path / "started", tmp_path / "proceed"
        future = htex.submit(jobs.touch_and_wait, {}, str(started), str(proceed))
        terminal.wait_for("in flight 1", "██████ 1/1")
        proceed.touch()
        future.result(RESULT_S)
        terminal.wait_for("in flight 0")
        terminal.press("down", "h")
        held = next(row["manager"] for row in htex.connected_managers() if row["block_id"] == "0")
        terminal.wait_for(f"Hold {held}?")
        assert all(row["active"] for row in htex.connected_managers())
        terminal.press("y")
        terminal.wait_for(f"{held} is held.")
        terminal.wait_for("0/1", "held")
        active = {row["manager"]: row["active"] for row in htex.connected_managers()}
        assert active == {name: name != held for name in ids}
        terminal.press("q")
        assert terminal.wait_exit() == 0
        assert terminal.is_restored


def test_sorting_and_filtering(start, connect):
    enlisted(start, connect, 4)
    with top() as terminal:
        terminal.wait_for("managers 4", "node3")
        rows = [line.split()[1] for line in terminal.lines() if "node" in line and "/4" in line]
        assert rows == ["node0", "node1", "node2", "node3"]
        terminal.press("s", "r")
        text = terminal.wait_for("HOST▼")
        assert text.index("node3 ") < text.index("node0 ")
        terminal.press("/", "node2")
        terminal.wait_for("/node2")
        terminal.wait_gone("node1 ")
        terminal.press("\r")
        terminal.wait_for("[node2: 1]")
        terminal.press("escape")
        terminal.wait_for("node1 ")
        terminal.press("?")
        terminal.wait_for("hold the selected one")
        terminal.press("?")
        terminal.wait_gone("hold the selected one")
        terminal.press("\x03")
        assert terminal.wait_exit() == 0 and terminal.is_restored


def test_a_terminal_of_any_size(start, connect):
    enlisted(start, connect, 3)
    with top(columns=80, rows=24) as terminal:
        terminal.wait_for("node2", "Latest changes of managers")
        terminal.resize(40, 10)
        terminal.wait_for("queue 0", "node0", "STATE")
        terminal.wait_gone("Latest changes of managers")
        terminal.resize(5, 3)
        terminal.resize(132, 40)
        terminal.wait_for("IDLE", "Latest changes of managers", "node2")
        terminal.press("q")
        assert terminal.wait_exit() == 0 and terminal.is_restored


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP], ids=["SIGTERM", "SIGHUP"])
def test_a_signal_leaves_the_terminal_as_it_was(start, how):
    start()
    with top() as terminal:
        terminal.wait_for("No manager is registered.")
        terminal.process.send_signal(how)
        assert terminal.wait_exit() == 128 + signal.SIGTERM
        assert terminal.is_restored


def test_it_ends_with_its_terminal(start):
    """As when the terminal's window is closed, or the connection to it breaks."""
    start()
    with top() as terminal:
        terminal.wait_for("No manager is registered.")
        terminal.hang_up()
        assert terminal.process.wait(SECONDS) == 128 + signal.SIGTERM


def test_one_of_several_interchanges_stops_and_one_ends(start, connect):
    first, second = enlisted(start, connect, 1), enlisted(start, connect, 2)
    with top() as terminal:
        terminal.wait_for("side1/log (2 of 2, Tab: next)", "managers 2")
        terminal.press("tab")
        terminal.wait_for("side0/log (1 of 2, Tab: next)", "managers 1")
        os.kill(first.interchange.pid, signal.SIGSTOP)
        try:
            terminal.wait_for("does not answer: it is stopped")
            # Keys are handled all the same.
            terminal.press("tab")
            terminal.wait_for("side1/log", within_s=10)
        finally:
            os.kill(first.interchange.pid, signal.SIGCONT)
        second.interchange.terminate()
        terminal.wait_for("ENDED: it has ended. Exiting on SIGTERM", "side1/log")
        terminal.press("tab")
        terminal.wait_for("side0/log", "managers 1")
        terminal.press("q")
        assert terminal.wait_exit() == 0


def test_events_appear_and_can_be_paused(start, connect):
    side = enlisted(start, connect, 1)
    with top() as terminal:
        terminal.wait_for("registered manager-0", "managers 1")
        terminal.press("p")
        terminal.wait_for("PAUSED")
        connect(side, b"manager-9").enlist(side, hostname="node9")
        wait_until(lambda: len(side.managers()) == 2, SECONDS, "both are registered")
        assert "manager-9" not in terminal.text()
        terminal.press("p")
        terminal.wait_for("managers 2", "node9")


def test_a_crowd_stays_smooth(start, crowd):
    side = start()
    crowd(side, 1000, max_capacity=2, beating=False)
    # A busy machine may accept the managers in another order than they connected.
    last = side.managers()[-1]["manager"]
    with top() as terminal:
        terminal.wait_for("managers 1,000")
        terminal.press("G")
        terminal.wait_for(last, within_s=10)
        terminal.press("/", "crowd-77", "\r")
        terminal.wait_for("[crowd-77: 11]", within_s=10)


def test_what_cannot_be_shown(tmp_path):
    piped = subprocess.run(
        [environment.binary(), "top"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert piped.returncode == WRONG_ARGUMENTS and piped.stdout == ""
    assert "`htex-interchange status` prints the same" in piped.stderr
    with top() as terminal:
        assert terminal.wait_exit() == NONE_FOUND
        assert DIRECTORY_VARIABLE.encode() in terminal.raw and b"\x1b" not in terminal.raw
    with top(tmp_path / "nothing") as terminal:
        assert terminal.wait_exit() == WRONG_ARGUMENTS


def test_status_in_colours(start):
    start()
    with Terminal([str(environment.binary()), "status"], columns=60, rows=60) as terminal:
        assert terminal.wait_exit() == 0
        assert b"\x1b[32m" in terminal.raw and "Nothing is wrong." in terminal.text()
        assert len(terminal.text().split("Nothing is wrong.")) == 2
    plain = {**os.environ, "NO_COLOR": "1"}
    with Terminal([str(environment.binary()), "status"], env=plain) as terminal:
        assert terminal.wait_exit() == 0 and b"\x1b" not in terminal.raw
