//! How Parsl's providers name the files of a block, in the releases of 2022 to 2026.

/// A provider, and the files that it writes beside a run's scripts.
pub(super) struct Provider {
    pub(super) name: &'static str,
    /// The provider's file in Parsl, which defines the names.
    pub(super) source: &'static str,
    /// Text that only this provider's scripts contain.
    mark: &'static str,
    /// Whether a block's standard error is written beside the script.
    pub(super) keeps_stderr: bool,
}

/// The provider of a script is the first one whose mark is in the script. Torque and PBS Pro differ
/// in how their scripts select nodes.
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
    // Cobalt names output files by its job's id, in the directory where qsub was called.
    provider(
        "CobaltProvider",
        "providers/cobalt/template.py",
        "COBALT_NODEFILE",
        false,
    ),
    // AdHocProvider writes both output streams to one file, on the machine that runs the block.
    provider("AdHocProvider", "providers/ad_hoc/ad_hoc.py", "", true),
    provider("LocalProvider", "providers/local/local.py", "", true),
];

/// Providers that leave no files of blocks in the run's directory, and where to look instead.
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

/// The kind of a file of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Script,
    Stderr,
    /// Standard output. Batch systems write the reason for a job's end here or to standard error.
    Stdout,
    ExitStatus,
    /// Condor's log of a job.
    JobLog,
}

/// Suffixes that follow a block's name. Where one suffix ends in another, the longer one comes
/// first.
const PARTS: [(&str, Part); 14] = [
    // Providers torque, lsf, grid_engine, and until 2024 slurm and pbspro: script_path + ".stderr".
    (".submit.stderr", Part::Stderr),
    (".submit.stdout", Part::Stdout),
    (".submit", Part::Script),
    // Providers condor, and since 2024 slurm and pbspro.
    (".stderr", Part::Stderr),
    (".stdout", Part::Stdout),
    // Provider condor: the script that its submit file executes.
    (".script", Part::Script),
    (".log", Part::JobLog),
    // Provider local. Provider ad_hoc has only the second file, for both streams.
    (".sh.err", Part::Stderr),
    (".sh.out", Part::Stdout),
    (".sh.ec", Part::ExitStatus),
    (".sh", Part::Script),
    // Providers outside Parsl.
    (".err", Part::Stderr),
    (".out", Part::Stdout),
    // Providers slurm and pbspro since 2024.
    ("", Part::Script),
];

/// The block that a file belongs to, from the file's name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Name<'a> {
    /// The executor's label; None before 2023-05, when names contained only the provider's name.
    pub(super) label: Option<&'a str>,
    /// The block's number, or the time of its creation.
    pub(super) block: &'a str,
    pub(super) part: Part,
}

impl<'a> Name<'a> {
    /// Parses `parsl.LABEL.block-N.SECONDS.FRACTION` with a provider's additions; in older
    /// releases, `parsl.PROVIDER.SECONDS.FRACTION`. Returns None for other files.
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

    /// Whether the file belongs to executor `label`. Torque, Condor and Cobalt put another `parsl.`
    /// before the label.
    pub(super) fn is_of(&self, label: &str) -> bool {
        let own = |named: &str| named == label || named.strip_prefix("parsl.") == Some(label);
        self.label.is_none_or(own)
    }
}

/// Returns the provider that wrote this script, whose name is `file`. Two providers write scripts
/// without a mark. Which of them wrote this one is known from the block's other files (`parts`),
/// and so is unknown until the block begins. LocalProvider writes the exit status first.
pub(super) fn provider_of(file: &str, script: &str, parts: &[Part]) -> Option<&'static Provider> {
    let marked = PROVIDERS
        .iter()
        .find(|provider| !provider.mark.is_empty() && script.contains(provider.mark));
    let has = |part| parts.contains(&part);
    let name = match (has(Part::ExitStatus), has(Part::Stdout)) {
        (true, _) => "LocalProvider",
        (false, true) => "AdHocProvider",
        (false, false) => return marked,
    };
    let plain = PROVIDERS.iter().find(|provider| provider.name == name);
    marked.or(plain.filter(|_| file.ends_with(".sh")))
}

/// Splits off a time, as Python's `time.time()` prints it, from the end of a text.
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
    fn file_names_of_all_providers_are_parsed() {
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
            let parts: &[Part] = match provider.name {
                "LocalProvider" => &[Part::Stdout, Part::ExitStatus],
                _ => &[Part::Stdout],
            };
            let found = provider_of("x.sh", &format!("#!\n{}x", provider.mark), parts);
            assert_eq!(found.map(|found| found.name), Some(provider.name));
            assert!(provider.source.starts_with("providers/"));
        }
        assert!(provider_of("x.submit", "of another", &[Part::Stdout]).is_none());
        let just_written = provider_of("x.sh", "of a block that has not begun", &[]);
        assert!(just_written.is_none());
    }
}
