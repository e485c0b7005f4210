//! The manager selector. Parsl's two selectors and those of the package htex_interchange are built
//! in. The submit side's Python runs any other.

use crate::doctor::configuration::description::Selector;
use crate::shared::finding::Finding;

const BUILT_IN: [&str; 4] = [
    "parsl.executors.high_throughput.manager_selector.RandomManagerSelector",
    "parsl.executors.high_throughput.manager_selector.BlockIdManagerSelector",
    "htex_interchange.selectors.SpreadManagerSelector",
    "htex_interchange.selectors.PackManagerSelector",
];

pub(in crate::doctor) fn selector(selector: &Selector) -> Vec<Finding> {
    let class = &selector.class;
    if BUILT_IN.contains(&class.as_str()) {
        return Vec::new();
    }
    let what = format!("manager_selector is of the class {class}.");
    if !selector.sorts {
        return vec![
            Finding::problem("selector-without-method", what)
                .because("The class has no method sort_managers, which chooses managers.")
                .remedy("Derive the class from Parsl's ManagerSelector, and define that method.")
                .shown_by(format!("{class} has no callable sort_managers")),
        ];
    }
    if let Some(trouble) = &selector.trouble {
        return vec![
            Finding::problem("selector-not-loaded", what)
                .because(format!(
                    "Another process of this Python cannot load the class ({trouble}), and the \
                     interchange refuses to start."
                ))
                .remedy(
                    "Put the class into a module that such a process can import: an installed one, \
                     one on PYTHONPATH, or one in the directory where the run is started.",
                )
                .shown_by(format!("unpickling it in another process: {trouble}")),
        ];
    }
    vec![
        Finding::note("selector-of-your-own", what)
            .because("This Python runs it in a helper process of the interchange."),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_built_in_loadable_or_neither() {
        let id = |class: &str, sorts, trouble: Option<&str>| {
            let found = selector(&Selector {
                class: class.to_owned(),
                sorts,
                trouble: trouble.map(str::to_owned),
            });
            found.first().map(|finding| finding.id)
        };
        for class in BUILT_IN {
            assert_eq!(id(class, true, None), None);
        }
        assert_eq!(id("mine.Own", true, None), Some("selector-of-your-own"));
        assert_eq!(
            id("mine.Own", true, Some("no")),
            Some("selector-not-loaded")
        );
        assert_eq!(id("mine.Own", false, None), Some("selector-without-method"));
        assert_eq!(
            id("mine.RandomManagerSelector", true, None),
            Some("selector-of-your-own")
        );
    }
}
