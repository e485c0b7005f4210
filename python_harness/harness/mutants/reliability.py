"""Mutants with bugs in the handling of vanished blocks and of managers that fail every task; see
`table.py`."""

from __future__ import annotations

from functools import partial

from harness.mutants.run import Mutant

FAILING = partial(Mutant, test="managers_that_fail_every_task_are_found")
OBSERVED = partial(Mutant, test="scenarios::observations")

MUTANTS = [
    Mutant(
        "who has not spoken since its block vanished gets tasks",
        "link.rs",
        "matches!(self.state, LinkState::Open | LinkState::Claimed)",
        "!matches!(self.state, LinkState::Closed(_))",
    ),
    Mutant(
        "nobody who chooses is told that a block has vanished",
        "vanished.rs",
        "            self.index(survivor);\n",
        "",
    ),
    Mutant(
        "one manager that vanishes is a block",
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
        "managers that were to go have vanished",
        "vanished.rs",
        "        if !manager.is_kept() {\n            return;\n        }\n",
        "",
    ),
    Mutant(
        "a manager that is given up for its silence has not vanished",
        "lost_managers.rs",
        "            self.note_vanished(slot, now);\n",
        "",
    ),
    Mutant(
        "who speaks once is never doubted again",
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
        "a success is no end of a row of exceptions",
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
        "how many workers there are is no matter",
        "failing.rs",
        "IN_A_ROW_MIN.max(2 * self.site.slots as u64)",
        "IN_A_ROW_MIN",
    ),
    FAILING(
        "a manager is held where all fail alike",
        "failing.rs",
        "let is_odd = others.succeeded() > 0 && !others.explain(row.count);",
        "let is_odd = true;",
    ),
    FAILING(
        "where most tasks raise anywhere short rows are enough",
        "failing.rs",
        "others.succeeded() > 0 && !others.explain(row.count);",
        "others.succeeded() > 0;",
    ),
    FAILING(
        "a manager that fails slowly eats the queue",
        "failing.rs",
        "        (is_odd && is_faster(row, &now))",
        "        is_odd",
    ),
    FAILING(
        "others are compared since the start of the run",
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
        "a manager that fails everything is held whatever the settings say",
        "failing.rs",
        "        if is_held {\n            self.hold_slot",
        "        if is_held || in_a_row > 0 {\n            self.hold_slot",
    ),
    FAILING(
        "a manager that has eaten the queue is not looked at again",
        "failing.rs",
        "            self.exceptions.undecided.insert(slot);\n            let soon",
        "            let soon",
    ),
    FAILING(
        "the exception of a task that it does not hold is its own",
        "failing.rs",
        " else {\n            return false;\n        };\n        let flight",
        " else {\n            manager.tasks_done += 1;\n            return false;\n        };\n"
        "        let flight",
    ),
    FAILING(
        "who succeeds again is said to fail everything",
        "failing.rs",
        "(row.is_failing && row.tasks_done == self.tasks_done).then_some(row.count)",
        "row.is_failing.then_some(row.count)",
    ),
    OBSERVED(
        "idleness is told once",
        "observations.rs",
        "told != Some(tasks) || tasks == 0",
        "told != Some(tasks)",
    ),
    OBSERVED(
        "a hold is not told to who does not ask",
        "observations.rs",
        "            ManagerChange::Held | ManagerChange::Draining => {\n",
        "            ManagerChange::Held => {}\n            ManagerChange::Draining => {\n",
    ),
    OBSERVED(
        "who has gone stays active for who does not ask",
        "observations.rs",
        "                self.observe_fact(id, ManagerFact::Active(false));\n",
        "",
    ),
    OBSERVED(
        "everybody is told without asking",
        "happenings.rs",
        "        if self.observations.is_some() {\n",
        "        {\n",
    ),
]
