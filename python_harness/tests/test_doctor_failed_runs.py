"""`htex-interchange doctor` on runs that failed, with real Parsl: it reports the cause that can be
seen, and no other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import parsl
import pytest
from parsl.executors import HighThroughputExecutor
from parsl.providers import (
    CondorProvider,
    GridEngineProvider,
    LSFProvider,
    PBSProProvider,
    SlurmProvider,
    TorqueProvider,
)
from test_doctor_runs import diagnosis as told_of
from test_doctor_runs import found

from harness.htex import executors
from harness.machine.waiting import wait_until

pytestmark = pytest.mark.ours_only("this is about our own command line")

SECONDS = 180
PROVIDERS = {
    CondorProvider: "condor_submit",
    GridEngineProvider: "qsub",
    LSFProvider: "bsub",
    PBSProProvider: "qsub",
    SlurmProvider: "sbatch",
    TorqueProvider: "qsub",
}
# A fake submit command: it reads a block's script and writes the job's output to the files that the
# script names.
FAKE = r"""#!/bin/sh
script=$(eval "echo \${$#}")
test -f "$script" || script=/dev/stdin
text=$(cat "$script")
stderr=$(echo "$text" | sed -n \
    's/^#SBATCH --error=//p; s/^#[A-Z]* -e //p; s/^#\$ -e //p; s/^error  *= //p')
echo "$WORDS" > "$stderr"
case "$0" in
    *sbatch) echo "Submitted batch job 4711" ;;
    *bsub) echo "Job <4711> is submitted to queue <batch>." ;;
    *condor_submit) echo "1 job(s) submitted to cluster 4711." ;;
    *) echo 4711.host ;;
esac
"""
REFUSING = '#!/bin/sh\necho "Invalid account or account/partition combination" >&2\nexit 1\n'
# What batch systems write at a job's end, and the id of the finding for it.
WORDS = {
    "process_worker_pool.py: command not found": None,
    "slurmstepd: error: Detected 1 oom_kill event in StepId=4711.batch.": "out-of-memory",
    "slurmstepd: error: *** JOB 4711 CANCELLED AT x DUE TO TIME LIMIT ***": "time-limit",
    "=>> PBS: job killed: walltime 3610 exceeded limit 3600": "time-limit",
    "slurmstepd: error: *** JOB 4711 CANCELLED AT x DUE TO PREEMPTION ***": "preempted",
    "MemoryError": "out-of-memory",
}
WAITING = "wait for its futures"
NO_FAULT = "own function"


def diagnosis(directory: Path) -> dict:
    document = told_of(directory)
    for finding in document["findings"]:
        assert finding["evidence"], finding
    return document


@pytest.fixture
def batch_system(tmp_path, monkeypatch):
    """Puts fake commands of a batch system on PATH; without this call there are none."""

    def made(command: str, text: str, words: str = "") -> None:
        place = tmp_path / "bin"
        place.mkdir()
        (place / command).write_text(text)
        (place / command).chmod(0o755)
        monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
        monkeypatch.setenv("WORDS", words)

    return made


def failing_run(tmp_path: Path, provider: type) -> dict:
    """Runs a whole program whose one task fails because no block can be submitted."""
    config = executors.kernel_config(
        tmp_path / "runinfo", provider=provider(init_blocks=1, max_blocks=1)
    )
    config.strategy = "simple"
    config.strategy_period = 0.2
    with parsl.load(config):
        task = parsl.python_app(abs)(-1)
        assert "BadState" in type(task.exception(SECONDS)).__name__
    return diagnosis(tmp_path / "runinfo")


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.__name__)
@pytest.mark.expect_error("")
def test_the_batch_systems_command_is_missing(tmp_path, provider):
    document = failing_run(tmp_path, provider)
    told = found(document)
    assert told["submission-failed"]["severity"] == "problem"
    assert "not on the program's PATH" in told["submission-failed"]["remedy"]
    evidence = " ".join(told["submission-failed"]["evidence"])
    assert "not found" in evidence and "parsl.log, line " in evidence
    assert "bad-state" in told and "never-registered" not in told
    assert "1 with BadStateException" in told["tasks-failed"]["what"]
    said = json.dumps(document)
    assert WAITING not in said and NO_FAULT not in told["tasks-failed"]["why"].split("not a")[0]
    assert "standard error" not in " ".join(document["examined"])


@pytest.mark.expect_error("")
def test_the_batch_system_refuses(tmp_path, batch_system):
    batch_system("sbatch", REFUSING)
    told = found(failing_run(tmp_path, SlurmProvider))
    assert "PATH" not in told["submission-failed"]["remedy"]
    assert "Invalid account" in " ".join(told["submission-failed"]["evidence"])


class HastyCondor(CondorProvider):
    status_polling_interval = 0.2


def test_condor_refuses_and_parsl_does_not_give_up(tmp_path, batch_system):
    batch_system("condor_submit", REFUSING)
    config = executors.kernel_config(
        tmp_path / "runinfo",
        provider=HastyCondor(init_blocks=1, max_blocks=1),
        block_error_handler=False,
    )
    config.strategy_period = 0.2
    with parsl.load(config):
        parsl.python_app(abs)(-1)
        words = "Failed to start block 0"
        wait_until(lambda: log_has(tmp_path, words), SECONDS, "Parsl has looked at the block")
    document = diagnosis(tmp_path / "runinfo")
    told = found(document)
    assert told["submission-failed"]["severity"] == "problem"
    assert "PATH" not in told["submission-failed"]["remedy"]
    assert "Invalid account" in " ".join(told["submission-failed"]["evidence"])
    assert WAITING not in json.dumps(document)


def ended_job(tmp_path: Path, provider: type) -> dict:
    """Runs a bare executor, submits one block, and lets its job write its last output."""
    htex: HighThroughputExecutor = executors.executor(
        provider=provider(init_blocks=0), block_error_handler=False
    )
    htex.run_dir = str(tmp_path)
    htex.provider.script_dir = str(tmp_path / "submit_scripts")
    os.makedirs(htex.logdir)
    os.makedirs(htex.provider.script_dir)
    htex.start()
    try:
        assert htex.scale_out_facade(1) == ["0"]
    finally:
        htex.shutdown()
    return diagnosis(tmp_path)


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.__name__)
def test_the_output_of_a_block_is_read(tmp_path, batch_system, provider):
    (words, *_) = WORDS
    batch_system(PROVIDERS[provider], FAKE, words)
    document = ended_job(tmp_path, provider)
    told = found(document)
    assert told["never-registered"]["severity"] == "problem"
    assert "1 block submitted" in told["never-registered"]["what"]
    (evidence,) = told["never-registered"]["evidence"]
    assert evidence.endswith(f"line 1: {words}")
    assert "blocks' standard error (1 file)" in document["examined"]
    assert document["not_examined"] == ["parsl.log, which does not exist"]


@pytest.mark.parametrize("words", [words for words, cause in WORDS.items() if cause])
def test_the_cause_of_a_jobs_end_is_reported(tmp_path, batch_system, words):
    batch_system("sbatch", FAKE, words)
    told = found(ended_job(tmp_path, SlurmProvider))
    causes = {"out-of-memory", "time-limit", "preempted", "node-failed", "killed"}
    assert causes & set(told) == {WORDS[words]}
    assert told[WORDS[words]]["evidence"][0].endswith(words)


def test_a_queued_job_is_no_problem_and_nothing_was_checked(tmp_path, batch_system):
    batch_system("sbatch", FAKE.replace('> "$stderr"', "> /dev/null"))
    document = ended_job(tmp_path, SlurmProvider)
    assert found(document)["never-registered"]["severity"] == "warning"
    assert "standard error" not in " ".join(document["examined"])
    assert "1 block of SlurmProvider" in " ".join(document["not_examined"])


PROGRAM = """
import sys
import parsl
from parsl import python_app
from harness.htex import executors
from harness.machine.waiting import wait_until

