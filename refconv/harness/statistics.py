"""What a series of timings allows to say: a median with its interval; whether two series differ.

Nothing here assumes a distribution: times are skewed, and their tails are other processes'.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence

#: Rounds without which there is no 95 % interval: of five numbers not even the whole range is one.
LEAST = 6
#: Two series differ where chance does it less often than this; a table has dozens of rows.
SIGNIFICANT = 0.01
#: Up to this many pairs, and without ties, the U test counts every arrangement.
EXACT = 1000

Interval = tuple[float, float]


def median_interval(values: Sequence[float], confidence: float = 0.95) -> Interval | None:
    """An interval that holds the median with at least ``confidence``; None of too few values.

    Its ends are two of the values: that the median lies below the k-th smallest is k or more heads
    in n throws of a coin.

    Example:
        >>> median_interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
        (1.0, 6.0)
        >>> median_interval([1.0, 2.0, 3.0, 4.0, 5.0]) is None
        True
    """
    n, below, k = len(values), 0.0, 0
    while k < n // 2 and 2 * (below + math.comb(n, k) / 2**n) <= 1 - confidence:
        below += math.comb(n, k) / 2**n
        k += 1
    ordered = sorted(values)
    return (ordered[k - 1], ordered[n - k]) if k else None


def quartiles(values: Sequence[float]) -> Interval:
    """The first and the third quartile; of a single value, that value twice."""
    if len(values) < 2:
        return (values[0], values[0])
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def chance(old: Sequence[float], new: Sequence[float]) -> float:
    """How often series as different as these come from one distribution: the Mann-Whitney U test,
    two-sided.

    Example:
        >>> round(chance([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [11.0, 12.0, 13.0, 14.0, 15.0, 16.0]), 4)
        0.0022
    """
    n, m = len(old), len(new)
    if not n or not m:
        return 1.0
    u = sum((a > b) + (a == b) / 2 for a in old for b in new)
    least = min(u, n * m - u)
    ties = Counter([*old, *new]).values()
    if max(ties) == 1 and n * m <= EXACT:
        return min(1.0, 2 * _arrangements(n, m, int(least)) / math.comb(n + m, n))
    total = n + m
    tied = sum(t**3 - t for t in ties) / (total * (total - 1))
    variance = n * m / 12 * (total + 1 - tied)
    if variance <= 0:
        return 1.0
    z = max(0.0, n * m / 2 - least - 0.5) / math.sqrt(variance)
    return math.erfc(z / math.sqrt(2))


def _arrangements(n: int, m: int, most: int) -> int:
    """In how many orders of n old and m new values U is at most ``most``: the coefficients of the
    Gaussian binomial, built up factor by factor.
    """
    ways = [1] + [0] * most
    for i in range(1, n + 1):
        for u in range(most, m + i - 1, -1):  # times 1 - q^(m+i)
            ways[u] -= ways[u - m - i]
        for u in range(i, most + 1):  # over 1 - q^i
            ways[u] += ways[u - i]
    return sum(ways)
