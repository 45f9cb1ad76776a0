"""Winograd's F(m x m, 3 x 3): fewer products by a detour through polynomials, at the price of
larger numbers on the way.

``matrices`` builds the three transforms from the points at which the polynomials meet; ``run`` uses
them on the tiles of a problem, in any dtype, signed or in absolute values.

Source: Lavin and Gray, "Fast algorithms for convolutional neural networks", arXiv:1509.09308; the
construction is wincnn's (Toom-Cook with a point at infinity).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import lru_cache
from math import isqrt
from typing import Any, NamedTuple

import numpy as np

from ..problem import ConvProblem

_HALF = Fraction(1, 2)
#: Finite points in use. Scaling a row of G and the same row of B inversely changes no bound, so the
#: points say all: Lavin's and most libraries' first; oneDNN's and neon's (5/8 and 3/2).
POINTS: dict[int, tuple[tuple[Any, ...], ...]] = {
    2: ((0, 1, -1),),
    4: (
        (0, 1, -1, 2, -2),
        (0, 1, -1, _HALF, -_HALF),
        (0, 1, -1, _HALF, -2),
        (0, 1, -1, 2, -_HALF),
        (0, Fraction(5, 8), -Fraction(5, 8), Fraction(3, 2), -Fraction(3, 2)),
    ),
    6: ((0, 1, -1, 2, -2, _HALF, -_HALF),),
}


class Transforms(NamedTuple):
    """The matrices of ``y = out @ ((g w g.T) * (into d into.T)) @ out.T``: A.T, G and B.T."""

    out: np.ndarray
    g: np.ndarray
    into: np.ndarray

    @property
    def adjoint(self) -> Transforms:
        """Of the algorithm run backwards: tiles of outputs come in, and overlapping ones go out."""
        return Transforms(self.into.T, self.g, self.out.T)

    @property
    def of_weights(self) -> Transforms:
        """Of the derivative by the filter: tiles of dy in the filter's place."""
        return Transforms(self.g.T, self.out.T, self.into)

    @property
    def roundings(self) -> int:
        """Roundings that a term meets in the six passes: constant, product and additions each; and
        3 where tiles overlap.
        """
        return 2 * sum(int(np.count_nonzero(t, axis=1).max()) + 1 for t in self) + 3


@lru_cache
def matrices(points: tuple[Any, ...], m: int, r: int = 3) -> Transforms:
    """The transforms of F(m, r) for ``points`` and infinity.

    Shapes: with a = m + r - 1, A.T (m, a), G (a, r), B.T (a, a).
    """
    size = m + r - 1
    at, g, bt = np.zeros((m, size)), np.zeros((size, r)), np.zeros((size, size))
    for j, p in enumerate(points):
        others = [q for q in points if q != p]
        scale = Fraction(1)
        for q in others:
            scale *= Fraction(p) - q
        at[:, j] = [float(Fraction(p) ** i) for i in range(m)]
        g[j] = [float(Fraction(p) ** i / scale) for i in range(r)]
        bt[j, : size - 1] = _coefficients(others)
    at[-1, -1] = g[-1, -1] = 1
    bt[-1] = _coefficients(list(points))
    return Transforms(at, g, bt)


def _coefficients(roots: list[Any]) -> list[float]:
    """Of the polynomial with these roots, the constant first."""
    made = [Fraction(1)]
    for r in roots:
        made = [b - r * a for a, b in zip([*made, Fraction(0)], [Fraction(0), *made], strict=True)]
    return [float(c) for c in made]


def applies(problem: Any, slot: str) -> bool:
    """Whether the slot is one of a 3 x 3 convolution with stride and dilation 1."""
    return (
        isinstance(problem, ConvProblem)
        and slot in ("conv_fprop", "conv_dgrad", "conv_wgrad")
        and problem.kernel == (3, 3)
        and problem.stride == problem.dilation == (1, 1)
    )


class Tiles(NamedTuple):
    """A slot as what Winograd's algorithm takes: one image's tiles, and filters.

    For the weight's derivative, the tiles of all images, and those of dy as filters; what is summed
    over are then the tiles.

    Shapes: d (G, C/G, tiles, s, s)   g (G, K/G, C/G, 3, 3)
        or, of weights, d (G, tiles, C/G, s, s)   g (G, K/G, tiles, m, m)
    """

    d: np.ndarray
    g: np.ndarray


