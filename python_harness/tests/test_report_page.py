"""The report as users see it: pages of generated runs, as text and in a real browser.

All events here come from harness/fakes/events.py, which generates them from a seed.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.fakes.events import BEGIN, FakeRun
from harness.setup import debian, environment
from harness.web import browser
from htex_interchange.report import axes
from htex_interchange.report import page as report_page
from htex_interchange.report.command import read
from htex_interchange.report.events import sources
from htex_interchange.report.pictures import Picturer
from htex_interchange.report.recorder import runs_of
from htex_interchange.report.series import STRIP_ROWS_MAX, series_of

# The attributes of HTML and SVG that name something for the browser to fetch.
REFERENCES = {"src", "href", "xlink:href", "srcset", "poster", "data", "action", "background"}

PICTURES = [
    "in-flight",
    "answered",
    "throughput",
    "workers",
    "worker-time",
    "managers",
    "queueing",
    "flight",
]
DAY_S = 86400.0

# Texts of pictures that touch another text, or lie outside their picture.
MISPLACED = """[...document.querySelectorAll('svg')].filter(svg => svg.clientWidth).flatMap(svg => {
    const frame = svg.getBoundingClientRect();
    const boxes = [...svg.querySelectorAll('text')].map(
        text => [text.textContent, text.getBoundingClientRect()]);
    const outside = boxes.filter(([_, box]) => box.left < frame.left - 1 ||
        box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 1);
    const touching = boxes.flatMap(([one, a], place) => boxes.slice(place + 1)
        .filter(([_, b]) => a.left < b.right && b.left < a.right && a.top + 2 < b.bottom - 2 &&
            b.top + 2 < a.bottom - 2).map(([other]) => `${one} | ${other}`));
    return [...outside.map(([text]) => `${svg.id}: ${text} is outside`),
        ...touching.map(both => `${svg.id}: ${both}`)];
})"""
SHOWN = """[...document.querySelectorAll('svg')].filter(svg => svg.clientWidth)
    .map(svg => svg.id)"""
READ = f"""({{misplaced: {MISPLACED}, shown: {SHOWN}, injected: window.injected ?? null,
    too_wide: document.documentElement.scrollWidth - innerWidth}})"""
# Moves a pointer to the middle of the first picture, and returns what is shown there.
POINTED = """(() => {
    const svg = document.querySelector('svg'), box = svg.getBoundingClientRect();
    svg.dispatchEvent(new PointerEvent('pointermove', {bubbles: true,
        clientX: box.left + box.width / 2, clientY: box.top + 60}));
    const tip = svg.parentElement.querySelector('.tip');
    const text = tip.hidden ? '' : tip.innerText;
    svg.dispatchEvent(new PointerEvent('pointerleave'));
    return [text, tip.hidden];
})()"""
SAVED = (
    "(async () => [await file(document.querySelector('svg')).text(), await file("
    "document.querySelector('#r1-managers svg')).text()])()"
)


class Reader(HTMLParser):
    """Collects what a page refers to and the ids on it, and checks that its tags are closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.identities: list[str] = []
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.references += [value for name, value in attrs if name in REFERENCES]
        self.identities += [value for name, value in attrs if name == "id"]
        # Self-closing tags are passed to handle_startendtag.
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (tag, self.open[-3:])
        self.open.pop()

    def handle_startendtag(self, tag, attrs):
        self.identities += [value for name, value in attrs if name == "id"]


def page_of(*places: Path) -> str:
    return report_page.page_of([run for place in places for run in read(place)], BEGIN + 1e4)


def made_up(folder: Path, **wanted) -> Path:
    FakeRun(**wanted).write(folder / "runinfo" / "000" / "htex" / "events.jsonl")
    return folder


VARIANTS = {
    "minutes": {},
    "a second": {
        "tasks": 200,
        "blocks": 1,
        "managers_per_block": 1,
        "block_every_s": 0,
        "prefetch": 0,
        "waves_s": (25.5,),
        "median_task_s": 0.01,
        "lost_managers": 0,
        "drained_managers": 0,
        "suspects": 0,
    },
    "days": {
        "tasks": 1500,
        "blocks": 12,
        "block_every_s": 30000.0,
        "median_task_s": 9000.0,
        "waves_s": (1.0, 200000.0),
        "managers_per_block": 1,
    },
    "still running": {"ends": False, "seed": 5},
    "1,200 managers": {
        "tasks": 20000,
        "blocks": 50,
        "managers_per_block": 24,
        "block_every_s": 20.0,
        "median_task_s": 120.0,
        "lost_managers": 9,
        "drained_managers": 12,
        "suspects": 200,
    },
    "1,000 blocks": {
        "tasks": 5000,
        "blocks": 1000,
        "managers_per_block": 1,
        "block_every_s": 1.0,
        "seed": 2,
    },
}


