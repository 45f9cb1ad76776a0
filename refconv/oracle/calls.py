"""Problem → call: the one place that knows how a problem is asked of torch.nn.functional, or of
anything like it.

A problem's numbers become keyword arguments; the arrays keep torch's names, so
``torch.nn.functional``, ``refconv.functional`` and a user's own module are called alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import window
from ..moves import ColumnProblem, IndexProblem, PadProblem
from ..problem import ConvProblem, PoolProblem

Arrays = dict[str, Any]


def bind(namespace: Any, problem: Any, arrays: Arrays, **extra: Any) -> Callable[[], Any]:
    """A call without arguments that computes ``problem`` with a function of ``namespace``: what is
    timed.

    Args:
        namespace: has torch's names and signatures.
        arrays: ``input`` and, where the op takes them, ``weight``, ``bias``, ``indices``.
        extra: keyword arguments that the namespace takes besides torch's, ``backend`` for one.
    """
    function = getattr(namespace, problem.op)
    keywords = {**numbers(problem), **extra}
    given = tuple(arrays.values())
    around, kept = _outer_padding(problem), cut(problem)
    if around is None and kept is None:
        return lambda: function(*given, **keywords)
    x, rest = given[0], given[1:]

    def call() -> Any:
        y = function(x if around is None else namespace.pad(x, around, **extra), *rest, **keywords)
        return y if kept is None else y[kept]

    return call


def results(namespace: Any, problem: Any, arrays: Arrays, **extra: Any) -> dict[str, Any]:
    """Run once; every result by name: ``output`` and, for max pooling, ``indices``."""
    if isinstance(problem, PoolProblem) and problem.forward_slot == "max_pool":
        y, index = bind(namespace, problem, arrays, return_indices=True, **extra)()
        return {"output": y, "indices": index}
    return {"output": bind(namespace, problem, arrays, **extra)()}


def names(problem: Any) -> tuple[str, ...]:
    """The arrays that ``problem``'s op takes, in torch's order."""
    if isinstance(problem, ConvProblem):
        return ("input", "weight", "bias") if problem.bias else ("input", "weight")
    return ("input", "indices") if isinstance(problem, IndexProblem) else ("input",)


def work(problem: Any) -> int:
    """Steps of the innermost loop: multiply-accumulates, taps of windows, or elements moved."""
    if isinstance(problem, ConvProblem):
        return problem.macs
    if isinstance(problem, PoolProblem):
        return problem.taps * _product(problem.lead)
    shape = problem.column_shape if isinstance(problem, ColumnProblem) else problem.output_shape
    return _product(shape)


def _product(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


def numbers(problem: Any) -> dict[str, Any]:
    """The problem's numbers as torch's keyword arguments."""
    if isinstance(problem, ConvProblem):
        return _conv(problem)
    if isinstance(problem, PoolProblem):
        return _pool(problem)
    if isinstance(problem, PadProblem):
        flat = tuple(side for pad in reversed(problem.pads) for side in pad)
        value = problem.value if problem.mode == "constant" else None
        return {"pad": _significant(flat), "mode": problem.mode, "value": value}
    if isinstance(problem, IndexProblem):
        return _unpool(problem)
    size = {"output_size": problem.size} if problem.op == "fold" else {}
    return {
        **size,
        "kernel_size": problem.kernel,
        "dilation": problem.dilation,
        "padding": problem.padding,
        "stride": problem.stride,
    }


def _significant(flat: tuple[int, ...]) -> tuple[int, ...]:
    """Pads without the axes that are not padded: modes other than constant refuse to name them."""
    while len(flat) > 2 and flat[-2:] == (0, 0):
        flat = flat[:-2]
    return flat


def _conv(problem: ConvProblem) -> dict[str, Any]:
    low = tuple(lo for lo, _ in problem.padding)
    common = {"stride": problem.stride, "dilation": problem.dilation, "groups": problem.groups}
    if problem.transposed:
        return {**common, "padding": low, "output_padding": problem.output_padding}
    if _lopsided(problem):
        return {**common, "padding": "same" if _is_same(problem) else 0}
    return {**common, "padding": low}


def _lopsided(problem: ConvProblem) -> bool:
    return any(lo != hi for lo, hi in problem.padding)


def _is_same(problem: ConvProblem) -> bool:
    steps = zip(problem.kernel, problem.dilation, strict=True)
    same = tuple(window.same_padding(0, k, 1, d) for k, d in steps)
    return set(problem.stride) == {1} and problem.padding == same


def _outer_padding(problem: Any) -> tuple[int, ...] | None:
    """The zeros that torch's convolution has no argument for: more on one side than on the other,
    with a stride.
    """
    if not isinstance(problem, ConvProblem) or problem.transposed:
        return None
    if not _lopsided(problem) or _is_same(problem):
        return None
    return tuple(side for pad in reversed(problem.padding) for side in pad)


def cut(problem: Any) -> tuple[Any, ...] | None:
    """The part of the output that is kept, where the problem's ends before its numbers do."""
    if not isinstance(problem, ConvProblem) or problem.transposed:
        return None
    whole = tuple(
        window.out_size(size, k, s, p, d)
        for size, k, s, p, d in zip(
            problem.in_size,
            problem.kernel,
            problem.stride,
            problem.padding,
            problem.dilation,
            strict=True,
        )
    )
    return None if whole == problem.out_size else (..., *(slice(o) for o in problem.out_size))


def _pool(problem: PoolProblem) -> dict[str, Any]:
    if problem.adaptive:
        return {"output_size": problem.out_size if problem.rank > 1 else problem.out_size[0]}
    common = {
        "kernel_size": problem.kernel,
        "stride": problem.stride,
        "ceil_mode": problem.ceil_mode,
    }
    if problem.norm is not None:
        if problem.rank == 1:
            common |= {"kernel_size": problem.kernel[0], "stride": problem.stride[0]}
        return {"norm_type": problem.norm, **common}
    common["padding"] = problem.padding
    if problem.forward_slot == "max_pool":
        return {**common, "dilation": problem.dilation}
    if problem.divisor is not None:
        common["divisor_override"] = problem.divisor
    return {**common, "count_include_pad": problem.count_include_pad}


def _unpool(problem: IndexProblem) -> dict[str, Any]:
    """A kernel and a stride that lead from the small side to the large one; the indices do the
    rest.
    """
    stride = tuple(
        max(1, large // max(1, small))
        for large, small in zip(problem.large, problem.small, strict=True)
    )
    kernel = tuple(
        large - (small - 1) * s
        for large, small, s in zip(problem.large, problem.small, stride, strict=True)
    )
    return {"kernel_size": kernel, "stride": stride, "output_size": problem.large}
