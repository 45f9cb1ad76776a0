"""Bounds and noise of algorithms that do not add the terms as they are: Winograd (F9), FFT (F10).

Both compute the same sum by a detour, so an element's error is not held by its own S: Winograd's
takes part in the rounding of its whole tile, an FFT's in that of its whole plane. They must be
declared; where one does not apply, the direct sum's bound holds and the rule says so.

Source: Barabasz, Anderson, Soodhalter and Gregg, "Error analysis and improving the accuracy of
Winograd convolution for deep neural networks", arXiv:1803.10986; Higham, Accuracy and Stability of
Numerical Algorithms, 24.1 (FFT).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import log2, prod

import numpy as np

from ..errors import UsageError
from . import winograd
from .bound import REFERENCE_ROUNDOFF, Arithmetic, Bound, Law, Sum, g
from .terms import CONV_SUMS, Terms
from .winograd_phases import growth, phases, transforms

ALGORITHMS = ("direct", "winograd_f2", "winograd_f4", "winograd_f6", "fft")
#: One butterfly of a radix-2 FFT whose twiddle factors are right to u: u + g(4, u)(sqrt 2 + u).
#: Other radices are not worse.
BUTTERFLY = 6.7


def bound(law: Law, want: np.ndarray, a: Arithmetic, algorithm: str, terms: Terms | None) -> Bound:
    """How far each element may be off when it is computed by ``algorithm``.

    The direct bound is always included: borders of a tiled result may be summed directly.

    Raises:
        UsageError: another algorithm than ``ALGORITHMS``.
    """
    if not applies(law, algorithm, terms):
        direct = law.bound(want, a)
        note = "" if algorithm == "direct" else f" (direct: no {algorithm} of this sum)"
        return replace(direct, rule=direct.rule + note)
    assert isinstance(law, Sum)
    assert terms is not None
    inexact = replace(law, integral=False).bound(want, a)
    phased = not winograd.applies(terms.problem, terms.slot)
    grow = _fft if algorithm == "fft" else _phased if phased else _winograd
    grown, scale = grow(terms, a, algorithm)
    size = np.abs(want)
    tolerance = grown * (1 + a.u_out) + a.u_out * size + a.tiny[1]
    assert inexact.tolerance is not None
    tolerance = np.maximum(inexact.tolerance, np.where(scale < a.room, tolerance, np.inf))
    exact = 0.0
    if algorithm == "winograd_f2" and law.integral and law.peak * a.u_in <= 1:
        # G's halves leave multiples of 1/4: exact if four times the largest sum still fits.
        fits = 4 * scale <= 2.0**a.digits
        rounded = np.where(size <= 2.0**a.out_digits, 0.0, a.u_out * size)
        tolerance = np.where(fits, rounded, tolerance)
        exact = float(np.mean(fits))
    rule = "F11" if exact == 1.0 else f"{'F10' if algorithm == 'fft' else 'F9'}, {algorithm}"
    return replace(inexact, rule=rule, tolerance=tolerance, exact=exact)


def applies(law: Law, algorithm: str, terms: Terms | None) -> bool:
    """Whether the sum can be computed that way: a real convolution, and for Winograd of a 3 x 3
    window with stride and dilation 1, or one of its gradients.

    Raises:
        UsageError: another algorithm than ``ALGORITHMS``.
    """
    if algorithm not in ALGORITHMS:
        raise UsageError(f"algorithm must be one of {', '.join(ALGORITHMS)}, got {algorithm!r}")
    if algorithm == "direct" or terms is None or not isinstance(law, Sum):
        return False
    if algorithm == "fft":
        return terms.slot in CONV_SUMS
    if winograd.applies(terms.problem, terms.slot):
        return True
    cut = phases(terms.problem, terms.slot)
    return cut is not None and bool(transforms(int(algorithm[-1]), cut.r))


def _phased(terms: Terms, a: Arithmetic, algorithm: str) -> tuple[np.ndarray, np.ndarray]:
    """As ``_winograd``, from the largest elements of the planes that meet."""
    cut = phases(terms.problem, terms.slot)
    assert cut is not None
    planes = cut.together * _meet(terms, *(np.max(p, axis=(2, 3, 4)) for p in _sides(terms)))
    grown, scale = np.zeros(()), np.zeros(())
    for by in transforms(int(algorithm[-1]), cut.r):
        reach = growth(by, 1) * planes
        k = by.roundings + cut.together * _channels(terms) + (terms.bias is not None)
        grow = (1 + a.u_in) ** 2 * (1 + g(k, a.u_acc)) - 1 + g(k, REFERENCE_ROUNDOFF)
        lost = (a.tiny[0] + a.lost * 2) * k * by.out.shape[1] ** 2 * np.abs(by.out).max() ** 2
        grown = np.maximum(grown, grow * (reach + _bias(terms)) + lost)
        scale = np.maximum(scale, reach)
    return grown, scale


def _winograd(terms: Terms, a: Arithmetic, algorithm: str) -> tuple[np.ndarray, np.ndarray]:
    """The largest error over the known points, run forwards or as a derivative, and W."""
    grown, scale = np.zeros(()), np.zeros(())
    for by in _transforms(algorithm):
        reach = _tiled(terms, by, winograd.reach)
        k = by.roundings + _depth(terms, len(by.out)) + (terms.bias is not None)
        grow = (1 + a.u_in) ** 2 * (1 + g(k, a.u_acc)) - 1 + g(k, REFERENCE_ROUNDOFF)
        # An underflow anywhere is carried to the output by the last transform alone.
        lost = (a.tiny[0] + a.lost * 2) * k * by.out.shape[1] ** 2 * np.abs(by.out).max() ** 2
        grown = np.maximum(grown, grow * (reach + _bias(terms)) + lost)
        scale = np.maximum(scale, reach)
    return grown, scale


def _transforms(algorithm: str) -> list[winograd.Transforms]:
    m = int(algorithm[-1])
    return [winograd.matrices(points, m) for points in winograd.POINTS[m]]


def _tiled(terms: Terms, by: winograd.Transforms, step: winograd.Step) -> np.ndarray:
    """The larger of both ways to run the algorithm."""
    ways = [False] if terms.slot == "conv_wgrad" else [False, True]
    made = [winograd.run(terms.problem, terms.slot, terms.inputs, by, step, w) for w in ways]
    return np.maximum(made[0], made[-1])


def _depth(terms: Terms, m: int) -> int:
    """Products that Winograd adds up for one number: channels, or for weights all tiles."""
    if terms.slot != "conv_wgrad":
        return _channels(terms)
    height, width = terms.problem.call("conv_wgrad")[0][0][3:]
    return _channels(terms) * -(-height // m) * -(-width // m)


def _bias(terms: Terms) -> np.ndarray:
    """|b| as it stands beside the result, or 0."""
    if terms.bias is None:
        return np.zeros(())
    return np.abs(terms.bias).reshape(-1, *(1,) * terms.problem.rank)


def _channels(terms: Terms) -> int:
    """Terms of the sum in the transformed domain: channels, or for a weight's gradient images."""
    problem = terms.problem
    x, w = (problem.call("conv_wgrad")[i][0] for i in (0, 1))
    if terms.slot == "conv_wgrad":
        return int(x[0])
    return int(w[1] if terms.slot == "conv_fprop" else w[0] // problem.groups)


def _fft(terms: Terms, a: Arithmetic, algorithm: str) -> tuple[np.ndarray, np.ndarray]:
    """The norm-wise error of transforming, multiplying and transforming back.

    With ``t = log2`` of the transform's size and eta a butterfly: each forward transform is off by
    ``t*eta`` of its norm, which Parseval and Cauchy-Schwarz turn into ``|x||w|``; the way back is
    off by ``t*eta`` of the result's norm, at most ``|x|_2 |w|_1`` (Young).
    """
    t = _log_size(terms)
    eta = BUTTERFLY * a.u_acc
    two, one = _norms(terms, 2), _norms(terms, 1)
    products = (1 + a.u_in) ** 2 * (1 + g(_channels(terms) + 4, a.u_acc)) - 1
    grown = t * eta * (2 * two + one) * (1 + t * eta) + products * two
    grown = grown + g(2, a.u_acc) * _bias(terms) + terms.n * a.tiny[0] * t
    lost = 2 * a.lost * terms.sides(1) if a.lost else 0.0
    return grown + lost, one


def _log_size(terms: Terms) -> float:
    """log2 of the largest usual transform: the full linear convolution, rounded up to powers of 2,
    doubled.
    """
    problem = terms.problem
    reach = [d * (k - 1) + 1 for d, k in zip(problem.dilation, problem.kernel, strict=True)]
    pads = [lo + hi for lo, hi in problem.padding]
    sizes = zip(problem.in_size, problem.out_size, reach, pads, strict=True)
    return log2(prod(2.0 ** np.ceil(np.log2(max(i, o) + r + p)) for i, o, r, p in sizes)) + 1


def _norms(terms: Terms, order: int) -> np.ndarray:
    """For each plane of the result, the sum over channels (a weight's gradient: images) of the
    norms of the two planes that meet: 2-norm of the larger one times ``order``-norm of the other.
    """
    first, second = _sides(terms)
    axes = (2, 3, 4)
    p = np.sqrt(np.sum(first**2, axis=axes))
    q = np.sqrt(np.sum(second**2, axis=axes)) if order == 2 else np.sum(second, axis=axes)
    return _meet(terms, p, q)


def _sides(terms: Terms) -> list[np.ndarray]:
    """The absolute values of a pass's two arrays, (N or K, C, D, H, W)."""
    shapes = terms.problem.call(terms.slot)[0][:2]
    return [np.abs(a.reshape(s)) for a, s in zip(terms.inputs, shapes, strict=False)]


def _meet(terms: Terms, p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """For each plane of the result, the sum of p * q over the pairs of planes that make it.

    Shapes: p and q, a number a plane of the pass's arrays; the result with axes of size 1.
    """
    problem = terms.problem
    groups = problem.groups
    p = p.reshape(len(p), groups, -1)
    if terms.slot == "conv_wgrad":
        q = q.reshape(len(q), groups, -1)
        made = np.einsum("ngk,ngc->gkc", p, q).reshape(problem.call(terms.slot)[1][0][:2])
        return made.reshape(*made.shape, *(1,) * problem.rank)
    q = q.reshape(groups, -1, q.shape[1])
    subscripts = "ngc,gkc->ngk" if terms.slot == "conv_fprop" else "ngk,gkc->ngc"
    made = np.einsum(subscripts, p, q).reshape(len(p), -1)
    lead = made if problem.batch is not None else made[0]
    return lead.reshape(*lead.shape, *(1,) * problem.rank)


def variance(terms: Terms, want: np.ndarray, a: Arithmetic, algorithm: str) -> np.ndarray:
    """The variance of an element's error if all roundings are independent, in units of 0.18 u^2.

    Calibrated on simulations; where it applies, see ``applies``.
    """
    inputs = 2 * (a.u_in / a.u_acc) ** 2
    if algorithm != "fft" and not winograd.applies(terms.problem, terms.slot):
        cut = phases(terms.problem, terms.slot)
        assert cut is not None
        squares = [np.mean(p**2, axis=(2, 3, 4)) for p in _sides(terms)]
        planes = cut.together * _meet(terms, squares[0], squares[1])
        found = [growth(by, 2) for by in transforms(int(algorithm[-1]), cut.r)]
        steps = PHASE_STEPS + cut.together * _channels(terms) / 2 + inputs
        return steps * max(found) * planes + want**2
    if algorithm != "fft":
        made = np.zeros(())
        for by in _transforms(algorithm):
            step = partial(winograd.variance, inputs=inputs)
            made = np.maximum(made, _tiled(terms, by, step))
        return made + want**2
    t, channels = _log_size(terms), _channels(terms)
    axes = tuple(range(want.ndim - terms.problem.rank, want.ndim))
    level = np.mean(want**2, axis=axes, keepdims=True) if want.size else np.zeros(())
    plane = _norms(terms, 1) ** 2 / max(1, channels) / 2 ** (t - 1 - terms.problem.rank)
    return (FFT_STEPS * t + channels / 2 + inputs) * plane + (t + channels / 3) * level + want**2


#: Roundings of the transforms by phases in ``variance``; calibrated as there.
PHASE_STEPS = 6.0
#: Roundings a level of the transforms in ``variance``; calibrated as there.
FFT_STEPS = 3.0
