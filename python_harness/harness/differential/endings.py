"""Final events of conversations: deliberate differences, and messages that crash stock.

After such an event the two interchanges are in different states, so nothing can follow it. Each
ending names its difference and states exactly what each interchange must do. The transcript records
only whether the interchange did so. What a crashed or stopped interchange leaves behind is not
checked.
"""

from __future__ import annotations

import pickle
import signal
from collections.abc import Callable
from dataclasses import dataclass

from harness.differential.peers import Ended, Peer, Step
from harness.differential.play import CLOSER, Player
from harness.differential.rules import OURS, STOCK

NEWCOMER = "newcomer"
WIDE_ID = 2**70
DIED = {"process": "exit 1"}

Facts = dict[str, object]


@dataclass(frozen=True)
class Ending:
    """The last event of a conversation, with the result expected of each interchange.

    `play` runs the event and returns facts; `stock` and `ours` are the facts expected of each
    interchange. `words` quotes the entry in the guide's page on differences.
    """

    words: str
    difference: str
    play: Callable[[Player, Step], Facts]
    stock: Facts
    ours: Facts


def play_ending(player: Player) -> None:
    """Plays the ending and writes into the transcript "as named", or the facts found instead."""
    ending = ENDINGS[player.conversation.ending]
    step = player.begin(f"the ending: {ending.difference}")
    wanted = {STOCK: ending.stock, OURS: ending.ours}[player.transcript.kind]
    try:
        facts = ending.play(player, step)
    except Ended:
        facts = {"process": f"exit {player.side.interchange.wait_exit(5)}"}
    # The interchanges may differ during this step, so the step itself is not compared.
    player.transcript.steps.pop()
    if facts == wanted:
        player.transcript.ending = "as named"
    else:
        player.transcript.ending = f"wanted {wanted}, found {facts}"


def _lives(player: Player, step: Step, speaker: Peer | None = None) -> Facts:
    """Returns what a live interchange did: the tasks that it dispatched and the results that it
    forwarded. A final task and its result mark the end. Raises Ended if the interchange has ended.
    """
    already = len(player.transcript.results)
    player.settle(step, speaker)
    mark = player.submit(step)
    holder = player.holder(mark)
    player.send_result(step, holder, mark, "plain")
    while not player.take_result().startswith(f"task {mark} "):
        pass
    results = player.transcript.results[already:-1]
    del player.transcript.results[already:]
    given = [
        task["task_id"]
        for messages in step.to_peers.values()
        for message in messages
        if isinstance(message, tuple) and message[0] == "tasks"
        for task in message[1]
    ]
    given.remove(mark)
    return {"process": "lives", "given": given, "results": [_short(text) for text in results]}


def _short(text: str) -> str:
    """Returns the result's description without what varies by conversation: its task id and the
    text of a failure."""
    for name in ("ManagerLost", "DeserializationError", "OverflowError"):
        if f"{name}(" in text:
            return name
    return "byte for byte" if text.endswith("byte for byte") else text.split(" ", 2)[2]


def _listed(player: Player, step: Step, name: str) -> bool:
    return name in [row["manager"] for row in player.ask(step, "MANAGERS")]


# Endings that send a message on the task channel.


def _task(frame_of: Callable[[int], bytes]) -> Callable[[Player, Step], Facts]:
    """Sends one task message; a dispatched task with its id is listed as "it"."""

    def play(player: Player, step: Step) -> Facts:
        task_id = player.next_task_id()
        player.send_task(frame_of(task_id))
        facts = _lives(player, step)
        facts["given"] = [
            "it" if given in (task_id, WIDE_ID) else given for given in facts["given"]
        ]
        return facts

    return play


def _task_of(**fields) -> Callable[[int], bytes]:
    return lambda task_id: pickle.dumps({"task_id": task_id, **fields})


