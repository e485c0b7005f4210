//! Checks that the flags, tools, findings and crates in the guide are those of the program. Parts
//! of the pages are generated; `HTEX_TEST_STORE_GUIDE=1` writes them again.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Arg, Command, CommandFactory};
use htex_interchange::cli::Arguments;
use htex_interchange::guide::findings;
use support::pages::filled;
use tracing::Level;

const STORE: &str = "HTEX_TEST_STORE_GUIDE";
const END: &str = "<!-- end -->\n";

fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(top().join(path)).expect(path)
}

/// Compares the part of a page after the mark `begin`, up to the next end mark, with `made`.
fn hold(page: &str, begin: &str, made: &str) {
    let begin = format!("<!-- begin: {begin} -->\n");
    let text = read(page);
    let (before, rest) = text.split_once(&begin).expect("the page has the mark");
    let (stored, after) = rest.split_once(END).expect("and its end");
    if env::var_os(STORE).is_some() {
        let text = format!("{before}{begin}{made}{END}{after}");
        fs::write(top().join(page), text).expect("the page can be written");
        return;
    }
    assert!(
        stored == made,
        "{page} is not what the program has; {STORE}=1 writes it:\n{made}"
    );
}

#[test]
fn flags_are_those_of_the_command_line() {
    let mut command = Arguments::command();
    command.build();
    let mut made = String::from("\n");
    made += &table_of(&command);
    made += "\n## Tools\n\nEach has `--help` as well.\n";
    for tool in command.get_subcommands() {
        if tool.get_name() == "help" {
            continue;
        }
        let about = tool
            .get_about()
            .map(ToString::to_string)
            .unwrap_or_default();
        let _ = write!(made, "\n### {}\n\n{about}.\n\n", tool.get_name());
        made += &table_of(tool);
        let (after, _) = after_help(tool);
        if !after.is_empty() {
            let _ = write!(made, "\n{}\n", filled(&after));
        }
    }
    hold("src/guide/flags.md", "made from the command line", &made);
}

#[test]
fn exit_statuses_are_those_that_the_tools_name() {
    let mut command = Arguments::command();
    command.build();
    let mut made = String::from("\n| tool | status |\n| --- | --- |\n");
    for tool in command.get_subcommands() {
        let (_, statuses) = after_help(tool);
        if !statuses.is_empty() {
            let _ = writeln!(made, "| `{}` | {statuses} |", tool.get_name());
        }
    }
    made += "\n";
    hold(
        "src/guide/exit-status.md",
        "made from the command line",
        &made,
    );
    // The statuses of the interchange itself must agree as well, in any order.
    let page = read("src/guide/exit-status.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| "));
    let told: BTreeSet<u8> = rows
        .filter_map(|row| row.split(' ').next()?.parse().ok())
        .collect();
    let (_, statuses) = after_help(&command);
    let named = statuses
        .split("; ")
        .filter_map(|one| one.split(' ').next()?.parse().ok());
    assert_eq!(told, named.collect());
}

/// Returns the help text below the flags of a command, and its explanation of the exit status.
fn after_help(command: &Command) -> (String, String) {
    let text = command.get_after_help().map(ToString::to_string);
    let text = in_one_line(&text.unwrap_or_default());
    let (before, statuses) = text.split_once("Exit status: ").unwrap_or((&text, ""));
    (
        before.trim().to_owned(),
        statuses.trim_end_matches('.').to_owned(),
    )
}

/// Makes a table with a row for each argument except --help and --version.
fn table_of(command: &Command) -> String {
    let mut rows = String::new();
    for argument in command.get_arguments() {
        if matches!(argument.get_id().as_str(), "help" | "version") {
            continue;
        }
        let help = argument.get_long_help().or(argument.get_help());
        let help = help.map(ToString::to_string).unwrap_or_default();
        let (what, default) = without_default(&in_one_line(&help));
        let default = match argument.get_default_values() {
            [value] if argument.get_action().takes_values() => {
                format!("`{}`", value.to_string_lossy())
            }
            _ if !argument.get_action().takes_values() => "off".to_owned(),
            _ => default,
        };
        let name = name_of(argument).replace('|', "\\|");
        let mut what = what.replace('|', "\\|");
        // clap removes the full stop of a help text with a single sentence.
        if !what.ends_with('.') {
            what.push('.');
        }
        let _ = writeln!(rows, "| `{name}` | {default} | {what} |");
    }
    match rows.is_empty() {
        true => "It takes no arguments.\n".to_owned(),
        false => format!("| flag | default | what it does |\n| --- | --- | --- |\n{rows}"),
    }
}

