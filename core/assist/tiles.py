"""Parts of a plane that are worked on at once, so that an image of any size costs what is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from core.assist.marks import Shape

TILE_PX = 512
MAX_TILES = 4  # worked on in one interaction


@dataclass(frozen=True, order=True)
class Region:
    """Rows and columns of a plane, ends excluded."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def shape(self) -> Shape:
        """Rows and columns."""
        return self.bottom - self.top, self.right - self.left

    @property
    def slices(self) -> tuple[slice, slice]:
        """To cut it out of an array."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def grown(self, by: int, shape: Shape) -> Region:
        """Return it with a border, as far as the plane reaches."""
        return Region(
            max(0, self.top - by),
            max(0, self.left - by),
            min(shape[0], self.bottom + by),
            min(shape[1], self.right + by),
        )

    def within(self, other: Region) -> tuple[slice, slice]:
        """Return where this lies in an array cut out by a larger one."""
        rows = slice(self.top - other.top, self.bottom - other.top)
        return rows, slice(self.left - other.left, self.right - other.left)


def whole_plane(shape: Shape) -> Region:
    """Return all of a plane."""
    return Region(0, 0, shape[0], shape[1])


def tiles_of(shape: Shape) -> list[Region]:
    """Divide a plane into tiles of about 512 x 512 pixels, none of them small."""
    rows, columns = (_cuts(size) for size in shape)
    return [
        Region(top, left, bottom, right)
        for top, bottom in pairwise(rows)
        for left, right in pairwise(columns)
    ]


def _cuts(size: int) -> list[int]:
    count = max(1, round(size / TILE_PX))
    return [round(size * number / count) for number in range(count + 1)]


def tiles_in_view(shape: Shape, view: Region | None) -> list[Region]:
    """Return the tiles to work on: those nearest to the middle of what is in view, at most four.

    Args:
        shape: of the plane.
        view: what the screen shows; None for the whole plane.
    """
    seen = view or whole_plane(shape)
    middle = ((seen.top + seen.bottom) / 2, (seen.left + seen.right) / 2)
    tiles = [tile for tile in tiles_of(shape) if _meet(tile, seen)]

    def distance(tile: Region) -> tuple[float, Region]:
        dy = (tile.top + tile.bottom) / 2 - middle[0]
        dx = (tile.left + tile.right) / 2 - middle[1]
        return dy**2 + dx**2, tile

    return sorted(sorted(tiles, key=distance)[:MAX_TILES])


def _meet(a: Region, b: Region) -> bool:
    return a.top < b.bottom and b.top < a.bottom and a.left < b.right and b.left < a.right
