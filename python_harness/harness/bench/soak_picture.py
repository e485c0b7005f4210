"""Draws the samples of a soak over time."""

from __future__ import annotations

from pathlib import Path

Sample = dict[str, float]

INCHES = (12, 11)
BLUE, GREY, ORANGE = "#1f6fb4", "#909090", "#d9822b"
# The panels, each with its lines: the figure's name, its label and its colour.
PANELS = (
    ("tasks a second", (("tasks_per_s", "all that ended", BLUE),)),
    (
        "memory, MB",
        (("rss_mb", "interchange", BLUE), ("keeper_rss_mb", "its keeper", GREY)),
    ),
    (
        "open at once",
        (
            ("descriptors", "descriptors", BLUE),
            ("connected", "managers", GREY),
            ("threads", "threads", ORANGE),
        ),
    ),
    ("round trip, ms", (("p50_ms", "p50", GREY), ("p99_ms", "p99", BLUE))),
    ("processor time, s per s", (("cpu_share", "interchange", BLUE),)),
)


def draw(samples: list[Sample], path: Path) -> None:
    """Writes the PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [
        _row(sample, before) for sample, before in zip(samples, [None, *samples[:-1]], strict=True)
    ]
    minutes = [sample["at_s"] / 60 for sample in samples]
    figure, panels = pyplot.subplots(
        len(PANELS), 1, figsize=INCHES, sharex=True, layout="constrained"
    )
    for panel, (title, lines) in zip(panels, PANELS, strict=True):
        for name, label, colour in lines:
            values = [row.get(name) for row in rows]
            values = [float("nan") if value is None else value for value in values]
            panel.plot(minutes, values, color=colour, label=label, linewidth=1)
        panel.set_title(title, loc="left", fontsize=10)
        panel.set_ylim(bottom=0)
        panel.grid(color="#e4e4e4")
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(loc="lower right", frameon=False, ncols=3)
    panels[-1].set_xlabel("minutes")
    last = samples[-1]
    figure.suptitle(
        f"{last['done']:,.0f} tasks, {last['died'] + last['drained']:,.0f} managers replaced, "
        f"{last['reconnected']:,.0f} reconnected",
        fontsize=13,
    )
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def _row(sample: Sample, before: Sample | None) -> dict[str, float | None]:
    """Returns a sample with the figures that follow from it."""
    row: dict[str, float | None] = dict(sample)
    for name in ("p50", "p99"):
        taken_us = sample[f"{name}_us"]
        row[f"{name}_ms"] = None if taken_us is None else taken_us / 1000
    span_s = sample["at_s"] - (before["at_s"] if before else 0)
    row["cpu_share"] = sample["cpu_s"] / span_s
    return row
