//! Why a batch job, a manager or a worker ended, judged by messages that batch systems, the kernel
//! and Python left in its files. Tasks write to the same files, so such a message alone does not
//! prove a cause.

use std::path::Path;

use super::kind::Kind;
use super::log::{shown, shown_near_end};
use super::parsl_log::ParslLog;
use crate::shared::finding::{Finding, Severity};

/// Maximum number of lines shown for one cause.
const SHOWN_MAX: usize = 3;
const GPU_MEMORY: &str = "out-of-gpu-memory";
const HELD: &str = "job-held";
const PREEMPTED: &str = "preempted";
/// How shells report a killed process, after its process id; in lower case.
const KILLED: &str = " killed  ";
const GPU_WORDS: [&str; 7] = ["gpu", "hip", "nccl", "rccl", "rocm", "xpu", "vram"];
/// Codes of Condor's events that change the state of a job: submitted, executing, evicted,
/// terminated, aborted, held, released.
const SHAPING_EVENTS: [&str; 7] = ["000", "001", "004", "005", "009", "012", "013"];

/// The source of a message about a job's end, recognized by the form of its lines.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaker {
    /// Slurm's daemon on a node, or srun.
    Slurm,
    /// Slurm's daemon or srun, in a message about a cancelled job.
    SlurmAtEnd,
    Pbs,
    Lsf,
}

struct Cause {
    /// The kind of finding. Its marks are in lower case, and count in any program's line.
    kind: Kind,
    /// Sentences of batch systems, in lower case.
    said: &'static [(Speaker, &'static str)],
}

const CAUSES: [Cause; 8] = [
    Cause {
        kind: Kind {
            id: "out-of-gpu-memory",
            severity: Severity::Warning,
            marks: &[
                "out of memory",
                "outofmemory",
                "out of device memory",
                "memoryallocation",
                "memory allocation failure",
            ],
            what: "The memory of a GPU ran out.",
            why: "",
            remedy: "Let fewer workers share a GPU (available_accelerators), or let each task use \
                     less of its memory. Limits of the node's own memory do not matter here.",
        },
        said: &[],
    },
    Cause {
        kind: Kind {
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
                "over memory limit",
                "memory usage exceeded",
            ],
            what: "Memory ran out, or a memory limit (the batch job's, ulimit -v) was reached.",
            why: "",
            remedy: "Request more memory, or let fewer workers share it (max_workers_per_node, \
                     mem_per_worker).",
        },
        said: &[
            (Speaker::Slurm, "oom killed"),
            (Speaker::Slurm, "exceeded memory limit"),
            (Speaker::Slurm, "exceeded step memory limit"),
            (Speaker::Slurm, "exceeded job memory limit"),
            (Speaker::Pbs, "job killed: mem"),
            (Speaker::Pbs, "job killed: vmem"),
            (Speaker::Lsf, "term_memlimit"),
        ],
    },
    Cause {
        kind: Kind {
            id: "time-limit",
            severity: Severity::Warning,
            marks: &["exceeded hard wallclock time", "walltime limit exceeded"],
            what: "The batch system ended a block at its time limit.",
            why: "",
            remedy: "Tasks of a block that ends are lost: request a longer walltime, set \
                     drain_period, or let Parsl retry them (retries).",
        },
        said: &[
            (Speaker::SlurmAtEnd, "due to time limit"),
            (Speaker::Pbs, "job killed: walltime"),
            (Speaker::Lsf, "term_runlimit"),
        ],
    },
    Cause {
        kind: Kind {
            id: "preempted",
            severity: Severity::Warning,
            marks: &[],
            what: "The batch system took a block's nodes away for other jobs.",
            why: "",
            remedy: "With Config(retries=1), Parsl would run its tasks again. Another queue or \
                     partition may not preempt jobs.",
        },
        said: &[
            (Speaker::SlurmAtEnd, "due to preemption"),
            (Speaker::Lsf, "term_preempt"),
        ],
    },
    Cause {
        kind: Kind {
            id: "node-failed",
            severity: Severity::Warning,
            marks: &[],
            what: "The batch system ended a block because one of its nodes failed.",
            why: "",
            remedy: "With Config(retries=1), Parsl would run its tasks again.",
        },
        said: &[
            (Speaker::Slurm, "error: node failure on "),
            (Speaker::SlurmAtEnd, "due to node fail"),
        ],
    },
    Cause {
        kind: Kind {
            id: "job-held",
            severity: Severity::Problem,
            marks: &[],
            what: "The batch system holds a block's job.",
            why: "",
            remedy: "`condor_q -hold` shows why.",
        },
        said: &[],
    },
    Cause {
        kind: Kind {
            id: "disk-was-full",
            severity: Severity::Problem,
            marks: &["no space left on device", "disk quota exceeded"],
            what: "A disk was full, or a quota was used up.",
            why: "",
            remedy: "Free some space there. Files that were being written are incomplete.",
        },
        said: &[],
    },
    Cause {
        kind: Kind {
            id: "killed",
            severity: Severity::Warning,
            marks: &[
                KILLED,
                "signal 9 (killed)",
                "exit status 137",
                "exit code 137",
            ],
            what: "A process of a block was killed (SIGKILL).",
            why: "",
            remedy: "The kernel does so when memory runs out, the batch system at its limits, and \
                     users by hand. The node's log (dmesg) and the batch system's accounting show \
                     which of them did.",
        },
        said: &[],
    },
];
/// Evidence, apart from words in files, that something ended. It decides how much a line in a file
/// proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Nothing,
    /// A block failed, or a manager or a worker was lost. But a task may have written the line.
    Something,
    /// No manager registered, so that no task has written anything.
    BeforeTasks,
}

