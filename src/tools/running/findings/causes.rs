//! Causes that several findings name.

use std::fs;

use status::document::Document;

use crate::shared::words::{command, some};

const FILES_MAX: usize = 20_000;

/// Returns a sentence that names the files of blocks and managers, and the command that reads them.
pub(super) fn look_at_files(document: &Document) -> String {
    let logdir = document.interchange.logdir_path();
    // Parsl puts the log directories of a run's executors into this directory.
    let run_dir = logdir.parent().unwrap_or(&logdir);
    let doctor = command("htex-interchange doctor", run_dir);
    if document.process.log_moved_to.is_some() {
        return format!(
            "The files of the blocks and the managers may have been removed with the log; {doctor} \
             shows what is left."
        );
    }
    format!(
        "Run {doctor}: it reads the blocks' output (submit_scripts in {}) and the managers' logs \
         (manager.log in {}/block-*).",
        run_dir.display(),
        logdir.display()
    )
}

/// Returns a file with the exit status of a block of this executor, and the status; None if no file
/// shows that a block has ended. Only LocalProvider writes such files. They contain a dash until
/// the block ends.
pub(super) fn ended_block(document: &Document) -> Option<String> {
    let logdir = document.interchange.logdir_path();
    let label = logdir.file_name()?.to_string_lossy();
    let begin = format!("parsl.{label}.block-");
    let entries = fs::read_dir(logdir.parent()?.join("submit_scripts")).ok()?;
    let mut files = entries.flatten().take(FILES_MAX).filter(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with(&begin) && name.ends_with(".sh.ec")
    });
    files.find_map(|entry| {
        let text = fs::read_to_string(entry.path()).ok()?;
        let status: i32 = text.trim().parse().ok()?;
        Some(format!("{}: {status}", entry.path().display()))
    })
}

/// Returns the command that queries this interchange, with `flag`.
pub(super) fn status_of(document: &Document, flag: &str) -> String {
    let words = format!("htex-interchange status {flag}");
    command(&words, &document.interchange.logdir_path())
}

/// Returns why the submit process is stopped, and how to continue it; None if it is not stopped.
pub(super) fn stopped_submit_process(document: &Document) -> Option<String> {
    let about = &document.interchange;
    let pid = about.submit_pid?;
    match about.submit_state? {
        'T' => Some(format!(
            "process {pid} received SIGSTOP, or Ctrl-Z was pressed; `fg` in its shell, or `kill \
             -CONT {pid}`, continues it"
        )),
        't' => Some(format!("a debugger holds process {pid}")),
        _ => None,
    }
}

/// Describes peers that connect to the worker port and are refused.
pub(super) fn wrong_keys(document: &Document) -> String {
    let port = &document.worker_port;
    let mut told = String::new();
    if port.keys_refused > 0 {
        told += &format!(
            "{} refused because the key is not one of this run: the peers may be managers of \
             another run, or may use its certificate directory.",
            match port.keys_refused {
                1 => "1 peer was".to_owned(),
                peers => format!("{} were", some(peers, "peer")),
            }
        );
    }
    if port.handshakes_failed > 0 {
        let gap = if told.is_empty() { "" } else { " " };
        let (here, there) = match document.interchange.encrypted {
            true => (
                "encrypted",
                "are not encrypted, or have another server's key",
            ),
            false => ("not encrypted", "are encrypted"),
        };
        told += &format!(
            "{gap}{} failed: this run is {here}, and the peers may be managers that {there}, or \
             may be no managers at all.",
            some(port.handshakes_failed, "handshake")
        );
    }
    told + " interchange.log has their addresses."
}
