"""Mutants with bugs in the queue and in the dispatch of tasks; see `table.py`."""

from __future__ import annotations

from harness.mutants.run import Mutant

MUTANTS = [
    Mutant(
        "a manager with three tasks counts one place more than it has",
        "dispatch.rs",
        "        (most + self.untraced).saturating_sub(self.busy_slots())\n",
        "        (most + self.untraced).saturating_sub(self.busy_slots())\n"
        "            .saturating_add(usize::from(self.in_flight.len() == 3))\n",
    ),
    Mutant(
        "a batch takes half of what there is room for",
        "dispatch.rs",
        "            .free_capacity()\n            .min(BATCH_TASKS_MAX)",
        "            .free_capacity()\n            .div_ceil(2)\n            .min(BATCH_TASKS_MAX)",
    ),
    Mutant(
        "a task that may end its manager has others before it in its batch",
        "dispatch.rs",
        "(weight > room.weight || is_alone)",
        "weight > room.weight",
    ),
    Mutant(
        "a task that may end its manager has others behind it in its batch",
        "dispatch.rs",
        "record,\n            });\n            if is_alone {\n                break;\n",
        "record,\n            });\n            if is_alone {\n",
    ),
    Mutant(
        "a suspect manager gets tasks",
        "dispatch.rs",
        " && !self.clogged && self.link.is_heard()\n",
        " && !self.clogged && (self.link.is_heard() || self.is_suspect())\n",
    ),
    Mutant(
        "a manager that does not take its batches gets more",
        "dispatch.rs",
        "self.is_kept() && !self.clogged && ",
        "self.is_kept() && ",
    ),
    Mutant(
        "a task that a batch has no room for is lost",
        "dispatch.rs",
        "(weight > room.weight || is_alone) {\n",
        "(weight > room.weight || is_alone) {\n"
        "                self.queue.plain.pop().map(|task| task.ticket.settle());\n",
    ),
    Mutant(
        "who takes batches again gets none",
        "dispatch.rs",
        ".clogged = is_clogged;",
        ".clogged |= is_clogged;",
    ),
    Mutant(
        "a held manager gets tasks",
        "dispatch.rs",
        "        !self.held && !self.draining\n",
        "        !self.draining\n",
    ),
    Mutant(
        "a draining manager gets tasks",
        "dispatch.rs",
        "        !self.held && !self.draining\n",
        "        !self.held\n",
    ),
    Mutant(
        "what has left the queue still weighs",
        "lane.rs",
        "        self.weight -= first.weight;\n",
        "",
    ),
    Mutant(
        "a batch is measured by another task than the one that leaves",
        "lane.rs",
        "            true => self.ranked.get(self.ranking.peek()?.0.place)?,\n",
        "            true => {\n"
        "                let ranked = self.ranked.get(self.ranking.peek()?.0.place);\n"
        "                self.line.front().or(ranked)?\n"
        "            }\n",
    ),
    Mutant(
        "a manager whose connection takes nothing is chosen at once again",
        "dispatch.rs",
        "logged = is_clogged;\n            manager.note_state();\n            self.index(slot);\n",
        "logged = is_clogged;\n            manager.note_state();\n",
    ),
    Mutant(
        "the next to get tasks is any that may get some",
        "dispatch.rs",
        "            false => self.policy.best(now, Among::All),\n",
        "            false => self.policy.best(now, Among::All).and_then(|_| {\n"
        "                let mut all = self.managers.iter();\n"
        "                all.find(|(_, manager)| manager.is_eligible()).map(|(slot, _)| slot)\n"
        "            }),\n",
    ),
    Mutant(
        "a batch weighs more than there is room for",
        "dispatch.rs",
        "(weight > room.weight || is_alone)",
        "(next.weight > room.weight || is_alone)",
    ),
    Mutant(
        "what a batch may weigh is not asked",
        "dispatch.rs",
        "(weight > room.weight || is_alone)",
        "is_alone",
    ),
    Mutant(
        "a task that is heavier than a batch may be does not leave",
        "dispatch.rs",
        "if !shipment.is_empty() && (weight > room.weight || is_alone) {",
        "if weight > room.weight || !shipment.is_empty() && is_alone {",
    ),
    Mutant(
        "a batch holds more tasks than there is room for",
        "dispatch.rs",
        "room.tasks.clamp(1, BATCH_TASKS_MAX)",
        "BATCH_TASKS_MAX",
    ),
    Mutant(
        "a single task that waits is no reason to go on",
        "dispatch.rs",
        "!self.queue.plain.is_empty() && self.policy.has_best(Among::All)",
        "self.queue.plain.len() > 1 && self.policy.has_best(Among::All)",
    ),
    Mutant(
        "the loop goes on although nobody has room",
        "dispatch.rs",
        "false => !self.queue.plain.is_empty() && self.policy.has_best(Among::All),\n",
        "false => !self.queue.plain.is_empty(),\n",
    ),
    Mutant(
        "the best of a round gets one batch, whatever room it has",
        "user_selector.rs",
        "                *placed = true;\n                return Some(*slot);",
        "                *placed = true;\n                return order.pop();",
    ),
    Mutant(
        "the order of a user's selector is read from its other end",
        "user_selector.rs",
        "            self.state = State::Answered {\n                order,\n",
        "            self.state = State::Answered {\n"
        "                order: order.into_iter().rev().collect(),\n",
    ),
    Mutant(
        "the answer of a user's selector is no reason to go on",
        "user_selector.rs",
        "if order.iter().any(is_offered))",
        "if order.iter().all(|slot| !is_offered(slot)))",
    ),
    Mutant(
        "of equal priorities the last one goes first",
        "lane.rs",
        "        (self.priority, self.ticket.task())",
        "        (self.priority, TaskId(-self.ticket.task().0))",
    ),
    Mutant(
        "tasks go in the order in which they came",
        "lane.rs",
        "            Some(last) if last.key() > task.key() => {",
        "            Some(last) if last.key() > task.key() && false => {",
    ),
    Mutant(
        "ranked tasks wait for those in line",
        "lane.rs",
        "=> first.key < in_line.key(),",
        "=> first.key.0 < in_line.key().0,",
    ),
    Mutant(
        "a manager with tasks counts as idle",
        "dispatch.rs",
        "        manager.idle_since = None;\n        debug!(",
        "        debug!(",
    ),
    Mutant(
        "tasks leave while results are stuck",
        "dispatch.rs",
        "        self.dispatching && !self.stopping",
        "        !self.stopping",
    ),
    Mutant(
        "an answer of the user's selector is waited for without end",
        "user_selector.rs",
        "            State::Asked { until } if until <= now => Some(self.number),\n",
        "",
    ),
    Mutant(
        "the user's selector is asked about managers that left",
        "user_selector.rs",
        "        self.withdraw(slot);\n        self.changed.remove(&slot);",
        "        self.random.withdraw(slot);\n        self.changed.remove(&slot);",
    ),
    Mutant(
        "the newest block does not come first",
        "selector.rs",
        "self.ranking.last().map",
        "self.ranking.first().map",
    ),
    Mutant(
        "a selector is not told that a manager has left",
        "policy.rs",
        "            Self::Own(own) => own.withdraw(slot),\n"
        "            Self::Asked(user) => user.forget(slot, id),",
        "            Self::Own(_) => {}\n            Self::Asked(user) => user.forget(slot, id),",
    ),
]
