"""Draws the CPU time per task of the interchange process, by scenario, on a logarithmic axis."""

from __future__ import annotations

import math
from pathlib import Path

# The contenders: name, colour and label of their bars.
CONTENDERS = (
    ("stock", "#b0b0b0", "stock interchange.py"),
    ("ours", "#1f6fb4", "htex-interchange"),
    ("floor", "#9ccb86", "floor: bare libzmq pass-through"),
)
# The scenarios: case, label, and the figures whose sum is the CPU time per task.
BARS = (
    ("throughput", "4 managers × 16\n1 KiB tasks", ("cpu_us_per_task",)),
    ("managers-1000", "1,000 managers × 4\n1 KiB tasks", ("cpu_us_per_task",)),
    ("managers-8192", "8,192 managers × 32\n1 KiB tasks", ("cpu_us_per_task",)),
    ("latency", "one outstanding task\none processor", ("cpu_us_per_task",)),
    (
        "backlog",
        "large backlog\nqueued, then dispatched",
        ("accept_cpu_us_per_task", "drain_cpu_us_per_task"),
    ),
    ("payload-1m", "1 MiB task\n1 MiB result", ("cpu_us_per_task",)),
)
BAR_HEIGHT = 0.26
INCHES = (13, 6.6)


def draw(results: dict, path: Path) -> bool:
    """Writes the PNG; returns False if there are no figures to show."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    kinds = [kind for kind in ("plain", "encrypted") if any(_values(results, kind))]
    if not kinds:
        return False
    figure, panels = pyplot.subplots(
        1, len(kinds), figsize=INCHES, sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    for panel, kind in zip(panels[0], kinds, strict=True):
        _draw_panel(panel, _values(results, kind), kind)
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(
        "CPU time of the interchange process per task (µs, logarithmic; less is better)",
        fontsize=13,
    )
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return True


def _values(results: dict, kind: str) -> list[dict[str, float]]:
    """Returns each scenario's µs per task by contender; empty where nothing was measured."""
    found = []
    for case, _, names in BARS:
        contenders = results["medians"].get(case, {}).get(kind, {})
        found.append(
            {
                who: sum(figures[name] for name in names)
                for who, figures in contenders.items()
                if all(name in figures for name in names)
            }
        )
    return found


def _draw_panel(panel, rows: list[dict[str, float]], kind: str) -> None:
    for number, (who, colour, label) in enumerate(CONTENDERS):
        places = [place + (number - 1) * BAR_HEIGHT for place in range(len(rows))]
        values = [row.get(who, float("nan")) for row in rows]
        panel.barh(places, values, BAR_HEIGHT * 0.92, color=colour, label=label)
        for place, value in zip(places, values, strict=True):
            if not math.isnan(value):
                panel.text(value * 1.06, place, _shown(value), va="center", fontsize=8.5)
            else:
                panel.text(1.06, place, "not run", va="center", fontsize=8, color="#808080")
    panel.set_xscale("log")
    panel.set_xlim(1, 3 * max(value for row in rows for value in row.values()))
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    panel.set_yticks(range(len(rows)), [label for _, label, _ in BARS])
    panel.set_ylim(len(rows) - 0.5, -0.5)
    panel.set_title(kind)
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(axis="x", which="major", color="#e4e4e4")
    panel.set_axisbelow(True)


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
