//! Causes that several findings name.

use status::document::Document;

use crate::shared::words::{command, some};

/// Returns a sentence that names the files of blocks and managers, and the command that reads them.
pub(super) fn look_at_files(document: &Document) -> String {
    let logdir = document.interchange.logdir_path();
    // Parsl puts the log directories of a run's executors into this directory.
    let run_dir = logdir.parent().unwrap_or(&logdir);
    let doctor = command("htex-interchange doctor", run_dir);
    if document.process.log_moved_to.is_some() {
        return format!(
            "What the blocks and the managers have written may be gone with the log; {doctor} \
             tells what is left."
        );
    }
    format!(
        "Look at what the blocks have printed (submit_scripts in {}) and at the managers' logs \
         (manager.log in {}/block-*): {doctor} reads both.",
        run_dir.display(),
        logdir.display()
    )
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
            "process {pid} was sent SIGSTOP, or Ctrl-Z was pressed; `fg` in its shell, or \
             `kill -CONT {pid}`, lets it go on"
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
            "{} refused for a key that is not of this run: they may be managers of another run, \
             or have a certificate directory of another one.",
            match port.keys_refused {
                1 => "1 peer was".to_owned(),
                peers => format!("{} were", some(peers, "peer")),
            }
        );
    }
    if port.handshakes_failed > 0 {
        let gap = if told.is_empty() { "" } else { " " };
        let (here, there) = match document.interchange.encrypted {
            true => ("encrypted", "are not, or have another server's key"),
            false => ("not encrypted", "are"),
        };
        told += &format!(
            "{gap}{} failed: this run is {here}, and it may be that those who knock {there}, or \
             are no managers at all.",
            some(port.handshakes_failed, "handshake")
        );
    }
    told + " interchange.log has their addresses."
}
