"""The verdict: does a result have the shape, the dtype and, element by element, a value that legal
arithmetic can give?

Three answers: ``wrong``, beyond the proven bound; ``suspect``, inside it but outside the noise that
such arithmetic makes (F6), where a model of it is given; ``consistent``. An element passes only if
its error is ``<=`` its bound. The test is written that way round because NaN must fail it: ``not
error <= bound`` is true for NaN, ``error > bound`` is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import arrays
from .bound import Bound, detectable
from .noise import Noise
from .reference import exact

#: The three answers, from the best.
LEVELS = ("consistent", "suspect", "wrong")
#: So many different cells make a mean.
MANY = 64
#: A mean is taken of at most so many cells.
SAMPLE = 2**18


@dataclass(frozen=True)
class Verdict:
    """What came of one comparison.

    Args:
        ok: whether nothing is wrong; a suspect result is ok.
        kind: ``ok``, ``shape``, ``dtype``, ``value`` or ``unjudged`` (a check that could not fail).
        reason: one line for a reader; empty if consistent.
        error: largest absolute error; NaN where a NaN is wrong, None if shapes differ.
        worst: the cell that is nearest to its bound, or furthest beyond it.
        ratio: error / bound in that cell (infinite if the bound is 0 and the error is not).
        wrong: cells beyond their bound.
        cells: cells compared; ``unjudged``: those among them of which the bound says nothing.
        level: ``wrong``, ``suspect`` or ``consistent``. What is unjudged is suspect: nothing is
            proven.
        z_rms, z_max: root mean square and largest of error / noise; the mean is over cells of
            different values, None if they are few. None where there is no model of the noise.
        suspect: cells outside of the noise; None as before.
        detects: the smallest fault, relative to a typical result, that is proven (F15);
            ``notices``: that is at least suspect.
    """

    ok: bool
    kind: str
    reason: str = ""
    error: float | None = None
    worst: tuple[int, ...] | None = None
    ratio: float | None = None
    wrong: int = 0
    cells: int = 0
    unjudged: int = 0
    level: str = "wrong"
    z_rms: float | None = None
    z_max: float | None = None
    suspect: int | None = None
    detects: float | None = None
    notices: float | None = None


def compare(
    got: Any, want: np.ndarray, bound: Bound, problem: Any = None, noise: Noise | None = None
) -> Verdict:
    """Judge ``got`` (torch or NumPy) against the exact values ``want``.

    Args:
        problem: if given, a wrong size is explained by the rounding rule that gives it.
        noise: if given, what is not wrong may still be suspect.
    """
    shape = tuple(got.shape)
    if shape != want.shape:
        return Verdict(False, "shape", shape_reason(shape, want.shape, problem))
    dtype = arrays.dtype_name(got)
    if dtype != bound.dtype:
        return Verdict(False, "dtype", f"expected dtype {bound.dtype}, got {dtype}")
    value = exact(got)
    if not value.size:
        return Verdict(True, "ok", error=0.0, ratio=0.0, level="consistent")
    with np.errstate(all="ignore"):
        error, ratio = _ratios(value, want, bound)
    wrong = ~(ratio <= 1)
    order = np.where(np.isnan(ratio), np.inf, ratio)
    worst = np.unravel_index(int(np.argmax(order)), shape)
    at = tuple(int(i) for i in worst)
    count, mute = int(np.count_nonzero(wrong)), _unjudged(bound, want)
    largest = float(error[at]) if np.isnan(error[at]) or count else float(np.nanmax(error))
    kind, reason, level = "ok", "", "consistent"
    z_rms = z_max = suspect = None
    if noise is not None:
        z_rms, z_max, suspect, reason = _doubt(error, want, noise)
        level = "suspect" if reason else level
    if count:
        kind, level = "value", "wrong"
        reason = (
            f"{count:,} of {value.size:,} wrong; at {show(at)} got {value[at]}, want {want[at]}"
        )
    elif mute == value.size:
        kind, level = "unjudged", "suspect"
        reason = "the bound says nothing of any cell: overflow, or too many terms"
    return Verdict(
        kind == "ok",
        kind,
        reason,
        largest,
        at if order[at] else None,
        float(order[at]),
        count,
        value.size,
        mute,
        level,
        z_rms,
        z_max,
        suspect,
        detectable(bound, want),
        None if noise is None else noise.notices(want),
    )


def _doubt(
    error: np.ndarray, want: np.ndarray, noise: Noise
) -> tuple[float | None, float | None, int | None, str]:
    """Root mean square and largest of error / sigma, how many are too large, and what to say of it.

    Equal sums of equal numbers have equal errors: they count once in the mean.
    """
    sigma = np.broadcast_to(noise.sigma, want.shape)
    known = np.isfinite(error) & np.isfinite(sigma) & (sigma > 0)
    if not known.any():
        return None, None, None, ""
    z, values = error[known] / sigma[known], want[known]
    largest, count = float(z.max()), int(np.count_nonzero(z > noise.limit))
    step = -(-z.size // SAMPLE)
    first = np.unique(values[::step], return_index=True)[1]
    rms = float(np.sqrt(np.mean(z[::step][first] ** 2))) if first.size >= MANY else None
    reason = ""
    if count:
        at = np.unravel_index(int(np.flatnonzero(known)[np.argmax(z)]), want.shape)
        reason = f"{count:,} of {want.size:,} outside of the noise, at {show(tuple(map(int, at)))} "
        reason += f"by {largest:.3g} sigma (limit {noise.limit:.3g})"
    elif rms is not None and not rms <= noise.rms:
        reason = f"errors are {rms:.3g} times the noise in the mean (limit {noise.rms:.3g})"
    return rms, largest, count, reason


def _unjudged(bound: Bound, want: np.ndarray) -> int:
    """Cells whose bound is infinite."""
    if bound.tolerance is None:
        return 0
    return int(np.count_nonzero(np.isinf(np.broadcast_to(bound.tolerance, want.shape))))


def _ratios(value: np.ndarray, want: np.ndarray, bound: Bound) -> tuple[np.ndarray, np.ndarray]:
    """Absolute error, and error / bound, of every cell: 0 if right, infinite or NaN if no bound can
    excuse it.
    """
    error = np.abs(np.subtract(value, want, dtype=_signed(value)))
    if bound.tolerance is None:
        return error, np.where(same_bits(value, want), 0.0, np.inf)
    tolerance = np.broadcast_to(bound.tolerance, want.shape)
    equal = value == want  # of integers as integers: their float64 difference may be 0
    ratio = np.where(equal, 0.0, np.where(tolerance > 0, error / tolerance, np.inf))
    ratio = np.where(np.isnan(value), np.nan, ratio)
    ratio = np.where(np.isinf(tolerance), 0.0, ratio)  # nothing can be said of this cell
    finite = np.isfinite(want)
    # Infinity and NaN are right only where they are due: the same infinity, or any NaN for a NaN …
    special = np.where(equal | (np.isnan(value) & np.isnan(want)), 0.0, np.inf)
    ratio = np.where(finite | np.isinf(tolerance), ratio, special)
    # … or where the exact result, give or take its bound, is beyond the dtype's range.
    if value.dtype.kind == "f":
        due = np.abs(want) + tolerance > bound.largest * (1 - 2.0**-52)
        over = np.isinf(value) & finite & due & (np.sign(value) == np.sign(want))
        ratio = np.where(over, 0.0, ratio)
    return error, ratio


def _signed(value: np.ndarray) -> Any:
    """Differences of integers are reported as floats; everything else keeps its own dtype."""
    return np.float64 if value.dtype.kind in "iu" else value.dtype


def same_bits(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Equal, with the same sign of zero; any NaN equals any NaN."""
    if a.dtype.kind == "c":
        return same_bits(a.real, b.real) & same_bits(a.imag, b.imag)
    if a.dtype.kind != "f":
        return a == b
    return ((a == b) & (np.signbit(a) == np.signbit(b))) | (np.isnan(a) & np.isnan(b))


