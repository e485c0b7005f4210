//! The interchange's own arguments in `interchange_launch_cmd`.

use std::collections::BTreeMap;
use std::iter;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use clap::{ArgMatches, Command};
use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

use super::program::{Program, interchange};
use crate::doctor::configuration::description::{Executor, SetUp};
use crate::shared::finding::{Finding, Severity};
use crate::shared::output::in_one_line;

/// Reports what is wrong with the arguments if htex-interchange is the program to start. `own` is
/// the command line of this program.
pub(in crate::doctor) fn of_interchange(
    executor: &Executor,
    set_up: &SetUp,
    own: &Command,
) -> Vec<Finding> {
    let arguments = arguments_of(executor, set_up);
    arguments.map_or_else(Vec::new, |arguments| findings(arguments, own))
}

fn arguments_of<'a>(executor: &'a Executor, set_up: &SetUp) -> Option<&'a [String]> {
    let (_, arguments) = executor.command()?;
    match interchange(executor, set_up).0 {
        Program::Ours(_) => Some(arguments),
        // None of these programs gets arguments for htex-interchange.
        Program::Enabled(_) | Program::Stock(_) | Program::Unknown(_) | Program::Nobody => None,
    }
}

fn findings(arguments: &[String], own: &Command) -> Vec<Finding> {
    let parsed = match parsed(arguments, own) {
        Ok(parsed) => parsed,
        Err(reason) => return vec![wrong(arguments, &reason)],
    };
    let mut found = Vec::new();
    let severity = severity(&parsed);
    found.extend(metrics_of(&parsed).and_then(|address| metrics(address, severity)));
    found.extend(events_of(&parsed).and_then(|file| events(file, severity)));
    found
}

/// Why the interchange does not start with these arguments.
#[derive(Debug, thiserror::Error)]
enum WrongArguments {
    #[error("one of the arguments names a tool")]
    Tool,
    #[error("{}", in_one_line(.0))]
    Unknown(clap::Error),
}

fn parsed(arguments: &[String], own: &Command) -> Result<ArgMatches, WrongArguments> {
    let name = own.get_name().to_owned();
    let words = iter::once(name).chain(arguments.iter().cloned());
    match own.clone().try_get_matches_from(words) {
        Ok(parsed) if parsed.subcommand_name().is_none() => Ok(parsed),
        Ok(_) => Err(WrongArguments::Tool),
        Err(error) => Err(WrongArguments::Unknown(error)),
    }
}

fn metrics_of(parsed: &ArgMatches) -> Option<SocketAddr> {
    parsed.get_one("metrics").copied()
}

fn events_of(parsed: &ArgMatches) -> Option<&PathBuf> {
    parsed.get_one("events")
}

/// Returns the severity of a service that cannot start: without `--strict`, the run goes on without
/// that service.
fn severity(parsed: &ArgMatches) -> Severity {
    match parsed.try_get_one("strict") {
        Ok(Some(true)) => Severity::Problem,
        Ok(_) | Err(_) => Severity::Warning,
    }
}

/// Describes the effect on a start that lacks `what`.
fn without(what: &str, severity: Severity) -> String {
    match severity {
        Severity::Problem => {
            format!("With --strict the interchange refuses to start without {what}.")
        }
        Severity::Warning | Severity::Note => {
            format!("The run would start and continue without {what}.")
        }
    }
}

fn wrong(arguments: &[String], reason: &WrongArguments) -> Finding {
    Finding::problem(
        "arguments-wrong",
        format!("htex-interchange does not accept these arguments: {reason}."),
    )
    .because("The interchange refuses to start, and parsl.load() raises with this reason.")
    .remedy("`htex-interchange --help` lists the valid arguments.")
    .shown_by(format!(
        "interchange_launch_cmd, after its program: {arguments:?}"
    ))
}

