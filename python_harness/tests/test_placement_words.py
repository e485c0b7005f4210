"""Keys of a resource specification that say where a task fits: checked at submission and sent where
workers do not see them. Also the flags that pass settings to the interchange, and the counts that
Parsl's scaling uses."""

from __future__ import annotations

import copy
import decimal
import enum
import fractions
import inspect
import subprocess
from concurrent.futures import Future

import numpy
import parsl
import pytest
from parsl.executors.errors import InvalidResourceSpecification
from parsl.executors.high_throughput.manager_selector import ManagerSelector
from parsl.launchers import SimpleLauncher
from parsl.providers import (
    CondorProvider,
    GridEngineProvider,
    LocalProvider,
    LSFProvider,
    PBSProProvider,
    SlurmProvider,
    TorqueProvider,
)

from harness.htex import jobs
from harness.releases import supported
from harness.releases.supported import OLDEST, WINDOW
from harness.setup import environment
from htex_interchange import (
    HighThroughputExecutor,
    MPIExecutor,
    PackManagerSelector,
    SpreadManagerSelector,
)
from htex_interchange.flags import placement_flags, walltime_s

OURS = ["/somewhere/htex-interchange"]


class Kind(str, enum.Enum):
    TRAINING = "training"


class Level(enum.IntEnum):
    HIGH = 3


class Recorder:
    """A fake pipe to the interchange that records the messages."""

    def __init__(self) -> None:
        self.messages = []

    def put(self, message) -> None:
        self.messages.append(message)


def unstarted(**options) -> HighThroughputExecutor:
    """Returns an executor whose tasks are never sent."""
    options.setdefault("interchange_launch_cmd", OURS)
    options.setdefault("address", "127.0.0.1")
    htex = HighThroughputExecutor(**{"survive": False, **options})
    htex.outgoing_q = Recorder()
    return htex


def sent(htex, specification) -> dict:
    """Submits a task with a specification, which must stay unchanged; returns the context of its
    message."""
    before = copy.deepcopy(specification)
    htex.submit(jobs.add, specification, 1, 2)
    assert specification == before
    return htex.outgoing_q.messages[-1]["context"]


ACCEPTED = [
    ({"cores": 4}, {"cores": 4}),
    ({"cores": 0.5, "memory": 2048}, {"cores": 0.5, "memory": 2048}),
    ({"cores": numpy.int64(4)}, {"cores": 4}),
    ({"cores": numpy.uint8(4)}, {"cores": 4}),
    ({"memory": numpy.float32(0.5)}, {"memory": 0.5}),
    ({"cores": numpy.float32(0.1)}, {"cores": 0.1}),
    ({"cores": numpy.float16(1e4)}, {"cores": 1e4}),
    ({"memory": numpy.float64(0.1)}, {"memory": 0.1}),
    ({"memory": numpy.longdouble(0.5)}, {"memory": 0.5}),
    ({"cores": numpy.array(4)}, {"cores": 4}),
    ({"cores": numpy.array(0.1, dtype="float32")}, {"cores": 0.1}),
    ({"node": {"cpu_count": numpy.array(8)}}, {"node": {"cpu_count": 8}}),
    ({"cores": fractions.Fraction(5, 2)}, {"cores": 2.5}),
    ({"memory": decimal.Decimal("1.5")}, {"memory": 1.5}),
    ({"cores": Level.HIGH}, {"cores": 3}),
    ({"memory": 2**70}, {"memory": float(2**70)}),
    ({"running_time_min": 60}, {"running_time_min": 60}),
    ({"manager_affinity": "a set"}, {"manager_affinity": "a set"}),
    ({"manager_affinity": b"\0\xff"}, {"manager_affinity": b"\0\xff"}),
    ({"manager_affinity": 0}, {"manager_affinity": 0}),
    ({"manager_affinity": False}, {"manager_affinity": False}),
    ({"manager_affinity": 2.5}, {"manager_affinity": 2.5}),
    ({"manager_affinity": ("a", 1, (b"b", ()))}, {"manager_affinity": ("a", 1, (b"b", ()))}),
    ({"manager_affinity": Kind.TRAINING}, {"manager_affinity": "training"}),
    (
        {"manager_affinity": (numpy.int8(1), numpy.str_("x"), numpy.bytes_(b"y"))},
        {"manager_affinity": (1, "x", b"y")},
    ),
    ({"manager_affinity": numpy.bool_(True)}, {"manager_affinity": True}),
    ({"manager_affinity": numpy.array("x")}, {"manager_affinity": "x"}),
    ({"cores": 1, "gpus": 0, "disk": decimal.Decimal(0)}, {"cores": 1}),
    ({"manager_affinity": "x" * 1000}, {"manager_affinity": "x" * 1000}),
    ({"task_type": "training"}, {"task_type": "training"}),
    ({"task_type": Kind.TRAINING}, {"task_type": "training"}),
    (
        {"task_type": "a", "routing": "hard"},
        {"task_type": "a", "routing": "hard"},
    ),
    ({"node": {"hostname": "gpu*"}}, {"node": {"hostname": ["gpu*"]}}),
    (
        {"node": {"hostname": ("a", "b"), "block_id": ["1"], "cpu_count": numpy.int32(8)}},
        {"node": {"hostname": ["a", "b"], "block_id": ["1"], "cpu_count": 8}},
    ),
    ({"node": {"total_memory": 1e6, "hostname": None}}, {"node": {"total_memory": 1e6}}),
]