impl Ended {
    /// Derives the evidence from the executor's findings and from parsl.log.
    pub(super) fn of(found: &[Finding], parsl: &ParslLog) -> Self {
        let has = |id| found.iter().any(|finding| finding.id == id);
        if has("never-registered") {
            return Self::BeforeTasks;
        }
        let is_told = ["manager-lost", "blocks-failed"].into_iter().any(has);
        match is_told || parsl.has_lost_workers() || parsl.bad_state().is_some() {
            true => Self::Something,
            false => Self::Nothing,
        }
    }
}

/// Lines that show one cause.
#[derive(Debug, Default)]
struct Heard {
    by_batch_system: Vec<String>,
    by_anyone: Vec<String>,
}

/// The causes that files show, each with its lines.
#[derive(Debug, Default)]
pub(super) struct Causes {
    found: [Heard; CAUSES.len()],
    /// Whether a job was still held at the end of its log.
    is_held: bool,
}

impl Causes {
    /// Searches a file's last lines for causes. `above`: the number of lines before them, if known.
    pub(super) fn hear(&mut self, path: &Path, text: &str, above: Option<usize>) {
        for (line, place) in text.lines().zip(0..) {
            let small = line.to_lowercase();
            let speaker = Speaker::of(&small);
            let Some(cause) = CAUSES.iter().position(|cause| cause.is_in(&small, speaker)) else {
                continue;
            };
            let heard = &mut self.found[cause];
            let lines = match speaker {
                Some(_) => &mut heard.by_batch_system,
                None => &mut heard.by_anyone,
            };
            lines.push(placed(path, line, place, above));
        }
    }

    /// Searches Condor's log of a job. The last event decides what became of the job.
    pub(super) fn hear_job_log(&mut self, path: &Path, text: &str, above: Option<usize>) {
        let lines: Vec<(usize, &str)> = text.lines().enumerate().collect();
        let is_event = |line: &str| event(line).is_some_and(|code| SHAPING_EVENTS.contains(&code));
        let mut events = lines.iter().filter(|(_, line)| is_event(line)).peekable();
        while let Some((place, line)) = events.next() {
            let next = events.peek().and_then(|(_, next)| event(next));
            let id = match (event(line), next) {
                (Some("012"), None | Some("009")) => HELD,
                // Condor also evicts a job that it is about to hold or remove: this is no
                // preemption.
                (Some("004"), next) if !matches!(next, Some("009" | "012")) => PREEMPTED,
                _ => continue,
            };
            self.is_held |= id == HELD && next.is_none();
            self.push(id, placed(path, line, *place, above));
            let reasons = lines[place + 1..]
                .iter()
                .take_while(|(_, line)| line.starts_with([' ', '\t']));
            for (nth, (place, line)) in reasons.enumerate() {
                let shown = placed(path, line, *place, above);
                let small = line.to_lowercase();
                if let Some(cause) = CAUSES.iter().find(|cause| cause.is_in(&small, None)) {
                    self.push(cause.kind.id, shown.clone());
                }
                if nth == 0 {
                    self.push(id, shown);
                }
            }
        }
    }

