"""Loads a user's Parsl configuration for `htex-interchange doctor`, and tells what is in it.

Nothing is started and no file is written: a program that would start its configuration is ended
there. Says `loading` when Parsl is imported and `loaded` behind the user's file, then one JSON
document. Attributes come and go between
releases, so each is asked for by name, and those that are missing are told as unknown.
"""

import importlib.util
import inspect
import json
import math
import os
import pickle
import subprocess
import sys
import traceback

answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
# What the user's file prints must not stand in the answer.
os.dup2(2, 1)
sys.dont_write_bytecode = True
place = os.path.abspath(sys.argv[1])
sys.argv = [place]
# As for a program in that file.
sys.path[0] = os.path.dirname(place)

TRACEBACK_LINES = 12
SELECTOR_WITHIN_S = 20
LOAD_SELECTOR = "import pickle, sys; pickle.load(sys.stdin.buffer)"


class Stopped(BaseException):
    """Here the user's program would have started its executors."""


def say(line):
    answers.write(line + "\n")
    answers.flush()


def told(document):
    say(json.dumps(document))
    os._exit(0)


def plain(value):
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return int(value) if abs(value) < 1 << 62 else None
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, os.PathLike):
        value = os.fsdecode(os.fspath(value))
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, (set, frozenset)):
        return sorted(str(one) for one in value)
    return name_of(value)


def path(value):
    """Byte for byte: JSON has no text for one that is not UTF-8."""
    try:
        return list(os.fsencode(value))
    except (TypeError, ValueError):
        return None


def name_of(value):
    kind = value if isinstance(value, type) else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def attributes(thing, names, unknown, prefix=""):
    found = {}
    for name in names:
        try:
            found[name] = PLACES.get(name, plain)(getattr(thing, name))
        except Exception:
            unknown.append(prefix + name)
    return found


def selector_of(executor, unknown):
    selector = getattr(executor, "manager_selector", None)
    if selector is None:
        unknown.append("manager_selector")
        return None
    about = {
        "class": name_of(selector),
        "sorts": callable(getattr(selector, "sort_managers", None)),
        "trouble": None,
    }
    if not about["class"].startswith("parsl."):
        about["trouble"] = loading_trouble(selector)
    return about


def loading_trouble(selector):
    """What the interchange would meet, which loads it in a process of its own."""
    try:
        pickled = pickle.dumps(selector)
    except Exception as reason:
        return f"it cannot be pickled: {type(reason).__name__}: {reason}"[:500]
    try:
        child = subprocess.run(
            [sys.executable, "-c", LOAD_SELECTOR],
            input=pickled,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=SELECTOR_WITHIN_S,
        )
    except subprocess.TimeoutExpired:
        return f"it was not loaded in {SELECTOR_WITHIN_S} s"
    if child.returncode == 0:
        return None
    lines = child.stderr.decode("utf-8", "replace").strip().splitlines()
    return (lines or ["no reason given"])[-1][:500]


EXECUTOR = (
    "label",
    "address",
    "all_addresses",
    "loopback_address",
    "interchange_launch_cmd",
    "launch_cmd",
    "worker_port",
    "worker_port_range",
    "interchange_port_range",
    "encrypted",
    "cert_dir",
    "heartbeat_period",
    "heartbeat_threshold",
    "drain_period",
    "poll_period",
    "max_workers_per_node",
    "cores_per_worker",
    "prefetch_capacity",
    "worker_logdir_root",
)
PROVIDER = (
    "init_blocks",
    "min_blocks",
    "max_blocks",
    "nodes_per_block",
    "parallelism",
    "walltime",
    "launcher",
    "worker_init",
)
# Directories, that are looked into.
PLACES = {"cert_dir": path}
# Not every provider has them, and nobody misses them.
OPTIONAL = {"provider.walltime", "provider.launcher", "provider.worker_init"}


def executor_of(executor, config):
    unknown = []
    about = attributes(executor, EXECUTOR, unknown)
    about["class"] = name_of(executor)
    about["manager_selector"] = selector_of(executor, unknown)
    provider = getattr(executor, "provider", None)
    about["provider"] = None
    if provider is not None:
        about["provider"] = attributes(provider, PROVIDER, unknown, "provider.")
        about["provider"]["class"] = name_of(provider)
    about["run_dir"] = path(getattr(config, "run_dir", None))
    about["strategy"] = plain(getattr(config, "strategy", None))
    about["has_config"] = config is not None
    about["monitoring"] = getattr(config, "monitoring", None) is not None
    about["log_config"] = plain(getattr(config, "initialize_logging", None))
    about["unknown"] = [name for name in unknown if name not in OPTIONAL]
    return about


