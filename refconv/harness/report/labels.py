"""Names beside the points of a chart, so that they do not cover each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Where a name may stand, in points from its own point: above, below or beside it, near first.
PLACES = [(x, y) for far in (5, 14, 24) for y in (far - 1, -far - 7, -4) for x in (far, -far)]
#: Of the font: how wide a letter and how high a line is, in sizes; what a point covers, in points.
WIDE, HIGH, POINT = 0.62, 1.2, 4.0
Box = tuple[float, float, float, float]


def names(axes: Axes, points: Sequence[tuple[float, float, str, str]], size: float = 8) -> None:
    """Write them, each at the first place that is free, else at the freest.

    Args:
        axes: with scales and points already set.
        points: x, y, the name and its colour.
        size: of the font, in points.
    """
    axes.get_xlim(), axes.get_ylim()  # brings the limits up to date
    scale = axes.figure.dpi / 72
    inside = axes.get_window_extent().extents
    at = [axes.transData.transform((x, y)) for x, y, _, _ in points]
    taken: list[Box] = [
        (px - POINT * scale, py - POINT * scale, px + POINT * scale, py + POINT * scale)
        for px, py in at
    ]
    for (x, y, name, colour), (px, py) in zip(points, at, strict=True):
        wide, high = WIDE * size * len(name) * scale, HIGH * size * scale

        def box(place: tuple[int, int], px=px, py=py, wide=wide, high=high) -> Box:
            left = px + place[0] * scale - (wide if place[0] < 0 else 0.0)
            low = py + place[1] * scale
            return (left, low, left + wide, low + high)

        def covered(place: tuple[int, int], box=box, area=wide * high) -> float:
            there = box(place)
            return sum(common(there, other) for other in taken) + area - common(there, inside)

        place = min(PLACES, key=covered)
        taken.append(box(place))
        side = "right" if place[0] < 0 else "left"
        axes.annotate(name, (x, y), xytext=place, textcoords="offset points", fontsize=size,
                      ha=side, va="bottom", color=colour)  # fmt: skip


def common(a: Box, b: Sequence[float]) -> float:
    """The area that two boxes share.

    Example:
        >>> common((0, 0, 2, 2), (1, 1, 5, 5)), common((0, 0, 1, 1), (2, 0, 3, 1))
        (1, 0)
    """
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(wide, 0) * max(high, 0)
