"""Which arithmetic ran: read from a result's errors, against what simulated arithmetics would give.

An error is tried on hypotheses, each of which must be decisive: inputs rounded to fewer digits are
rounded again here, and the error has to shrink to what summing costs; results of a narrow
accumulator have its digits; the rounding errors of a float32 sum, or of Winograd's tiles, must
agree with simulated ones. What noise explains as well is ``undecided``.

Calibrated on simulations on a CPU, not yet on the hardware that it names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from . import winograd
from .bound import DIGITS, PARTS, STORED, Sum
from .noise import LOOK, RMS, ROUNDING
from .reference import Expected, exact
from .rounding import quantise
from .terms import Terms

#: Fewer cells say nothing.
ENOUGH = 64
#: A correlation is one if chance would give it with less than about 1e-9: 6 of its deviations.
CHANCE = 6.0
#: A simulated algorithm must explain this much: a correlation; rounding errors share only a part.
AGREES = 0.25
#: Inputs were rounded so if that leaves less than this of the error, and no more than ``RESIDUE``
#: times the noise of the sum.
LEAVES, RESIDUE = 0.25, 3.0


@dataclass(frozen=True)
class Fingerprint:
    """What ran, as far as the errors tell.

    Args:
        name: ``float32 sums``, ``float64 sums``, ``correctly rounded``, ``tf32 inputs``, ``bf16
            inputs``, ``fp16 inputs``, ``11-bit inputs: tf32 or fp16``, ``fp16 accumulator``, ``bf16
            accumulator``, ``winograd-like``, ``fft-like`` or ``undecided``.
        text: one line with the evidence.
        digits: p_hat: of inputs whose rounding alone would make such errors (F7).
        ratio: root mean square of error / noise of the declared dtype's sums (F6).
    """

    name: str
    text: str
    digits: float | None = None
    ratio: float | None = None


@dataclass(frozen=True)
class _Case:
    """A result's errors, and what they are measured by; flat, judged cells only."""

    terms: Terms
    cells: np.ndarray
    got: np.ndarray
    want: np.ndarray
    sigma: np.ndarray
    dtype: str
    plane: int

    @property
    def error(self) -> np.ndarray:
        return self.got - self.want

    def agrees(self, off: np.ndarray) -> float:
        """Correlation of the errors with others, both in units of the noise and, as an error that a
        plane has in common says little, less each plane's mean; 0 if nothing varies.
        """
        pair = [z / self.sigma for z in (self.error, off)]
        _, plane = np.unique(self.cells // self.plane, return_inverse=True)
        count = np.bincount(plane)
        with np.errstate(all="ignore"):
            a, b = (z - (np.bincount(plane, z) / count)[plane] for z in pair)
            made = float(np.dot(a, b) / np.sqrt(np.dot(a, a) * np.dot(b, b)))
        return made if np.isfinite(made) else 0.0

    def left(self, values: np.ndarray) -> float:
        """Root mean square of the error in units of noise, if ``values`` were meant."""
        return _rms((self.got - np.reshape(values, -1)[self.cells]) / self.sigma)


def fingerprint(got: Any, expected: Expected) -> Fingerprint:
    """Which arithmetic gave ``got`` for the sum ``expected``."""
    noise, terms = expected.noise(), expected.terms
    if noise is None or terms is None or not isinstance(expected.law, Sum):
        return Fingerprint("undecided", "no sum of which the rounding errors are known")
    if tuple(got.shape) != expected.want.shape:
        return Fingerprint("undecided", "the shape is wrong")
    value, want = exact(got).reshape(-1), expected.want.reshape(-1)
    sigma = np.broadcast_to(noise.sigma, expected.want.shape).reshape(-1)
    with np.errstate(invalid="ignore"):
        known = np.isfinite(value) & np.isfinite(want) & (sigma > 0) & np.isfinite(sigma)
    first = np.unique(want[known], return_index=True)[1]
    cells = np.sort(np.flatnonzero(known)[first])
    if cells.size < ENOUGH:
        return Fingerprint("undecided", f"{cells.size} cells of different values are too few")
    plane = prod(expected.want.shape[-terms.problem.rank :])
    case = _Case(terms, cells, value[cells], want[cells], sigma[cells], expected.dtype, plane)
    ratio = case.left(want)
    squares = np.broadcast_to(terms.squares, expected.want.shape).reshape(-1)[cells]
    some = squares > 0
    off = (
        float(np.mean(case.error[some] ** 2 / (2 * ROUNDING * squares[some]))) if some.any() else 0
    )
    digits = float(-0.5 * np.log2(off)) if off > 0 else None
    zeros = np.broadcast_to(expected.law.scale == 0, expected.want.shape).reshape(-1)
    part = PARTS.get(expected.dtype, expected.dtype)
    for look in _LOOKS[part if part in ("float32", "float64") else "stored"]:
        found = look(case, expected, ratio, value[zeros])
        if found is not None:
            return Fingerprint(*found, digits, ratio)
    text = f"errors are {ratio:.2g} times the noise of {part} sums"
    text += ", which explains them" if ratio <= RMS else "; nothing that is known here fits"
    return Fingerprint("undecided", text, digits, ratio)


Found = tuple[str, str] | None


def _single_rounding(case: _Case, e: Expected, ratio: float, at_zero: np.ndarray) -> Found:
    """Every cell the exact sum, rounded once."""
    half = _half_step(case.want, case.dtype) * (1 + 2.0**-20)
    if np.max(e.terms.n if e.terms else 0) < 8 or not bool(np.all(np.abs(case.error) <= half)):
        return None
    if case.dtype in STORED:
        return "float32 sums", f"all are the exact sums, rounded once to {case.dtype}: or wider"
    return "correctly rounded", "all are the exact sums, rounded once: float64 or compensated sums"


def _inputs(case: _Case, e: Expected, ratio: float, at_zero: np.ndarray) -> Found:
    """Rounding the inputs to fewer digits first leaves nothing but the noise of the sum."""
    if ratio <= 2 * RESIDUE:  # less is no evidence
        return None
    left: dict[str, float] = {}
    for name, how in _INPUTS.items():
        arrays = [how(a) for a in case.terms.inputs[:2]] + list(case.terms.inputs[2:])
        if all(map(np.array_equal, arrays, case.terms.inputs)):
            continue
        with np.errstate(all="ignore"):
            left[name] = case.left(case.terms.run(*arrays))
    left = {n: r for n, r in left.items() if r <= RESIDUE and r <= LEAVES * ratio}
    if not left:
        return None
    best = min(left, key=lambda n: left[n])
    text = f"rounding the inputs like that leaves {left[best]:.2g} of {ratio:.3g} times the noise"
    alike = {n for n in left if left[n] <= 1.2 * left[best]}
    if {"tf32 inputs", "fp16 inputs"} <= alike:
        return "11-bit inputs: tf32 or fp16", text + "; only numbers beyond 65504 tell these apart"
    name, _, way = best.partition(", ")
    return name, f"{text} ({way})" if way else text


def _narrow_sums(case: _Case, e: Expected, ratio: float, at_zero: np.ndarray) -> Found:
    """An accumulator of 16 bits: results have its digits, or simulated sums agree."""
    if ratio <= 2 * RESIDUE:
        return None
    for name, dtype in (("bf16 accumulator", "bfloat16"), ("fp16 accumulator", "float16")):
        # Sums of 16 bits that are stored in float32 keep their digits; errors beyond one rounding
        # come from more than storing them.
        half = _half_step(case.want, dtype) * 1.01 + 4 * case.sigma
        beyond = float(np.mean(np.abs(case.error) > half))
        short = bool(np.all(quantise(case.got, dtype) == case.got))
        if short and beyond > 0.02 and _level(case, e, dtype):
            return (
                name,
                f"all results have {DIGITS[dtype]} digits, and more than one rounding's error",
            )
    matrix, some = _sample(case)
    if matrix is None:
        return None
    for name, dtype in (("bf16 accumulator", "bfloat16"), ("fp16 accumulator", "float16")):
        for every in (1, 4, 8, 16, 32, 64):
            agrees = some.agrees(_chunked(matrix, dtype, every) - some.want)
            if agrees > 0.9:
                return (
                    name,
                    f"a sum rounded every {every} terms gives the same errors ({agrees:.2f})",
                )
    return None


def _stored_sums(case: _Case, e: Expected, ratio: float, at_zero: np.ndarray) -> Found:
    """16-bit dtypes: errors beyond one rounding when stored, as large as narrow sums make them."""
    if ratio <= RESIDUE or not _level(case, e, case.dtype):
        return None
    name = "bf16 accumulator" if case.dtype == "bfloat16" else "fp16 accumulator"
    return (
        name,
        f"errors are {ratio:.3g} times the noise of float32 sums, and in size {case.dtype}'s",
    )


def _level(case: _Case, e: Expected, dtype: str) -> bool:
    """Whether the errors are as large as sums in ``dtype`` make them, and no systematic ones."""
    partial = np.abs(case.want) ** 2 / 3 + _flat(case, case.terms.squares) / 6
    n = _flat(case, np.asarray(case.terms.n))
    z = case.error / (np.sqrt(ROUNDING * (n + 1) * partial) * 2.0 ** -DIGITS[dtype])
    skewed = abs(case.agrees(case.want)) > 0.5
    return 0.03 < _rms(z) < 3 and float(np.max(np.abs(z))) < 20 and not skewed


def _direct(case: _Case, e: Expected, ratio: float, at_zero: np.ndarray) -> Found:
    """Errors agree with those of a simulated float32 sum of the terms as they are."""
    matrix, some = _sample(case)
    if ratio > RESIDUE or matrix is None:
        return None
    single = matrix.astype(np.float32)
    laid = (single, single.swapaxes(0, 1))
    sums = [np.cumsum(a.reshape(-1, a.shape[2]), axis=0)[-1].astype(np.float64) for a in laid]
    exactly = matrix.sum(axis=(0, 1))
    agrees = max(some.agrees(s - exactly) for s in sums)
    if agrees < AGREES or agrees * np.sqrt(some.cells.size) < CHANCE:
        return None
    return "float32 sums", f"errors go with those of a simulated float32 sum ({agrees:.2f})"


def _tiles(case: _Case, e: Expected, ratio: float, at_zero: np.ndarray) -> Found:
    """Errors agree with those of a simulated Winograd algorithm."""
    if not winograd.applies(case.terms.problem, case.terms.slot):
        return None
    single = tuple(a.astype(np.float32) for a in case.terms.inputs[:2])
    best, what = 0.0, ""
    for m, points in _transforms():
        by = winograd.matrices(points, m)
        made = winograd.run(case.terms.problem, case.terms.slot, single, by, winograd.convolve)
        off = _flat(case, made.astype(np.float64)) - case.want + _bias(case)
        agrees = case.agrees(off)
        if agrees > best:
            best, what = agrees, f"F({m}x{m}) at {', '.join(map(str, points))}"
    if best < AGREES or best * np.sqrt(case.cells.size) < CHANCE:
        return None
    return "winograd-like", f"errors go with those of a simulated {what} ({best:.2f})"


def _planes(case: _Case, e: Expected, ratio: float, at_zero: np.ndarray) -> Found:
    """Something where nothing is summed, and elsewhere errors as an FFT's: alike in a plane."""
    if not case.terms.slot.startswith("conv") or case.terms.slot == "conv_bgrad":
        return None
    noise = e.noise(algorithm="fft")
    bound = e.bound(algorithm="fft").tolerance
    if noise is None or bound is None:
        return None
    z = case.error / _flat(case, noise.sigma)
    inside = _rms(z) < 2 and float(np.max(np.abs(z))) < noise.limit
    share = float(np.mean(at_zero != 0)) if at_zero.size else 0.0
    if inside and share > 0.5:
        return "fft-like", f"{share:.0%} of the cells that sum nothing are not 0"
    if not inside or ratio <= RESIDUE:
        return None
    # Which of two maps of standard deviations, each scaled to fit, makes the errors more likely?
    gain = _likelihood(z) - _likelihood(case.error / case.sigma)
    gain += float(np.sum(np.log(case.sigma / _flat(case, noise.sigma))))
    if gain < 4 * CHANCE or _rms(z) < 0.05:
        return None
    return "fft-like", "errors are alike in a plane, whatever is summed where"


def _widened(case: _Case, e: Expected, ratio: float, at_zero: np.ndarray) -> Found:
    """float64 results that have float32's digits, or float64's noise."""
    if bool(np.all(quantise(case.got, "float32") == case.got)):
        return "float32 sums", "all results have 24 digits"
    if ratio <= RESIDUE:
        return "float64 sums", f"errors are {ratio:.2g} times the noise of float64 sums"
    return None


Look = Callable[[_Case, Expected, float, np.ndarray], Found]
_LOOKS: dict[str, tuple[Look, ...]] = {
    "float32": (_single_rounding, _inputs, _narrow_sums, _tiles, _direct, _planes),
    "float64": (_widened,),
    "stored": (_single_rounding, _stored_sums),
}


def _digits(values: np.ndarray, digits: int, to: Callable[..., np.ndarray]) -> np.ndarray:
    """``values`` with fewer digits, by ``to``: rounded or truncated."""
    exponent = np.frexp(values)[1] - digits
    return np.ldexp(to(np.ldexp(values, -exponent)), exponent)


_INPUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "tf32 inputs": lambda a: _digits(a, 11, np.rint),
    "tf32 inputs, ties away from 0": lambda a: _digits(a, 11, _ties_away),  # PTX cvt.rna.tf32
    "tf32 inputs, truncated": lambda a: _digits(a, 11, np.trunc),
    "fp16 inputs": lambda a: quantise(a, "float16"),
    "bf16 inputs": lambda a: quantise(a, "bfloat16"),
    "bf16 inputs, truncated": lambda a: _digits(a, 8, np.trunc),
}


