"""The tables of a run as HTML: blocks, losses, the longest tasks, and tasks without an answer."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from htex_interchange.report import units
from htex_interchange.report.figures import Block, blocks
from htex_interchange.report.model import Flight, Loss, Manager, Run

ROWS_MAX = 50
IDS_SHOWN = 20

# A column's heading, and whether the column holds numbers; None for a text of any length.
Column = tuple[str, bool | None]
CLASSES = {True: ' class="number"', False: "", None: ' class="long"'}


def all_of(run: Run) -> str:
    made = (
        _blocks(run),
        _losses(run),
        _flights(
            run,
            "Longest flights",
            run.longest_flights,
            "From dispatch until the result was forwarded, for tasks that were done. It includes "
            "the time that a prefetched task waited at its manager.",
        ),
        _flights(
            run,
            "In flight when the events end",
            run.oldest_in_flight,
            f"The oldest of {units.counted(run.unanswered_in_flight, 'task')}.",
        ),
        _waiting(run),
    )
    return "".join(made)


def _blocks(run: Run) -> str:
    found = blocks(run)
    if not found:
        return ""
    columns = [
        ("Block", False),
        ("Managers", True),
        ("Workers", True),
        ("First registered", False),
        ("After the start", True),
        ("Last ended", False),
        ("Tasks done", True),
        ("Worker time", True),
        ("Used", True),
        ("Lost", True),
    ]
    note = "Workers: the most at once. Worker time: the sum over all workers while registered."
    if len(found) > ROWS_MAX:
        note += f" Shown: the first {ROWS_MAX} of {units.count(len(found))} blocks."
    rows = [_block_row(run, block) for block in found[:ROWS_MAX]]
    return _table("Blocks", note, columns, rows)


def _block_row(run: Run, block: Block) -> list[str]:
    is_known = any(manager.is_known for manager in block.managers)
    return [
        "not known" if block.name is None else escape(block.name),
        units.count(len(block.managers)),
        units.count(block.workers) if is_known else "not known",
        _moment(run, block.first),
        units.duration(block.first - run.begin),
        "still registered" if block.last is None else _moment(run, block.last),
        units.count(block.done),
        units.worker_time(block.registered_s, of="") if is_known else "",
        units.share(block.used_s, block.registered_s),
        units.count(block.losses),
    ]


def _losses(run: Run) -> str:
    if not run.losses:
        return ""
    columns = [
        ("When", False),
        ("Manager", False),
        ("Host", False),
        ("Block", False),
        ("Silent for", True),
        ("Tasks lost", True),
        ("Ids of these tasks", None),
    ]
    with_tasks_first = sorted(run.losses, key=lambda loss: (-bool(loss.tasks), loss.t))
    note = (
        "A manager was replaced if another process registered under its name. A manager that "
        "reconnected after a broken connection continues without the tasks that were given up."
    )
    if len(run.losses) > ROWS_MAX:
        note += f" Shown: {ROWS_MAX} of {units.count(len(run.losses))}, those with tasks first."
    rows = [_loss_row(run, loss) for loss in with_tasks_first[:ROWS_MAX]]
    return _table("Lost managers", note, columns, rows)


HOW = {"replaced": " (replaced)", "gave_up": " (reconnected)"}


def _loss_row(run: Run, loss: Loss) -> list[str]:
    ids = sorted(loss.manager.lost_ids)
    shown = ", ".join(str(number) for number in ids[:IDS_SHOWN])
    if loss.manager.lost_count > IDS_SHOWN:
        shown += f" and {units.count(loss.manager.lost_count - IDS_SHOWN)} more"
    name = _manager(loss.manager) + HOW.get(loss.how, "")
    return [
        _moment(run, loss.t),
        name,
        escape(loss.manager.host),
        escape(loss.manager.block or ""),
        "" if loss.silent_s is None else units.duration(loss.silent_s),
        units.count(loss.tasks),
        shown,
    ]


def _flights(run: Run, title: str, found: list[Flight], note: str) -> str:
    if not found:
        return ""
    columns = [
        ("Task", True),
        ("In flight for", True),
        ("Dispatched", False),
        ("In the queue for", True),
        ("Manager", False),
        ("Host", False),
        ("Block", False),
    ]
    takes_several = any(flight.slots > 1 for flight in found)
    if takes_several:
        columns.insert(1, ("Slots", True))
    rows = []
    for flight in found:
        manager = flight.manager
        # Manager and dispatch are unknown only for a task in the queue, and this table shows none
        # of these.
        assert manager is not None and flight.dispatched is not None
        rows.append(
            [
                str(flight.task),
                *([units.count(flight.slots)] if takes_several else []),
                units.duration(flight.seconds),
                _moment(run, flight.dispatched),
                "not known" if flight.waited_s is None else units.duration(flight.waited_s),
                _manager(manager),
                escape(manager.host),
                escape(manager.block or ""),
            ]
        )
    return _table(title, note, columns, rows)


def _waiting(run: Run) -> str:
    if not run.oldest_waiting:
        return ""
    columns = [("Task", True), ("In the queue for", True), ("Accepted", False)]
    rows = [
        [str(one.task), units.duration(one.seconds), _moment(run, run.until - one.seconds)]
        for one in run.oldest_waiting
    ]
    number = units.counted(run.unanswered_queued, "task")
    return _table("In the queue when the events end", f"The oldest of {number}.", columns, rows)


def _moment(run: Run, t: float) -> str:
    return units.moment(t, run.begin, run.until)


def _manager(manager: Manager) -> str:
    return f'<span class="id">{escape(manager.name)}</span>'


def _table(title: str, note: str, columns: Sequence[Column], rows: list[list[str]]) -> str:
    """Returns a table. Cells are HTML. The first cell of each row is the row's heading."""
    css = [CLASSES[is_number] for _, is_number in columns]
    head = "".join(
        f'<th scope="col"{kind}>{escape(name)}</th>'
        for (name, _), kind in zip(columns, css, strict=True)
    )
    body = ""
    for first, *rest in rows:
        cells = "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(rest, css[1:], strict=True))
        body += f'<tr><th scope="row"{css[0]}>{first}</th>{cells}</tr>'
    caption = f"<caption><span>{escape(note)}</span></caption>" if note else ""
    return (
        f'<h2>{escape(title)}</h2><div class="scroll" tabindex="0"><table>{caption}'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