def _with_priority(priority: object) -> Callable[[int], bytes]:
    return _task_of(context={"resource_spec": {"priority": priority}}, buffer=b"")


def _cut(task_id: int) -> bytes:
    return _task_of(context={}, buffer=b"x" * 99)(task_id)[:-9]


def _id_taken(player: Player, step: Step) -> Facts:
    task_id = player.submit(step)
    player.send_task(_task_of(context={}, buffer=b"the second")(task_id))
    facts = _lives(player, step)
    facts["given"] = ["it" if given == task_id else given for given in facts["given"]]
    return facts


GIVEN = {"process": "lives", "given": ["it"], "results": []}
NOTHING = {"process": "lives", "given": [], "results": []}
FAILED = {"process": "lives", "given": [], "results": ["DeserializationError"]}

ONE_BAD_MESSAGE = "One bad message is one WARNING"
CANNOT_BE_PASSED_ON = "A task or a result that cannot be passed on fails that task"
REGISTERS_AGAIN = "A manager that re-registers with tasks in hand"

TASK_ENDINGS = {
    "task_cut": Ending(CANNOT_BE_PASSED_ON, "a truncated task", _task(_cut), DIED, FAILED),
    "task_garbage": Ending(
        ONE_BAD_MESSAGE,
        "a task message that is not a pickle",
        _task(lambda _: b"hello"),
        DIED,
        NOTHING,
    ),
    "task_without_id": Ending(
        ONE_BAD_MESSAGE,
        "a task without an id",
        _task(lambda _: pickle.dumps({"context": {}, "buffer": b""})),
        DIED,
        NOTHING,
    ),
    "task_without_context": Ending(
        ONE_BAD_MESSAGE, "a task without context", _task(_task_of(buffer=b"")), DIED, GIVEN
    ),
    "task_context_none": Ending(
        ONE_BAD_MESSAGE,
        "a context that is None",
        _task(_task_of(context=None, buffer=b"")),
        DIED,
        GIVEN,
    ),
    "priority_none": Ending(
        ONE_BAD_MESSAGE, "a priority that is None", _task(_with_priority(None)), DIED, GIVEN
    ),
    "priority_text": Ending(
        ONE_BAD_MESSAGE, "a priority that is text", _task(_with_priority("high")), DIED, GIVEN
    ),
    "task_without_buffer": Ending(
        CANNOT_BE_PASSED_ON,
        "a task without a buffer fails; stock forwards it",
        _task(_task_of(context={})),
        GIVEN,
        FAILED,
    ),
    "task_id_wide": Ending(
        "A task whose id is beyond 64 bits fails",
        "a task whose id has more than 64 bits fails; stock forwards it",
        _task(lambda _: _task_of(context={}, buffer=b"")(WIDE_ID)),
        GIVEN,
        {"process": "lives", "given": [], "results": ["OverflowError"]},
    ),
    "task_id_taken": Ending(
        "A second task under the id of a live one is dropped",
        "a second task under the id of a live one is dropped",
        _id_taken,
        {"process": "lives", "given": ["it", "it"], "results": []},
        {"process": "lives", "given": ["it"], "results": []},
    ),
}


# Endings that send a message on the worker port.


def _registers_without(*missing: str, then: object = None) -> Callable[[Player, Step], Facts]:
    """Registers a new manager with fields missing, and then may send a command."""

    def play(player: Player, step: Step) -> Facts:
        newcomer = player.peer(NEWCOMER)
        message = player.registration(NEWCOMER, max_capacity=0, block_id=player.a_block)
        for name in missing:
            message.pop(name)
        newcomer.register(step, message)
        player.settle(step, newcomer)
        if then:
            return {"process": "lives", "reply": player.ask(step, then)[NEWCOMER]}
        return {"process": "lives", "listed": _listed(player, step, NEWCOMER)}

    return play


