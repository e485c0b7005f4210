//! Whether the system's limits suffice for the managers, and whether Parsl starts any managers.

use nix::sys::resource::{Resource, getrlimit};

use crate::doctor::configuration::description::{Executor, Where};
use crate::shared::finding::Finding;
use submit_side::config::DescriptorBudget;

/// Descriptors that the interchange has open before the first manager connects. Counted with
/// encryption, monitoring, metrics and events.
const OPEN_AT_START: usize = 36;
/// Processes of a manager besides its workers.
const PROCESSES_OF_A_MANAGER: usize = 5;

/// Returns the hard limit of descriptors, to which the interchange raises its own limit.
pub(in crate::doctor) fn descriptor_limit() -> Option<usize> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    usize::try_from(hard).ok()
}

/// Reports a lack of descriptors: the interchange needs one for each manager.
pub(in crate::doctor) fn descriptors(managers: usize, limit: usize) -> Option<Finding> {
    let budget = DescriptorBudget { limit };
    let needed = managers
        .saturating_add(OPEN_AT_START)
        .saturating_add(budget.kept_back());
    let what = format!(
        "Up to {managers} managers (max_blocks × nodes_per_block) need {needed} descriptors of the \
         interchange, but the limit is {limit} (ulimit -Hn)."
    );
    let granted = format!("`ulimit -Hn` says {limit}");
    let remedy = "Raise the hard limit where the run is started, or configure fewer blocks.";
    if needed >= budget.shut_at() {
        let let_in = budget
            .shut_at()
            .saturating_sub(OPEN_AT_START + budget.kept_back());
        return Some(
            Finding::problem("descriptors", what)
                .because(format!(
                    "The interchange accepts about {let_in} managers at most; the others wait \
                     until some leave."
                ))
                .remedy(remedy)
                .shown_by(granted),
        );
    }
    (needed >= budget.warn_at()).then(|| {
        Finding::warning("descriptors-scarce", what)
            .because(
                "Managers that reconnect, or a second run in this shell, may find no free \
                 descriptor.",
            )
            .remedy(remedy)
            .shown_by(granted)
    })
}

/// Reports too many processes: workers that run on this machine are processes of this user.
pub(in crate::doctor) fn processes(executor: &Executor) -> Option<Finding> {
    if executor.managers_run() != Where::Here || rustix::process::geteuid().is_root() {
        return None;
    }
    let (limit, _) = getrlimit(Resource::RLIMIT_NPROC).ok()?;
    too_many_processes(executor, usize::try_from(limit).ok()?)
}

fn too_many_processes(executor: &Executor, limit: usize) -> Option<Finding> {
    let managers = executor.managers_max()?;
    let workers = executor.max_workers_per_node.unwrap_or(1.0).max(1.0) as usize;
    let processes = managers.saturating_mul(workers.saturating_add(PROCESSES_OF_A_MANAGER));
    (processes > limit).then(|| {
        Finding::warning(
            "processes",
            format!(
                "Up to {managers} managers with {workers} workers each start about {processes} \
                 processes on this machine, but the limit is {limit} (ulimit -u)."
            ),
        )
        .because("Workers beyond the limit cannot be started.")
        .remedy("Raise the limit where the run is started, or configure fewer blocks or workers.")
        .shown_by(format!("`ulimit -u` says {limit}"))
    })
}

/// Reports a heartbeat_threshold that is too short for heartbeat_period. A manager sends a
/// heartbeat once per period, and is lost after silence for the threshold.
pub(in crate::doctor) fn heartbeats(executor: &Executor) -> Option<Finding> {
    let (period, threshold) = (executor.heartbeat_period?, executor.heartbeat_threshold?);
    let given = format!("heartbeat_period={period}, heartbeat_threshold={threshold}");
    let remedy = "Parsl's defaults are a period of 30 s and a threshold of 120 s.";
    if threshold <= period {
        return Some(
            Finding::problem(
                "heartbeats",
                format!(
                    "heartbeat_threshold ({threshold} s) is not longer than heartbeat_period \
                     ({period} s)."
                ),
            )
            .because("An idle manager would be declared lost before its next heartbeat.")
            .remedy(remedy)
            .shown_by(given),
        );
    }
    (threshold < 2.0 * period).then(|| {
        Finding::warning(
            "heartbeats-close",
            format!(
                "heartbeat_threshold ({threshold} s) is shorter than two heartbeat_periods \
                 ({period} s each)."
            ),
        )
        .because("A single late heartbeat makes a manager count as lost, and its tasks fail.")
        .remedy(remedy)
        .shown_by(given)
    })
}

