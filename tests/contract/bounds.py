"""The judge: torch in float64 with its per-element bound, written independently of refconv.oracle.

Every op but max and lp pooling is linear in each array, so one function gives all that F1 needs:
``f`` on the arrays is the answer, ``f`` on their absolute values the scale S, ``f`` on ones the
number of terms n; the same holds for gradients with the incoming gradient's absolute value, or one.
F1: |got - want| <= g(n, u) * S, g(k, u) = k*u / (1 - k*u); the reference has its own such error
(F13). F3: a result that is rounded once more, into its own dtype, adds u_out * |want|.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

U = {
    torch.float64: 2.0**-53,
    torch.float32: 2.0**-24,
    torch.float16: 2.0**-11,
    torch.bfloat16: 2.0**-8,
    torch.complex128: 2.0**-53,
    torch.complex64: 2.0**-24,
    torch.complex32: 2.0**-11,
}
#: The smallest subnormal of each, for results that underflow.
TINY = {
    torch.float64: 2.0**-1074,
    torch.float32: 2.0**-149,
    torch.float16: 2.0**-24,
    torch.bfloat16: 2.0**-133,
    torch.complex128: 2.0**-1074,
    torch.complex64: 2.0**-149,
    torch.complex32: 2.0**-24,
}
#: What sums are kept in.
ACCUMULATE = {
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
    torch.complex32: torch.complex64,
}


def gamma(k: torch.Tensor, u: float) -> torch.Tensor:
    """g(k, u); infinite where the formula ends."""
    return torch.where(k * u < 0.5, k * u / (1 - k * u), torch.inf)


def wide(t: torch.Tensor) -> torch.Tensor:
    """``t`` in float64 or complex128; integers and bool stay."""
    if t.is_complex():
        return t.to(torch.complex128)
    return t.to(torch.float64) if t.is_floating_point() else t


@dataclass(frozen=True)
class Answer:
    """A reference value, and how far from it a right result may be."""

    value: torch.Tensor
    scale: torch.Tensor
    terms: torch.Tensor
    composed: bool = False

    def bound(self, dtype: torch.dtype) -> torch.Tensor:
        """The largest error of a right result in ``dtype``."""
        sums = dtype if self.composed else ACCUMULATE.get(dtype, dtype)
        terms = 2 * self.terms + 2 if dtype.is_complex else self.terms + 1
        allowed = (gamma(terms, U[sums]) + gamma(terms, U[torch.float64])) * self.scale
        if sums is not dtype:
            allowed = allowed * (1 + U[dtype]) + U[dtype] * self.value.abs()
        return allowed + terms * TINY[dtype]


def answers(
    f: Callable[..., torch.Tensor],
    arrays: Sequence[torch.Tensor],
    gy: torch.Tensor | None,
    cells: int = 1,
    extra: int = 0,
    selects: bool = False,
    composed: bool = False,
) -> tuple[Answer, list[Answer | None]]:
    """What ``f`` and its gradients must give, one gradient an array (None for integer arrays).

    Args:
        arrays: what ``f`` takes, in the dtype under test; it is evaluated in float64.
        gy: the incoming gradient; None asks for no gradients.
        cells: the largest divisor in ``f``: a mean over ones counts 1, not its terms.
        extra: roundings an element that are not additions (the division).
        composed: whether the op is several, each rounded to its dtype (lp_pool).
        selects: whether values decide which elements ``f`` moves (max pooling); they stay then.
    """
    absolute, one = (wide, wide) if selects else (_absolute, _one)
    exact = _run(f, [wide(t) for t in arrays], gy, lambda t: t)
    with_abs = _run(f, [absolute(t) for t in arrays], gy, torch.abs)
    with_one = _run(f, [one(t) for t in arrays], gy, lambda t: torch.ones_like(t.abs()))
    found = [
        None
        if value is None
        else Answer(value, size(scale), _count(terms, cells) + extra, composed)
        for value, scale, terms in zip(exact, with_abs, with_one, strict=True)
    ]
    return found[0], found[1:]


def _count(terms: torch.Tensor, cells: int) -> torch.Tensor:
    return torch.ceil(size(terms) * float(cells) - 0.01).clamp(min=1)


def _absolute(t: torch.Tensor) -> torch.Tensor:
    return wide(t).abs() if is_real(t) else t


def _one(t: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(_absolute(t)) if is_real(t) else t


def size(t: torch.Tensor) -> torch.Tensor:
    """Absolute values, of bool too."""
    return t if t.dtype is torch.bool else t.abs()


def is_real(t: torch.Tensor) -> bool:
    """Floating point or complex: what rounds, and has gradients."""
    return t.is_floating_point() or t.is_complex()


def _run(f, arrays, gy, of_gradient):
    """``f`` and its gradients, [y, g0, g1, …]."""
    arrays = [t.detach().clone(memory_format=torch.contiguous_format) for t in arrays]
    leaves = [t.requires_grad_() for t in arrays if is_real(t)]
    y = f(*arrays)
    if gy is None:
        return [y.detach(), *(None for _ in arrays)]
    found = iter(torch.autograd.grad(y, leaves, of_gradient(wide(gy))))
    return [y.detach(), *(next(found).detach() if t.requires_grad else None for t in arrays)]


def check(what: str, got: torch.Tensor, answer: Answer, dtype: torch.dtype) -> None:
    """``got`` has the answer's shape and ``dtype``, and each element is inside its bound."""
    assert got.dtype == dtype, f"{what}: dtype {got.dtype}, expected {dtype}"
    assert got.shape == answer.value.shape, f"{what}: {got.shape}, expected {answer.value.shape}"
    if not dtype.is_floating_point and not dtype.is_complex:
        same(what, got, answer.value)
        return
    want, bound = answer.value, answer.bound(dtype)
    if dtype.is_complex:
        got, want = torch.view_as_real(wide(got).resolve_conj()), torch.view_as_real(want)
        bound = bound.unsqueeze(-1)
    else:
        got = wide(got)
    error = (got - want).abs()
    fine = (error <= bound) | (got == want) | (got.isnan() & want.isnan())
    if not bool(fine.all()):
        at = tuple((~fine).nonzero()[0].tolist())
        limit = bound.expand(error.shape)[at].item()
        raise AssertionError(
            f"{what}: {int((~fine).sum())} of {fine.numel()} elements are wrong, first {at}: got "
            f"{got[at].item()!r}, expected {want[at].item()!r}, error {error[at].item():.3g}, "
            f"bound {limit:.3g}"
        )


