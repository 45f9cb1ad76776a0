"""The correctly rounded result: every output and gradient of a problem as the exact sum, rounded
once; the same bits on every machine.

``double_double`` adds up, compiled, with a proven error; Ziv's test (``rounding``) tells which
results that decides, and ``certified`` does the others in whole numbers. What is summed is said by
``definition``, which shares no code with the kernels or with ``reference``.

What is chosen where the definition leaves a choice: padding is no term (0 * inf does not occur
there); an exact sum is infinite only if a term is, or if its correct rounding is; opposite
infinities give NaN; an exact zero is +0; moved elements keep their bits. Integers wrap as in C. A
complex number's parts are two real sums of twice as many products. An average is the exact sum over
its divisor, and its gradient the exact sum of quotients, rounded once.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from ..errors import UsageError
from .bound import PARTS
from .certified import cell
from .certified import rounded as rounded_cell
from .definition import Results, Sums, backward, forward, towards_zero
from .reference import exact as widened
from .reference import wide as wide_dtype
from .rounding import holder, quantise, settle


class Wide(NamedTuple):
    """More digits than the result has: the exact value is within ``error`` of ``hi + lo``, which
    are float64 (complex128 for complex results; then each part is).
    """

    hi: np.ndarray
    lo: np.ndarray
    error: np.ndarray


@dataclass(frozen=True)
class Exact:
    """The exact results of a problem.

    Args:
        results: ``output``, ``indices``, ``grad_input``, ``grad_weight``, ``grad_bias``, correctly
            rounded to the problem's dtype. Where NumPy has no such dtype, float32 (complex64) holds
            the numbers exactly.
        wide: the floating-point sums among them with more digits.
        certified: cells that were decided in whole numbers.
        hash: sha256 of the results, equal on every machine; -0 counts as 0, and NaNs are alike.
    """

    results: dict[str, np.ndarray]
    wide: dict[str, Wide]
    certified: int
    hash: str


def exact(
    problem: Any, arrays: dict[str, Any], grad: Any = None, *, path: str = "compiled"
) -> Exact:
    """The correctly rounded results of ``problem`` on ``arrays``.

    Args:
        arrays: ``input`` and, where the op takes them, ``weight``, ``bias``, ``indices``: torch or
            NumPy arrays; their values are used as they are.
        grad: gradient of the output; if given, the gradients are results too.
        path: ``compiled``, or ``certified``: all in whole numbers (slow).

    Raises:
        UnsupportedError: a result is no sum (lp_pool).
        UsageError: there is no such path.

    Example:
        >>> from refconv import label
        >>> x, w = np.array([[1e8, 1, -1e8]], "f4"), np.ones((1, 1, 3), "f4")
        >>> exact(label.read("conv1d x[1,3] w[1,1,3]"), {"input": x, "weight": w}).results
        {'output': array([[1.]], dtype=float32)}
    """
    if path not in ("compiled", "certified"):
        raise UsageError(f"exact: path must be compiled or certified, got {path!r}")
    kinds = {"indices": "int64"}
    x = {
        name: widened(a).astype(kinds.get(name, wide_dtype(problem.dtype)), copy=False)
        for name, a in {**arrays, "grad": grad}.items()
        if a is not None
    }
    found: Results = forward(problem, x)
    if grad is not None:
        found |= backward(problem, x, x["grad"])
    results: dict[str, np.ndarray] = {}
    wide: dict[str, Wide] = {}
    certified = 0
    for name, made in found.items():
        dtype = "int64" if name == "indices" else problem.dtype
        if isinstance(made, np.ndarray):
            results[name] = _stored(made, dtype)
        elif made.right.dtype.kind == "i":
            results[name] = _whole(made, path).reshape(made.shape).astype(dtype)
        else:
            value, more, count = _sum(made, PARTS.get(dtype, dtype), path)
            results[name] = value.reshape(made.shape).astype(holder(dtype))
            wide[name] = Wide(*(a.reshape(made.shape) for a in more))
            certified += count
    return Exact(results, wide, certified, digest(results, problem.dtype))


def digest(results: dict[str, np.ndarray], dtype: str) -> str:
    """sha256 over names, dtypes, shapes and little-endian bytes; one zero and one NaN."""
    sha = hashlib.sha256()
    for name in sorted(results):
        a = results[name]
        sha.update(f"{name} {dtype} {a.dtype.name} {a.shape}\n".encode())
        if a.dtype.kind == "c":
            a = np.stack([a.real, a.imag], axis=-1)
        if a.dtype.kind == "f":
            a = np.where(np.isnan(a), a.dtype.type(np.nan), a + a.dtype.type(0))
        sha.update(np.ascontiguousarray(a, a.dtype.newbyteorder("<")).tobytes())
    return sha.hexdigest()


def _stored(moved: np.ndarray, dtype: str) -> np.ndarray:
    """Elements as they were; only a padding's constant may need rounding."""
    if moved.dtype.kind == "f":
        moved = quantise(moved, dtype)
    elif moved.dtype.kind == "c":
        moved = _complex(*(quantise(part, PARTS[dtype]) for part in _parts(moved)))
    with np.errstate(over="ignore"):
        return moved.astype(holder(dtype))