@pytest.mark.parametrize("name", VARIANTS)
def test_page_is_whole_and_refers_to_nothing(tmp_path, name, measured):
    begin = time.monotonic()
    page = page_of(made_up(tmp_path, **VARIANTS[name]))
    measured(f"{name}: {len(page) / 1024:.0f} KiB in {time.monotonic() - begin:.1f} s")
    reader = Reader(page)
    assert reader.open == [] and reader.references == []
    assert len(set(reader.identities)) == len(reader.identities)
    assert not {"link", "iframe", "object", "embed", "img", "base"} & reader.tags
    assert "://" not in page and "@import" not in page and "url(" not in page
    assert [one for one in PICTURES if f'<figure id="r1-{one}">' not in page] == []
    assert len(page) < 600 * 1024
    assert "NaN" not in page and "nan" not in re.findall(r"[\d.]nan|nan[\d.]|\"nan\"", page)


def test_thousands_of_managers_share_rows(tmp_path):
    (source,) = sources(made_up(tmp_path, **VARIANTS["1,200 managers"]))
    (run,) = runs_of(source)
    series = series_of(run)
    # Fifty blocks of 24 managers, and at most 64 rows: one for each block.
    assert len(series.rows) == 50 <= STRIP_ROWS_MAX and series.managers_in_a_row == 24
    assert sum(len(row.managers) for row in series.rows) == 1200
    used = sum(sum(row.used) for row in series.rows)
    registered = sum(sum(row.registered) for row in series.rows)
    assert used == pytest.approx(run.worker_time.used)
    assert registered == pytest.approx(run.worker_time.registered)
    assert "Each row is the average of up to 24 managers, of 1,200 in all" in page_of(tmp_path)


def test_two_runs_share_a_page(tmp_path):
    FakeRun(seed=1, label="first").write(tmp_path / "000" / "events.jsonl")
    FakeRun(seed=2, label="second").write(tmp_path / "001" / "events.jsonl")
    page = page_of(tmp_path)
    reader = Reader(page)
    assert sorted(reader.references) == ["#r1", "#r2"]
    assert len(set(reader.identities)) == len(reader.identities)
    assert "<h1>first</h1>" in page and "<h1>second</h1>" in page


HOSTILE = "</script><script>window.injected = 1</script><b a='\"&"


def hostile(place: Path) -> Path:
    """Writes events in which every text that the page shows and that others may choose is
    hostile."""
    lines = []
    for event in FakeRun(seed=3, tasks=300, waves_s=(1.0,)).lines():
        for name in ("host", "block", "label", "logdir", "version", "reason"):
            if name in event:
                event[name] = HOSTILE + str(event[name])
        if "manager" in event:
            event["manager"] += HOSTILE
        lines.append(json.dumps(event))
    lines.insert(5, HOSTILE)
    lines.insert(7, json.dumps({"t": BEGIN + 1, "event": HOSTILE}))
    place.mkdir(parents=True)
    (place / "events.jsonl").write_text("\n".join(lines) + "\n")
    return place


def test_foreign_texts_are_escaped(tmp_path):
    page = page_of(hostile(tmp_path / "<script>window.injected = 2<"))
    reader = Reader(page)
    assert reader.open == []
    assert "<script>window" not in page and "<b a=" not in page
    assert page.count("&lt;script&gt;window.injected = 1") > 20


NO_PARSL = [sys.executable, "-I", "-S"]
AS_A_MODULE = [
    *NO_PARSL,
    "-c",
    f"import runpy, sys; sys.path.insert(0, {str(environment.HARNESS_DIR)!r});"
    "runpy.run_module('htex_interchange.report', run_name='__main__', alter_sys=True)",
]


