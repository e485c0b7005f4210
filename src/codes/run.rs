//! Codes about the process: its start, its end, and another process in its place.

use tracing::Level;

use super::Code;
use super::Who::{Interchange, SubmitSide};

table! {
    STARTED: INFO, "started", Interchange,
        "The interchange starts. The line shows its version and its machine.",
        "Nothing.";
    START_REFUSED: ERROR, "start-refused", Interchange,
        "The interchange refuses to start, for the reason behind the colon. `parsl.load()` raises \
         with the same text.",
        "Fix the cause. `htex-interchange doctor CONFIG.py` checks a configuration before the \
         next start.";
    REFUSAL_DELIVERED: INFO, "refusal-delivered", SubmitSide,
        "The submit side has received the reason why the interchange refused to start.",
        "Nothing.";
    REFUSAL_UNDELIVERED: WARN, "refusal-undelivered", SubmitSide,
        "The submit side has not received the reason why the interchange refused to start. \
         `parsl.load()` waits until its own time limit and then raises without the reason.",
        "The line above shows the reason. If the submit side cannot be reached, check the address \
         and the certificate directory.";
    LOG_CONFIG_REPLACED: WARN, "log-config-replaced", SubmitSide,
        "The log configuration, or its line format, needs Python. The interchange uses the \
         default log instead.",
        "Use FileLogging or JSONLogging with a format that Python's logging accepts, or accept \
         the default log.";
    DESCRIPTOR_LIMIT: WARN, "descriptor-limit", Interchange,
        "The interchange could not raise its limit of open descriptors to the hard limit. Each \
         manager needs one descriptor.",
        "Raise the limit (`ulimit -n`) where Parsl is started.";
    MEMORY_LIMITED: WARN, "memory-limited", Interchange,
        "The address space of the interchange is limited where Parsl is started. A task or result \
         larger than the remaining space breaks its connection or crashes the process.",
        "Raise the limit (`ulimit -v unlimited`) where Parsl is started, or pass large data by \
         files.";
    SUSPENDED: WARN, "suspended", Interchange,
        "The process did not run for a while: it was stopped (SIGSTOP, a suspended machine, a \
         stalled disk under swap) or got no processor. This time does not count against managers.",
        "If no one stopped it, the machine is overloaded or short of memory.";
    VERSIONS_FOUND: INFO, "versions-found", SubmitSide,
        "The line shows the submit side's version of Python or Parsl, and how the interchange \
         determined it.",
        "Nothing.";
    PARSL_NEWER: WARN, "parsl-newer", SubmitSide,
        "The submit side's Parsl is newer than the newest tested release. The interchange treats \
         it like that release, unless the line says otherwise.",
        "Install a newer htex-interchange, or have Parsl's own interchange serve (`--newer-parsl \
         stock`).";
    PARSL_UNKNOWN: WARN, "parsl-unknown", SubmitSide,
        "The interchange could not determine the release of the submit side's Parsl, so \
         `--newer-parsl` has no effect.",
        "Nothing, if README lists the release.";
    HANDED_OVER: WARN, "handed-over", SubmitSide,
        "Parsl is newer than the newest tested release, so Parsl's own interchange serves this \
         run (`--newer-parsl stock`).",
        "Nothing. A newer htex-interchange may support this release.";
    HAND_OVER_FAILED: WARN, "hand-over-failed", SubmitSide,
        "The interchange could not start Parsl's own interchange, so it serves the run itself.",
        "Follow the error behind the colon, or remove `--newer-parsl stock`.";
    EXITING: INFO, "exiting", Interchange,
        "A signal ends the interchange, as Parsl does at the end of a run. The line shows how \
         many tasks have no result.",
        "Nothing, if the run was complete. For tasks without a result see tasks-unanswered.";
    SUBMIT_SIDE_GONE: INFO, "submit-side-gone", SubmitSide,
        "The submit process ended without stopping the interchange. The interchange tells \
         managers to exit, and then exits.",
        "Find out how the program ended: an exception, a signal, memory that ran out.";
    INTERNAL_ERROR: ERROR, "internal-error", Interchange,
        "The interchange stops because of an internal error. Every future fails with the reason, \
         unless the interchange restarts (`--survive`).",
        "Report it, with the log.";
    KEEPER_UNAVAILABLE: WARN, "keeper-unavailable", Interchange,
        "The interchange could not start its keeper, the second process that watches it. If the \
         interchange is killed, the executor gets no report, and its futures wait for ever.",
        "Follow the error behind the colon; often it is a limit on processes (`ulimit -u`).";
    KEEPER_GONE: ERROR, "keeper-gone", Interchange,
        "The keeper, the process that watches the interchange, has ended, so the interchange \
         stops too. Every future fails with the reason.",
        "A user or the kernel killed the keeper: check `dmesg`.";
    INTERCHANGE_KILLED: ERROR, "interchange-killed", Interchange,
        "The interchange's process was killed or crashed. Its keeper, the process that watches \
         it, wrote this line. Unless the interchange restarts (`--survive`), every task without a \
         result fails and managers exit.",
        "`dmesg` shows whether the kernel killed it because memory ran out. Report any other \
         signal, with the log.";
    LOSS_DELIVERED: INFO, "loss-delivered", Interchange,
        "The executor has received the report that its interchange ended.",
        "Nothing.";
    LOSS_UNDELIVERED: WARN, "loss-undelivered", SubmitSide,
        "The report that the interchange ended did not reach the executor or some managers. \
         Futures may wait for ever, and managers exit after their own time limit.",
        "If the run does not end, end it by hand.";
    RESTARTED: WARN, "restarted", Interchange,
        "The interchange's process ended, and a new process has replaced it (`--survive`). Tasks \
         and managers are kept. A result in transit at that moment may be lost: its task then \
         fails with ResultLost or ManagerLost.",
        "`dmesg` shows whether memory ran out. Report an internal error, with the log.";
    RESTART_FAILED: ERROR, "restart-failed", Interchange,
        "The interchange could not restart, for the reason behind the colon.",
        "Fix the cause. Every future fails, unless another attempt succeeds.";
    TAKEN_OVER: INFO, "taken-over", Interchange,
        "A restarted interchange has recovered these managers, tasks in flight and queued tasks.",
        "Nothing.";
    SURVIVE_ON: INFO, "survive-on", Interchange,
        "If this process is killed, a new process replaces it (`--survive`).",
        "Nothing.";
    SURVIVE_OFF: WARN, "survive-off", Interchange,
        "`--survive` has no effect from now on, for the reason in the line. If this process is \
         killed, tasks without a result fail.",
        "Fix the cause before the next run; this run continues.";
    JOURNAL_UNREADABLE: WARN, "journal-unreadable", Interchange,
        "After a restart, the interchange could not read the record of a manager. The manager \
         registers again, or counts as lost.",
        "Report it, with the log.";
    LINES_LEFT_OUT: WARN, "lines-left-out", Interchange,
        "The log rate of one kind of line was exceeded. The first lines are above; this line \
         counts the rest.",
        "See the code of the lines above.";
}
