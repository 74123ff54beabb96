"""The tile grid of an image, in latents (16x16 pixels each)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tersor.codecs.tiled import Tiling

PATCH = 16  # F


class Rect(NamedTuple):
    """Half-open rectangle [top, bottom) x [left, right)."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    def grown(self, halo: int, within: Rect) -> Rect:
        return Rect(
            max(self.top - halo, within.top),
            max(self.left - halo, within.left),
            min(self.bottom + halo, within.bottom),
            min(self.right + halo, within.right),
        )

    def overlap(self, other: Rect) -> Rect | None:
        r = Rect(
            max(self.top, other.top),
            max(self.left, other.left),
            min(self.bottom, other.bottom),
            min(self.right, other.right),
        )
        return r if r.height > 0 and r.width > 0 else None

    def scaled(self, factor: int) -> Rect:
        return Rect(*(v * factor for v in self))

    def relative_to(self, origin: Rect) -> Rect:
        return Rect(
            self.top - origin.top, self.left - origin.left, self.bottom - origin.top, self.right - origin.left
        )

    def slices(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)


@dataclass(frozen=True, slots=True)
class TileGrid(Tiling):
    """The tiles of an image, in pixels; here in latents."""

    @property
    def whole(self) -> Rect:
        """The image in latents."""
        return Rect(0, 0, -(-self.height // PATCH), -(-self.width // PATCH))

    def rect(self, index: int) -> Rect:
        """Tile `index`, in latents."""
        top, left, bottom, right = self.box(index)
        return Rect(top // PATCH, left // PATCH, -(-bottom // PATCH), -(-right // PATCH))


def batches(windows: Sequence[Window], size: int) -> list[list[Window]]:
    """Windows of equal shape together, at most `size` at a time, in the order of first appearance."""
    groups: defaultdict[tuple[Rect, int, int], list[Window]] = defaultdict(list)
    for w in windows:
        groups[w.shape].append(w)
    return [g[i : i + size] for g in groups.values() for i in range(0, len(g), size)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One tile's work in a batch: `inner` is the part wanted, `outer` what the network must see; both in
    latents of image `image`.
    """

    image: int
    tile: int
    inner: Rect
    outer: Rect

    @property
    def shape(self) -> tuple[Rect, int, int]:
        """Windows of equal shape share a batch."""
        return self.inner.relative_to(self.outer), self.outer.height, self.outer.width
