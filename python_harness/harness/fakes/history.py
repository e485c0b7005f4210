"""Events of runs, written by hand, and the sentences that the report derives from them.

Times are seconds after BEGIN.
"""

from __future__ import annotations

from pathlib import Path

from htex_interchange.report import units
from htex_interchange.report.events import sources
from htex_interchange.report.recorder import runs_of
from htex_interchange.report.sentences import sentences

BEGIN = 1_790_000_000


def start(t: float = 0, **fields) -> dict:
    return {"t": BEGIN + t, "event": "start", "format": 1, "label": "htex", **fields}


def restart(t: float, number: int = 1, down_s: float = 0.5) -> dict:
    about = {"number": number, "why": "was killed (SIGKILL)", "down_s": down_s}
    return {"t": BEGIN + t, "event": "restart", **about}


def end(t: float) -> dict:
    return {"t": BEGIN + t, "event": "end", "reason": "SIGTERM"}


def task(t: float, number: int, state: str, **fields) -> dict:
    return {"t": BEGIN + t, "event": "task", "task": number, "state": state, **fields}


def sent(t: float, number: int, manager: str = "m1", **fields) -> dict:
    return task(t, number, "dispatched", manager=manager, **fields)


def done(t: float, number: int, manager: str = "m1") -> dict:
    return task(t, number, "done", manager=manager)


def lost_task(t: float, number: int, manager: str = "m1") -> dict:
    return task(t, number, "failed", reason="ManagerLost", manager=manager)


def change(t: float, state: str, manager: str = "m1", **fields) -> dict:
    return {"t": BEGIN + t, "event": "manager", "manager": manager, "state": state, **fields}


def joined(t: float, manager: str = "m1", workers: int = 1, block: str = "0") -> dict:
    about = {"block": block, "host": f"node-{manager}", "workers": workers, "capacity": 9}
    return change(t, "registered", manager, **about)


def queued(t: float, *numbers: int) -> list[dict]:
    return [task(t, number, "queued", bytes=100) for number in numbers]


# Two workers, four tasks: the third task is prefetched, the fourth waits in the queue until 4 s.
FOUR_TASKS = [
    start(),
    joined(1, workers=2),
    *queued(2, 1, 2, 3, 4),
    sent(2, 1),
    sent(2, 2),
    sent(2, 3),
    done(4, 1),
    sent(4, 4),
    done(6, 2),
    done(7, 3),
    done(10, 4),
    end(12),
]


def read(place: Path) -> list:
    return [run for source in sources(place) for run in runs_of(source)]


def says(run) -> list[str]:
    texts = [sentence.text for sentence in sentences(run)]
    return [text.replace(units.NO_BREAK, " ") for text in texts]
