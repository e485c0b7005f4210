"""Checks the keys of a resource specification that say where a task fits, and makes their values
plain Python values.

The interchange receives these keys beside `resource_spec`, as `placement`. A worker exports each
entry of `resource_spec` into its environment permanently: a manager that a task starts would use
PARSL_CORES as its own setting.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from parsl.executors.errors import InvalidResourceSpecification

ROUTINGS = ("soft", "hard")
# These limits bound what the interchange keeps of one task.
TEXT_BYTES_MAX = 1000
PATTERNS_MAX = 64
NESTING_MAX = 8
# Bytes counted for a tuple itself, and again for each member in addition to the member's value.
MEMBER_BYTES = 12
FLOAT_BYTES = 8
# A larger integer is sent as a float, because readers convert it to a float anyway.
PLAIN_INT_MAX = 2**63 - 1
# Tolerance for rounding errors, the same as the interchange's: 0.3 cores count as three times 0.1,
# although the binary fractions differ.
ROUNDING = 1e-9
SHOWN_CHARACTERS = 80


@dataclass(frozen=True)
class Share:
    """The share of its node that one worker slot has."""

    cores: float
    # In MB of 2^20 bytes; None if the memory is unknown until a manager registers.
    memory_mb: float | None
    # HTEX's `cpu_affinity` if workers are pinned to cores, else None.
    pinned_by: str | None
    # Slots of a node; None if the number is unknown until a manager registers.
    slots: int | None

    def slots_of(self, placement: Mapping[str, Any]) -> int:
        """Returns how many slots of its manager a task with this placement takes. The number is at
        most a node's slots: a task that needs more than a node has is no reason for more nodes."""
        needs: list[float] = [placement.get("cores", 0) / self.cores]
        if self.memory_mb:
            needs.append(placement.get("memory", 0) / self.memory_mb)
        slots = max(1, *(math.ceil(need - ROUNDING) for need in needs))
        return min(slots, self.slots or slots)


def split(specification: Any) -> tuple[Any, dict[str, Any]]:
    """Splits a resource specification into what workers may see and the checked placement. A
    specification without any key of a placement is returned unchanged.

    Raises:
        InvalidResourceSpecification: a key has a value that it does not accept.
    """
    if not isinstance(specification, Mapping) or _KNOWN.isdisjoint(specification):
        return specification, {}
    seen = {
        key: value
        for key, value in specification.items()
        if key not in _WORDS and not (key in _REFUSED and _is_nothing(value))
    }
    return seen, _placement_of(specification)


def check(specification: Any, share: Share) -> None:
    """Checks that HTEX with htex-interchange accepts a resource specification.

    Raises:
        InvalidResourceSpecification: it does not; the text names the key and says why.
    """
    if not isinstance(specification, Mapping):
        kind = type(specification).__name__
        raise InvalidResourceSpecification(set(), f"It should be a dict, not {kind}.")
    for key, instead in _REFUSED.items():
        if not _is_nothing(specification.get(key)):
            given = _shown(specification[key])
            raise InvalidResourceSpecification(
                {key}, f"'{key}' ({given}) is not supported: {instead}"
            )
    if unknown := {key for key in specification if key != "priority" and key not in _KNOWN}:
        words = ", ".join(["priority", *_WORDS])
        raise InvalidResourceSpecification(unknown, f"The supported keys are {words}.")
    cores = _placement_of(specification).get("cores", 0)
    if share.pinned_by is not None and cores - ROUNDING > share.cores:
        raise InvalidResourceSpecification(
            {"cores"},
            f"'cores' is {_shown(specification['cores'])}, but cpu_affinity={share.pinned_by!r} "
            f"pins each worker to its own cores, and a task runs in one worker: it takes at most "
            f"cores_per_worker, which is {share.cores!r}. Raise that, or leave workers unpinned "
            "(cpu_affinity='none').",
        )


def _placement_of(specification: Mapping[str, Any]) -> dict[str, Any]:
    placement = {}
    for key, word in _WORDS.items():
        if (value := specification.get(key)) is None:
            continue
        try:
            plain = word.read(value)
        except _NotTakenError as reason:
            why = f"'{key}' is {_shown(value)}{reason}; it must be {word.takes}."
            raise InvalidResourceSpecification({key}, why) from None
        if plain is not None:
            placement[key] = plain
    if "routing" in placement and "task_type" not in placement:
        why = f"'routing' is {placement['routing']!r}, which is not allowed without a task_type."
        raise InvalidResourceSpecification({"routing"}, why)
    return placement


class _NotTakenError(ValueError):
    """A key does not accept this value. The text may say what is wrong with the value."""


def _is_nothing(value: Any) -> bool:
    try:
        return value is None or _amount(value) is None
    except _NotTakenError:
        return False


def _amount(value: Any) -> int | float | None:
    """Returns a number that is not negative as a plain one; None for 0, which asks for nothing."""
    value = _without_array(value)
    # `Decimal` is not a `numbers.Real`, because it does not mix with floats.
    if isinstance(value, bool) or not isinstance(value, (numbers.Real, Decimal)):
        raise _NotTakenError
    try:
        # A 32-bit 0.1 is a different number from the 64-bit 0.1, but its text is the same.
        is_narrow = _is_numpys(value) and not isinstance(value, numbers.Integral)
        number = float(str(value) if is_narrow else value)
    except (OverflowError, ValueError):
        raise _NotTakenError from None
    if not math.isfinite(number) or number < 0:
        raise _NotTakenError
    if isinstance(value, numbers.Integral) and value <= PLAIN_INT_MAX:
        return int(value) or None
    return number or None