def same(what: str, got: torch.Tensor, want: torch.Tensor) -> None:
    """Equal in dtype, shape and every element; NaN equals NaN, and -0 equals 0."""
    assert got.dtype == want.dtype, f"{what}: dtype {got.dtype}, expected {want.dtype}"
    assert got.shape == want.shape, f"{what}: shape {got.shape}, expected {want.shape}"
    fine = (got == want) | ((got != got) & (want != want))
    if not bool(fine.all()):
        at = tuple((~fine).nonzero()[0].tolist())
        raise AssertionError(
            f"{what}: {int((~fine).sum())} of {fine.numel()} elements differ, first {at}: got "
            f"{got[at].item()!r}, expected {want[at].item()!r}"
        )


def strides(t: torch.Tensor) -> tuple[int, ...]:
    """The strides that mean something: of axes longer than 1, of an array that is not empty."""
    if t.numel() == 0:
        return ()
    return tuple(s for s, n in zip(t.stride(), t.shape, strict=True) if n > 1)


def same_layout(what: str, got: torch.Tensor, want: torch.Tensor, rank: int = 2) -> None:
    """Equal shape, dtype and (but with ``rank`` 0) strides, of axes longer than 1.

    With ``rank`` 1 the result must be contiguous instead: torch has no memory format for one axis,
    and its strides there are an accident (of max_pool1d's they depend on ``return_indices``).
    """
    want = want.contiguous() if rank == 1 else want
    assert got.dtype == want.dtype, f"{what}: dtype {got.dtype}, expected {want.dtype}"
    assert got.shape == want.shape, f"{what}: shape {tuple(got.shape)}, not {tuple(want.shape)}"
    assert rank == 0 or strides(got) == strides(want), (
        f"{what}: shape {tuple(got.shape)} has strides {got.stride()}, expected {want.stride()}"
    )
