"""The real thing: loads pickles with CPython's unpicklers and says what came out.

One long-lived process for a whole test run. It reads requests from stdin and answers on stdout,
each with its length in front (four bytes, little-endian). A request is one letter and any number
of byte strings, each with its length in front.

    J original batch left right passage
                                  does the batch [left, X, right] hold what `original` holds?
    L original                    does it load at all?
    D original                    what does it hold?
    F original                    what stands under the keys that a message is routed by?
    G seed protocol               a pickle of random Python objects

What an object holds is written down by `describe`: types, values, order, sharing and cycles.
Names are looked up in a short list of harmless ones only, whatever a mutated pickle asks for; and
whatever takes longer than `ANSWER_S`, or more than `MEMORY_BYTES`, ends this process.
"""

import collections
import datetime
import decimal
import fractions
import math
import os
import pickle
import pickletools
import random
import resource
import signal
import struct
import sys
import types
import uuid
import warnings

shapes = types.ModuleType("shapes")
sys.modules["shapes"] = shapes
exec(
    """
class Plain:
    pass
class Slots:
    __slots__ = ("a", "b")
class Stateful:
    def __setstate__(self, state):
        self.got = state
    def __getstate__(self):
        return self.got
class Made:
    def __new__(cls, *args, **kwargs):
        self = super().__new__(cls)
        self.args, self.kwargs = args, kwargs
        return self
    def __getnewargs_ex__(self):
        return self.args, self.kwargs
    def __init__(self, *args, **kwargs):
        self.args, self.kwargs = args, kwargs
class ListLike(list):
    pass
class DictLike(dict):
    pass
class Outer:
    class Inner:
        pass
def gather(*args):
    return [*args]
""",
    shapes.__dict__,
)

ANSWER_S = float(os.environ.get("HTEX_TEST_ORACLE_S", "10"))
MEMORY_BYTES = 1 << 30

HARMLESS = {
    "shapes": "Plain Slots Stateful Made ListLike DictLike Outer Outer.Inner gather",
    "builtins": "set frozenset bytearray complex object Ellipsis NotImplemented dict float",
    "__builtin__": "set frozenset bytearray complex object Ellipsis dict float list int str tuple",
    "collections": "OrderedDict deque defaultdict",
    "datetime": "datetime timedelta date",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "uuid": "UUID SafeUUID",
    "copyreg": "_reconstructor __newobj__ __newobj_ex__",
    "copy_reg": "_reconstructor __newobj__ __newobj_ex__",
    "_codecs": "encode",
    "operator": "getitem",
}
HARMLESS = {(module, name) for module, names in HARMLESS.items() for name in names.split()}
HARMLESS.add(("pickle", "loads"))


class Forbidden(Exception):
    """A name that is not on the list."""


def guard(event, args):
    """Lets no unpickler look up anything else."""
    if event == "pickle.find_class" and args not in HARMLESS:
        raise Forbidden(" ".join(map(repr, args))[:60])


# The very functions that a manager would call; C first.
LOADERS = [pickle.loads, pickle._loads]


ATOMS = {type(None): "N", bool: "o", int: "i", float: "f", str: "s", bytes: "b"}


class Description:
    """Text that is equal for two objects if and only if they cannot be told apart."""

    def __init__(self, root):
        self.numbers = {}
        self.keep = []  # objects made on the way must not give their addresses away
        self.is_plain = True
        self.mutable = set()
        self.out = []
        self.todo = [root]
        while self.todo:
            item = self.todo.pop()
            if isinstance(item, Token):
                self.out.append(item)
            else:
                self.visit(item)
        self.text = " ".join(self.out)

    def visit(self, item):
        kind = type(item)
        if kind in ATOMS:
            self.out.append(ATOMS[kind] + atom(item))
        elif kind in (tuple, frozenset) and not item:
            self.out.append("()" if kind is tuple else "frozenset()")
        elif isinstance(item, (type, types.FunctionType, types.BuiltinFunctionType)):
            self.is_plain = False
            self.out.append(f"global:{item.__module__}.{item.__qualname__}")
        elif id(item) in self.numbers:
            self.out.append(f"@{self.numbers[id(item)]}")
        else:
            self.numbers[id(item)] = len(self.numbers)
            self.keep.append(item)
            if kind is not tuple and kind is not frozenset:
                self.mutable.add(id(item))
            self.out.append(f"{kind.__qualname__}#{self.numbers[id(item)]}")
            self.follow(item, kind)

    def follow(self, item, kind):
        if kind in (list, tuple):
            parts = [*item]
        elif kind is dict:
            parts = [part for pair in item.items() for part in pair]
        elif kind in (set, frozenset):
            inner = [Description(member) for member in item]
            self.is_plain &= all(each.is_plain for each in inner)
            parts = [Token(each.text) for each in sorted(inner, key=lambda each: each.text)]
        elif kind in (bytearray, memoryview):
            self.is_plain &= kind is bytearray
            parts = [bytes(item)]
        else:
            self.is_plain = False
            parts = self.instance(item)
        self.todo.append(Token("]"))
        self.todo.extend(reversed(parts))
        self.todo.append(Token("["))

    def instance(self, item):
        if isinstance(
            item,
            (
                decimal.Decimal,
                fractions.Fraction,
                uuid.UUID,
                complex,
                datetime.date,
                datetime.timedelta,
            ),
        ):
            return [Token(repr(item))]
        parts = []
        if isinstance(item, dict):
            parts += [part for pair in item.items() for part in pair]
        if isinstance(item, (list, collections.deque)):
            parts += [*item]
        if isinstance(item, shapes.Slots):
            parts += [getattr(item, name, "unset") for name in ("a", "b")]
        if isinstance(getattr(item, "__dict__", None), dict):
            parts += [Token("|")]
            parts += [part for pair in item.__dict__.items() for part in pair]
        return parts


