"""Makes the kernel refuse system calls to a program, as an older kernel or a container does.

The functions return a `preexec_fn`: it runs in the child and also applies to the program that the
child executes. Called directly, it applies to the caller and to everything that the caller starts.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
from collections.abc import Callable, Mapping

PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38
SECCOMP_MODE_FILTER = 2

LOAD, JUMP_IF_EQUAL, JUMP_IF_SET, RETURN = 0x20, 0x15, 0x45, 0x06
# Offsets in the kernel's struct seccomp_data: a call's number, and the low half of its first
# argument.
NUMBER_AT, FIRST_ARGUMENT_AT = 0, 16
ALLOW, REFUSE = 0x7FFF0000, 0x00050000
CLONE_THREAD = 0x10000

# Since Linux 5.1 new system calls have the same number on every machine.
NEWER = {"clone3": 435, "close_range": 436, "pidfd_open": 434}
# Numbers of system calls by machine; only these can be refused.
NUMBERS = {
    "x86_64": {"clone": 56, "unshare": 272, "memfd_create": 319, **NEWER},
    "aarch64": {"clone": 220, "unshare": 97, "memfd_create": 279, **NEWER},
}


def refusing(errors: Mapping[str, int]) -> Callable[[], None]:
    """Returns a function that makes each of these calls fail with the given errno."""
    numbers = _numbers()
    program = [(LOAD, 0, 0, NUMBER_AT)]
    for name, error in errors.items():
        program += [(JUMP_IF_EQUAL, 0, 1, numbers[name]), (RETURN, 0, 0, REFUSE | error)]
    return _install([*program, (RETURN, 0, 0, ALLOW)])


def refusing_threads() -> Callable[[], None]:
    """Returns a function that makes the creation of threads fail, as at a limit on processes
    (`ulimit -u`), which does not apply to root."""
    numbers = _numbers()
    return _install(
        [
            (LOAD, 0, 0, NUMBER_AT),
            # After ENOSYS from clone3, glibc calls clone, whose flags a filter can see.
            (JUMP_IF_EQUAL, 0, 1, numbers["clone3"]),
            (RETURN, 0, 0, REFUSE | errno.ENOSYS),
            (JUMP_IF_EQUAL, 0, 3, numbers["clone"]),
            (LOAD, 0, 0, FIRST_ARGUMENT_AT),
            (JUMP_IF_SET, 0, 1, CLONE_THREAD),
            (RETURN, 0, 0, REFUSE | errno.EAGAIN),
            (RETURN, 0, 0, ALLOW),
        ]
    )


def _numbers() -> dict[str, int]:
    machine = platform.machine()
    if machine not in NUMBERS:
        raise NotImplementedError(f"no table of system call numbers for {machine} exists")
    return NUMBERS[machine]


def _install(program: list[tuple[int, int, int, int]]) -> Callable[[], None]:
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    instructions = ctypes.create_string_buffer(code, len(code))
    head = struct.pack("HP", len(program), ctypes.addressof(instructions))
    libc = ctypes.CDLL(None, use_errno=True)

    def install() -> None:
        # The assertion keeps a reference to `instructions` in this closure, because `head` points
        # to it.
        assert len(instructions) == len(code)
        if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS)")
        if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, head, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_SECCOMP)")

    return install
