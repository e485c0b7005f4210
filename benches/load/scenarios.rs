//! The measurements, scenario by scenario.

use std::thread;
use std::time::{Duration, Instant};

use super::arguments::{Arguments, Scenario};
use super::crew::Order;
use super::direct;
use super::proc_fs::{self, Used};
use super::report::{Report, per_thread};
use super::session::Session;
use super::soak;
use super::submit_side::Goal;
use super::trouble::Outcome;

const MB: f64 = 1e6;

/// Runs one scenario from the launch to the end.
pub(crate) fn run(arguments: &Arguments) -> Outcome<Report> {
    let mut session = Session::start(arguments)?;
    match arguments.scenario {
        Scenario::Throughput => throughput(&mut session)?,
        Scenario::Latency => latency(&mut session)?,
        Scenario::Managers => managers(&mut session)?,
        Scenario::Backlog => backlog(&mut session)?,
        Scenario::Payload => payload(&mut session)?,
        Scenario::Idle => {
            enlist(&mut session)?;
            idle(&mut session)?;
        }
        Scenario::Start => {}
        Scenario::Soak => soak::run(&mut session)?,
    }
    session.finish()
}

fn throughput(session: &mut Session) -> Outcome<()> {
    enlist(session)?;
    load(session)?;
    session.check_managers()
}

fn managers(session: &mut Session) -> Outcome<()> {
    enlist(session)?;
    idle(session)?;
    load(session)?;
    session.check_managers()
}

fn payload(session: &mut Session) -> Outcome<()> {
    enlist(session)?;
    let before = session.resident()?;
    proc_fs::forget_peak(session.interchange.pid())?;
    let used = load(session)?;
    let peak = session.resident()?.peak;
    let each = session.arguments.bytes + session.arguments.result_bytes();
    let megabytes = (session.plan.measured * each as u64) as f64 / MB;
    let underway = session.side.underway_peak_bytes;
    session
        .report
        .add("mb_per_s", megabytes / used.wall_s)
        .add(
            "cpu_ms_per_mb",
            used.interchange_ns as f64 / 1e6 / megabytes,
        )
        .add("rss_before_mb", before.now as f64 / MB)
        .add(
            "rss_peak_growth_mb",
            peak.saturating_sub(before.now) as f64 / MB,
        )
        .add("underway_peak_mb", underway as f64 / MB);
    session.check_managers()
}

/// Connects all managers.
pub(crate) fn enlist(session: &mut Session) -> Outcome<()> {
    let before = session.resident()?;
    let begin = session.meter()?;
    let seconds = session.enlist_all()?;
    let used = session.meter()?.since(&begin);
    let count = session.arguments.managers.max(1) as f64;
    let grown = session.resident()?.now.saturating_sub(before.now);
    session
        .report
        .add("registration_s", seconds)
        .add(
            "registration_cpu_us_per_manager",
            used.interchange_ns as f64 / 1e3 / count,
        )
        .add("rss_kb_per_manager", grown as f64 / 1e3 / count);
    Ok(())
}

/// Measures an idle phase with nothing but heartbeats.
fn idle(session: &mut Session) -> Outcome<()> {
    let echoes = session.managers.shared.echoes();
    let begin = session.meter()?;
    let end = begin.at + Duration::from_secs_f64(session.arguments.duration_s);
    while Instant::now() < end {
        session.managers.shared.check()?;
        session.interchange.check_running()?;
        thread::sleep(
            end.saturating_duration_since(Instant::now())
                .min(LOOK_EVERY),
        );
    }
    let used = session.meter()?.since(&begin);
    let percent = |ns: u64| ns as f64 / 1e9 / used.wall_s * 100.0;
    let threads = per_thread(&used.interchange_ns_by_thread, percent);
    let heartbeats = session.managers.shared.echoes() - echoes;
    let resident = session.resident()?;
    session
        .report
        .add("idle_s", used.wall_s)
        .add("idle_cpu_percent", percent(used.interchange_ns))
        .add("idle_cpu_percent_by_thread", threads)
        .add("idle_heartbeats", heartbeats)
        .add("rss_idle_mb", resident.now as f64 / MB);
    Ok(())
}

