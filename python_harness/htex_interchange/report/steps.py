"""Series over time in bounded memory: step functions and counts, integrated by columns.

Nobody knows at the first event how long the run is. Time is cut into at most `COLUMNS` columns
of equal width; when it goes beyond them, pairs of columns are folded into one and the width
doubles. A step is written down once, in the column in which it happens, whatever comes after.
"""

from __future__ import annotations

from array import array

COLUMNS = 512
FIRST_WIDTH_S = 2.0**-10


class Columns:
    """The columns so far, and where the present moment lies in them."""

    def __init__(self, begin: float) -> None:
        self.begin = begin
        self.now = begin
        self.width_s = FIRST_WIDTH_S
        # The column of the present moment, its end, and how much of it is left.
        self.column = 0
        self.edge = begin + FIRST_WIDTH_S
        self.rest_s = FIRST_WIDTH_S
        self._series: list[Steps | Counts] = []

    def move(self, now: float) -> None:
        """Time goes on; never back."""
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
        """How many there are up to the present moment."""
        return self.column + 1

    def spans(self) -> list[float]:
        """How many seconds of each have passed; only the last one is not whole."""
        return [self.width_s] * self.column + [self.width_s - self.rest_s]

    def add(self, series: Steps | Counts) -> None:
        self._series.append(series)


class Steps:
    """A function of time that is 0 at first and changes in steps."""

    __slots__ = ("areas", "columns", "first", "jumps")

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self.first = columns.column
        # By column from `first` on: what its steps add to its own integral, and to the level
        # of all later ones.
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
        """By column up to the present moment, the integral over the time that has passed."""
        columns, level, found = self.columns, 0.0, [0.0] * self.first
        for area, jump in zip(self.areas, self.jumps, strict=True):
            found.append(level * columns.width_s + area)
            level += jump
        found += [level * columns.width_s] * (columns.count - len(found))
        found[columns.column] -= level * columns.rest_s
        return found


class Counts:
    """How many there were of something, by column."""

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
