"""Sums of products in double-double arithmetic, compiled: each with a proven bound on its error.

A product is split into its float64 and what rounding took from it (TwoProd, by FMA), a sum likewise
(TwoSum). What was taken is summed in ``rest``, so ``total + rest`` loses nothing but the roundings
of ``rest`` itself. With ``taken``, the sum of the absolute values of what was taken, n terms are
off by at most ``2 (n + 2) u taken``, u = 2**-53: rest adds up 2n numbers, each through at most
n + 1 roundings, and the factor 2 covers the roundings of ``taken`` and of the bound. The bound is 0
where nothing rounded, as with small integers. Source: Ogita, Rump and Oishi, "Accurate sum and dot
product", SISC 2005 (Dot2); Higham, Accuracy and Stability of Numerical Algorithms, 4.2.
"""

from typing import Any

import numpy as np
from numba import njit, prange, types
from numba.extending import intrinsic

LANES = 64  # results side by side: the innermost loop
ROWS = 32  # rows of ``left`` that share one gathered block of ``right``
DEPTH = 128  # terms of a block: DEPTH * LANES numbers stay in L2
ROUNDOFF = 2.0**-53
TINIEST = 2.0**-1074


def _fused(typing, a, b, c):
    """``a * b + c`` with one rounding: LLVM's fma, in hardware where there is one."""

    def generate(context, builder, signature, arguments):
        return builder.fma(*arguments)

    return types.float64(types.float64, types.float64, types.float64), generate


_fma: Any = intrinsic(_fused)


@njit(cache=True, error_model="numpy", inline="always")
def _add(total, term):
    """TwoSum: the rounded sum, and exactly what rounding took from it."""
    s = total + term
    z = s - total
    return s, (total - (s - z)) + (term - z)


@njit(cache=True, error_model="numpy")
def _add_products(total, rest, taken, a, x):
    """``total += a * x`` along the lanes."""
    for lane in range(total.size):
        product = a * x[lane]
        low = _fma(a, x[lane], -product)
        s, lost = _add(total[lane], product)
        total[lane] = s
        rest[lane] += lost + low
        taken[lane] += abs(lost) + abs(low)


@njit(cache=True, error_model="numpy")
def _divide(hi, lo, bound, divisor):
    """``(hi + lo) / divisor`` as a pair, and its bound: FMA gives the first remainder exactly."""
    quotient = hi / divisor
    left = _fma(-quotient, divisor, hi) + lo
    more = left / divisor
    bound = bound / abs(divisor) * (1 + 4 * ROUNDOFF) + 4 * ROUNDOFF * abs(more)
    if left != 0 or 0 < abs(hi) < 2.0**-900:
        bound += 4 * TINIEST  # the second quotient, or the remainder, may underflow
    hi, lo = _add(quotient, more)
    return hi, lo, bound


@njit(cache=True, error_model="numpy")
def _tile(p0, r0, b, left, right, table, start, divisor, tiny, hi, lo, error):
    """Up to ROWS rows by LANES positions of instance b."""
    G, R, C, T = left.shape
    g, rows, lanes = b % G, min(ROWS, R - r0), min(LANES, table.shape[1] - p0)
    width = (lanes + 7) // 8 * 8  # whole vectors
    total, rest, taken = np.zeros((3, rows, width))
    for r in range(rows):
        total[r] = start[g, r0 + r]
    seen = np.empty(T, np.int64)  # taps that no lane sees are left out
    taps = 0
    for t in range(T):
        for lane in range(lanes):
            if table[t, p0 + lane] >= 0:
                seen[taps] = t
                taps += 1
                break
    terms = np.zeros((DEPTH, width))
    for first in range(0, C * taps, DEPTH):
        count = min(DEPTH, C * taps - first)
        for j in range(count):
            c, t = (first + j) // taps, seen[(first + j) % taps]
            for lane in range(lanes):
                at = table[t, p0 + lane]
                terms[j, lane] = right[b, c, at] if at >= 0 else 0.0
        for r in range(rows):
            for j in range(count):
                c, t = (first + j) // taps, seen[(first + j) % taps]
                _add_products(total[r], rest[r], taken[r], left[g, r0 + r, c, t], terms[j])
    n = C * taps + 1
    for r in range(rows):
        for lane in range(lanes):
            high, low = _add(total[r, lane], rest[r, lane])
            bound = 2 * (n + 2) * ROUNDOFF * taken[r, lane] + n * tiny
            if divisor[p0 + lane] != 1:
                high, low, bound = _divide(high, low, bound, divisor[p0 + lane])
            hi[b, r0 + r, p0 + lane] = high
            lo[b, r0 + r, p0 + lane] = low
            error[b, r0 + r, p0 + lane] = bound


@njit(parallel=True, cache=True)
def sums(left, right, table, start, divisor, tiny, hi, lo, error):
    """``(start[r] + sum over c, t of left[r, c, t] * right[c, table[t, p]]) / divisor[p]`` is
    within ``error`` of ``hi + lo``.

    Where ``table`` is -1 there is no term. It is computed as ``left * 0``, so where left is not
    finite the result is NaN.

    Shapes:
        left (G, R, C, T)   right (B, C, I)   table (T, P)   start (G, R)   divisor (P,)
        hi, lo, error (B, R, P): instance b uses group b % G of left

    Args:
        tiny: what underflow can take from one product.
    """
    tiles, blocks = (table.shape[1] + LANES - 1) // LANES, (left.shape[1] + ROWS - 1) // ROWS
    for i in prange(right.shape[0] * blocks * tiles):
        p0, r0, b = i % tiles * LANES, i // tiles % blocks * ROWS, i // (tiles * blocks)
        _tile(p0, r0, b, left, right, table, start, divisor, tiny, hi, lo, error)