def _block_none(player: Player, step: Step) -> Facts:
    newcomer = player.peer(NEWCOMER)
    newcomer.register(step, player.registration(NEWCOMER, max_capacity=0, block_id=None))
    player.settle(step, newcomer)
    return {"process": "lives", "listed": _listed(player, step, NEWCOMER)}


def _name_no_text(player: Player, step: Step) -> Facts:
    odd = player.peer("\udcff\udcfeodd")
    odd.register(step, player.registration("odd", max_capacity=0, block_id=player.a_block))
    player.settle(step, odd)
    player.ask(step, "MANAGERS")
    return {"process": "lives"}


def _other_versions(player: Player, step: Step) -> Facts:
    """Registers a manager of another version. Both interchanges fail all tasks with VersionMismatch
    and end; htex-interchange also orders the managers to exit."""
    newcomer = player.peer(NEWCOMER)
    message = player.registration(NEWCOMER, parsl_v="1.0", max_capacity=0, block_id=player.a_block)
    newcomer.register(step, message)
    text = player.take_result()
    player.transcript.results.pop()
    code = player.side.interchange.wait_exit(5)
    closer = player.peer(CLOSER).connection
    told = bool(closer.socket.poll(0 if player.transcript.kind == STOCK else 5000))
    if told:
        closer.expect_shutdown()
    return {"process": f"exit {code}", "mismatch": "VersionMismatch(" in text, "told": told}


def _bad_result(body: dict) -> Callable[[Player, Step], Facts]:
    """A manager answers one of its tasks with the message `body`, which is not a proper result."""

    def play(player: Player, step: Step) -> Facts:
        task_id = player.submit(step)
        holder = player.holder(task_id)
        body_of_it = {key: task_id if value is int else value for key, value in body.items()}
        holder.send(step, pickle.dumps(body_of_it))
        facts = _lives(player, step, holder)
        return {"process": facts["process"], "results": facts["results"]}

    return play


def _record_without_hub(player: Player, step: Step) -> Facts:
    closer = player.peer(CLOSER)
    closer.send(step, pickle.dumps({"type": "monitoring", "payload": (1, {})}))
    return _lives(player, step, closer)


def _registers_again(elsewhere: bool) -> Callable[[Player, Step], Facts]:
    """A manager that holds a task registers again and then answers the task."""

    def play(player: Player, step: Step) -> Facts:
        task_id = player.submit(step)
        holder = player.holder(task_id)
        if elsewhere:
            holder.reconnect(step)
        holder.register(
            step, player.registration(holder.name, max_capacity=9, block_id=player.a_block)
        )
        player.settle(step, holder)
        player.send_result(step, holder, task_id, "plain")
        facts = _lives(player, step, holder)
        return {"process": facts["process"], "results": facts["results"]}

    return play


