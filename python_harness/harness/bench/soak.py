"""`bench --soak`: hours of tasks through managers that come and go, and whether anything grows.

The load (`benches/load/soak.rs`) checks every byte and writes a sample per period. Here the samples
after the warm-up are judged: memory, descriptors, threads and round trips must be the same at the
end as at the beginning.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from harness.bench.table import digits
from harness.measure.compare import console

SAMPLE_S = 10.0
# A short run has shorter periods, so that there are enough of them to judge.
SAMPLES_MIN = 30
# Caches and the allocator fill up first; of a short run it is a third.
WARM_UP_S = 60.0
WARM_UP_SHARE_MAX = 1 / 3
# The beginning and the end that are compared, as shares of the time after the warm-up.
END_SHARE = 0.1
SAMPLES_COMPARED_MIN = 3

# How much memory may grow over the time after the warm-up, by the line through all samples.
GROWTH_SHARE_MAX = 0.05
GROWTH_MIN_MB = 4.0
# Connections that close or open just when the descriptors are counted.
DESCRIPTORS_APART_MAX = 8
THREADS_APART_MAX = 0
LATENCY_RATIO_MAX = 1.5
# Round trips are compared only if the interchange waits about as long for a processor as at the
# beginning: otherwise it is the machine's other work that they show.
WAIT_RATIO_MAX = 1.5

MANAGERS = 64
SLOTS = 16
HEARTBEAT_S = 2
# The load ends by itself: after the last task it waits 3 minutes at most.
END_WITHIN_S = 600

Sample = dict[str, float]


@dataclass(frozen=True)
class Verdict:
    what: str
    unit: str
    # None if nothing was measured.
    before: float | None
    after: float | None
    bound: str
    holds: bool


def run(load: list[str], ours: list[str], hours: float, json_file: Path, picture_file: Path) -> int:
    """Returns 0 if nothing grew and every task ended exactly once."""
    duration_s = hours * 3600
    log_dir = json_file.with_name(f"{json_file.stem}-log")
    shutil.rmtree(log_dir, ignore_errors=True)
    words = [*arguments(duration_s), "--log-dir", str(log_dir.absolute())]
    command = [*load, *words, "--", *ours]
    results: dict = {
        "hours": hours,
        "log_dir": str(log_dir),
        "samples": [],
        "figures": None,
        "failure": None,
    }
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("{"):
                results["samples"].append(json.loads(line))
                _tell_progress(results["samples"], duration_s)
                json_file.write_text(json.dumps(results) + "\n")
            else:
                results["failure"] = line.strip()
        told = process.stdout.read()
    if process.returncode == 0:
        results["figures"] = json.loads(told)
    else:
        results["failure"] = results["failure"] or f"exit status {process.returncode}"
    verdicts = judge(results["samples"])
    results["verdicts"] = [vars(verdict) for verdict in verdicts]
    json_file.write_text(json.dumps(results) + "\n")
    return show(results, picture_file)


def show(results: dict, picture_file: Path) -> int:
    """Prints the table and the verdict, and draws the picture."""
    from harness.bench import soak_picture

    verdicts = [Verdict(**one) for one in results["verdicts"]]
    console.print(_table(verdicts))
    if results["samples"]:
        soak_picture.draw(results["samples"], picture_file)
        console.print(f"picture: {picture_file}", soft_wrap=True)
    if results["failure"]:
        console.print(results["failure"], style="red", markup=False, soft_wrap=True)
        console.print(f"the interchange's log: {results['log_dir']}", soft_wrap=True)
        return 1
    _tell_figures(results["figures"])
    if not verdicts:
        console.print("the run was too short to judge", style="red")
        return 1
    missing = [verdict.what for verdict in verdicts if None in (verdict.before, verdict.after)]
    if missing:
        console.print(
            f"not measured: {', '.join(missing)}: the queue is never short, or other programs took "
            "the processors towards the end; run it again on a quiet machine",
            style="red",
            soft_wrap=True,
        )
        return 1
    grown = [verdict.what for verdict in verdicts if not verdict.holds]
    if grown:
        console.print(f"grown: {', '.join(grown)}", style="red")
        return 1
    console.print("nothing grew, and every task ended exactly once")
    return 0


def arguments(duration_s: float) -> list[str]:
    """Returns the load's arguments."""
    sample_s = min(SAMPLE_S, duration_s / SAMPLES_MIN)
    words = ["--scenario", "soak", "--encrypted", "--priorities", "random"]
    words += ["--managers", str(MANAGERS), "--slots", str(SLOTS)]
    words += ["--heartbeat-s", str(HEARTBEAT_S)]
    return [*words, "--duration-s", str(duration_s), "--sample-s", str(sample_s)]


