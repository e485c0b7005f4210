"""Starts htex-interchange where this Python would start Parsl's own interchange.

`htex-interchange enable` has put this file here, with the .pth file beside it that loads it;
`htex-interchange disable` takes both away.
"""

import os
import sys

BINARY = b"@BINARY@"
MODULE = "parsl.executors.high_throughput.interchange"
SCRIPT = "interchange.py"
# Tells the interchange by what it was started.
STARTED_BY = "HTEX_INTERCHANGE_STARTED_BY"
# Who has one of these was started by an interchange of ours, which wants Parsl's own.
OF_OURS = (STARTED_BY, "HTEX_INTERCHANGE_HANDED_OVER")
# Installers change the first line of a script, or put these before it.
LINES_OF_INSTALLERS = (b"#!", b"'''exec' ", b"' '''")
# How setuptools begins a script that runs that of a source tree.
OF_A_SOURCE_TREE = b"# EASY-INSTALL-DEV-SCRIPT: 'parsl=="


class AtTheFirstImport:
    """Is asked for each module first, and acts at the first one that the program itself imports.

    While .pth files are read, sys.path is not yet what it will be: those that come later (an
    editable Parsl's may), sitecustomize, and the program's own directory change which Parsl it is.
    """

    def __init__(self, script):
        self.script = script

    def find_spec(self, name, path=None, target=None):
        try:
            if outermost_module() not in ("__main__", "runpy"):
                return None
            sys.meta_path.remove(self)
            import importlib.util

            become_interchange(self.script, importlib.util.find_spec("parsl"))
            # The list has moved up below who walks along it.
            return importlib.util.find_spec(name)
        except Exception:
            return None


def outermost_module():
    """The name of the module that Python runs; another one while Python itself still starts."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
    return frame.f_globals.get("__name__")


def is_module_asked_for():
    """Whether this is `-m MODULE`, behind options of any kind and with nothing behind it."""
    if sys.argv != ["-m"]:
        return False
    words = getattr(sys, "orig_argv", None)
    if words is None:
        # Python 3.9.
        with open("/proc/self/cmdline", "rb") as file:
            words = os.fsdecode(file.read()).split("\0")[:-1]
    last = words[-1]
    return last == MODULE or (last.startswith("-") and last.endswith("m" + MODULE))


def script_asked_for():
    """What is in the script that this Python runs with nothing behind it, if it has the name."""
    place = sys.argv[0]
    is_named_so = len(sys.argv) == 1 and os.path.basename(place) == SCRIPT
    # A pipe can be read only once.
    if not is_named_so or not os.path.isfile(place):
        return None
    with open(place, "rb") as file:
        script = file.read()
    return script if b"parsl" in script else None


def become_interchange(script, parsl):
    """Does not return if `parsl` is there and `script` is its own, or None."""
    directory = os.path.dirname(parsl.origin)
    if script is not None and not is_parsls_own(script, directory):
        return
    command = [BINARY, "--python-version", "{}.{}".format(*sys.version_info)]
    version = version_of_parsl(directory)
    if version is not None:
        command += ["--parsl-version", version]
    # By whatever name the file goes, this is what it is asked to be.
    command[0] = b"htex-interchange"
    started_by = os.path.splitext(os.path.abspath(__file__))[0] + ".pth"
    try:
        os.execve(BINARY, command, {**os.environ, STARTED_BY: started_by})
    except OSError as error:
        # Not where every start of a Python would pay for it.
        import shlex

        binary = os.fsdecode(BINARY)
        sys.stderr.write(
            f"htex-interchange: {binary} cannot be started ({error.strerror}), so Parsl's own "
            f"interchange starts instead. `htex-interchange disable --python "
            f"{shlex.quote(sys.executable)}` removes {started_by}.\n"
        )


def is_parsls_own(script, directory):
    """Whether it is the module of the Parsl in `directory`, but for its first lines."""
    if OF_A_SOURCE_TREE in script:
        return True
    with open(os.path.join(directory, "executors", "high_throughput", SCRIPT), "rb") as file:
        body = file.read().partition(b"\n")[2]
    if not body or not script.endswith(body):
        return False
    head = script[: -len(body)].splitlines()
    return all(line.startswith(LINES_OF_INSTALLERS) for line in head)


def version_of_parsl(directory):
    """VERSION to the letter, if there is one and only one."""
    try:
        with open(os.path.join(directory, "version.py"), encoding="utf-8") as file:
            lines = [line for line in file if line.startswith("VERSION")]
        (line,) = lines
        version = line.partition("=")[2].strip().strip("'\"")
        return version if version.replace(".", "").isalnum() else None
    except (OSError, ValueError):
        return None


try:
    if not any(name in os.environ for name in OF_OURS):
        script = script_asked_for()
        if script is not None or is_module_asked_for():
            sys.meta_path.insert(0, AtTheFirstImport(script))
except Exception:
    pass
