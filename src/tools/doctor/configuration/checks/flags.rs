//! The interchange's own arguments, as `interchange_launch_cmd` has them.

use std::collections::BTreeMap;
use std::iter;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use clap::{ArgMatches, Command};
use nix::unistd::{AccessFlags, access};

use super::program::{Program, interchange};
use crate::doctor::configuration::description::{Executor, SetUp};
use crate::shared::finding::Finding;
use crate::shared::output::in_one_line;

/// What `own`, this program, would make of them, if it is the one that is started.
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
        // It gets none of them.
        Program::Enabled(_) | Program::Stock(_) | Program::Unknown(_) | Program::Nobody => None,
    }
}

fn findings(arguments: &[String], own: &Command) -> Vec<Finding> {
    let parsed = match parsed(arguments, own) {
        Ok(parsed) => parsed,
        Err(reason) => return vec![wrong(&reason)],
    };
    let mut found = Vec::new();
    found.extend(metrics_of(&parsed).and_then(metrics));
    found.extend(
        parsed
            .get_one("events")
            .and_then(|file: &PathBuf| events(file)),
    );
    found
}

/// Why the interchange does not start with these arguments.
#[derive(Debug, thiserror::Error)]
enum WrongArguments {
    #[error("one of them names a tool")]
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

fn wrong(reason: &WrongArguments) -> Finding {
    Finding::problem(
        "arguments-wrong",
        format!("htex-interchange does not start with these arguments: {reason}."),
    )
    .because("It refuses to start with them, and parsl.load() raises that.")
    .remedy("`htex-interchange --help` tells which there are.")
}

fn metrics(address: SocketAddr) -> Option<Finding> {
    // A port that the system chooses is free.
    if address.port() == 0 {
        return None;
    }
    let error = TcpListener::bind(address).err()?;
    Some(
        Finding::problem(
            "metrics-port",
            format!("Metrics cannot be told at {address}: {error}."),
        )
        .because("The interchange refuses to start when it cannot listen there.")
        .remedy("Name another port, or `--metrics 0` for any (the log tells which)."),
    )
}

/// A relative one is in the log's directory, which the interchange makes, and nothing below it.
fn events(file: &Path) -> Option<Finding> {
    let directory = file
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())?;
    let why = match file.is_absolute() {
        true if access(directory, AccessFlags::W_OK | AccessFlags::X_OK).is_ok() => return None,
        true => "is not there, or may not be written to",
        false => "is not in the log's directory, which is new in each run",
    };
    Some(
        Finding::problem(
            "events-file",
            format!(
                "--events is {}, and {} {why}.",
                file.display(),
                directory.display()
            ),
        )
        .because("The interchange refuses to start when it cannot write its events.")
        .remedy("Name a file without a directory, or in one that is there."),
    )
}

/// Two executors' metrics at one port.
pub(in crate::doctor) fn metrics_twice(set_up: &SetUp, own: &Command) -> Vec<Finding> {
    let mut by_port: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for executor in &set_up.executors {
        let arguments = arguments_of(executor, set_up);
        let parsed = arguments.and_then(|arguments| parsed(arguments, own).ok());
        if let Some(address) = parsed.as_ref().and_then(metrics_of) {
            let labels = by_port.entry(address.port()).or_default();
            labels.push(executor.label());
        }
    }
    by_port.remove(&0);
    by_port.retain(|_, labels| labels.len() > 1);
    let told = by_port.into_iter().map(|(port, labels)| {
        Finding::problem(
            "port-twice",
            format!(
                "Executors {} all have --metrics {port}.",
                labels.join(" and ")
            ),
        )
        .because("The second of them refuses to start.")
        .remedy("Give them different ports, or `--metrics 0` for any (the log tells which).")
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use clap::{Arg, value_parser};

    use super::*;

    /// With the arguments that are looked at, and a tool.
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
            .subcommand(Command::new("status"))
    }

    fn ids(words: &str) -> Vec<&'static str> {
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        let found = findings(&words, &own());
        found.iter().map(|finding| finding.id).collect()
    }

    #[test]
    fn what_would_not_be_understood() {
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
        assert!(found[0].what.contains("--metrics"), "{found:?}");
        assert!(!found[0].what.contains("error:"), "{found:?}");
    }

    #[test]
    fn where_it_would_tell() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert_eq!(ids(&format!("--metrics {port}")), ["metrics-port"]);
        assert_eq!(ids("--metrics 0"), [""; 0]);
        let place = tempfile::tempdir().unwrap();
        let place = place.path().display();
        assert_eq!(ids("--events events.jsonl"), [""; 0]);
        assert_eq!(ids(&format!("--events {place}/events.jsonl")), [""; 0]);
        assert_eq!(
            ids(&format!("--events {place}/no/events.jsonl")),
            ["events-file"]
        );
        assert_eq!(ids("--events sub/events.jsonl"), ["events-file"]);
    }
}