def judge(samples: list[Sample]) -> list[Verdict]:
    """Compares the samples after the warm-up; empty if there are too few."""
    if not samples:
        return []
    warm_up_s = min(WARM_UP_S, samples[-1]["at_s"] * WARM_UP_SHARE_MAX)
    warm = [sample for sample in samples if sample["at_s"] > warm_up_s]
    count = max(SAMPLES_COMPARED_MIN, round(len(warm) * END_SHARE))
    if len(warm) < 2 * count:
        return []
    begin, end = warm[:count], warm[-count:]
    verdicts = [_memory("memory of the interchange", warm, "rss_mb")]
    if "keeper_rss_mb" in warm[0]:
        verdicts.append(_memory("memory of its keeper", warm, "keeper_rss_mb"))
    return [
        *verdicts,
        _apart("descriptors beyond managers", begin, end, _descriptors, DESCRIPTORS_APART_MAX),
        _apart("threads", begin, end, lambda sample: sample["threads"], THREADS_APART_MAX),
        _latency(begin, end),
    ]


def _memory(what: str, warm: list[Sample], name: str) -> Verdict:
    times = [sample["at_s"] for sample in warm]
    slope, intercept = statistics.linear_regression(times, [sample[name] for sample in warm])
    before, after = (intercept + slope * at_s for at_s in (times[0], times[-1]))
    most = max(GROWTH_MIN_MB, before * GROWTH_SHARE_MAX)
    return Verdict(what, "MB", before, after, f"+{digits(most)}", after - before <= most)


def _descriptors(sample: Sample) -> float:
    return sample["descriptors"] - sample["connected"]


def _apart(
    what: str,
    begin: list[Sample],
    end: list[Sample],
    value: Callable[[Sample], float],
    most: int,
) -> Verdict:
    before, after = (statistics.median(map(value, some)) for some in (begin, end))
    return Verdict(what, "", before, after, f"+{most}", after - before <= most)


def _latency(begin: list[Sample], end: list[Sample]) -> Verdict:
    before, after = (_median_p99(some) for some in (begin, end))
    waits = [statistics.median(sample["cpu_wait_s"] for sample in some) for some in (begin, end)]
    if waits[1] > waits[0] * WAIT_RATIO_MAX:
        after = None
    is_measured = before is not None and after is not None
    holds = is_measured and after <= before * LATENCY_RATIO_MAX
    return Verdict("round trip, p99", "ms", before, after, f"× {LATENCY_RATIO_MAX}", holds)


def _median_p99(some: list[Sample]) -> float | None:
    found = [sample["p99_us"] / 1000 for sample in some if sample["p99_us"] is not None]
    return statistics.median(found) if found else None


def _table(verdicts: list[Verdict]) -> Table:
    table = Table(title="after the warm-up, and at the end")
    for heading in ("", "before", "after", "allowed", ""):
        table.add_column(heading, justify="right" if heading else "left")
    for one in verdicts:
        what = f"{one.what}, {one.unit}" if one.unit else one.what
        values = (digits(one.before), digits(one.after))
        is_measured = None not in (one.before, one.after)
        word = "holds" if one.holds else "GROWS" if is_measured else "not measured"
        table.add_row(what, *values, one.bound, word)
    return table


def _tell_progress(samples: list[Sample], duration_s: float) -> None:
    """Prints one line for each tenth of the run."""
    tenths = [int(10 * sample["at_s"] / duration_s) for sample in samples[-2:]]
    if len(tenths) == 2 and tenths[0] != tenths[1]:
        console.print(f"  {' '.join(_words(samples[-1]))}", highlight=False, soft_wrap=True)


def _words(sample: Sample) -> Iterator[str]:
    yield f"{sample['at_s']:,.0f} s: {sample['done']:,.0f} done, {sample['lost']:,.0f} lost,"
    yield f"{sample['tasks_per_s']:,.0f}/s, {digits(sample['rss_mb'])} MB,"
    p50, p99 = (sample[name] for name in ("p50_us", "p99_us"))
    if p50 is not None and p99 is not None:
        yield f"round trip p50 {p50 / 1000:.2f} ms, p99 {p99 / 1000:.2f} ms"


def _tell_figures(figures: dict) -> None:
    number = {
        name: f"{value:,.0f}" for name, value in figures.items() if type(value) in (int, float)
    }
    console.print(
        f"{number['done']} tasks done and {number['lost']} lost with their managers, "
        f"{number['tasks_per_s']} a second; of {number['managers']} managers at a time "
        f"{number['died']} died ({number['usurped']} of them replaced under their identity), "
        f"{number['drained']} drained ({number['held']} held before), {number['reconnected']} "
        f"reconnected; {number['commands']} commands; the submit side was deaf {number['deaf']} "
        f"times; the log has {digits(figures['log_mb'])} MB",
        highlight=False,
        soft_wrap=True,
    )
