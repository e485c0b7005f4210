//! The guide: Markdown pages that people read in three ways. The repository shows them, rustdoc
//! shows them (one module for each page), and `htex-interchange guide` prints them.
//!
//! This crate holds texts and finds things in them. It depends on no other crate. The tool `guide`
//! decides how a text looks on a terminal.
//!
//! A page begins with its title and one sentence, which lists of pages show. Pages link to each
//! other by references (`[use]`). Each page defines its references at its end, for readers of the
//! repository. rustdoc gets `links.txt` in front of each page, and uses the first definition.

pub mod findings;
pub mod lookup;

/// A page of the guide.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// The word that names the page: its file's name without the extension.
    pub topic: &'static str,
    /// The page's text, in Markdown.
    pub text: &'static str,
}

impl Page {
    /// Returns what the page is about, in one sentence.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut paragraphs = self.text.split("\n\n").map(str::trim);
        let first = paragraphs.find(|text| !text.is_empty() && !text.starts_with('#'));
        let first = first.unwrap_or_default().replace('\n', " ");
        match first.split_once(". ") {
            Some((sentence, _)) => format!("{sentence}."),
            None => first,
        }
    }
}

/// Declares each page as a module for rustdoc, and lists the pages in this order.
macro_rules! pages {
    ($($module:ident $topic:literal)*) => {
        $(
            #[doc = include_str!("links.txt")]
            #[doc = include_str!(concat!($topic, ".md"))]
            pub mod $module {}
        )*

        /// All pages, in the order in which they are listed.
        pub const PAGES: &[Page] = &[
            $(Page { topic: $topic, text: include_str!(concat!($topic, ".md")) },)*
        ];
    };
}

pages! {
    usage "use"
    install "install"
    operate "operate"
    troubleshoot "troubleshoot"
    codes "codes"
    doctor "doctor"
    flags "flags"
    tune "tune"
    differences "differences"
    security "security"
    exit_status "exit-status"
    design "design"
    protocol "protocol"
    frames "frames"
    testing "testing"
    benchmarks "benchmarks"
    changelog "changelog"
}

/// Returns the page with this topic.
#[must_use]
pub fn page(topic: &str) -> Option<Page> {
    PAGES.iter().copied().find(|page| page.topic == topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_begins_with_its_title_and_a_sentence() {
        for page in PAGES {
            assert!(page.text.starts_with("# "), "{}", page.topic);
            let summary = page.summary();
            let is_short = summary.chars().count() <= 140;
            assert!(
                is_short && summary.ends_with('.'),
                "{}: {summary}",
                page.topic
            );
        }
    }

    /// Readers would see a reference without a definition in brackets. A reference to a missing
    /// page would lead nowhere.
    #[test]
    fn every_reference_is_defined_in_its_page() {
        let links = include_str!("links.txt");
        for page in PAGES {
            let definition = format!("[{}]: crate::", page.topic);
            assert!(links.contains(&definition), "{definition}");
            let defined: Vec<&str> = lookup::definitions(page.text)
                .map(|(name, _)| name)
                .collect();
            for (name, target) in lookup::definitions(page.text) {
                let topic = target.strip_suffix(".md");
                let is_page = topic.is_some_and(|topic| super::page(topic).is_some());
                assert!(
                    is_page && topic == Some(name),
                    "{}: [{name}]: {target}",
                    page.topic
                );
            }
            for other in PAGES {
                let is_named = page.text.contains(&format!("[{}]", other.topic));
                let is_defined = defined.contains(&other.topic);
                assert_eq!(is_named, is_defined, "{}: [{}]", page.topic, other.topic);
            }
        }
    }
}
