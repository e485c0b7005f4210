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
        "a hold is told to nobody who chooses",
        "hold_and_drain.rs",
        "        self.index(slot);\n        self.report(slot, now);\n",
        "        self.report(slot, now);\n",
    ),
    Mutant(
        "the end of a connection is told to nobody who chooses",
        "connections.rs",
        "awake(now), now);\n        self.watch_doubts(slot);\n        self.index(slot);\n",
        "awake(now), now);\n        self.watch_doubts(slot);\n",
    ),
    Mutant(
        "who speaks again stays without tasks",
        "connections.rs",
        ' self.tell_of_return(slot, "again", now);\n        }\n        self.index(slot);\n',
        ' self.tell_of_return(slot, "again", now);\n        }\n',
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
        "        if late < STALL_MIN {",
        "        if late < STALL_MIN / 8 {",
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
        "whoever is overdue and not heard out is not listened to",
        "liveness.rs",
        "            .is_some_and(|first| Some(first) <= self.noticed)",
        "            .is_some_and(|_| false)",
    ),
    Mutant(
        "an empty worker socket is believed, whatever may lie in the kernel",
        "liveness.rs",
        "            false => self.heard_until,",
        "            false => self.workers_empty_at,",
    ),
    Mutant(
        "what was heard before a sleep counts for what was said in it",
        "liveness.rs",
        "        let heard_until = heard_until.saturating_sub(self.stalled);\n",
        "",
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
        "time.rs",
        "            What::Grace => self.ask_for_the_last_time(slot),\n",
        "            What::Grace => self.expire(slot, now),\n",
    ),
    Mutant(
        "nobody is asked at the end of a grace",
        "connections.rs",
        "        self.liveness.watch(slot, What::Grace, None);\n        self.send_echo(slot);\n",
        "        self.liveness.watch(slot, What::Grace, None);\n",
    ),
    Mutant(
        "a manager without a connection is asked at the first quarter of its grace alone",
        "connections.rs",
        "        self.liveness.watch(slot, What::Ask, Some(next));\n        self.send_echo",
        "        self.liveness.watch(slot, What::Ask, Some(next * 9));\n        self.send_echo",
    ),
    Mutant(
        "a grace begins anew before it could be seen that the connection is gone again",
        "connections.rs",
        "self.begin_grace(slot, self.next_question(now), now);",
        "self.begin_grace(slot, self.liveness.awake(now), now);",
    ),
    Mutant(
        "a connection that heals in silence does not end a grace",
        "connections.rs",
        "            self.begin_grace(slot, self.next_question(now), now);\n",
        "            let _ = slot;\n",
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
        "                    false => age <= young,\n",
        "                    false => age < Duration::ZERO,\n",
    ),
    Mutant(
        "after a break everything is in doubt, however old",
        "tasks_in_doubt.rs",
        "                    false => age <= young,\n",
        "                    false => age <= young.max(age),\n",
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
        "        self.deadlines.advance(What::Drain, gap);\n",
        "",
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
        "let same_process = leads_here && earlier.link.registered_by == origin.connection;",
        "let same_process = leads_here;",
    ),
    Mutant(
        "a registration by another connection keeps tasks",
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
        "the connection of a removed manager stays in the table",
        "manager_table.rs",
        "        self.release(slot);\n        let place",
        "        let place",
    ),
    Mutant(
        "the transport's word that there is no connection is lost",
        "connections.rs",
        "        if self.is_last_question(slot) {\n",
        "        if self.is_last_question(slot) && now.wall_s < 0.0 {\n",
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
        "            state: LinkState::Closed(now),",
        "            state: LinkState::Claimed,",
    ),
    Mutant(
        "a lost manager is forgotten at once, and not told to exit",
        "registration.rs",
        "        self.departed.remember(&manager.id, record);\n",
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
        "connections.rs",
        "        let to = self.managers.get(slot).id.clone();\n        self.send(",
        "        let first = self.managers.in_order_of_registration().next();\n"
        "        let to = first.unwrap_or(self.managers.get(slot)).id.clone();\n        self.send(",
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
        "        if run.last >= id {\n            return false;\n        }\n",
        "        if run.last > id {\n            return false;\n        }\n",
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
        "active: !self.held,",
        "active: true,",
    ),
    Mutant(
        "the loop spins while results are stuck",
        "lib.rs",
        "            && self.dispatching\n            && self.queue.has_work()\n",
        "            && self.queue.has_work()\n",
    ),
]
