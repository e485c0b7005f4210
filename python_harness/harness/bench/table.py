"""The table of medians: stock, htex-interchange, the floor, and the two ratios between them."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from harness.bench.cases import BY_NAME, CASES, Figure
from harness.measure.compare import console as shared_console

# Minimum width. Without a terminal, rich assumes 80 columns, but the table's lines are longer.
COLUMNS = 104


def show(results: dict) -> None:
    """Prints the table, and notes on the runs that it leaves out."""
    console = Console(highlight=False, width=max(COLUMNS, shared_console.width))
    quick = ", quick" if results["quick"] else ""
    table = Table(title=f"medians of {results['rounds']}{quick}")
    table.add_column("", no_wrap=True)
    for heading in ("stock", "ours", "floor", "ours / floor", "stock / ours"):
        table.add_column(heading, justify="right")
    for case in CASES:
        kinds = results["medians"].get(case.name)
        if not kinds:
            continue
        table.add_section()
        for kind, contenders in kinds.items():
            table.add_row(f"[bold]{case.title}, {kind}[/bold]")
            for figure in case.figures:
                table.add_row(f"  {figure.title}, {figure.unit}", *_cells(figure, contenders))
    console.print(table)
    for name, note in results["not_run"].items():
        console.print(f"stock, {BY_NAME[name].title}: {note}")
    fewer = "Stock runs fewer tasks where the full number would take more than about a minute."
    console.print(f"{fewer} Compare the ratios; absolute figures hold only for this machine.")


def _cells(figure: Figure, contenders: dict) -> list[str]:
    values = {who: contenders.get(who, {}).get(figure.name) for who in ("stock", "ours", "floor")}
    if figure.grows_with_tasks:
        values["stock"] = None
    return [
        *(digits(value) or "not run" for value in values.values()),
        ratio_text(values["ours"], values["floor"]),
        ratio_text(values["stock"], values["ours"]),
    ]


def ratio_text(one: float | None, other: float | None) -> str:
    if one is None or not other or other < 0:
        return ""
    ratio = one / other
    return f"{ratio:.0f}" if ratio >= 100 else f"{ratio:.3g}"


def digits(value: float | None) -> str:
    if value is None:
        return ""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