    pub(super) fn are_none(&self) -> bool {
        self.found.iter().all(Heard::is_none)
    }

    pub(super) fn findings(&self, ended: Ended) -> Vec<Finding> {
        let told = CAUSES.iter().zip(&self.found);
        let mut found: Vec<Finding> = told
            .filter_map(|(cause, heard)| heard.finding(&cause.kind, ended))
            .collect();
        for held in found.iter_mut().filter(|found| found.id == HELD) {
            if !self.is_held {
                "The batch system held a block's job until it was removed."
                    .clone_into(&mut held.what);
                "`condor_history -long JOB` shows why.".clone_into(&mut held.remedy);
            }
        }
        found
    }

    /// Returns what to do about memory that ran out, a node's or a GPU's.
    pub(super) fn memory_remedy(&self) -> Option<&'static str> {
        let heard = CAUSES.iter().zip(&self.found);
        let mut found = heard.filter(|(_, heard)| !heard.is_none());
        let is_of_memory = |cause: &Cause| cause.kind.id.ends_with("-memory");
        found.find_map(|(cause, _)| is_of_memory(cause).then_some(cause.kind.remedy))
    }

    fn push(&mut self, id: &str, line: String) {
        if let Some(place) = CAUSES.iter().position(|cause| cause.kind.id == id) {
            self.found[place].by_batch_system.push(line);
        }
    }
}

impl Heard {
    fn is_none(&self) -> bool {
        self.by_anyone.is_empty() && self.by_batch_system.is_empty()
    }

    fn finding(&self, kind: &Kind, ended: Ended) -> Option<Finding> {
        let is_said = !self.by_batch_system.is_empty();
        let lines = match is_said {
            true => &self.by_batch_system,
            false => &self.by_anyone,
        };
        lines.last()?;
        let finding = match ended {
            // A held job has not ended, so no other evidence is needed.
            _ if kind.id == HELD => kind.finding(kind.what),
            Ended::BeforeTasks => kind.finding(kind.what),
            Ended::Something if is_said => kind.finding(kind.what),
            Ended::Something => Finding::new(
                kind.id,
                kind.severity.max(Severity::Warning),
                format!(
                    "According to a message in a block's files: {}",
                    lowered(kind.what)
                ),
            )
            .because(
                "Tasks can write such messages, too, and nothing shows that this ended a block.",
            )
            .remedy(kind.remedy),
            Ended::Nothing => Finding::note(
                kind.id,
                format!(
                    "According to a message in a block's files: {}",
                    lowered(kind.what)
                ),
            )
            .because(
                "Nothing shows that this ended anything: no manager was lost. Tasks can write such \
                 messages, too.",
            ),
        };
        let last = &lines[lines.len().saturating_sub(SHOWN_MAX)..];
        Some(last.iter().fold(finding, Finding::shown_by))
    }
}

impl Cause {
    /// Whether `line`, which is in lower case, shows this cause.
    fn is_in(&self, line: &str, speaker: Option<Speaker>) -> bool {
        let said = self.said.iter();
        let is_said = said
            .filter(|(by, _)| speaker == Some(*by))
            .any(|(_, words)| line.contains(words));
        let has = |mark: &&str| match *mark {
            KILLED => shell_tells_of_kill(line),
            mark if self.kind.id == GPU_MEMORY => gpu_words(line).contains(mark),
            mark => line.contains(mark),
        };
        is_said || self.kind.marks.iter().any(has)
    }
}