@python_app
def minus(number): return -number

@python_app
def waits():
    import time
    time.sleep(30)

@python_app
def raises():
    import sys
    print("trying again after std::bad_alloc", file=sys.stderr, flush=True)
    raise ValueError("of its own")

def at_work():
    (htex,) = [one for label, one in parsl.dfk().executors.items() if label == "htex"]
    tasks = lambda: any(row["tasks"] for row in htex.connected_managers())
    wait_until(tasks, 60, "the task is at work")

with parsl.load(executors.kernel_config(sys.argv[1])):
    {body}
"""


def program(tmp_path: Path, body: str) -> tuple[subprocess.Popen, Path]:
    file = tmp_path / "program.py"
    file.write_text(PROGRAM.format(body=body))
    root = Path(executors.__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, file, tmp_path / "runinfo"],
        env=os.environ | {"PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        # Tests that run in the background ignore SIGINT, and the program would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    return process, tmp_path / "runinfo"


def test_a_program_that_does_not_wait(tmp_path):
    process, runs = program(tmp_path, "minus(1).result(); waits()")
    process.communicate(timeout=SECONDS)
    told = found(diagnosis(runs))
    assert WAITING in told["tasks-unanswered"]["remedy"]
    assert "Tasks in state States." in " ".join(told["tasks-unanswered"]["evidence"])


def test_a_task_that_raises_ends_the_program(tmp_path):
    body = "failed = raises(); minus(failed).exception(); waits(); failed.result()"
    process, runs = program(tmp_path, body)
    process.communicate(timeout=SECONDS)
    document = diagnosis(runs)
    told = found(document)
    assert "2 tasks failed" in told["tasks-failed"]["what"]
    assert "1 with DependencyError, 1 with ValueError" in told["tasks-failed"]["what"]
    assert NO_FAULT in told["tasks-failed"]["why"]
    # The finding shares the place of those from a block's own last output.
    assert told["out-of-memory"]["severity"] == "note"
    assert WAITING not in json.dumps(document)


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_a_program_that_waits_and_is_ended(tmp_path, sent):
    # The task is with a manager: a task that is still in transit would be lost with the program.
    body = "future = waits(); at_work(); print('waiting', flush=True); future.result()"
    process, runs = program(tmp_path, body)
    # Parsl has released its own locks by then, so an interrupt reaches the program itself.
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(sent)
    process.communicate(timeout=SECONDS)
    wait_until(
        lambda: log_has(runs, "Tasks without a result"), SECONDS, "the interchange has ended"
    )
    document = diagnosis(runs)
    told = found(document)
    assert "tasks-unanswered" in told
    if sent == signal.SIGKILL:
        assert "may have been killed" in told["tasks-unanswered"]["why"]
        assert WAITING not in json.dumps(document)
    else:
        assert "Unless it was interrupted" in told["tasks-unanswered"]["remedy"]


def log_has(runs: Path, words: str) -> bool:
    return any(words in log.read_text() for log in runs.rglob("*.log"))


@pytest.mark.parametrize("below", ["", "000", "000/htex"])
def test_a_run_without_parsls_log(tmp_path, below):
    config = executors.kernel_config(tmp_path / "runinfo")
    config.initialize_logging = False
    with parsl.load(config):
        pass
    document = diagnosis(tmp_path / "runinfo" / below)
    assert document["about"].endswith("runinfo/000")
    assert "parsl.log, which does not exist" in document["not_examined"]
    assert not [one for one in document["findings"] if one["severity"] == "problem"]
