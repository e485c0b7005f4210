"""CPython at the other end: pickles messages as peers do, and loads this program's messages.

One process serves a whole test run. A request on stdin is a letter and byte strings, each with its
length in front (four bytes, little-endian). The reply is a single byte string in the same form.

    P protocol expression     the pickle of the expression's value
    L pickle expression       the text of an expression over `x`, the loaded object; by the
                              unpickler in C (with its length in front), and by the one in Python

Classes of Parsl and numpy are stand-ins here, with the constructors and attributes of the real
ones, so that these tests need nothing but Python. Tests in python_harness use the real Parsl.
"""

import collections
import datetime
import decimal
import fractions
import pathlib
import pickle
import struct
import sys
import types
import uuid

STAND_INS = {
    "parsl.app.errors": """
class RemoteExceptionWrapper:
    def __init__(self, e_type, e_value, traceback):
        raise AssertionError("made by __new__ and a state, as unpickled")
    def get_exception(self):
        v = self.e_value
        if self.cause is not None:
            v.__cause__ = self.cause.get_exception()
        if self.e_traceback is not None:
            v = v.with_traceback(self.e_traceback.as_traceback())
        return v
""",
    "parsl.executors.high_throughput.errors": """
import time
class ManagerLost(Exception):
    def __init__(self, manager_id: bytes, hostname: str) -> None:
        self.manager_id = manager_id
        self.tstamp = time.time()
        self.hostname = hostname
    def __str__(self):
        return (f"Task failure due to loss of manager {self.manager_id.decode()} on"
                f" host {self.hostname}")
class VersionMismatch(Exception):
    def __init__(self, interchange_version: str, manager_version: str):
        self.interchange_version = interchange_version
        self.manager_version = manager_version
""",
    "parsl.serialize.errors": """
class DeserializationError(Exception):
    def __init__(self, reason: str) -> None:
        self.reason = reason
""",
    "parsl.monitoring.message_type": """
from enum import Enum
class MessageType(Enum):
    TASK_INFO = 0
    RESOURCE_INFO = 1
    WORKFLOW_INFO = 2
    NODE_INFO = 3
    BLOCK_INFO = 4
""",
    "parsl.executors.high_throughput.manager_selector": """
class RandomManagerSelector: pass
class BlockIdManagerSelector: pass
""",
    "htex_interchange.selectors": """
class SpreadManagerSelector: pass
class PackManagerSelector: pass
""",
    "parsl.logconfigs.file": """
import uuid
class FileLogging:
    def __init__(self, format_string=None, level=10):
        self.uuid, self.format_string, self.level = uuid.uuid4(), format_string, level
""",
    "parsl.logconfigs.json": """
import uuid
class JSONLogging:
    def __init__(self, level=10):
        self.uuid, self.level = uuid.uuid4(), level
""",
    "parsl.logconfigs.noop": """
import uuid
class NoopLogging:
    def __init__(self):
        self.uuid = uuid.uuid4()
""",
    "users": """
import enum
from parsl.executors.high_throughput.manager_selector import RandomManagerSelector as Random
from parsl.logconfigs.file import FileLogging
class Selector:
    def __init__(self): self.weights = [1, 2, 3]
class RandomManagerSelector(Random): pass
class PackManagerSelector: pass
class Logging(FileLogging): pass
class Urgency(enum.IntEnum):
    NOW = -3
class Level(enum.Enum):
    HIGH = 7
class Number(int): pass
class Name(str): pass
class Kind(str, enum.Enum):
    GPU = 'gpu'
class Odd:
    def __init__(self, *args): self.args = args
    def __reduce__(self): return Odd, self.args
""",
    "pathlib._local": """
class PosixPath:
    def __init__(self, *parts): self.parts = parts
    def __reduce__(self): return self.__class__, self.parts
""",
    # Scalars as numpy pickles them: a function called with a dtype and its bytes.
    "numpy._core.multiarray": """
import struct
class dtype:
    def __init__(self, code, align, copy): self.code = code
    def __reduce__(self):
        return dtype, (self.code, False, True), (3, "<", None, None, None, -1, -1, 0)
    def __setstate__(self, state): pass
dtype.__module__ = "numpy"
def scalar(dtype, data): raise AssertionError("only pickled here")
class of:
    def __init__(self, code, form, value):
        self.parts = dtype(code, False, True), struct.pack(form, value)
    def __reduce__(self): return scalar, self.parts
""",
}


def stand_in(name, text):
    parent, _, leaf = name.rpartition(".")
    if parent and parent not in sys.modules:
        stand_in(parent, "")
    module = types.ModuleType(name)
    module.__path__ = []
    sys.modules[name] = module
    exec(text, module.__dict__)
    if parent:
        setattr(sys.modules[parent], leaf, module)
    return module


MODULES = {name: stand_in(name, text) for name, text in STAND_INS.items()}
sys.modules["numpy"].dtype = MODULES["numpy._core.multiarray"].dtype
NAMES = {
    "collections": collections,
    "datetime": datetime,
    "decimal": decimal,
    "fractions": fractions,
    "htex_interchange": sys.modules["htex_interchange"],
    "numpy": MODULES["numpy._core.multiarray"],
    "parsl": sys.modules["parsl"],
    "pathlib": pathlib,
    "pickle": pickle,
    "users": MODULES["users"],
    "uuid": uuid,
}


def load(loads, data, expression):
    try:
        x = loads(data)
        return str(eval(expression, NAMES | {"x": x}))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def answer(kind, parts):
    if kind == b"P":
        return pickle.dumps(eval(parts[1].decode(), NAMES), int(parts[0]))
    data, expression = parts[0], parts[1].decode()
    texts = load(pickle.loads, data, expression), load(pickle._loads, data, expression)
    in_c, in_python = (text.encode("utf-8", "backslashreplace") for text in texts)
    return struct.pack("<I", len(in_c)) + in_c + in_python


def read_string():
    size = sys.stdin.buffer.read(4)
    return sys.stdin.buffer.read(struct.unpack("<I", size)[0]) if size else None


while (kind := sys.stdin.buffer.read(1)) != b"":
    reply = answer(kind, [read_string(), read_string()])
    sys.stdout.buffer.write(struct.pack("<I", len(reply)) + reply)
    sys.stdout.buffer.flush()
