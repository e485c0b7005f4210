//! Evidence of findings: fields of the document, with their names and values in `status --json`.

use serde::Serialize;
use serde_json::Value;

use crate::shared::words::plain;
use status::document::{Document, Manager};

/// Maximum number of managers that are shown as evidence.
const SHOWN: usize = 3;

/// Formats fields of `$of`: `queue.tasks=5, managers=2`. The same tokens make the name and the
/// value, so that neither can differ from the document's.
macro_rules! fields {
    ($of:expr => $($($part:ident).+),+ $(,)?) => {
        [$($crate::running::findings::evidence::field(
            &[$(stringify!($part)),+].join("."),
            &$of.$($part).+,
        )),+]
        .join(", ")
    };
}
pub(super) use fields;

/// Formats a field. A list is shown by its length, since its elements would fill the screen.
pub(super) fn field(name: &str, value: &impl Serialize) -> String {
    let value = match serde_json::to_value(value) {
        Ok(Value::Array(list)) if list.is_empty() => "[]".to_owned(),
        Ok(Value::Array(list)) => format!("[{} of them]", list.len()),
        // Fractional numbers are ages and rates, for which one decimal is enough.
        Ok(Value::Number(number)) if number.is_f64() => {
            format!("{:.1}", number.as_f64().unwrap_or_default())
        }
        Ok(value) => plain(&value.to_string()),
        Err(_) => "?".to_owned(),
    };
    format!("{name}={value}")
}

/// Formats fields of each manager in `concerned`, as returned by `shown`, with the manager's place
/// in the document: `managers[3].held=true`.
pub(super) fn of_each(
    document: &Document,
    concerned: &[&Manager],
    shown: impl Fn(&Manager) -> String,
) -> String {
    let is_concerned =
        |manager: &Manager| concerned.iter().any(|other| std::ptr::eq(*other, manager));
    let places = document.managers.iter().enumerate();
    let told = places
        .filter(|(_, manager)| is_concerned(manager))
        .take(SHOWN)
        .map(|(place, manager)| {
            let fields = shown(manager);
            let behind = fields
                .split(", ")
                .map(|field| format!("managers[{place}].{field}"));
            behind.collect::<Vec<String>>().join(", ")
        });
    let mut told: Vec<String> = told.collect();
    if concerned.len() > SHOWN {
        told.push(format!("and the same for {} more", concerned.len() - SHOWN));
    }
    told.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::running::sample;

    #[test]
    fn fields_have_the_names_and_values_of_json() {
        let mut document = sample::document();
        document.queue.tasks = 5;
        document.queue.oldest_s = Some(40.26);
        document.interchange.selector = "mine\u{1b}".to_owned();
        let told = fields!(document => queue.tasks, queue.oldest_s, managers,
                           worker_port.address, worker_port.lets_in, interchange.selector);
        assert_eq!(
            told,
            "queue.tasks=5, queue.oldest_s=40.3, managers=[], worker_port.address=null, \
             worker_port.lets_in=true, interchange.selector=\"mine\\u001b\""
        );
        let json: Value = serde_json::to_value(&document).unwrap();
        assert_eq!(json["queue"]["tasks"], 5);
        document.managers = vec![sample::manager("0", "n1")];
        assert_eq!(fields!(document => managers), "managers=[1 of them]");
    }

    #[test]
    fn a_manager_is_shown_by_its_place() {
        let mut document = sample::document();
        document.managers = (0..6)
            .map(|number| sample::manager("0", &format!("n{number}")))
            .collect();
        let all: Vec<&Manager> = document.managers.iter().collect();
        let held = |manager: &Manager| fields!(manager => held, draining);
        assert_eq!(
            of_each(&document, &all[4..5], held),
            "managers[4].held=false, managers[4].draining=false"
        );
        let told = of_each(&document, &all[1..], |manager| fields!(manager => held));
        assert_eq!(
            told,
            "managers[1].held=false, managers[2].held=false, managers[3].held=false, and the \
             same for 2 more"
        );
    }
}
