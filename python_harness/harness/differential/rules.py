"""Defines what may differ between two transcripts; everything else is compared as text.

There are two kinds of permitted differences. *Moments* depend on timing or chance: times, the
length of idleness beyond zero, how tasks of equal rank are grouped into batches, and in
conversations with a random selector which manager got a task. *Rules* are deliberate differences.
Each rule requires the exact surplus in htex-interchange's transcript and then removes it, so a
missing surplus is reported, too.
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
    """A deliberate difference.

    `words` quotes its entry in the guide. `apply` takes a step of htex-interchange and the same
    step of stock, and changes the former into what stock's would be.
    """

    words: str
    apply: Callable[[Step, Step], None]


def departed_are_told_to_exit(step: Step, _stock: Step) -> None:
    """htex-interchange orders a lost or drained manager that speaks again to exit; stock ignores
    it."""
    for name, count in step.spoke_after_its_end.items():
        messages = step.to_peers.get(name, [])
        for _ in range(count):
            if SHUTDOWN not in messages:
                messages.append("RULE departed_are_told_to_exit: the manager got no exit message")
                break
            messages.remove(SHUTDOWN)


def older_framing_is_read(step: Step, _stock: Step) -> None:
    """htex-interchange accepts results and records behind a marker frame, as older releases sent
    them; stock drops them. The player then sends the result again without the marker, so that both
    interchanges have it."""
    if step.expected.get("older result") == "dropped":
        step.done = [*step.done, "RULE older_framing_is_read: the result was not forwarded"]
    record = step.expected.get("older record")
    if record is None:
        return
    if record in step.hub:
        step.hub.remove(record)
    else:
        step.hub.append((MessageType.RESOURCE_INFO, {"RULE": "older_framing_is_read: no record"}))


def older_commands_are_answered(step: Step, _stock: Step) -> None:
    """htex-interchange answers WORKERS, OUTSTANDING_C and HOLD_WORKER;id of older releases; stock
    answers None."""
    if "older commands" not in step.expected:
        return
    request, reply = step.replies[1]
    wanted = step.expected["older commands"]
    as_wanted = (reply, type(reply)) == (wanted, type(wanted))
    told = None if as_wanted else f"RULE older_commands_are_answered: {reply!r}, not {wanted!r}"
    step.replies[1] = (request, told)
    if request.startswith("HOLD_WORKER;"):
        # The player holds the same manager again by the new command: two reports that differ only
        # in times.
        held = [record for record in step.hub if record[1].get("uid") == request[12:]]
        if len(held) == 2 and describe_record(held[0]) == describe_record(held[1]):
            step.hub.remove(held[0])


def foreign_names_stand_alone(step: Step, stock: Step) -> None:
    """htex-interchange puts each task that names objects which managers may be unable to import
    into a separate batch; stock does not. Joined together, htex-interchange's batches must equal
    stock's batch, and only such tasks may be separate. The interchange also reports the node after
    each piece, with the tasks dispatched by then."""
    for name, messages in step.to_peers.items():
        if any(len(tasks) > 1 and _foreign(tasks) for tasks in map(_tasks, messages)):
            messages.append(
                "RULE foreign_names_stand_alone: such a task shares a batch with others"
            )
            continue
        whole = stock.to_peers.get(name, [])
        cut = [list(_cut_beside_foreign(message)) for message in whole]
        pieces = [piece for parts in cut for piece in parts]
        if [*map(_outline, messages)] != [*map(_outline, pieces)]:
            continue  # The comparison then shows the difference.
        left = iter(messages)
        step.to_peers[name] = [_joined(islice(left, len(parts))) for parts in cut]
        if any(record[1].get("uid") == name for record in stock.hub):
            for parts in cut:
                if len(parts) > 1:
                    _take_away_reports(step, name, [len(_tasks(part)) for part in parts])


def _take_away_reports(step: Step, name: str, sizes: list[int]) -> None:
    """Removes htex-interchange's additional reports, before the report that stock sends too, for a
    batch that was split into pieces of these sizes."""
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
    """Splits a batch into pieces, so that each task that names foreign objects is alone; yields any
    other message unchanged."""
    piece: list = []
    for task in _tasks(message):
        if piece and _foreign([*piece[-1:], task]):
            yield ("tasks", piece)
            piece = []
        piece.append(task)
    yield ("tasks", piece) if piece else message


def _outline(message: object) -> object:
    """Returns the ids of a batch's tasks; any other message unchanged."""
    ids = [task.get("task_id") if isinstance(task, dict) else task for task in _tasks(message)]
    return ids or message


def _joined(pieces: Iterator[object]) -> object:
    first, *more = pieces
    return ("tasks", [t for piece in (first, *more) for t in _tasks(piece)]) if more else first


RULES = [
    Rule("A manager that was lost or drained and speaks again", departed_are_told_to_exit),
    Rule("results sent after a separate frame that marks them", older_framing_is_read),
    Rule("`WORKERS`, `OUTSTANDING_C`, `HOLD_WORKER;id`", older_commands_are_answered),
    Rule("A task that names what managers may not be able to import", foreign_names_stand_alone),
]

Part = tuple[str, list[str]]


def first_difference(stock: Transcript, ours: Transcript, told: Conversation) -> str | None:
    """Describes the first place where two transcripts differ; None if they agree."""
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
    """Returns copies of the steps, which the rules may change."""
    steps = []
    # Leaves out the last step of a conversation that broke off: the step is incomplete.
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
        # htex-interchange has no Python, so its exceptions carry no traceback.
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
    """Returns the part of a long line around the first difference."""
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
    """Describes a reply, and reduces idle times to zero or more. With `by_chance`, only the sum of
    tasks is kept, because chance decides which manager holds them."""
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
    """Describes a record at the hub, and reduces times that the interchange sets to their types."""
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
    """Joins consecutive batches into one."""
    joined: list = []
    for message in messages:
        batch = isinstance(message, tuple) and message[0] == "tasks"
        if batch and joined and isinstance(joined[-1], tuple):
            joined[-1] = ("tasks", joined[-1][1] + message[1])
        else:
            joined.append(message)
    return joined


def _last_of_each_run(records: list[tuple]) -> list[tuple]:
    """Keeps only the last of consecutive reports on the same node."""
    kept: list[tuple] = []
    for record in records:
        if kept and kept[-1][1].get("uid") == record[1].get("uid"):
            kept.pop()
        kept.append(record)
    return kept


def _all_given_out(step: Step) -> list[str]:
    """Returns the contents of all messages to managers, sorted and without their recipients;
    batches are split into tasks."""
    messages = (message for told in step.to_peers.values() for message in told)
    lines = (line for message in messages for line in describe_message(message))
    return sorted(f"a manager gets {line.strip()}" for line in lines if line != "a batch:")
