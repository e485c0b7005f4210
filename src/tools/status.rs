//! `status [DIR]`: describes the state of this user's interchanges, what is wrong first.

mod screen;
mod table;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Args;
use ratatui::crossterm;
use ratatui::crossterm::cursor::MoveTo;
use ratatui::crossterm::terminal::{Clear, ClearType};

use crate::running::client::{Answer, Found};
use crate::running::findings::findings;
use crate::running::labels::name_of;
use crate::running::last_words;
use crate::running::search::{Survey, below, none_found, survey, with_directory};
use crate::shared::finding::{Severity, worst};
use crate::shared::output::{Trouble, complain, say, say_as_it_is};
use crate::shared::paper::Paper;
use crate::shared::words::plain;

const WRONG: u8 = 1;
const NONE_FOUND: u8 = 3;

#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 nothing is wrong; 1 a PROBLEM, or an interchange does not answer; \
                  2 wrong arguments; 3 no interchange found."
)]
pub struct Arguments {
    /// Only interchanges whose log directory is DIR or below it: runinfo/003/htex, runinfo/003, or
    /// runinfo for its latest run. Default: all interchanges of this user on this machine.
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,

    /// Show one line per manager instead of one per block
    #[arg(long)]
    managers: bool,

    /// Show full details of every interchange, including earlier runs below DIR
    #[arg(long)]
    all: bool,

    /// Print the unmodified answers of the interchanges, one JSON object per line
    #[arg(long, conflicts_with = "managers")]
    json: bool,

    /// Repeat every SECONDS (default 2) until Ctrl-C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true,
          default_missing_value = "2", value_parser = some_seconds)]
    watch: Option<Duration>,
}

impl Arguments {
    fn say(&self, text: &str) -> io::Result<()> {
        match self.json {
            true => say_as_it_is(text),
            false => say(text),
        }
    }
}

/// One round of `--watch`, or the only round.
struct Round {
    text: String,
    is_wrong: bool,
    found: BTreeMap<PathBuf, Known>,
}

