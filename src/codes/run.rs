//! Codes about the process: its start, its end, and another process in its place.

use tracing::Level;

use super::Code;
use super::Who::{Interchange, SubmitSide};

table! {
    STARTED: INFO, "started", Interchange,
        "The interchange starts. The line has its version and its machine.",
        "Nothing.";
    START_REFUSED: ERROR, "start-refused", Interchange,
        "The interchange refuses to start, for the reason behind the colon. `parsl.load()` raises \
         with the same text.",
        "Do as the reason says. `htex-interchange doctor CONFIG.py` checks a configuration before \
         the next start.";
    REFUSAL_DELIVERED: INFO, "refusal-delivered", SubmitSide,
        "The submit side has received the reason of a refused start.",
        "Nothing.";
    REFUSAL_UNDELIVERED: WARN, "refusal-undelivered", SubmitSide,
        "The submit side has not received the reason of a refused start: `parsl.load()` waits \
         until its own time limit, and then raises without the reason.",
        "The reason stands in the line above. If the submit side cannot be reached, look at the \
         address and at the certificate directory.";
    LOG_CONFIG_REPLACED: WARN, "log-config-replaced", SubmitSide,
        "Python alone could run the log configuration, or use its line format. The default is in \
         its place.",
        "Use FileLogging or JSONLogging with a format that Python's logging accepts, or accept \
         the default log.";
    DESCRIPTOR_LIMIT: WARN, "descriptor-limit", Interchange,
        "The limit of open descriptors could not be raised to the hard limit. Each manager needs \
         one.",
        "Raise the limit (`ulimit -n`) where Parsl is started.";
    MEMORY_LIMITED: WARN, "memory-limited", Interchange,
        "The address space of the interchange is limited where Parsl is started. A task or a \
         result that is larger than what is left ends the connection that brings it, or the \
         process.",
        "Raise the limit (`ulimit -v unlimited`) where Parsl is started, or pass large data by \
         files.";
    SUSPENDED: WARN, "suspended", Interchange,
        "The process did not run for a time: it was stopped (SIGSTOP, a suspended machine, a \
         stalled disk under swap) or got no processor. This time does not count against managers.",
        "If nobody stopped it: the machine is overloaded, or short of memory.";
    VERSIONS_FOUND: INFO, "versions-found", SubmitSide,
        "The version of Python or of Parsl on the submit side, and how it was found.",
        "Nothing.";
    PARSL_NEWER: WARN, "parsl-newer", SubmitSide,
        "The submit side's Parsl is newer than the newest release that was tested. It is served \
         as that one is, unless the line says otherwise.",
        "Install a newer htex-interchange, or have Parsl's own interchange serve \
         (`--newer-parsl stock`).";
    PARSL_UNKNOWN: WARN, "parsl-unknown", SubmitSide,
        "The release of the submit side's Parsl could not be found, so `--newer-parsl` has no \
         effect: this interchange serves.",
        "Nothing, if the release is one of those that README lists.";
    HANDED_OVER: WARN, "handed-over", SubmitSide,
        "Parsl is newer than the newest release that was tested, and its own interchange serves \
         from here on (`--newer-parsl stock`).",
        "Nothing. A newer htex-interchange may know this release.";
    HAND_OVER_FAILED: WARN, "hand-over-failed", SubmitSide,
        "Parsl's own interchange could not be started, so this one serves.",
        "Do as the error behind the colon says, or drop `--newer-parsl stock`.";
    EXITING: INFO, "exiting", Interchange,
        "A signal ends the interchange, as Parsl does it at the end of a run. The line counts the \
         tasks that have no answer.",
        "Nothing, if the run was over. Tasks without an answer: see tasks-unanswered.";
    SUBMIT_SIDE_GONE: INFO, "submit-side-gone", SubmitSide,
        "The submit process has ended without ending the interchange. Managers are sent away, and \
         the interchange ends.",
        "See how the program ended: an exception, a signal, memory that ran out.";
    INTERNAL_ERROR: ERROR, "internal-error", Interchange,
        "The interchange has met an error of its own and ends. Every future fails with the reason, \
         unless another process goes on (`--survive`).",
        "Report it, with the log.";
    KEEPER_UNAVAILABLE: WARN, "keeper-unavailable", Interchange,
        "The second process, which watches this one, could not be started. If this process is \
         killed, the executor does not hear of it, and futures wait for ever.",
        "Do as the error behind the colon says; it is often a limit of processes (`ulimit -u`).";
    KEEPER_GONE: ERROR, "keeper-gone", Interchange,
        "The process that watches this one has ended, and this one ends too. Every future fails \
         with the reason.",
        "Somebody or the kernel killed it: `dmesg` has what the kernel did.";
    INTERCHANGE_KILLED: ERROR, "interchange-killed", Interchange,
        "The interchange's process was killed or broke off. Written by the process that watches \
         it. Every task without a result fails, and managers are sent away, unless another process \
         goes on (`--survive`).",
        "`dmesg` tells of memory that ran out. Report any other signal, with the log.";
    LOSS_DELIVERED: INFO, "loss-delivered", Interchange,
        "The executor has received the news that its interchange has ended.",
        "Nothing.";
    LOSS_UNDELIVERED: WARN, "loss-undelivered", SubmitSide,
        "The executor or managers could not be reached with the news that the interchange has \
         ended. Futures may wait for ever, and managers end by their own time limit.",
        "End the run by hand if it does not end by itself.";
    RESTARTED: WARN, "restarted", Interchange,
        "The interchange's process ended, and another one goes on in its place (`--survive`). \
         Tasks and managers go on. A result that was on its way at that moment may be lost: its \
         task fails with ResultLost or ManagerLost.",
        "`dmesg` tells of memory that ran out. Report an internal error, with the log.";
    RESTART_FAILED: ERROR, "restart-failed", Interchange,
        "A process that was to go on in the place of the interchange could not, for the reason \
         behind the colon.",
        "Do as the reason says. Every future fails, unless another attempt succeeds.";
    TAKEN_OVER: INFO, "taken-over", Interchange,
        "What a restarted interchange has taken over: managers, tasks in flight, queued tasks.",
        "Nothing.";
    SURVIVE_ON: INFO, "survive-on", Interchange,
        "If this process is killed, another one takes over (`--survive`).",
        "Nothing.";
    SURVIVE_OFF: WARN, "survive-off", Interchange,
        "`--survive` has no effect, or none from here on, for the reason in the line. If this \
         process is killed, tasks without a result fail.",
        "Do as the reason says; the run itself goes on.";
    JOURNAL_UNREADABLE: WARN, "journal-unreadable", Interchange,
        "After a restart, what was kept of a manager could not be read. The manager registers \
         again, or counts as lost.",
        "Report it, with the log.";
    LINES_LEFT_OUT: WARN, "lines-left-out", Interchange,
        "More lines of one kind came than the log takes. The first ones stand above; this line \
         counts the rest.",
        "See the code of the lines above.";
}
