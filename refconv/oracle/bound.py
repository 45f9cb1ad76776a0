"""Proven error bounds, per element: how far any legal order of the declared arithmetic may be from
the exact result.

A result is a sum of ``n`` terms whose absolute values sum to ``S``. Every rounding multiplies a
term by ``1 + d`` with ``|d| <= u``; a term that passes through at most ``k`` of them is off by at
most ``g(k, u) = k*u / (1 - k*u)`` of itself, so the sum is off by at most ``g(k, u) * S``, in any
order, with or without FMA. The right scale is S of that very element: a maximum over the tensor, or
an absolute tolerance, is blind in quiet channels.

Source: Higham, Accuracy and Stability of Numerical Algorithms, 3.1. The names F1, F3, F4, F11, F13
and F14 are those of docs/reference/bounds.md. How far legal arithmetic usually goes, which is much
less, is ``noise``; other algorithms than a direct sum are in ``algorithm_bounds``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any, Protocol

import numpy as np

from ..errors import UsageError

#: Digits of the significand; the unit roundoff is 2**-digits.
DIGITS = {
    "float64": 53,
    "float32": 24,
    "float16": 11,
    "bfloat16": 8,
    "float8_e4m3fn": 4,
    "float8_e5m2": 3,
}
#: Exponent of the smallest subnormal.
TINIEST = {
    "float64": -1074,
    "float32": -149,
    "float16": -24,
    "bfloat16": -133,
    "float8_e4m3fn": -9,
    "float8_e5m2": -16,
}
#: Largest finite number.
LARGEST = {
    "float64": float(np.finfo(np.float64).max),
    "float32": float(np.finfo(np.float32).max),
    "float16": 65504.0,
    "bfloat16": (2 - 2**-7) * 2.0**127,
    "float8_e4m3fn": 448.0,
    "float8_e5m2": 57344.0,
}
#: The real dtype of a complex number's parts.
PARTS = {"complex128": "float64", "complex64": "float32", "complex32": "float16"}
#: Real dtypes that are accumulated in float32 and rounded when stored.
STORED = ("float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")

REFERENCE_ROUNDOFF = 2.0**-53
#: Digits that float32 inputs keep in a declared precision, as a unit roundoff. TF32's is that of
#: hardware that truncates.
INPUTS = {"tf32": 2.0**-10, "bf16": 2.0**-8, "fp16": 2.0**-11}
#: The accumulator of a declared precision; float32 inputs are rounded to it as well.
ACCUMULATORS = {"fp16_acc": "float16", "bf16_acc": "bfloat16"}
PRECISIONS = ("ieee", *INPUTS, "narrow", *ACCUMULATORS)
#: What rounding a number to float16 can lose besides relative 2**-11.
HALF_LOSS = 2.0**-25


@dataclass(frozen=True)
class Arithmetic:
    """The rounding that a candidate declares.

    Args:
        dtype: of the result.
        u_in, u_acc, u_out: unit roundoff of inputs (0: used as they are), of products and sums, of
            the stored result (0: stored as accumulated).
        tiny: what one underflow can lose, while summing and when stored.
        digits: of the accumulator: integers up to ``2**digits`` are exact in it.
        out_digits: of the stored result.
        largest: the largest finite result; ``room``: the largest finite sum.
        lost: what an input loses at most besides ``u_in`` of itself (float16 underflows).
        chops: whether sums may be truncated instead of rounded, as tensor cores do.
    """

    dtype: str
    u_in: float
    u_acc: float
    u_out: float
    tiny: tuple[float, float]
    digits: int
    out_digits: int
    largest: float
    room: float
    lost: float = 0.0
    chops: bool = False


def arithmetic(dtype: str, precision: str = "ieee") -> Arithmetic:
    """What is declared for ``dtype``: itself, or for 16 bits and fewer, sums in float32.

    Args:
        precision: ``ieee``; ``tf32``, ``bf16``, ``fp16``: float32 inputs are rounded to that before
            they are multiplied and tensor cores truncate while they add (2**-23); ``narrow``:
            16-bit dtypes are also summed in 16 bits; ``fp16_acc``, ``bf16_acc``: sums, and float32
            inputs, in that dtype. A precision that says nothing of ``dtype`` changes nothing.
            Source: F3, F4.

    Raises:
        UsageError: another precision.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    part = PARTS.get(dtype, dtype)
    if part not in DIGITS:  # integers: nothing rounds
        return Arithmetic(dtype, 0.0, 0.0, 0.0, (0.0, 0.0), 63, 63, np.inf, np.inf)
    stored, single = part in STORED, part == "float32"
    acc = "float32" if stored and precision != "narrow" else part
    if stored or single:
        acc = ACCUMULATORS.get(precision, acc)
    chops = single and precision in INPUTS
    rounded = 2.0 ** -DIGITS[acc] if single and acc != part else 0.0
    return Arithmetic(
        dtype=dtype,
        u_in=INPUTS[precision] if chops else rounded,
        u_acc=2.0 ** -(DIGITS[acc] - chops),
        u_out=2.0 ** -DIGITS[part] if stored else 0.0,
        tiny=(2.0 ** TINIEST[acc], 2.0 ** TINIEST[part] if stored else 0.0),
        digits=DIGITS[acc],
        out_digits=DIGITS[part],
        largest=LARGEST[part],
        room=LARGEST[acc],
        lost=HALF_LOSS if single and precision in ("fp16", "fp16_acc") else 0.0,
        chops=chops,
    )


