"""How far legal arithmetic usually goes: F6, the calibrated noise inside the proven bound.

Each rounding of a partial sum ``s`` is off by 0.18 u^2 s^2 in the mean square (round to nearest,
significands spread evenly over their logarithm), so an element's error has the variance 0.18 u^2
times the sum of its partial sums' squares. In random order that is known from y and Q alone. Data
are not random: where channels cancel each other, every orderly loop has partial sums far larger
than that. So the partial sums are also taken from the data, in the orders that implementations use,
and the largest counts. A result far outside of this noise is suspect, though inside the proof.

What this needs is that roundings differ: it says nothing of sums so long that terms vanish in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np

from . import algorithm_bounds
from .bound import REFERENCE_ROUNDOFF, Arithmetic, Law, Sum
from .terms import Terms

#: Variance of one rounding to nearest, in u^2 times the square of the number that is rounded.
ROUNDING = 0.18
#: The mean of a truncation, in u times the number, and that of two inputs'.
CHOP = 0.36
#: Largest root mean square of error / sigma that is still noise; and where all cells of a channel
#: share an error, as they do of rounded or transformed weights under a flat image.
RMS, SHARED_RMS = 2.0, 5.0
#: The unit roundoff of float32.
SINGLE = 2.0**-24
#: Sums this short are taken in their worst order, at nearly no loss.
FEW = 16
#: Terms that are looked at; of larger results, a sample of elements.
LOOK = 2**20
#: Beyond this n*u terms vanish in the sum, and errors are no noise.
STAGNATES = 1 / 8
#: Between matrix instructions of a tensor core at least this many products are added exactly.
CHOP_BLOCK = 4


@dataclass(frozen=True)
class Noise:
    """What the verdict needs besides the bound.

    Args:
        sigma: standard deviation of each element's error; broadcasts to the result.
        limit: the largest |error / sigma| that is still noise.
        rule: which formulas, for the report.
        rms: the largest root mean square of error / sigma that is still noise.
    """

    sigma: np.ndarray
    limit: float
    rule: str
    rms: float = RMS

    def notices(self, want: np.ndarray) -> float | None:
        """The smallest fault of one element that is suspect, relative to a typical result (F15)."""
        sigma = np.broadcast_to(self.sigma, want.shape)
        known = np.isfinite(want) & np.isfinite(sigma)
        if not np.any(want[known]):
            return None
        typical = np.sqrt(np.mean(np.square(want[known])))
        return float(self.limit * np.median(sigma[known]) / typical)


def model(
    law: Law,
    want: np.ndarray,
    a: Arithmetic,
    algorithm: str,
    terms: Terms | None,
    look: int = LOOK,
) -> Noise | None:
    """The noise of a quantity computed in arithmetic ``a`` by ``algorithm``.

    Args:
        look: terms that are looked at.

    Returns:
        None where nothing is known: what is not a sum, complex numbers, integers and data that must
        be exact, sums in which terms vanish.
    """
    if not isinstance(law, Sum) or terms is None or not a.u_acc or not want.size:
        return None
    if float(np.max(law.n)) * a.u_acc > STAGNATES or bool(np.all(law.fits(a))):
        return None
    with np.errstate(all="ignore"):
        if look not in terms.memo:
            terms.memo[look] = _paths(law, want, terms, look)
        square, path, tail = terms.memo[look]
        sums = terms.squares * law.product + path + (1 + law.extra) * square
        rule, rms = "F6", SHARED_RMS if a.u_in else RMS
        if algorithm_bounds.applies(law, algorithm, terms):
            other = algorithm_bounds.variance(terms, want, a, algorithm)
            sums, rule, rms = np.maximum(sums, other), f"F6, {algorithm}", SHARED_RMS
        made = ROUNDING * (a.u_acc**2 + REFERENCE_ROUNDOFF**2) * sums
        if a.u_in:
            made = made + 2 * ROUNDING * a.u_in**2 * terms.squares
            made = made + (2 * CHOP * a.u_in) ** 2 * square
            rule += ", F7"
        if a.lost:
            made = made + a.lost**2 * terms.sides(2)
        if a.chops:
            made = made + (CHOP * a.u_acc / CHOP_BLOCK) ** 2 * law.n * path
        if a.u_out:
            stored = [np.abs(want)]
            if law.bias is not None:  # what was stored before the bias was added
                stored.append(np.abs(want) + law.bias)
            for size in stored:
                step = 2 * a.u_out * np.exp2(np.floor(np.log2(size)))
                made = made + np.maximum(step, a.tiny[1]) ** 2 / 12
        made = made + law.n * a.tiny[0] ** 2 + a.tiny[1] ** 2
    limit = max(10.0, log(100 * want.size) / 1.28, 5 * tail)
    return Noise(np.sqrt(made), limit, rule, rms)


def _paths(
    law: Sum, want: np.ndarray, terms: Terms, look: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """y^2; the sum of each element's squared partial sums; how unevenly a sample of it is spread.

    No order can exceed ``n ((S + |y|) / 2)^2``, as no partial sum exceeds ``(S + |y|) / 2``.
    """
    n, square = law.n + (law.extra == 1), want**2
    any_order = n * ((law.scale + np.abs(want)) / 2) ** 2
    most = int(np.max(n))
    if most <= FEW:
        return square, any_order, 1.0
    random = np.minimum(any_order, n * (square / 3 + terms.squares / 6))
    every = want.size * most <= look
    cells = np.arange(want.size)
    if not every:
        count = min(want.size, max(64, look // most))
        cells = np.sort(np.random.default_rng(0).choice(want.size, count, replace=False))
    matrix = terms.matrix(cells)
    tail = 1.0
    if matrix is not None:
        known = _orders(matrix, _starts(terms, want.shape, cells))
        if every:
            random = np.maximum(random, known.reshape(want.shape))
        else:
            ratio = known / np.broadcast_to(random, want.shape).reshape(-1)[cells]
            ratio = np.maximum(ratio[np.isfinite(ratio)], 1.0)
            mean = float(np.mean(ratio)) if ratio.size else 1.0
            tail = float(np.sqrt(np.max(ratio, initial=mean) / mean))
            random = random * mean
    return square, np.where(n <= FEW, any_order, random), tail


def _starts(terms: Terms, shape: tuple[int, ...], cells: np.ndarray) -> np.ndarray:
    """The bias of each cell, from which a sum may start, or 0."""
    if terms.bias is None:
        return np.zeros(())
    rank = terms.problem.rank
    whole = np.broadcast_to(terms.bias.reshape(-1, *(1,) * rank), shape)
    return whole.reshape(-1)[cells]


def _orders(matrix: np.ndarray, start: np.ndarray) -> np.ndarray:
    """The largest sum of squared partial sums over the orders of orderly loops: channels outside or
    inside the taps, forwards, backwards, and block after block.

    A term that is 0 rounds nothing and is not counted. Roundings that repeat are no noise: adding
    equal numbers is off by the same again and again. So the sums are also done in float32; an error
    beyond 3 sigma there widens sigma, in all dtypes alike.

    Shapes: (outer, inner, cells), (cells) → (cells).
    """
    worst, drift = np.zeros(matrix.shape[2]), np.zeros(matrix.shape[2])
    for laid in (matrix, matrix.swapaxes(0, 1)):
        there, row = laid != 0, laid.reshape(-1, laid.shape[2])
        partial = np.cumsum(row, axis=0).reshape(laid.shape) + start
        last = partial[-1, -1]
        for path in (partial, last - partial + start):
            worst = np.maximum(worst, np.einsum("ijk,ijk,ijk->k", path, path, there))
        block = np.cumsum(laid, axis=1)
        across = np.cumsum(block[:, -1], axis=0) + start
        inside = np.einsum("ijk,ijk,ijk->k", block, block, there)
        worst = np.maximum(worst, inside + np.einsum("ik,ik->k", across, across))
        single = row.astype(np.float32)
        for path in (single, single[::-1]):
            off = np.abs(np.cumsum(path, axis=0)[-1] - (last - start))
            drift = np.maximum(drift, np.where(np.isfinite(off), off, 0.0))
    return np.maximum(worst, (drift / (3 * SINGLE)) ** 2 / ROUNDING)
