"""Why a user's file did not come to its end. The file is called wrong only where it would be so
everywhere: it is no Python, it names what nobody gave a name, it wants what this Parsl does not
have, or Parsl does not take what is written there. Everything else may go well with other
surroundings, and is told as it is."""

import ast
import importlib.machinery
import linecache
import os
import re
import shlex
import sys
import traceback
import types

TRACEBACK_LINES = 12
MADE_BY = {"__init__", "__new__", "__post_init__"}
NOT_TAKEN = re.compile(
    r"([\w.]+)\(\) (?:got an unexpected|got multiple|got some|missing \d|takes )", re.ASCII
)
# As typeguard has it in its releases: `argument "retries" (str)`, `type of argument "retries"`.
ARGUMENT = re.compile(r"argument ['\"](\w+)['\"]", re.ASCII)
NO_NAME = re.compile(r"cannot import name '(\w+)' from '(parsl(?:\.\w+)*)'", re.ASCII)
OWN_NAMES = {"<string>", "<factories>", "<guard>", "<surroundings>"}

place = tree = surroundings = None


def set_up(file, code, notes):
    """`file` is the user's, `code` its tree, and `notes` the module that watches its questions."""
    global place, tree, surroundings
    place, tree, surroundings = file, code, notes


def trouble_of(reason, of=None, noted=()):
    """What has kept the file, or its function `of`, from coming to its end; `noted` is what it
    would have done until then."""
    lacks = lacked_of_parsl(reason)
    why = None if lacks else circumstances_of(reason, noted)
    return {
        "of": of,
        "is_fault": why is None,
        "lacks": lacks,
        "why": (why or told(reason))[:500],
        "line": line_of(reason),
        "lines": lines_of(reason),
    }


def told(reason):
    return f"{type(reason).__name__}: {reason}"


def circumstances_of(reason, noted):
    """None if there are none: the file itself is wrong."""
    refusals = [one for one in noted if one["is_refused"]]
    # What is made of a file that was not written is no less odd than what was not set.
    is_unlike = surroundings.missed or (noted and not isinstance(reason, TypeError))
    why = None
    if isinstance(reason, SystemExit):
        why = f"it exited with status {reason.code}"
    elif is_of_environment(reason):
        why = f"the environment variable {reason.args[0]} is not set here"
    elif is_wrong_anywhere(reason):
        pass
    elif isinstance(reason, ImportError) or type(reason).__name__ == "OptionalModuleMissing":
        why = why_not_imported(reason)
    elif isinstance(reason, AttributeError) and hiding(reason):
        why = f"{told(reason)}; {hiding(reason)}"
    elif isinstance(reason, IndexError) and "argv" in (line_of(reason) or ""):
        why = "it requires arguments; pass them after --"
    elif refusals:
        why = f"it would {refusals[-1]['would']}, which only --run permits"
    elif is_unlike or not is_rejected_by_parsl(reason):
        why = told(reason) + what_else(reason, noted)
    return why


def what_else(reason, noted):
    """What was not as it might be elsewhere."""
    missed = surroundings.words_for(f"{statement_of(reason)} {reason}")
    if missed:
        return f", and {missed}"
    if noted and not isinstance(reason, (OSError, EOFError)):
        return f", after an attempt to {noted[-1]['would']}, which only --run permits"
    return ""


def is_of_environment(reason):
    if not isinstance(reason, KeyError):
        return False
    last = frames_of(reason)[-1].tb_frame
    return last.f_code.co_name == "__getitem__" and isinstance(
        last.f_locals.get("self"), type(os.environ)
    )


def is_wrong_anywhere(reason):
    if isinstance(reason, SyntaxError):
        # Rather than a text that was read somewhere.
        return os.path.isfile(reason.filename or "")
    if isinstance(reason, NameError):
        name = re.search(r"name '(\w+)'", str(reason))
        is_ours = frames_of(reason)[-1].tb_frame.f_code.co_filename == place
        return bool(name) and is_ours and name[1] not in names_given()
    return is_rejected_by_parsl(reason) and is_written_there(reason)


def names_given():
    """By the file, anywhere: another way through it may come by."""
    given = set()
    for step in ast.walk(tree):
        if isinstance(step, ast.Name) and not isinstance(step.ctx, ast.Load):
            given.add(step.id)
        elif isinstance(step, ast.alias):
            given.add((step.asname or step.name).partition(".")[0])
        elif isinstance(step, ast.arg):
            given.add(step.arg)
        else:
            given.add(getattr(step, "name", None))
    return given


def is_rejected_by_parsl(reason):
    """By what makes one of its objects."""
    match = NOT_TAKEN.match(str(reason)) if isinstance(reason, TypeError) else None
    if match and frames_of(reason)[-1].tb_frame.f_code.co_filename == place:
        return is_of_parsl(match[1].partition(".")[0])
    if isinstance(reason, (OSError, ImportError, EOFError, MemoryError)):
        return False
    behind = []
    for step in frames_of(reason):
        behind = [] if surroundings.is_of_user(step.tb_frame) else [*behind, step.tb_frame]
    return any(module_of(frame) == "parsl" and frame.f_code.co_name in MADE_BY for frame in behind)