WORKER_ENDINGS = {
    "registration_without_start_time": Ending(
        ONE_BAD_MESSAGE,
        "a registration without a start time; ours accepts the manager",
        _registers_without("start_time"),
        DIED,
        {"process": "lives", "listed": True},
    ),
    "registration_without_block": Ending(
        ONE_BAD_MESSAGE,
        "a registration without a block",
        _registers_without("block_id"),
        DIED,
        {"process": "lives", "listed": False},
    ),
    "registration_block_none": Ending(
        ONE_BAD_MESSAGE,
        "a block that is None",
        _block_none,
        DIED,
        {"process": "lives", "listed": False},
    ),
    "registration_without_version": Ending(
        ONE_BAD_MESSAGE,
        "a registration without versions",
        _registers_without("parsl_v"),
        DIED,
        {"process": "lives", "listed": False},
    ),
    "registration_without_packages": Ending(
        ONE_BAD_MESSAGE,
        "MANAGERS_PACKAGES after a registration without packages",
        _registers_without("packages", then="MANAGERS_PACKAGES"),
        DIED,
        {"process": "lives", "reply": {}},
    ),
    "name_no_text": Ending(
        ONE_BAD_MESSAGE, "an identity that is not text", _name_no_text, DIED, {"process": "lives"}
    ),
    "version_mismatch": Ending(
        "Exit status",
        "exit status 3, and managers are told to exit",
        _other_versions,
        {"process": "exit 0", "mismatch": True, "told": False},
        {"process": "exit 3", "mismatch": True, "told": True},
    ),
    "result_without_id": Ending(
        ONE_BAD_MESSAGE,
        "a result without a task id",
        _bad_result({"type": "result", "result": b""}),
        DIED,
        {"process": "lives", "results": []},
    ),
    "result_without_outcome": Ending(
        CANNOT_BE_PASSED_ON,
        "a task whose result has no outcome fails; with stock, the executor's thread ends",
        _bad_result({"type": "result", "task_id": int}),
        {"process": "lives", "results": ["without an outcome: ['task_id', 'type']"]},
        {"process": "lives", "results": ["DeserializationError"]},
    ),
    "result_in_text": Ending(
        CANNOT_BE_PASSED_ON,
        "a task whose result is not bytes fails; with stock, the executor's thread ends",
        _bad_result({"type": "result", "task_id": int, "exception": "text"}),
        {"process": "lives", "results": ["an exception that is a str"]},
        {"process": "lives", "results": ["DeserializationError"]},
    ),
    "monitoring_without_hub": Ending(
        ONE_BAD_MESSAGE, "monitoring without a hub", _record_without_hub, DIED, NOTHING
    ),
    "registers_again": Ending(
        REGISTERS_AGAIN,
        "a manager that registers again keeps its tasks; stock forgets them",
        _registers_again(elsewhere=False),
        {"process": "lives", "results": []},
        {"process": "lives", "results": ["byte for byte"]},
    ),
    "registers_elsewhere": Ending(
        REGISTERS_AGAIN,
        "the tasks of a manager are lost if another one takes its name; stock forgets them",
        _registers_again(elsewhere=True),
        {"process": "lives", "results": []},
        {"process": "lives", "results": ["ManagerLost"]},
    ),
}


# Endings that send a command or a signal.


def _command(frame: bytes) -> Callable[[Player, Step], Facts]:
    def play(player: Player, step: Step) -> Facts:
        return {"reply": player.ask_raw(step, "(a bad one)", frame), **_lives(player, step)}

    return play


def _signal(number: int) -> Callable[[Player, Step], Facts]:
    def play(player: Player, step: Step) -> Facts:
        player.side.interchange.process.send_signal(number)
        if number == signal.SIGTERM:
            player.side.interchange.wait_exit(5)
        return _lives(player, step)

    return play


REFUSED = {"reply": None, **NOTHING}

OTHER_ENDINGS = {
    "command_garbage": Ending(
        ONE_BAD_MESSAGE, "a command that is not a pickle", _command(b"not a pickle"), DIED, REFUSED
    ),
    "hold_of_a_number": Ending(
        ONE_BAD_MESSAGE,
        "a hold with a number as the manager's name",
        _command(pickle.dumps(["HOLD_MANAGER", 5])),
        DIED,
        REFUSED,
    ),
    "sigint": Ending(
        "SIGINT and SIGHUP are ignored",
        "SIGINT is ignored",
        _signal(signal.SIGINT),
        {"process": "exit -2"},
        NOTHING,
    ),
    "sighup": Ending(
        "SIGINT and SIGHUP are ignored",
        "SIGHUP is ignored",
        _signal(signal.SIGHUP),
        {"process": "exit -1"},
        NOTHING,
    ),
    "sigterm": Ending(
        "Exit status",
        "exit status 0 on SIGTERM",
        _signal(signal.SIGTERM),
        {"process": "exit -15"},
        {"process": "exit 0"},
    ),
}

ENDINGS: dict[str, Ending] = {**TASK_ENDINGS, **WORKER_ENDINGS, **OTHER_ENDINGS}
