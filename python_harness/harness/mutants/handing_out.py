"""Mutants with bugs in the queue and in the dispatch of tasks; see `table.py`."""

from __future__ import annotations

from harness.mutants.run import Mutant

MUTANTS = [
    Mutant(
        "a manager with three tasks has one slot too many",
        "dispatch.rs",
        "        (most + self.untraced).saturating_sub(self.busy_slots())\n",
        "        (most + self.untraced).saturating_sub(self.busy_slots())\n"
        "            .saturating_add(usize::from(self.in_flight.len() == 3))\n",
    ),
    Mutant(
        "a batch has half of the tasks that fit",
        "dispatch.rs",
        "            .free_capacity()\n            .min(BATCH_TASKS_MAX)",
        "            .free_capacity()\n            .div_ceil(2)\n            .min(BATCH_TASKS_MAX)",
    ),
    Mutant(
        "a task that may crash its manager comes behind others in its batch",
        "dispatch.rs",
        "(weight > room.weight || is_alone)",
        "weight > room.weight",
    ),
    Mutant(
        "a task that may crash its manager comes before others in its batch",
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
        "a manager with a full connection gets more batches",
        "dispatch.rs",
        "self.is_kept() && !self.clogged && ",
        "self.is_kept() && ",
    ),
    Mutant(
        "a task that does not fit into a batch is lost",
        "dispatch.rs",
        "(weight > room.weight || is_alone) {\n",
        "(weight > room.weight || is_alone) {\n"
        "                self.queue.plain.pop().map(|task| task.ticket.settle());\n",
    ),
    Mutant(
        "a manager whose connection has room again gets no batch",
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
        "the weight of dispatched tasks still counts for the queue",
        "lane.rs",
        "        self.weight -= first.weight;\n",
        "",
    ),
    Mutant(
        "the weight of another task is compared with the room in a batch",
        "lane.rs",
        "            true => self.ranked.get(self.ranking.peek()?.0.place)?,\n",
        "            true => {\n"
        "                let ranked = self.ranked.get(self.ranking.peek()?.0.place);\n"
        "                self.line.front().or(ranked)?\n"
        "            }\n",
    ),
    Mutant(
        "a manager with a full connection is chosen again at once",
        "dispatch.rs",
        "logged = is_clogged;\n            manager.note_state();\n            self.index(slot);\n",
        "logged = is_clogged;\n            manager.note_state();\n",
    ),
    Mutant(
        "tasks go to any eligible manager, not to the selector's first choice",
        "dispatch.rs",
        "            false => self.policy.best(now, Among::All),\n",
        "            false => self.policy.best(now, Among::All).and_then(|_| {\n"
        "                let mut all = self.managers.iter();\n"
        "                all.find(|(_, manager)| manager.is_eligible()).map(|(slot, _)| slot)\n"
        "            }),\n",
    ),
    Mutant(
        "a batch is heavier than allowed by one task",
        "dispatch.rs",
        "(weight > room.weight || is_alone)",
        "(next.weight > room.weight || is_alone)",
    ),
    Mutant(
        "the weight limit of a batch is ignored",
        "dispatch.rs",
        "(weight > room.weight || is_alone)",
        "is_alone",
    ),
    Mutant(
        "a task that is heavier than the limit of a batch is never sent",
        "dispatch.rs",
        "if !shipment.is_empty() && (weight > room.weight || is_alone) {",
        "if weight > room.weight || !shipment.is_empty() && is_alone {",
    ),
    Mutant(
        "the transport's limit for tasks in a batch is ignored",
        "dispatch.rs",
        "room.tasks.clamp(1, BATCH_TASKS_MAX)",
        "BATCH_TASKS_MAX",
    ),
    Mutant(
        "a single queued task does not continue the loop",
        "dispatch.rs",
        "!self.queue.plain.is_empty() && self.policy.has_best(Among::All)",
        "self.queue.plain.len() > 1 && self.policy.has_best(Among::All)",
    ),
    Mutant(
        "the loop continues although no manager has room",
        "dispatch.rs",
        "false => !self.queue.plain.is_empty() && self.policy.has_best(Among::All),\n",
        "false => !self.queue.plain.is_empty(),\n",
    ),
    Mutant(
        "the first manager of a round gets only one batch",
        "user_selector.rs",
        "                *placed = true;\n                return Some(*slot);",
        "                *placed = true;\n                return order.pop();",
    ),
    Mutant(
        "the order of a user's selector is reversed",
        "user_selector.rs",
        "        self.state = State::Answered {\n            order,\n",
        "        self.state = State::Answered {\n"
        "            order: order.into_iter().rev().collect(),\n",
    ),
    Mutant(
        "the answer of a user's selector does not continue the loop",
        "user_selector.rs",
        "if order.iter().any(is_offered))",
        "if order.iter().all(|slot| !is_offered(slot)))",
    ),
    Mutant(
        "the last of several tasks with equal priorities is sent first",
        "lane.rs",
        "        (self.priority, self.ticket.task())",
        "        (self.priority, TaskId(-self.ticket.task().0))",
    ),
    Mutant(
        "tasks are sent in the order of their arrival",
        "lane.rs",
        "            Some(last) if last.key() > task.key() => {",
        "            Some(last) if last.key() > task.key() && false => {",
    ),
    Mutant(
        "tasks with priorities wait for those without",
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
        "tasks are dispatched while results cannot be sent",
        "dispatch.rs",
        "        self.dispatching && !self.stopping",
        "        !self.stopping",
    ),
    Mutant(
        "the broker waits for the user's selector without a time limit",
        "user_selector.rs",
        "            State::Asked { until, .. } if until <= now => Some(Overdue::Answer),\n",
        "",
    ),
    Mutant(
        "the user's selector is asked before it has answered",
        "user_selector.rs",
        "        if self.owes {\n            return None;\n        }\n",
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
        "a selector is not notified that a manager has left",
        "policy.rs",
        "            Self::Own(own) => own.withdraw(slot),\n"
        "            Self::Asked(user) => user.forget(slot, id),",
        "            Self::Own(_) => {}\n            Self::Asked(user) => user.forget(slot, id),",
    ),
]