@pytest.mark.parametrize(("specification", "placement"), ACCEPTED)
def test_placement_is_sent_as_plain_values_outside_the_resource_spec(specification, placement):
    htex = unstarted()
    assert sent(htex, specification) == {"resource_spec": {}, "placement": placement}
    with_priority = {"priority": 5, **specification}
    context = sent(htex, with_priority)
    assert context == {"resource_spec": {"priority": 5}, "placement": placement}

    def plain(value):
        members = value.values() if isinstance(value, dict) else value
        if isinstance(value, (dict, list, tuple)):
            return all(map(plain, members))
        return type(value) in (str, bytes, int, float, bool)

    assert plain(context["placement"])


@pytest.mark.parametrize(
    "specification",
    [
        {"cores": None, "task_type": None, "node": None, "gpus": None, "disk": None},
        {"cores": 0, "memory": 0.0, "running_time_min": numpy.int64(0)},
        {"gpus": 0, "disk": 0.0},
        {"gpus": numpy.uint8(0), "disk": fractions.Fraction(0), "cores": numpy.array(0)},
        {"node": {}},
        {"node": {"hostname": None, "cpu_count": 0}},
        {"manager_affinity": None, "routing": None},
    ],
)
def test_requests_for_nothing_are_left_out(specification):
    context = sent(unstarted(), specification)
    assert "placement" not in context
    # A worker would export these keys.
    assert context["resource_spec"] == {}


def test_without_placement_words_the_messages_are_parsls():
    htex = unstarted()
    specification = {"priority": 1}
    assert sent(htex, specification) == {"resource_spec": {"priority": 1}}
    assert htex.outgoing_q.messages[-1]["context"]["resource_spec"] is specification
    assert sent(htex, {}) == {}
    # A context made by hand reaches the worker unchanged.
    context = {"task_executor": {"f": "x.y"}, "resource_spec": {"mine": 1}}
    htex.submit_payload(context, b"")
    assert htex.outgoing_q.messages[-1]["context"] is context


def test_placement_keys_of_a_context_made_by_hand_move_too():
    htex = unstarted()
    context = {"resource_spec": {"cores": numpy.int64(2), "mine": 1}, "other": 5}
    before = copy.deepcopy(context)
    htex.submit_payload(context, b"")
    assert context == before
    assert htex.outgoing_q.messages[-1]["context"] == {
        "resource_spec": {"mine": 1},
        "placement": {"cores": 2},
        "other": 5,
    }
    with pytest.raises(InvalidResourceSpecification, match="'cores'"):
        htex.submit_payload({"resource_spec": {"cores": "2"}}, b"")
    assert len(htex.outgoing_q.messages) == 1 and htex.outstanding() == 2


