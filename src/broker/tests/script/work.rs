//! Tasks for one certain manager, in one command: the effects of each single task are left out.

use protocol::{FromManager, ManagerId, TaskId};

use super::super::world::{ANY_ROOM, Body, Departure, Way, manager_id};
use super::{Line, Player, task};

/// Ids that do not collide with those of a scenario.
const FIRST_TASK: i64 = 1_000_000;
/// How long a task takes if the command does not say.
const TAKES_S: f64 = 0.01;

impl Player {
    /// Plays `> raises m1 10 takes=0.5`: the manager gets this many tasks, one after the other, and
    /// all raise. Other verbs: `works` returns results, `spoils` returns unreadable results,
    /// `begins` only starts the tasks, and `ends` finishes tasks that were started.
    pub(super) fn work(&mut self, line: &mut Line) -> Vec<String> {
        let (verb, name) = (line.verb.clone(), line.object(0).to_owned());
        let count: usize = line.number(1);
        let takes_s = line.option("takes").unwrap_or(TAKES_S);
        let mut seen = Vec::new();
        for _ in 0..count {
            if verb != "ends" {
                self.begin(&name);
            }
            if verb != "begins" {
                if verb != "ends" {
                    seen.extend(self.advance(&Line::parse(&format!("advance {takes_s}"))));
                }
                self.end(&name, &verb);
            }
            seen.extend(self.seen(""));
        }
        let is_of_a_task = |text: &String| {
            let words = ["result ", "told task ", "unreadable "];
            words.iter().any(|word| text.starts_with(word))
                || text.contains("cannot forward its result")
        };
        seen.retain(|text| !is_of_a_task(text));
        seen
    }

    fn begin(&mut self, name: &str) {
        let begun = self.begun.values().flatten().max();
        let id = begun.map_or(FIRST_TASK, |last| last + 1);
        let (broker, now) = (&mut self.world.broker, self.world.now);
        broker.handle_task(task(id, None), 1, now);
        let managers = broker.snapshot(now).managers.into_iter();
        let others: Vec<ManagerId> = managers.map(|view| view.id).collect();
        let clog = |player: &mut Self, is_clogged| {
            for other in others.iter().filter(|other| other.to_text() != name) {
                player.world.broker.handle_clogged(other, is_clogged, now);
            }
        };
        clog(self, true);
        let departures = self.world.dispatch(|_| Way::Open(ANY_ROOM));
        clog(self, false);
        let is_batch = |departure: &Departure| matches!(departure, Departure::Batch(..));
        assert!(departures.iter().any(is_batch), "{name} gets no task");
        self.begun.entry(name.to_owned()).or_default().push_back(id);
    }

    fn end(&mut self, name: &str, verb: &str) {
        let begun = self.begun.get_mut(name).and_then(|begun| begun.pop_front());
        let task = TaskId(begun.expect("it has begun one"));
        let message = match verb {
            "spoils" => FromManager::SpoiltResult {
                task,
                reason: "why".to_owned(),
            },
            _ => FromManager::Result {
                task,
                is_exception: verb == "raises",
                frame: Body::Result {
                    manager: name.to_owned(),
                    task: task.0,
                },
            },
        };
        let origin = self.world.origin(name);
        let (id, now) = (manager_id(name), self.world.now);
        self.world.broker.handle_manager(&id, message, origin, now);
    }
}