/// Splits a help text into its description and its default, which is at the end if it is not a
/// value.
fn without_default(help: &str) -> (String, String) {
    match help.split_once(" Default: ") {
        Some((what, default)) => (what.to_owned(), default.trim_end_matches('.').to_owned()),
        None => (help.to_owned(), String::new()),
    }
}

fn name_of(argument: &Arg) -> String {
    let value = argument.get_value_names().and_then(|names| names.first());
    let value = value.filter(|_| argument.get_action().takes_values());
    match (argument.get_long(), value) {
        (Some(long), Some(value)) => format!("--{long} {value}"),
        (Some(long), None) => format!("--{long}"),
        (None, value) => value.map(ToString::to_string).unwrap_or_default(),
    }
}

fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_page_of_doctor_lists_every_finding() {
    let mut made = String::new();
    for (file, title, ids) in findings_by_file() {
        let _ = write!(
            made,
            "\n### {title}\n\nThe whole text: `src/guide/findings/{file}`.\n\n"
        );
        made += "| finding | what it means |\n| --- | --- |\n";
        for id in ids {
            let finding = findings::finding(&id).expect("it is there");
            let _ = writeln!(
                made,
                "| `{id}` | {} |",
                finding.meaning().replace('|', "\\|")
            );
        }
    }
    hold(
        "src/guide/doctor.md",
        "made from the pages of findings",
        &made,
    );
}

/// A row for each WARNING and ERROR: its code and the first sentence of its meaning.
#[test]
fn troubleshoot_lists_every_warning_and_error() {
    let mut made = String::new();
    for (level, title) in [(Level::ERROR, "Errors"), (Level::WARN, "Warnings")] {
        let _ = write!(made, "\n{title}:\n\n| code | meaning |\n| --- | --- |\n");
        let mut rows: Vec<&codes::Code> = codes::all().filter(|code| code.level == level).collect();
        rows.sort_unstable_by_key(|code| code.name);
        for code in rows {
            let first = code.meaning.split_inclusive(". ").next();
            let first = first.unwrap_or_default().trim().replace('|', "\\|");
            let _ = writeln!(made, "| `{}` | {first} |", code.name);
        }
    }
    made.push('\n');
    hold(
        "src/guide/troubleshoot.md",
        "made from the table of codes",
        &made,
    );
}

/// Returns the name, the title and the ids of each file of findings.
fn findings_by_file() -> Vec<(String, String, Vec<String>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(top().join("src/guide/findings")).expect("it is there") {
        let path = entry.expect("readable").path();
        let text = fs::read_to_string(&path).expect("a text");
        let title = text
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("# ");
        let ids = text.lines().filter_map(|line| line.strip_prefix("## "));
        let name = path
            .file_name()
            .expect("a file")
            .to_string_lossy()
            .into_owned();
        files.push((name, title.to_owned(), ids.map(str::to_owned).collect()));
    }
    files.sort();
    files
}

/// Returns each room (a crate of this workspace) with the rooms that it depends on, without those
/// of its tests.
fn rooms() -> BTreeMap<String, BTreeSet<String>> {
    rooms_by(&["dependencies"])
}