def show(shape: tuple[int, ...]) -> str:
    """``[1,16,10,10]``."""
    return f"[{','.join(map(str, shape))}]"


def shape_reason(got: tuple[int, ...], want: tuple[int, ...], problem: Any = None) -> str:
    """``expected [..] got [..] differs at H``, and, where it explains the number, ``floor vs
    ceil``.
    """
    text = f"expected {show(want)} got {show(got)}"
    if len(got) != len(want):
        return f"{text} {len(got)} axes instead of {len(want)}"
    names = axis_names(len(want), problem)
    at = [a for a in range(len(want)) if got[a] != want[a]]
    text += f" differs at {', '.join(names[a] for a in at)}"
    rank = getattr(problem, "rank", 0)
    rounded = [_other_rounding(problem, a - (len(want) - rank)) for a in at]
    if at and all(size == got[a] for size, a in zip(rounded, at, strict=True)):
        text += ": ceil vs floor" if getattr(problem, "ceil_mode", False) else ": floor vs ceil"
    return text


def axis_names(axes: int, problem: Any = None) -> list[str]:
    """N, C, D, H, W as far as they apply, counted from the last."""
    rank = getattr(problem, "rank", max(axes - 2, 0))
    spatial = ["D", "H", "W"][3 - rank :] if 0 < rank <= 3 else []
    lead = ["N", "C"][2 - (axes - len(spatial)) :] if axes - len(spatial) <= 2 else []
    return lead + spatial if len(lead + spatial) == axes else [f"axis {a}" for a in range(axes)]


def _other_rounding(problem: Any, axis: int) -> int | None:
    """The size of spatial ``axis`` if the division were rounded the other way."""
    if axis < 0 or not getattr(problem, "stride", ()) or getattr(problem, "transposed", False):
        return None
    pad = problem.padding[axis]
    both = sum(pad) if isinstance(pad, tuple) else 2 * pad
    size = (problem.in_size if hasattr(problem, "in_size") else problem.size)[axis]
    room = size + both - problem.dilation[axis] * (problem.kernel[axis] - 1) - 1
    if getattr(problem, "ceil_mode", False):
        return room // problem.stride[axis] + 1
    return -(-room // problem.stride[axis]) + 1
