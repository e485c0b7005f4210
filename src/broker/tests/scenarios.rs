//! Runs the texts in `src/broker/tests/scenarios/`, one file for each theme.
//!
//! ```text
//! scenario what it shows
//! with threshold=10              (settings; may be left out)
//! > task 1                       (a command, see `script.rs`)
//! > dispatch
//! batch m1: 1                    (all that the broker does about it, line by line)
//! ```
//!
//! The effects must match line by line, without missing or extra lines. Log lines count as well:
//! ERROR always, WARN if `with` has `warnings=shown`; a part of their text is enough. The expected
//! text is written by hand, from the broker's promises.

use std::fs;
use std::path::{Path, PathBuf};

use super::script::{Line, Player};

/// Makes a test of each file, and one test that no file is left out.
macro_rules! themes {
    ($($theme:ident),+ $(,)?) => {
        $(#[test]
        fn $theme() {
            run(stringify!($theme));
        })+

        #[test]
        fn every_file_is_run() {
            let mut files: Vec<String> = fs::read_dir(directory())
                .expect("the directory is there")
                .map(|entry| entry.expect("readable").path())
                .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
                .collect();
            files.sort_unstable();
            let mut themes = vec![$(stringify!($theme)),+];
            themes.sort_unstable();
            assert_eq!(files, themes);
        }
    };
}

themes!(
    registration,
    dispatch,
    priorities,
    hold_and_drain,
    expiry,
    lost_managers,
    disconnect_grace,
    vanished,
    failing,
    reconnect_patience,
    restart,
    task_ids,
    spoilt_results,
    connections,
    transport,
    versions,
    commands,
    stopping,
    monitoring,
    observations,
    asked_selector,
    happenings,
    absurd,
    placement,
);

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

/// Returns the state changes of tasks and managers in each scenario, in words and in their order.
pub(crate) fn changes_of_all() -> Vec<Vec<String>> {
    let entries = fs::read_dir(directory()).expect("the directory is there");
    let texts = entries.map(|entry| fs::read_to_string(entry.expect("readable").path()));
    let scenarios = texts.flat_map(|text| read(&text.expect("a text")));
    scenarios.map(Scenario::changes).collect()
}

fn run(theme: &str) {
    let path = directory().join(format!("{theme}.txt"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{theme}: {error}"));
    let scenarios = read(&text);
    assert!(!scenarios.is_empty(), "{theme} has no scenarios");
    let failures: Vec<String> = scenarios
        .into_iter()
        .filter_map(|scenario| scenario.play(theme).err())
        .collect();
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

struct Scenario {
    title: String,
    with: String,
    steps: Vec<Step>,
}

struct Step {
    line_number: usize,
    command: String,
    expected: Vec<String>,
}

fn read(text: &str) -> Vec<Scenario> {
    let mut scenarios: Vec<Scenario> = Vec::new();
    for (place, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(title) = line.strip_prefix("scenario ") {
            scenarios.push(Scenario {
                title: title.to_owned(),
                with: "with".to_owned(),
                steps: Vec::new(),
            });
            continue;
        }
        let scenario = scenarios.last_mut().expect("'scenario' comes first");
        if let Some(command) = line.strip_prefix("> ") {
            scenario.steps.push(Step {
                line_number: place + 1,
                command: command.to_owned(),
                expected: Vec::new(),
            });
        } else if let Some(step) = scenario.steps.last_mut() {
            step.expected.push(line.to_owned());
        } else if line.starts_with("with ") {
            line.clone_into(&mut scenario.with);
        } else {
            panic!("line {}: expected a command", place + 1);
        }
    }
    scenarios
}

impl Scenario {
    /// Plays the scenario.
    ///
    /// # Errors
    /// The first step with other effects than expected, as blocks of text.
    fn play(self, theme: &str) -> Result<(), String> {
        let mut player = Player::new(Line::parse(&self.with));
        for step in &self.steps {
            let place = format!("{theme}.txt:{}: > {}", step.line_number, step.command);
            let told = TellOnPanic(format!("{place} ({})", self.title));
            let got = player.play(Line::parse(&step.command));
            let is_same = got.len() == step.expected.len()
                && got
                    .iter()
                    .zip(&step.expected)
                    .all(|(g, e)| is_as_expected(g, e));
            if !is_same {
                let (expected, got) = (block(&step.expected), block(&got));
                let title = self.title;
                player.finish();
                return Err(format!(
                    "{title}\n{place}\n  expected:\n{expected}  got:\n{got}"
                ));
            }
            drop(told);
        }
        player.finish();
        Ok(())
    }

    fn changes(mut self) -> Vec<String> {
        if !self.with.contains("happenings=told") {
            self.with.push_str(" happenings=told");
        }
        let mut player = Player::new(Line::parse(&self.with));
        let mut changes = Vec::new();
        for step in &self.steps {
            for line in player.play(Line::parse(&step.command)) {
                // While time passes, each line begins with its second in brackets.
                let change = line
                    .strip_prefix('[')
                    .and_then(|rest| rest.split_once("] "));
                let change = change.map_or(line.as_str(), |(_, rest)| rest);
                changes.extend(change.strip_prefix("told ").map(str::to_owned));
            }
        }
        player.finish();
        changes
    }
}

fn block(lines: &[String]) -> String {
    match lines {
        [] => "    (nothing)\n".to_owned(),
        lines => lines.iter().map(|line| format!("    {line}\n")).collect(),
    }
}

/// Whether an effect matches word for word; of a log line, a part is enough.
fn is_as_expected(got: &str, expected: &str) -> bool {
    for level in ["warning ", "error "] {
        if let (Some((before, got)), Some((prefix, expected))) =
            (got.split_once(level), expected.split_once(level))
        {
            return before == prefix && got.contains(expected);
        }
    }
    got == expected
}

/// Prints the place in the scenario if the broker panics.
struct TellOnPanic(String);

impl Drop for TellOnPanic {
    #[expect(clippy::print_stderr, reason = "read by whoever runs the tests")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in {}", self.0);
        }
    }
}

/// The runner itself must fail on missing and on extra lines.
#[test]
fn the_runner_fails_on_missing_and_extra_lines() {
    let play = |text: &str| read(text).remove(0).play("here");
    let good = "scenario s\n> register m1\n> task 1\n> dispatch\nbatch m1: 1\n";
    assert_eq!(play(good), Ok(()));
    for bad in [
        "scenario s\n> register m1\n> task 1\n> dispatch\n",
        "scenario s\n> register m1\n> task 1\n> dispatch\nbatch m1: 2\n",
        "scenario s\n> register m1\nbatch m1: 1\n> task 1\n",
        "scenario s\nwith warnings=shown\n> heartbeat m1\n",
        "scenario s\nwith warnings=shown\n> heartbeat m1\nwarning something else\n",
        "scenario s\nwith check=both\n> versions python=3.9 parsl=1\n> register m1\n\
         mismatch: submit side py.v=3.9 parsl.v=1, manager py.v=3.11 parsl.v=2026.10.26\n\
         m1 < shutdown\nstop: version mismatch\n",
    ] {
        let failure = play(bad).expect_err(bad);
        assert!(failure.contains("expected:\n") && failure.contains("got:\n"));
    }
}
