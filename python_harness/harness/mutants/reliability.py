"""Mutants with bugs in the handling of vanished blocks and of managers that fail every task; see
`table.py`."""

from __future__ import annotations

from functools import partial

from harness.mutants.run import Mutant

FAILING = partial(Mutant, test="managers_that_fail_every_task_are_found")
OBSERVED = partial(Mutant, test="scenarios::observations")

MUTANTS = [
    Mutant(
        "a manager that sent no message since its block vanished gets tasks",
        "link.rs",
        "matches!(self.state, LinkState::Open | LinkState::Claimed)",
        "!matches!(self.state, LinkState::Closed(_))",
    ),
    Mutant(
        "the selector is not notified that a block has vanished",
        "vanished.rs",
        "            self.index(survivor);\n",
        "",
    ),
    Mutant(
        "one manager that vanishes counts as several",
        "vanished.rs",
        "        let (other, at) = other?;\n",
        "        let (other, at) = other.unwrap_or((manager.clone(), awake));\n",
    ),
    Mutant(
        "managers that vanish an hour apart vanish together",
        "vanished.rs",
        "(ago <= TOGETHER)",
        "(ago <= TOGETHER * 360)",
    ),
    Mutant(
        "managers that were held or draining count as vanished",
        "vanished.rs",
        "        if !manager.is_kept() {\n            return;\n        }\n",
        "",
    ),
    Mutant(
        "a manager lost because of its silence does not count as vanished",
        "lost_managers.rs",
        "            self.note_vanished(slot, now);\n",
        "",
    ),
    Mutant(
        "a manager that sent one message is never awaited again",
        "connections.rs",
        "        self.note_heard(slot);\n",
        "",
    ),
    Mutant(
        "an awaited manager that registers again by its connection is another process",
        "link.rs",
        "matches!(self.state, LinkState::Open | LinkState::Awaited)",
        "matches!(self.state, LinkState::Open)",
    ),
    FAILING(
        "a successful task does not end a series of exceptions",
        "failing.rs",
        "        if row.count > 0 && row.tasks_done != done {\n",
        "        if row.count > 0 && row.tasks_done > done {\n",
    ),
    FAILING(
        "nine exceptions are enough",
        "failing.rs",
        "const IN_A_ROW_MIN: u64 = 10;",
        "const IN_A_ROW_MIN: u64 = 9;",
    ),
    FAILING(
        "the number of workers is ignored",
        "failing.rs",
        "IN_A_ROW_MIN.max(2 * self.site.slots as u64)",
        "IN_A_ROW_MIN",
    ),
    FAILING(
        "a manager is held although all managers fail alike",
        "failing.rs",
        "let is_odd = others.succeeded() > 0 && !others.explain(row.count);",
        "let is_odd = true;",
    ),
    FAILING(
        "a short series is enough although most tasks of other managers raise",
        "failing.rs",
        "others.succeeded() > 0 && !others.explain(row.count);",
        "others.succeeded() > 0;",
    ),
    FAILING(
        "a manager that fails tasks slowly is reported",
        "failing.rs",
        "        (is_odd && is_faster(row, &now))",
        "        is_odd",
    ),
    FAILING(
        "other managers are compared since the start of the run",
        "failing.rs",
        "theirs: Vec<u64> = flights.map(|(now, before)| now - before).collect();",
        "theirs: Vec<u64> = flights.map(|(now, _)| *now).collect();",
    ),
    FAILING(
        "the last manager that gets tasks is held",
        "failing.rs",
        "        if !self.managers.iter().any(gets_tasks) {\n            return;\n        }\n",
        "        let _ = gets_tasks;\n",
    ),
    FAILING(
        "a manager that fails every task is held although the flag is not set",
        "failing.rs",
        "        if is_held {\n            self.hold_slot",
        "        if is_held || in_a_row > 0 {\n            self.hold_slot",
    ),
    FAILING(
        "a manager that has failed all queued tasks is not checked again",
        "failing.rs",
        "            self.exceptions.undecided.insert(slot);\n            let soon",
        "            let soon",
    ),
    FAILING(
        "an exception of a task that the manager does not hold counts",
        "failing.rs",
        " else {\n            return false;\n        };\n        let flight",
        " else {\n            manager.tasks_done += 1;\n            return false;\n        };\n"
        "        let flight",
    ),
    FAILING(
        "a manager that succeeds again is still reported as failing",
        "failing.rs",
        "(row.is_failing && row.tasks_done == self.tasks_done).then_some(row.count)",
        "row.is_failing.then_some(row.count)",
    ),
    OBSERVED(
        "the idle time is sent once",
        "observations.rs",
        "told != Some(tasks) || tasks == 0",
        "told != Some(tasks)",
    ),
    OBSERVED(
        "a hold is not sent to an executor that sends no commands",
        "observations.rs",
        "            ManagerChange::Held | ManagerChange::Draining => {\n",
        "            ManagerChange::Held => {}\n            ManagerChange::Draining => {\n",
    ),
    OBSERVED(
        "an executor that sends no commands sees a lost manager as active",
        "observations.rs",
        "                self.observe_fact(id, ManagerFact::Active(false));\n",
        "",
    ),
    OBSERVED(
        "every executor is sent observations",
        "happenings.rs",
        "        if self.observations.is_some() {\n",
        "        {\n",
    ),
]
