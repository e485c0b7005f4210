"""What may differ between two transcripts, and nothing else; the rest is compared as text.

Two kinds. *Moments*: times, the length of idleness beyond zero, which of several tasks of equal
rank share a batch, and in conversations with a random selector who got them. *Rules*: deliberate
differences, by name; each demands of ours exactly the surplus that it then takes away, so that ours
is held to its side of the difference too.
"""

from __future__ import annotations

import copy
import datetime
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate, islice

from parsl.monitoring.message_type import MessageType

from harness.differential import values
from harness.differential.peers import SHUTDOWN, Step, describe_message
from harness.differential.play import Transcript
from harness.differential.script import Conversation

OURS, STOCK = "ours", "stock"


@dataclass(frozen=True)
class Rule:
    """A deliberate difference: the words of its entry in the guide, and how a step of ours is
    changed into what stock's would be, beside what stock's is."""

    words: str
    apply: Callable[[Step, Step], None]


def departed_are_told_to_exit(step: Step, _stock: Step) -> None:
    """A manager that was lost or drained, and speaks again, is told to exit; stock ignores it."""
    for name, count in step.spoke_after_its_end.items():
        messages = step.to_peers.get(name, [])
        for _ in range(count):
            if SHUTDOWN not in messages:
                messages.append("RULE departed_are_told_to_exit: it was not told")
                break
            messages.remove(SHUTDOWN)


def older_framing_is_read(step: Step, _stock: Step) -> None:
    """Results and records behind a marker frame are taken, as those releases sent them; stock drops
    them. A result is then sent again without it, so that the two stay in step."""
    if step.expected.get("older result") == "dropped":
        step.done = [*step.done, "RULE older_framing_is_read: the result was not taken"]
    record = step.expected.get("older record")
    if record is None:
        return
    if record in step.hub:
        step.hub.remove(record)
    else:
        step.hub.append((MessageType.RESOURCE_INFO, {"RULE": "older_framing_is_read: no record"}))


def older_commands_are_answered(step: Step, _stock: Step) -> None:
    """WORKERS, OUTSTANDING_C and HOLD_WORKER;id of older releases; stock answers None."""
    if "older commands" not in step.expected:
        return
    request, reply = step.replies[1]
    wanted = step.expected["older commands"]
    as_wanted = (reply, type(reply)) == (wanted, type(wanted))
    told = None if as_wanted else f"RULE older_commands_are_answered: {reply!r}, not {wanted!r}"
    step.replies[1] = (request, told)
    if request.startswith("HOLD_WORKER;"):
        # The same manager is held again the new way: two reports, equal but for their moments.
        held = [record for record in step.hub if record[1].get("uid") == request[12:]]
        if len(held) == 2 and describe_record(held[0]) == describe_record(held[1]):
            step.hub.remove(held[0])


def foreign_names_stand_alone(step: Step, stock: Step) -> None:
    """A task that names what managers may be unable to import is a batch of its own; stock's batch
    goes on. Ours have to be stock's, cut beside such tasks and nowhere else, and the node is
    reported at each cut as well, with what it has by then."""
    for name, messages in step.to_peers.items():
        if any(len(tasks) > 1 and _foreign(tasks) for tasks in map(_tasks, messages)):
            messages.append("RULE foreign_names_stand_alone: one stands beside others")
            continue
        whole = stock.to_peers.get(name, [])
        cut = [list(_cut_beside_foreign(message)) for message in whole]
        pieces = [piece for parts in cut for piece in parts]
        if [*map(_outline, messages)] != [*map(_outline, pieces)]:
            continue  # Whatever differs shows in the comparison.
        left = iter(messages)
        step.to_peers[name] = [_joined(islice(left, len(parts))) for parts in cut]
        if any(record[1].get("uid") == name for record in stock.hub):
            for parts in cut:
                if len(parts) > 1:
                    _take_away_reports(step, name, [len(_tasks(part)) for part in parts])


