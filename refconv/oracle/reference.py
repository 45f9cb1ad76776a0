"""The reference: every output and gradient of a problem in float64, each with the law that its
rounding errors follow.

Computed slot by slot through our own im2col, never through a candidate's derivative rules, so an
error in those shows. The harness checks it against torch in float64. Integer data gives exact
results.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from .. import arrays, dispatch
from ..moves import IndexProblem, PadProblem
from ..problem import ConvProblem, PoolProblem
from . import algorithm_bounds, noise
from .bound import DIGITS, Bound, Law, Move, Root, RootGradient, Sum, Whole, arithmetic
from .rounding import quantise
from .terms import Terms, terms

BACKEND = "im2col"


@dataclass(frozen=True)
class Expected:
    """What one result has to be: its name, its value in float64 (complex128, int64) and its error's
    law.

    Args:
        name: output, indices, grad_input, grad_weight or grad_bias.
        dtype: that a candidate's result must have.
        terms: the sum that ``want`` is, to be done again; None for what sums nothing, and for
            complex numbers.
    """

    name: str
    want: np.ndarray
    law: Law
    dtype: str
    terms: Terms | None = None

    def bound(
        self, precision: str = "ieee", dtype: str | None = None, algorithm: str = "direct"
    ) -> Bound:
        """How far a candidate that computes in ``dtype`` (by default the problem's) may be off.

        Args:
            precision: of ``bound.PRECISIONS``; algorithm: of ``algorithm_bounds.ALGORITHMS``.
        """
        a = arithmetic(dtype or self.dtype, precision)
        with np.errstate(invalid="ignore"):  # infinite inputs
            return algorithm_bounds.bound(self.law, self.want, a, algorithm, self.terms)

    def noise(
        self,
        precision: str = "ieee",
        dtype: str | None = None,
        algorithm: str = "direct",
        look: int | None = None,
    ) -> noise.Noise | None:
        """How far such a candidate usually is off (F6); None where that is not known.

        Computed when asked, at the price of one more convolution and a look at some elements.

        Args:
            look: how many terms that look may take; by default ``noise.LOOK``.
        """
        a = arithmetic(dtype or self.dtype, precision)
        look = noise.LOOK if look is None else look
        return noise.model(self.law, self.want, a, algorithm, self.terms, look)


def wide(dtype: str) -> str:
    """The dtype in which the reference of ``dtype`` is computed: float64, complex128 or int64."""
    if dtype.startswith("complex"):
        return "complex128"
    return "float64" if "float" in dtype else "int64"


def exact(x: Any) -> np.ndarray:
    """A torch or NumPy array's values, unchanged, as float64, complex128 or int64."""
    name = wide(arrays.dtype_name(x))
    if arrays.is_torch(x):
        import torch

        x = x.detach().cpu().resolve_conj().resolve_neg().to(getattr(torch, name)).numpy()
    return np.asarray(x).astype(name, copy=False)


def forward(problem: Any, inputs: dict[str, Any], backend: str = BACKEND) -> list[Expected]:
    """The results of the op itself.

    Args:
        inputs: ``input`` and, where the op takes them, ``weight``, ``bias``, ``indices``: torch or
            NumPy arrays.
    """
    if isinstance(problem, PadProblem):
        problem = replace(problem, value=_stored(problem.value, problem.dtype))
    run = _Run(problem, backend)
    x = {name: exact(a) for name, a in inputs.items()}
    if isinstance(problem, PoolProblem) and problem.forward_slot == "max_pool":
        y, index = run(problem.forward_slot, x["input"])
        return [run.move("output", y), Expected("indices", index, Move(), "int64")]
    if isinstance(problem, PoolProblem) and problem.norm is not None:
        return [_root(run, problem, x["input"])]
    if isinstance(problem, IndexProblem):
        return [run.move("output", run("scatter", x["input"], x["indices"]))]
    slot = problem.forward_slot
    if slot in ("unfold", "pad"):
        return [run.move("output", run(slot, x["input"]))]
    return [run.sum("output", slot, *(x[n] for n in ("input", "weight", "bias") if n in x))]


def backward(
    problem: Any, inputs: dict[str, Any], grad: Any, backend: str = BACKEND
) -> list[Expected]:
    """The gradients of the op's inputs for the gradient ``grad`` of its output (torch's convention
    if complex).

    Args:
        inputs: as for ``forward``, without a bias; max pooling takes ``indices`` that are given.
    """
    run = _Run(problem, backend)
    x = {name: exact(a) for name, a in inputs.items()}
    dy = exact(grad)
    if isinstance(problem, ConvProblem):
        back, w = "conv_fprop" if problem.transposed else "conv_dgrad", np.conj(x["weight"])
        pair = (np.conj(x["input"]), dy) if problem.transposed else (dy, np.conj(x["input"]))
        run = _Run(replace(problem, bias=False), backend)
        found = [run.sum("grad_input", back, dy, w), run.sum("grad_weight", "conv_wgrad", *pair)]
        if problem.bias:
            found.append(_bias_gradient(run, dy))
        return found
    if isinstance(problem, PoolProblem):
        if problem.norm is not None:
            return _root_gradient(run, problem, x["input"], dy)
        if problem.forward_slot == "avg_pool":
            return [run.sum("grad_input", "avg_pool_backward", dy)]
        index = x["indices"] if "indices" in x else run("max_pool", x["input"])[1]
        move = IndexProblem(
            problem.op, problem.lead, problem.out_size, problem.in_size, problem.dtype
        )
        run = _Run(move, backend)
        count = run("scatter_add", np.ones_like(dy), index)
        return [run.sum("grad_input", "scatter_add", dy, index, count=np.abs(count))]
    if isinstance(problem, IndexProblem):
        return [run.move("grad_input", run("gather", dy, x["indices"]))]
    if isinstance(problem, PadProblem):
        return [run.sum("grad_input", "pad_backward", dy)]
    if problem.op == "fold":
        return [run.move("grad_input", run("unfold", dy))]
    return [run.sum("grad_input", "fold", dy)]


#: Roundings of a term besides its product and its additions: see ``bound.Sum``.
_EXTRA = {"avg_pool": 2, "avg_pool_backward": 2}


class _Run:
    """Slots of one problem in the reference's dtype."""

    def __init__(self, problem: Any, backend: str) -> None:
        self.dtype, self.backend = problem.dtype, backend
        self.problem = replace(problem, dtype=wide(problem.dtype))

    def __call__(self, slot: str, *inputs: np.ndarray) -> Any:
        made: list[Any] = list(inputs)
        while len(made) < len(self.problem.call(slot)[0]):
            made.append(None)  # no bias
        return dispatch.run(self.problem, slot, *made, backend=self.backend)

    def move(self, name: str, want: np.ndarray) -> Expected:
        return Expected(name, want, Move(), self.dtype)

    def sum(
        self, name: str, slot: str, *inputs: np.ndarray, count: np.ndarray | None = None
    ) -> Expected:
        """A slot that sums, with F1's ingredients: the number of terms and the sum of their
        absolute values.
        """
        want = self(slot, *inputs)
        if want.dtype.kind in "iu":
            return Expected(name, _wrapped(want, self.dtype), Whole(), self.dtype)
        real = _Run(replace(self.problem, dtype="float64"), self.backend)
        scale = np.abs(real(slot, *(a if a.dtype.kind == "i" else np.abs(a) for a in inputs)))
        n = terms(self.problem, slot) if count is None else count
        biased = slot in ("conv_fprop", "conv_dgrad") and len(inputs) == 3
        # avg_pool's backward divides each term before it adds: whole numbers do not stay whole
        whole = slot != "avg_pool_backward" and all(integral(a) for a in inputs)
        made = (
            None
            if want.dtype.kind == "c"
            else Terms(
                self.problem,
                slot,
                inputs,
                partial(real, slot),
                n,
                partial(real, "avg_pool") if slot == "avg_pool_backward" else None,
            )
        )
        law = Sum(
            n,
            scale,
            product=slot in ("conv_fprop", "conv_dgrad", "conv_wgrad"),
            extra=1 if biased else _EXTRA.get(slot, 0),
            integral=whole,
            parts=2 if want.dtype.kind == "c" else 1,
            peak=max(float(np.max(np.abs(a), initial=0)) for a in inputs) if whole else 0.0,
            sides=partial(made.sides, 1) if made is not None else None,
            bias=np.abs(inputs[2]).reshape(-1, *(1,) * self.problem.rank) if biased else None,
            special=made is not None and not all(np.isfinite(a).all() for a in inputs),
        )
        return Expected(name, want, law, self.dtype, made)


def _stored(value: Any, dtype: str) -> Any:
    """The padding's constant as the dtype holds it."""
    return float(quantise(np.array(float(value)), dtype)) if dtype in DIGITS and value else value


def integral(a: np.ndarray) -> bool:
    """Whether every number is a whole one (an image or a random array is refused by its first few
    elements).
    """
    if a.dtype.kind == "c":
        return integral(a.real) and integral(a.imag)
    few = a.ravel()[:64]
    return bool(np.array_equal(few, np.rint(few)) and np.array_equal(a, np.rint(a)))


def _wrapped(want: np.ndarray, dtype: str) -> np.ndarray:
    """Integers as the narrower ``dtype`` holds them: wrapped, or for bool, whether they are
    nonzero.
    """
    return want.astype(dtype).astype(np.int64)


def _bias_gradient(run: _Run, dy: np.ndarray) -> Expected:
    """The sum of dy over everything but its channel (no slot: a transposed op's dy is x)."""
    problem = run.problem
    spatial = tuple(range(dy.ndim - problem.rank, dy.ndim))
    axes = (*((0,) if problem.batch is not None else ()), *spatial)
    want, scale = dy.sum(axis=axes), np.abs(dy).sum(axis=axes)
    if want.dtype.kind in "iu":
        return Expected("grad_bias", _wrapped(want, run.dtype), Whole(), run.dtype)
    n = np.array(dy.size // max(1, problem.out_channels))
    law = Sum(
        n, scale, product=False, integral=integral(dy), parts=2 if dy.dtype.kind == "c" else 1
    )
    sums = None
    if dy.dtype.kind != "c":
        sums = Terms(problem, "conv_bgrad", (dy,), lambda a: a.sum(axis=axes), n)
    return Expected("grad_bias", want, law, run.dtype, sums)


def _root(run: _Run, problem: PoolProblem, x: np.ndarray) -> Expected:
    """lp_pool: the mean of powers, times the cells of the window, to the 1/norm, as torch does it.

    Integers to the power of a float are float32; to the power of an int they stay whole, mean
    included, up to the root.
    """
    norm, cells = problem.norm, float(np.prod(problem.kernel))
    assert norm is not None
    dtype = "float32" if x.dtype.kind == "i" else run.dtype
    if np.isinf(norm):  # the limit: the largest, or smallest, absolute value
        step = (1,) * problem.rank
        largest = _Run(replace(problem, norm=None, op="max_pool", dilation=step), run.backend)
        sign = np.sign(norm)
        return Expected("output", sign * largest("max_pool", sign * np.abs(x))[0], Move(), dtype)
    whole = x.dtype.kind == "i" and isinstance(norm, int)
    power = x**norm
    mean = _Run(replace(problem, norm=None, dtype=str(power.dtype)), run.backend)
    n = terms(problem, "avg_pool")
    with np.errstate(all="ignore"):
        total = mean("avg_pool", power) * cells
        scale = np.abs(mean("avg_pool", np.abs(power))) * cells
        want = total ** (1 / norm)
    law = Root(n * 0 if whole else n, total, scale, norm)
    return Expected("output", want, law, dtype)


def _root_gradient(
    run: _Run, problem: PoolProblem, x: np.ndarray, dy: np.ndarray
) -> list[Expected]:
    """The gradient of lp_pool; none is known here for an infinite norm."""
    norm = problem.norm
    assert norm is not None
    root = _root(run, problem, x).law
    if not isinstance(root, Root):
        return []
    mean = _Run(replace(problem, norm=None), run.backend)
    steep = dy * float(np.prod(problem.kernel)) / norm
    with np.errstate(all="ignore"):
        own = norm * x ** (norm - 1)
    law = RootGradient(
        root,
        steep,
        own,
        lambda a: mean("avg_pool_backward", a),
        terms(problem, "avg_pool_backward"),
    )
    with np.errstate(all="ignore"):
        want = own * mean("avg_pool_backward", steep * law.slope(root.total))
    return [Expected("grad_input", want, law, run.dtype)]
