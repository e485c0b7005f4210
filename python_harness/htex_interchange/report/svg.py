"""A small writer of pictures: axes, areas, lines and bars as inline SVG.

Colours are names of CSS variables, so that one picture serves light, dark and print. Every picture
is drawn twice, for wide and for narrow screens, because text that is scaled with a picture is not
legible.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

TEXT_PX = 13
LINE_PX = 18
# The highest level of the colour ramp: 0 is idle, LEVELS is fully used.
LEVELS = 8


@dataclass(frozen=True)
class Layout:
    """The size of a picture in CSS pixels, and the room for the labels of its axes."""

    name: str
    width: int
    left: int
    right: int
    height: int
    time_ticks: int


WIDE = Layout("wide", 960, 64, 16, 240, 9)
NARROW = Layout("narrow", 380, 56, 8, 210, 4)
# For two pictures side by side, or one on a narrow screen.
HALF = Layout("half", 460, 58, 12, 200, 5)


@dataclass(frozen=True)
class Key:
    """An entry of a legend: `shape` is area, line, ramp (of colours) or one of MARKS."""

    label: str
    colour: str
    shape: str = "area"


class Drawing:
    """Parts of a picture, drawn on top of each other into one plot area."""

    def __init__(self, layout: Layout, height: int, *, below: int = 42) -> None:
        self.layout = layout
        self.parts: list[str] = []
        self.left, self.right = layout.left, layout.width - layout.right
        self.top: float = 8
        self.bottom: float = 8 + height
        self.below = below
        self.x_range = (0.0, 1.0)
        self.y_range = (0.0, 1.0)
        self.to_scale: Callable[[float], float] = lambda value: value

    def x(self, value: float) -> float:
        low, high = map(self.to_scale, self.x_range)
        place = (self.to_scale(value) - low) / ((high - low) or 1.0)
        return self.left + place * (self.right - self.left)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return self.bottom - (value - low) / ((high - low) or 1.0) * (self.bottom - self.top)

    def add(self, part: str) -> None:
        self.parts.append(part)

    def text(
        self, x: float, y: float, text: str, *, anchor: str = "start", css: str = "label"
    ) -> None:
        self.add(
            f'<text class="{css}" x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}">'
            f"{escape(text)}</text>"
        )

    def legend(self, title: str, keys: list[Key]) -> None:
        """Draws the unit of the vertical axis and the meanings of the colours above the plot area,
        in as many rows as they need. Must be called first."""
        x, row = 0.0, 0
        places: list[tuple[float, int, str, Key | None]] = []
        if title:
            places.append((x, row, title, None))
            x += 1.08 * text_width(title) + 16
        for key in keys:
            wide = _swatch_width(key) + text_width(key.label) + 16
            if x and x + wide - 16 > self.layout.width:
                x, row = 0.0, row + 1
            places.append((x, row, key.label, key))
            x += wide
        for left, above, label, swatch in places:
            y = 14 + above * LINE_PX
            if swatch:
                self.add(_swatch(swatch, left + 7, y - 4))
                self.text(left + _swatch_width(swatch), y, label, css="label")
            else:
                self.text(left, y, label, css="label strong")
        self.make_room((row + 1) * LINE_PX + 6)

    def make_room(self, height: float) -> None:
        """Moves the plot area down."""
        self.top, self.bottom = self.top + height, self.bottom + height

    def horizontal_lines(self, ticks: list[tuple[float, str]]) -> None:
        for value, label in ticks:
            y = self.y(value)
            css = "zero" if value == 0 else "grid"
            self.add(f'<path class="{css}" d="M{self.left} {_n(y)}H{self.right}"/>')
            self.text(self.left - 8, y + 4, label, anchor="end")

    def x_axis(self, ticks: list[tuple[float, str]], title: str) -> None:
        last = -1e9
        for value, label in ticks:
            x = self.x(value)
            self.add(f'<path class="tick" d="M{_n(x)} {self.bottom}v5"/>')
            half = text_width(label) / 2
            # A label that would touch the previous one, or reach beyond the picture, is left out.
            if x - half > last + 6 and x - half >= 0 and x + half <= self.layout.width:
                self.text(x, self.bottom + 19, label, anchor="middle")
                last = x + half
        self.text(self.right, self.bottom + 37, title, anchor="end", css="label axis")

    def vertical(self, value: float, row: int, text: str) -> None:
        """Draws a line up to a row above the plot area, with its name beside it."""
        y = self.top - 9 - row * LINE_PX
        fits_before = self.x(value) - text_width(text) > 5
        anchor, beside = ("end", -5) if fits_before else ("start", 5)
        self.text(self.x(value) + beside, y - 2, text, anchor=anchor)
        path = f"M{_n(self.x(value))} {_n(y - 12)}V{self.bottom}"
        self.add(f'<path class="line" style="stroke:var(--ink)" d="{path}"/>')

    def bar(self, low: float, high: float, value: float, colour: str, title: str) -> None:
        if not value:
            return
        x, wide = self.x(low), self.x(high) - self.x(low)
        self.add(
            f'<rect style="fill:var(--{colour})" x="{_n(x + 0.5)}" y="{_n(self.y(value))}" '
            f'width="{_n(max(wide - 1, 1))}" height="{_n(self.bottom - self.y(value))}">'
            f"<title>{escape(title)}</title></rect>"
        )

    def box(self, x: float, end: float, colour: str, title: str, text: str) -> None:
        """Draws a part of a horizontal bar, with a text in it if there is room."""
        wide = max(end - x - 1, 0.5)
        self.add(
            f'<g><rect style="fill:var(--{colour})" x="{_n(x)}" y="{self.top}" '
            f'width="{_n(wide)}" height="{self.bottom - self.top}" rx="2"/>'
            f"<title>{escape(title)}</title></g>"
        )
        if wide > text_width(text) + 8:
            css = f"label inside on-{colour}"
            self.text(
                x + wide / 2, (self.top + self.bottom) / 2 + 4.5, text, anchor="middle", css=css
            )

    def stacked(self, edges: list[float], layers: list[tuple[list[float], str]]) -> None:
        """Draws areas on top of each other, constant between edges."""
        under = [0.0] * (len(edges) - 1)
        for values, colour in layers:
            over = [low + value for low, value in zip(under, values, strict=True)]
            if any(values):
                there = self._steps(edges, over)
                back = self._steps(edges[::-1], under[::-1], first="L")
                self.add(f'<path class="area" style="fill:var(--{colour})" d="{there}{back}Z"/>')
            under = over

    def line(self, edges: list[float], values: list[float], colour: str, css: str = "line") -> None:
        path = self._steps(edges, values)
        self.add(f'<path class="{css}" style="stroke:var(--{colour})" d="{path}"/>')

    def curve(self, points: Sequence[tuple[float, float]], colour: str) -> None:
        path = "L".join(f"{_n(self.x(x))} {_n(self.y(y))}" for x, y in points)
        self.add(f'<path class="line" style="stroke:var(--{colour})" d="M{path}"/>')

    def _steps(self, edges: list[float], values: list[float], first: str = "M") -> str:
        parts, last = [], None
        for place, value in enumerate(values):
            y = _n(self.y(value))
            if y != last:
                x = _n(self.x(edges[place]))
                parts.append(f"{first}{x} {y}" if place == 0 else f"H{x}V{y}")
                last = y
        return "".join(parts) + f"H{_n(self.x(edges[-1]))}"

    def mark(self, x: float, y: float, state: str, title: str) -> None:
        self.add(f"<g>{_mark(state, x, y)}<title>{escape(title)}</title></g>")

    def svg(self, name: str, title: str, description: str) -> str:
        """Returns the whole picture as SVG. `name` is its id on the page."""
        height = self.bottom + self.below
        geometry = f"{self.left},{self.right},{_n(self.top)},{_n(self.bottom)}"
        about = f"{name}-title {name}-desc"
        return (
            f'<svg class="{self.layout.name}" id="{name}" role="img" aria-labelledby="{about}" '
            f'viewBox="0 0 {self.layout.width} {_n(height)}" data-plot="{geometry}">'
            f'<title id="{name}-title">{escape(title)}</title>'
            f'<desc id="{name}-desc">{escape(description)}</desc>{"".join(self.parts)}</svg>'
        )


# For what can happen to managers and to the interchange: the colour, and a path around the origin.
MARKS = {
    "lost": ("bad", "M-4 -4L4 4M-4 4L4 -4"),
    "replaced": ("bad", "M-4 0H4M0 -4V4"),
    "draining": ("ink", "M0 -4L4 0L0 4L-4 0Z"),
    "held": ("ink", "M-2.5 -4V4M2.5 -4V4"),
    "failing": ("bad", "M-4 0L4 0M-3 -3L3 3"),
    "suspect": ("warn", "M0 -4L4 4H-4Z"),
    "awaited": ("warn", "M-4 0L0 -4L4 0"),
    "back": ("warn", "M0 4L4 -4H-4Z"),
    "gave_up": ("bad", "M-3 -3H3V3H-3Z"),
    "restarted": ("warn", "M4 -1A4 4 0 1 0 3 3M4 -4V-1H1"),
}


def _mark(state: str, x: float, y: float) -> str:
    colour, path = MARKS[state]
    at = f'transform="translate({_n(x)} {_n(y)})"'
    return (
        f'<path class="halo" {at} d="{path}"/>'
        f'<path class="mark" {at} style="stroke:var(--{colour})" d="{path}"/>'
    )


def _swatch(key: Key, x: float, y: float) -> str:
    if key.shape == "area":
        return (
            f'<rect style="fill:var(--{key.colour})" x="{_n(x - 6)}" y="{_n(y - 6)}" '
            'width="12" height="12" rx="2"/>'
        )
    if key.shape == "ramp":
        return "".join(
            f'<rect class="u{level}" x="{_n(x - 7 + level * 9)}" y="{_n(y - 6)}" width="9" '
            'height="12"/>'
            for level in range(LEVELS + 1)
        )
    if key.shape == "line":
        path = f"M{_n(x - 7)} {_n(y)}h14"
        return f'<path class="line" style="stroke:var(--{key.colour})" d="{path}"/>'
    return _mark(key.shape, x, y)


def _swatch_width(key: Key) -> int:
    return 9 * (LEVELS + 1) + 6 if key.shape == "ramp" else 20


def text_width(text: str) -> float:
    """Estimates how wide a text is in the page's font."""
    return sum(0.36 if char in " .,:;il1|()ftj'\u00a0" else 0.63 for char in text) * TEXT_PX


def _n(value: float) -> str:
    text = f"{value:.1f}"
    return text.removesuffix(".0")