def _take_away_reports(step: Step, name: str, sizes: list[int]) -> None:
    """Those before the report that stock sends too, of a batch in pieces of these sizes."""
    surplus = len(sizes) - 1
    for last in range(surplus, len(step.hub)):
        kind, told = step.hub[last]
        if told.get("uid") != name or kind is not MessageType.NODE_INFO:
            continue
        had = len(told["tasks"]) - sum(sizes)
        wanted = [
            describe_record((kind, {**told, "tasks": told["tasks"][: had + held]}))
            for held in accumulate(sizes[:-1])
        ]
        before = slice(last - surplus, last)
        if had >= 0 and [*map(describe_record, step.hub[before])] == wanted:
            del step.hub[before]
            return
    missing = f"foreign_names_stand_alone: no report at each piece of a batch to {name}"
    step.hub.append((MessageType.RESOURCE_INFO, {"RULE": missing}))


def _tasks(message: object) -> list:
    return message[1] if isinstance(message, tuple) and message[:1] == ("tasks",) else []


def _foreign(tasks: list) -> bool:
    return any(map(values.names_foreign, tasks))


def _cut_beside_foreign(message: object) -> Iterator[object]:
    """A batch in pieces, each of one such task or of none; any other message as it is."""
    piece: list = []
    for task in _tasks(message):
        if piece and _foreign([*piece[-1:], task]):
            yield ("tasks", piece)
            piece = []
        piece.append(task)
    yield ("tasks", piece) if piece else message


def _outline(message: object) -> object:
    """Of a batch, which tasks are in it."""
    ids = [task.get("task_id") if isinstance(task, dict) else task for task in _tasks(message)]
    return ids or message


def _joined(pieces: Iterator[object]) -> object:
    first, *more = pieces
    return ("tasks", [t for piece in (first, *more) for t in _tasks(piece)]) if more else first


RULES = [
    Rule("A manager that was lost or drained and speaks again", departed_are_told_to_exit),
    Rule("results behind a marker frame", older_framing_is_read),
    Rule("`WORKERS`, `OUTSTANDING_C`, `HOLD_WORKER;id`", older_commands_are_answered),
    Rule("A task that names what managers may not be able to import", foreign_names_stand_alone),
]

Part = tuple[str, list[str]]


def first_difference(stock: Transcript, ours: Transcript, told: Conversation) -> str | None:
    """The first place where two transcripts differ, in words."""
    steps_of_stock, steps_of_ours = _steps(stock), _steps(ours)
    if ours.kind == OURS:
        for step, beside in zip(steps_of_ours, steps_of_stock, strict=False):
            for rule in RULES:
                rule.apply(step, beside)
    of_stock, of_ours = _parts(steps_of_stock, told), _parts(steps_of_ours, told)
    whole = stock.broke_off is None and ours.broke_off is None
    if whole:
        of_stock += _end(stock, told)
        of_ours += _end(ours, told)
    parts = zip(of_stock, of_ours, strict=whole)
    for (title, expected), (_, found) in parts:
        if expected != found:
            return title + _difference(expected, found)
    if whole:
        return None
    reasons = [("stock", stock.broke_off), ("ours", ours.broke_off)]
    return "broke off: " + "; ".join(f"{name}: {reason}" for name, reason in reasons if reason)


def _steps(transcript: Transcript) -> list[Step]:
    """Copies, for the rules to change."""
    steps = []
    # Where it broke off, the last step is not whole.
    for original in transcript.steps[: -1 if transcript.broke_off else None]:
        step = copy.copy(original)
        step.hub = list(original.hub)
        step.replies = list(original.replies)
        step.to_peers = {name: list(got) for name, got in original.to_peers.items()}
        steps.append(step)
    return steps


def _parts(steps: list[Step], told: Conversation) -> list[Part]:
    by_chance = not told.by_block
    return [(f"step {step.number}: {step.event}", _lines(step, by_chance)) for step in steps]


def _end(transcript: Transcript, told: Conversation) -> list[Part]:
    results = list(transcript.results)
    if transcript.kind == OURS:
        # Ours has no Python whose traceback it could send.
        results = [line.replace(values.NO_TRACEBACK, values.TRACEBACK) for line in results]
    if not told.by_block:
        results = [line.partition(", of ")[0] for line in results]
    return [
        ("all results at the submit side, in order", results),
        (f"the ending, {told.ending}", [transcript.ending]),
    ]