Step = Callable[[Tiles, Transforms], np.ndarray]


def run(
    problem: ConvProblem,
    slot: str,
    arrays: tuple[np.ndarray, ...],
    by: Transforms,
    step: Step,
    adjoint: bool = False,
) -> np.ndarray:
    """``step`` on the tiles of every image, put together; tiles start at 0 of what is cut in m x m.

    Args:
        arrays: the slot's two arrays, as the user has them.
        step: one of ``convolve``, ``reach`` and ``variance``.
        adjoint: cut the input instead of the output, and add overlapping tiles up, as the
            derivative of a forward pass does. A weight's derivative has only one way.

    Shapes: of the slot's result.
    """
    low, groups = problem.call("conv_fprop")[3][1::2]
    shapes, out_shapes, user_shapes, _ = problem.call(slot)
    first, second = (a.reshape(s)[:, :, 0] for a, s in zip(arrays[:2], shapes[:2], strict=True))
    m = len(by.out)
    if not len(first):  # no image, no error
        return np.zeros(user_shapes[0], first.dtype)
    if slot == "conv_wgrad":
        d = np.stack(list(_windows(second, low[1:], first.shape[2:], m)))
        d = d.reshape(len(d), groups, -1, *d.shape[2:])
        g = _blocks(first, m)
        g = g.reshape(len(g), groups, -1, *g.shape[2:])
        tiles = Tiles(
            d.transpose(1, 0, 3, 2, 4, 5).reshape(groups, -1, d.shape[2], m + 2, m + 2),
            g.transpose(1, 2, 0, 3, 4, 5).reshape(groups, g.shape[2], -1, m, m),
        )
        return step(tiles, by.of_weights).reshape(user_shapes[0])
    w, before = second.reshape(groups, -1, *second.shape[1:]), low[1:]
    if slot == "conv_dgrad":  # a convolution of dy, with the kernel turned round
        w, before = w[..., ::-1, ::-1].swapaxes(1, 2), tuple(2 - p for p in before)
    size = out_shapes[0][3:]
    out = np.empty((*out_shapes[0][:2], *size), first.dtype)
    if adjoint:
        blocks = _blocks(first, m).reshape(len(first), groups, -1, *_grid(first.shape[2:], m), m, m)
        for n, d in enumerate(blocks):
            tiles = Tiles(d.reshape(*d.shape[:2], -1, m, m), w[..., ::-1, ::-1])
            y = step(tiles, by.adjoint).reshape(-1, *d.shape[2:4], m + 2, m + 2)
            out[n] = next(_padded(_overlapped(y, m)[None], [p - 2 for p in before], size))
    else:
        for n, d in enumerate(_windows(first, before, size, m)):
            y = step(Tiles(d.reshape(groups, -1, *d.shape[1:]), w), by)
            y = y.reshape(-1, *_grid(size, m), m, m).swapaxes(2, 3)
            rows, cols = y.shape[1] * m, y.shape[3] * m
            out[n] = y.reshape(-1, rows, cols)[:, : size[0], : size[1]]
    return out.reshape(user_shapes[0])


