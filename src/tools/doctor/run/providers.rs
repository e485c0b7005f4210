//! How Parsl's providers call the files of a block, from the releases of 2022 to those of 2026.

/// One provider, and what it writes beside a run's other scripts.
pub(super) struct Provider {
    pub(super) name: &'static str,
    /// Its file in Parsl, where the rules stand.
    pub(super) source: &'static str,
    /// What a script of it has, and others have not.
    mark: &'static str,
    /// Where it has the batch system put a block's standard error; none: elsewhere.
    pub(super) keeps_stderr: bool,
}

/// A first line that fits is the provider's: Torque's and PBS Pro's differ in what they select.
pub(super) const PROVIDERS: [Provider; 9] = [
    provider(
        "SlurmProvider",
        "providers/slurm/template.py",
        "#SBATCH --",
        true,
    ),
    provider(
        "PBSProProvider",
        "providers/pbspro/template.py",
        "#PBS -l select=",
        true,
    ),
    provider(
        "TorqueProvider",
        "providers/torque/template.py",
        "#PBS -l nodes=",
        true,
    ),
    provider("LSFProvider", "providers/lsf/template.py", "#BSUB -", true),
    provider(
        "GridEngineProvider",
        "providers/grid_engine/template.py",
        "#$ -S ",
        true,
    ),
    provider(
        "CondorProvider",
        "providers/condor/template.py",
        "universe   ",
        true,
    ),
    // Cobalt names them by its job's id, in the directory that qsub was called in.
    provider(
        "CobaltProvider",
        "providers/cobalt/template.py",
        "COBALT_NODEFILE",
        false,
    ),
    // Both streams in one file, on the machine that runs the block.
    provider("AdHocProvider", "providers/ad_hoc/ad_hoc.py", "", true),
    provider("LocalProvider", "providers/local/local.py", "", true),
];

/// They leave no file where a run has its own.
pub(super) const WITHOUT_FILES: [(&str, &str); 4] = [
    ("KubernetesProvider", "kubectl logs POD"),
    ("AWSProvider", "the instance's console"),
    ("GoogleCloudProvider", "the instance's console"),
    ("AzureProvider", "the instance's console"),
];

const fn provider(
    name: &'static str,
    source: &'static str,
    mark: &'static str,
    keeps_stderr: bool,
) -> Provider {
    Provider {
        name,
        source,
        mark,
        keeps_stderr,
    }
}

/// What one file of a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Script,
    Stderr,
    /// Batch systems tell there why they ended a job, if not in the other.
    Stdout,
    ExitStatus,
    /// Condor's log of a job.
    JobLog,
}

/// Behind a block's name; the longer one first where one ends in another.
const PARTS: [(&str, Part); 14] = [
    // torque, lsf, grid_engine, and slurm and pbspro until 2024: script_path + ".stderr".
    (".submit.stderr", Part::Stderr),
    (".submit.stdout", Part::Stdout),
    (".submit", Part::Script),
    // condor, and slurm and pbspro since 2024.
    (".stderr", Part::Stderr),
    (".stdout", Part::Stdout),
    // condor: what its submit file has executed.
    (".script", Part::Script),
    (".log", Part::JobLog),
    // local; ad_hoc has the second alone, for both streams.
    (".sh.err", Part::Stderr),
    (".sh.out", Part::Stdout),
    (".sh.ec", Part::ExitStatus),
    (".sh", Part::Script),
    // Of providers outside Parsl.
    (".err", Part::Stderr),
    (".out", Part::Stdout),
    // slurm and pbspro since 2024.
    ("", Part::Script),
];

/// Of which block a file is, by its name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Name<'a> {
    /// None until 2023-05, when names had only the provider's in them.
    pub(super) label: Option<&'a str>,
    /// The block's number, or when it was made.
    pub(super) block: &'a str,
    pub(super) part: Part,
}

impl<'a> Name<'a> {
    /// `parsl.LABEL.block-N.SECONDS.FRACTION` and what a provider puts around it; before,
    /// `parsl.PROVIDER.SECONDS.FRACTION`. None for other files.
    pub(super) fn of(file: &'a str) -> Option<Self> {
        let rest = file.strip_prefix("parsl.")?;
        let fits = |(end, part)| Some((timed(rest.strip_suffix(end)?)?, part));
        let ((named, moment), part) = PARTS.into_iter().find_map(fits)?;
        let (label, block) = match named.rsplit_once(".block-") {
            Some((label, number)) if is_number(number) => (Some(label), number),
            _ => (None, moment),
        };
        Some(Self { label, block, part })
    }

