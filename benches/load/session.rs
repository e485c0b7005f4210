//! One run: a started interchange with both of its sides, and the steps that scenarios share.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::arguments::{Arguments, Priorities, Scenario};
use super::certificates::Certificates;
use super::checker::Checker;
use super::child::Interchange;
use super::crew;
use super::managers::Managers;
use super::order::Order;
use super::pattern::{Pattern, Sizes};
use super::proc_fs::{Cpu, Meter, Resident};
use super::report::Report;
use super::soak;
use super::submit_side::{Goal, SubmitSide};
use super::trouble::{Outcome, Trouble, violation};
use super::words::{self, StartConfig};

/// How often a value is polled that causes no event.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Time in which a surplus task would arrive after the slots are full.
const SURPLUS_WITHIN: Duration = Duration::from_millis(50);
/// Interval of the samples that show when the interchange has become idle.
const QUIET_SAMPLE: Duration = Duration::from_millis(10);
/// Share of a processor up to which a process counts as idle: the stock interchange wakes every 10
/// ms.
const QUIET_SHARE: f64 = 0.2;
/// Number of consecutive idle samples after which the wait ends.
const QUIET_SAMPLES: usize = 5;

/// The numbers of tasks in the phases of a run, in their order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Tasks that are answered before the measurement begins.
    pub warm_up: u64,
    pub measured: u64,
    /// Tasks that are submitted after the measured ones, so that the last measured tasks see the
    /// same load.
    pub run_out: u64,
    /// Tasks that bypass the interchange.
    pub direct: u64,
}

impl Plan {
    pub(crate) fn of(arguments: &Arguments) -> Self {
        let (tasks, window) = (arguments.tasks, arguments.window());
        let plan = |warm_up, measured, run_out, direct| Self {
            warm_up,
            measured,
            run_out,
            direct,
        };
        match arguments.scenario {
            Scenario::Throughput | Scenario::Managers => {
                // The warm-up includes the tasks that managers held at first and answer all at
                // once.
                let held = window.min(arguments.capacity());
                plan(held + (tasks / 10).min(20_000), tasks, window, 0)
            }
            Scenario::Payload => plan(2 * window, tasks, window, 0),
            Scenario::Latency => plan((tasks / 10).max(100), tasks, 0, tasks),
            Scenario::Backlog => plan(0, tasks, 0, 0),
            Scenario::Idle | Scenario::Start | Scenario::Soak => plan(0, 0, 0, 0),
        }
    }

    /// Returns the number of tasks that go through the interchange.
    pub(crate) fn total(&self) -> u64 {
        self.warm_up + self.measured + self.run_out
    }
}

pub(crate) struct Session {
    pub arguments: Arguments,
    pub plan: Plan,
    pub side: SubmitSide,
    pub interchange: Interchange,
    pub managers: Managers,
    pub pattern: Arc<Pattern>,
    pub certificates: Option<Arc<Certificates>>,
    pub report: Report,
    /// Resident bytes when the first command was answered.
    pub resident_at_start: u64,
    worker_port: u16,
    log_dir: PathBuf,
    _place: TempDir,
}

impl Session {
    /// Launches the interchange and waits until it answers.
    pub(crate) fn start(arguments: &Arguments) -> Outcome<Self> {
        let place = tempfile::Builder::new()
            .prefix("htex-interchange-load-")
            .tempdir()?;
        let certificates = match arguments.encrypted {
            true => Some(Arc::new(Certificates::create(place.path())?)),
            false => None,
        };
        let plan = Plan::of(arguments);
        let fixed = Sizes::Fixed {
            task: arguments.bytes,
            result: arguments.result_bytes(),
        };
        let (last_id, sizes) = match arguments.is_soak() {
            true => (soak::tasks_max(arguments), Sizes::Varied),
            false => (plan.total() + plan.direct, fixed),
        };
        let pattern = Arc::new(Pattern::new(arguments.seed, sizes));
        let marks = (arguments.priorities, arguments.seed);
        let order = order_of(arguments, last_id);
        let checker = Checker::new(Arc::clone(&pattern), order, marks, last_id);
        let side = SubmitSide::open(
            arguments,
            certificates.as_deref(),
            Arc::clone(&pattern),
            last_id,
        )?;
        let own_log = || place.path().join("log");
        let log_dir = arguments.log_dir.clone().unwrap_or_else(own_log);
        let config = StartConfig {
            client_ports: side.ports()?,
            logdir: &log_dir,
            cert_dir: certificates.as_ref().map(|made| made.directory.as_path()),
            check_versions: arguments.parsl_version.is_some(),
            heartbeat_threshold: arguments.heartbeat_threshold(),
        };
        let managers = Managers::start(arguments, certificates.clone(), checker)?;
        let mut interchange =
            Interchange::launch(&arguments.command, &config.encode(), config.client_ports[2])?;
        let worker_port = side.await_start(&mut interchange)?;
        let start_ms = interchange.launched.elapsed().as_secs_f64() * 1000.0;
        interchange.find_broker()?;
        let resident = Resident::of(interchange.pid())?;
        let mut report = Report::default();
        describe(arguments, &mut report);
        report
            .add("start_ms", start_ms)
            .add("rss_start_mb", resident.now as f64 / 1e6);
        Ok(Self {
            arguments: arguments.clone(),
            plan,
            side,
            interchange,
            managers,
            pattern,
            certificates,
            report,
            resident_at_start: resident.now,
            worker_port,
            log_dir,
            _place: place,
        })
    }