NO_AMOUNTS = [
    "4",
    True,
    numpy.bool_(True),
    -1,
    -0.5,
    float("nan"),
    float("inf"),
    decimal.Decimal("NaN"),
    decimal.Decimal("sNaN"),
    numpy.float32("inf"),
    1j,
    10**400,
    [4],
    {},
    numpy.array([1]),
    numpy.array(True),
    numpy.array(-1.0),
    object(),
]
NO_AFFINITIES = [
    [1],
    {"a": 1},
    {1},
    object(),
    1j,
    float("nan"),
    (1, [2]),
    (1, None),
    ((((((((((1,),),),),),),),),),),
    "x" * 1001,
    "ä" * 501,
    "\ud800",
    b"x" * 1001,
    2**9000,
    tuple(range(200)),
    decimal.Decimal(1),
    Level,
    numpy.array([1]),
]
NO_TEXTS = ["", 5, b"a", ["a"], "x" * 1001, "ä" * 501, "\ud800"]
NO_PATTERNS = ["", 5, b"a", "x" * 1001, "\ud800", [], [5], ["a", ""], ["a"] * 65, {"a"}]
REFUSED = [
    *[(key, bad) for key in ("cores", "memory", "running_time_min") for bad in NO_AMOUNTS],
    *[("manager_affinity", bad) for bad in NO_AFFINITIES],
    *[("task_type", bad) for bad in NO_TEXTS],
    *[("routing", bad) for bad in ("Hard", "", 1, True, b"hard")],
    *[("node", bad) for bad in ("gpu*", 5, ["gpu*"], {"gpus": 1}, {5: 1})],
    *[("node", {key: bad}) for key in ("cpu_count", "total_memory") for bad in NO_AMOUNTS],
    *[("node", {key: bad}) for key in ("hostname", "block_id") for bad in NO_PATTERNS],
]


@pytest.mark.parametrize(
    ("key", "bad"), REFUSED, ids=[f"{key}-{number}" for number, (key, _) in enumerate(REFUSED)]
)
def test_a_bad_value_is_refused_with_the_key_and_what_it_takes(key, bad):
    htex = unstarted()
    with pytest.raises(InvalidResourceSpecification) as caught:
        htex.submit(jobs.add, {"priority": 1, "task_type": "a", key: bad}, 1, 2)
    text = str(caught.value)
    assert caught.value.invalid_keys == {key}
    assert f"'{key}' is " in text and " it must be " in text
    assert len(text) < 600
    if isinstance(bad, dict) and isinstance(inner := next(iter(bad), None), str):
        assert inner in text
    assert not htex.outgoing_q.messages and htex.outstanding() == 0


@pytest.mark.parametrize(
    ("specification", "keys", "texts"),
    [
        ({"gpus": 1}, {"gpus"}, ["available_accelerators", "Leave it out"]),
        ({"gpus": False}, {"gpus"}, ["Leave it out"]),
        ({"gpus": numpy.array([0])}, {"gpus"}, ["Leave it out"]),
        ({"disk": 1000, "cores": 1}, {"disk"}, ["node={'hostname'", "Leave it out"]),
        ({"cores": numpy.array([[1, 2]])}, {"cores"}, ["an array of shape (1, 2)", "a number of"]),
        ({"manager_affinity": (1, numpy.array([1]))}, {"manager_affinity"}, ["of shape (1,)"]),
        ({"core": 1}, {"core"}, ["priority, cores, memory, running_time_min"]),
        ({"core": None, "x": 1, "cores": 1}, {"core", "x"}, ["manager_affinity, task_type"]),
        ({"num_nodes": 1}, {"num_nodes"}, ["The supported keys are"]),
        ({5: 1}, {5}, ["The supported keys are"]),
        ({"routing": "hard"}, {"routing"}, ["without a task_type"]),
        ({"routing": "hard", "task_type": None}, {"routing"}, ["without a task_type"]),
        (["cores"], set(), ["should be a dict, not list"]),
    ],
)
def test_keys_that_htex_does_not_know_are_refused_with_a_remedy(specification, keys, texts):
    with pytest.raises(InvalidResourceSpecification) as caught:
        unstarted().submit(jobs.add, specification, 1, 2)
    assert caught.value.invalid_keys == keys
    assert all(text in str(caught.value) for text in texts), str(caught.value)


def test_a_value_whose_text_cannot_be_made_is_refused_as_well():
    class Nameless:
        def __repr__(self) -> str:
            raise RuntimeError

    with pytest.raises(InvalidResourceSpecification, match="'cores' is a Nameless"):
        unstarted().submit(jobs.add, {"cores": Nameless()}, 1, 2)


