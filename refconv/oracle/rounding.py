"""Correct rounding: of rational numbers, and of pairs ``hi + lo`` that are known up to an error.

To nearest, ties to even, once: a number that is rounded to float64 on its way to float32 can end on
the wrong side of a tie. Ziv's test avoids it: if both ends of the interval in which the exact
number lies round alike, so does the number; else more digits are needed. Source: Ziv, "Fast
evaluation of elementary mathematical functions with correctly rounded last bit", TOMS 1991.
"""

from __future__ import annotations

from math import copysign, inf, ldexp

import numpy as np

from .bound import DIGITS, LARGEST, TINIEST

#: NumPy's dtype that holds the numbers of each dtype exactly.
HOLDER = {"float64": np.float64, "float16": np.float16, "complex128": np.complex128}


def holder(dtype: str) -> np.dtype:
    """``dtype`` itself where NumPy has it; float32 (complex64) where it does not.

    Example:
        >>> holder("float16"), holder("bfloat16"), holder("int8")
        (dtype('float16'), dtype('float32'), dtype('int8'))
    """
    if "float" not in dtype and not dtype.startswith("complex"):
        return np.dtype(dtype)
    narrow = np.complex64 if dtype.startswith("complex") else np.float32
    return np.dtype(HOLDER.get(dtype, narrow))


def nearest(numerator: int, denominator: int, dtype: str) -> float:
    """The number of ``dtype`` next to the fraction; of two, the even one.

    Beyond the largest it is infinite, or the largest where the dtype has no infinity (torch's
    conversion).

    Example:
        >>> nearest(1, 3, "float16"), nearest(2049, 1, "float16"), nearest(70000, 1, "float16")
        (0.333251953125, 2048.0, inf)
    """
    negative = (numerator < 0) != (denominator < 0)
    n, d = abs(numerator), abs(denominator)
    if n == 0:
        return 0.0
    # The quotient has DIGITS or one more digits in front of this exponent's unit.
    exponent = max(n.bit_length() - d.bit_length() - DIGITS[dtype], TINIEST[dtype])
    while True:
        q, r = divmod(n << max(-exponent, 0), d << max(exponent, 0))
        if q.bit_length() <= DIGITS[dtype]:
            break
        exponent += 1
    up = 2 * r - (d << max(exponent, 0))
    q += up > 0 or (up == 0 and q % 2 == 1)
    try:
        value = ldexp(q, exponent)
    except OverflowError:
        value = inf
    if value > LARGEST[dtype]:
        value = _beyond(dtype)
    return copysign(value, -1.0 if negative else 1.0)


def _beyond(dtype: str) -> float:
    return LARGEST[dtype] if dtype == "float8_e4m3fn" else inf


def quantise(values: np.ndarray, dtype: str) -> np.ndarray:
    """float64 numbers rounded to those of ``dtype``, still as float64."""
    if dtype == "float64":
        return values
    with np.errstate(all="ignore"):
        exponent = np.maximum(np.frexp(values)[1] - DIGITS[dtype], TINIEST[dtype])
        rounded = np.ldexp(np.rint(np.ldexp(values, -exponent)), exponent)
    outside = np.abs(rounded) > LARGEST[dtype]
    return np.where(outside, np.copysign(_beyond(dtype), values), rounded)


def rounded(hi: np.ndarray, lo: np.ndarray, dtype: str) -> np.ndarray:
    """``hi + lo`` rounded to ``dtype`` once, as float64.

    Narrower dtypes see the sum rounded to odd: of its two neighbours in float64 the one with an odd
    last digit, which is never a tie. Source: Boldo and Melquiond, "Emulation of FMA and correctly
    rounded sums", IEEE TC 2008.
    """
    with np.errstate(all="ignore"):
        total = hi + lo
        if dtype == "float64":
            return total
        z = total - hi
        lost = (hi - (total - z)) + (lo - z)
    bits = total.view(np.int64)
    step = np.where((lost > 0) == (total > 0), 1, -1)
    even = (lost != 0) & (bits % 2 == 0) & np.isfinite(total)
    return quantise(np.where(even, bits + step, bits).view(np.float64), dtype)


def settle(
    hi: np.ndarray, lo: np.ndarray, error: np.ndarray, dtype: str
) -> tuple[np.ndarray, np.ndarray]:
    """Ziv's test: ``hi + lo``, known up to ``error``, in ``dtype``, and where that is decided.

    What is not finite is undecided, and so is a zero whose sign is not known.
    """
    with np.errstate(all="ignore"):
        low = np.where(error > 0, np.nextafter(lo - error, -inf), lo)
        high = np.where(error > 0, np.nextafter(lo + error, inf), lo)
        ends = rounded(hi, low, dtype), rounded(hi, high, dtype)
        known = np.isfinite(hi) & np.isfinite(error)
    decided = known & (ends[0] == ends[1]) & (np.signbit(ends[0]) == np.signbit(ends[1]))
    # Exactly zero is +0, whatever the signs of the terms.
    return np.where((hi == 0) & (lo == 0), 0.0, ends[0]), decided