class Token(str):
    """A piece of a description, not an object to describe."""

    __slots__ = ()


def atom(item):
    if isinstance(item, bool):
        return "1" if item else "0"
    if item is None:
        return ""
    if isinstance(item, int):
        size = (item if item >= 0 else ~item).bit_length() // 8 + 1
        return item.to_bytes(size, "little", signed=True).hex()
    if isinstance(item, float):
        return "nan" if math.isnan(item) else struct.pack(">d", item).hex()
    if isinstance(item, str):
        return item.encode("utf-8", "surrogatepass").hex()
    return item.hex()


def attempt(load, data):
    """What was loaded, or the error as text."""
    try:
        return load(data), None
    except Exception as error:
        return None, f"{type(error).__name__}: {error}".replace("\t", " ")[:150]


def load(original):
    return "\t".join(attempt(loader, original)[1] or "ok" for loader in LOADERS)


def describe(original):
    value, error = attempt(LOADERS[0], original)
    if error:
        return "error\t" + error
    description = Description(value)
    return ("plain" if description.is_plain else "odd") + "\t" + description.text


def facts(original):
    """Fields: the type as text; the task id; whether there is a buffer, an outcome, a payload; the
    priority. Each is a word for the kind, and the value; `-` for what is not there."""
    value, error = attempt(LOADERS[0], original)
    if error:
        return "error\t" + error
    if type(value) is not dict:
        return "loaded\tno dict"
    missing = object()

    def get(mapping, key):
        return mapping.get(key, missing) if type(mapping) is dict else missing

    def plain(item):
        if type(item) in ATOMS:
            return ATOMS[type(item)] + atom(item)
        return "-" if item is missing else "?"

    spec = get(get(value, "context"), "resource_spec")
    spec = get(value, "resource_spec") if spec is missing else spec
    if type(get(value, "task_id")) is bool:
        # As an id it is the int that it equals.
        value["task_id"] = int(value["task_id"])
    keys = ["type", "task_id", "buffer", "result", "exception", "payload"]
    fields = [plain(get(value, key)) for key in keys] + [plain(get(spec, "priority"))]
    return "loaded\t" + "\t".join(fields)


NEIGHBOURS = {}


def neighbour(data):
    if data not in NEIGHBOURS:
        NEIGHBOURS[data] = Description(pickle.loads(data)).text
    return NEIGHBOURS[data]


def judge(original, batch, left, right, passage):
    verdicts = []
    for loader in LOADERS:
        # A nested pickle is loaded by `pickle.loads`, whoever loads the batch.
        value, error = attempt(pickle.loads if passage == b"nested" else loader, original)
        verdicts.append(error or "ok")
        expected = None if error else Description(value).text
        held, error = attempt(loader, batch)
        verdicts.append(error or compare(held, expected, left, right))
    return "\t".join(verdicts)


def compare(held, expected, left, right):
    if type(held) is not list or len(held) != 3:
        return f"not three items: {held!r}"[:200]
    parts = [Description(item) for item in held]
    if parts[0].text != neighbour(left) or parts[2].text != neighbour(right):
        return "a neighbour changed"
    if parts[1].mutable & (parts[0].mutable | parts[2].mutable):
        return "shares an object with a neighbour"
    if expected is None:
        return "loads although the original does not"
    return "same" if parts[1].text == expected else f"differs: {parts[1].text} / {expected}"[:400]