@pytest.mark.parametrize("affinity", ["block", "alternating", "block-reverse", "list:0,1:2,3"])
def test_a_pinned_worker_has_its_own_cores_and_no_others(affinity):
    htex = unstarted(cpu_affinity=affinity, cores_per_worker=2)
    with pytest.raises(InvalidResourceSpecification) as caught:
        htex.submit(jobs.add, {"cores": 3}, 1, 2)
    assert caught.value.invalid_keys == {"cores"}
    for text in ("'cores' is 3", f"cpu_affinity='{affinity}'", "cores_per_worker, which is 2.0"):
        assert text in str(caught.value)
    # The share of one worker, and requests that pinning does not affect, are accepted.
    assert sent(htex, {"cores": 2})["placement"] == {"cores": 2}
    assert sent(htex, {"memory": 10**6})["placement"] == {"memory": 10**6}
    assert sent(unstarted(), {"cores": 3})["placement"] == {"cores": 3}


def test_parsls_own_executors_refuse_the_words_as_before():
    for kind in (parsl.HighThroughputExecutor, MPIExecutor):
        options = {"max_workers_per_block": 1} if kind is MPIExecutor else {}
        if options:
            options["provider"] = LocalProvider(launcher=SimpleLauncher())
            options["survive"] = False
            options["interchange_launch_cmd"] = "htex-interchange"
        htex = kind(address="127.0.0.1", **options)
        with pytest.raises(InvalidResourceSpecification):
            htex.validate_resource_spec({"cores": 1})
        assert not any("--" in word for word in htex.interchange_launch_cmd)


def slots(htex, *specifications) -> int:
    for specification in specifications:
        htex.submit(jobs.add, specification, 1, 2)
    return htex.outstanding()


def test_outstanding_counts_slots():
    htex = unstarted(cores_per_worker=2, mem_per_worker=1)
    assert slots(htex, {}, {"priority": 1}, {"cores": 2}, {"task_type": "a"}) == 4
    assert slots(htex, {"cores": 3}) == 6
    assert slots(htex, {"memory": 1024}) == 7
    assert slots(htex, {"memory": 1025}) == 9
    assert slots(htex, {"cores": 7, "memory": 10}) == 13
    first, *_, last = htex.tasks.values()
    # Removes the task from the executor's records before it sets the result, as the executor does.
    for future, left in ((last, 9), (first, 8)):
        (task_id,) = (number for number, one in htex.tasks.items() if one is future)
        htex.tasks.pop(task_id).set_result(None)
        assert htex.outstanding() == left
    htex.set_bad_state_and_fail_all(RuntimeError("the end"))
    assert htex.outstanding() == 0


@pytest.mark.parametrize(
    ("cores", "share", "wanted"),
    [(0.3, 0.1, 3), (0.7, 0.1, 7), (numpy.float32(0.7), 0.1, 7), (3, 1, 3), (3.001, 1, 4)],
)
def test_fractions_of_cores_are_counted_without_rounding_errors(cores, share, wanted):
    assert slots(unstarted(cores_per_worker=share), {"cores": cores}) == wanted


def test_a_task_asks_for_no_more_than_a_node():
    """If the slots of a node are known, a larger task counts only as one node: more nodes would not
    make it fit."""
    assert slots(unstarted(), {"cores": 100}) == 100
    assert slots(unstarted(max_workers_per_node=8), {"cores": 100}) == 8
    provider = LocalProvider()
    provider.cores_per_node = 16
    assert slots(unstarted(provider=provider), {"cores": 100}) == 16
    assert slots(unstarted(available_accelerators=2), {"cores": 100}) == 2


def test_without_a_share_of_memory_that_of_the_provider_counts():
    provider = LocalProvider()
    assert slots(unstarted(provider=provider), {"memory": 10**6}) == 1
    provider.mem_per_node, provider.cores_per_node = 64, 16
    assert slots(unstarted(provider=provider), {"memory": 4 * 1024}) == 1
    assert slots(unstarted(provider=provider), {"memory": 4 * 1024 + 1}) == 2


