//! Faults that the simulation must find: a simulation that cannot fail shows nothing.

use super::model::Seen;

/// What is done to the broker's effects before the model sees them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Tamper {
    Nothing,
    LoseAnAnswer,
    AnswerTwice,
    LoseATask,
    Misdirect,
    Reorder,
    SayTooMuch,
}

impl Tamper {
    pub fn apply(self, seen: &mut Vec<Seen>) {
        let is_answer = |seen: &Seen| match seen {
            Seen::Other(text) => text.starts_with("result") || text.starts_with("lost"),
            Seen::Batch { .. } => false,
        };
        let answer = seen.iter().position(is_answer);
        let batch = seen.iter_mut().find_map(|seen| match seen {
            Seen::Batch { to, ids } => Some((to, ids)),
            Seen::Other(_) => None,
        });
        match (self, answer, batch) {
            (Self::LoseAnAnswer, Some(place), _) => drop(seen.remove(place)),
            (Self::AnswerTwice, Some(place), _) => seen.push(seen[place].clone()),
            (Self::LoseATask, _, Some((_, ids))) => drop(ids.pop()),
            (Self::Misdirect, _, Some((to, _))) => "m0".clone_into(to),
            (Self::Reorder, _, Some((_, ids))) => ids.reverse(),
            (Self::SayTooMuch, ..) => seen.push(Seen::Other("m0 < shutdown".to_owned())),
            _ => {}
        }
    }
}
