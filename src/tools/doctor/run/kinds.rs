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
            remedy: "`htex-interchange doctor CONFIG.py` tells what to change.",
        },
        codes: &[&codes::START_REFUSED],
    },
    LineKind {
        kind: Kind {
            id: "version-mismatch",
            severity: Severity::Problem,
            marks: &["has incompatible version info"],
            what: "A manager had other versions than the submit side",
            why: "As in Parsl, one such manager ends the run: every task fails with \
                  VersionMismatch.",
            remedy: "Let the provider's worker_init enter an environment with the same Python and \
                     Parsl.",
        },
        codes: &[&codes::VERSION_MISMATCH],
    },
    LineKind {
        kind: Kind {
            id: "internal-error",
            severity: Severity::Problem,
            marks: &[],
            what: "The interchange ended by an internal error",
            why: "Every task failed with the reason.",
            remedy: "Please report it, with the log.",
        },
        codes: &[&codes::INTERNAL_ERROR],
    },
    LineKind {
        kind: Kind {
            id: "interchange-killed",
            severity: Severity::Problem,
            marks: &[],
            what: "The interchange was killed",
            why: "Every task without a result failed, and the managers were told to exit.",
            remedy: "The kernel's log (dmesg) tells of memory that ran out. Report other signals.",
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
            what: "The interchange was restarted: its process ended, and another one went on",
            why: "Tasks and managers went on. Only a result that was on its way at that moment may \
                  be lost: its task failed with ResultLost, or with ManagerLost.",
            remedy: "The kernel's log (dmesg) tells of memory that ran out. Report other signals, \
                     and an internal error.",
        },
        codes: &[&codes::RESTARTED],
    },
    LineKind {
        kind: Kind {
            id: "descriptors-ran-out",
            severity: Severity::Problem,
            marks: &[],
            what: "Managers were not let in, because descriptors ran out",
            why: "Each manager takes one; those that were connected were served.",
            remedy: "Raise the hard limit (ulimit -Hn) where the run is started, or ask for fewer \
                     blocks.",
        },
        codes: &[&codes::DESCRIPTORS_RAN_OUT],
    },
    LineKind {
        kind: Kind {
            id: "descriptors-scarce",
            severity: Severity::Warning,
            marks: &[],
            what: "Descriptors became scarce",
            why: "At 95 % of the limit no more managers are let in.",
            remedy: "Raise the hard limit (ulimit -Hn) where the run is started.",
        },
        codes: &[&codes::DESCRIPTORS_SCARCE],
    },
    LineKind {
        kind: Kind {
            id: "key-refused",
            severity: Severity::Warning,
            marks: &[],
            what: "Peers were refused, whose key is not in the certificate directory",
            why: "They may be managers of another run, or of an earlier one, or strangers.",
            remedy: "If they should belong to this run: managers must read the very files of \
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
            why: "Who speaks otherwise than the port (encrypted or not) is no manager of this run, \
                  or has another server's key.",
            remedy: "Look at the addresses in the log.",
        },
        codes: &[&codes::HANDSHAKE_FAILED],
    },
    LineKind {
        kind: Kind {
            id: "suspended",
            severity: Severity::Warning,
            marks: &[],
            what: "The interchange's process did not run for a time",
            why: "It may have been stopped (SIGSTOP, a suspended machine) or got no processor; no \
                  manager is blamed for that time, and no task was moved in it.",
            remedy: "If nobody stopped it: the machine is overloaded, or its memory is.",
        },
        codes: &[&codes::SUSPENDED],
    },
    LineKind {
        kind: Kind {
            id: "selector-failed",
            severity: Severity::Warning,
            marks: &[],
            what: "The manager selector did not do its work",
            why: "Managers were taken at random instead.",
            remedy: "Its traceback is in the log.",
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
            why: "More may have come than managers took, or the executor may not have taken \
                  results.",
            remedy: "More workers would help, or a larger --max-queued-bytes.",
        },
        codes: &[&codes::INTAKE_PAUSED],
    },
    LineKind {
        kind: Kind {
            id: "no-manager-fits",
            severity: Severity::Warning,
            marks: &[],
            what: "Tasks asked for more than any manager had",
            why: "Such a task waits until a block comes that has it; each kind of them is told \
                  once.",
            remedy: "Ask for what a manager has (cores, memory, running_time_min, node), or for \
                     other blocks.",
        },
        codes: &[&codes::NO_MANAGER_FITS],
    },
    LineKind {
        kind: Kind {
            id: "bad-messages",
            severity: Severity::Warning,
            marks: &[],
            what: "Messages could not be read",
            why: "Who sent them may speak another release's words, or be no part of Parsl.",
            remedy: "Look at their senders in the log.",
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