class Author:
    """Makes random objects out of a seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.pool = []

    def pickle(self, protocol):
        value = self.value(self.random.randint(1, 4))
        if self.random.random() < 0.5:
            data = pickle.dumps(value, protocol)
        else:
            data = pickle._dumps(value, protocol)
        return pickletools.optimize(data) if self.random.random() < 0.2 else data

    def value(self, depth):
        if self.pool and self.random.random() < 0.15:
            return self.random.choice(self.pool)
        if depth == 0 or self.random.random() < 0.3:
            return self.leaf()
        value = self.random.choice(
            [self.list, self.list, self.dict, self.dict, self.tuple, self.set, self.instance]
        )(depth - 1)
        self.pool.append(value)
        return value

    def leaf(self):
        r = self.random
        return r.choice(
            [
                lambda: None,
                lambda: r.random() < 0.5,
                lambda: r.choice([0, 1, 255, 256, 65535, 65536, 2**31 - 1, 2**31, -1, -(2**31)]),
                lambda: r.randint(-(2**70), 2**70),
                lambda: r.choice([1, -1]) * 2 ** r.choice([7, 8, 15, 62, 63, 64, 2000, 2048]),
                lambda: r.choice([0.0, -0.0, 1.5, 1e300, -2.25, float("inf"), float("nan")]),
                lambda: r.choice(["", "a", "task_id", "é", "\u20ac", "\U0001f600"]),
                lambda: r.choice(["a\\u12", "\n'\"\0", "b\\", "\\\\", "\x1a\r"]),
                lambda: r.choice(["\ud800", "x\udfffy", "\ud83d\ude00", "q" * 255, "ü" * 200]),
                lambda: r.choice([b"", b"\xff\0", b"b" * 255, b"c" * 256]),
                lambda: b"d" * 70000 if r.random() < 0.03 else b"e" * 1000,
                lambda: bytearray(r.choice([b"", b"abc"])),
                lambda: (),
            ]
        )()

    def key(self, depth):
        r = self.random.random()
        if depth and r < 0.15:
            return tuple(self.key(depth - 1) for _ in range(self.random.randint(0, 3)))
        if depth and r < 0.2:
            return frozenset(self.key(0) for _ in range(3))
        return self.random.choice(
            [None, True, 1, 1.0, 0, 2**40, "a", "b", "ccc", b"a", "\udc80", -3, 2.5]
        )

    def some(self, depth):
        return [self.value(depth) for _ in range(self.random.randint(0, 4))]

    def list(self, depth):
        value = self.some(depth)
        if self.random.random() < 0.1:
            value.append(value)
        if self.random.random() < 0.02:
            value.extend([0] * 2100)
        return value

    def dict(self, depth):
        value = {self.key(2): self.value(depth) for _ in range(self.random.randint(0, 4))}
        if self.random.random() < 0.1:
            value["self"] = value
        return value

    def tuple(self, depth):
        return tuple(self.some(depth))

    def set(self, depth):
        kind = self.random.choice([set, frozenset])
        return kind(self.key(depth) for _ in range(self.random.randint(0, 4)))

    def instance(self, depth):
        r = self.random
        made = r.choice(
            [
                shapes.Plain,
                shapes.Slots,
                shapes.ListLike,
                shapes.DictLike,
                shapes.Outer.Inner,
                lambda: shapes.Made(*self.some(depth)),
                lambda: shapes.Made(k=self.value(depth)),
                lambda: collections.OrderedDict((self.key(1), self.value(depth)) for _ in "ab"),
                lambda: collections.deque(self.some(depth)),
                lambda: datetime.datetime(2026, 10, 26, 1, 2, 3, r.randint(0, 999999)),
                lambda: decimal.Decimal("1.50"),
                lambda: fractions.Fraction(1, 3),
                lambda: uuid.UUID(int=r.getrandbits(128)),
                lambda: complex(1, -2),
                lambda: shapes.Plain,
                lambda: shapes.gather,
            ]
        )()
        if isinstance(made, (shapes.Plain, shapes.Outer.Inner)):
            made.__dict__.update({"x": self.value(depth), "me": made if r.random() < 0.2 else 0})
        if isinstance(made, shapes.Slots):
            made.a = self.value(depth)
        if isinstance(made, shapes.ListLike):
            made.extend(self.some(depth))
        if isinstance(made, shapes.DictLike):
            made[self.key(1)] = self.value(depth)
        return made


def generate(seed, protocol):
    seed, protocol = int(seed), int(protocol)
    for attempt_number in range(100):
        try:
            return Author(seed * 100 + attempt_number).pickle(protocol)
        except (pickle.PicklingError, TypeError, UnicodeEncodeError, ValueError):
            continue  # old protocols cannot write nested classes, keywords and the like
    return pickle.dumps(None, protocol)


def main():
    warnings.simplefilter("ignore")
    sys.addaudithook(guard)
    # CPython prints this when a mutated pickle makes a memoryview of a bytearray it then drops.
    sys.excepthook = lambda kind, *rest: kind is SystemError or sys.__excepthook__(kind, *rest)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    handlers = {b"J": judge, b"L": load, b"D": describe, b"G": generate, b"F": facts}
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while header := source.read(4):
        body = source.read(int.from_bytes(header, "little"))
        parts, at = [], 1
        while at < len(body):
            size = int.from_bytes(body[at : at + 4], "little")
            parts.append(body[at + 4 : at + 4 + size])
            at += 4 + size
        # Not caught: a handler would have to wait for a long computation to end, too.
        signal.setitimer(signal.ITIMER_REAL, ANSWER_S)
        answer = handlers[body[:1]](*parts)
        signal.setitimer(signal.ITIMER_REAL, 0)
        if isinstance(answer, str):
            answer = answer.encode("utf-8", "backslashreplace")
        sink.write(len(answer).to_bytes(4, "little") + answer)
        sink.flush()


if __name__ == "__main__":
    main()
