"""All mutants of the broker: a file of src/broker, a text in the file, and its replacement."""

from __future__ import annotations

from harness.mutants import handing_out, placing, reliability
from harness.mutants.run import Mutant

MUTANTS = [
    *handing_out.MUTANTS,
    *placing.MUTANTS,
    *reliability.MUTANTS,
    Mutant(
        "a result is dropped",
        "results.rs",
        "            self.outputs.push_back(Output::Result(frame));\n",
        "            drop(frame);\n",
    ),
    Mutant(
        "an unreadable result gets no answer",
        "results.rs",
        "            self.outputs.push_back(Output::Failure(failure));\n",
        "            drop(failure);\n",
    ),
    Mutant(
        "a result is forwarded although its manager does not hold the task",
        "results.rs",
        "now);\n            return false;\n        };\n        let flight",
        "now);\n            return true;\n        };\n        let flight",
    ),
    Mutant(
        "the selector is not notified of a hold",
        "hold_and_drain.rs",
        "        self.index(slot);\n        self.report(slot, now);\n",
        "        self.report(slot, now);\n",
    ),
    Mutant(
        "the selector is not notified that a connection closed",
        "connections.rs",
        "awake(now), now);\n        self.watch_doubts(slot);\n        self.index(slot);\n",
        "awake(now), now);\n        self.watch_doubts(slot);\n",
    ),
    Mutant(
        "a manager that reconnects gets no tasks",
        "connections.rs",
        ' self.tell_of_return(slot, "again", now);\n        }\n        self.index(slot);\n',
        ' self.tell_of_return(slot, "again", now);\n        }\n',
    ),
    Mutant(
        "a silent manager is lost a little too early",
        "time.rs",
        "(manager.last_heard).saturating_add(self.settings.heartbeat_threshold),",
        "(manager.last_heard).saturating_add(self.settings.heartbeat_threshold * 9 / 10),",
    ),
    Mutant(
        "after its first message, a manager is checked one threshold too late",
        "time.rs",
        "            self.liveness.watch(slot, what, Some(deadline));\n",
        "            let late = deadline + self.settings.heartbeat_threshold;\n"
        "            self.liveness.watch(slot, what, Some(late));\n",
    ),
    Mutant(
        "only the registration shows that a manager is alive",
        "connections.rs",
        "std::mem::replace(&mut manager.last_heard, heard);",
        "manager.last_heard;",
    ),
    Mutant(
        "time for which the process is suspended counts as silence",
        "liveness.rs",
        "        self.stalled = self.stalled.saturating_add(gap);\n",
        "",
    ),
    Mutant(
        "only the part of a suspension after the deadline is subtracted",
        "liveness.rs",
        "self.stalled.saturating_add(gap)",
        "self.stalled.saturating_add(late)",
    ),
    Mutant(
        "a turn that is late because of load counts as a suspension",
        "liveness.rs",
        "        if late < STALL_MIN {",
        "        if late < STALL_MIN / 8 {",
    ),
    Mutant(
        "a manager is lost before the worker socket is empty",
        "time.rs",
        " || what.is_heard_out() && heard_until < deadline {",
        " || what.is_heard_out() && false {",
    ),
    Mutant(
        "a manager is lost if the worker socket was empty before the deadline",
        "time.rs",
        "what.is_heard_out() && heard_until < deadline {",
        "what.is_heard_out() && heard_until + self.settings.heartbeat_threshold < deadline {",
    ),
    Mutant(
        "a backlog protects silent managers forever",
        "liveness.rs",
        "let backlog_too_long = awake >= self.backlog_end();",
        "let backlog_too_long = false;",
    ),
    Mutant(
        "an overdue manager's unread messages are not awaited",
        "liveness.rs",
        "            .is_some_and(|first| Some(first) <= self.noticed)",
        "            .is_some_and(|_| false)",
    ),
    Mutant(
        "an empty worker socket counts although the kernel may hold messages",
        "liveness.rs",
        "            false => self.heard_until,",
        "            false => self.workers_empty_at,",
    ),
    Mutant(
        "messages read before a suspension count for those sent during it",
        "liveness.rs",
        "        let heard_until = heard_until.saturating_sub(self.stalled);\n",
        "",
    ),
    Mutant(
        "no deadline is set for the end of a grace or of a doubt",
        "liveness.rs",
        "        self.deadlines.set(slot, what, at);\n",
        "        self.deadlines.set(slot, what, at.filter(|_| what < What::Grace));\n",
    ),
    Mutant(
        "a grace continues after the manager reconnected",
        "connections.rs",
        "        self.liveness.watch(slot, What::Ask, None);\n"
        "        self.liveness.watch(slot, What::Grace, None);\n"
        "        if let Some(other)",
        "        if let Some(other)",
    ),
    Mutant(
        "at the end of a grace, the answer of the transport is not awaited",
        "time.rs",
        "            What::Grace => self.ask_for_the_last_time(slot),\n",
        "            What::Grace => self.expire(slot, now),\n",
    ),
    Mutant(
        "no echo is sent at the end of a grace",
        "connections.rs",
        "        self.liveness.watch(slot, What::Grace, None);\n        self.send_echo(slot);\n",
        "        self.liveness.watch(slot, What::Grace, None);\n",
    ),
    Mutant(
        "an echo is sent only at the first quarter of a grace",
        "connections.rs",
        "        self.liveness.watch(slot, What::Ask, Some(next));\n        self.send_echo",
        "        self.liveness.watch(slot, What::Ask, Some(next * 9));\n        self.send_echo",
    ),
    Mutant(
        "a new grace starts now, not at the next echo",
        "connections.rs",
        "self.begin_grace(slot, self.next_question(now), now);",
        "self.begin_grace(slot, self.liveness.awake(now), now);",
    ),
    Mutant(
        "a restored connection without messages does not end a grace",
        "connections.rs",
        "            self.begin_grace(slot, self.next_question(now), now);\n",
        "            let _ = slot;\n",
    ),
    Mutant(
        "every sign of a closed connection restarts the grace",
        "connections.rs",
        "        if !self.managers.get(slot).is_suspect() {\n            self.managers.close",
        "        {\n            self.managers.close",
    ),
    Mutant(
        "no task is in doubt after a connection broke",
        "tasks_in_doubt.rs",
        "                    false => age <= young,\n",
        "                    false => age < Duration::ZERO,\n",
    ),
    Mutant(
        "all tasks are in doubt after a connection broke, however old",
        "tasks_in_doubt.rs",
        "                    false => age <= young,\n",
        "                    false => age <= young.max(age),\n",
    ),
    Mutant(
        "a half-open connection does not count as broken",
        "connections.rs",
        "let is_another = manager.link.spoke_by != Some(connection);",
        "let is_another = manager.is_suspect();",
    ),
    Mutant(
        "the longest run of a task is not recorded",
        "results.rs",
        "        self.tally.in_flight_for.add(flight);\n",
        "        let _ = flight;\n",
    ),
    Mutant(
        "no deadline is set for the next doubt of a manager",
        "tasks_in_doubt.rs",
        "        self.watch_doubts(slot);\n"
        "        self.index(slot);\n"
        "        self.after_result(slot, now);\n",
        "        self.index(slot);\n        self.after_result(slot, now);\n",
    ),
    Mutant(
        "tasks in doubt are given up while their manager has no connection",
        "tasks_in_doubt.rs",
        "        first.filter(|_| !self.is_suspect())\n",
        "        first\n",
    ),
    Mutant(
        "overdue tasks are given up at once when their manager reconnects",
        "tasks_in_doubt.rs",
        "            if *until <= awake {",
        "            if *until < Duration::ZERO {",
    ),
    Mutant(
        "each break delays the end of a doubt",
        "tasks_in_doubt.rs",
        "            if *until <= awake {",
        "            if *until <= Duration::MAX {",
    ),
    Mutant(
        "all doubts end with the first one",
        "tasks_in_doubt.rs",
        "let is_over = |at: &Duration| *at <= until;",
        "let is_over = |at: &Duration| *at <= until.max(*at);",
    ),
    Mutant(
        "a task that is assumed to be running is in doubt",
        "tasks_in_doubt.rs",
        "                    _ => held.link = manager.link.number,",
        "                    _ => {}",
    ),
    Mutant(
        "the slot of a task that was given up is not free",
        "tasks_in_doubt.rs",
        "        self.watch_doubts(slot);\n"
        "        self.index(slot);\n"
        "        self.after_result(slot, now);\n",
        "        self.watch_doubts(slot);\n        self.report(slot, now);\n",
    ),
    Mutant(
        "the late result of a task that was given up is not counted",
        "given_up.rs",
        "        self.0.extend(tasks);\n",
        "        let _ = tasks;\n",
    ),
    Mutant(
        "a drain time is forgotten if it is the only deadline",
        "liveness.rs",
        "            _ => first,\n        };\n        Some(next",
        "            _ => first,\n"
        "        };\n"
        "        let mut due = self.deadlines.until(next);\n"
        "        due.find(|(_, _, what)| *what != What::Drain)?;\n"
        "        Some(next",
    ),
    Mutant(
        "a new deadline does not replace the one before",
        "deadlines.rs",
        "            self.by_time.remove(&(before, slot, what));\n",
        "            let _ = before;\n",
    ),
    Mutant(
        "deadlines of ended registrations remain",
        "registration.rs",
        "        self.liveness.forget(slot);\n",
        "",
    ),
    Mutant(
        "a drain time is read on the manager's clock",
        "hold_and_drain.rs",
        "            true => drain_s - start_s - (now.monotonic - self.started).as_secs_f64(),",
        "            true => drain_s - now.wall_s,",
    ),
    Mutant(
        "a suspension of the process delays drain times",
        "liveness.rs",
        "        self.deadlines.advance(What::Drain, gap);\n",
        "",
    ),
    Mutant(
        "a manager that registers again loses its tasks",
        "registration.rs",
        "            manager.in_flight = std::mem::take(&mut earlier.in_flight);\n",
        "            self.fail_tasks(&mut earlier, now);\n",
    ),
    Mutant(
        "a new process inherits the tasks of the one before",
        "registration.rs",
        "let same_process = leads_here && earlier.link.registered_by == origin.connection;",
        "let same_process = leads_here;",
    ),
    Mutant(
        "a registration over another connection keeps tasks",
        "registration.rs",
        "let same_process = leads_here && earlier.link.registered_by",
        "let same_process = earlier.link.registered_by",
    ),
    Mutant(
        "a connection belongs to two managers",
        "manager_table.rs",
        "        self.get_mut(other).link.claim();\n",
        "",
    ),
    Mutant(
        "the connection of a removed manager remains in the table",
        "manager_table.rs",
        "        self.release(slot);\n        let place",
        "        let place",
    ),
    Mutant(
        "the transport's report that there is no connection is ignored",
        "connections.rs",
        "        if self.is_last_question(slot) {\n",
        "        if self.is_last_question(slot) && now.wall_s < 0.0 {\n",
    ),
    Mutant(
        "no echo is sent to two managers that use one connection",
        "connections.rs",
        "            for asked in [other, slot] {",
        "            for asked in [other, slot].into_iter().take(0) {",
    ),
    Mutant(
        "a registration that is read after its connection closed gets tasks",
        "link.rs",
        "            state: LinkState::Closed(now),",
        "            state: LinkState::Claimed,",
    ),
    Mutant(
        "a lost manager is forgotten at once and gets no exit message",
        "registration.rs",
        "        self.departed.remember(&manager.id, record);\n",
        "",
    ),
    Mutant(
        "a lost manager that registers again still counts as lost",
        "registration.rs",
        "        self.departed.forget(id);\n",
        "",
    ),
    Mutant(
        "messages that wait for a lost manager are still sent",
        "registration.rs",
        "        self.outputs\n            .push_back(Output::Forgotten(manager.id.clone()));\n"
        "        manager\n",
        "        manager\n",
    ),
    Mutant(
        "the loss of a task is reported twice",
        "lost_managers.rs",
        "        for task in &tasks {\n",
        "        for task in tasks.iter().chain(tasks.last()) {\n",
    ),
    Mutant(
        "the loss of one task is not reported",
        "lost_managers.rs",
        "        for task in &tasks {\n",
        "        for task in tasks.iter().skip(1) {\n",
    ),
    Mutant(
        "the end of the run forgets a manager's first task",
        "shutdown.rs",
        "            for held in manager.in_flight.drain(..) {\n"
        "                held.ticket.settle();",
        "            for held in manager.in_flight.drain(..).skip(1) {\n"
        "                held.ticket.settle();",
    ),
    Mutant(
        "at the end of the run, draining managers get no exit message",
        "shutdown.rs",
        "            let to = manager.id.clone();\n"
        "            self.outputs.push_back(Output::ToManager {",
        "            let to = manager.id.clone();\n            if manager.draining {\n"
        "                continue;\n            }\n"
        "            self.outputs.push_back(Output::ToManager {",
    ),
    Mutant(
        "an echo goes to another manager",
        "connections.rs",
        "        let to = self.managers.get(slot).id.clone();\n        self.send(",
        "        let first = self.managers.in_order_of_registration().next();\n"
        "        let to = first.unwrap_or(self.managers.get(slot)).id.clone();\n        self.send(",
    ),
    Mutant(
        "the history of blocks lists each block once",
        "registration.rs",
        "        history.push(block);\n",
        "        if !history.contains(&block) {\n            history.push(block);\n        }\n",
    ),
    Mutant(
        "the id of an ended task cannot be used again",
        "live_ids.rs",
        "            set.remove(&id.0);",
        "            let _ = (set, id);",
    ),
    Mutant(
        "a second task with the id of a live one is accepted",
        "live_ids.rs",
        "        if run.last >= id {\n            return false;\n        }\n",
        "        if run.last > id {\n            return false;\n        }\n",
    ),
    Mutant(
        "OUTSTANDING omits the tasks in flight",
        "commands.rs",
        "(self.queued() + self.in_flight()) as i64",
        "self.queued() as i64",
    ),
    Mutant(
        "MANAGERS lists managers by their place in the table",
        "manager_table.rs",
        "        managers.sort_unstable_by_key(|manager| manager.order);\n",
        "        let _ = &mut managers;\n",
    ),
    Mutant(
        "MANAGERS shows a held manager as active",
        "commands.rs",
        "active: !self.held,",
        "active: true,",
    ),
    Mutant(
        "the loop never waits while results cannot be sent",
        "lib.rs",
        "            && self.dispatching\n            && self.queue.has_work()\n",
        "            && self.queue.has_work()\n",
    ),
]