def _sum(sums: Sums, dtype: str, path: str) -> tuple[np.ndarray, Wide, int]:
    """Values, still wide, and how many cells were certified."""
    if sums.right.dtype.kind != "c":
        return _real_sum(sums, dtype, path)
    if sums.left.dtype.kind != "c":
        parts = [_real_sum(replace(sums, right=r), dtype, path) for r in _parts(sums.right)]
    else:
        (a, b), right = _parts(sums.left), np.concatenate(_parts(sums.right), axis=1)
        lefts = [np.concatenate(pair, axis=2) for pair in ((a, -b), (b, a))]
        pairs = zip(lefts, _parts(sums.start), strict=True)
        made = [replace(sums, left=left, right=right, start=start) for left, start in pairs]
        parts = [_real_sum(part, dtype, path) for part in made]
    (value, wide, n), (imaginary, more, m) = parts
    joined = (_complex(*pair) for pair in zip(wide, more, strict=True))
    return _complex(value, imaginary), Wide(*joined), n + m


def _parts(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return a.real, a.imag


def _complex(real: np.ndarray, imaginary: np.ndarray) -> np.ndarray:
    made = np.empty(real.shape, np.complex128)  # real + 1j * imaginary would mix infinities
    made.real, made.imag = real, imaginary
    return made


def _real_sum(sums: Sums, dtype: str, path: str) -> tuple[np.ndarray, Wide, int]:
    """Values, as float64, and how many cells were certified."""
    shape = (len(sums.right), sums.left.shape[1], sums.table.shape[1])
    if path == "compiled":
        wide = _compiled(sums, shape)
        value, decided = settle(*wide, dtype)
    else:
        wide = Wide(*(np.zeros(shape) for _ in range(3)))
        value, decided = np.zeros(shape), np.zeros(shape, bool)
    open_cells = np.argwhere(~decided)
    for b, r, p in open_cells.tolist():
        at = b, r, p
        value[at], wide.hi[at], wide.lo[at], wide.error[at] = rounded_cell(cell(sums, *at), dtype)
    return value, wide, len(open_cells)


def _compiled(sums: Sums, shape: tuple[int, ...]) -> Wide:
    """Every cell in double-double, positions that read the same taps side by side."""
    from . import double_double

    order = np.argsort((sums.table >= 0).argmax(axis=0), kind="stable")
    wide = [np.empty(shape) for _ in range(3)]
    double_double.sums(
        np.ascontiguousarray(sums.left, np.float64),
        np.ascontiguousarray(sums.right, np.float64),
        np.ascontiguousarray(sums.table[:, order], np.int32),
        np.ascontiguousarray(sums.start, np.float64),
        sums.divisor[order].astype(np.float64),
        _underflow(sums.left, sums.right),
        *wide,
    )
    back = np.argsort(order)
    return Wide(*(a[..., back] for a in wide))


def _underflow(left: np.ndarray, right: np.ndarray) -> float:
    """What underflow can take from a product: nothing unless the smallest has fewer than 53 bits to
    spare.
    """
    least = [np.min(np.abs(a), where=a != 0, initial=np.inf) for a in (left, right)]
    with np.errstate(over="ignore", under="ignore"):
        return 0.0 if least[0] * least[1] > 2.0**-960 else 2.0**-1074


def _whole(sums: Sums, path: str) -> np.ndarray:
    """Integers: int64 wraps, so products and sums are exact modulo 2**64 in any order.

    Certified: one Python sum a cell, wrapped at the end.
    """
    shape = (len(sums.right), sums.left.shape[1], sums.table.shape[1])
    total = np.empty(shape, np.int64)
    for b in range(shape[0]):
        terms = np.where(sums.table >= 0, sums.right[b][:, sums.table], 0)
        factors = sums.left[b % len(sums.left)]
        if path == "certified":
            terms, factors = terms.astype(object), factors.astype(object)
        made = np.tensordot(factors, terms, axes=2) + sums.start[b % len(sums.start)][:, None]
        if path == "certified":
            made = (made + 2**63) % 2**64 - 2**63
        total[b] = made
    divided = sums.divisor != 1
    return np.where(divided, towards_zero(total, sums.divisor), total)
