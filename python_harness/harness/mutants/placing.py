"""Mutants with bugs in the placement of tasks that have requirements on their manager; see
`table.py`."""

from __future__ import annotations

from functools import partial

from harness.mutants.run import Mutant

PLACING = partial(Mutant, test="tasks_go_where_they_fit")

MUTANTS = [
    PLACING(
        "no manager is ever reserved",
        "placement.rs",
        "            self.reserve(class, None, now);\n",
        "            let _ = class;\n",
    ),
    PLACING(
        "a large task may be overtaken forever",
        "placement.rs",
        "&& self.note_passed(class, now) >= PATIENCE",
        "&& self.note_passed(class, now) >= PATIENCE * 1000",
    ),
    PLACING(
        "a reservation is not released after its task was dispatched",
        "placement.rs",
        "        if let Some(held) = self.reservation\n            && (held.class == found.class",
        "        if let Some(held) = self.reservation\n            && false\n"
        "            && (held.class == found.class",
    ),
    PLACING(
        "a reserved manager gets tasks that come after the one it is reserved for",
        "kinds.rs",
        "            if until == Some(name) {\n                return walk;\n            }\n",
        "            let _ = until;\n",
    ),
    PLACING(
        "a held manager keeps its affinities",
        "hold_and_drain.rs",
        "            self.note_manager(&id, ManagerChange::Held, now);\n"
        "            self.release_bound(slot, now);\n",
        "            self.note_manager(&id, ManagerChange::Held, now);\n",
    ),
    PLACING(
        "tasks of one affinity go to any manager",
        "placement.rs",
        "            self.queue.asking.bind(affinity, slot);\n",
        "",
    ),
    PLACING(
        "tasks are prefetched beside one that takes several slots",
        "dispatch.rs",
        "            _ => self.site.slots,\n",
        "            _ => self.registration.max_capacity,\n",
    ),
    PLACING(
        "a manager's remaining time is ignored",
        "demand.rs",
        "            || amounts.running_time_s.is_some_and(is_too_long)\n",
        "            || amounts.running_time_s.is_some_and(is_too_long) && false\n",
    ),
    PLACING(
        "a task of a hard type runs beside tasks of another type",
        "placed_tasks.rs",
        "            true => others.next().is_none(),\n",
        "            true => others.next().is_none() || true,\n",
    ),
    PLACING(
        "a new manager is not offered tasks that fit no manager before",
        "unmet.rs",
        "        if !names.is_empty() {\n            self.move_kinds(now);\n        }\n",
        "",
    ),
    PLACING(
        "tasks that fit no manager stay unmet when a suitable manager registers",
        "unmet.rs",
        "class.is_some_and(|class| class.fit(&room) != Fit::Never)",
        "class.is_some_and(|class| class.fit(&room) == Fit::Later)",
    ),
    PLACING(
        "an affinity stays with a manager that can never hold its task",
        "placement.rs",
        "        if self.queue.asking.is_in_vain(affinity, &room) {\n",
        "        if self.queue.asking.is_in_vain(affinity, &room) && slot == Slot::LAST {\n",
    ),
    PLACING(
        "set-aside managers are not checked when a new kind of task is queued",
        "placement.rs",
        "            if self.keep_if_holdable(class, now) {\n"
        "                self.begin_class(class, now);\n"
        "            }\n",
        "            self.keep_if_holdable(class, now);\n",
    ),
    PLACING(
        "affinities of a manager that leaves are not offered to other managers",
        "placement.rs",
        "        if self.queue.asking.release(slot) {\n            self.move_kinds(now);\n"
        "        }\n",
        "        let _ = self.queue.asking.release(slot);\n",
    ),
    PLACING(
        "a slot that becomes free on a reserved manager is not noticed",
        "placement.rs",
        "        held.has_news = true;\n        self.policy.withdraw(slot);\n        true\n",
        "        held.has_news = false;\n        self.policy.withdraw(slot);\n        true\n",
    ),
    PLACING(
        "a task whose type ran before goes before one of higher priority",
        "kinds.rs",
        ".take_while(|((of, _), _)| *of == priority)",
        ".take_while(|((of, _), _)| *of >= priority || *of < priority)",
    ),
    PLACING(
        "a task takes one slot, whatever it requests",
        "placed_tasks.rs",
        "        self.extra_slots += slots - 1;\n",
        "        self.extra_slots += (slots - 1).min(0);\n",
    ),
    PLACING(
        "a task that requests several slots is prefetched",
        "demand.rs",
        "            true => slots <= self.manager.free_workers(),\n",
        "            true => slots <= self.manager.free_capacity(),\n",
    ),
    PLACING(
        "the requested node is ignored",
        "demand.rs",
        "            || !demand.accepts(&manager.registration)\n",
        "",
    ),
]