def _grid(size: Any, m: int) -> tuple[int, int]:
    """Tiles in each direction."""
    return -(-size[0] // m), -(-size[1] // m)


def _windows(x: np.ndarray, before: Any, size: Any, m: int) -> Iterator[np.ndarray]:
    """Each image's overlapping tiles, for m x m results each: (C, tiles, m + 2, m + 2)."""
    rows, cols = _grid(size, m)
    for image in _padded(x, before, (rows * m + 2, cols * m + 2)):
        found = np.lib.stride_tricks.sliding_window_view(image, (m + 2, m + 2), axis=(1, 2))
        yield found[:, ::m, ::m].reshape(len(image), -1, m + 2, m + 2)


def _blocks(x: np.ndarray, m: int) -> np.ndarray:
    """Images cut in m x m, with zeros beyond the edge: (N, C, tiles, m, m)."""
    rows, cols = _grid(x.shape[2:], m)
    whole = np.stack(list(_padded(x, (0, 0), (rows * m, cols * m))))
    cut = whole.reshape(*x.shape[:2], rows, m, cols, m).swapaxes(3, 4)
    return cut.reshape(*x.shape[:2], -1, m, m)


def _overlapped(tiles: np.ndarray, m: int) -> np.ndarray:
    """The sum of tiles (K, rows, cols, m + 2, m + 2) that begin every m."""
    count, rows, cols, s, _ = tiles.shape
    whole = np.zeros((count, rows * m + 2, cols * m + 2), tiles.dtype)
    for a, b in np.ndindex(s, s):
        whole[:, a : a + rows * m : m, b : b + cols * m : m] += tiles[..., a, b]
    return whole


def _padded(x: np.ndarray, before: Any, size: Any) -> Iterator[np.ndarray]:
    """Each image from row and column ``-before`` on, with zeros outside."""
    at = [np.arange(s) - b for s, b in zip(size, before, strict=True)]
    ok = [(a >= 0) & (a < s) for a, s in zip(at, x.shape[2:], strict=True)]
    rows, cols = (np.where(o, a, 0) for o, a in zip(ok, at, strict=True))
    inside = ok[0][:, None] & ok[1]
    for image in x:
        yield np.where(inside, image[:, rows[:, None], cols], x.dtype.type(0))


def apart(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    """``a @ x @ a.T`` on the last two axes."""
    return a @ x @ a.T


def product(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The sum over channels, one matrix product for each place of a tile.

    Shapes: u (G, K/G, C/G, s, s), v (G, C/G, tiles, s, s) → (G, K/G, tiles, s, s)
    """
    made = np.moveaxis(u, (3, 4), (0, 1)) @ np.moveaxis(v, (3, 4), (0, 1))
    return np.moveaxis(made, (0, 1), (3, 4))


def convolve(t: Tiles, by: Transforms) -> np.ndarray:
    """The algorithm itself, in the tiles' dtype."""
    out, g, into = (a.astype(t.d.dtype) for a in by)
    return apart(out, product(apart(g, t.g), apart(into, t.d)))


def reach(t: Tiles, by: Transforms) -> np.ndarray:
    """W: the sum of the absolute values of every term that the algorithm adds (F9)."""
    out, g, into = (_both(np.abs(a)) for a in by)
    d, w = _places(np.abs(t.d)), _places(np.abs(t.g))
    return _tiles(_times(out, _times(g, w) @ _times(into, d)))


def variance(t: Tiles, by: Transforms, inputs: float = 0.0) -> np.ndarray:
    """How the rounding errors of all steps add up, if they are independent, in units of those of
    one number 1 (0.18 u^2).

    The sums over channels are F6's; rounding what is transformed costs ``_PASSES`` roundings of
    its terms' squares.

    Args:
        inputs: of the transformed arrays' rounding to fewer digits, in the same units.
    """
    out2, g2, into2 = (_both(a * a) for a in by)
    d, w = _places(t.d), _places(t.g)
    u, v = _times(_both(by.g), w), _times(_both(by.into), d)
    # Rounding errors in the transforms are those of their largest intermediate numbers.
    du, dv = _times(g2, w * w), _times(into2, d * d)
    depth = t.g.shape[2]
    whole, v2 = u @ v, v * v
    summed = (u * u) @ ((1 + depth / 6 + inputs) * v2 + _PASSES * dv)
    summed += (_PASSES * du) @ v2 + (depth / 3 + _PASSES) * whole**2
    return _tiles(_times(out2, summed))


# Of large arrays, with the places of a tile as first axis: every step is then a product of whole
# matrices. (``convolve`` rounds as an implementation does, one axis after the other.)


def _both(a: np.ndarray) -> np.ndarray:
    """The transform along both axes of a tile, as one matrix of its places."""
    return np.kron(a, a)


def _places(t: np.ndarray) -> np.ndarray:
    """(…, s, s) as (s*s, …)."""
    return np.ascontiguousarray(np.moveaxis(t, (-2, -1), (0, 1))).reshape(-1, *t.shape[:-2])


def _tiles(t: np.ndarray) -> np.ndarray:
    """(m*m, …) as (…, m, m)."""
    m = isqrt(len(t))
    return np.moveaxis(t.reshape(m, m, *t.shape[1:]), (0, 1), (-2, -1))


def _times(a: np.ndarray, t: np.ndarray) -> np.ndarray:
    return (a @ t.reshape(len(t), -1)).reshape(-1, *t.shape[1:])


#: Roundings of a transform, each as large as its terms: two passes of one product and one or two
#: additions. Calibrated: see docs/reference/bounds.md.
_PASSES = 2.0