/// How often an idle phase is interrupted to check for errors.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Warms up, measures with a full window, and answers the remaining tasks.
fn load(session: &mut Session) -> Outcome<Used> {
    let plan = session.plan;
    session.order(Order::Hold)?;
    session.check_slots()?;
    session.order(Order::Release)?;
    let goal = |answered| Goal {
        submitted: plan.total(),
        answered,
        window: session.arguments.window(),
    };
    let (warm, measured, all) = (
        goal(plan.warm_up),
        goal(plan.warm_up + plan.measured),
        goal(plan.total()),
    );
    session.pump(warm)?;
    let begin = session.meter()?;
    session.pump(measured)?;
    let used = session.meter()?.since(&begin);
    session.order(Order::Hold)?;
    session.check_slots()?;
    session.order(Order::Release)?;
    session.pump(all)?;
    let resident = session.resident()?;
    session
        .report
        .add("wall_s", used.wall_s)
        .add("tasks_per_s", plan.measured as f64 / used.wall_s)
        .add("rss_mb", resident.now as f64 / MB)
        .add("rss_peak_mb", resident.peak as f64 / MB)
        .add_cpu("", &used, plan.measured);
    Ok(used)
}

fn backlog(session: &mut Session) -> Outcome<()> {
    let count = session.plan.total();
    let before = session.resident()?;
    let begin = session.meter()?;
    session.pump(Goal {
        submitted: count,
        answered: 0,
        window: u64::MAX,
    })?;
    let used = session.wait_quiet()?.since(&begin);
    let queued = session.resident()?;
    let each = queued.now.saturating_sub(before.now) as f64 / count as f64;
    let mut frame = Vec::new();
    session.pattern.write_task(count, None, &mut frame);
    session
        .report
        .add("accept_s", used.wall_s)
        .add("accepted_per_s", count as f64 / used.wall_s)
        .add_cpu("accept_", &used, count)
        .add("rss_before_mb", before.now as f64 / MB)
        .add("rss_queued_mb", queued.now as f64 / MB)
        .add("bytes_per_queued_task", each)
        .add(
            "bookkeeping_bytes_per_queued_task",
            each - frame.len() as f64,
        );
    drain(session)?;
    session.check_managers()?;
    thread::sleep(Duration::from_secs_f64(session.arguments.settle_s));
    let after = session.resident()?;
    let start = session.resident_at_start;
    session
        .report
        .add("rss_peak_mb", after.peak as f64 / MB)
        .add("rss_after_drain_mb", after.now as f64 / MB)
        .add("rss_left_mb", (after.now as f64 - start as f64) / MB);
    Ok(())
}

fn drain(session: &mut Session) -> Outcome<()> {
    let count = session.plan.total();
    session.order(Order::Hold)?;
    enlist(session)?;
    session.check_slots()?;
    let begin = session.meter()?;
    session.order(Order::Release)?;
    session.pump(Goal {
        submitted: count,
        answered: count,
        window: u64::MAX,
    })?;
    let used = session.meter()?.since(&begin);
    session
        .report
        .add("drain_s", used.wall_s)
        .add("drained_per_s", count as f64 / used.wall_s)
        .add_cpu("drain_", &used, count);
    Ok(())
}

fn latency(session: &mut Session) -> Outcome<()> {
    enlist(session)?;
    let plan = session.plan;
    let mut taken_us = Vec::with_capacity(plan.measured as usize);
    let mut begin = session.meter()?;
    for number in 1..=plan.total() {
        if number == plan.warm_up + 1 {
            begin = session.meter()?;
        }
        let sent = Instant::now();
        session.pump(Goal {
            submitted: number,
            answered: number,
            window: 1,
        })?;
        if number > plan.warm_up {
            taken_us.push(sent.elapsed().as_secs_f64() * 1e6);
        }
    }
    let used = session.meter()?.since(&begin);
    session.check_managers()?;
    let mut direct_us = direct::round_trips_us(session, plan.direct)?;
    let (p50, direct_p50) = (quantile(&mut taken_us, 0.5), quantile(&mut direct_us, 0.5));
    session
        .report
        .add("p50_us", p50)
        .add("p99_us", quantile(&mut taken_us, 0.99))
        .add("direct_p50_us", direct_p50)
        .add("direct_p99_us", quantile(&mut direct_us, 0.99))
        .add("added_p50_us", p50 - direct_p50)
        .add_cpu("", &used, plan.measured);
    Ok(())
}

pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = (values.len().saturating_sub(1)) as f64 * share;
    values
        .get(place.round() as usize)
        .copied()
        .unwrap_or(f64::NAN)
}