def _without_array(value: Any) -> Any:
    """Returns the value that a numpy array without dimensions holds; any other value unchanged."""
    kinds = ((kind.__module__, kind.__name__) for kind in type(value).__mro__)
    if ("numpy", "ndarray") not in kinds:
        return value
    if value.ndim > 0:
        raise _NotTakenError(f" (an array of shape {value.shape}, which is not one value)")
    return value[()]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _NotTakenError
    plain = str.__str__(value)
    if not 0 < _utf8_length(plain) <= TEXT_BYTES_MAX:
        raise _NotTakenError
    return plain


def _utf8_length(text: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise _NotTakenError(" (it contains an invalid character)") from None


def _routing(value: Any) -> str:
    if not isinstance(value, str) or value not in ROUTINGS:
        raise _NotTakenError
    return str.__str__(value)


def _affinity(value: Any) -> Any:
    plain = _plain(value, NESTING_MAX)
    if _size(plain) > TEXT_BYTES_MAX:
        raise _NotTakenError
    return plain


def _plain(value: Any, nesting: int) -> Any:
    value = _without_array(value)
    if isinstance(value, tuple):
        if nesting == 0:
            raise _NotTakenError(f" (more than {NESTING_MAX} nested tuples)")
        return tuple(_plain(member, nesting - 1) for member in value)
    if _is_numpys(value) and getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, bool):
        return value
    for kind, made in _PLAIN.items():
        if isinstance(value, kind):
            plain = made(value)
            if isinstance(plain, float) and math.isnan(plain):
                raise _NotTakenError(" (which is not equal even to itself)")
            return plain
    raise _NotTakenError


# Functions that return the plain value, also for an instance of a subclass, such as a member of an
# enumeration.
_PLAIN: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
    int: int.__int__,
    float: float.__float__,
}


def _is_numpys(value: object) -> bool:
    return type(value).__module__ == "numpy"


def _size(plain: Any) -> int:
    if isinstance(plain, tuple):
        return MEMBER_BYTES + sum(MEMBER_BYTES + _size(member) for member in plain)
    if isinstance(plain, str):
        return _utf8_length(plain)
    if isinstance(plain, bytes):
        return len(plain)
    return (plain.bit_length() + 7) // 8 if isinstance(plain, int) else FLOAT_BYTES


def _node(value: Any) -> dict[str, Any] | None:
    if not isinstance(value, Mapping):
        raise _NotTakenError
    for key in value:
        if key not in _OF_A_NODE:
            raise _NotTakenError(f" ({_shown(key)} is not a supported key)")
    node = {}
    for key, word in _OF_A_NODE.items():
        if (given := value.get(key)) is None:
            continue
        try:
            plain = word.read(given)
        except _NotTakenError:
            raise _NotTakenError(f" ({key} must be {word.takes})") from None
        if plain is not None:
            node[key] = plain
    return node or None


def _patterns(value: Any) -> list[str]:
    if isinstance(value, str):
        return [_text(value)]
    if not isinstance(value, (list, tuple)) or not 0 < len(value) <= PATTERNS_MAX:
        raise _NotTakenError
    return [_text(pattern) for pattern in value]


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except Exception:
        text = f"a {type(value).__name__}"
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"


@dataclass(frozen=True)
class _Word:
    takes: str
    # Returns the value as it is sent, or None if the value asks for nothing.
    read: Callable[[Any], Any]


_PATTERNS = f"a shell pattern, or a list of 1 to {PATTERNS_MAX} of them"
_OF_A_NODE = {
    "hostname": _Word(_PATTERNS, _patterns),
    "block_id": _Word(_PATTERNS, _patterns),
    "cpu_count": _Word("a number of cores, not negative", _amount),
    "total_memory": _Word("a number of MB (of 2**20 bytes), not negative", _amount),
}
_WORDS = {
    "cores": _Word("a number of cores, not negative", _amount),
    "memory": _Word("a number of MB (of 2**20 bytes), not negative", _amount),
    "running_time_min": _Word("a number of seconds, not negative", _amount),
    "manager_affinity": _Word(
        "a str, bytes, int, float or bool, or a tuple of such values, of at most "
        f"{TEXT_BYTES_MAX:,} bytes",
        _affinity,
    ),
    "task_type": _Word(f"a text of 1 to {TEXT_BYTES_MAX:,} bytes", _text),
    "routing": _Word("'soft' or 'hard'", _routing),
    "node": _Word(
        "a dict of hostname and block_id (a shell pattern, or a list of them), "
        "cpu_count and total_memory (minimum numbers of cores and of MB)",
        _node,
    ),
}
_REFUSED = {
    "disk": "HTEX does not manage disks. Leave it out; if only some nodes have what the task "
    "needs, name those with node={'hostname': …}, or give them a separate executor.",
    "gpus": "each worker has the one entry of available_accelerators that it is pinned to. Leave "
    "it out; for several GPUs per task, make them one entry (available_accelerators=['0,1', "
    "'2,3']), and give tasks with other needs a separate executor, or name nodes with "
    "node={'hostname': …}.",
}
_KNOWN = _WORDS.keys() | _REFUSED.keys()
