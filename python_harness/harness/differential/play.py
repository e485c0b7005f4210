"""Plays a conversation to one interchange and records what the interchange did: a transcript.

Nothing here depends on timing. The interchange answers a `connection_probe` of any peer in the
order of that peer's connection. After an event, the player therefore waits for these answers:

1. The speaker probes. The answer shows that the speaker's messages were handled.
2. The anchor, a manager without room, probes. The answer shows that the interchange has finished
   this turn of its loop and has sent the tasks.
3. All peers probe. The answers show that everything sent to the peers has arrived.
4. With a hub, the anchor sends a monitoring record. Its arrival shows that all reports have
   arrived.

A log line shows that the interchange has read a task. Results form one sequence for the whole
conversation; the result of a final task marks its end.
"""

from __future__ import annotations

import pickle
import platform
import time
from dataclasses import dataclass, field

from parsl.executors.high_throughput.manager_selector import (
    BlockIdManagerSelector,
    RandomManagerSelector,
)
from parsl.monitoring.message_type import MessageType

from harness.differential import values
from harness.differential.peers import (
    HEARTBEAT,
    PROBE,
    LogTail,
    Peer,
    Step,
    Tamper,
    receive,
    result,
)
from harness.differential.script import MANAGERS, STRANGER, Conversation, Event
from harness.fakes.wire import PATIENCE_S, FakeManager, FakeSubmitSide, Silence, registration

ANCHOR, CLOSER = "anchor", "closer"

# Interval of heartbeats from live managers, in conversations in which silent managers expire.
BEAT_EVERY_S = 0.5

MARKER = pickle.dumps({"type": "result"})


@dataclass
class Transcript:
    """What one interchange did in one conversation."""

    kind: str
    steps: list[Step] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    ending: str = ""
    # The reason why the conversation could not continue, if it broke off.
    broke_off: str | None = None


