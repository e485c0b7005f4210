//! Why a batch job, a manager or a worker ended, by the words that batch systems, the kernel and
//! Python leave in what it has written.

use std::path::Path;

use super::kind::Kind;
use super::log::shown;
use crate::shared::finding::{Finding, Severity};

/// Of one cause, so many lines are shown.
const SHOWN_MAX: usize = 3;

/// Their marks are in small letters.
const CAUSES: [Kind; 7] = [
    Kind {
        id: "out-of-memory",
        severity: Severity::Problem,
        marks: &[
            "oom-kill",
            "oom_kill",
            "out of memory",
            "out-of-memory",
            "memoryerror",
            "cannot allocate memory",
            "std::bad_alloc",
            "exceeded memory limit",
            "exceeded step memory limit",
            "exceeded job memory limit",
            "job killed: mem",
            "job killed: vmem",
            "term_memlimit",
            "memory usage exceeded",
        ],
        what: "Memory ran out, or a limit of it (the batch job's, ulimit -v) was reached.",
        why: "",
        remedy: "Ask for more memory, or let fewer workers share it (max_workers_per_node, \
                 mem_per_worker).",
    },
    Kind {
        id: "time-limit",
        severity: Severity::Warning,
        marks: &[
            "due to time limit",
            "job killed: walltime",
            "term_runlimit",
            "exceeded hard wallclock time",
            "walltime limit exceeded",
        ],
        what: "The batch system ended a block at its time limit.",
        why: "",
        remedy: "Tasks of a block that ends are lost: ask for a longer walltime, set drain_period, \
                 or let Parsl try again (retries).",
    },
    Kind {
        id: "preempted",
        severity: Severity::Warning,
        marks: &["due to preemption", "term_preempt", "job was evicted"],
        what: "The batch system took a block's nodes away for other jobs.",
        why: "",
        remedy: "Config(retries=1) would run its tasks again; another queue or partition may not \
                 preempt.",
    },
    Kind {
        id: "node-failed",
        severity: Severity::Warning,
        marks: &["due to node failure", "node_fail", "due to node fail"],
        what: "The batch system ended a block because a node of it failed.",
        why: "",
        remedy: "Config(retries=1) would run its tasks again.",
    },
    Kind {
        id: "job-held",
        severity: Severity::Problem,
        marks: &["job was held"],
        what: "The batch system holds a block's job.",
        why: "",
        remedy: "`condor_q -hold` tells why.",
    },
    Kind {
        id: "disk-was-full",
        severity: Severity::Problem,
        marks: &["no space left on device", "disk quota exceeded"],
        what: "A disk was full, or a quota used up.",
        why: "",
        remedy: "Make room there; what was being written is not whole.",
    },
    Kind {
        id: "killed",
        severity: Severity::Warning,
        marks: &[
            " killed  ",
            "signal 9 (killed)",
            "exit status 137",
            "exit code 137",
        ],
        what: "A process of a block was killed (SIGKILL).",
        why: "",
        remedy: "The kernel does that when memory runs out, the batch system at its limits, and \
                 people by hand: the node's log (dmesg) and the batch system's accounting tell \
                 which.",
    },
];

/// Lines that show causes, by cause.
#[derive(Debug, Default)]
pub(super) struct Causes {
    found: [Vec<String>; CAUSES.len()],
}

impl Causes {
    /// Looks through the last lines of a file. `above` is how many lines it has before them.
    pub(super) fn hear(&mut self, path: &Path, text: &str, above: Option<usize>) {
        for (line, place) in text.lines().zip(1..) {
            let small = line.to_lowercase();
            let is_of = |cause: &Kind| cause.marks.iter().any(|mark| small.contains(mark));
            let Some(place_of) = CAUSES.iter().position(is_of) else {
                continue;
            };
            self.found[place_of].push(match above {
                Some(above) => shown(path, above + place, line),
                None => format!("{}, near its end: {}", path.display(), line.trim()),
            });
        }
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        let told = CAUSES.iter().zip(&self.found);
        told.filter(|(_, lines)| !lines.is_empty())
            .map(|(cause, lines)| {
                let last = lines.iter().rev().take(SHOWN_MAX);
                last.fold(cause.finding(cause.what), |finding, line| {
                    finding.shown_by(line)
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_batch_systems_are_known_and_others_are_not() {
        let expected = [
            (
                "slurmstepd: error: Detected 1 oom_kill event in StepId=7.0.",
                "out-of-memory",
            ),
            ("std::bad_alloc", "out-of-memory"),
            (
                "OSError: [Errno 12] Cannot allocate memory",
                "out-of-memory",
            ),
            (
                "slurmstepd: *** JOB 7 ON n1 CANCELLED AT x DUE TO TIME LIMIT ***",
                "time-limit",
            ),
            (
                "=>> PBS: job killed: walltime 3610 exceeded limit 3600",
                "time-limit",
            ),
            (
                "TERM_RUNLIMIT: job killed after reaching LSF run time limit.",
                "time-limit",
            ),
            (
                "slurmstepd: *** JOB 7 CANCELLED AT x DUE TO PREEMPTION ***",
                "preempted",
            ),
            (
                "x.sh: line 3: 4711 Killed                  python",
                "killed",
            ),
            ("012 (7.0.0) 11/30 Job was held.", "job-held"),
        ];
        for (line, id) in expected {
            let mut causes = Causes::default();
            causes.hear(Path::new("e"), &format!("first\n{line}\n"), Some(0));
            let found = causes.findings();
            assert_eq!(found.len(), 1, "{line}");
            assert_eq!(
                (found[0].id, found[0].evidence[0].as_str()),
                (id, &*shown(Path::new("e"), 2, line))
            );
        }
        let mut causes = Causes::default();
        let usual = "slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT x ***\nTerminated\n";
        causes.hear(Path::new("e"), usual, Some(0));
        assert_eq!(causes.findings(), []);
    }
}
