"""Lets this Python read and compute, and nothing else: what would write, remove, start, signal,
send or connect is refused, or answered without being done, and noted with its line.

Two walls: Landlock, of which C code and what it starts know nothing, where the kernel has it (from
5.13); and an audit hook, which knows what was asked for and by which line. In front of both, what
a configuration does on its way without needing it later is answered: a directory is said to be
made, and a file to write is the null device. A name that is removed and is not there is left to
the system, which changes nothing either.
"""

import builtins
import contextlib
import ctypes
import io
import linecache
import os
import re
import socket
import struct
import sys
import tempfile
import threading

NULL = os.devnull
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

# What to say of an action, with the places of its arguments.
REFUSED = {
    "os.chflags": "change flags of {0}",
    "os.chmod": "change the mode of {0}",
    "os.chown": "change the owner of {0}",
    "os.exec": "become {0}",
    "os.fork": "start a process",
    "os.forkpty": "start a process",
    "os.kill": "send signal {1} to process {0}",
    "os.killpg": "send signal {1} to process group {0}",
    "os.lchflags": "change flags of {0}",
    "os.lchmod": "change the mode of {0}",
    "os.link": "link {0} as {1}",
    "os.mkdir": "make the directory {0}",
    "os.posix_spawn": "start {1}",
    "os.remove": "remove {0}",
    "os.removexattr": "change attributes of {0}",
    "os.rename": "rename {0} to {1}",
    "os.rmdir": "remove the directory {0}",
    "os.setxattr": "change attributes of {0}",
    "os.spawn": "start {1}",
    "os.symlink": "link {0} as {1}",
    "os.system": "start {0}",
    "os.truncate": "truncate {0}",
    "os.utime": "change the times of {0}",
    "pty.spawn": "start {0}",
    "shutil.chown": "change the owner of {0}",
    "shutil.copyfile": "copy {0} to {1}",
    "shutil.copymode": "change the mode of {1}",
    "shutil.copystat": "change the mode and times of {1}",
    "shutil.copytree": "copy {0} to {1}",
    "shutil.make_archive": "write {0}",
    "shutil.move": "move {0} to {1}",
    "shutil.rmtree": "remove {0} and its contents",
    "shutil.unpack_archive": "unpack {0}",
    "socket.sendmsg": "send to {1}",
    "socket.sendto": "send to {1}",
    "sqlite3.connect": "open the database {0}",
    "subprocess.Popen": "start {1}",
    "syslog.syslog": "write to the system's log",
}
REMOVING = {"os.remove", "os.rename", "os.rmdir", "shutil.rmtree"}
# Functions of the C library that change something, for those who call it by ctypes. Landlock
# refuses most of them by itself.
OF_C = re.compile(
    "chmod|chown|connect|creat|execl|execlp|execv|execve|execvp|execvpe|fchmod|fchmodat|"
    "fchown|fchownat|fopen|fork|ftruncate|kill|killpg|lchown|link|linkat|mkdir|mkdirat|"
    "mkfifo|mknod|open|openat|popen|posix_spawn|posix_spawnp|remove|rename|renameat|rmdir|"
    "sendto|setxattr|symlink|symlinkat|syscall|system|truncate|unlink|unlinkat|utime|"
    "utimes|vfork"
)
# What no audit event tells of.
UNTOLD = [
    ("_posixshmem", "shm_open", "make shared memory"),
    ("_posixsubprocess", "fork_exec", "start a process"),
    ("os", "mkfifo", "make a pipe"),
    ("os", "mknod", "make a node"),
]

noted = []
# Threads that do something of our own.
ours = set()


class Refused(PermissionError):
    """What the user's file asked for, which is not done here."""


def set_up(file):
    """From here on. `file` is the one whose lines are named."""
    # Looking for one writes there.
    tempfile.tempdir = next(
        (place for place in tempfile._candidate_tempdir_list() if os.access(place, os.W_OK)), None
    )
    with contextlib.suppress(Exception):
        restrict_by_landlock()
    replace_what_is_answered(file)
    sys.addaudithook(lambda event, arguments: hear(file, event, arguments))


@contextlib.contextmanager
def as_ours():
    """What this thread starts meanwhile is ours."""
    ours.add(threading.get_ident())
    try:
        yield
    finally:
        ours.discard(threading.get_ident())


def hear(file, event, arguments):
    would = what_it_would(event, arguments)
    if would is not None and threading.get_ident() not in ours:
        refuse(file, would)


def refuse(file, would):
    note(file, would, is_refused=True)
    raise Refused(1, f"it would {would}, which doctor does not permit")


def note(file, would, *, is_refused=False):
    noted.append({"line": line_of(file), "would": would, "is_refused": is_refused})


def line_of(file):
    """The line of the user's file that has led here: `line 12: shutil.rmtree("tmp")`."""
    frame = sys._getframe()
    while frame is not None and frame.f_code.co_filename != file:
        frame = frame.f_back
    if frame is None:
        return None
    return f"line {frame.f_lineno}: {linecache.getline(file, frame.f_lineno).strip()}"


