"""Winograd by phases: strided, dilated and transposed convolutions as several of stride 1.

A kernel of 2 or 3 times the stride splits into phases of 2 x 2 or 3 x 3; a dilated one runs on
interleaved grids. What meets in a tile is then spread over the input, so the bound here is by
norms: the largest element of each plane stands for all of it. It is larger than ``winograd``'s,
which follows every tile, and never smaller than the error.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from ..problem import ConvProblem
from .winograd import POINTS, Transforms, matrices

#: Finite points of F(m, 2) in use.
_TWO: dict[int, tuple[tuple[Any, ...], ...]] = {
    2: ((0, 1), (0, -1)),
    4: ((0, 1, -1, 2), (0, 1, -1, Fraction(1, 2)), (0, 1, -1, -2)),
}


class Phases(NamedTuple):
    """How a pass is cut: F(m, r) of r x r; ``together`` phases of the input add to one output."""

    r: int
    together: int


def phases(problem: Any, slot: str) -> Phases | None:
    """The phases of a pass of a 2-D convolution, or None where Winograd has none."""
    if not isinstance(problem, ConvProblem) or slot not in ("conv_fprop", "conv_dgrad"):
        return None
    numbers = {problem.kernel, problem.stride, problem.dilation}
    if problem.rank != 2 or any(a != b for a, b in numbers):
        return None
    k, s, d = problem.kernel[0], problem.stride[0], problem.dilation[0]
    if k not in (2 * s, 3 * s) or (s > 1 and d > 1):
        return None
    return Phases(k // s, s * s if slot == "conv_fprop" else 1)


def transforms(m: int, r: int) -> list[Transforms]:
    """The transforms of F(m, r) for every set of points in use."""
    known = POINTS if r == 3 else _TWO
    return [matrices(points, m, r) for points in known.get(m, ())]


def growth(by: Transforms, order: int) -> float:
    """How much larger than |d| |w| a transformed sum may be, in the plane.

    Args:
        order: 1 for the largest sum, 2 for that of squares (independent elements).
    """
    a, g, b = (np.abs(t) ** order for t in by)
    return float((a @ (g.sum(axis=1) * b.sum(axis=1))).max()) ** 2
