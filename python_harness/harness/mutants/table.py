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
        "a task that may end its manager has others before it in its batch",
        "dispatch.rs",
        "            if !shipment.is_empty() && next_travels_alone(&self.queue, &self.live) {\n"
        "                break;\n            }\n",
        "",
    ),
    Mutant(
        "a task that may end its manager has others behind it in its batch",
        "dispatch.rs",
        "            true => 1,\n",
        "            true => room,\n",
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
        "        self.watch_doubts(slot);\n"
        "        self.index(slot);\n"
        "    }\n"
        "\n"
        "    /// The transport is asked",
        "        self.watch_doubts(slot);\n    }\n\n    /// The transport is asked",
    ),
    Mutant(
        "who speaks again stays without tasks",
        "connections.rs",
        "closed_since.is_some(), last_word, now);\n        }\n        self.index(slot);\n",
        "closed_since.is_some(), last_word, now);\n        }\n",
    ),
    Mutant(
        "silence is too long a little too early",
        "time.rs",
        "(manager.last_heard).saturating_add(self.settings.heartbeat_threshold),",
        "(manager.last_heard).saturating_add(self.settings.heartbeat_threshold * 9 / 10),",
    ),
    Mutant(
        "a manager that was heard once is looked at a threshold too late",
        "time.rs",
        "            self.liveness.watch(slot, what, Some(deadline));\n",
        "            let late = deadline + self.settings.heartbeat_threshold;\n"
        "            self.liveness.watch(slot, what, Some(late));\n",
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
        "let is_stall = late >= STALL_MIN;",
        "let is_stall = late >= STALL_MIN / 8;",
    ),
    Mutant(
        "nobody waits until the worker socket is empty",
        "time.rs",
        " || what.is_heard_out() && heard_until < deadline {",
        " || what.is_heard_out() && false {",
    ),
    Mutant(
        "that the worker socket was empty before the deadline is enough",
        "time.rs",
        "what.is_heard_out() && heard_until < deadline {",
        "what.is_heard_out() && heard_until + self.settings.heartbeat_threshold < deadline {",
    ),
    Mutant(
        "a backlog protects the silent for ever",
        "liveness.rs",
        "let backlog_too_long = awake >= self.backlog_end();",
        "let backlog_too_long = false;",
    ),
    Mutant(
        "after a late turn nobody wakes to look again",
        "liveness.rs",
        "[ahead, again, backlog_end].into_iter()",
        "[ahead, again.and(None), backlog_end].into_iter()",
    ),
    Mutant(
        "after a late turn an empty worker socket is believed at once",
        "liveness.rs",
        "        if awake >= self.look_again_at {",
        "        {",
    ),
    Mutant(
        "nobody wakes for the end of a grace, or of a doubt",
        "liveness.rs",
        "        self.deadlines.set(slot, what, at);\n",
        "        self.deadlines.set(slot, what, at.filter(|_| what < What::Grace));\n",
    ),
    Mutant(
        "a grace goes on when the manager has come back",
        "connections.rs",
        "        self.liveness.watch(slot, What::Ask, None);\n"
        "        self.liveness.watch(slot, What::Grace, None);\n"
        "        if let Some(other)",
        "        if let Some(other)",
    ),
    Mutant(
        "at the end of a grace nobody waits for the transport's word",
        "connections.rs",
        "        self.liveness.watch(slot, What::Ask, next);\n",
        "        self.liveness.watch(slot, What::Ask, next);\n"
        "        let ends = self.grace_of(slot);\n"
        "        self.liveness.watch(slot, What::Grace, ends);\n",
    ),
    Mutant(
        "nobody is asked at the end of a grace",
        "connections.rs",
        "        self.liveness.watch(slot, What::Ask, next);\n",
        "        self.liveness.watch(slot, What::Ask, next.and(None));\n",
    ),
    Mutant(
        "a connection that heals in silence does not end a grace",
        "connections.rs",
        "        if let Some(slot) = self.managers.slot_of(manager) {\n"
        "            self.begin_grace(slot, now);\n"
        "        }\n",
        "        let _ = (manager, now);\n",
    ),
    Mutant(
        "a grace begins again with every sign of a closed connection",
        "connections.rs",
        "        if !self.managers.get(slot).is_suspect() {\n            self.managers.close",
        "        {\n            self.managers.close",
    ),
    Mutant(
        "nothing is in doubt after a break",
        "tasks_in_doubt.rs",
        "Some(patience) if age <= young =>",
        "Some(patience) if age < Duration::ZERO =>",
    ),
    Mutant(
        "after a break everything is in doubt, however old",
        "tasks_in_doubt.rs",
        "Some(patience) if age <= young =>",
        "Some(patience) if age <= young.max(age) =>",
    ),
    Mutant(
        "a half-open connection counts as none that broke",
        "connections.rs",
        "let is_another = manager.link.spoke_by != Some(connection);",
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
        "tasks_in_doubt.rs",
        "        let first = first.filter(|_| !manager.is_suspect());\n",
        "",
    ),
    Mutant(
        "what is overdue when its manager comes back is given up at once",
        "tasks_in_doubt.rs",
        "            if *until <= awake {",
        "            if *until < Duration::ZERO {",
    ),
    Mutant(
        "each break puts a doubt off",
        "tasks_in_doubt.rs",
        "            if *until <= awake {",
        "            if *until <= Duration::MAX {",
    ),
    Mutant(
        "of several doubts all end with the first",
        "tasks_in_doubt.rs",
        "let is_over = |at: &Duration| *at <= until;",
        "let is_over = |at: &Duration| *at <= until.max(*at);",
    ),
    Mutant(
        "what is held to be running is in doubt after all",
        "tasks_in_doubt.rs",
        "                    _ => held.link = manager.link.number,",
        "                    _ => {}",
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
        "            _ => first,\n        };\n        Some(next",
        "            _ => first,\n"
        "        };\n"
        "        let mut due = self.deadlines.until(next);\n"
        "        due.find(|(_, _, what)| *what != What::Drain)?;\n"
        "        Some(next",
    ),
    Mutant(
        "a new deadline stands beside the one before",
        "deadlines.rs",
        "            self.by_time.remove(&(before, slot, what));\n",
        "            let _ = before;\n",
    ),
    Mutant(
        "deadlines of registrations that have ended stay",
        "registration.rs",
        "        self.liveness.forget(slot);\n",
        "",
    ),
    Mutant(
        "a drain time is taken from the manager's clock",
        "hold_and_drain.rs",
        "            true => drain_s - start_s - (now.monotonic - self.started).as_secs_f64(),",
        "            true => drain_s - now.wall_s,",
    ),
    Mutant(
        "a sleep of the process puts drain times off",
        "liveness.rs",
        "            self.deadlines.advance(What::Drain, gap);\n",
        "",
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
        "        self.suspect(slot, now);\n        self.finish_draining",
        "        self.index(slot);\n        self.finish_draining",
    ),
    Mutant(
        "a draining manager whose last batch was refused is kept",
        "returned_batches.rs",
        "        self.suspect(slot, now);\n        self.finish_draining(slot, now);\n",
        "        self.suspect(slot, now);\n",
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
        "let same_process = earlier.link.registered_by == origin.connection\n"
        "            && earlier",
        "let same_process = earlier",
    ),
    Mutant(
        "a registration by another connection keeps tasks",
        "registration.rs",
        "            && earlier.link.is_open_by(origin.connection);",
        "            || true;",
    ),
    Mutant(
        "a connection belongs to two managers",
        "manager_table.rs",
        "        self.get_mut(other).link.state = LinkState::Claimed;\n",
        "",
    ),
    Mutant(
        "the connection of a removed manager stays in the table",
        "manager_table.rs",
        "        self.release(slot);\n        let place",
        "        let place",
    ),
    Mutant(
        "the transport's word that there is no connection is lost",
        "connections.rs",
        "        self.suspect(slot, now);\n        if let Some(ends)",
        "        if let Some(ends)",
    ),
    Mutant(
        "of two who speak by one connection nobody is asked",
        "connections.rs",
        "            for asked in [other, slot] {",
        "            for asked in [other, slot].into_iter().take(0) {",
    ),
    Mutant(
        "a registration that is read after its connection closed gets tasks",
        "link.rs",
        "            state: LinkState::closed(now),",
        "            state: LinkState::Claimed,",
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
