//! The interchange's own arguments, as `interchange_launch_cmd` has them.

use std::collections::BTreeMap;
use std::iter;
use std::net::SocketAddr;
use std::path::Path;

use clap::Parser as _;
use nix::unistd::{AccessFlags, access};

use super::super::description::{Executor, SetUp};
use super::super::finding::Finding;
use super::ports;
use super::program::{Program, interchange};
use crate::cli::Arguments;

const OWN_NAME: &str = "htex-interchange";

/// What it would make of them.
pub(in super::super) fn of_interchange(arguments: &[String]) -> Vec<Finding> {
    let parsed = match parsed(arguments) {
        Ok(parsed) => parsed,
        Err(reason) => return vec![wrong(&reason)],
    };
    let mut found = Vec::new();
    found.extend(parsed.metrics.and_then(metrics));
    found.extend(parsed.events.as_deref().and_then(events));
    found
}

fn parsed(arguments: &[String]) -> Result<Arguments, String> {
    let words = iter::once(OWN_NAME).chain(arguments.iter().map(String::as_str));
    match Arguments::try_parse_from(words) {
        Ok(parsed) if parsed.tool.is_none() => Ok(parsed),
        Ok(_) => Err("one of them names a tool".to_owned()),
        Err(error) => {
            let told = error.to_string();
            let first = told.lines().next().unwrap_or_default().trim();
            Err(first.trim_start_matches("error: ").to_owned())
        }
    }
}

fn wrong(reason: &str) -> Finding {
    Finding::problem(
        "arguments-wrong",
        format!("htex-interchange does not start with these arguments: {reason}."),
    )
    .because("It ends at once, and parsl.load() waits for it in vain.")
    .remedy("`htex-interchange --help` tells which there are.")
}

fn metrics(address: SocketAddr) -> Option<Finding> {
    // A port that the system chooses is free.
    let port = Some(address.port()).filter(|port| *port != 0)?;
    let error = ports::try_port(Some(address.ip()), port).err()?;
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
pub(in super::super) fn metrics_twice(set_up: &SetUp) -> Vec<Finding> {
    let mut by_port: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for executor in &set_up.executors {
        if let Some(address) = metrics_of(executor, set_up) {
            by_port
                .entry(address.port())
                .or_default()
                .push(executor.label());
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

fn metrics_of(executor: &Executor, set_up: &SetUp) -> Option<SocketAddr> {
    let (program, _) = interchange(executor, set_up);
    let (_, arguments) = executor.command()?;
    match program {
        Program::Ours(_) => parsed(arguments).ok()?.metrics,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn ids(words: &str) -> Vec<&'static str> {
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        let found = of_interchange(&words);
        found.iter().map(|finding| finding.id).collect()
    }

    #[test]
    fn what_would_not_be_understood() {
        assert_eq!(ids(""), [""; 0]);
        assert_eq!(ids("--io-threads 2 --max-queued-bytes=5"), [""; 0]);
        for wrong in [
            "--max-queue 5",
            "--io-threads 0",
            "stray",
            "status",
            "--help",
        ] {
            assert_eq!(ids(wrong), ["arguments-wrong"], "{wrong}");
        }
        let found = of_interchange(&["--metrics".to_owned()]);
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
