//! An interchange's log without an ending: whether the interchange still runs, and what may have
//! happened to it.

use std::path::Path;

use super::events;
use super::log::{Line, Log};
use super::parsl_log::ParslLog;
use crate::shared::finding::Finding;
use crate::shared::log_file::{Writer, here};
use crate::shared::words::plain;

/// Returns where the process that wrote the log runs or ran, judged by the log's lines.
pub(super) fn writer_of(directory: &Path, log: &Log) -> Writer {
    let pid = pid_of(log);
    let host = start_of(log).and_then(|line| line.coded.field("host"));
    let host = host.map(str::to_owned);
    Writer::of(directory, pid, host)
}

/// Whether the interchange runs, or may run because nothing shows its end.
pub(super) fn may_run(writer: &Writer, log: &Log) -> bool {
    *writer == Writer::RunsHere || (*writer != Writer::WasHere && !events::has_ending(&log.lines))
}

/// Returns the line that names the machine.
fn start_of(log: &Log) -> Option<&Line> {
    log.lines.iter().find(|line| line.is(&codes::STARTED))
}

/// Returns the interchange's process id; after restarts, the id of the last process.
fn pid_of(log: &Log) -> Option<u32> {
    let restarted = log.lines.iter().rfind(|line| line.is(&codes::RESTARTED));
    let first = || log.lines.iter().find_map(|line| line.pid);
    restarted.and_then(|line| line.pid).or_else(first)
}

/// Reports on the log of an interchange that does not answer at a status socket.
pub(super) fn finding(
    log: &Log,
    writer: &Writer,
    is_ours: bool,
    parsl: &ParslLog,
) -> Option<Finding> {
    let who = pid_of(log).map_or_else(|| "its process".to_owned(), |pid| format!("process {pid}"));
    if *writer == Writer::RunsHere {
        let told = format!("The interchange still runs, as {who}.");
        let shown = format!("{who} has {} open", log.path.display());
        return Some(Finding::note("still-running", told).shown_by(shown));
    }
    let last = log.lines.last()?;
    if !is_ours || events::has_ending(&log.lines) {
        return None;
    }
    if let Some(terminating) = parsl.terminating() {
        return Some(
            Finding::note(
                "no-ending",
                "Parsl ended the interchange before it could write the last lines of its log.",
            )
            .because(
                "The interchange has 200 ms for these lines; the machine or its disk may have been \
                 busy for longer.",
            )
            .shown_by(terminating)
            .shown_by(log.shown(last)),
        );
    }
    let finding = broken_off(writer, &who);
    let start = start_of(log);
    let finding = match start.filter(|start| *start != last) {
        Some(start) => finding.shown_by(log.shown(start)),
        None => finding,
    };
    Some(finding.shown_by(log.shown(last)))
}

/// Reports the missing end, with advice that depends on the machine where the process ran.
fn broken_off(writer: &Writer, who: &str) -> Finding {
    const KILLED: &str = "out of memory, kill -9, or the end of a batch job";
    let told = |what: String| Finding::warning("no-ending", what);
    match writer {
        Writer::Elsewhere(host) => told(format!(
            "The interchange's log does not report an end. The interchange was started on {}, as \
             {who}, and this machine is {}.",
            plain(host),
            here()
        ))
        .because(format!(
            "It may still run there, or may have been killed ({KILLED})."
        ))
        .remedy(
            "On that machine, `htex-interchange status` shows whether it runs, and the kernel's \
             log (dmesg) whether memory ran out.",
        ),
        Writer::Hidden => told(format!(
            "The interchange's log does not report an end, and doctor cannot see whether it still \
             runs: {who} of this machine belongs to another user."
        ))
        .because(format!(
            "That process may be the interchange, or the interchange may have been killed \
             ({KILLED})."
        ))
        .remedy("Run doctor as the user who started the run."),
        Writer::RunsHere | Writer::WasHere => told(format!(
            "The interchange's log does not report an end, and {who} does not run on this machine \
             any more."
        ))
        .because(format!("It may have been killed ({KILLED})."))
        .remedy("The kernel's log (dmesg) shows whether memory ran out."),
        Writer::Unknown => told(format!(
            "The interchange's log does not report an end, and {who} does not run on this machine."
        ))
        .because(format!(
            "It may have been killed ({KILLED}), or may run on another machine."
        ))
        .remedy("The kernel's log (dmesg) of its machine shows whether memory ran out."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::run::log::{Level, log_of};

    #[test]
    fn advice_depends_on_where_the_process_ran() {
        let told = |text: &str| {
            let log = log_of(&[(Level::Info, text), (Level::Info, "last")]);
            let writer = writer_of(Path::new("/"), &log);
            let found = finding(&log, &writer, true, &ParslLog::default()).unwrap();
            assert_eq!(found.evidence.last().unwrap(), "x.log, line 2: last");
            format!("{} {}", found.what, found.advice())
        };
        let elsewhere = told("a start host=login2 [started]");
        assert!(elsewhere.contains("started on login2") && elsewhere.contains("On that machine"));
        let ours = told(&format!("a start host={} [started]", here()));
        assert!(
            ours.contains("any more") && !ours.contains("On that machine"),
            "{ours}"
        );
        assert!(told("no start").contains("or may run on another"));
    }
}