    pub(crate) fn meter(&self) -> Outcome<Meter> {
        Meter::read(self.interchange.pid())
    }

    pub(crate) fn resident(&self) -> Outcome<Resident> {
        Resident::of(self.interchange.pid())
    }

    /// Returns the size of the interchange's log files.
    pub(crate) fn log_bytes(&self) -> Outcome<u64> {
        let mut bytes = 0;
        for entry in std::fs::read_dir(&self.log_dir)? {
            bytes += entry?.metadata()?.len();
        }
        Ok(bytes)
    }

    pub(crate) fn order(&self, order: crew::Order) -> Outcome<()> {
        self.managers.order(order)
    }

    /// Connects all managers at once. Returns the seconds until the interchange lists them all.
    pub(crate) fn enlist_all(&mut self) -> Outcome<f64> {
        let count = self.arguments.managers;
        if count == 0 {
            return Ok(0.0);
        }
        self.enlist(count, format!("tcp://127.0.0.1:{}", self.worker_port))?;
        let reply = self.side.ask("CONNECTED_BLOCKS", &mut self.interchange)?;
        let listed = words::read_list_len(&reply);
        if listed != Some(count) {
            return violation(format!(
                "{count} managers registered, but CONNECTED_BLOCKS lists {listed:?}"
            ));
        }
        let begin = self.managers.shared.first_connect();
        Ok(begin.map_or(0.0, |begin| begin.elapsed().as_secs_f64()))
    }

    /// Connects this many more managers and waits until they have registered.
    pub(crate) fn enlist(&mut self, count: usize, endpoint: String) -> Outcome<()> {
        let wanted = self.managers.shared.registered() + count;
        self.order(crew::Order::Enlist { count, endpoint })?;
        self.wait_until(wanted as u64, "managers registered", |session| {
            session.managers.shared.registered() as u64
        })
    }

    /// Waits until a count of the managers' thread reaches `wanted`. Gives up if the count does not
    /// change for too long.
    pub(crate) fn wait_until(
        &mut self,
        wanted: u64,
        what: &str,
        count: impl Fn(&Self) -> u64,
    ) -> Outcome<()> {
        let mut last = (Instant::now(), count(self));
        loop {
            self.managers.shared.check()?;
            let now = count(self);
            if now >= wanted {
                return Ok(());
            }
            if now != last.1 {
                last = (Instant::now(), now);
            }
            if last.0.elapsed() > self.arguments.patience() {
                return violation(format!("only {now} of {wanted} {what}"));
            }
            self.interchange.check_running()?;
            std::thread::sleep(LOOK_EVERY);
        }
    }

    pub(crate) fn pump(&mut self, goal: Goal) -> Outcome<()> {
        self.side
            .pump(goal, &self.managers.shared, &mut self.interchange)
    }

    /// Checks the slots while managers hold their tasks: every slot that can be filled is filled,
    /// and no manager gets more tasks than slots. Before the load this shows that the interchange
    /// counts slots correctly; after the load, that it still does. Results in transit are still
    /// read, and the window is kept full.
    pub(crate) fn check_slots(&mut self) -> Outcome<()> {
        let goal = Goal {
            submitted: self.plan.total(),
            answered: u64::MAX,
            window: self.arguments.window(),
        };
        let begin = Instant::now();
        let mut right_since = None;
        loop {
            self.side.turn(goal, &self.managers.shared)?;
            self.managers.shared.check()?;
            self.interchange.check_running()?;
            let outstanding = self.side.submitted - self.side.answered;
            let wanted = outstanding.min(self.arguments.capacity());
            let held = self.managers.shared.held();
            if held == wanted {
                let since = *right_since.get_or_insert_with(Instant::now);
                if since.elapsed() > SURPLUS_WITHIN {
                    return Ok(());
                }
            } else {
                right_since = None;
            }
            if begin.elapsed() > self.arguments.patience() {
                return violation(format!(
                    "{outstanding} tasks are outstanding, {wanted} slots could be filled, but \
                     managers hold only {held} tasks"
                ));
            }
            if !self.side.can_submit(goal) {
                std::thread::sleep(LOOK_EVERY);
            }
        }
    }

