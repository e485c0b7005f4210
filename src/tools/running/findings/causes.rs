//! Causes that more than one finding names.

use status::document::Document;

use crate::shared::words::some;

/// By whom the submit process is stopped, and how it goes on; None if it is not.
pub(super) fn stopped_submit_process(document: &Document) -> Option<String> {
    let about = &document.interchange;
    let pid = about.submit_pid?;
    match about.submit_state? {
        'T' => Some(format!(
            "process {pid} was sent SIGSTOP, or Ctrl-Z was pressed; `fg` in its shell, or kill \
             -CONT {pid}, lets it go on"
        )),
        't' => Some(format!("a debugger holds process {pid}")),
        _ => None,
    }
}

/// Who knocks, but does not get in.
pub(super) fn wrong_keys(document: &Document) -> String {
    let port = &document.worker_port;
    let mut told = String::new();
    if port.keys_refused > 0 {
        told += &format!(
            "{} refused for a key that is not of this run: managers of another run, or with a \
             certificate directory of another one.",
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
            "{gap}{} failed: this run is {here}, and those who knock {there}, or are no managers \
             at all.",
            some(port.handshakes_failed, "handshake")
        );
    }
    told + " interchange.log has their addresses."
}