def test_the_interchange_gets_placement_flags():
    assert unstarted().interchange_launch_cmd == [*OURS, "--cores-per-worker=1.0"]
    provider = PBSProProvider(walltime="10:00:00")
    htex = unstarted(
        cores_per_worker=numpy.float64(0.5),
        mem_per_worker=1.5,
        provider=provider,
        task_type_routing="hard",
        hold_failing_managers=True,
        interchange_launch_cmd=[*OURS, "--events", "events.jsonl", "--walltime-s", "60"],
    )
    assert htex.interchange_launch_cmd == [
        *OURS,
        *("--events", "events.jsonl", "--walltime-s", "60"),
        "--cores-per-worker=0.5",
        "--memory-per-worker-mb=1536.0",
        "--task-type-routing=hard",
        "--hold-failing-managers",
    ]
    assert "--walltime-s=36000" in placement_flags(htex)
    # The command of another program stays unchanged.
    for command in (["interchange.py"], ["taskset", "-c", "0", "htex-interchange"]):
        assert unstarted(interchange_launch_cmd=command).interchange_launch_cmd == command
    one_word = unstarted(interchange_launch_cmd="htex-interchange")
    assert one_word.interchange_launch_cmd == ["htex-interchange", "--cores-per-worker=1.0"]


@pytest.mark.ours_only("its command line is ours")
def test_the_program_takes_the_flags_that_it_is_given():
    htex = unstarted(
        cores_per_worker=1e-5,
        mem_per_worker=1e12,
        provider=PBSProProvider(walltime="10:00:00"),
        task_type_routing="hard",
        hold_failing_managers=True,
    )
    flags = placement_flags(htex)
    assert len(flags) == 5
    # The configuration is missing, which the program reports only after it has read the flags.
    program = [str(environment.binary()), *flags]
    told = subprocess.run(program, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert told.returncode == 1 and "start-up configuration" in told.stderr, told
    wrong = [*program[:-3], "--walltime-s=10:00:00"]
    told = subprocess.run(wrong, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert told.returncode == 2 and "seconds above 0" in told.stderr


class Walled(LocalProvider):
    """A user's own provider."""

    def __init__(self, walltime) -> None:
        super().__init__()
        self.walltime = walltime


class AWSProvider(Walled):
    """Stands for Parsl's provider, which cannot be constructed without boto3."""


@pytest.mark.parametrize(
    ("provider", "wanted"),
    [
        (LocalProvider, None),
        (lambda: SlurmProvider(walltime="01:30:00"), 5400),
        # These two providers ask for whole minutes.
        (lambda: SlurmProvider(walltime="01:30:59"), 5400),
        (lambda: LSFProvider(walltime="00:02:30"), 120),
        # Slurm reads 0 minutes as no limit.
        (lambda: SlurmProvider(walltime="00:00:30"), None),
        (lambda: TorqueProvider(walltime="00:20:30"), 1230),
        (lambda: PBSProProvider(walltime="100:00:00"), 360_000),
        (lambda: GridEngineProvider(walltime="00:10:00"), 600),
        # This provider does not pass the walltime to its batch system.
        (lambda: CondorProvider(walltime="00:10:00"), None),
        (lambda: AWSProvider("01:00:00"), None),
        (lambda: Walled("1-02:03:04"), 93_784),
        (lambda: Walled("1:02:03:04"), 93_784),
        (lambda: Walled("03:04"), 184),
        (lambda: Walled("90"), 90),
        (lambda: Walled(90), 90),
        (lambda: Walled("00:00:00"), None),
        (lambda: Walled(None), None),
    ],
)
def test_the_walltime_that_a_batch_system_holds(provider, wanted, caplog):
    assert walltime_s(provider()) == wanted
    assert not [record for record in caplog.records if "walltime" in record.getMessage()]


@pytest.mark.parametrize("walltime", ["UNLIMITED", "", "-5", "1 day", "::", object()])
def test_an_unreadable_walltime_is_not_passed_on(walltime, caplog):
    assert walltime_s(Walled(walltime)) is None
    (record,) = caplog.records
    assert repr(walltime) in record.getMessage() and "running_time_min" in record.getMessage()


def test_the_constructor_has_its_own_options():
    htex = unstarted(task_type_routing="hard", hold_failing_managers=True)
    assert "task_type_routing='hard'" in repr(htex)
    assert "hold_failing_managers=True" in repr(htex)
    assert "cores_per_worker=1.0" in repr(htex)
    told = inspect.signature(HighThroughputExecutor).parameters
    theirs = inspect.signature(parsl.HighThroughputExecutor).parameters
    assert list(told) == [*theirs, "task_type_routing", "hold_failing_managers", "survive"]
    assert told["hold_failing_managers"].kind is inspect.Parameter.KEYWORD_ONLY
    for bad in ("Hard", "", None, 1):
        with pytest.raises(ValueError, match="'soft' or 'hard'"):
            HighThroughputExecutor(task_type_routing=bad)
    for bad in (1, "yes", None):
        with pytest.raises(TypeError, match="True or False"):
            HighThroughputExecutor(hold_failing_managers=bad)


def records(**managers) -> dict:
    """Returns managers' records: `a=("0", 4, 3)` is a manager of block 0 with 4 workers and 3
    tasks."""
    return {
        name.encode(): {
            "block_id": block,
            "worker_count": workers,
            "max_capacity": workers + 2,
            "tasks": list(range(tasks)),
        }
        for name, (block, workers, tasks) in managers.items()
    }


def best_first(selector: ManagerSelector, managers: dict) -> str:
    """Returns the managers' names with the best first; the interchange takes managers from the end
    of the selector's list."""
    order = selector.sort_managers(managers, set(managers))
    return b"".join(reversed(order)).decode()


def test_spread_levels_out_and_prefetches_last():
    managers = records(a=("0", 4, 3), b=("0", 4, 0), c=("1", 4, 4), d=("1", 1, 1), e=(None, 8, 2))
    assert best_first(SpreadManagerSelector(), managers) == "beadc"


def test_pack_fills_the_fullest_and_leaves_whole_blocks_alone():
    managers = records(a=("1", 4, 1), b=("0", 4, 0), c=("2", 4, 4), d=("1", 4, 0), e=(None, 4, 3))
    assert best_first(PackManagerSelector(), managers) == "eabdc"
    managers = records(a=("1", 4, 0), b=("0", 4, 0), c=("1", 4, 0), d=("0", 4, 0))
    assert best_first(PackManagerSelector(), managers) == "bdac"


def test_selectors_rank_only_the_given_managers():
    managers = records(a=("0", 4, 0), b=("0", 4, 1))
    for selector in (SpreadManagerSelector(), PackManagerSelector()):
        assert selector.sort_managers(managers, {b"b"}) == [b"b"]
        assert selector.sort_managers(managers, set()) == []


def short_or_long(name: str):
    """A short run takes only the oldest release; all other tests use the newest."""
    return pytest.param(name, id=name, marks=() if name == OLDEST else pytest.mark.long)


@pytest.mark.timeout(400)
@pytest.mark.ours_only("stock has no such words")
@pytest.mark.parametrize("name", [short_or_long(name) for name in WINDOW])
def test_each_release_of_the_window(name, tmp_path):
    """The placement is at the right place in a task's message, and no worker exports its keys."""
    release = supported.release(name)
    request = {"run_dir": str(tmp_path / "run"), "interchange": str(environment.binary())}
    report = release.report_of("harness.releases.placement_program", request, tmp_path)
    placement = {"cores": 2, "manager_affinity": "x", "task_type": "t"}
    of_this_release = report.pop("with_context")
    assert of_this_release is (release.version >= (2025, 9, 29))
    assert report == {
        "placement": placement,
        "resource_spec": {"priority": 3},
        "plain_has_placement": False,
        "specification": {"priority": 3, **placement},
        "outstanding": [3, 0],
        "refused": ["cores", "gpus", "mine", "routing"],
        "results": [3, 3],
        "exported": [["PARSL_PRIORITY=3"], ["PARSL_PRIORITY=3"]],
        "threads_got": {str(number): number + 1 for number in range(8)},
    }


def test_a_future_that_is_cancelled_gives_its_slots_back():
    htex = unstarted()
    future: Future = htex.submit(jobs.add, {"cores": 4}, 1, 2)
    assert htex.outstanding() == 4
    # Parsl keeps a cancelled task in its records until the result arrives.
    assert future.cancel() and htex.outstanding() == 1
