"""The numbered tiles of two towns: which pixels of which raster each of them is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

NUMBERS_PER_ROW = 32
"""The tile below number *n* has the number *n* + 32, as in a sheet line system."""


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels of a raster."""

    left: int
    top: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """The first column that is not in it."""
        return self.left + self.width

    @property
    def bottom(self) -> int:
        """The first row that is not in it."""
        return self.top + self.height

    @classmethod
    def between(cls, left: int, top: int, right: int, bottom: int) -> Window:
        return cls(left, top, right - left, bottom - top)

    def grown(self, margin: int, width: int, height: int) -> Window:
        """With *margin* more pixels on each side, as far as a raster of that size has them."""
        return Window.between(
            max(0, self.left - margin),
            max(0, self.top - margin),
            min(width, self.right + margin),
            min(height, self.bottom + margin),
        )

    def within(self, outer: Window) -> Window:
        """The same pixels, counted from the corner of *outer*."""
        return Window(self.left - outer.left, self.top - outer.top, self.width, self.height)

    def as_list(self) -> list[int]:
        """As GDAL's ``srcWin``: left, top, width, height."""
        return [self.left, self.top, self.width, self.height]


def bounding(windows: Iterable[Window]) -> Window:
    """The smallest window that has them all. Raises ValueError for none."""
    every = list(windows)
    return Window.between(
        min(window.left for window in every),
        min(window.top for window in every),
        max(window.right for window in every),
        max(window.bottom for window in every),
    )


@dataclass(frozen=True)
class Grid:
    """A raster cut into columns and rows of tiles, as even as whole pixels allow."""

    columns: int
    rows: int
    first: int
    """Number of the tile in the upper left."""

    def numbers(self) -> tuple[int, ...]:
        """The numbers of all tiles, row by row."""
        return tuple(
            self.first + NUMBERS_PER_ROW * row + column
            for row in range(self.rows)
            for column in range(self.columns)
        )

    def window(self, number: int, width: int, height: int) -> Window:
        """The pixels of tile *number* in a raster of that size. Raises KeyError for no tile."""
        row, column = divmod(number - self.first, NUMBERS_PER_ROW)
        if not (0 <= row < self.rows and 0 <= column < self.columns):
            raise KeyError(number)
        return Window.between(
            width * column // self.columns,
            height * row // self.rows,
            width * (column + 1) // self.columns,
            height * (row + 1) // self.rows,
        )


@dataclass(frozen=True)
class Town:
    """A town, the raster that covers it, and what is computed there."""

    number: int
    name: str
    source: str
    """Name of the raster in ``DEMO_DATA``."""
    operation: str
    """Name of one of ``demo.mosaic.OPERATIONS``."""
    grid: Grid


TOWNS = (
    Town(11850, "Olinda", "olinda_dem_utm25s.tif", "slope", Grid(columns=6, rows=4, first=4281)),
    Town(11606, "Recife", "L7_ETMs.tif", "ndvi", Grid(columns=4, rows=3, first=5130)),
)


class MixedTilesError(ValueError):
    """The tiles are of no town, of several, or none; the message says which."""


def town_of(numbers: Iterable[int]) -> Town:
    """The town that has all these tiles. Raises MixedTilesError."""
    wanted = tuple(numbers)
    if not wanted:
        raise MixedTilesError("no tile is named")
    for town in TOWNS:
        known = set(town.grid.numbers())
        if known.issuperset(wanted):
            return town
        if known.intersection(wanted):
            others = ", ".join(str(number) for number in wanted if number not in known)
            raise MixedTilesError(f"no tiles of {town.name}: {others}")
    raise MixedTilesError(f"no such tiles: {', '.join(map(str, wanted))}")
