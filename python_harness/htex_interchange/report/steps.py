"""Series over time in bounded memory: step functions and counts, integrated by columns.

The length of a run is unknown at its first event. Time is cut into at most `COLUMNS` columns of
equal width. When time passes the last column, pairs of columns are folded into one and the width
doubles. A step is recorded once, in the column in which it happens, and needs no later update.
"""

from __future__ import annotations

from array import array

COLUMNS = 512
FIRST_WIDTH_S = 2.0**-10


class Columns:
    """The columns up to the present moment, and the position of that moment in them."""

    def __init__(self, begin: float) -> None:
        self.begin = begin
        self.now = begin
        self.width_s = FIRST_WIDTH_S
        # The present moment's column, that column's end, and the seconds left until that end.
        self.column = 0
        self.edge = begin + FIRST_WIDTH_S
        self.rest_s = FIRST_WIDTH_S
        self._series: list[Steps | Counts] = []

    def move(self, now: float) -> None:
        """Moves the present moment to `now`, which is never earlier than before."""
        self.now = now
        if now >= self.edge:
            while now >= self.begin + self.width_s * COLUMNS:
                for series in self._series:
                    series.fold(self.width_s)
                self.width_s *= 2
            self.column = min(int((now - self.begin) / self.width_s), COLUMNS - 1)
            self.edge = self.begin + (self.column + 1) * self.width_s
        self.rest_s = self.edge - now

    @property
    def count(self) -> int:
        """The number of columns up to the present moment."""
        return self.column + 1

    def spans(self) -> list[float]:
        """Returns the seconds that have passed of each column; only the last is incomplete."""
        return [self.width_s] * self.column + [self.width_s - self.rest_s]

    def add(self, series: Steps | Counts) -> None:
        self._series.append(series)


class Steps:
    """A function of time that is 0 at first and changes in steps."""

    __slots__ = ("areas", "columns", "first", "jumps")

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self.first = columns.column
        # By column from `first` on: what the column's steps add to the column's own integral, and
        # what they add to the level of all later columns.
        self.areas = array("d", (0.0,))
        self.jumps = array("d", (0.0,))
        columns.add(self)

    def step(self, by: float) -> None:
        columns = self.columns
        place = columns.column - self.first
        try:
            self.jumps[place] += by
        except IndexError:
            more = array("d", bytes(8 * (place + 1 - len(self.areas))))
            self.areas.extend(more)
            self.jumps.extend(more)
            self.jumps[place] += by
        self.areas[place] += by * columns.rest_s

    def fold(self, width_s: float) -> None:
        if self.first % 2:
            self.areas.insert(0, 0.0)
            self.jumps.insert(0, 0.0)
        if len(self.areas) % 2:
            self.areas.append(0.0)
            self.jumps.append(0.0)
        areas, jumps = self.areas, self.jumps
        self.areas = array(
            "d",
            (
                early + width_s * jump + late
                for early, jump, late in zip(areas[::2], jumps[::2], areas[1::2], strict=True)
            ),
        )
        self.jumps = array("d", map(sum, zip(jumps[::2], jumps[1::2], strict=True)))
        self.first //= 2

    def integrals(self) -> list[float]:
        """Returns the integral over the time that has passed, by column up to the present."""
        columns, level, found = self.columns, 0.0, [0.0] * self.first
        for area, jump in zip(self.areas, self.jumps, strict=True):
            found.append(level * columns.width_s + area)
            level += jump
        found += [level * columns.width_s] * (columns.count - len(found))
        found[columns.column] -= level * columns.rest_s
        return found


class Counts:
    """Numbers of occurrences by column."""

    __slots__ = ("columns", "numbers")

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self.numbers = [0] * COLUMNS
        columns.add(self)

    def count(self) -> None:
        self.numbers[self.columns.column] += 1

    def fold(self, _width_s: float) -> None:
        folded = [sum(pair) for pair in zip(self.numbers[::2], self.numbers[1::2], strict=True)]
        self.numbers = folded + [0] * (COLUMNS - len(folded))

    def by_column(self) -> list[int]:
        return self.numbers[: self.columns.count]
