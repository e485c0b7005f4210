//! Kinds of lines in an interchange's log, and what each means. Lines of htex-interchange are
//! recognized by their codes, lines of Parsl's own interchange by their words.

use codes::Code;

use super::kind::Kind;
use super::log::Line;
use crate::shared::finding::Severity;

/// A finding that certain lines of a log show.
pub(super) struct LineKind {
    /// The finding. Its marks are words of Parsl's own interchange.
    pub(super) kind: Kind,
    /// Codes of htex-interchange, one of which a line of this kind has.
    pub(super) codes: &'static [&'static Code],
}

impl LineKind {
    pub(super) fn is_of(&self, line: &Line) -> bool {
        match line.coded.code {
            Some(code) => self.codes.contains(&code),
            None => self
                .kind
                .marks
                .iter()
                .any(|mark| line.coded.message.contains(mark)),
        }
    }
}

/// All kinds. Each `what` has no full stop, because the number of lines and the last message follow
/// it.
pub(super) const KINDS: [LineKind; 14] = [
    LineKind {
        kind: Kind {
            id: "start-refused",
            severity: Severity::Problem,
            marks: &[],
            what: "The interchange refused to start",
            why: "parsl.load() raised with this reason.",
            remedy: "`htex-interchange doctor CONFIG.py` shows what to change.",
        },
        codes: &[&codes::START_REFUSED],
    },
    LineKind {
        kind: Kind {
            id: "version-mismatch",
            severity: Severity::Problem,
            marks: &["has incompatible version info"],
            what: "A manager had other versions than the submit side",
            why: "As with Parsl's own interchange, one such manager ends the run: every task fails \
                  with VersionMismatch.",
            remedy: "In the provider's worker_init, enter an environment with the same Python and \
                     Parsl versions.",
        },
        codes: &[&codes::VERSION_MISMATCH],
    },
    LineKind {
        kind: Kind {
            id: "internal-error",
            severity: Severity::Problem,
            marks: &[],
            what: "An internal error ended the interchange",
            why: "Every task failed with this reason.",
            remedy: "Please report the error, with the log.",
        },
        codes: &[&codes::INTERNAL_ERROR],
    },
    LineKind {
        kind: Kind {
            id: "interchange-killed",
            severity: Severity::Problem,
            marks: &[],
            what: "The interchange was killed",
            why: "Every task without a result failed, and the interchange told the managers to \
                  exit.",
            remedy: "The kernel's log (dmesg) shows whether memory ran out. Please report other \
                     signals.",
        },
        codes: &[
            &codes::INTERCHANGE_KILLED,
            &codes::KEEPER_GONE,
            &codes::RESTART_FAILED,
        ],
    },
    LineKind {
        kind: Kind {
            id: "restarted",
            severity: Severity::Note,
            marks: &[],
            what: "The interchange was restarted: its process ended, and another process took over",
            why: "Tasks and managers continued. Only results that were being transferred at that \
                  moment may be lost: their tasks failed with ResultLost or ManagerLost.",
            remedy: "The kernel's log (dmesg) shows whether memory ran out. Please report other \
                     signals and internal errors.",
        },
        codes: &[&codes::RESTARTED],
    },
    LineKind {
        kind: Kind {
            id: "descriptors-ran-out",
            severity: Severity::Problem,
            marks: &[],
            what: "The interchange refused managers, because it had no descriptors left",
            why: "Each manager needs one. The connected managers were served.",
            remedy: "Raise the hard limit (ulimit -Hn) where the run is started, or configure \
                     fewer blocks.",
        },
        codes: &[&codes::DESCRIPTORS_RAN_OUT],
    },
    LineKind {
        kind: Kind {
            id: "descriptors-scarce",
            severity: Severity::Warning,
            marks: &[],
            what: "Descriptors became scarce",
            why: "At 95 % of the limit, the interchange accepts no more managers.",
            remedy: "Raise the hard limit (ulimit -Hn) where the run is started.",
        },
        codes: &[&codes::DESCRIPTORS_SCARCE],
    },
    LineKind {
        kind: Kind {
            id: "key-refused",
            severity: Severity::Warning,
            marks: &[],
            what: "The interchange refused peers whose key is not in the certificate directory",
            why: "They may be managers of another run or of an earlier one, or strangers.",
            remedy: "If they should belong to this run: its managers must read the same files of \
                     cert_dir.",
        },
        codes: &[&codes::KEY_REFUSED],
    },
    LineKind {
        kind: Kind {
            id: "handshake-failed",
            severity: Severity::Warning,
            marks: &[],
            what: "Connections to the worker port failed",
            why: "A peer that does not use the port's encryption setting is not a manager of this \
                  run, or has another server's key.",
            remedy: "Look at the peers' addresses in the log.",
        },
        codes: &[&codes::HANDSHAKE_FAILED],
    },
    LineKind {
        kind: Kind {
            id: "suspended",
            severity: Severity::Warning,
            marks: &[],
            what: "The interchange's process did not run for some time",
            why: "It may have been stopped (SIGSTOP, a suspended machine), or got no processor \
                  time. No manager counts as silent for that time, and no task was moved.",
            remedy: "If nothing stopped it, the machine is overloaded or short of memory.",
        },
        codes: &[&codes::SUSPENDED],
    },
    LineKind {
        kind: Kind {
            id: "selector-failed",
            severity: Severity::Warning,
            marks: &[],
            what: "The manager selector failed",
            why: "The interchange chose managers at random instead.",
            remedy: "The traceback is in the log.",
        },
        codes: &[
            &codes::SELECTOR_FAILED,
            &codes::SELECTOR_RESTARTED,
            &codes::SELECTOR_ABANDONED,
        ],
    },
    LineKind {
        kind: Kind {
            id: "intake-paused",
            severity: Severity::Warning,
            marks: &[],
            what: "Tasks waited in the submit process, because the interchange held too many bytes",
            why: "More tasks may have arrived than managers could take, or the executor may not \
                  have taken its results.",
            remedy: "More workers would help, or a larger --max-queued-bytes.",
        },
        codes: &[&codes::INTAKE_PAUSED],
    },
    LineKind {
        kind: Kind {
            id: "no-manager-fits",
            severity: Severity::Warning,
            marks: &[],
            what: "Tasks required more than any manager had",
            why: "Such a task waits for a block that has what it requires. Each kind of such tasks \
                  is reported once.",
            remedy: "Require only what a manager has (cores, memory, running_time_min, node), or \
                     configure other blocks.",
        },
        codes: &[&codes::NO_MANAGER_FITS],
    },
    LineKind {
        kind: Kind {
            id: "bad-messages",
            severity: Severity::Warning,
            marks: &[],
            what: "Messages could not be read",
            why: "Their senders may use the protocol of another release, or may not belong to \
                  Parsl.",
            remedy: "Look at the senders in the log.",
        },
        codes: &[
            &codes::MESSAGE_UNREADABLE,
            &codes::TASK_MESSAGE_DROPPED,
            &codes::TASK_UNREADABLE,
            &codes::RESULT_UNREADABLE,
            &codes::COMMAND_UNREADABLE,
        ],
    },
];
