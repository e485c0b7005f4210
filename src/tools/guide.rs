//! `guide [TOPIC]`: prints pages of the guide on a terminal, for login nodes without a browser. A
//! topic is a page, a finding, an event code, a flag, a metric, or anything else with a heading or
//! a row in a table.

mod markdown;
mod table;

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;

use ::guide::findings::{findings, of_exception};
use ::guide::{PAGES, Page, lookup, page};

use crate::explain;
use crate::shared::output::{Trouble, WRONG_ARGUMENTS, complain, say};
use crate::shared::pager;
use crate::shared::paper::Paper;
use crate::shared::words::{paragraph, wrapped};

const COLUMNS: usize = 92;
/// Maximum number of topics that are listed because their text has a word.
const HITS_MAX: usize = 6;

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// A page; or a finding of doctor or status, a code of the log, a flag or a metric. Without it:
    /// a list of the pages
    #[arg(value_name = "TOPIC", allow_hyphen_values = true)]
    topic: Option<String>,
}

const AFTER_HELP: &str = "On a terminal, a page that is longer than the screen is shown with \
                          $PAGER, less or more. Exit status: 0 the page was printed; 2 there is no \
                          such topic.";

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Trouble> {
    let paper = Paper::of_stdout();
    let Some(topic) = &arguments.topic else {
        say(contents(&paper))?;
        return Ok(ExitCode::SUCCESS);
    };
    match text_on(topic, &paper) {
        Some(text) => {
            pager::show(&text, &paper)?;
            Ok(ExitCode::SUCCESS)
        }
        None => {
            complain(format!("htex-interchange: {}", unknown(topic)));
            Ok(ExitCode::from(WRONG_ARGUMENTS))
        }
    }
}

/// Lists the pages, one line for each.
fn contents(paper: &Paper) -> String {
    let mut text = paper.bold("The guide of htex-interchange") + "\n\n";
    let widest = PAGES.iter().map(|page| page.topic.len()).max().unwrap_or(0);
    let room = paper.text_columns.saturating_sub(widest + 4);
    for page in PAGES {
        let mut topic = paper.bold(&format!("{:widest$}", page.topic));
        for line in wrapped(&page.summary(), room) {
            let _ = writeln!(text, "  {topic}  {line}");
            topic = " ".repeat(widest);
        }
    }
    text.push_str(
        "\n`htex-interchange guide TOPIC` prints a page. TOPIC may also be a finding, a flag, a \
         metric or an\nevent: `htex-interchange guide never-registered`, `htex-interchange guide \
         --events`.\n",
    );
    text
}

fn text_on(topic: &str, paper: &Paper) -> Option<String> {
    if let Some(page) = page(&topic.to_lowercase()) {
        return Some(markdown::rendered(page.text, paper));
    }
    let id = of_exception(topic).map_or_else(|| topic.to_lowercase(), |of| of.id.to_owned());
    let finding = explain::page(&id);
    // If the topic is a finding, only the log code of the same name adds anything to its page.
    let part = lookup::part(topic).filter(|part| finding.is_none() || part.topic == "codes");
    // `survive` also names the flag `--survive`.
    let flag = || lookup::part(&format!("--{topic}")).filter(|_| finding.is_none());
    let part = part.or_else(flag);
    let part = part.map(|part| {
        let text = markdown::rendered(&part.text, paper);
        format!("{text}\n(from `htex-interchange guide {}`)\n", part.topic)
    });
    let texts: Vec<String> = finding.into_iter().chain(part).collect();
    match texts.is_empty() {
        true => field(topic),
        false => Some(texts.join("\n")),
    }
}

/// Describes a field of the status document by the findings that it shows.
fn field(topic: &str) -> Option<String> {
    let shown = lookup::shown_by(topic);
    let mut text = format!(
        "{topic} is a field of the status document (`htex-interchange status --json`).\nThese \
         findings depend on it; `htex-interchange guide ID` explains them:\n\n"
    );
    for finding in &shown {
        let line = format!("{}: {}", finding.id, finding.meaning());
        text.push_str(&paragraph(&line, "  ", COLUMNS));
    }
    (!shown.is_empty()).then_some(text)
}

/// Returns the message that the guide has no such topic, with similar topics.
fn unknown(topic: &str) -> String {
    let ids = findings().map(|finding| finding.id);
    let topics = PAGES.iter().map(|page: &Page| page.topic);
    let near = explain::near(topic, topics.chain(ids));
    let mut text = format!("the guide has no topic {topic:?}.");
    if !near.is_empty() {
        let _ = write!(text, " Similar: {}.", near.join(", "));
    }
    text.push('\n');
    let hits = lookup::mentions(topic);
    if !hits.is_empty() {
        let more = match hits.len().saturating_sub(HITS_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let hits = hits[..hits.len().min(HITS_MAX)].join(", ");
        let _ = writeln!(text, "Topics whose text has the word: {hits}{more}.");
    }
    let pages: Vec<&str> = PAGES.iter().map(|page| page.topic).collect();
    let pages = format!("Pages: {}.", pages.join(", "));
    text.push_str(&paragraph(&pages, "", COLUMNS));
    text + "`htex-interchange guide` says what each page is about.\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_can_be_read_on_a_narrow_terminal_and_on_paper() {
        for columns in [72, 100] {
            let paper = Paper {
                text_columns: columns,
                ..Paper::piped()
            };
            for page in PAGES {
                let text = text_on(page.topic, &paper).expect("it is there");
                assert!(
                    !text.contains("|---") && !text.contains("| ---"),
                    "{}",
                    page.topic
                );
                assert!(!text.contains("]: "), "{}", page.topic);
                assert!(!text.contains("<!--"), "{}", page.topic);
            }
        }
    }

    #[test]
    fn findings_flags_and_sections_are_topics() {
        let paper = Paper::piped();
        for (topic, has) in [
            ("never-registered", "Related: "),
            ("Never-Registered", "Related: "),
            ("--events", "default"),
            ("survive", "`--survive`\n---"),
            ("BadStateException", "bad-state\n"),
            ("managerlost", "manager-lost\n"),
            ("queue.unmet", "no-manager-fits: "),
            ("managers[0].held", "is a field of the status document"),
            ("metrics", "htex_interchange_tasks_received_total"),
            (
                "htex_interchange_slots",
                "from `htex-interchange guide operate`",
            ),
        ] {
            let text = text_on(topic, &paper).expect(topic);
            assert!(text.contains(has), "{topic}:\n{text}");
        }
        assert!(text_on("no such thing", &paper).is_none());
        let told = unknown("opperate");
        assert!(
            told.starts_with("the guide has no topic \"opperate\". Similar: operate"),
            "{told}"
        );
        assert!(told.contains("\nPages: use, install, ") && told.lines().count() < 8);
        let told = unknown("slurmstepd");
        assert!(!told.contains("has the word"), "{told}");
        let told = unknown("worker_init");
        assert!(
            told.contains("\nTopics whose text has the word: "),
            "{told}"
        );
    }
}