def _difference(expected: list[str], found: list[str]) -> str:
    place = next(
        (n for n, pair in enumerate(zip(expected, found, strict=False)) if pair[0] != pair[1]),
        min(len(expected), len(found)),
    )
    both = "".join(f"\n    both:  {line[:300]}" for line in expected[max(0, place - 3) : place])
    of_stock, of_ours = _at(expected, place), _at(found, place)
    return f"{both}\n    stock: {_cut(of_stock, of_ours)}\n    ours:  {_cut(of_ours, of_stock)}"


def _at(lines: list[str], place: int) -> str:
    return lines[place] if place < len(lines) else "(nothing more)"


def _cut(line: str, other: str, around: int = 300) -> str:
    """A long line from a little before the place where it differs."""
    place = next((n for n, (a, b) in enumerate(zip(line, other, strict=False)) if a != b), 0)
    begin = max(0, place - around // 2)
    return ("…" if begin else "") + line[begin : begin + around]


def _lines(step: Step, by_chance: bool) -> list[str]:
    if by_chance:
        return [*_replies(step, by_chance), *_all_given_out(step)]
    lines = [f"done: {what}" for what in step.done]
    lines += _replies(step, by_chance)
    for name, messages in sorted(step.to_peers.items()):
        if step.free_batches:
            messages = _one_batch(messages)
        lines += [
            f"{name} gets {line}" for message in messages for line in describe_message(message)
        ]
    records = _last_of_each_run(step.hub) if step.free_batches else step.hub
    lines += [f"the hub gets {describe_record(record)}" for record in records]
    return lines


def _replies(step: Step, by_chance: bool) -> list[str]:
    return [
        f"{values.describe(request)} is answered {describe_reply(request, reply, by_chance)}"
        for request, reply in step.replies
    ]


def describe_reply(request: object, reply: object, by_chance: bool = False) -> str:
    """Idleness is zero or not; by chance, only the sum of tasks is the same."""
    if request != "MANAGERS" or not isinstance(reply, list):
        return values.describe(reply)
    rows = [dict(row) for row in reply]
    for row in rows:
        idle = row["idle_duration"]
        row["idle_duration"] = (
            f"{type(idle).__name__} {'zero' if idle == 0 else 'more' if idle > 0 else idle}"
        )
        if by_chance:
            del row["tasks"], row["idle_duration"]
    total = sum(row["tasks"] for row in reply)
    return f"{total} tasks at " + values.describe(rows)


def describe_record(record: tuple) -> str:
    """A record at the hub; of its own times only the types."""
    kind, told = record
    if kind is not MessageType.NODE_INFO:
        return values.describe(record)
    told = dict(told)
    for name in ("timestamp", "last_heartbeat"):
        naive = isinstance(told[name], datetime.datetime) and told[name].tzinfo is None
        told[name] = "a naive moment" if naive else told[name]
    if isinstance(told["idle_since"], float):
        told["idle_since"] = "a moment"
    if told["drain_time"] != float("inf"):
        for name in ("start_time", "drain_time"):
            told[name] = f"a finite {type(told[name]).__name__}"
    return f"{type(record).__name__} {kind} {values.describe(told)}"


def _one_batch(messages: list) -> list:
    """Batches that follow each other, as one."""
    joined: list = []
    for message in messages:
        batch = isinstance(message, tuple) and message[0] == "tasks"
        if batch and joined and isinstance(joined[-1], tuple):
            joined[-1] = ("tasks", joined[-1][1] + message[1])
        else:
            joined.append(message)
    return joined


def _last_of_each_run(records: list[tuple]) -> list[tuple]:
    """Of reports on one node that follow each other, the last."""
    kept: list[tuple] = []
    for record in records:
        if kept and kept[-1][1].get("uid") == record[1].get("uid"):
            kept.pop()
        kept.append(record)
    return kept


def _all_given_out(step: Step) -> list[str]:
    """What anybody got, in no order; batches opened."""
    messages = (message for told in step.to_peers.values() for message in told)
    lines = (line for message in messages for line in describe_message(message))
    return sorted(f"somebody gets {line.strip()}" for line in lines if line != "a batch:")