fn metrics(address: SocketAddr, severity: Severity) -> Option<Finding> {
    // Port 0 stands for a free port that the system chooses.
    if address.port() == 0 {
        return None;
    }
    let error = TcpListener::bind(address).err()?;
    Some(
        Finding::new(
            "metrics-port",
            severity,
            format!("Metrics cannot be served at {address}: {error}."),
        )
        .because(without("metrics", severity))
        .remedy(
            "Name another port, or use --metrics 0 for any free port (`htex-interchange status` \
             shows it).",
        )
        .shown_by(format!(
            "--metrics {address}; listening there failed: {error}"
        )),
    )
}

/// Reports a file of events that cannot be created. A relative path is below the log's directory.
/// The interchange creates missing directories.
fn events(file: &Path, severity: Severity) -> Option<Finding> {
    let directory = file.parent().filter(|_| file.is_absolute())?;
    let there = directory.ancestors().find(|above| above.exists())?;
    let error = match access(there, AccessFlags::W_OK | AccessFlags::X_OK) {
        Ok(()) if there.is_dir() => return None,
        Ok(()) => Errno::ENOTDIR,
        Err(error) => error,
    };
    Some(
        Finding::new(
            "events-file",
            severity,
            format!(
                "--events is {}, but no file can be created in {}: {}.",
                file.display(),
                there.display(),
                error.desc()
            ),
        )
        .because(without("events", severity))
        .remedy("Name a file without a directory, or in a directory that you can write to.")
        .shown_by(format!("--events {}", file.display()))
        .shown_by(format!("ls -ld {}: {}", there.display(), error.desc())),
    )
}

/// Returns the executors that belong to a Config, with the Config's number.
fn started_together(set_up: &SetUp) -> impl Iterator<Item = (i64, &Executor)> {
    let executors = set_up.executors.iter();
    executors.filter_map(|executor| Some((executor.config?, executor)))
}

/// Reports executors with the same file for their events. Relative paths do not clash, because each
/// is below its executor's own log directory.
pub(in crate::doctor) fn events_twice(set_up: &SetUp, own: &Command) -> Vec<Finding> {
    let mut by_file: BTreeMap<(i64, PathBuf), Vec<&str>> = BTreeMap::new();
    for (config, executor) in started_together(set_up) {
        let arguments = arguments_of(executor, set_up);
        let parsed = arguments.and_then(|arguments| parsed(arguments, own).ok());
        let file = parsed
            .as_ref()
            .and_then(events_of)
            .filter(|file| file.is_absolute());
        if let Some(file) = file {
            by_file
                .entry((config, file.clone()))
                .or_default()
                .push(executor.label());
        }
    }
    by_file.retain(|_, labels| labels.len() > 1);
    let told =
        by_file.into_iter().map(|((_, file), labels)| {
            let file = file.display();
            Finding::note(
            "events-file",
            format!("Executors {} all have --events {file}.", labels.join(" and ")),
        )
        .because(
            "The first executor that starts writes this file. Each of the others writes its own \
             file beside it, with its label in the name.",
        )
        .remedy("A relative path is in each executor's own log directory.")
        .shown_by(format!("--events {file} ({})", labels.join(", ")))
        });
    told.collect()
}

