"""Loads a user's Parsl configuration for `htex-interchange doctor`, and tells what is in it.

Nothing is started: a program that would start its configuration is ended there. Says `loading`
when Parsl is imported and `loaded` behind the user's file, then one JSON document. Attributes come
and go between releases, so each is asked for by name, and those that are missing are told as
unknown.

Its arguments: the file; the texts of `factories.py`, `surroundings.py`, `troubles.py` and
`guard.py`, which is empty if the file may do what it wants; and those of the user's program.
"""

import ast
import contextlib
import importlib
import importlib.machinery
import importlib.util
import inspect
import json
import math
import os
import pickle
import subprocess
import sys
import threading
import types

answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
# What the user's file prints must not stand in the answer.
os.dup2(2, 1)
sys.dont_write_bytecode = True
place = os.path.abspath(sys.argv[1])
text_of_factories, text_of_surroundings, text_of_troubles, text_of_guard = sys.argv[2:6]
sys.argv = [place, *sys.argv[6:]]
# As for a program in that file.
sys.path[0] = os.path.dirname(place)


def module_of(name, text):
    module = types.ModuleType(name)
    exec(compile(text, f"<{name}>", "exec"), vars(module))
    return module


def tree_of(source):
    """Empty if it is no Python; loading it says why."""
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError):
        return ast.Module(body=[], type_ignores=[])


with open(place, "rb") as file:
    source = file.read()
tree = tree_of(source)
factories = module_of("factories", text_of_factories)
surroundings = module_of("surroundings", text_of_surroundings)
surroundings.watch()
troubles = module_of("troubles", text_of_troubles)
troubles.set_up(place, tree, surroundings)
guard = module_of("guard", text_of_guard) if text_of_guard else None
if guard:
    guard.set_up(place)

SELECTOR_WITHIN_S = 20
LOAD_SELECTOR = "import pickle, sys; pickle.load(sys.stdin.buffer)"
# Whoever catches everything catches the end of the program as well. With --run it may tidy up.
UNHEEDED_AFTER_S = 1 if guard else 10
# Configurations are kept by site, and executors in lists.
WITHIN_MAX = 3
EACH_MAX = 1000
SET_UP_GUARD = "\nsys.dont_write_bytecode = True\nset_up(None)\n"


class Stopped(BaseException):
    """Here the user's program would have started its executors."""


def say(line):
    answers.write(line + "\n")
    answers.flush()


def told(document):
    for one in guard.noted if guard else ():
        not_done = {"line": plain(one["line"]), "would": plain(one["would"])}
        if not_done not in document["not_done"]:
            document["not_done"].append(not_done)
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
    """Byte for byte: JSON has no text for one that is not UTF-8. A relative one is where the file
    went."""
    try:
        value = os.fsencode(value)
        # An empty one names nothing.
        return list(os.path.abspath(value) if value else value)
    except (TypeError, ValueError):
        return None
    except OSError:
        return list(value)


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
    program = text_of_guard and text_of_guard + SET_UP_GUARD
    try:
        with guard.as_ours() if guard else contextlib.nullcontext():
            child = subprocess.run(
                [sys.executable, "-c", program + LOAD_SELECTOR],
                input=pickled,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=SELECTOR_WITHIN_S,
            )
    except subprocess.TimeoutExpired:
        return f"it was still loading after {SELECTOR_WITHIN_S} s"
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
    "enable_mpi_mode",
    "mpi_launcher",
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


RUNS_COMMANDS = {"submit", "execute_wait"}


def kinds_of(provider):
    """Its class and those whose commands it runs: one with a way of its own runs not Parsl's."""
    kinds = []
    for kind in type(provider).__mro__:
        kinds.append(name_of(kind))
        if not kinds[-1].startswith("parsl.") and RUNS_COMMANDS & set(vars(kind)):
            break
    return kinds


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
        about["provider"]["kinds"] = kinds_of(provider)
        channel = getattr(provider, "channel", None)
        about["provider"]["channel"] = channel and name_of(channel)
        launcher = getattr(provider, "launcher", None)
        about["provider"]["launcher_prepend"] = plain(getattr(launcher, "prepend", None))
    about["run_dir"] = path(getattr(config, "run_dir", None))
    about["strategy"] = plain(getattr(config, "strategy", None))
    about["config"] = None if config is None else id(config)
    hub = getattr(config, "monitoring", None)
    # Parsl asks no more of it than `if`.
    about["monitoring"] = bool(hub)
    if hub:
        # In older releases the hub has it, in newer ones the executor's radio.
        if hasattr(executor, "remote_monitoring_radio"):
            holder, prefix = executor.remote_monitoring_radio, ""
        else:
            holder, prefix = hub, "hub_"
        about["monitoring_port"] = plain(getattr(holder, prefix + "port", None))
        about["monitoring_address"] = plain(getattr(holder, prefix + "address", None))
    about["log_config"] = plain(getattr(config, "initialize_logging", None))
    about["unknown"] = [name for name in unknown if name not in OPTIONAL]
    return about


