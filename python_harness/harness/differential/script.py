"""The conversations of the differential test, drawn from a seed.

A conversation is a list of events. Each event names a role: `m0` … are managers that connect and
leave, `stranger` never registers. An event does not name a task: "m2 answers the third of its
tasks" is resolved during play. A conversation can therefore continue where two interchanges differ,
and the difference shows. The seed's number determines the kind of conversation, so that a few
consecutive seeds cover every kind; the rest is random.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from harness.differential import values

MANAGERS = ["m0", "m1", "m2", "m3", "m4"]
STRANGER = "stranger"

# Kinds of conversations, by the last digit of the seed.
KINDS = [
    "plain",
    "plain",
    "plain",
    "encrypted",
    "plain",
    "expiry",
    "plain",
    "random",
    "plain",
    "encrypted",
]

EXPIRY_THRESHOLD_S = 3
PATIENT_THRESHOLD_S = 120

# A drain time this far ahead passes while the step that set it still waits for it.
DRAIN_AHEAD_S = 0.7


@dataclass(frozen=True)
class Event:
    """One event; `what` holds the arguments of its kind."""

    kind: str
    peer: str = ""
    what: dict = field(default_factory=dict)

    def __str__(self) -> str:
        told = ", ".join(
            f"{name}={values.describe(value)[:200]}" for name, value in self.what.items()
        )
        return f"{self.kind} {self.peer} {told}".rstrip()


@dataclass(frozen=True)
class Conversation:
    """Everything that a player needs, independent of the interchange that it plays to."""

    seed: int
    kind: str
    hub: bool
    check_versions: bool
    numbered_blocks: bool
    events: tuple[Event, ...]
    ending: str

    @property
    def encrypted(self) -> bool:
        return self.kind == "encrypted"

    @property
    def by_block(self) -> bool:
        """Whether the manager selector is deterministic."""
        return self.kind != "random"

    @property
    def threshold_s(self) -> int:
        return EXPIRY_THRESHOLD_S if self.kind == "expiry" else PATIENT_THRESHOLD_S

    def __str__(self) -> str:
        traits = [self.kind, "hub" if self.hub else "no hub", f"ends with {self.ending}"]
        return f"seed {self.seed} ({', '.join(traits)})"


# Relative frequency of each kind of event, with a deterministic manager selector.
WEIGHTS = {
    "register": 10,
    "submit": 13,
    "answer": 16,
    "foreign": 2,
    "again": 2,
    "beat": 6,
    "probe": 2,
    "hold": 3,
    "drain": 4,
    "drain_by_time": 1,
    "monitor": 3,
    "garbage": 4,
    "ask": 8,
    "unknown": 2,
    "older": 2,
    "reconnect": 2,
}

# Relative frequencies with a random selector: only events whose effect does not depend on which
# manager holds a task.
WEIGHTS_RANDOM = {
    "register": 8,
    "submit": 14,
    "answer": 16,
    "beat": 4,
    "probe": 2,
    "garbage": 3,
    "ask": 6,
    "unknown": 2,
}


def draw(seed: int, endings: list[str]) -> Conversation:
    """Returns the conversation of this seed."""
    rng = random.Random(seed)
    kind = KINDS[seed % len(KINDS)]
    ending = endings[seed % len(endings)]
    numbered = rng.random() < 0.15
    by_chance = kind == "random"
    hub = not by_chance and ending != "monitoring_without_hub" and rng.random() < 0.6
    check = kind == "random" or ending == "version_mismatch" or rng.random() < 0.85
    author = _Author(rng, numbered, check, hub, kind)
    events = author.write(rng.randrange(40, 80))
    return Conversation(seed, kind, hub, check, numbered, tuple(events), ending)


class _Author:
    """Draws events. It knows only the events drawn so far, not how an interchange reacts to
    them."""

    def __init__(
        self, rng: random.Random, numbered: bool, check: bool, hub: bool, kind: str
    ) -> None:
        self.rng = rng
        self.hub = hub
        self.check = check
        self.kind = kind
        self.blocks: list = (
            list(range(200))
            if numbered
            else [str(n) for n in range(190)]
            + [
                "a",
                "Z",
                "10a",
                "block 7",
                "ü",
                "_",
                "00",
                "0x1",
            ]
        )
        rng.shuffle(self.blocks)
        self.silences = 1 if kind == "expiry" else 0

    def write(self, length: int) -> list[Event]:
        weights = dict(WEIGHTS_RANDOM if self.kind == "random" else WEIGHTS)
        if not self.hub:
            weights.pop("monitor", None)
        kinds, shares = list(weights), list(weights.values())
        events = [self._register() for _ in range(self.rng.choice([0, 1, 2, 3]))]
        for place in range(length):
            # A conversation waits for a drain time at most once, because the wait is slow.
            (kind,) = self.rng.choices(kinds, shares)
            if kind == "drain_by_time":
                del weights[kind]
                kinds, shares = list(weights), list(weights.values())
            events.append(getattr(self, f"_{kind}")())
            if self.silences and place > length // 2:
                events += self._silence()
        return events

    def _peer(self, stranger: float = 0.08) -> str:
        return STRANGER if self.rng.random() < stranger else self.rng.choice(MANAGERS)

    def _registered_fields(self) -> dict:
        rng = self.rng
        fields = {
            "max_capacity": rng.choice([0, 1, 1, 2, 2, 3, 4, 7]),
            "block_id": self.blocks.pop(),
            "worker_count": rng.randrange(9),
            "packages": values.packages(rng),
        }
        if rng.random() < 0.1:
            fields["cpu_count"] = None
        if rng.random() < 0.1:
            fields["a_field_of_tomorrow"] = {"x": (1, b"2")}
        if not self.check and rng.random() < 0.5:
            fields.update(parsl_v="1.0", python_v="2.7.18")
        return fields

    def _register(self) -> Event:
        fields = self._registered_fields()
        sometimes = ["drain_time", "worker_count", "prefetch_capacity", "os", "max_capacity"]
        omitted = [key for key in sometimes if self.rng.random() < 0.06]
        over = self.kind != "random" and self.rng.random() < 0.05
        what = {"fields": fields, "omit": omitted, "drain_in_s": -5.0 if over else None}
        return Event("register", self._peer(0), what)

    def _drain_by_time(self) -> Event:
        fields = self._registered_fields()
        return Event(
            "register",
            self._peer(0),
            {"fields": fields, "omit": [], "drain_in_s": DRAIN_AHEAD_S},
        )

    def _submit(self) -> Event:
        rng = self.rng
        burst = rng.random() < 0.3
        tasks = []
        for _ in range(rng.choice([1, 1, 2, 3, 5, 8])):
            priority = rng.choice(values.PRIORITIES) if rng.random() < 0.6 else None
            tasks.append(
                {
                    "context": values.context(rng, priority),
                    "buffer": values.buffer(rng),
                    "protocol": rng.choice([4, 4, 4, 4, 5, 5, 3, 2, 1, 0]),
                }
            )
        return Event("submit", what={"tasks": tasks, "burst": burst})

    def _answer(self) -> Event:
        forms = ["plain"] * 5 + ["exception", "protocol", "extra", "twice", "large"]
        forms += ["marker"] * 2 if self.kind != "random" else []
        nth = self.rng.randrange(99)
        return Event("answer", what={"nth": nth, "form": self.rng.choice(forms)})

    def _foreign(self) -> Event:
        """Draws a result for another manager's task, or for a task that no manager holds."""
        return Event(
            "foreign", self._peer(), {"nth": self.rng.randrange(9), "known": self._often()}
        )

    def _again(self) -> Event:
        """Draws a repetition of a result that was sent before."""
        return Event("again", self._peer(), {"nth": self.rng.randrange(99)})

    def _beat(self) -> Event:
        return Event("beat", self._peer(), {"times": self.rng.choice([1, 1, 1, 3])})

    def _probe(self) -> Event:
        return Event("probe", self._peer())

    def _hold(self) -> Event:
        return Event("hold", self.rng.choice([*MANAGERS, "nobody", "", "ünï"]))

    def _drain(self) -> Event:
        return Event("drain", self._peer())

    def _monitor(self) -> Event:
        payload = self.rng.choice(
            [
                {"task_id": 1, "blob": b"\0" * 300},
                {"t": (1, 2), "when": 1.5},
                {"nested": {"a": [1]}},
            ]
        )
        return Event(
            "monitor", self._peer(), {"payload": payload, "marker": self.rng.random() < 0.2}
        )

    def _garbage(self) -> Event:
        frames = [self.rng.choice(values.GARBAGE) for _ in range(self.rng.choice([1, 1, 1, 4]))]
        return Event("garbage", self._peer(0.3), {"messages": frames})

    def _ask(self) -> Event:
        names = ["MANAGERS"] * 4 + ["CONNECTED_BLOCKS", "MANAGERS_PACKAGES", "WORKER_BINDS"]
        protocol = self.rng.choice([2, 3, 4, 5])
        return Event("ask", what={"request": self.rng.choice(names), "protocol": protocol})

    def _unknown(self) -> Event:
        request = self.rng.choice(values.UNKNOWN_COMMANDS)
        return Event("ask", what={"request": request, "protocol": 4})

    def _older(self) -> Event:
        names = ["WORKERS", "OUTSTANDING_C", "HOLD_WORKER"]
        return Event("older", self.rng.choice(MANAGERS), {"name": self.rng.choice(names)})

    def _reconnect(self) -> Event:
        return Event("reconnect", self._peer(0))

    def _silence(self) -> list[Event]:
        """Draws events that make one manager fall silent, if possible one that holds tasks."""
        self.silences -= 1
        return [self._register(), self._submit(), Event("silence"), self._ask(), Event("late")]

    def _often(self) -> bool:
        return self.rng.random() < 0.7