def _ties_away(a: np.ndarray) -> np.ndarray:
    return np.trunc(a + np.copysign(0.5, a))


def _transforms() -> Iterator[tuple[int, tuple[Any, ...]]]:
    for m, sets in winograd.POINTS.items():
        yield from ((m, points) for points in sets)


def _sample(case: _Case) -> tuple[np.ndarray | None, _Case]:
    """The terms of as many cells as are worth it, and these cells."""
    most = max(ENOUGH, LOOK // max(1, int(np.max(case.terms.n))))
    at = np.linspace(0, case.cells.size - 1, min(most, case.cells.size)).astype(int)
    cells, got, want, sigma = (a[at] for a in (case.cells, case.got, case.want, case.sigma))
    some = replace(case, cells=cells, got=got, want=want, sigma=sigma)
    return case.terms.matrix(some.cells), some


def _chunked(matrix: np.ndarray, dtype: str, every: int) -> np.ndarray:
    """Sums in the naive loop's order, rounded to ``dtype`` every so many terms; from inputs as they
    are.
    """
    rows = matrix.reshape(-1, matrix.shape[2])
    total = np.zeros(rows.shape[1])
    for start in range(0, len(rows), every):
        total = quantise(total + rows[start : start + every].sum(axis=0), dtype)
    return total


def _bias(case: _Case) -> np.ndarray | float:
    """What is added to each cell, or 0."""
    if case.terms.bias is None:
        return 0.0
    shape = case.terms.problem.output_shape
    whole = np.broadcast_to(case.terms.bias.reshape(-1, *(1,) * case.terms.problem.rank), shape)
    return whole.reshape(-1)[case.cells]


def _flat(case: _Case, values: np.ndarray) -> np.ndarray:
    """The case's cells of an array that broadcasts to the result."""
    shape = np.broadcast_shapes(values.shape, np.shape(case.terms.squares))
    return np.broadcast_to(values, shape).reshape(-1)[case.cells]


def _half_step(want: np.ndarray, dtype: str) -> np.ndarray:
    """Half a unit in the last place of ``want`` in ``dtype``."""
    return np.ldexp(1.0, np.frexp(want)[1] - DIGITS[dtype] - 1)


def _rms(z: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(z))))


def _likelihood(z: np.ndarray) -> float:
    """Of a normal distribution around 0, with the deviation that fits best; but for a constant."""
    return -z.size * float(np.log(_rms(z))) if _rms(z) > 0 else 0.0
