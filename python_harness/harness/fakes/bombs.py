"""Pickles that run code when they are loaded, and pickles that are costly to load.

The former ("bombs") cover every way in which an unpickler can run code: a bomb creates a file named
after its kind. `python -m harness.fakes.bombs FOLDER` loads all bombs. Pickle programs are
handwritten for protocol 2, without PROTO and STOP, so that they can be embedded in another pickle.
"""

from __future__ import annotations

import copyreg
import io
import os
import pickle
import sys
from pathlib import Path

EXTENSION_CODE = 0xF1
MEMO_INDEX = 250


def touch(path: str) -> str:
    """Creates a file; the bombs call this function to prove that code ran."""
    Path(path).touch()
    return path


class TouchesWhenMade:
    """Runs code through NEWOBJ and NEWOBJ_EX, which call __new__."""

    def __new__(cls, path: str) -> TouchesWhenMade:
        touch(path)
        return super().__new__(cls)


class TouchesWhenFilled:
    """Runs code through the opcodes that fill an object: __setstate__, append, __setitem__, add."""

    __setstate__ = append = add = staticmethod(touch)

    def __setitem__(self, _key: object, path: str) -> None:
        touch(path)


class TouchesAsAttribute:
    """Runs code through a BUILD without __setstate__, which sets the second half of its state
    attribute by attribute."""

    @property
    def path(self) -> str:
        return ""

    @path.setter
    def path(self, value: str) -> None:
        touch(value)


class TouchesAsKey:
    """Runs code through the opcodes that insert keys into a dict or a set."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __hash__(self) -> int:
        return len(touch(self.path))


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + len(raw).to_bytes(4, "little") + raw


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _call(function: bytes, *arguments: bytes) -> bytes:
    return function + b"(" + b"".join(arguments) + b"tR"


def _here(name: str) -> bytes:
    return _global("harness.fakes.bombs", name)


def _nested(program: bytes) -> bytes:
    inner = program + b"."
    return b"B" + len(inner).to_bytes(4, "little") + inner


def bombs(folder: Path) -> dict[str, bytes]:
    """Returns the bombs by kind; a loaded bomb creates `folder/kind`."""
    found: dict[str, bytes] = {}

    def command(kind: str) -> bytes:
        return text(f"touch '{folder / kind}'")

    def path(kind: str) -> bytes:
        return text(str(folder / kind))

    def add(kind: str, program: bytes) -> None:
        found[kind] = program

    add("global-os-system", _call(_global("os", "system"), command("global-os-system")))
    add("global-posix-system", _call(_global("posix", "system"), command("global-posix-system")))
    for module in ("builtins", "__builtin__"):
        for name in ("eval", "exec"):
            kind = f"{module}-{name}"
            code = text(f"__import__('pathlib').Path({str(folder / kind)!r}).touch()")
            add(kind, _call(_global(module, name), code))
    stack = b"\x8c\x02os\x8c\x06system\x93"
    add("stack-global", stack + command("stack-global") + b"\x85R")
    getattr_ = _call(
        _global("builtins", "getattr"),
        _global("os", "path") + b"0" + _call(_global("builtins", "__import__"), text("os")),
        text("system"),
    )
    add("getattr-of-a-module", _call(getattr_, command("getattr-of-a-module")))
    add("inst", b"(" + command("inst") + b"ios\nsystem\n")
    add("obj", b"(" + _global("os", "system") + command("obj") + b"o")
    made = _here("TouchesWhenMade")
    add("newobj", made + path("newobj") + b"\x85\x81")
    add("newobj-ex", made + path("newobj-ex") + b"\x85}\x92")
    filled = _here("TouchesWhenFilled") + b")\x81"
    add("build-setstate", filled + path("build-setstate") + b"b")
    add("append", filled + path("append") + b"a")
    add("appends", filled + b"(" + path("appends") + b"e")
    add("setitem", filled + b"N" + path("setitem") + b"s")
    add("setitems", filled + b"(N" + path("setitems") + b"u")
    add("additems", filled + b"(" + path("additems") + b"\x90")
    attribute = b"N}" + text("path") + path("build-attribute") + b"s\x86b"
    add("build-attribute", _here("TouchesAsAttribute") + b")\x81" + attribute)
    for kind, begin, end in [
        ("key-of-setitem", b"}", b"Ns"),
        ("key-of-dict", b"(", b"Nd"),
        ("key-of-frozenset", b"(", b"\x91"),
    ]:
        add(kind, begin + _call(_here("TouchesAsKey"), path(kind)) + end)
    add("persistent-id", b"P" + str(folder / "persistent-id").encode() + b"\n")
    add("binary-persistent-id", path("binary-persistent-id") + b"Q")
    for kind, code in [
        ("extension-1", b"\x82" + bytes([EXTENSION_CODE])),
        ("extension-2", b"\x83" + EXTENSION_CODE.to_bytes(2, "little")),
        ("extension-4", b"\x84" + EXTENSION_CODE.to_bytes(4, "little")),
    ]:
        add(kind, _call(code, path(kind)))
    loads = _global("pickle", "loads")
    add("nested-loads", _call(loads, _nested(_call(_here("touch"), path("nested-loads")))))
    memo = bytes([MEMO_INDEX])
    add(
        "from-the-memo",
        _here("touch") + b"q" + memo + b"0h" + memo + path("from-the-memo") + b"\x85R",
    )
    return found


def costly() -> dict[str, bytes]:
    """Returns short programs that would cost a careless reader much memory, time or stack."""
    laughs = b"]" + b"q\xfa" + b"".join(b"(" + b"h\xfa" * 10 + b"lq\xfa" for _ in range(100))
    huge = (2**62).to_bytes(8, "little")
    return {
        "billion-laughs-by-memo": laughs,
        "billion-laughs-by-dup": b"]" + b"2\x86" * 10_000,
        "nesting-of-lists": b"]" * 100_000 + b"a" * 99_999,
        "nesting-of-tuples": b"N" + b"\x85" * 100_000,
        "bytes-of-2-to-the-62": b"\x8e" + huge + b"x",
        "text-of-2-to-the-62": b"\x8d" + huge + b"x",
        "bytearray-of-2-to-the-62": b"\x96" + huge + b"x",
        "frame-of-2-to-the-62": b"\x95" + huge + b"N",
        "integer-of-2-to-the-31": b"\x8b\xff\xff\xff\x7f\x01",
        "digits": b"I" + b"9" * 1_000_000 + b"\n",
        "memo-index-of-2-to-the-32": b"Nr\xff\xff\xff\xff",
        "memo-get-of-2-to-the-32": b"j\xff\xff\xff\xff",
        "marks": b"(" * 1_000_000 + b"t" * 1_000_000,
    }


def whole(program: bytes) -> bytes:
    """Returns the program as a complete pickle."""
    return b"\x80\x02" + program + b"."


def within(message: dict, program: bytes) -> bytes:
    """Returns a pickle of `message` with the program's object added as one more value."""
    return pickle.dumps(message, 2)[:-1] + text("x") + program + b"s."


class FakePeer(pickle.Unpickler):
    """An unpickler of a program that has persistent objects and its own extension registry."""

    def persistent_load(self, identity: str) -> str:
        return touch(identity)


def set_off(folder: Path) -> None:
    """Loads every bomb."""
    copyreg.add_extension("harness.fakes.bombs", "touch", EXTENSION_CODE)
    for program in bombs(folder).values():
        FakePeer(io.BytesIO(whole(program))).load()


if __name__ == "__main__":
    set_off(Path(sys.argv[1]))
    print(*os.listdir(sys.argv[1]))
