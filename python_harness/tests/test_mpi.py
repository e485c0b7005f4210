"""MPIExecutor: tasks that ask for nodes, real managers in MPI mode, and a fake launcher.

The batch job is a file that names four nodes. `mpiexec`, `srun` and `aprun` are one script that
starts the command locally, once for each rank. The interchange has two duties: the specification of
nodes and ranks reaches the manager unchanged, and no task waits while enough nodes are free.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from parsl.executors import MPIExecutor
from parsl.executors.errors import InvalidResourceSpecification
from parsl.launchers import SimpleLauncher

from harness.htex.executors import add_blocks
from harness.htex.interchange import command_under_test
from harness.htex.provider import local_provider
from harness.setup import environment

RESULT_S = 120
NODES = ["node-a", "node-b", "node-c", "node-d"]

# Every option of the three launchers has one value. The value that contains a node's name is the
# list of nodes.
LAUNCHER = """#!/bin/sh
ranks=$2
while [ "${1#-}" != "$1" ]; do
    case "$2" in node-*) NODES=$2; export NODES;; esac
    shift 2
done
RANK=0; export RANK
while [ "$RANK" -lt "$ranks" ]; do "$@" || exit; RANK=$((RANK + 1)); done
"""

# Records on which nodes the task runs, then waits until another task has done the same.
MEET = "$PARSL_MPI_PREFIX sh -c 'echo $NODES > {mine}; until [ -s {other} ]; do sleep 0.02; done'"


@contextmanager
def running(
    tmp_path: Path, *, launcher: str = "mpiexec", workers: int = 2, **options
) -> Iterator[MPIExecutor]:
    """Runs a bare MPIExecutor with one block of four pretended nodes."""
    scripts, run_dir = tmp_path / "bin", tmp_path / "run"
    for folder in (scripts, run_dir / "scripts"):
        folder.mkdir(parents=True)
    (scripts / launcher).write_text(LAUNCHER)
    (scripts / launcher).chmod(0o755)
    nodes = tmp_path / "nodes"
    nodes.write_text("".join(f"{node}\n" for node in NODES))
    worker_init = f"export PATH={scripts}:$PATH PBS_NODEFILE={nodes}"
    htex = MPIExecutor(
        address="127.0.0.1",
        heartbeat_period=1,
        heartbeat_threshold=10,
        max_workers_per_block=workers,
        mpi_launcher=launcher,
        provider=local_provider(
            launcher=SimpleLauncher(),
            init_blocks=0,
            min_blocks=0,
            max_blocks=2,
            worker_init=worker_init,
        ),
        **options,
    )
    if "interchange_launch_cmd" not in options:
        # Parsl types this argument as one string, which leaves no place for arguments.
        htex.interchange_launch_cmd = command_under_test()
    htex.run_dir = str(run_dir)
    htex.provider.script_dir = str(run_dir / "scripts")
    try:
        htex.start()
        add_blocks(htex, 1)
        yield htex
    finally:
        htex.provider.cancel(list(htex.job_ids_to_block))
        htex.shutdown()


def shell(htex: MPIExecutor, command: str, **spec):
    """Submits a command as a bash app does, with the environment of the specification."""
    return htex.submit(subprocess.getoutput, spec, command)


@pytest.mark.parametrize(
    "launcher",
    [
        "mpiexec",
        pytest.param("srun", marks=pytest.mark.long),
        pytest.param("aprun", marks=pytest.mark.long),
    ],
)
def test_ranks_run_on_the_nodes_of_the_task(tmp_path, launcher):
    with running(tmp_path, launcher=launcher, encrypted=launcher == "mpiexec") as htex:
        told = (
            shell(
                htex,
                "$PARSL_MPI_PREFIX sh -c 'echo $RANK of $PARSL_NUM_RANKS on $NODES'",
                num_nodes=2,
                ranks_per_node=3,
            )
            .result(RESULT_S)
            .splitlines()
        )
        nodes = told[0].split()[-1]
        assert told == [f"{rank} of 6 on {nodes}" for rank in range(6)]
        assert len(set(nodes.split(","))) == 2 and set(nodes.split(",")) <= set(NODES)


def test_specification_arrives_as_it_was_given(tmp_path):
    """Numbers arrive as numbers and texts as texts: the manager calculates with the former and
    prints the latter."""
    show = "env | grep '^PARSL_' | grep -v PREFIX | sort"
    with running(tmp_path) as htex:
        told = shell(htex, show, num_nodes=3, ranks_per_node=2, launcher_options="--map 'a b'")
        lines = dict(line.split("=", 1) for line in told.result(RESULT_S).splitlines())
        assert lines["PARSL_NUM_NODES"] == "3"
        assert lines["PARSL_RANKS_PER_NODE"] == "2"
        assert lines["PARSL_NUM_RANKS"] == "6"
        assert lines["PARSL_LAUNCHER_OPTIONS"] == "--map 'a b'"
        assert len(set(lines["PARSL_MPI_NODELIST"].split(","))) == 3


def test_two_tasks_at_once_share_no_node(tmp_path):
    """Each task ends only when it has seen the other run."""
    one, two = tmp_path / "one", tmp_path / "two"
    with running(tmp_path) as htex:
        futures = [
            shell(htex, MEET.format(mine=mine, other=other), num_nodes=2, num_ranks=1)
            for mine, other in ((one, two), (two, one))
        ]
        for future in futures:
            future.result(RESULT_S)
    nodes = one.read_text().strip().split(",") + two.read_text().strip().split(",")
    assert sorted(nodes) == NODES


def test_many_tasks_wait_for_nodes_and_all_are_done(tmp_path):
    with running(tmp_path) as htex:
        show = "$PARSL_MPI_PREFIX sh -c 'echo $NODES'"
        futures = [shell(htex, show, num_nodes=1 + turn % 4, num_ranks=1) for turn in range(24)]
        sizes = [len(future.result(RESULT_S).split(",")) for future in futures]
        assert sizes == [1 + turn % 4 for turn in range(24)]
        (row,) = htex.connected_managers()
        assert row["worker_count"] == 2 and row["tasks"] == 0


def test_a_task_without_a_specification_is_refused_before_it_is_sent(tmp_path):
    with running(tmp_path) as htex:
        with pytest.raises(InvalidResourceSpecification):
            shell(htex, "true")
        assert shell(htex, "echo still here", num_nodes=1).result(RESULT_S) == "still here"


@pytest.mark.ours_only("a script's path stands for an interpreter and a script")
def test_launch_command_of_mpiexecutor_is_one_string(tmp_path):
    """The only form in which MPIExecutor's own type allows another interchange to be named."""
    binary = str(environment.binary())
    with running(tmp_path, interchange_launch_cmd=binary) as htex:
        assert shell(htex, "echo through it", num_nodes=1).result(RESULT_S) == "through it"