def what_it_would(event, arguments):
    """None if it changes nothing."""
    if event == "open":
        path, _mode, flags = arguments
        harmless = not flags & WRITING or is_null(path) or not isinstance(path, (str, bytes))
        return None if harmless else f"write {shown(path)}"
    if event == "socket.connect":
        connection, address = arguments
        # A datagram socket sends nothing by it: so one asks for the way to an address.
        is_asked = is_datagram(connection) and connection.family != socket.AF_UNIX
        return None if is_asked else f"connect to {shown(address)}"
    if event == "socket.bind" and arguments[0].family == socket.AF_UNIX:
        return f"make the socket {shown(arguments[1])}"
    if event == "ctypes.dlsym" and OF_C.fullmatch(str(arguments[1])):
        return f"call {arguments[1]} of the C library"
    if event not in REFUSED or is_harmless(event, arguments):
        return None
    return REFUSED[event].format(*(shown(argument) for argument in arguments))


def is_harmless(event, arguments):
    first = arguments[0] if arguments else None
    if event in REMOVING or event == "os.mkdir":
        with contextlib.suppress(TypeError, ValueError):
            relative_to = [one for one in arguments[1:] if isinstance(one, int) and one >= 0]
            is_there = os.path.lexists(first)
            return not relative_to and is_there == (event == "os.mkdir")
        return False
    if event == "os.kill":
        return arguments[1] == 0
    return event == "sqlite3.connect" and first in (":memory:", b":memory:")


def shown(value):
    if isinstance(value, (list, tuple)) and all(isinstance(one, (str, bytes)) for one in value):
        return " ".join(shown(one) for one in value)[:200]
    if isinstance(value, (bytes, os.PathLike)):
        value = os.fsdecode(value)
    return str(value)[:200]


def is_null(path):
    return path in (NULL, os.fsencode(NULL))


def is_datagram(connection):
    return connection.type & ~(socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) == socket.SOCK_DGRAM


def replace_what_is_answered(file):
    open_file, make_directory, send = io.open, os.mkdir, socket.socket.send

    def open_it(path, mode="r", *arguments, **options):
        is_named = isinstance(path, (str, bytes, os.PathLike))
        if is_named and isinstance(mode, str) and set(mode) & set("wax+") and not is_null(path):
            if "x" in mode and os.path.lexists(path):
                raise FileExistsError(17, os.strerror(17), path)
            note(file, f"write {shown(path)}")
            path, mode = NULL, mode.replace("x", "w")
            # It may know the name by itself.
            options.pop("opener", None)
        return open_file(path, mode, *arguments, **options)

    def mkdir(path, mode=0o777, *, dir_fd=None):
        if dir_fd is not None or os.path.lexists(path):
            make_directory(path, mode, dir_fd=dir_fd)
        note(file, f"make the directory {shown(path)}")

    def send_it(self, *arguments):
        if is_datagram(self) and self.family != socket.AF_UNIX:
            refuse(file, "send a datagram")
        return send(self, *arguments)

    builtins.open = io.open = open_it
    os.mkdir = mkdir
    # Before Python 3.11 it has kept what it found when it was imported.
    accessor = getattr(sys.modules.get("pathlib"), "_NormalAccessor", None)
    for name, original, answer in [("mkdir", make_directory, mkdir), ("open", open_file, open_it)]:
        if getattr(accessor, name, None) is original:
            setattr(accessor, name, staticmethod(answer))
    socket.socket.send = send_it
    for module, name, would in UNTOLD:
        with contextlib.suppress(ImportError):
            replace(__import__(module), name, lambda *_, would=would, **__: refuse(file, would))


def replace(module, name, answer):
    if hasattr(module, name):
        setattr(module, name, answer)


# From the kernel's linux/landlock.h; the numbers of its calls are the same on every processor.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
VERSION_ONLY, RULE_OF_PATH, NO_NEW_PRIVILEGES = 1, 1, 38
WRITE_FILE, REMOVE_FILE, MAKE_REGULAR = 1 << 1, 1 << 5, 1 << 8
# All that removes or makes something.
CHANGES = WRITE_FILE | sum(1 << bit for bit in range(4, 13))
REFER, TRUNCATE = 1 << 13, 1 << 14
CONNECT_TCP, ABSTRACT_SOCKETS, SIGNALS = 1 << 1, 1 << 0, 1 << 1


def restrict_by_landlock():
    """For this thread and all that comes of it, for good."""
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    library.syscall.restype = ctypes.c_long

    def call(number, *arguments):
        words = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
        return library.syscall(ctypes.c_long(number), *words)

    version = call(CREATE_RULESET, None, 0, VERSION_ONLY)
    if version < 1:
        return
    files = CHANGES | (REFER if version >= 2 else 0) | (TRUNCATE if version >= 3 else 0)
    fields = [files]
    fields += [CONNECT_TCP] if version >= 4 else []
    fields += [SIGNALS | ABSTRACT_SOCKETS] if version >= 6 else []
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    rules = call(CREATE_RULESET, attributes, len(attributes), 0)
    if rules < 0:
        return
    # Devices keep nothing; semaphores of Python are files that are gone at once.
    for place, allowed in [
        ("/dev", files & (WRITE_FILE | TRUNCATE)),
        ("/dev/shm", files & (WRITE_FILE | TRUNCATE | REMOVE_FILE | MAKE_REGULAR)),
    ]:
        with contextlib.suppress(OSError):
            beneath = os.open(place, os.O_PATH | os.O_CLOEXEC)
            rule = struct.pack("=Qi", allowed, beneath)
            call(ADD_RULE, rules, RULE_OF_PATH, rule, 0)
            os.close(beneath)
    zeros = [ctypes.c_ulong(0)] * 3
    library.prctl(NO_NEW_PRIVILEGES, ctypes.c_ulong(1), *zeros)
    call(RESTRICT_SELF, rules, 0)
    os.close(rules)