def trouble_of(reason, of=None, noted_before=0):
    found = troubles.trouble_of(reason, of, guard.noted[noted_before:] if guard else ())
    return {key: plain(value) for key, value in found.items()}


def ask_nobody_outside(addresses):
    """An executor without an address looks for one, and asks a service on the internet as well,
    which may take long to fail. What the user's own file calls is left as it is."""
    original = addresses.address_by_query

    def address_by_query(*arguments, **options):
        caller = sys._getframe(1).f_code.co_name
        if caller in ("get_all_addresses", "get_any_address"):
            raise RuntimeError("doctor contacts no service")
        return original(*arguments, **options)

    addresses.address_by_query = address_by_query


def ask_no_batch_system():
    """A provider may ask whether a command of its batch system works, to choose among them."""
    with contextlib.suppress(ImportError):
        provider = importlib.import_module("parsl.providers.cluster_provider")
        provider.execute_wait = lambda command, *_: (127, "", f"doctor does not run {command}")


document = {
    "python": "{}.{}.{}".format(*sys.version_info),
    "path": plain(os.environ.get("PATH", os.defpath)),
    "parsl": None,
    "parsl_trouble": None,
    "has_parsl": True,
    "package": None,
    "curve": None,
    "troubles": [],
    "not_done": [],
    "not_called": [],
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
    hiding = troubles.hiding(reason)
    document["parsl_trouble"] = plain(troubles.told(reason) + (f"; {hiding}" if hiding else ""))
    with contextlib.suppress(Exception):
        document["has_parsl"] = importlib.util.find_spec("parsl") is not None
    told(document)
document["parsl"] = plain(str(VERSION))
try:
    import zmq

    document["curve"] = bool(zmq.has("curve"))
except Exception:
    pass

loaded = []
found_executors = []
late = []


def capture_config(self, config=None, *arguments, **options):
    loaded.append(config)
    stop()


def capture_executor(self, *arguments, **options):
    found_executors.append(("the started executor", self, None))
    stop()


def stop():
    """The user's program; and if it goes on for all that, what is known by then is told."""
    late.append(threading.Timer(UNHEEDED_AFTER_S, answer))
    late[-1].daemon = True
    late[-1].start()
    raise Stopped


def has_stopped():
    while late:
        late.pop().cancel()


DataFlowKernel.__init__ = capture_config
HighThroughputExecutor.start = capture_executor
ask_nobody_outside(parsl.addresses)
if guard:
    ask_no_batch_system()

say("loading")

# By its own name, as a program that imports it would: a class of it is pickled by that name.
name = os.path.splitext(os.path.basename(place))[0]


def name_in_package():
    """Its name if it imports from its own package, which the rest is then imported of."""
    parts, above = [name], os.path.dirname(place)
    while os.path.isfile(os.path.join(above, "__init__.py")):
        above, part = os.path.split(above)
        parts.insert(0, part)
    if len(parts) == 1 or not imports_from(parts[0]):
        return name
    document["package"] = {"above": path(above), "member": plain(".".join(parts))}
    sys.path.insert(0, above)
    importlib.import_module(".".join(parts[:-1]))
    return ".".join(parts)


def imports_from(package):
    """Relatively, or by the name of that package where nothing else has it."""
    for step in ast.walk(tree):
        names = [one.name for one in step.names] if isinstance(step, ast.Import) else []
        if isinstance(step, ast.ImportFrom):
            if step.level:
                return True
            names = [step.module]
        if any(one.partition(".")[0] == package for one in names) and is_nowhere(package):
            return True
    return False


def is_nowhere(package):
    return importlib.machinery.PathFinder.find_spec(package) is None


def load(as_name, package=None):
    """The module, as far as it came."""
    loader = importlib.machinery.SourceFileLoader(as_name, place)
    spec = importlib.util.spec_from_file_location(as_name, place, loader=loader)
    module = importlib.util.module_from_spec(spec)
    if package is not None:
        module.__package__ = package
    if as_name not in sys.modules or as_name == "__main__":
        sys.modules[as_name] = module
    try:
        spec.loader.exec_module(module)
    except Stopped:
        pass
    except BaseException as reason:
        found = [*loaded, *found_executors] or any(made_in(module))
        # Behind a program that was ended, what tidies up may fail.
        if not loaded and not found_executors:
            document["troubles"].append(trouble_of(reason))
            if not found:
                told(document)
    has_stopped()
    return module


made_kinds = (Config, ParslExecutor)


def made_in(module):
    """What is bound in it, with its place: `config`, `SITES['a']`, `Site.config`."""
    for key, value in list(vars(module).items()):
        yield from made_of(key, value)
        if is_own_class(value, module):
            for name, one in list(vars(value).items()):
                yield from made_of(f"{key}.{name}", one)


def made_of(key, value, depth=0):
    if isinstance(value, made_kinds):
        yield key, value
    elif depth < WITHIN_MAX and type(value) in (dict, list, tuple):
        within = value.items() if isinstance(value, dict) else enumerate(value)
        for place_within, one in list(within)[:EACH_MAX]:
            yield from made_of(f"{key}[{place_within!r:.50}]", one, depth + 1)


def is_own_class(value, module):
    return (
        isinstance(value, type)
        and value.__module__ == module.__name__
        and not issubclass(value, made_kinds)
    )


def is_found(module):
    is_made = loaded or found_executors or any(made_in(module))
    return is_made or any(is_factory(value) for value in vars(module).values())


def has_a_guard():
    """`if __name__ == "__main__":`, behind which a program makes what it starts."""
    return b"__main__" in source


def is_factory(value):
    is_own = inspect.isfunction(value) and value.__module__ == module_name
    return is_own and factories.makes_one(value, tree, made_kinds)


def call_factories(module):
    for key, value in list(vars(module).items()):
        if not is_factory(value):
            continue
        needed = factories.needed_by(value)
        if needed:
            line = value.__code__.co_firstlineno
            document["not_called"].append(f"{key}({', '.join(needed)}) of line {line}")
            continue
        made, noted_before = None, len(guard.noted) if guard else 0
        try:
            made = value()
        except Stopped:
            pass
        except BaseException as reason:
            document["troubles"].append(trouble_of(reason, key + "()", noted_before))
        has_stopped()
        for made_at, one in made_of(key + "()", made):
            keep(made_at, one)


def keep(key, one):
    if isinstance(one, Config):
        configs.append((key, one))
    elif isinstance(one, ParslExecutor):
        found_executors.append((key, one, None))


def list_methods(module):
    """Nobody can say what their objects are made of."""
    for kind in list(vars(module).values()):
        if not is_own_class(kind, module):
            continue
        for key, value in vars(kind).items():
            if inspect.isfunction(value) and is_factory(value):
                line = value.__code__.co_firstlineno
                document["not_called"].append(f"{kind.__name__}.{key}() of line {line}")


def add_what_is_loaded():
    configs.extend(("the argument of parsl.load()", one) for one in loaded if one is not None)


def answer():
    if not is_answered.acquire(blocking=False):
        # Another thread does, and ends this process.
        threading.Event().wait()
    if not configs:
        add_what_is_loaded()
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
        if plain(key) not in document["names"]:
            document["names"].append(plain(key))
        if isinstance(executor, HighThroughputExecutor):
            document["executors"].append(executor_of(executor, config))
        else:
            document["others"].append(plain(getattr(executor, "label", None)) or name_of(executor))
    # The file may have changed it.
    document["path"] = plain(os.environ.get("PATH", os.defpath))
    told(document)


configs = []
is_answered = threading.Lock()
try:
    module_name = name_in_package()
except BaseException as reason:
    document["troubles"].append(trouble_of(reason))
    told(document)
module = load(module_name)
if not is_found(module) and has_a_guard():
    package = module_name.rpartition(".")[0]
    module_name = "__main__"
    module = load(module_name, package)

add_what_is_loaded()
for key, value in list(made_in(module)):
    keep(key, value)
if not configs and not found_executors:
    call_factories(module)
    list_methods(module)
answer()
