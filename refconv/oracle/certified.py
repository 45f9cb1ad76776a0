"""Exact sums in whole numbers: a cell of ``Sums`` as a fraction of Python integers, without any
rounding.

Slow: for the few cells that double-double leaves undecided, and, on small problems, to check it.
Everything that is not finite is decided here too.
"""

from __future__ import annotations

import numpy as np

from .definition import Sums
from .rounding import nearest

_HALF = 27  # bits: a product of two halves, and a sum of 2**36 halves, fit int64


def dot(a: np.ndarray, b: np.ndarray) -> tuple[int, int]:
    """The sum of ``a * b`` as a fraction: numerator and denominator.

    Each significand is two halves; products of halves are added up in one integer for each
    exponent.

    Example:
        >>> dot(np.array([1e30, 1.0, -1e30]), np.array([1.0, 0.25, 1.0]))
        (1, 4)
    """
    keep = (a != 0) & (b != 0)
    if not keep.any():
        return 0, 1
    halves = [_halves(v[keep]) for v in (a, b)]
    parts, exponents = [], []
    for x, ex in halves[0]:
        for y, ey in halves[1]:
            product, exponent = x * y, ex + ey
            parts += [product >> _HALF, product & ((1 << _HALF) - 1)]
            exponents += [exponent + _HALF, exponent]
    exponent = np.concatenate(exponents)
    least = int(exponent.min())
    bins = np.zeros(int(exponent.max()) - least + 1, np.int64)
    np.add.at(bins, exponent - least, np.concatenate(parts))
    total = sum(int(bins[i]) << int(i) for i in np.flatnonzero(bins))
    if least >= 0 or total == 0:
        return total << max(least, 0), 1
    shift = min(-least, (total & -total).bit_length() - 1)
    return total >> shift, 1 << (-least - shift)


def _halves(v: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """``v`` as ``high * 2**e + low * 2**f``: pairs of int64 of at most 27 bits and exponents."""
    fraction, exponent = np.frexp(v)
    whole, exponent = np.ldexp(fraction, 53).astype(np.int64), exponent.astype(np.int64) - 53
    return [(whole >> _HALF, exponent + _HALF), (whole & ((1 << _HALF) - 1), exponent)]


def cell(sums: Sums, b: int, r: int, p: int) -> float | tuple[int, int]:
    """One result: a fraction, or the infinity or NaN that its terms give in any order."""
    left, right = sums.left[b % len(sums.left)][r], sums.right[b]
    taps = np.flatnonzero(sums.table[:, p] >= 0)
    start = sums.start[b % len(sums.start), r]
    a = np.append(left[:, taps].ravel(), start)
    x = np.append(right[:, sums.table[taps, p]].ravel(), 1.0)
    divisor = int(sums.divisor[p])
    special = ~(np.isfinite(a) & np.isfinite(x))
    if special.any():
        with np.errstate(invalid="ignore"):
            return float(np.sum(a[special] * x[special]) / divisor)
    numerator, denominator = dot(a, x)
    return numerator, denominator * divisor


def rounded(value: float | tuple[int, int], dtype: str) -> tuple[float, float, float, float]:
    """A cell in ``dtype``, as a pair of float64 ``hi + lo``, and how far that pair is off at most.

    Infinity and NaN are passed on; a sum beyond float64 is an infinite ``hi``.
    """
    if isinstance(value, float):
        return value, value, 0.0, 0.0
    numerator, denominator = value
    hi, lo, error = nearest(numerator, denominator, "float64"), 0.0, 0.0
    if np.isfinite(hi):
        n, d = hi.as_integer_ratio()
        rest = numerator * d - n * denominator
        lo = nearest(rest, denominator * d, "float64")
        error = abs(lo) * 2.0**-53 + 2.0**-1074 * (rest != 0)
    return nearest(numerator, denominator, dtype), hi, lo, error
