"""Notes what a user's file asks of this machine and does not get: variables of the environment,
programs, lines of standard input; and that it asks for the machine's name. What goes wrong behind
such a question may go well elsewhere."""

import functools
import io
import os
import platform
import re
import shutil
import socket
import sys
import sysconfig

# By the name of what was missed, in the order of the questions.
missed = {}
# What lies there asks on its own behalf.
LIBRARIES = tuple(
    os.path.join(sysconfig.get_path(name), "")
    for name in ("stdlib", "platstdlib", "purelib", "platlib")
)
# On the way from `os.getenv` to the environment itself.
WAY = {"os", "collections.abc", "_collections_abc", __name__}
NAMED_MAX = 3


def watch():
    watch_environment(type(os.environ))
    shutil.which = watched(shutil.which, note_program)
    for module, name in [
        (socket, "gethostname"),
        (socket, "getfqdn"),
        (platform, "node"),
        (os, "uname"),
    ]:
        setattr(module, name, watched(getattr(module, name), note_machine))
    sys.stdin = Input(io.BufferedReader(io.FileIO(0, closefd=False)))


def watch_environment(kind):
    find = kind.__getitem__

    def getitem(self, key):
        try:
            return find(self, key)
        except KeyError:
            if is_asked_by_user(sys._getframe(1)) and isinstance(key, (str, bytes)):
                missed.setdefault(os.fsdecode(key), None)
            raise

    kind.__getitem__ = getitem


def watched(function, note):
    @functools.wraps(function)
    def answer(*arguments, **options):
        found = function(*arguments, **options)
        if is_asked_by_user(sys._getframe(1)):
            note(found, arguments)
        return found

    return answer


def note_program(found, arguments):
    if found is None and arguments:
        missed[str(arguments[0])] = f"{arguments[0]} is not found here"


def note_machine(found, _arguments):
    missed["the machine"] = f"this machine is {found if isinstance(found, str) else found[1]}"


class Input(io.TextIOWrapper):
    """Nobody types anything."""

    def read(self, *arguments):
        missed["stdin"] = "standard input is empty here"
        return super().read(*arguments)

    def readline(self, *arguments):
        missed["stdin"] = "standard input is empty here"
        return super().readline(*arguments)

    def __next__(self):
        missed["stdin"] = "standard input is empty here"
        return super().__next__()


def is_asked_by_user(frame):
    while frame is not None and frame.f_globals.get("__name__") in WAY:
        frame = frame.f_back
    return frame is not None and is_of_user(frame)


def is_of_user(frame):
    """Rather than of a library."""
    file, module = frame.f_code.co_filename, str(frame.f_globals.get("__name__"))
    return is_file_of_user(file) and module.partition(".")[0] != "parsl"


def is_file_of_user(file):
    return os.path.isabs(file) and not file.startswith(LIBRARIES)


def words_for(text):
    """What was missed, in words: what `text` names, or else the last; empty if nothing was."""
    names = [name for name in missed if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)]
    names = names[-NAMED_MAX:] or list(missed)[-1:]
    variables = [name for name in names if missed[name] is None]
    words = [missed[name] for name in names if missed[name] is not None]
    if variables:
        listed = " and ".join([", ".join(variables[:-1]), variables[-1]][len(variables) == 1 :])
        words.insert(0, f"{listed} {'is' if len(variables) == 1 else 'are'} not set here")
    return " and ".join(words)