/// Reports executors with the same port for their metrics.
pub(in crate::doctor) fn metrics_twice(set_up: &SetUp, own: &Command) -> Vec<Finding> {
    let mut by_port: BTreeMap<(i64, u16), (Severity, Vec<&str>)> = BTreeMap::new();
    for (config, executor) in started_together(set_up) {
        let arguments = arguments_of(executor, set_up);
        let parsed = arguments.and_then(|arguments| parsed(arguments, own).ok());
        let Some(parsed) = &parsed else { continue };
        if let Some(address) = metrics_of(parsed).filter(|address| address.port() != 0) {
            let (worst, labels) = by_port
                .entry((config, address.port()))
                .or_insert((Severity::Note, Vec::new()));
            *worst = severity(parsed).min(*worst);
            labels.push(executor.label());
        }
    }
    by_port.retain(|_, (_, labels)| labels.len() > 1);
    let told = by_port.into_iter().map(|((_, port), (severity, labels))| {
        Finding::new(
            "port-twice",
            severity,
            format!(
                "Executors {} all have --metrics {port}.",
                labels.join(" and ")
            ),
        )
        .because(format!(
            "Only one of them can listen there. {}",
            without("metrics", severity)
        ))
        .remedy(
            "Give them different ports, or use --metrics 0 for any free port (`htex-interchange \
             status` shows it).",
        )
        .shown_by(format!("--metrics {port} ({})", labels.join(", ")))
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use clap::{Arg, ArgAction, value_parser};

    use super::*;

    /// Returns a command line with the arguments that are examined, and a tool.
    fn own() -> Command {
        let address = |text: &str| {
            text.parse()
                .map(|port: u16| SocketAddr::from(([127, 0, 0, 1], port)))
        };
        Command::new("htex-interchange")
            .arg(
                Arg::new("io-threads")
                    .long("io-threads")
                    .value_parser(value_parser!(u8)),
            )
            .arg(
                Arg::new("max")
                    .long("max-queued-bytes")
                    .value_parser(value_parser!(u64)),
            )
            .arg(Arg::new("metrics").long("metrics").value_parser(address))
            .arg(
                Arg::new("events")
                    .long("events")
                    .value_parser(value_parser!(PathBuf)),
            )
            .arg(Arg::new("strict").long("strict").action(ArgAction::SetTrue))
            .subcommand(Command::new("status"))
    }

    fn ids(words: &str) -> Vec<&'static str> {
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        let found = findings(&words, &own());
        found.iter().map(|finding| finding.id).collect()
    }

    #[test]
    fn wrong_arguments_are_reported() {
        assert_eq!(ids(""), [""; 0]);
        assert_eq!(ids("--io-threads 2 --max-queued-bytes=5"), [""; 0]);
        for wrong in [
            "--max-queue 5",
            "--io-threads many",
            "stray",
            "status",
            "--help",
        ] {
            assert_eq!(ids(wrong), ["arguments-wrong"], "{wrong}");
        }
        let found = findings(&["--metrics".to_owned()], &own());
        assert!(
            found[0].evidence[0].ends_with("[\"--metrics\"]"),
            "{found:?}"
        );
        assert!(found[0].what.contains("--metrics"), "{found:?}");
        assert!(!found[0].what.contains("error:"), "{found:?}");
    }

    #[test]
    fn unusable_metrics_ports_and_events_files_are_reported() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert_eq!(ids(&format!("--metrics {port}")), ["metrics-port"]);
        assert_eq!(ids("--metrics 0"), [""; 0]);
        let place = tempfile::tempdir().unwrap();
        let place = place.path().display();
        assert_eq!(ids("--events events.jsonl"), [""; 0]);
        assert_eq!(ids(&format!("--events {place}/events.jsonl")), [""; 0]);
        // The interchange creates missing directories.
        assert_eq!(ids(&format!("--events {place}/no/events.jsonl")), [""; 0]);
        assert_eq!(ids("--events sub/events.jsonl"), [""; 0]);
        let file = tempfile::NamedTempFile::new().unwrap();
        let below = format!("--events {}/events.jsonl", file.path().display());
        assert_eq!(ids(&below), ["events-file"]);
    }

    #[test]
    fn only_a_strict_start_is_refused() {
        let severity = |words: &str| {
            let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
            let found = findings(&words, &own());
            assert!(found.iter().all(|finding| !finding.evidence.is_empty()));
            found.iter().map(|finding| finding.severity).min()
        };
        let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        for trouble in [
            format!("--metrics {port}"),
            "--events /dev/null/x".to_owned(),
        ] {
            assert_eq!(severity(&trouble), Some(Severity::Warning));
            assert_eq!(
                severity(&format!("--strict {trouble}")),
                Some(Severity::Problem)
            );
        }
    }
}