    /// Torque, Condor and Cobalt put another `parsl.` before the label.
    pub(super) fn is_of(&self, label: &str) -> bool {
        let own = |named: &str| named == label || named.strip_prefix("parsl.") == Some(label);
        self.label.is_none_or(own)
    }
}

/// Who wrote this script, called `file`.
pub(super) fn provider_of(
    file: &str,
    script: &str,
    has_exit_status: bool,
) -> Option<&'static Provider> {
    let marked = PROVIDERS
        .iter()
        .find(|provider| !provider.mark.is_empty() && script.contains(provider.mark));
    let name = match has_exit_status {
        true => "LocalProvider",
        false => "AdHocProvider",
    };
    let plain = PROVIDERS.iter().find(|provider| provider.name == name);
    marked.or(plain.filter(|_| file.ends_with(".sh")))
}

/// What stands before a time as Python's `time.time()` prints it, and the time.
fn timed(text: &str) -> Option<(&str, &str)> {
    let (before, fraction) = text.rsplit_once('.')?;
    let (named, seconds) = before.rsplit_once('.').unwrap_or(("", before));
    let is_time = seconds.len() >= 9 && is_number(seconds) && is_number(fraction);
    is_time.then(|| {
        (
            named,
            &text[text.len() - seconds.len() - fraction.len() - 1..],
        )
    })
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [(&str, Option<&str>, &str, Part); 11] = [
        (
            "parsl.htex.block-0.1796016713.92",
            Some("htex"),
            "0",
            Part::Script,
        ),
        (
            "parsl.htex.block-12.1796016713.92.submit",
            Some("htex"),
            "12",
            Part::Script,
        ),
        (
            "parsl.htex.block-0.1796016713.92.stderr",
            Some("htex"),
            "0",
            Part::Stderr,
        ),
        (
            "parsl.htex.block-0.1796016713.92.submit.stderr",
            Some("htex"),
            "0",
            Part::Stderr,
        ),
        (
            "parsl.htex.block-0.1796016713.92.sh.err",
            Some("htex"),
            "0",
            Part::Stderr,
        ),
        (
            "parsl.htex.block-0.1796016713.92.sh.ec",
            Some("htex"),
            "0",
            Part::ExitStatus,
        ),
        (
            "parsl.parsl.htex.block-1.1796016713.92.script",
            Some("parsl.htex"),
            "1",
            Part::Script,
        ),
        (
            "parsl.parsl.htex.block-1.1796016713.92.log",
            Some("parsl.htex"),
            "1",
            Part::JobLog,
        ),
        (
            "parsl.a.block-7.b-c.block-0.1796016713.92",
            Some("a.block-7.b-c"),
            "0",
            Part::Script,
        ),
        (
            "parsl.slurm.1676016713.92.submit",
            None,
            "1676016713.92",
            Part::Script,
        ),
        (
            "parsl.1676016713.92.submit.stderr",
            None,
            "1676016713.92",
            Part::Stderr,
        ),
    ];

    #[test]
    fn names_of_all_providers_are_taken_apart() {
        let of = |file| {
            let name = Name::of(file)?;
            Some((name.label, name.block.to_owned(), name.part))
        };
        for (file, label, block, part) in NAMES {
            assert_eq!(of(file), Some((label, block.to_owned(), part)), "{file}");
        }
        for file in [
            "parsl.log",
            "cmd_1.sh",
            "parsl.htex.block-0.sh",
            "parsl.htex.block-0.1.2",
        ] {
            assert_eq!(of(file), None, "{file}");
        }
        let torque = Name::of("parsl.parsl.htex.block-1.1796016713.92.submit").unwrap();
        assert!(torque.is_of("htex") && !torque.is_of("ht") && !torque.is_of("htex.block-1"));
    }

    #[test]
    fn each_provider_is_known_by_its_script() {
        for provider in &PROVIDERS {
            let (file, local) = ("x.sh", provider.name == "LocalProvider");
            let found = provider_of(file, &format!("#!\n{}x", provider.mark), local);
            assert_eq!(found.map(|found| found.name), Some(provider.name));
            assert!(provider.source.starts_with("providers/"));
        }
        assert!(provider_of("x.submit", "of another", false).is_none());
    }
}