def g(k: Any, u: float) -> Any:
    """``k*u / (1 - k*u)``: the relative error that ``k`` roundings can make; infinite from ``k*u =
    1`` on.
    """
    ku = np.asarray(k, dtype=np.float64) * u
    with np.errstate(divide="ignore"):
        return np.where(ku < 1, ku / np.abs(1 - np.minimum(ku, 1)), np.inf)


@dataclass(frozen=True)
class Bound:
    """What the verdict needs: how far each element may be off.

    Args:
        rule: which formula, for the report.
        dtype: that the result must have.
        tolerance: broadcasts to the result; None means bit for bit, the sign of zero included.
        largest: finite numbers of the dtype end here; beyond, infinity is the right answer.
        terms: the largest number of terms of an element.
        exact: share of the elements that have to be equal.
    """

    rule: str
    dtype: str
    tolerance: np.ndarray | None
    largest: float = np.inf
    terms: int = 1
    exact: float = 0.0


class Law(Protocol):
    """How the error of one quantity grows; made once per case, asked once per arithmetic."""

    def bound(self, want: np.ndarray, a: Arithmetic) -> Bound:
        """The bound of the quantity whose exact value is ``want``, computed in arithmetic ``a``."""
        ...


@dataclass(frozen=True)
class Move:
    """Elements are only moved or chosen: max pooling and its indices, unfold, padding, unpooling.
    Bit for bit.
    """

    def bound(self, want: np.ndarray, a: Arithmetic) -> Bound:
        """Nothing may differ."""
        return Bound("bit for bit", a.dtype, None, exact=1.0)


@dataclass(frozen=True)
class Whole:
    """Integer dtypes: sums wrap as in C, so every order gives the same number."""

    def bound(self, want: np.ndarray, a: Arithmetic) -> Bound:
        """Equality."""
        return Bound("equal", a.dtype, np.zeros(()), exact=1.0)


