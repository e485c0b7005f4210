"""The submit process is killed: no interchange and no manager may be left behind."""

from __future__ import annotations

import errno
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.fakes.wire import FakeManager, FakeSubmitSide, tcp_url
from harness.htex.interchange import command_under_test
from harness.htex.programs import GONE_WITHIN_S, PROGRAMS, Program
from harness.machine import processes
from harness.machine.waiting import wait_until
from harness.setup import environment

# Ways in which a site may start the interchange: directly, or below a shell that stays.
THROUGH_A_SHELL = ["sh", "-c", '"$0" "$@"; exit $?']

# Or below a shell that ends, and leaves the interchange, as soon as the file of the first argument
# exists.
INTO_THE_BACKGROUND = [
    "sh",
    "-c",
    'exec 3<&0; "$@" <&3 3<&- & until [ -e "$0" ]; do sleep 0.05; done',
]

# A kernel before 5.3, and a container whose seccomp profile does not allow the call.
WITHOUT_PIDFD = {
    name: [sys.executable, str(PROGRAMS / "without_pidfd.py"), str(number)]
    for name, number in (("old-kernel", errno.ENOSYS), ("denied", errno.EPERM))
}
EVERY_KERNEL = pytest.mark.parametrize(
    "kernel", [[], *WITHOUT_PIDFD.values()], ids=["this-kernel", *WITHOUT_PIDFD]
)

OURS_ONLY = pytest.mark.ours_only("stock outlives its submit process for ever")

# The stages that the submit side reaches. Parsl's interchange ends only if its stdin ends without a
# configuration.
LATER_STAGES = ("written", "closed", "answered")
STAGES = ["launched", *(pytest.param(stage, marks=OURS_ONLY) for stage in LATER_STAGES)]


@OURS_ONLY
def test_real_managers_and_the_interchange_are_gone(tmp_path, measured):
    program = Program("submit_process.py", tmp_path)
    assert len(program.started) >= 3
    measured(f"{len(program.started)} processes gone after {program.kill():.2f} s")


@OURS_ONLY
def test_real_managers_below_a_shell(tmp_path, measured):
    program = Program("submit_process.py", tmp_path, *THROUGH_A_SHELL, *command_under_test())
    measured(f"{len(program.started)} processes gone after {program.kill():.2f} s")


# An interchange that finds its parent gone during its start refuses to start, and logs that.
@pytest.mark.expect_error("refused to start: the process that started it has ended")
@pytest.mark.parametrize("shell", [[], THROUGH_A_SHELL], ids=["direct", "below-a-shell"])
@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_any_stage_of_the_start(tmp_path, stage, shell, measured):
    command = [*shell, *command_under_test()] if shell else []
    program = Program("bare_submit_side.py", tmp_path, stage, *command)
    measured(f"interchange gone after {program.kill():.2f} s")


@pytest.mark.quick
@OURS_ONLY
def test_managers_are_told_to_shut_down(tmp_path):
    program = Program("bare_submit_side.py", tmp_path, "answered")
    url = f"tcp://127.0.0.1:{program.report['port']}"
    with FakeManager(url) as manager, FakeManager(url, b"another") as another:
        for one in (manager, another):
            one.probe()
            one.register(max_capacity=2)
            one.beat()
        program.kill()
        for one in (manager, another):
            one.expect_shutdown(within_s=2)


@OURS_ONLY
def test_the_end_is_in_the_log(tmp_path):
    program = Program("bare_submit_side.py", tmp_path, "answered")
    program.kill()
    log = (tmp_path / "log" / "interchange.log").read_text()
    assert re.search(r"submit (side|process)[^\n]*\b(gone|ended|died)", log), log


@OURS_ONLY
def test_a_broker_whose_submit_process_is_gone_when_it_would_take_over(tmp_path):
    """The broker ends without logging an error: there is no submit process left to serve."""
    command = [str(environment.binary()), "--survive"]
    program = Program("bare_submit_side.py", tmp_path, "answered", *command)
    keeper = program.report["interchange"]
    os.kill(keeper, signal.SIGSTOP)
    os.kill(processes.broker_below(keeper), signal.SIGKILL)
    program.process.kill()
    program.process.wait()
    os.kill(keeper, signal.SIGCONT)
    program.kill()
    log = (tmp_path / "log" / "interchange.log").read_text()
    assert "no process is left to serve [submit-side-gone]" in log, log