/// An interchange that was found in an earlier round.
#[derive(Clone)]
struct Known {
    name: String,
    logdir: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Trouble> {
    with_directory(arguments.directory.as_deref(), || tell(arguments))
}

fn tell(arguments: &Arguments) -> Result<ExitCode, Trouble> {
    let mut known = BTreeMap::new();
    let mut is_first = true;
    loop {
        let paper = Paper::of_stdout();
        let round = look(arguments, &paper)?;
        if is_first && round.found.is_empty() {
            complain(&round.text);
            return Ok(ExitCode::from(NONE_FOUND));
        }
        let Some(pause) = arguments.watch else {
            arguments.say(&round.text)?;
            return Ok(match round.is_wrong {
                true => ExitCode::from(WRONG),
                false => ExitCode::SUCCESS,
            });
        };
        known.extend(round.found.clone());
        let gone: Vec<&Known> = known
            .iter()
            .filter(|(socket, _)| !round.found.contains_key(*socket))
            .map(|(_, known)| known)
            .collect();
        let text = match arguments.json {
            true => round.text,
            false => with_those_gone(round.text, &round.found, &gone),
        };
        match arguments.json {
            true => arguments.say(&text)?,
            false => redraw(&text, &paper, is_first)?,
        }
        is_first = false;
        thread::sleep(pause);
    }
}

/// The argument of `--watch` is no valid pause.
#[derive(Debug, thiserror::Error)]
#[error("a number of seconds, at least 0.1")]
struct BadPause;

fn some_seconds(text: &str) -> Result<Duration, BadPause> {
    let seconds = text.parse().ok().filter(|seconds: &f64| *seconds >= 0.1);
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.ok_or(BadPause)
}

fn look(arguments: &Arguments, paper: &Paper) -> Result<Round, Trouble> {
    let Survey { found, places } = survey();
    let (found, left_out) = match &arguments.directory {
        Some(directory) => below(found, directory, arguments.all),
        None => (found, 0),
    };
    let known = found.iter().map(|found| {
        let logdir = found.logdir().unwrap_or_default();
        let name = match &found.answer {
            Answer::Told { document, .. } => name_of(document),
            Answer::Silent(_) | Answer::Unclear(_) => logdir.display().to_string(),
        };
        (found.socket.clone(), Known { name, logdir })
    });
    let known = known.collect();
    if found.is_empty() {
        return Ok(Round {
            text: none_found(arguments.directory.as_deref(), &places),
            is_wrong: false,
            found: known,
        });
    }
    let mut round = Round {
        text: String::new(),
        is_wrong: false,
        found: known,
    };
    let in_short = found.len() > 1 && !arguments.all && !arguments.managers;
    for (place, one) in found.iter().enumerate() {
        if place > 0 && !arguments.json {
            round.text.push('\n');
        }
        round.is_wrong |= describe(one, arguments, in_short, paper, &mut round.text)?;
    }
    if !arguments.json {
        let more = match (in_short, left_out) {
            (true, 0) => "\n--all shows everything about each; DIR selects one.\n".to_owned(),
            (_, 0) => String::new(),
            (_, earlier) => format!("\n{earlier} of earlier runs not shown; --all shows all.\n"),
        };
        round.text.push_str(&more);
    }
    Ok(round)
}

/// Adds the description of one interchange to `text`. Returns whether something is wrong with it.
fn describe(
    found: &Found,
    arguments: &Arguments,
    in_short: bool,
    paper: &Paper,
    text: &mut String,
) -> Result<bool, Trouble> {
    let (name, trouble) = match &found.answer {
        Answer::Told { document, json } => {
            text.push_str(&match (arguments.json, in_short) {
                (true, _) => format!("{json}\n"),
                (false, true) => screen::short(document, paper),
                (false, false) => screen::full(document, paper, arguments.managers),
            });
            let found = findings(document);
            return Ok(worst(&found) == Severity::Problem);
        }
        Answer::Silent(silent) => (silent.logdir.as_ref(), silent.described()),
        Answer::Unclear(why) => (None, format!("Its answer cannot be used: {}", plain(why))),
    };
    let place = name.unwrap_or(&found.socket).display();
    match arguments.json {
        true => complain(format!("htex-interchange: {place}: {trouble}\n")),
        false => {
            let severity = paper.severity(Severity::Problem);
            writeln!(
                text,
                "{}\n{severity}        {trouble}",
                paper.bold(&place.to_string())
            )?;
        }
    }
    Ok(true)
}

/// Adds interchanges that have ended since an earlier round, with the last words in their logs.
fn with_those_gone(text: String, found: &BTreeMap<PathBuf, Known>, gone: &[&Known]) -> String {
    let mut ended = String::new();
    for known in gone {
        let told = last_words::told_below(std::slice::from_ref(&known.logdir));
        ended += &format!("{} has ended.\n{told}", known.name);
    }
    match (found.is_empty(), ended.is_empty()) {
        (_, true) => text,
        (true, false) => ended,
        (false, false) => format!("{text}\n{ended}"),
    }
}

/// Draws the text over the previous one without flicker. If the terminal cannot move its cursor,
/// prints the text below.
fn redraw(text: &str, paper: &Paper, is_first: bool) -> io::Result<()> {
    if !paper.moves_cursor {
        let gap = if is_first { "" } else { "\n" };
        return say(format!("{gap}{text}"));
    }
    say(drawn_over(text, paper.rows, is_first))
}

fn drawn_over(text: &str, rows: usize, is_first: bool) -> String {
    let rows = rows.saturating_sub(1).max(1);
    let count = text.lines().count();
    let mut drawn = String::new();
    if is_first {
        add(&mut drawn, Clear(ClearType::All));
    }
    add(&mut drawn, MoveTo(0, 0));
    let shown = if count > rows { rows - 1 } else { count };
    let more = (shown < count).then(|| format!("… {} more lines", count - shown));
    for line in text.lines().take(shown).chain(more.as_deref()) {
        drawn += line;
        add(&mut drawn, Clear(ClearType::UntilNewLine));
        drawn.push('\n');
    }
    add(&mut drawn, Clear(ClearType::FromCursorDown));
    drawn
}

fn add(drawn: &mut String, command: impl crossterm::Command) {
    let written = command.write_ansi(drawn);
    debug_assert!(written.is_ok(), "a text takes whatever is written to it");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_is_drawn_over_the_one_before() {
        let drawn = drawn_over("one\ntwo\n", 24, true);
        assert_eq!(drawn, "\x1b[2J\x1b[1;1Hone\x1b[K\ntwo\x1b[K\n\x1b[J");
        let drawn = drawn_over("one\ntwo\nthree\n", 3, false);
        assert_eq!(drawn, "\x1b[1;1Hone\x1b[K\n… 2 more lines\x1b[K\n\x1b[J");
    }
}
