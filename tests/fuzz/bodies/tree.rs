//! Fuzzes the reader of arbitrary values: any part of a tree may be read, in any order, at bounded
//! cost.

use std::collections::HashSet;

use pickle::{Tree, View, scan};

pub fn run(data: &[u8]) {
    let Ok(tree) = Tree::read(data) else {
        return;
    };
    assert!(scan(data).is_ok(), "the scanner refuses what is read");
    let mut seen = HashSet::new();
    let mut waiting = vec![tree.root()];
    let mut members = 0;
    while let Some(view) = waiting.pop() {
        if seen.insert(view.index()) {
            check_kind(view);
            let before = waiting.len();
            follow(view, &mut waiting);
            members += waiting.len() - before;
        }
    }
    // Each instruction adds one member, but those for a global or an instance add up to four.
    assert!(members <= 4 * data.len(), "{members} members");
}

/// Checks that a value has exactly one type.
fn check_kind(view: View<'_, '_>) {
    let answers = [
        view.is_none(),
        view.as_bool().is_some(),
        view.as_i64().is_some(),
        view.as_big_int().is_some(),
        view.as_f64().is_some(),
        view.as_wtf8().is_some(),
        view.as_bytes().is_some(),
        view.as_byte_array().is_some(),
        view.is_list(),
        view.kind_name() == "tuple",
        view.is_dict(),
        view.kind_name() == "set",
        view.kind_name() == "frozenset",
        view.class_name().is_some(),
        view.instance().is_some(),
    ];
    let count = answers.iter().filter(|answered| **answered).count();
    // A class whose name is not valid UTF-8 is a class by its kind but has no class name.
    let is_class = view.kind_name() == "a class";
    assert!(count == 1 || (count == 0 && is_class), "{answers:?}");
    if let (Some(text), Some(bytes)) = (view.as_str(), view.as_wtf8()) {
        assert_eq!(text.as_bytes(), bytes);
    }
}

fn follow<'t, 'a>(view: View<'t, 'a>, waiting: &mut Vec<View<'t, 'a>>) {
    if let Some(instance) = view.instance() {
        waiting.extend([instance.callable, instance.arguments]);
        waiting.extend(instance.keywords);
        waiting.extend(instance.state);
        waiting.extend(instance.items());
        waiting.extend(instance.entries().flat_map(|(key, value)| [key, value]));
    }
    waiting.extend(view.items().into_iter().flatten());
    let mut wanted = None;
    for (key, value) in view.entries().into_iter().flatten() {
        if key.as_str() == Some("task_id") {
            wanted = Some(value);
        }
        waiting.extend([key, value]);
    }
    if view.is_dict() {
        let found = view.get("task_id").map(View::index);
        assert_eq!(found, wanted.map(View::index), "of several keys the last");
    }
}