class Player:
    """One side of the comparison: a submit side, its interchange, and all managers."""

    def __init__(
        self,
        conversation: Conversation,
        side: FakeSubmitSide,
        kind: str,
        command: list[str],
        tamper: Tamper | None = None,
    ) -> None:
        self.conversation = conversation
        self.side = side
        self.tamper = tamper or Tamper()
        self.transcript = Transcript(kind)
        by_block = conversation.by_block
        side.overrides.update(
            heartbeat_threshold=conversation.threshold_s,
            manager_selector=BlockIdManagerSelector() if by_block else RandomManagerSelector(),
            _check_python_mismatch=conversation.check_versions,
        )
        side.launch(command)
        self.log = LogTail(side.interchange)
        self.peers: dict[str, Peer] = {}
        self.submitted: list[int] = []
        self.marks = 0
        self.lost: tuple[str, list[int]] | None = None
        self.frames_of_results: dict[bytes, str] = {}

    # The course of a conversation.

    def play(self) -> Transcript:
        """Plays all events, then has all waiting tasks dispatched and answered."""
        self._opening()
        for number, event in enumerate(self.conversation.events, 1):
            step = self.begin(str(event), number)
            self._upkeep(step)
            getattr(self, f"_{event.kind}")(step, event)
        self._closing()
        return self.transcript

    def holder(self, task_id: int) -> Peer:
        for peer in self.peers.values():
            if task_id in peer.holding:
                return peer
        raise Silence(f"task {task_id} was sent to no manager")

    def begin(self, event: str, number: int = 0) -> Step:
        step = Step(number or len(self.transcript.steps), event)
        self.transcript.steps.append(step)
        return step

    def peer(self, name: str) -> Peer:
        if name not in self.peers:
            url, identity = self.side.worker_url, name.encode("utf-8", "surrogateescape")
            self.peers[name] = Peer(
                name,
                lambda: FakeManager(url, identity, cert_dir=self.side.cert_dir),
                self.side.interchange,
                self.tamper,
            )
        return self.peers[name]

    def _opening(self) -> None:
        step = self.begin("the anchor registers")
        anchor = self.peer(ANCHOR)
        anchor.send(step, PROBE)
        anchor.until_probe_answer(step)
        lowest = -1 if self.conversation.numbered_blocks else ""
        anchor.register(step, self.registration(ANCHOR, max_capacity=0, block_id=lowest))
        self.settle(step, anchor)

    def _closing(self) -> None:
        """Registers a manager with room for every waiting task; the answer to its last task is the
        last result."""
        step = self.begin("the closer registers and answers everything")
        self._upkeep(step)
        closer = self.peer(CLOSER)
        highest = 10**6 if self.conversation.numbered_blocks else "\uffff"
        closer.register(step, self.registration(CLOSER, max_capacity=9999, block_id=highest))
        self.settle(step, closer)
        last = self.submit(step)
        for task_id in [task_id for task_id in closer.holding if task_id != last]:
            self.send_result(step, closer, task_id, "plain")
        self.settle(step, closer)
        holder = self.holder(last)
        self.send_result(step, holder, last, "plain")
        self.settle(step, holder)
        for request in ("MANAGERS", "CONNECTED_BLOCKS", "MANAGERS_PACKAGES"):
            self.ask(step, request)
        while not self.take_result().startswith(f"task {last} "):
            pass

    @property
    def given_out(self) -> int:
        return sum(peer.given for peer in self.peers.values())

    # Waiting until the interchange and all peers are idle.

    def settle(self, step: Step, speaker: Peer | None = None) -> None:
        """Returns when the interchange has handled every message and all resulting messages have
        arrived."""
        if speaker is not None:
            self._round(step, [speaker])
        self._round(step, [self.peer(ANCHOR)])
        self._round(step, [peer for peer in self.peers.values() if not peer.silent])
        if self.side.hub:
            self._settle_hub(step)

    def _round(self, step: Step, peers: list[Peer]) -> None:
        for peer in peers:
            peer.probe()
        for peer in peers:
            peer.until_probe_answer(step)

    def _settle_hub(self, step: Step) -> None:
        self.marks += 1
        mark = (MessageType.RESOURCE_INFO, {"mark": self.marks})
        message = pickle.dumps({"type": "monitoring", "payload": mark})
        self.peer(ANCHOR).send(None, message)
        while True:
            raw = receive(self.side.interchange, self.side.hub, "record at the hub")
            for frame in self.tamper.incoming("hub", raw):
                record = pickle.loads(frame)
                if record == mark:
                    return
                step.hub.append(record)

    def _upkeep(self, step: Step) -> None:
        """Sends heartbeats outside the conversation, where silence would make managers expire."""
        if self.conversation.kind != "expiry":
            return
        now = time.monotonic()
        due = [
            peer
            for peer in self.peers.values()
            if peer.registered and not peer.silent and now - peer.last_beat > BEAT_EVERY_S
        ]
        aside = Step(-1, "upkeep")
        for peer in due:
            peer.send(aside, HEARTBEAT)
            peer.last_beat = now
        self._round(aside, due)
        for name, messages in aside.to_peers.items():
            messages.remove("echo")
            if messages:
                step.to_peers.setdefault(name, []).extend(messages)

    # Building blocks, which the endings use as well.

    def registration(self, name: str, **fields) -> dict:
        """Returns a registration that is equal for both interchanges, with fixed times."""
        return registration(name, **{"start_time": 1.5e9, "drain_time": float("inf"), **fields})

    def submit(
        self,
        step: Step,
        context: dict | None = None,
        buffer: bytes = b"work",
        protocol: int = 4,
        settle: bool = True,
    ) -> int:
        task_id = self.next_task_id()
        task = {"task_id": task_id, "context": context or {}, "buffer": buffer}
        self.send_task(pickle.dumps(task, protocol))
        if settle:
            self.log.wait_for(f"Put task {task_id} onto pending_task_queue")
            self.settle(step)
        return task_id

    def next_task_id(self) -> int:
        self.submitted.append(len(self.submitted) + 1)
        return self.submitted[-1]

    @property
    def a_block(self) -> object:
        """A block id that no other manager has."""
        return 10**6 + 1 if self.conversation.numbered_blocks else "\uffff2"

    def send_task(self, frame: bytes) -> None:
        for frames in self.tamper.outgoing("task", [frame]):
            self.side.submit_raw(frames[0])

    def ask(self, step: Step, request: object, protocol: int = 4) -> object:
        return self.ask_raw(step, request, pickle.dumps(request, protocol))

    def ask_raw(self, step: Step, request: object, frame: bytes) -> object:
        ((frame,),) = self.tamper.outgoing("command", [frame])
        self.side.commands.send(frame)
        reply = receive(self.side.interchange, self.side.commands, f"reply to {request!r}")
        (reply,) = self.tamper.incoming("command", reply)
        loaded = pickle.loads(reply)
        if request == "WORKER_BINDS" and loaded == self.side.worker_port:
            loaded = "the worker port"
        step.replies.append((request, loaded))
        return loaded

    def send_result(self, step: Step, peer: Peer, task_id: int, form: str) -> bytes:
        frame = result(task_id, f"{peer.name} in step {step.number}", form)
        self.frames_of_results[frame] = f"{form}, of {peer.name} in step {step.number}"
        peer.sent_results.append(frame)
        if task_id in peer.holding:
            peer.holding.remove(task_id)
        peer.send(step, frame)
        step.done.append(f"{peer.name} answers task {task_id}")
        return frame

    def take_result(self) -> str:
        """Returns a description of the next result at the submit side."""
        described = ""
        raw = receive(self.side.interchange, self.side.results, "result")
        for frame in self.tamper.incoming("result", raw):
            described = self._describe_result(frame)
            self.transcript.results.append(described)
        return described

    def _describe_result(self, frame: bytes) -> str:
        message = pickle.loads(frame)
        if frame in self.frames_of_results:
            return f"task {message['task_id']} {self.frames_of_results[frame]}, byte for byte"
        return f"task {message.get('task_id')} {values.describe_failure(message)}"

    # The events, one method for each kind.

    def _register(self, step: Step, event: Event) -> None:
        # Select a manager without tasks: the two interchanges differ on purpose in what they do
        # with the tasks of a manager that registers again. That case is an ending.
        place = MANAGERS.index(event.peer)
        free = [
            name
            for name in MANAGERS[place:] + MANAGERS[:place]
            if not self.peer(name).holding
            # With a random selector, chance decides who holds tasks, so no manager registers twice.
            and (self.conversation.by_block or not self.peer(name).registered)
        ]
        if not free:
            step.done.append("all peers are registered")
            return
        peer = self.peer(free[0])
        step.done.append(f"{peer.name} registers")
        drain_in_s = event.what["drain_in_s"]
        fields = dict(event.what["fields"])
        if "python_v" not in fields:
            fields["python_v"] = ".".join(platform.python_version_tuple()[:2]) + ".99"
        if drain_in_s is not None:
            fields["start_time"] = time.time()
            fields["drain_time"] = fields["start_time"] + drain_in_s
        message = self.registration(peer.name, **fields)
        for key in event.what["omit"]:
            if drain_in_s is None or key != "drain_time":
                del message[key]
        peer.register(step, message)
        self.settle(step, peer)
        if drain_in_s is not None and drain_in_s > 0:
            self._wait_until(lambda row: row is None or row["draining"], peer)
            peer.draining = peer.registered
            self.settle(step)

    def _wait_until(self, holds, peer: Peer, within_s: float = PATIENCE_S) -> None:
        """Sends MANAGERS until `holds` accepts this peer's row, or None if the peer has no row."""
        end = time.monotonic() + within_s
        aside = Step(-1, "waiting")
        while True:
            rows = {row["manager"]: row for row in self.ask(aside, "MANAGERS")}
            if holds(rows.get(peer.name)):
                return
            if time.monotonic() > end:
                raise Silence(f"{peer.name} is not listed as expected: {rows.get(peer.name)}")
            self._upkeep(aside)
            peer.connection.socket.poll(20)

    def _submit(self, step: Step, event: Event) -> None:
        tasks, burst = event.what["tasks"], event.what["burst"]
        room = sum(peer.room for peer in self.peers.values())
        if burst and room:
            # Timing decides which of these tasks the interchange sees first, so their priorities
            # must be equal.
            step.free_batches = True
            tasks = [{**task, "context": {}} for task in tasks]
        for place, task in enumerate(tasks):
            last = place == len(tasks) - 1
            self.submit(step, settle=last or (not burst and room > 0), **task)

    def _answer(self, step: Step, event: Event) -> None:
        nth, form = event.what["nth"], event.what["form"]
        held = sorted(
            (task_id, peer.name) for peer in self.peers.values() for task_id in peer.holding
        )
        if not held:
            step.done.append("nothing to answer")
            return
        task_id, name = held[nth % len(held)]
        peer = self.peer(name)
        if form == "marker":
            self._answer_behind_marker(step, peer, task_id)
            return
        frame = self.send_result(step, peer, task_id, form)
        if form == "twice":
            self.settle(step, peer)
            peer.send(step, frame)
        self.settle(step, peer)

    def _answer_behind_marker(self, step: Step, peer: Peer, task_id: int) -> None:
        """Sends the result behind a marker frame, as an older manager does, and then again as a
        newer one. htex-interchange forwards the first, stock the second."""
        frame = result(task_id, f"{peer.name} in step {step.number}", "plain")
        peer.send(step, MARKER, frame)
        self.settle(step, peer)
        rows = {row["manager"]: row for row in self.ask(Step(-1, "is it done?"), "MANAGERS")}
        # A draining manager whose last task was answered is no longer listed: its result was taken.
        dropped = peer.name in rows and rows[peer.name]["tasks"] == len(peer.holding)
        step.expected["older result"] = "dropped" if dropped else "taken"
        assert self.send_result(step, peer, task_id, "plain") == frame
        self.settle(step, peer)

    def _foreign(self, step: Step, event: Event) -> None:
        peer = self.peer(event.peer)
        others = sorted(
            task_id
            for other in self.peers.values()
            if other is not peer
            for task_id in other.holding
        )
        known = event.what["known"] and others
        task_id = others[event.what["nth"] % len(others)] if known else 10**6 + event.what["nth"]
        step.done.append(f"it answers task {task_id}, which it does not hold")
        peer.send(step, result(task_id, "a stranger's work", "plain"))
        self.settle(step, peer)

    def _again(self, step: Step, event: Event) -> None:
        peer = self.peer(event.peer)
        if peer.sent_results:
            peer.send(step, peer.sent_results[event.what["nth"] % len(peer.sent_results)])
        self.settle(step, peer)

    def _beat(self, step: Step, event: Event) -> None:
        peer = self.peer(event.peer)
        for _ in range(event.what["times"]):
            peer.send(step, HEARTBEAT)
        peer.last_beat = time.monotonic()
        self.settle(step, peer)

    def _probe(self, step: Step, event: Event) -> None:
        self.settle(step, self.peer(event.peer))

    def _drain(self, step: Step, event: Event) -> None:
        peer = self.peer(event.peer)
        peer.send(step, pickle.dumps({"type": "drain"}))
        peer.draining = peer.registered
        self.settle(step, peer)

    def _hold(self, step: Step, event: Event) -> None:
        self.ask(step, ["HOLD_MANAGER", event.peer])
        if event.peer in self.peers:
            self.peers[event.peer].held = True
        self.settle(step)

    def _monitor(self, step: Step, event: Event) -> None:
        peer = self.peer(event.peer)
        payload = (MessageType.RESOURCE_INFO, event.what["payload"])
        message = pickle.dumps({"type": "monitoring", "payload": payload})
        if not self.side.hub and peer.registered:
            step.done.append("no hub: stock would end")
            return
        if event.what["marker"]:
            step.expected["older record"] = payload if peer.registered else None
            peer.send(step, MARKER, message)
        else:
            peer.send(step, message)
        self.settle(step, peer)

    def _garbage(self, step: Step, event: Event) -> None:
        peer = self.peer(event.peer)
        for frames in event.what["messages"]:
            peer.send(step, *frames, valid=False)
        self.settle(step, peer)

    def _ask(self, step: Step, event: Event) -> None:
        self.ask(step, event.what["request"], event.what["protocol"])
        self.settle(step)

    def _older(self, step: Step, event: Event) -> None:
        name = event.what["name"]
        rows = self.ask(step, "MANAGERS")
        in_flight = sum(row["tasks"] for row in rows)
        step.expected["older commands"] = {
            "WORKERS": sum(row["worker_count"] for row in rows),
            "OUTSTANDING_C": len(self.submitted) - self.given_out + in_flight,
            "HOLD_WORKER": None,
        }[name]
        self.ask(step, f"{name};{event.peer}" if name == "HOLD_WORKER" else name)
        if name == "HOLD_WORKER":
            self._hold(step, event)
        else:
            self.settle(step)

    def _reconnect(self, step: Step, event: Event) -> None:
        peer = self.peer(event.peer)
        peer.reconnect(step)
        peer.send(step, HEARTBEAT)
        self.settle(step, peer)

    def _silence(self, step: Step, event: Event) -> None:
        """The manager with the most tasks (of several, the last by name) falls silent."""
        able = [peer for peer in self.peers.values() if peer.registered and peer.name != ANCHOR]
        if not able:
            step.done.append("nobody is registered")
            return
        peer = max(able, key=lambda peer: (len(peer.holding), peer.name))
        peer.silent = True
        self._wait_until(lambda row: row is None, peer)
        peer.silent = False
        self.lost = (peer.name, sorted(peer.holding))
        step.done.append(f"{peer.name} is lost, with {sorted(peer.holding)}")
        peer.end()
        self.settle(step, peer)

    def _late(self, step: Step, event: Event) -> None:
        """The most recently lost manager speaks again and answers the tasks that it held."""
        name, tasks = self.lost or (STRANGER, [])
        peer = self.peer(name)
        for task_id in tasks:
            peer.send(step, result(task_id, "too late", "plain"))
        self.settle(step, peer)