@dataclass(frozen=True)
class Sum:
    """A sum of ``n`` terms: F1, F3, F11 and F14.

    Args:
        n: terms of each element, an integer array that broadcasts to the result.
        scale: S, the sum of the terms' absolute values, in float64.
        product: whether a term is a product of two inputs (convolution): one rounding.
        extra: roundings besides the ``n - 1`` additions and the product: 1 for a bias, 2 for a
            division (a division may be a multiplication by the rounded reciprocal).
        integral: all inputs are integers, so where S fits the accumulator every partial sum is
            exact (F11); ``peak``: the largest of them.
        parts: 2 for complex numbers.
        sides: the sums of each factor's absolute values, added: what inputs that underflow cost.
        special: whether an input is infinite or NaN, so that sums are, whatever their order.
        bias: its absolute values, if there is one: a sum may be stored before it is added.

    Complex products (parts = 2): computed as written, each part is a real sum of 2n products, in
    which ``|ac| + |bd| <= |x||w|``, so a part is off by ``g(2n, u) S`` and the number by sqrt(2)
    times that. torch's CPU multiplies three times instead of four: ``c - a - b`` with c =
    (xr+xi)(wr+wi), whose terms are up to 2|x||w| after two more roundings, so its parts are off by
    ``g(n+1, u) S`` and ``3 g(n+4, u) S``. Both are below ``sqrt(10) g(2n+4, u) S``.
    """

    n: np.ndarray
    scale: np.ndarray
    product: bool
    extra: int = 0
    integral: bool = False
    parts: int = 1
    peak: float = 0.0
    sides: Callable[[], np.ndarray] | None = None
    special: bool = False
    bias: np.ndarray | None = None

    def fits(self, a: Arithmetic) -> np.ndarray:
        """Where every partial sum is exact: F11."""
        if not self.integral or self.peak * a.u_in > 1:
            return np.zeros(self.scale.shape, dtype=bool)
        return self.scale * (4 if self.parts == 2 else 1) <= 2.0**a.digits

    def bound(self, want: np.ndarray, a: Arithmetic) -> Bound:
        """F3 (F1 is its case without rounding of inputs and results), and equality where F11 gives
        it.
        """
        roundings = np.maximum(self.n - 1 + self.product + self.extra, 0)
        grow = 1.0
        if self.parts == 2 and self.product:
            roundings, grow = 2 * roundings + 4, sqrt(10)
        size = np.abs(want)
        inputs = (1 + a.u_in) ** (1 + self.product)
        u = REFERENCE_ROUNDOFF
        # The reference's own error, and that of S as it was computed, are added: F13.
        own = grow * g(roundings, u) * self.scale
        scale = self.scale * (1 + 2 * g(roundings, u))
        tolerance = grow * (inputs * (1 + g(roundings, a.u_acc)) - 1) * scale * (1 + a.u_out)
        tolerance = tolerance + a.u_out * size + own + self.n * a.tiny[0] + a.tiny[1]
        if self.bias is not None:
            tolerance = tolerance + a.u_out * (1 + a.u_out) * (size + self.bias)
        if a.lost and self.sides is not None:
            tolerance = tolerance + 2 * a.lost * self.sides()
        tolerance = np.where(self.scale < a.room, tolerance, np.inf)
        if self.special:  # these sums are infinite or NaN in every order
            tolerance = np.where(np.isfinite(self.scale), tolerance, 0.0)
        exact = 0.0
        if self.integral:
            fits = self.fits(a)
            before = size if self.bias is None else size + self.bias  # what is stored first
            off = a.u_out * size if self.bias is None else 2 * a.u_out * (size + before)
            rounded = np.where(before <= 2.0**a.out_digits, 0.0, off)
            if self.extra == 2:  # the sum is exact, the division is not; nor is the reference's
                rounded = (g(2, a.u_acc) * (1 + a.u_out) + a.u_out + u) * size
            tolerance = np.where(fits, rounded, tolerance)
            exact = float(np.mean(np.broadcast_to(fits, want.shape))) if want.size else 1.0
        name = "F11" if exact == 1.0 else "F1" if a.u_out == a.u_in == 0 else "F3"
        terms = int(np.max(self.n, initial=0)) + (self.extra == 1)
        return Bound(name, a.dtype, tolerance, a.largest, terms, exact)