@OURS_ONLY
def test_a_wrapper_that_ends_is_not_the_submit_process(tmp_path):
    """The interchange keeps running for the submit process above the wrapper, and ends with that
    process."""
    may_end = tmp_path / "the wrapper may end"
    command = [*INTO_THE_BACKGROUND, str(may_end), *command_under_test()]
    program = Program("bare_submit_side.py", tmp_path, "answered", *command)
    log = (tmp_path / "log" / "interchange.log").read_text()
    assert f"Watching for the end of the submit process, {program.process.pid}\n" in log
    wrapper = program.report["interchange"]
    may_end.touch()
    wait_until(lambda: not processes.alive(wrapper), 10, "the wrapper has ended")
    with FakeManager(f"tcp://127.0.0.1:{program.report['port']}") as manager:
        manager.probe()
    program.kill()


@OURS_ONLY
def test_a_wrapper_that_ends_before_the_configuration(tmp_path):
    """This test is the submit process, and an ancestor of the interchange that the wrapper leaves
    behind."""
    may_end = tmp_path / "the wrapper may end"
    side = FakeSubmitSide(tmp_path)
    command = [*INTO_THE_BACKGROUND, str(may_end), *command_under_test()]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as wrapper:
        (started,) = wait_until(
            lambda: [each for each in processes.running_descendants() if _has_begun(each)],
            10,
            "the interchange waits for its configuration",
        )
        may_end.touch()
        assert wrapper.wait() == 0
        wrapper.stdin.write(pickle.dumps(side.config()))
    with FakeManager(tcp_url("127.0.0.1", side.worker_port)) as manager:
        manager.probe()
    side.close()
    wait_until(lambda: not processes.alive(started.pid), GONE_WITHIN_S, "it ends with the sockets")


@OURS_ONLY
@EVERY_KERNEL
@pytest.mark.parametrize("shell", [[], THROUGH_A_SHELL], ids=["direct", "below-a-shell"])
def test_a_fork_of_the_submit_process_keeps_its_ports(tmp_path, shell, kernel):
    """With a shell in between, neither the ports nor the end of the parent process show that the
    submit process has died."""
    command = [*kernel, *shell, *command_under_test()]
    program = Program("bare_submit_side.py", tmp_path, "forked", *command)
    (fork,) = [each for each in program.started if each.pid == program.report["fork"]]
    program.started.remove(fork)
    try:
        program.kill()
        assert processes.alive(fork.pid)
    finally:
        processes.send(fork, signal.SIGKILL)


def _has_begun(process: processes.Process) -> bool:
    """Whether the process is an interchange that blocks signals, which it does after it has looked
    up its parent."""
    try:
        if processes.executable(process.pid) != environment.binary():
            return False
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return False
    return int(status.partition("SigBlk:")[2].split()[0], 16) != 0


@OURS_ONLY
@EVERY_KERNEL
def test_a_stopped_submit_process_is_alive(tmp_path, kernel):
    """SIGSTOP acts like a debugger or a suspended laptop. The process stays stopped longer than any
    grace period."""
    command = [*kernel, *command_under_test()]
    program = Program("bare_submit_side.py", tmp_path, "answered", *command)
    os.kill(program.process.pid, signal.SIGSTOP)
    interchange = program.report["interchange"]
    end = time.monotonic() + 4.0
    while time.monotonic() < end:
        assert processes.alive(interchange)
        time.sleep(0.1)
    os.kill(program.process.pid, signal.SIGCONT)
    url = f"tcp://127.0.0.1:{program.report['port']}"
    with FakeManager(url) as manager:
        manager.probe()
    program.kill()


@OURS_ONLY
@EVERY_KERNEL
def test_watched_pid_may_be_named(start, kernel):
    with subprocess.Popen(["sleep", "600"]) as watched:
        side = start(launch=False)
        side.launch([*kernel, *command_under_test(), "--watch-pid", str(watched.pid)])
        assert side.worker_port
        side.interchange.expected_to_end = True
        # The process is not reaped before the interchange has ended.
        watched.kill()
        assert side.interchange.wait_exit(GONE_WITHIN_S) == 0


@OURS_ONLY
def test_watching_may_be_switched_off(tmp_path):
    """Then only the sockets of the submit side show its death; the interchange ends
    nevertheless."""
    command = [*command_under_test(), "--watch-pid", "none"]
    program = Program("bare_submit_side.py", tmp_path, "answered", *command)
    program.kill()
