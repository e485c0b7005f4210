"""`bench --soak`: what its judge finds in samples, and a run of a minute on the binary."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from harness.bench import soak
from harness.setup import environment

PERIOD_S = 10.0
PERIODS = 360
HOUR_S = PERIOD_S * PERIODS


def samples_of_an_hour(**changes):
    """Returns samples as of a run in which nothing grows; `changes` are functions of the time in
    seconds that give figures other values."""
    samples = []
    for number in range(1, PERIODS + 1):
        at_s = number * PERIOD_S
        wave = number % 5
        sample = {
            "at_s": at_s,
            "rss_mb": 24.0 + wave / 2,
            "keeper_rss_mb": 3.0,
            "descriptors": 90 + wave,
            "connected": 60 + wave,
            "threads": 5,
            "p99_us": 2000.0 + 300 * wave,
            "cpu_wait_s": 0.4 + wave / 100,
        }
        samples.append(sample | {name: value(at_s) for name, value in changes.items()})
    return samples


def grown(samples):
    verdicts = soak.judge(samples)
    assert verdicts
    return [verdict.what for verdict in verdicts if not verdict.holds]


def test_a_steady_run_holds():
    assert grown(samples_of_an_hour()) == []


@pytest.mark.parametrize(
    ("what", "changes"),
    [
        ("memory of the interchange", {"rss_mb": lambda at_s: 24 + 6 * at_s / HOUR_S}),
        ("memory of its keeper", {"keeper_rss_mb": lambda at_s: 3 + 5 * at_s / HOUR_S}),
        ("descriptors beyond managers", {"descriptors": lambda at_s: 90 + at_s // 200}),
        ("threads", {"threads": lambda at_s: 5 + at_s // 3000}),
        ("round trip, p99", {"p99_us": lambda at_s: 2000 + 1500 * at_s / HOUR_S}),
    ],
)
def test_whatever_grows_is_found(what, changes):
    assert grown(samples_of_an_hour(**changes)) == [what]


def test_a_large_memory_may_grow_by_a_share():
    assert grown(samples_of_an_hour(rss_mb=lambda at_s: 400 + 15 * at_s / HOUR_S)) == []
    assert grown(samples_of_an_hour(rss_mb=lambda at_s: 400 + 25 * at_s / HOUR_S)) != []


def test_the_warm_up_does_not_count():
    filling = {"rss_mb": lambda at_s: 24 if at_s > 60 else at_s / 3}
    assert grown(samples_of_an_hour(**filling)) == []


def test_more_managers_are_no_leak():
    more = {
        "descriptors": lambda at_s: 90 + at_s // 100,
        "connected": lambda at_s: 60 + at_s // 100,
    }
    assert grown(samples_of_an_hour(**more)) == []


def test_periods_without_round_trips_are_left_out():
    gaps = {"p99_us": lambda at_s: None if at_s % 30 == 0 else 2000.0}
    assert grown(samples_of_an_hour(**gaps)) == []
    assert grown(samples_of_an_hour(p99_us=lambda _: None)) == ["round trip, p99"]


def test_round_trips_are_not_compared_if_other_programs_take_the_processors():
    slower = {"p99_us": lambda at_s: 2000 + 1500 * at_s / HOUR_S}
    busier = {"cpu_wait_s": lambda at_s: 0.4 + at_s / HOUR_S}
    (latency,) = [
        one for one in soak.judge(samples_of_an_hour(**slower, **busier)) if not one.holds
    ]
    assert (latency.what, latency.after) == ("round trip, p99", None)


def test_a_run_that_is_too_short_has_no_verdict():
    assert soak.judge([]) == []
    assert soak.judge(samples_of_an_hour()[:5]) == []


@pytest.mark.long
def test_a_minute_of_it_on_the_binary(tmp_path):
    """The machine may be busy with other tests, so the times of round trips are left out."""
    json_file, picture_file = tmp_path / "soak.json", tmp_path / "soak.png"
    files = ["--json", str(json_file), "--picture", str(picture_file)]
    done = subprocess.run(
        [sys.executable, str(environment.HARNESS_DIR), "bench", "--soak", "0.0167", *files],
        cwd=environment.PROJECT_DIR,
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    told = done.stdout + done.stderr
    assert json_file.exists(), told
    results = json.loads(json_file.read_text())
    assert results["failure"] is None, told
    figures = results["figures"]
    assert figures["checks"] == "ok"
    for what in ("done", "lost", "died", "drained", "reconnected", "commands"):
        assert figures[what] > 0, f"{what}: {told}"
    grown = {one["what"] for one in results["verdicts"] if not one["holds"]}
    assert grown <= {"round trip, p99"}, told
    assert (done.returncode == 0) == (not grown), told
    assert picture_file.stat().st_size > 0