@dataclass(frozen=True)
class Root:
    """lp_pool: ``(sum |x|^p)^(1/p)`` as torch writes it: pow, average pooling, times the window's
    size, pow.

    Each pow is taken to be within 2 units in the last place, 4u (C libraries and vector libraries
    promise 1); each step rounds to the dtype, as four calls do. The sum ``t`` is then off by at
    most ``e*T``, where T sums the absolute powers, and the root, being monotone, lies between the
    roots of ``t - e*T`` and ``t + e*T``; the exponent 1/p, itself rounded, moves the result by
    ``|log t| u / p``.

    Args:
        n: taps of each window.
        total: t, and scale: T, both in float64.
        norm: p.
    """

    n: np.ndarray
    total: np.ndarray
    scale: np.ndarray
    norm: float

    def off(self, a: Arithmetic) -> np.ndarray:
        """How far the sum of powers may be off."""
        u = max(a.u_acc, a.u_out)
        e = (1 + 4 * u) * (1 + g(self.n + 1, a.u_acc)) * (1 + u) ** 2 - 1 + 1e-15
        return e * self.scale + self.n * max(a.tiny)

    def bound(self, want: np.ndarray, a: Arithmetic) -> Bound:
        """The wider side of the interval; unbounded where the sum of powers may be negative (its
        root is NaN).
        """
        u, off = max(a.u_acc, a.u_out), self.off(a)
        with np.errstate(invalid="ignore", divide="ignore"):
            high = (self.total + off) ** (1 / self.norm)
            low = np.maximum(self.total - off, 0) ** (1 / self.norm)
            log = np.abs(np.log(np.maximum(self.total, 1e-300)))
            tolerance = np.maximum(high - want, want - low)
            tolerance = tolerance + high * (5 * u + u * log / abs(self.norm)) + max(a.tiny)
        doubtful = (self.total - off < 0) & (self.scale > self.total * (1 + 1e-12))
        tolerance = np.where(doubtful | ~np.isfinite(tolerance), np.inf, tolerance)
        return Bound("F3, composite", a.dtype, tolerance, a.largest, int(np.max(self.n, initial=0)))


@dataclass(frozen=True)
class RootGradient:
    """The gradient of lp_pool: ``p x^(p-1)`` times windows' sums of ``dy t^(1/p-1) cells/(p k)``.

    The slope ``t^(1/p-1)`` is monotone in t: it lies between its values at the ends of ``Root``'s
    interval; the rest is at most 16 roundings of pow (4 each), products and the division, and the
    sum over windows. Where t is 0 torch lets nothing through.

    Args:
        root: the forward pass's law; ``steep``: ``dy (1/p) cells``; ``own``: ``p x^(p-1)``.
        spread: average pooling's backward in float64.
        n: windows that hold each element.
    """

    root: Root
    steep: np.ndarray
    own: np.ndarray
    spread: Callable[[np.ndarray], np.ndarray]
    n: np.ndarray

    def slope(self, total: np.ndarray) -> np.ndarray:
        """``t^(1/p - 1)``, and 0 where t is."""
        with np.errstate(all="ignore"):
            return np.where(total == 0, 0.0, total ** (1 / self.root.norm - 1))

    def bound(self, want: np.ndarray, a: Arithmetic) -> Bound:
        """The slope's interval, spread like the gradient itself, plus the roundings."""
        u, total, norm = max(a.u_acc, a.u_out), self.root.total, self.root.norm
        off = self.root.off(a)
        slope, steep = self.slope(total), np.abs(self.steep)
        with np.errstate(all="ignore"):
            sides = [np.abs(self.slope(total + s * off) - slope) for s in (1, -1)]
            logs = u * np.abs(np.log(np.abs(np.where(total == 0, 1, total)))) * abs(1 / norm - 1)
            wide = np.where((total == 0) | (total > off), np.maximum(*sides), np.inf) + slope * logs
            wide = np.where((total == 0) & (self.root.scale == 0), 0.0, wide) * steep
            rounding = (1 + 16 * u) * (1 + g(self.n + 3, a.u_acc)) - 1
            scale = self.spread(slope * steep + wide)
            tolerance = np.abs(self.own) * (self.spread(wide) + rounding * scale)
        tolerance = np.where(np.isnan(tolerance), np.inf, tolerance) + self.n * max(a.tiny)
        return Bound("F3, composite", a.dtype, tolerance, a.largest, int(np.max(self.n, initial=0)))


def detectable(bound: Bound, want: np.ndarray) -> float | None:
    """The smallest fault that is surely caught, relative to a typical result: ``2 * bound / rms``
    (F15).
    """
    if bound.tolerance is None or not want.size:
        return None
    rms = float(np.sqrt(np.mean(np.square(np.abs(want), dtype=np.float64))))
    worst = float(np.median(np.broadcast_to(bound.tolerance, want.shape)))
    return 2 * worst / rms if rms > 0 and np.isfinite(worst) else None