@pytest.mark.parametrize(
    ("program", "nothing"),
    [([*NO_PARSL, str(environment.HARNESS_DIR), "report"], 2), (AS_A_MODULE, 1)],
    ids=["python_harness report", "python -m htex_interchange.report"],
)
def test_command(tmp_path, program, nothing):
    """The command runs with nothing but the standard library, and in any directory."""
    made_up(tmp_path)

    def command(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [*program, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )

    told = command("runinfo")
    assert told.returncode == 0, told.stderr
    assert "1,984 of 2,000 tasks were done and 16 failed." in told.stdout
    page = (tmp_path / "runinfo" / "htex-report.html").read_text()
    assert page.endswith("</html>\n") and "1,984 of 2,000" in page.replace("\u00a0", " ")
    assert command("runinfo/000/htex/events.jsonl", "--out", "here.html").returncode == 0
    assert (tmp_path / "here.html").exists()
    (tmp_path / "empty").mkdir()
    told = command("empty")
    assert told.returncode == nothing and '"--events", "events.jsonl"' in told.stderr
    told = command("runinfo", "--out", "nowhere/page.html")
    assert told.returncode == nothing and "nowhere" in told.stderr
    told = command("--no-such-option", "runinfo")
    assert told.returncode == 2 and "usage:" in told.stderr


def test_folders_whose_names_are_not_utf8(tmp_path):
    made_up(tmp_path)
    (tmp_path / "runinfo").rename(tmp_path / os.fsdecode(b"Zo\xeb"))
    told = subprocess.run(
        [
            *AS_A_MODULE,
            str(tmp_path / os.fsdecode(b"Zo\xeb")),
            "--out",
            str(tmp_path / "page.html"),
        ],
        capture_output=True,
        timeout=60,
    )
    assert told.returncode == 0, told.stderr
    whole = subprocess.run(
        [*AS_A_MODULE, str(tmp_path), "--out", os.fsencode(tmp_path) + b"/\xeb.html"],
        capture_output=True,
        timeout=60,
    )
    assert whole.returncode == 0, whole.stderr
    assert "Zo\ufffd/000/htex" in (tmp_path / os.fsdecode(b"\xeb.html")).read_text()


@pytest.fixture
def local_zone():
    """`local_zone(name)` sets the zone of this process for the test."""
    before = os.environ.get("TZ")

    def choose(name: str) -> None:
        os.environ["TZ"] = name
        time.tzset()

    yield choose
    os.environ.pop("TZ", None)
    if before is not None:
        os.environ["TZ"] = before
    time.tzset()


def test_time_axis(local_zone):
    # POSIX rules, so that no database of zones is needed: summer time from March to October.
    local_zone("CET-1CEST,M3.5.0,M10.5.0/3")
    begin = time.mktime((2026, 10, 24, 22, 50, 0, 0, 0, -1))

    def labels(length: float, at_most: int = 9) -> list[str]:
        marks = axes.time_ticks(begin, begin + length, at_most).marks
        return [label.replace("\u00a0", " ") for _, label in marks]

    assert labels(4) == ["0.0", "0.5", "1.0", "1.5", "2.0", "2.5", "3.0", "3.5", "4.0"]
    assert labels(90) == ["0", "10", "20", "30", "40", "50", "60", "70", "80", "90"][:10]
    assert labels(1800) == ["22:50", "22:55", "23:00", "23:05", "23:10", "23:15", "23:20"]
    # The clock shows 02:00 to 03:00 twice in that night.
    assert labels(9 * 3600) == [
        "23:00",
        "25 Oct",
        "01:00",
        "02:00",
        "03:00",
        "04:00",
        "05:00",
        "06:00",
    ]
    assert labels(3 * DAY_S) == [
        "25 Oct",
        "12:00",
        "26 Oct",
        "12:00",
        "27 Oct",
        "12:00",
    ]
    assert labels(12 * DAY_S, 6) == ["26 Oct", "28 Oct", "30 Oct", "1 Nov", "3 Nov", "5 Nov"]
    title = axes.time_ticks(begin, begin + DAY_S, 9).title
    assert title.replace("\u00a0", " ") == "local time (CEST/CET), 24 Oct to 25 Oct 2026"


def test_count_axis():
    def labels(most: float, **options) -> list[str]:
        ticks = axes.count_ticks(most, **options)
        assert ticks[-1][0] >= most
        return [label.replace("\u00a0", " ") for _, label in ticks]

    assert labels(0) == ["0", "1"] and labels(2) == ["0", "1", "2"]
    assert labels(2, whole=False) == ["0", "0.5", "1.0", "1.5", "2.0"]
    assert labels(0.004, whole=False) == ["0", "0.001", "0.002", "0.003", "0.004"]
    assert labels(9_001) == ["0", "2,000", "4,000", "6,000", "8,000", "10,000"]
    assert labels(123_456) == ["0", "50 k", "100 k", "150 k"]
    assert labels(2_000_000) == ["0", "0.5 M", "1 M", "1.5 M", "2 M"]


@pytest.fixture
def chromium():
    """A browser; a fixture, because the browser has to be downloaded the first time."""
    try:
        browser.program()
    except environment.Unprepared as reason:
        if debian.networked():
            pytest.fail(str(reason), pytrace=False)
        pytest.skip(f"this machine has no network to fetch a browser from: {reason}")
    with browser.Browser() as running:
        yield running


@pytest.mark.long
@pytest.mark.timeout(900)
def test_pages_in_a_browser(chromium, tmp_path):
    """On a wide screen, on a narrow screen and on paper: every picture is shown once, no text
    covers another, nothing is wider than the screen, and the page sends no request."""
    for number, (name, wanted) in enumerate(VARIANTS.items()):
        page = tmp_path / f"{number}.html"
        page.write_text(page_of(made_up(tmp_path / str(number), **wanted)))
        for width, media, layout in (
            (1280, "screen", "wide"),
            (400, "screen", "narrow"),
            (700, "print", "wide"),
        ):
            picture = tmp_path / f"{number}-{width}.png"
            seen = chromium.open(
                page.as_uri(),
                read=READ,
                width=width,
                media=media,
                picture=picture,
                printed=tmp_path / f"{number}.pdf",
            )
            about = (name, width, media)
            assert seen.console_errors == [] and seen.refused == [], about
            assert list(seen.statuses) == [page.as_uri()], about
            assert seen.value["misplaced"] == [], about
            assert seen.value["too_wide"] <= 0, about
            kinds = [layout] * 6 + ["half"] * 2
            expected = [f"r1-{one}-{kind}" for one, kind in zip(PICTURES, kinds, strict=True)]
            assert seen.value["shown"] == expected, about
            assert picture.read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / f"{number}.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.long
@pytest.mark.timeout(900)
def test_page_shows_values_under_a_pointer_and_saves_pictures(chromium, tmp_path):
    page, pictures = tmp_path / "page.html", (tmp_path / "a.svg", tmp_path / "b.svg")
    page.write_text(page_of(made_up(tmp_path)))
    text, hidden = chromium.open(page.as_uri(), read=POINTED, width=1280).value
    assert re.match(r"\d\d:\d\d:\d\d, \d+ min \d+ s after the start\n", text), text
    assert [line.split("\t")[0] for line in text.splitlines()[1:]] == [
        "running",
        "waiting at managers",
        "in the queue",
    ]
    assert hidden
    saved = chromium.open(page.as_uri(), read=SAVED, width=1280)
    for place, svg in zip(pictures, saved.value, strict=True):
        root = ElementTree.fromstring(svg)
        assert root.tag.endswith("}svg") and root.get("width") == "960"
        place.write_text(svg)
        alone = chromium.open(place.as_uri(), picture=place.with_suffix(".png"))
        assert alone.console_errors == [] and alone.refused == []
    buttons = "[...document.querySelectorAll('.save button')].map(one => one.ariaLabel)"
    labels = chromium.open(page.as_uri(), read=buttons).value
    assert len(labels) == 2 * len(PICTURES)
    assert labels[0] == 'Save "Tasks in the queue and in flight" as SVG'


@pytest.mark.long
@pytest.mark.timeout(900)
def test_foreign_texts_run_nothing_in_a_browser(chromium, tmp_path):
    page = tmp_path / "page.html"
    page.write_text(page_of(hostile(tmp_path / "run")))
    seen = chromium.open(page.as_uri(), read=READ, width=1280)
    assert seen.value["injected"] is None
    assert seen.console_errors == [] and seen.refused == []


def test_the_picture_of_readme_is_one_of_the_report(tmp_path):
    """`HTEX_TEST_STORE_GUIDE=1` stores a new drawing."""
    (run,) = read(made_up(tmp_path))
    drawn = Picturer(run, series_of(run), "r1").in_flight().drawings[0]
    folder = Path(report_page.__file__).parent
    colours, css = ((folder / name).read_text() for name in ("colours.css", "svg.css"))
    style = f"<style>{colours}{css}svg {{ background: var(--paper); }}</style>"
    opened, rest = drawn.split(">", 1)
    if "xmlns=" not in opened:
        opened += ' xmlns="http://www.w3.org/2000/svg"'
    made = f"{opened}>{style}{rest}\n"
    stored = environment.PROJECT_DIR / "benches" / "report.svg"
    if os.environ.get("HTEX_TEST_STORE_GUIDE"):
        stored.write_text(made)
    assert stored.read_text() == made
