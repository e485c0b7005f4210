"""What is broken in each of the broken brokers: a file of src/broker, a text in it, another one."""

from __future__ import annotations

from harness.mutants.run import Mutant

MUTANTS = [
    Mutant(
        "a result is dropped",
        "results.rs",
        "            self.outputs.push_back(Output::Result(frame));\n",
        "            drop(frame);\n",
    ),
    Mutant(
        "a spoilt result is answered by nobody",
        "results.rs",
        "            self.outputs.push_back(Output::Failure(failure));\n",
        "            drop(failure);\n",
    ),
    Mutant(
        "a result is passed on although its manager does not hold the task",
        "results.rs",
        "now);\n            return false;\n        };\n        let flight",
        "now);\n            return true;\n        };\n        let flight",
    ),
    Mutant(
        "a manager with three tasks counts one place more than it has",
        "dispatch.rs",
        "            .saturating_sub(self.in_flight.len())",
        "            .saturating_sub(self.in_flight.len())\n"
        "            .saturating_add(usize::from(self.in_flight.len() == 3))",
    ),
    Mutant(
        "a batch takes half of what there is room for",
        "dispatch.rs",
        "            .free_capacity()\n            .min(BATCH_TASKS_MAX)",
        "            .free_capacity()\n            .div_ceil(2)\n"
        "            .min(BATCH_TASKS_MAX - 1)",
    ),
    Mutant(
        "a suspect manager gets tasks",
        "dispatch.rs",
        " || self.clogged || self.is_suspect();",
        " || self.clogged;",
    ),
    Mutant(
        "a manager that does not take its batches gets more",
        "dispatch.rs",
        " || self.clogged || self.is_suspect();",
        " || self.is_suspect();",
    ),
    Mutant(
        "a batch that was given back is lost",
        "returned_batches.rs",
        "        self.take_back(slot, shipment, now);\n        self.managers",
        "        self.managers",
    ),
    Mutant(
        "who takes batches again gets none",
        "returned_batches.rs",
        ".clogged = is_clogged;",
        ".clogged |= is_clogged;",
    ),
    Mutant(
        "a held manager gets tasks",
        "dispatch.rs",
        " = self.held || self.draining",
        " = self.draining",
    ),
    Mutant(
        "a draining manager gets tasks",
        "dispatch.rs",
        " = self.held || self.draining ||",
        " = self.held ||",
    ),
    Mutant(
        "a hold is told to nobody who chooses",
        "hold_and_drain.rs",
        "                self.index(slot);\n                self.report(slot, now);\n",
        "                self.report(slot, now);\n",
    ),
    Mutant(
        "the end of a connection is told to nobody who chooses",
        "connections.rs",
        "                address,\n            },\n        );\n        self.index(slot);\n",
        "                address,\n            },\n        );\n",
    ),
    Mutant(
        "who speaks again stays without tasks",
        "connections.rs",
        "is_another.then_some(last_word), now);\n        }\n        self.index(slot);\n",
        "is_another.then_some(last_word), now);\n        }\n",
    ),
    Mutant(
        "silence is too long a little too early",
        "liveness.rs",
        "Some(known.last_heard.saturating_add(self.threshold)),",
        "Some(known.last_heard.saturating_add(self.threshold * 9 / 10)),",
    ),
    Mutant(
        "a manager that was heard once is looked at a threshold too late",
        "liveness.rs",
        "            Overdue::Silent(slot) => self.expiry.push(Reverse((deadline, slot))),",
        "            Overdue::Silent(slot) => {\n"
        "                self.expiry.push(Reverse((deadline + self.threshold, slot)));\n"
        "            }",
    ),
    Mutant(
        "only the registration shows that a manager lives",
        "connections.rs",
        "std::mem::replace(&mut manager.last_heard, heard);",
        "manager.last_heard;",
    ),
    Mutant(
        "a sleep of the process is held against managers",
        "liveness.rs",
        "        self.stalled = self.stalled.saturating_add(gap);\n",
        "",
    ),
    Mutant(
        "of a sleep only what came after the deadline is counted",
        "liveness.rs",
        "self.stalled.saturating_add(gap)",
        "self.stalled.saturating_add(late)",
    ),
    Mutant(
        "a turn that is late by load counts as a sleep",
        "liveness.rs",
        "        if late < STALL_MIN {",
        "        if late < STALL_MIN / 8 {",
    ),
    Mutant(
        "nobody waits until the worker socket is empty",
        "liveness.rs",
        "} else if heard_out < deadline {",
        "} else if false {",
    ),
    Mutant(
        "that the worker socket was empty before the deadline is enough",
        "liveness.rs",
        "} else if heard_out < deadline {",
        "} else if heard_out + self.threshold < deadline {",
    ),
    Mutant(
        "a backlog protects the silent for ever",
        "liveness.rs",
        "let backlog_too_long = awake >= self.backlog_end();",
        "let backlog_too_long = false;",
    ),
    Mutant(
        "nobody wakes for the end of a grace, or of a doubt",
        "liveness.rs",
        "let awake = [expiry, breaks, backlog]",
        "let _ = breaks;\n        let awake = [expiry, backlog]",
    ),
    Mutant(
        "a grace goes on when the manager has come back",
        "liveness.rs",
        "                if known.suspect_since != Some(since) {\n"
        "                    return None;\n"
        "                }\n",
        "",
    ),
    Mutant(
        "a grace begins again with every sign of a closed connection",
        "connections.rs",
        "        if manager.suspect_since.is_none() {",
        "        {",
    ),
    Mutant(
        "nothing is in doubt after a break",
        "tasks_in_doubt.rs",
        "age.is_some_and(|age| age <= young)",
        "age.is_some_and(|age| age < Duration::ZERO)",
    ),
    Mutant(
        "after a break everything is in doubt, however old",
        "tasks_in_doubt.rs",
        "age.is_some_and(|age| age <= young)",
        "age.is_some()",
    ),
    Mutant(
        "a half-open connection counts as none that broke",
        "connections.rs",
        "let is_another = manager.spoke_by != origin.connection;",
        "let is_another = manager.is_suspect();",
    ),
    Mutant(
        "the run does not learn how long its tasks take",
        "results.rs",
        "        self.tally.in_flight_for.add(flight);\n",
        "        let _ = flight;\n",
    ),
    Mutant(
        "the next doubt of a manager is not watched",
        "tasks_in_doubt.rs",
        "        self.watch_doubts(slot);\n        self.after_result(slot, now);\n",
        "        self.after_result(slot, now);\n",
    ),
    Mutant(
        "tasks in doubt are given up while their manager has no connection",
        "liveness.rs",
        "let is_connected = known.suspect_since.is_none();",
        "let is_connected = true;",
    ),
    Mutant(
        "what is overdue when its manager comes back is given up at once",
        "tasks_in_doubt.rs",
        "(Some(until), _) if until <= awake =>",
        "(Some(until), _) if until < Duration::ZERO =>",
    ),
    Mutant(
        "each break puts a doubt off",
        "tasks_in_doubt.rs",
        "(Some(until), _) if until <= awake =>",
        "(Some(_), _) =>",
    ),
    Mutant(
        "of several doubts all end with the first",
        "tasks_in_doubt.rs",
        "let is_over = |at: Duration| at <= until;",
        "let is_over = |at: Duration| at <= until.max(at);",
    ),
    Mutant(
        "the place of a task that was given up is not free",
        "tasks_in_doubt.rs",
        "        self.watch_doubts(slot);\n        self.after_result(slot, now);\n",
        "        self.watch_doubts(slot);\n        self.report(slot, now);\n",
    ),
    Mutant(
        "the late result of a task that was given up is not counted",
        "given_up.rs",
        "        self.0.extend(tasks);\n",
        "        let _ = tasks;\n",
    ),
    Mutant(
        "a drain time is forgotten when nothing else is due",
        "liveness.rs",
        "        [awake, drain].into_iter().flatten().min()",
        "        awake.or(drain)",
    ),
    Mutant(
        "a refused batch is lost",
        "returned_batches.rs",
        "            if let Some(held) = record.take(id) {\n                self.queue.push",
        "            if let Some(held) = record.take(id).filter(|_| id.0 % 5 != 0) {\n"
        "                self.queue.push",
    ),
    Mutant(
        "a refused batch stays with its manager",
        "returned_batches.rs",
        "        for Shipped { task, weight } in shipment.into_tasks() {",
        "        for Shipped { task, weight } in shipment.into_tasks().take(0) {",
    ),
    Mutant(
        "a refused task forgets its priority",
        "returned_batches.rs",
        "                self.queue.push(QueuedTask {\n                    ticket: held.ticket,\n"
        "                    priority,\n",
        "                let _ = priority;\n"
        "                self.queue.push(QueuedTask {\n                    ticket: held.ticket,\n"
        "                    priority: protocol::Priority::LOWEST,\n",
    ),
    Mutant(
        "a refused task weighs nothing in the queue",
        "returned_batches.rs",
        "                    weight,\n",
        "                    weight: weight * 0,\n",
    ),
    Mutant(
        "a manager whose batch was refused is asked at once again",
        "returned_batches.rs",
        "        self.suspect(slot, now);\n        self.index(slot);\n        self.finish_draining",
        "        self.index(slot);\n        self.finish_draining",
    ),
    Mutant(
        "a draining manager whose last batch was refused is kept",
        "returned_batches.rs",
        "        self.index(slot);\n        self.finish_draining(slot, now);\n    }\n\n"
        "    /// A batch that was not",
        "        self.index(slot);\n    }\n\n    /// A batch that was not",
    ),
    Mutant(
        "registering again takes a manager's tasks from it",
        "registration.rs",
        "            manager.in_flight = std::mem::take(&mut earlier.in_flight);\n",
        "            self.fail_tasks(&mut earlier, now);\n",
    ),
    Mutant(
        "another process inherits the tasks of the one before",
        "registration.rs",
        "            && earlier.registered_by == origin.connection\n",
        "",
    ),
    Mutant(
        "a registration by another connection keeps tasks",
        "registration.rs",
        "            && earlier.registered_by == origin.connection\n"
        "            && earlier.origin == origin;",
        "            || true;",
    ),
    Mutant(
        "a connection belongs to two managers",
        "manager_table.rs",
        "            self.get_mut(other).origin.connection = None;\n",
        "            let _ = other;\n",
    ),
    Mutant(
        "the connection of a removed manager stays in the table",
        "manager_table.rs",
        "        self.set_origin(slot, Origin::default());\n        let place",
        "        let place",
    ),
    Mutant(
        "a lost manager is forgotten at once, and not told to exit",
        "registration.rs",
        "        self.departed.remember(&manager.id);\n",
        "",
    ),
    Mutant(
        "a lost manager that registers anew is still taken for a lost one",
        "registration.rs",
        "        self.departed.forget(id);\n",
        "",
    ),
    Mutant(
        "what waits for a lost manager still leaves",
        "registration.rs",
        "        self.outputs\n            .push_back(Output::Forgotten(manager.id.clone()));\n"
        "        manager\n",
        "        manager\n",
    ),
    Mutant(
        "the loss of a task is told twice",
        "lost_managers.rs",
        "        for task in &tasks {\n",
        "        for task in tasks.iter().chain(tasks.last()) {\n",
    ),
    Mutant(
        "one lost task is not told",
        "lost_managers.rs",
        "        for task in &tasks {\n",
        "        for task in tasks.iter().skip(1) {\n",
    ),
    Mutant(
        "of equal priorities the last one goes first",
        "queue.rs",
        "        (self.priority, self.ticket.task())",
        "        (self.priority, TaskId(-self.ticket.task().0))",
    ),
    Mutant(
        "tasks go in the order in which they came",
        "queue.rs",
        "            Some(last) if last.key() > task.key() => {",
        "            Some(last) if last.key() > task.key() && false => {",
    ),
    Mutant(
        "ranked tasks wait for those in line",
        "queue.rs",
        "=> first.key < in_line.key(),",
        "=> first.key.0 < in_line.key().0,",
    ),
    Mutant(
        "a stop forgets what managers hold",
        "shutdown.rs",
        "            for held in manager.in_flight.drain(..) {\n"
        "                held.ticket.settle();",
        "            for held in manager.in_flight.drain(..).skip(1) {\n"
        "                held.ticket.settle();",
    ),
    Mutant(
        "at a stop managers are not told",
        "shutdown.rs",
        "            let to = manager.id.clone();\n"
        "            self.outputs.push_back(Output::ToManager {",
        "            let to = manager.id.clone();\n            if manager.draining {\n"
        "                continue;\n            }\n"
        "            self.outputs.push_back(Output::ToManager {",
    ),
    Mutant(
        "an echo goes to another manager",
        "lib.rs",
        "                let to = manager.id.clone();\n"
        "                self.send(&to, ToManager::HeartbeatEcho);",
        "                let to = self.managers.in_order_of_registration()[0].id.clone();\n"
        "                self.send(&to, ToManager::HeartbeatEcho);",
    ),
    Mutant(
        "the history of blocks knows each block once",
        "registration.rs",
        "        history.push(block);\n",
        "        if !history.contains(&block) {\n            history.push(block);\n        }\n",
    ),
    Mutant(
        "the id of a task that has ended is not free again",
        "live_ids.rs",
        "            set.remove(&id.0);",
        "            let _ = (set, id);",
    ),
    Mutant(
        "the id of a live task is taken a second time",
        "live_ids.rs",
        "        if *last >= id {\n            return false;\n        }\n",
        "        if *last > id {\n            return false;\n        }\n",
    ),
    Mutant(
        "OUTSTANDING forgets what managers hold",
        "commands.rs",
        "(self.queued() + self.in_flight()) as i64",
        "self.queued() as i64",
    ),
    Mutant(
        "MANAGERS lists by place in the table",
        "manager_table.rs",
        "        managers.sort_unstable_by_key(|manager| manager.order);\n",
        "        let _ = &mut managers;\n",
    ),
    Mutant(
        "MANAGERS shows a held manager as active",
        "commands.rs",
        "                active: !manager.held,",
        "                active: true,",
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
        "        if !self.dispatching || self.stopping",
        "        if self.stopping",
    ),
    Mutant(
        "the loop spins while results are stuck",
        "lib.rs",
        ".filter(|_| self.dispatching && !self.queue.is_empty())",
        ".filter(|_| !self.queue.is_empty())",
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
        "            Self::Own(selector) => selector.withdraw(slot),\n"
        "            Self::Asked(user) => user.forget(slot, id),",
        "            Self::Own(_) => {}\n            Self::Asked(user) => user.forget(slot, id),",
    ),
]
