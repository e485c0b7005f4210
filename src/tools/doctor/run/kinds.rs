//! Sentences of an interchange's log, and what each of them means.

use super::kind::Kind;
use super::parsl_log::REFUSAL;
use crate::shared::endings::{KILLED, OWN_FAULT, RESTARTED};
use crate::shared::finding::Severity;

/// The number of such lines stands behind what is the case.
pub(super) const KINDS: [Kind; 14] = [
    Kind {
        id: "refused-start",
        severity: Severity::Problem,
        marks: &[REFUSAL],
        what: "The interchange refused to start",
        why: "parsl.load() raised with this reason.",
        remedy: "`htex-interchange doctor CONFIG.py` tells what to change.",
    },
    Kind {
        id: "version-mismatch",
        severity: Severity::Problem,
        marks: &["has incompatible version info"],
        what: "A manager had other versions than the submit side",
        why: "As in Parsl, one such manager ends the run: every task fails with VersionMismatch.",
        remedy: "Let the provider's worker_init enter an environment with the same Python and \
                 Parsl.",
    },
    Kind {
        id: "own-fault",
        severity: Severity::Problem,
        marks: &[OWN_FAULT],
        what: "The interchange ended by a fault of its own",
        why: "Every task failed with the reason.",
        remedy: "Please report it, with the log.",
    },
    Kind {
        id: "interchange-killed",
        severity: Severity::Problem,
        marks: &KILLED,
        what: "The interchange was killed",
        why: "Every task without a result failed, and the managers were told to exit.",
        remedy: "The kernel's log (dmesg) tells of memory that ran out. Report other signals.",
    },
    Kind {
        id: "restarted",
        severity: Severity::Note,
        marks: &[RESTARTED],
        what: "The interchange was restarted: its process ended, and another one went on",
        why: "Tasks and managers went on. Only a result that was on its way at that moment may be \
              lost: its task failed with ResultLost, or with ManagerLost.",
        remedy: "The kernel's log (dmesg) tells of memory that ran out. Report other signals, and \
                 a fault of its own.",
    },
    Kind {
        id: "descriptors-ran-out",
        severity: Severity::Problem,
        marks: &["because descriptors run out"],
        what: "Managers were not let in, because descriptors ran out",
        why: "Each manager takes one; those that were connected were served.",
        remedy: "Raise the hard limit (ulimit -Hn) where the run is started, or ask for fewer \
                 blocks.",
    },
    Kind {
        id: "descriptors-scarce",
        severity: Severity::Warning,
        marks: &["descriptors are in use. Each manager needs one"],
        what: "Descriptors became scarce",
        why: "At 95 % of the limit no more managers are let in.",
        remedy: "Raise the hard limit (ulimit -Hn) where the run is started.",
    },
    Kind {
        id: "keys-refused",
        severity: Severity::Warning,
        marks: &["Handshake refused to "],
        what: "Peers were refused, whose key is not in the certificate directory",
        why: "They may be managers of another run, or of an earlier one, or strangers.",
        remedy: "If they should belong to this run: managers must read the very files of cert_dir.",
    },
    Kind {
        id: "handshakes-failed",
        severity: Severity::Warning,
        marks: &["Handshake failed with "],
        what: "Connections to the worker port failed",
        why: "Who speaks otherwise than the port (encrypted or not) is no manager of this run, or \
              has another server's key.",
        remedy: "Look at the addresses in the log.",
    },
    Kind {
        id: "suspended",
        severity: Severity::Warning,
        marks: &["This process did not run for "],
        what: "The interchange's process did not run for a time",
        why: "It may have been stopped (SIGSTOP, a suspended machine) or got no processor; no \
              manager is blamed for that time, and no task was moved in it.",
        remedy: "If nobody stopped it: the machine is overloaded, or its memory is.",
    },
    Kind {
        id: "selector-failed",
        severity: Severity::Warning,
        marks: &[
            "The manager selector failed",
            "The manager selector is not used any more",
            "The manager selector took too long",
            "The process of the manager selector has ended",
        ],
        what: "The manager selector did not do its work",
        why: "Managers were taken at random instead.",
        remedy: "Its traceback is in the log.",
    },
    Kind {
        id: "held-up",
        severity: Severity::Warning,
        marks: &["of unsent results are held: no more tasks are taken"],
        what: "Tasks waited in the submit process, because the interchange held too many bytes",
        why: "More may have come than managers took, or the executor may not have taken results.",
        remedy: "More workers would help, or a larger --max-queued-bytes.",
    },
    Kind {
        id: "no-manager-fits",
        severity: Severity::Warning,
        marks: &[
            " for a block whose managers can hold ",
            ", which runs others of the same affinity and cannot hold ",
        ],
        what: "Tasks asked for more than any manager had",
        why: "Such a task waits until a block comes that has it; each kind of them is told once.",
        remedy: "Ask for what a manager has (cores, memory, running_time_min, node), or for other \
                 blocks.",
    },
    Kind {
        id: "bad-messages",
        severity: Severity::Warning,
        marks: &[
            "Failed to read manager message",
            "Dropping a task message",
            "cannot be read and is failed",
            "cannot be passed on",
            "Failed to read a command",
        ],
        what: "Messages could not be read",
        why: "Who sent them may speak another release's words, or be no part of Parsl.",
        remedy: "Look at their senders in the log.",
    },
];