/// Reports that Parsl starts no blocks, or none after the first ones.
pub(in crate::doctor) fn blocks(executor: &Executor) -> Option<Finding> {
    let provider = executor.provider.as_ref()?;
    let is_scaled = !matches!(executor.strategy.as_deref(), None | Some("none"));
    let is_left = executor.config.is_some() && !is_scaled;
    let starts_some = provider.init_blocks != Some(0);
    // If the strategy adds no blocks, max_blocks has no effect on the first ones.
    if provider.max_blocks == Some(0) && !(is_left && starts_some) {
        return no_more_blocks(provider.init_blocks?);
    }
    (is_left && !starts_some).then(|| {
        Finding::warning(
            "no-blocks-by-itself",
            "init_blocks is 0, and the strategy is 'none'.",
        )
        .because("No block starts unless the program itself starts one. Until then tasks wait.")
        .remedy("Set init_blocks of the provider, or strategy='simple' in the Config.")
        .shown_by("init_blocks=0, strategy='none'")
    })
}

/// Reports a `max_blocks` of 0. Parsl starts the first blocks without looking at `max_blocks`.
fn no_more_blocks(init_blocks: i64) -> Option<Finding> {
    let found = match init_blocks {
        ..0 => return None,
        0 => Finding::problem("no-blocks", "max_blocks and init_blocks are both 0.")
            .because("No manager ever starts, and tasks wait for ever."),
        1.. => Finding::warning(
            "no-blocks",
            format!("max_blocks is 0, so only the init_blocks ({init_blocks}) ever start."),
        )
        .because(
            "No new block replaces a block that ends. After the last one, tasks wait for ever.",
        ),
    };
    Some(
        found
            .remedy("Set a larger max_blocks of the provider.")
            .shown_by(format!("init_blocks={init_blocks}, max_blocks=0")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::configuration::description::Provider;
    use crate::shared::finding::Severity;

    #[test]
    fn descriptors_are_enough_scarce_or_too_few() {
        let id = |managers, limit| descriptors(managers, limit).map(|finding| finding.id);
        // With a limit of 1,024, the interchange keeps 32 back, accepts no managers from 972 on,
        // and warns from 819 on.
        assert_eq!(id(750, 1024), None);
        assert_eq!(id(751, 1024), Some("descriptors-scarce"));
        assert_eq!(id(903, 1024), Some("descriptors-scarce"));
        assert_eq!(id(904, 1024), Some("descriptors"));
        assert_eq!(id(usize::MAX, 1024), Some("descriptors"));
        assert_eq!(id(100, usize::MAX), None);
        assert_eq!(id(1, 16), Some("descriptors"));
        let told = descriptors(2000, 1024).map(|finding| finding.why);
        assert!(told.is_some_and(|why| why.contains("accepts about 904 managers")));
    }

    #[test]
    fn a_threshold_leaves_room_for_a_heartbeat() {
        let id = |period, threshold| {
            let executor = Executor {
                heartbeat_period: Some(period),
                heartbeat_threshold: Some(threshold),
                ..Executor::default()
            };
            heartbeats(&executor).map(|finding| finding.id)
        };
        assert_eq!(id(30.0, 120.0), None);
        assert_eq!(id(30.0, 60.0), None);
        assert_eq!(id(30.0, 59.0), Some("heartbeats-close"));
        assert_eq!(id(30.0, 30.0), Some("heartbeats"));
        assert_eq!(heartbeats(&Executor::default()), None);
    }

    #[test]
    fn missing_blocks_are_reported() {
        let id = |init, max, strategy: &str| {
            let executor = Executor {
                config: Some(1),
                strategy: Some(strategy.to_owned()),
                provider: Some(Provider {
                    init_blocks: Some(init),
                    max_blocks: Some(max),
                    ..Provider::default()
                }),
                ..Executor::default()
            };
            blocks(&executor).map(|finding| (finding.id, finding.severity))
        };
        assert_eq!(id(1, 1, "none"), None);
        assert_eq!(id(0, 1, "simple"), None);
        assert_eq!(
            id(0, 1, "none"),
            Some(("no-blocks-by-itself", Severity::Warning))
        );
        assert_eq!(id(0, 0, "simple"), Some(("no-blocks", Severity::Problem)));
        assert_eq!(id(0, 0, "none"), Some(("no-blocks", Severity::Problem)));
        assert_eq!(id(2, 0, "simple"), Some(("no-blocks", Severity::Warning)));
        assert_eq!(id(2, 0, "none"), None);
    }

    #[test]
    fn workers_on_this_machine_count_as_processes() {
        let executor = Executor {
            max_workers_per_node: Some(95.0),
            provider: Some(Provider {
                class: "parsl.providers.local.local.LocalProvider".to_owned(),
                max_blocks: Some(10),
                nodes_per_block: Some(1),
                ..Provider::default()
            }),
            ..Executor::default()
        };
        assert_eq!(too_many_processes(&executor, 1000), None);
        let found = too_many_processes(&executor, 999);
        assert_eq!(found.map(|finding| finding.id), Some("processes"));
    }
}
