"""Describes the data in plain words: each sentence comes from one rule, and appears only if it
holds.

A rule gets the run and returns one sentence or None. A figure that could mislead is given with the
whole that it is a share of. `kind` says how to show a sentence: as a fact, as something to look at,
or as a limit of the data.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from htex_interchange.report import units
from htex_interchange.report.events import beside, shown
from htex_interchange.report.figures import first_by_block
from htex_interchange.report.model import AT_MANAGERS, IN_QUEUE, NOWHERE, Manager, Run

FACT, LOOK, LIMIT = "fact", "look", "limit"

# Limits below which something is not worth a sentence: shares of the run, and seconds.
WORTH_SAYING = 0.01
MOST = 0.5
LATE_SHARE = 0.02
LATE_S = 1.0
TAIL_SHARE = 0.05
TAIL_IDLE_SHARE = 0.2
# A task probably hangs after this many times the longest flight that ended.
HANGS_AFTER = 3.0
CLOCK_SLACK_S = 1.0
LOGS = ("interchange.log", "interchange.jsonlog")
LOG_END_BYTES = 1 << 14
# The ends of the log line that reports which signal ended the interchange: in a text log, and in a
# JSON log.
EXITING = (" [exiting]", '"code": "exiting"}')


@dataclass(frozen=True)
class Sentence:
    kind: str
    text: str


def sentences(run: Run) -> list[Sentence]:
    """Returns the sentences in reading order: what happened, what was slow, what is unknown."""
    return [sentence for rule in RULES if (sentence := rule(run))]


def outcome(run: Run) -> Sentence | None:
    if not run.tasks and run.is_partial:
        return Sentence(FACT, "The events contain no task; some events are missing.")
    if not run.tasks:
        return Sentence(FACT, f"No task arrived in {units.duration(run.duration_s)}.")
    if run.tasks == 1:
        done = "was done" if run.done else "failed" if run.failed_count else "has no answer yet"
        return Sentence(
            FACT, f"The 1 task {done}. The events cover {units.duration(run.duration_s)}."
        )
    parts = [f"{units.count(run.done)} of {units.counted(run.tasks, 'task')} were done"]
    if run.failed_count:
        parts.append(f"{units.count(run.failed_count)} failed")
    if run.unanswered:
        parts.append(f"{units.count(run.unanswered)} have no answer in the events")
    return Sentence(
        FACT, f"{units.several(parts)}. The events cover {units.duration(run.duration_s)}."
    )


def managers_or_none(run: Run) -> Sentence | None:
    if run.managers:
        return None
    if run.is_partial:
        return Sentence(LIMIT, "The events contain no manager; some events are missing.")
    waited = " Every task stayed in the queue." if run.unanswered_queued == run.tasks else ""
    return Sentence(LOOK, "No manager registered." + (waited if run.tasks else ""))


def how_it_ended(run: Run) -> Sentence | None:
    if run.end is not None:
        return None
    why = (
        "the interchange was still running when this report was made, was killed, or could not "
        "write its last events."
    )
    if was_told_to_end(run):
        why = "the interchange got a signal to end, as its log says, and did not write all events."
    moment = units.moment(run.until, run.begin, run.until)
    text = f"The events end at {moment} without an `end` event: {why}"
    if run.reading.cut_off:
        text += " The last line is cut off."
    return Sentence(LIMIT, text)


def was_told_to_end(run: Run) -> bool:
    """Whether the log reports a signal to end. Parsl gives the interchange 50 ms to end: a busy
    machine may write the log in that time, but not the last events."""
    pid = run.start.get("pid") if run.start else None
    for name in LOGS:
        try:
            with open(run.source.files[-1].parent / name, "rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_END_BYTES))
                lines = log.read().decode(errors="replace").splitlines()
        except OSError:
            continue
        return any(line.endswith(EXITING) and str(pid) in line for line in lines)
    return False


def utilisation(run: Run) -> Sentence | None:
    time = run.worker_time
    if not run.tasks or not time.registered or run.is_partial:
        return None
    return Sentence(
        FACT,
        f"Workers had a task for {units.share(time.used, time.registered)} of the "
        f"{units.worker_time(time.registered)} for which they were registered.",
    )


def wide_tasks(run: Run) -> Sentence | None:
    if not run.wide_tasks:
        return None
    which = f"{units.count(run.wide_tasks)} of {units.counted(run.tasks, 'task')}"
    return Sentence(
        FACT,
        f"{which} took several workers of a manager each, up to {units.count(run.widest)}: all "
        "these workers count as having a task.",
    )


def first_manager_was_late(run: Run) -> Sentence | None:
    """Reports how long tasks waited for the first worker: this is time of the batch system."""
    known = [manager.since for manager in run.managers]
    if run.first_task is None or not known or run.is_partial:
        return None
    late = min(known) - run.first_task
    if late < max(LATE_S, LATE_SHARE * run.duration_s):
        return None
    share = units.share(late, run.duration_s)
    return Sentence(
        LOOK,
        f"The first manager registered {units.duration(late)} after the first task arrived "
        f"({share} of the run).",
    )


def blocks_came_late(run: Run) -> Sentence | None:
    found = first_by_block(run)
    if len(found) < 2 or run.is_partial:
        return None
    first, last = min(found, key=found.__getitem__), max(found, key=found.__getitem__)
    late = found[last] - found[first]
    if late < max(LATE_S, LATE_SHARE * run.duration_s):
        return None
    which = "" if len(found) == 2 else f", the last of {units.counted(len(found), 'block')},"
    return Sentence(
        LOOK, f"Block {last}{which} registered {units.duration(late)} after block {first}."
    )


def more_workers(run: Run) -> Sentence | None:
    """Reports the time in which all workers that accept tasks were busy: only then could another
    worker have helped."""
    if run.is_partial or _is_small(run.saturated_s, run.duration_s):
        return None
    return Sentence(
        LOOK if run.saturated_s >= MOST * run.duration_s else FACT,
        f"For {units.share(run.saturated_s, run.duration_s)} of the run "
        f"({units.duration(run.saturated_s)}) tasks waited while every worker that accepted tasks "
        "was busy: more workers that fit these tasks would have had work in this time.",
    )


def nothing_waited(run: Run) -> Sentence | None:
    if not run.tasks or not run.managers or run.is_partial:
        return None
    if _is_small(run.waiting_s[NOWHERE], run.duration_s):
        return None
    return Sentence(
        FACT,
        f"For {units.share(run.waiting_s[NOWHERE], run.duration_s)} of the run "
        f"({units.duration(run.waiting_s[NOWHERE])}) no task waited, neither in the queue nor at "
        "a manager: more workers would not have helped in this time.",
    )


def idle_while_queued(run: Run) -> Sentence | None:
    time = run.worker_time
    if run.is_partial or _is_small(time.idle[IN_QUEUE], time.registered):
        return None
    return Sentence(
        LOOK,
        f"Workers were idle for {units.share(time.idle[IN_QUEUE], time.registered)} of their time "
        f"({units.worker_time(time.idle[IN_QUEUE])}) while tasks waited in the interchange's "
        "queue. Possible causes: tasks that ask for more than those workers had (`cores`, `node` "
        "and the like), a manager selector that keeps tasks from some managers, or a submit "
        "process that does not read its results. interchange.log reports such a submit process, "
        "and tasks that fit no manager.",
    )


def idle_while_prefetched(run: Run) -> Sentence | None:
    time = run.worker_time
    if run.is_partial or _is_small(time.idle[AT_MANAGERS], time.registered):
        return None
    return Sentence(
        LOOK,
        f"Workers were idle for {units.share(time.idle[AT_MANAGERS], time.registered)} of their "
        f"time ({units.worker_time(time.idle[AT_MANAGERS])}) while tasks waited at other managers "
        "that had prefetched them: with a smaller prefetch_capacity, the idle workers could have "
        "run these tasks.",
    )


def idle_but_closed(run: Run) -> Sentence | None:
    time = run.worker_time
    if run.is_partial or _is_small(time.closed, time.registered):
        return None
    return Sentence(
        FACT,
        f"Workers were idle for {units.share(time.closed, time.registered)} of their time "
        f"({units.worker_time(time.closed)}) while their managers got no new tasks, being held, "
        "draining, or without a connection.",
    )


def tail(run: Run) -> Sentence | None:
    """Reports the end of the run, when the last tasks run and other workers have nothing to do."""
    if run.is_partial or run.unanswered or run.waited_until is None or run.last_answer is None:
        return None
    seconds = run.last_answer - run.waited_until
    used = run.used_and_idle_at_last_answer[0] - run.used_and_idle_then[0]
    idle = run.used_and_idle_at_last_answer[1] - run.used_and_idle_then[1]
    if seconds < TAIL_SHARE * run.duration_s or idle < TAIL_IDLE_SHARE * (used + idle):
        return None
    return Sentence(
        LOOK,
        f"In the last {units.duration(seconds)} before the last answer "
        f"({units.share(seconds, run.duration_s)} of the run) no task waited any more. Workers "
        f"that accepted tasks were idle for {units.share(idle, used + idle)} of that time, while "
        "the last tasks ran.",
    )


def still_in_flight(run: Run) -> Sentence | None:
    """Reports a task that may hang: such a task is far older than the longest that was done."""
    if not run.oldest_in_flight or not run.longest_flights:
        return None
    oldest, longest = run.oldest_in_flight[0], run.longest_flights[0]
    if oldest.seconds < HANGS_AFTER * longest.seconds:
        return None
    return Sentence(
        LOOK,
        f"Task {oldest.task} has been in flight for {units.duration(oldest.seconds)} at "
        f"{place_of(oldest.manager)}; of the tasks that were done, the longest took "
        f"{units.duration(longest.seconds)}.",
    )


def losses(run: Run) -> Sentence | None:
    if not run.losses:
        return None
    parts = []
    for how, words in (("lost", "lost"), ("replaced", "replaced by another process")):
        with_tasks = [loss for loss in run.losses if loss.how == how and loss.tasks]
        without = sum(loss.how == how and not loss.tasks for loss in run.losses)
        if with_tasks:
            tasks = units.counted(sum(loss.tasks for loss in with_tasks), "task")
            parts.append(f"{_were(len(with_tasks))} {words} with {tasks} in flight")
        if without:
            parts.append(f"{_were(without)} {words} without a task in flight")
    given_up = [loss for loss in run.losses if loss.how == "gave_up"]
    if given_up:
        tasks = units.counted(sum(loss.tasks for loss in given_up), "task")
        parts.append(f"{tasks} given up at managers that reconnected after a broken connection")
    kind = LOOK if any(loss.tasks for loss in run.losses) else FACT
    return Sentence(kind, units.several(parts) + ".")


def restarts(run: Run) -> Sentence | None:
    if not run.restarts:
        return None
    last = run.restarts[-1]
    moment = units.moment(last.t, run.begin, run.until)
    down_s = sum(restart.down_s for restart in run.restarts)
    if len(run.restarts) == 1:
        when = f"The interchange was restarted at {moment}"
        down = f"It was down for {units.duration(down_s)}"
    else:
        when = f"The interchange was restarted {len(run.restarts)} times, the last at {moment}"
        down = f"It was down for {units.duration(down_s)} in all"
    return Sentence(
        LOOK,
        f"{when}: its process {last.why}. {down}, and the last events before that may be missing.",
    )


def failures(run: Run) -> Sentence | None:
    if not run.failed:
        return None
    by_number = sorted(run.failed.items(), key=lambda item: (-item[1], item[0]))
    parts = [f"{units.count(number)} with {reason}" for reason, number in by_number]
    return Sentence(
        LOOK, f"{units.counted(run.failed_count, 'task')} failed in HTEX: {units.several(parts)}."
    )


def closed_managers(run: Run) -> Sentence | None:
    parts = []
    for state, words in (("held", "held"), ("draining", "drained after their drain_period")):
        number = sum(any(mark == state for _, mark in one.marks) for one in run.managers)
        if number:
            words = words if number > 1 else words.replace("their", "its")
            parts.append(f"{_were(number)} {words}")
    suspects = sum(any(mark == "suspect" for _, mark in one.marks) for one in run.managers)
    if suspects:
        parts.append(f"the connection of {units.counted(suspects, 'manager')} closed")
    text = units.several(parts)
    return Sentence(FACT, f"{text[0].upper()}{text[1:]}.") if parts else None


def missing_events(run: Run) -> Sentence | None:
    parts = []
    if run.may_lack_beginning:
        parts.append("the beginning may be missing (only the newest event files are kept)")
    if run.source.missing:
        numbers = units.several([str(number) for number in sorted(run.source.missing)])
        parts.append(f"rotated files are missing (number {numbers})")
    if run.dropped:
        lines = units.counted(run.dropped, "line")
        parts.append(f"the interchange left out {lines} that it could not write to the disk")
    if run.reading.bad:
        lines = units.counted(run.reading.bad, "line")
        parts.append(f"{lines} could not be read")
    if run.orphans and not run.may_lack_beginning:
        parts.append(f"the first event of {units.count(run.orphans)} tasks or managers is missing")
    if not parts:
        return None
    text = units.several(parts)
    return Sentence(
        LIMIT,
        f"{text[0].upper()}{text[1:]}: figures are approximate, and sentences on how the workers' "
        "time was used are left out.",
    )


def others_beside(run: Run) -> Sentence | None:
    """Names the other event files: executors that are given the same file name each write their own
    file, with their label in its name."""
    newest = run.source.files[-1]
    others = sorted(shown(path.name) for path in beside(newest))
    if not others:
        return None
    return Sentence(
        FACT,
        f"Other event files in the folder of {shown(newest.name)}: {units.several(others)}.",
    )


def unknown_workers(run: Run) -> Sentence | None:
    number = sum(not manager.is_known for manager in run.managers)
    if not number:
        return None
    return Sentence(
        LIMIT,
        f"The registration of {units.counted(number, 'manager')} is not in the events: the number "
        "of their workers is unknown, and pictures of workers leave them out.",
    )


def unknown_events(run: Run) -> Sentence | None:
    if not run.reading.unknown:
        return None
    number = units.counted(sum(run.reading.unknown.values()), "event")
    return Sentence(
        LIMIT,
        f"{number} of kinds that this report does not know were skipped: "
        f"{units.several(sorted(run.reading.unknown))}.",
    )


def clock_was_set_back(run: Run) -> Sentence | None:
    if run.set_back_s < CLOCK_SLACK_S:
        return None
    return Sentence(
        LIMIT,
        f"The clock was set back by up to {units.duration(run.set_back_s)} during the run; "
        "until it had caught up, no time passes in this report.",
    )


RULES: tuple[Callable[[Run], Sentence | None], ...] = (
    outcome,
    managers_or_none,
    utilisation,
    wide_tasks,
    more_workers,
    first_manager_was_late,
    blocks_came_late,
    idle_while_queued,
    idle_while_prefetched,
    tail,
    nothing_waited,
    idle_but_closed,
    still_in_flight,
    restarts,
    losses,
    failures,
    closed_managers,
    how_it_ended,
    missing_events,
    others_beside,
    unknown_workers,
    unknown_events,
    clock_was_set_back,
)


def place_of(manager: Manager | None) -> str:
    """Names a manager with its host and block."""
    if manager is None:
        return "no manager"
    block = "" if manager.block is None else f", block {manager.block}"
    host = f" ({manager.host}{block})" if manager.host else ""
    return f"manager {manager.name}{host}"


def _is_small(part: float, whole: float) -> bool:
    return part <= 0 or part < WORTH_SAYING * whole


def _were(number: int) -> str:
    return f"{units.counted(number, 'manager')} {'was' if number == 1 else 'were'}"