    /// Waits until the interchange and this program's I/O threads are idle. Returns the processor
    /// times at the moment when that began. This is needed because no command reports how many
    /// tasks an interchange has read.
    pub(crate) fn wait_quiet(&mut self) -> Outcome<Meter> {
        let own = std::process::id();
        let read = |session: &Self| -> Outcome<(Meter, Cpu, Cpu)> {
            let theirs = Cpu::of(session.interchange.pid())?;
            Ok((session.meter()?, theirs, Cpu::of(own)?.without(own)))
        };
        let mut samples = vec![read(self)?];
        let mut quiet = 0;
        while quiet < QUIET_SAMPLES {
            std::thread::sleep(QUIET_SAMPLE);
            self.interchange.check_running()?;
            self.managers.shared.check()?;
            let now = read(self)?;
            let last = &samples[samples.len() - 1];
            let busy = now.1.busy_since(&last.1) + now.2.busy_since(&last.2);
            let span = (now.0.at - last.0.at).as_nanos() as f64;
            if busy as f64 > QUIET_SHARE * span {
                samples.clear();
                quiet = 0;
            } else {
                quiet += 1;
            }
            samples.push(now);
        }
        let (first, ..) = samples.swap_remove(0);
        Ok(first)
    }

    /// Checks the list of managers.
    ///
    /// # Errors
    /// A violation if a manager is not listed, not active, or still has tasks.
    pub(crate) fn check_managers(&mut self) -> Outcome<()> {
        let reply = self.side.ask("MANAGERS", &mut self.interchange)?;
        let Some(entries) = words::read_managers(&reply) else {
            return Err(Trouble::Violation(
                "the reply to MANAGERS cannot be read".to_owned(),
            ));
        };
        let count = self.arguments.managers;
        let fit = entries.iter().filter(|one| one.is_active && one.tasks == 0);
        let fit = fit.count();
        if fit == count && entries.len() == count {
            return Ok(());
        }
        let listed = entries.len();
        violation(format!(
            "of {count} managers, {listed} are listed, and {fit} of them are active and without \
             tasks"
        ))
    }

    /// Checks that everything arrived exactly once and nothing else arrived; then ends the
    /// interchange.
    pub(crate) fn finish(mut self) -> Outcome<Report> {
        let submitted = self.side.submitted;
        let (received, answered) = (self.managers.shared.received(), self.side.answered);
        self.managers.shared.check()?;
        let lost = self.side.lost;
        let is_seen = received == submitted || (lost > 0 && received >= answered);
        if !is_seen || answered + lost != submitted {
            return violation(format!(
                "{submitted} tasks were submitted, {received} reached managers, {answered} results \
                 came back, {lost} were lost"
            ));
        }
        self.side.check_nothing_more()?;
        let end_ms = self.interchange.terminate()?;
        self.report.add("end_ms", end_ms).add("checks", "ok");
        Ok(self.report)
    }
}

/// Returns the order to check. With priorities the order is only determined if all tasks are queued
/// before the first is dispatched.
fn order_of(arguments: &Arguments, last_id: u64) -> Order {
    match (arguments.priorities, arguments.scenario) {
        _ if arguments.unordered => Order::Any,
        (Priorities::None, _) => Order::Submission,
        (Priorities::Random, Scenario::Backlog) => {
            Order::by_priority(arguments.priorities, arguments.seed, last_id)
        }
        (Priorities::Random, _) => Order::Any,
    }
}

fn describe(arguments: &Arguments, report: &mut Report) {
    let command: Vec<_> = arguments
        .command
        .iter()
        .map(|word| word.to_string_lossy())
        .collect();
    report
        .add("scenario", arguments.scenario.name().as_str())
        .add("command", command.join(" ").as_str())
        .add("encrypted", arguments.encrypted)
        .add("priorities", arguments.priorities == Priorities::Random)
        .add("managers", arguments.managers)
        .add("slots", arguments.slots)
        .add("tasks", Plan::of(arguments).measured)
        .add("task_bytes", arguments.bytes)
        .add("result_bytes", arguments.result_bytes())
        .add("window", arguments.window());
}