def lines_of(reason):
    """The last lines of the traceback, from the user's file on."""
    frames = reason.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename != place:
        frames = frames.tb_next
    lines = traceback.format_exception(type(reason), reason, frames)
    lines = "".join(lines).rstrip().splitlines()
    # Marks below a line lose their place where lines are wrapped.
    return [line for line in lines if line.strip(" ^~")][-TRACEBACK_LINES:]


def ask_nobody_outside(addresses):
    """An executor without an address looks for one, and asks a service on the internet as well,
    which may take long to fail. What the user's own file calls is left as it is."""
    original = addresses.address_by_query

    def address_by_query(*arguments, **options):
        caller = sys._getframe(1).f_code.co_name
        if caller in ("get_all_addresses", "get_any_address"):
            raise RuntimeError("no service is asked")
        return original(*arguments, **options)

    addresses.address_by_query = address_by_query


document = {
    "python": "{}.{}.{}".format(*sys.version_info),
    "path": plain(os.environ.get("PATH", os.defpath)),
    "parsl": None,
    "parsl_trouble": None,
    "curve": None,
    "error": None,
    "executors": [],
    "others": [],
    "names": [],
}
try:
    import parsl
    import parsl.addresses
    from parsl.config import Config
    from parsl.dataflow.dflow import DataFlowKernel
    from parsl.executors import HighThroughputExecutor
    from parsl.executors.base import ParslExecutor
    from parsl.version import VERSION
except BaseException as reason:
    document["parsl_trouble"] = plain(f"{type(reason).__name__}: {reason}")
    told(document)
document["parsl"] = plain(str(VERSION))
try:
    import zmq

    document["curve"] = bool(zmq.has("curve"))
except Exception:
    pass

loaded = []
found_executors = []


def capture_config(self, config=None, *arguments, **options):
    loaded.append(config)
    raise Stopped


def capture_executor(self, *arguments, **options):
    found_executors.append(("what is started", self, None))
    raise Stopped


DataFlowKernel.__init__ = capture_config
HighThroughputExecutor.start = capture_executor
ask_nobody_outside(parsl.addresses)

say("loading")

# By its own name, as a program that imports it would: a class of it is pickled by that name.
name = os.path.splitext(os.path.basename(place))[0]


def load(as_name):
    """The module, as far as it came."""
    spec = importlib.util.spec_from_file_location(as_name, place)
    if spec is None:
        raise ImportError(f"{place} has no name of a Python file (.py)")
    module = importlib.util.module_from_spec(spec)
    if as_name not in sys.modules or as_name == "__main__":
        sys.modules[as_name] = module
    try:
        spec.loader.exec_module(module)
    except Stopped:
        pass
    except BaseException:
        # Behind a program that was ended, what tidies up may fail.
        if not loaded and not found_executors:
            raise
    return module


def is_found(module):
    kinds = (Config, ParslExecutor)
    return (
        loaded
        or found_executors
        or any(
            isinstance(value, kinds) or makes_a_config(key, value)
            for key, value in vars(module).items()
        )
    )


def has_a_guard():
    """`if __name__ == "__main__":`, behind which a program makes what it starts."""
    with open(place, encoding="utf-8", errors="replace") as file:
        return "__main__" in file.read()


def makes_a_config(key, value):
    if not inspect.isfunction(value) or "config" not in key.lower():
        return False
    needed = [
        one
        for one in inspect.signature(value).parameters.values()
        if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]
    return not needed


try:
    module = load(name)
    if not is_found(module) and has_a_guard():
        module = load("__main__")
except BaseException as reason:
    document["error"] = [plain(line) for line in lines_of(reason)]
    told(document)

configs = [("what parsl.load() is given", config) for config in loaded if config is not None]
values = list(vars(module).items())
configs += [(key, value) for key, value in values if isinstance(value, Config)]
found_executors += [(key, value, None) for key, value in values if isinstance(value, ParslExecutor)]

if not configs and not found_executors:
    for key, value in values:
        if not makes_a_config(key, value):
            continue
        try:
            made = value()
        except BaseException as reason:
            document["error"] = [plain(line) for line in lines_of(reason)]
            told(document)
        if isinstance(made, Config):
            configs.append((key + "()", made))
        elif isinstance(made, ParslExecutor):
            found_executors.append((key + "()", made, None))
say("loaded")

whole = [
    (key, executor, config)
    for key, config in configs
    for executor in getattr(config, "executors", ())
] + found_executors
seen = set()
for key, executor, config in whole:
    if id(executor) in seen:
        continue
    seen.add(id(executor))
    if key not in document["names"]:
        document["names"].append(plain(key))
    if isinstance(executor, HighThroughputExecutor):
        document["executors"].append(executor_of(executor, config))
    else:
        document["others"].append(plain(getattr(executor, "label", None)) or name_of(executor))
# The file may have changed it.
document["path"] = plain(os.environ.get("PATH", os.defpath))
told(document)