def is_of_parsl(name):
    modules = [one for key, one in list(sys.modules.items()) if key.partition(".")[0] == "parsl"]
    found = [vars(one)[name] for one in modules if name in vars(one)]
    return name in MADE_BY or any(
        str(getattr(one, "__module__", "")).startswith("parsl.") for one in found
    )


def module_of(frame):
    return str(frame.f_globals.get("__name__")).partition(".")[0]


def is_written_there(reason):
    """The name of an argument, or its value, that Parsl does not take."""
    name = ARGUMENT.search(str(reason))
    line = last_line(reason)
    given = [
        keyword.value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and call.lineno == line
        for keyword in call.keywords
        if name and keyword.arg == name[1]
    ]
    if "unexpected keyword" in str(reason):
        return bool(given)
    return any(isinstance(one, ast.Constant) and one.value is not None for one in given)


def lacked_of_parsl(reason):
    """What another release may have had: `parsl.channels`."""
    if isinstance(reason, ImportError):
        frames = [one.tb_frame for one in frames_of(reason)]
        frames = [one for one in frames if "importlib" not in one.f_code.co_filename]
        if not frames or not surroundings.is_of_user(frames[-1]):
            return None
        name = NO_NAME.match(str(reason))
        is_module = isinstance(reason, ModuleNotFoundError) and str(reason.name)[:6] == "parsl."
        return reason.name if is_module else name and f"{name[2]}.{name[1]}"
    holder = getattr(reason, "obj", None) if isinstance(reason, AttributeError) else None
    if isinstance(holder, types.ModuleType) and holder.__name__.partition(".")[0] == "parsl":
        return f"{holder.__name__}.{reason.name}"
    if isinstance(holder, type) and holder.__module__.partition(".")[0] == "parsl":
        return f"{holder.__qualname__}.{reason.name}"
    return None


def why_not_imported(reason):
    """And what would help, where that is known."""
    top = str(getattr(reason, "name", None) or "").partition(".")[0]
    if hiding(reason):
        return f"{told(reason)}; {hiding(reason)}"
    if is_own_module(top):
        return told(reason)
    above = os.path.dirname(os.path.dirname(place))
    while top and isinstance(reason, ModuleNotFoundError) and above != os.path.dirname(above):
        if importlib.machinery.PathFinder.find_spec(top, [above]):
            return f"{told(reason)}; PYTHONPATH={shlex.quote(above)} makes it available"
        above = os.path.dirname(above)
    return f"{told(reason)}; name another Python with --python"


def is_own_module(name):
    """Which no other Python has."""
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None and name:
        spec = importlib.machinery.PathFinder.find_spec(name)
        file = spec and spec.origin
    return bool(file) and surroundings.is_file_of_user(file)


def hiding(reason):
    """The file beside the user's that has the name of a module which it hides."""
    name = str(getattr(reason, "name", None) or "").partition(".")[0]
    holders = [sys.modules.get(name), getattr(reason, "obj", None)]
    files = [getattr(holder, "__file__", None) for holder in holders]
    files += [step.tb_frame.f_code.co_filename for step in frames_of(reason)]
    for file in files:
        beside = os.path.dirname(file) if isinstance(file, str) else None
        if beside != os.path.dirname(place):
            continue
        hidden = os.path.splitext(os.path.basename(file))[0]
        others = [one for one in sys.path if os.path.abspath(one) != beside]
        if importlib.machinery.PathFinder.find_spec(hidden, others):
            return f"{file} hides the module {hidden}"
    return None


def frames_of(reason):
    frames = []
    step = reason.__traceback__
    while step is not None:
        frames.append(step)
        step = step.tb_next
    return frames


def last_line(reason):
    """Of the user's file, on the way to it."""
    if isinstance(reason, SyntaxError) and reason.filename == place:
        return reason.lineno
    lines = [one.tb_lineno for one in frames_of(reason) if one.tb_frame.f_code.co_filename == place]
    return lines[-1] if lines else None


def line_of(reason):
    line = last_line(reason)
    if line is None:
        return None
    return f"line {line}: {linecache.getline(place, line).strip()}"


def statement_of(reason):
    """The whole of the last line's, which may be of many."""
    line, found = last_line(reason), None
    for step in ast.walk(tree):
        if isinstance(step, ast.stmt) and line and step.lineno <= line <= step.end_lineno:
            found = step
    lines = linecache.getlines(place)
    return "".join(lines[found.lineno - 1 : found.end_lineno]) if found else ""


def lines_of(reason):
    """The last lines of the traceback, from the user's file on, without what doctor put there."""
    frames = reason.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename != place:
        frames = frames.tb_next
    shown = traceback.TracebackException(type(reason), reason, frames)
    seen, rest = [], [shown]
    while rest:
        one = rest.pop()
        if one is None or one in seen:
            continue
        seen.append(one)
        kept = [frame for frame in one.stack if frame.filename not in OWN_NAMES]
        one.stack = traceback.StackSummary.from_list(kept)
        rest += [one.__cause__, one.__context__]
    lines = "".join(shown.format()).rstrip().splitlines()
    # Marks below a line lose their place where lines are wrapped.
    return [line for line in lines if line.strip(" ^~")][-TRACEBACK_LINES:]