fn rooms_by(sections: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
    let members: Vec<String> = read("Cargo.toml")
        .lines()
        .filter_map(|line| line.trim().strip_prefix("\"src/")?.strip_suffix("\","))
        .filter(|room| *room != "zeromq-src")
        .map(str::to_owned)
        .collect();
    let rooms: BTreeSet<String> = members.into_iter().collect();
    let named_in = |path: &str| {
        let text = read(path);
        let of_section = |section: &&str| {
            let begin = format!("\n[{section}]\n");
            let rest = text.split_once(&begin).map_or("", |(_, rest)| rest);
            rest.split("\n[").next().unwrap_or_default()
        };
        let lines = sections.iter().map(of_section).flat_map(str::lines);
        let names = lines.filter_map(|line| line.split(['.', ' ']).next());
        let names = names.filter(|name| rooms.contains(*name));
        names.map(str::to_owned).collect()
    };
    let mut found: BTreeMap<String, BTreeSet<String>> = rooms
        .iter()
        .map(|room| (room.clone(), named_in(&format!("src/{room}/Cargo.toml"))))
        .collect();
    found.insert("htex-interchange".to_owned(), named_in("Cargo.toml"));
    found
}

/// Arranges the rooms by their dependencies: each room of a floor depends only on rooms of lower
/// floors. The lowest floor is first.
fn floors(rooms: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<&str>> {
    let mut floors: Vec<Vec<&str>> = Vec::new();
    let mut placed: BTreeSet<&str> = BTreeSet::new();
    while placed.len() < rooms.len() {
        let is_next = |named: &BTreeSet<String>| named.iter().all(|name| placed.contains(&**name));
        let left = rooms.iter().filter(|(room, _)| !placed.contains(&***room));
        let floor: Vec<&str> = left
            .filter(|(_, named)| is_next(named))
            .map(|(room, _)| room.as_str())
            .collect();
        assert!(!floor.is_empty(), "rooms name each other in a circle");
        placed.extend(&floor);
        floors.push(floor);
    }
    floors
}

#[test]
fn the_drawing_of_the_rooms_is_the_code() {
    let rooms = rooms();
    let widest = rooms
        .keys()
        .map(String::len)
        .max()
        .expect("there are rooms");
    let mut made = String::from("\n```text\n");
    for floor in floors(&rooms).iter().rev() {
        for room in floor {
            let named: Vec<&str> = rooms[*room].iter().map(String::as_str).collect();
            let line = match named.is_empty() {
                true => format!("│ {room}"),
                false => format!("│ {room:widest$} ──► {}", named.join(", ")),
            };
            let mut lines = filled(&line).replace('\n', &format!("\n│ {:widest$}     ", ""));
            lines.push('\n');
            made += &lines;
        }
        let _ = writeln!(made, "├{}", "─".repeat(60));
    }
    made += "```\n\n";
    hold(
        "src/guide/design.md",
        "made from the Cargo.toml of each room",
        &made,
    );
}

#[test]
fn the_table_of_rooms_is_the_code() {
    let page = read("src/guide/design.md");
    for (room, named) in rooms() {
        let name = match room.as_str() {
            "htex-interchange" => "| `src/main.rs` and beside it |".to_owned(),
            room => format!("| `src/{room}` |"),
        };
        let row = page.lines().find(|line| line.starts_with(&name));
        let row = row.unwrap_or_else(|| panic!("the design page has {name}"));
        let cell = row.split(" | ").nth(2).expect("a cell").trim();
        let told: BTreeSet<String> = cell.split(", ").map(str::to_owned).collect();
        let told: BTreeSet<String> = told.into_iter().filter(|name| name != "–").collect();
        assert_eq!(told, named, "{room}");
    }
}

/// Each rule of .ci/deny.toml for a crate must name exactly the crates that depend on it, including
/// those whose tests do.
#[test]
fn dependency_rules_name_exactly_the_dependents() {
    let rooms = rooms_by(&["dependencies", "dev-dependencies"]);
    let walls = read(".ci/deny.toml");
    let mut seen = 0;
    for line in walls
        .lines()
        .filter_map(|line| line.trim().strip_prefix("{ crate = \""))
    {
        let (room, rest) = line.split_once('"').expect("a name");
        let Some((_, wrappers)) = rest.split_once("wrappers = [") else {
            continue;
        };
        if !rooms.contains_key(room) {
            continue;
        }
        let let_in: BTreeSet<&str> = wrappers.split('"').skip(1).step_by(2).collect();
        let naming = rooms.iter().filter(|(_, named)| named.contains(room));
        let come: BTreeSet<&str> = naming.map(|(other, _)| other.as_str()).collect();
        assert_eq!(let_in, come, "{room}");
        seen += 1;
    }
    assert!(seen > 3, "the walls are found");
}

/// States are in brackets in the drawings, and are string literals in the source file.
#[test]
fn drawn_states_are_those_of_the_code() {
    let page = read("src/guide/design.md");
    let source = read("src/interchange/event_line.rs");
    for (title, begin, end) in [
        ("## The life of a task", "fn of_task(", "\n}\n"),
        ("## The life of a manager", "fn name_of(", "\n}\n"),
    ] {
        let code = source
            .split(begin)
            .nth(1)
            .and_then(|rest| rest.split(end).next());
        let code = code.unwrap_or_else(|| panic!("{begin} is in the source"));
        // Strings that begin with a capital are the reasons of failures.
        let states = code.split('"').skip(1).step_by(2);
        let states: BTreeSet<&str> = states
            .filter(|state| !state.starts_with(char::is_uppercase))
            .collect();
        let section = page.split(title).nth(1).expect("the page has the drawing");
        let drawing = section.split("```").nth(1).expect("a drawing");
        let drawn = drawing
            .split('[')
            .skip(1)
            .filter_map(|rest| rest.split(']').next());
        assert_eq!(drawn.collect::<BTreeSet<_>>(), states, "{title}");
    }
}

/// The program must accept every command in an example.
#[test]
fn every_command_of_the_guide_is_one_that_the_program_takes() {
    let mut seen = 0;
    for (page, text) in pages() {
        for (command, is_example) in commands_in(&text) {
            let words = command.split(" | ").next().expect("a part");
            let words = words.split(" > ").next().expect("a part");
            let words = words.replace(['\'', '"', '…', '[', ']'], "");
            let parsed = Arguments::command().try_get_matches_from(words.split_whitespace());
            // Running text may name a tool without its arguments.
            let is_wrong = |error: &clap::Error| {
                let is_short = error.kind() == ErrorKind::MissingRequiredArgument;
                error.use_stderr() && (is_example || !is_short)
            };
            if let Some(error) = parsed.err().filter(is_wrong) {
                panic!("{page}: {command}: {error}");
            }
            seen += 1;
        }
    }
    assert!(seen > 30, "the examples are found: {seen}");
}

/// Returns the commands that begin with the program's name, from code blocks (true) and between
/// backquotes (false).
fn commands_in(text: &str) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    let mut prose = String::new();
    let mut is_code = false;
    for line in text.lines() {
        if line.starts_with("```") {
            is_code = !is_code;
        } else if is_code {
            let command = line
                .split("  #")
                .next()
                .unwrap_or_default()
                .trim()
                .to_owned();
            found.push((command, true));
        } else {
            prose.push_str(line);
            prose.push(' ');
        }
    }
    let quoted = prose.split('`').skip(1).step_by(2).map(in_one_line);
    // A text with an ellipsis is a log line.
    let commands = quoted.filter(|text| !text.contains('…'));
    found.extend(commands.map(|text| (text, false)));
    found.retain(|(command, _)| command.starts_with("htex-interchange "));
    found
}

fn pages() -> Vec<(String, String)> {
    let mut pages = vec![("README.md".to_owned(), read("README.md"))];
    let mut places = vec![top().join("src/guide")];
    while let Some(place) = places.pop() {
        if place.is_dir() {
            let entries = fs::read_dir(&place).expect("readable");
            places.extend(entries.map(|entry| entry.expect("readable").path()));
        } else if place.extension().is_some_and(|end| end == "md") {
            let text = fs::read_to_string(&place).expect("a text");
            let path = place.strip_prefix(top()).expect("below the top");
            pages.push((path.to_string_lossy().into_owned(), text));
        }
    }
    pages
}
