"""Assertions for a test suite: a result is right, or the message says where, how far and why not.

There is no tolerance: each element has its own proven bound. With pytest, the repro is a section
``refconv_repro`` of the failure's report, and the fixture ``refconv_check`` judges a function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from . import arrays as libraries
from . import label, notation
from .errors import ArgumentError, UsageError
from .ops import OPS


class ConvMismatchError(AssertionError):
    """A result that no legal arithmetic gives.

    Args:
        repro: how to see it again, without refconv.
        verdict: the oracle's, where one result was judged.
    """

    def __init__(self, message: str, repro: str, verdict: Any = None) -> None:
        super().__init__(message)
        self.repro, self.verdict = repro, verdict


def assert_conv_close(
    y: Any,
    x: Any,
    w: Any,
    b: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    op: str = "",
    output_padding: Any = 0,
    grad: Any = None,
    precision: str = "ieee",
    algorithm: str = "direct",
    noise: bool = True,
) -> None:
    """Assert that ``y`` is a convolution of ``x`` with ``w``, as far as any legal sum can tell.

    Shapes: x (N, C, *in), w (K, C/groups, *kernel), b (K,), y (N, K, *out); torch or NumPy.

    Args:
        y: the output; or, with ``grad`` (the output's gradient), a mapping from ``output``,
            ``grad_input``, ``grad_weight``, ``grad_bias`` to results, of which each is judged.
        op: e.g. ``conv_transpose2d``; a convolution of the input's rank if left out.
        precision, algorithm: what is declared (``ieee``, ``tf32``, …; ``direct``,
            ``winograd_f2``, ``fft``, …); they choose the bound.
        noise: whether a result inside the proven bound, but beyond the noise of such sums, fails.

    Raises:
        ConvMismatchError: shape, dtype or a value is wrong.
        RefconvError: the arguments are no convolution.

    Example:
        >>> import torch
        >>> x, w = torch.randn(1, 3, 8, 8), torch.randn(4, 3, 3, 3)
        >>> assert_conv_close(torch.nn.functional.conv2d(x, w, padding=1), x, w, padding=1)
    """
    op = op or f"conv{x.ndim - 2 if x.ndim == w.ndim else x.ndim - 1}d"
    numbers = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    if "transpose" in op:
        numbers["output_padding"] = output_padding
    given = {"input": x, "weight": w} | ({} if b is None else {"bias": b})
    assert_close(
        op, y, given, numbers, grad=grad, precision=precision, algorithm=algorithm, noise=noise
    )


def assert_close(
    op: str,
    got: Any,
    inputs: Mapping[str, Any],
    numbers: Mapping[str, Any],
    *,
    grad: Any = None,
    precision: str = "ieee",
    algorithm: str = "direct",
    noise: bool = True,
) -> None:
    """Assert that ``got`` is ``op`` of ``inputs``, for any op of refconv.

    Args:
        got: as ``y`` of ``assert_conv_close``.
        inputs: ``input`` and, where the op takes them, ``weight``, ``bias``, ``indices``.
        numbers: torch's other arguments, by name.

    Raises:
        ConvMismatchError: something is wrong. UsageError: an unknown op, or nothing to judge.
    """
    from .oracle import reference, verdict

    if op not in OPS:
        raise UsageError(f"assert_close: there is no op {op!r}{notation.near(op, OPS)}")
    shapes = {name: tuple(a.shape) for name, a in inputs.items()}
    problem = notation.build(op, shapes, numbers, libraries.dtype_name(inputs["input"]))
    results = dict(got) if isinstance(got, Mapping) else {"output": got}
    expected = {e.name: e for e in reference.forward(problem, dict(inputs))}
    if grad is not None:
        expected |= {e.name: e for e in reference.backward(problem, dict(inputs), grad)}
    unknown = sorted(set(results) - set(expected))
    if unknown or not results:
        raise ArgumentError(
            f"assert_close: {', '.join(unknown) or 'nothing'} cannot be judged; {op} has "
            f"{', '.join(expected)} (gradients need grad=, the gradient of the output)"
        )
    for name, result in results.items():
        e = expected[name]
        limit = e.bound(precision, algorithm=algorithm)
        usual = e.noise(precision, algorithm=algorithm) if noise else None
        v = verdict.compare(result, e.want, limit, problem if name == "output" else None, usual)
        if v.level == "consistent":
            continue
        said = "PROVEN WRONG" if v.level == "wrong" else "SUSPECT"
        message = f"{name} of {label.format(problem)} is {said}: {v.reason}"
        raise ConvMismatchError(message, _repro(op, inputs, numbers, v, e.want), v)


def check(function: Callable[..., Any], op: str = "conv2d", **given: Any) -> Any:
    """``oracle.check_function``, failing a test if anything is flagged; returns the report.

    Raises:
        ConvMismatchError: the function is wrong, suspect, or could not be judged.
    """
    from .oracle import check_function

    report = check_function(function, op, **given)
    if report.flagged:
        message = f"{report.name} as {report.op} is {report.verdict}: {report.smallest}"
        raise ConvMismatchError(f"{message}: {report.reason}\n{report.diagnosis}", report.repro)
    return report


def _repro(
    op: str, inputs: Mapping[str, Any], numbers: Mapping[str, Any], v: Any, want: Any
) -> str:
    """One cell, computed by torch in float64 from the test's own arrays."""
    wide = [f"{n}.double()" if n != "indices" else n for n in inputs]
    extra = [f"{n}={value!r}" for n, value in numbers.items()]
    lines = [f"{n}: {list(a.shape)} {libraries.dtype_name(a)}" for n, a in inputs.items()]
    if v.worst is None:
        return "\n".join(lines)
    cell = "".join(f"[{i}]" for i in v.worst)
    lines += [
        f"# the cell furthest beyond its bound: {list(v.worst)}, where {want[v.worst]!r} is exact",
        f"want = torch.nn.functional.{op}({', '.join(wide + extra)}){cell}",
    ]
    return "\n".join(lines)