impl Speaker {
    /// Recognizes the source of a line, which is in lower case.
    fn of(line: &str) -> Option<Self> {
        let line = line.trim_start();
        // `srun --label` prefixes a line with the task's number.
        let line = match line.split_once(": ") {
            Some((label, rest)) if label.bytes().all(|byte| byte.is_ascii_digit()) => rest,
            _ => line,
        };
        // Since 2023, slurmstepd prefixes a line with the time instead of its own name.
        let has_moment = line.starts_with("[20") && line.contains("] error: ");
        let is_slurm = line.starts_with("slurmstepd") || line.starts_with("srun: ") || has_moment;
        let is_end = line.contains(" cancelled at ")
            && (line.contains("*** job ") || line.contains("*** step "));
        match line {
            _ if is_slurm && is_end => Some(Self::SlurmAtEnd),
            _ if is_slurm => Some(Self::Slurm),
            _ if line.starts_with("=>> pbs: ") => Some(Self::Pbs),
            _ if line.starts_with("term_") => Some(Self::Lsf),
            _ => None,
        }
    }
}

/// Whether a shell reports a killed process: `x.sh: line 3: 4711 Killed                  python`.
fn shell_tells_of_kill(line: &str) -> bool {
    line.match_indices(KILLED).any(|(place, _)| {
        let pid = line[..place].rsplit(' ').next().unwrap_or_default();
        !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Returns the line, with blanks for `_` and `-`, if it is about a GPU; otherwise an empty text.
fn gpu_words(line: &str) -> String {
    let line = line.replace(['_', '-'], " ");
    let mut words = line.split(|one: char| !one.is_alphanumeric());
    let is_gpu = words.any(|word| {
        let beginnings = ["cuda", "cupy", "cudnn", "cublas", "hiperror"];
        GPU_WORDS.contains(&word) || beginnings.iter().any(|begin| word.starts_with(begin))
    });
    if is_gpu { line } else { String::new() }
}

/// Returns the event's code if the line begins one: `012 (118907.000.000) 2026-11-30 08:02:01 Job
/// was held.`
fn event(line: &str) -> Option<&str> {
    let (code, _) = line.split_once(" (")?;
    let is_code = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit());
    is_code.then_some(code)
}

fn placed(path: &Path, line: &str, place: usize, above: Option<usize>) -> String {
    match above {
        Some(above) => shown(path, above + place + 1, line),
        None => shown_near_end(path, line),
    }
}

/// Lowers the first letter of a sentence, so that the sentence can follow a colon.
fn lowered(sentence: &str) -> String {
    let mut letters = sentence.chars();
    let first = letters.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::run::parsl_log::record;

    fn heard(text: &str, ended: Ended) -> Vec<Finding> {
        let mut causes = Causes::default();
        causes.hear(Path::new("e"), text, Some(0));
        causes.findings(ended)
    }

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
            (
                "0: slurmstepd: error: *** STEP 7.0 ON n CANCELLED AT x DUE TO NODE FAILURE",
                "node-failed",
            ),
            (
                "[2026-11-30T05:31:53.1] error: *** JOB 7 ON n CANCELLED AT x DUE TO TIME LIMIT",
                "time-limit",
            ),
            ("srun: error: n1: task 0: Out Of Memory", "out-of-memory"),
            ("RuntimeError: CUDA out of memory. Tried to", GPU_MEMORY),
            ("torch.OutOfMemoryError: HIP out of memory.", GPU_MEMORY),
            ("CUDA_ERROR_OUT_OF_MEMORY", GPU_MEMORY),
            ("this ship ran out of memory", "out-of-memory"),
        ];
        for (line, id) in expected {
            let found = heard(&format!("first\n{line}\n"), Ended::BeforeTasks);
            assert_eq!(found.len(), 1, "{line}");
            assert_eq!(
                (found[0].id, found[0].evidence[0].as_str()),
                (id, &*shown(Path::new("e"), 2, line))
            );
        }
        for line in [
            "slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT x ***\nTerminated",
            "slurmstepd: error: x Killed due to node failure, of my own program",
            "my program was not cancelled at 7 DUE TO TIME LIMIT",
            "the enemy was killed  again",
            "the ship ran out of CUDA",
        ] {
            assert_eq!(heard(line, Ended::BeforeTasks), [], "{line}");
        }
    }

    #[test]
    fn words_that_a_task_may_have_written_are_no_problem() {
        let own = "retrying after std::bad_alloc";
        let said = "slurmstepd: error: Detected 1 oom_kill event in StepId=7.0.";
        for (text, ended, severity) in [
            (own, Ended::BeforeTasks, Severity::Problem),
            (own, Ended::Something, Severity::Warning),
            (own, Ended::Nothing, Severity::Note),
            (said, Ended::BeforeTasks, Severity::Problem),
            (said, Ended::Something, Severity::Problem),
            (said, Ended::Nothing, Severity::Note),
        ] {
            assert_eq!(heard(text, ended)[0].severity, severity, "{text} {ended:?}");
        }
        // Only the batch system's message is evidence, not a task's lines beside it.
        let found = heard(&format!("{said}\n{own}\n{own}"), Ended::Something);
        assert_eq!(found[0].evidence, [shown(Path::new("e"), 1, said)]);
    }

    #[test]
    fn something_has_ended_where_a_finding_or_parsl_says_so() {
        let parsl = ParslLog::default();
        let of = |id| Ended::of(&[Finding::warning(id, "x")], &parsl);
        assert_eq!(of("tasks-unanswered"), Ended::Nothing);
        assert_eq!(of("blocks-failed"), Ended::Something);
        assert_eq!(of("manager-lost"), Ended::Something);
        assert_eq!(of("never-registered"), Ended::BeforeTasks);
        for (message, ended) in [
            (
                "Task 0 try 0 failed with exception of type WorkerLost",
                Ended::Something,
            ),
            (
                "Task 0 try 0 failed with exception of type ValueError",
                Ended::Nothing,
            ),
            ("Setting bad state due to exception", Ended::Something),
        ] {
            let log = ParslLog::from(&record("ERROR", message));
            assert_eq!(Ended::of(&[], &log), ended, "{message}");
        }
    }

    #[test]
    fn a_job_is_held_if_its_last_event_says_so() {
        let told = |events: &[&str]| {
            let mut causes = Causes::default();
            let text: Vec<String> = events
                .iter()
                .map(|event| {
                    format!("{event} (7.000.000) 11/30 Job\n\twhy {event}\n\tCode 1\n...\n")
                })
                .collect();
            causes.hear_job_log(Path::new("e"), &text.concat(), Some(0));
            causes.findings(Ended::Nothing)
        };
        for events in [
            &["000", "001", "012", "013", "001", "005"][..],
            &["012", "013"],
            &["012", "001"],
            &["012", "005"],
            &["004", "009"],
        ] {
            assert_eq!(told(events), [], "{events:?}");
        }
        let held = told(&["000", "001", "006", "004", "012", "028"]);
        assert_eq!((held.len(), held[0].id), (1, HELD));
        assert_eq!(held[0].severity, Severity::Problem);
        assert!(
            held[0].evidence[1].ends_with("line 18: why 012"),
            "{held:?}"
        );
        assert!(held[0].remedy.contains("condor_q"));
        let removed = told(&["012", "009"]);
        assert!(
            removed[0].what.contains("until it was removed"),
            "{removed:?}"
        );
        assert!(removed[0].remedy.contains("condor_history"));
        assert_eq!(told(&["001", "004", "001"])[0].id, PREEMPTED);
    }

    #[test]
    fn the_reason_of_a_held_job_is_a_cause_too() {
        let mut causes = Causes::default();
        let text = "012 (7.000.000) 11/30 Job was held.\n\tJob has gone over memory limit of 2\n";
        causes.hear_job_log(Path::new("e"), text, None);
        let ids: Vec<&str> = causes
            .findings(Ended::BeforeTasks)
            .iter()
            .map(|one| one.id)
            .collect();
        assert_eq!(ids, ["out-of-memory", HELD]);
    }
}
