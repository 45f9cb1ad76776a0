"""One call of aten → the problem that it is, the arrays it was given and the results it gave.

torch.nn.functional's convolution family ends in some sixty operators of aten. Each row of
``READERS`` turns one of them, forward or derivative, back into a problem; arguments are read by the
names of the operator's schema. What looks like the family but is in no row is refused by name, so
that no call goes by unnoticed.

A circular pad is not among them: in torch it is slices and copies, not a call.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch

from .. import arrays
from ..errors import UnsupportedError
from ..moves import IndexProblem
from ..notation import Problem, build
from ..problem import PoolProblem
from . import calls

Given = dict[str, Any]
#: Operators that belong to the family by their name.
FAMILY = re.compile(
    r"conv(?!ert)(?!.*reorder)|pool|(reflection|replication|constant)_pad|^_?pad(_enum|_circular)?$"
    r"|im2col|col2im"
)


@dataclass(frozen=True)
class Seen:
    """One call.

    Args:
        arrays: by torch.nn.functional's names; of a derivative those that it needs.
        grad: the output's gradient; None: the call is the op itself.
        results: by the reference's names: output, indices, grad_input, grad_weight, grad_bias.
    """

    problem: Problem
    arrays: calls.Arrays
    grad: torch.Tensor | None
    results: dict[str, torch.Tensor]


def belongs(func: Any) -> bool:
    """Whether this operator is of the family, or may be when called by a derivative of it."""
    name = func._schema.name
    return name in READERS or FAMILY.search(_bare(name)) is not None


def readable(func: Any) -> bool:
    """Whether there is a row for this operator."""
    return func._schema.name in READERS


def read(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, before: Problem | None
) -> Seen | None:
    """What this call is; None if it is none of the family after all.

    Args:
        func: an ``OpOverload``, of which ``belongs`` is true.
        out: what it returned.
        before: if autograd makes the call: the problem whose derivative it is computing.

    Raises:
        UnsupportedError: there is no row for this operator.
        RefconvError: our rules refuse what torch took.
    """
    reader = READERS.get(func._schema.name)
    if reader is None:
        raise UnsupportedError(f"{func._schema.name}: the audit has no rule for this operator")
    return reader({**_bind(func, args, kwargs), "before": before}, out)


def tensors(args: tuple[Any, ...]) -> list[torch.Tensor]:
    """The tensors among positional arguments."""
    return [a for a in args if isinstance(a, torch.Tensor)]


def _bare(name: str) -> str:
    return name.rpartition("::")[2]


def _bind(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Given:
    """Arguments by the schema's names, defaults included."""
    declared = func._schema.arguments
    given = {a.name: a.default_value for a in declared if a.has_default_value()}
    given |= dict(zip((a.name for a in declared), args, strict=False))
    return given | kwargs


def _input(given: Given) -> torch.Tensor:
    return given["input"] if "input" in given else given["self"]


def _built(op: str, given: Given, names: tuple[str, ...], shapes: dict[str, Any]) -> Problem:
    """The problem of ``op`` with those of the numbers ``names`` that the operator has."""
    numbers = {n: given[n] for n in names if n in given}
    return build(op, shapes, numbers, arrays.dtype_name(_input(given)))


def _conv_problem(given: Given, biased: bool, transposed: bool | None) -> Problem:
    """Where an operator has no ``groups`` (depthwise, slow), they follow from the shapes."""
    x, w = _input(given), given["weight"]
    rank = w.dim() - 2
    if transposed is None:
        transposed = given["transposed"]
    groups = given.get("groups", 1 if transposed else x.shape[-rank - 1] // w.shape[1])
    channels = w.shape[1] * groups if transposed else w.shape[0]
    shapes = {"input": tuple(x.shape), "weight": tuple(w.shape)}
    shapes |= {"bias": (channels,)} if biased else {}
    names = ("stride", "padding", "dilation", "groups", "output_padding")[: 4 + transposed]
    op = f"conv_transpose{rank}d" if transposed else f"conv{rank}d"
    return _built(op, {**given, "groups": groups}, names, shapes)


def _conv(given: Given, out: Any, transposed: bool | None = None) -> Seen:
    bias = given.get("bias")
    problem = _conv_problem(given, bias is not None, transposed)
    found = {"input": _input(given), "weight": given["weight"]}
    return Seen(problem, found | ({} if bias is None else {"bias": bias}), None, {"output": out})


def _conv_backward(given: Given, out: Any, transposed: bool | None = None) -> Seen:
    names = ("grad_input", "grad_weight", "grad_bias")
    results = {n: g for n, g in zip(names, out, strict=False) if g is not None}
    problem = _conv_problem(given, "grad_bias" in results, transposed)
    found = {"input": _input(given), "weight": given["weight"]}
    return Seen(problem, found, given["grad_output"], results)


_POOL = (
    "kernel_size", "stride", "padding", "dilation", "ceil_mode", "count_include_pad",
    "divisor_override", "output_size",
)  # fmt: skip


def _pool(op: str, given: Given, out: Any) -> Seen:
    x = _input(given)
    problem = _built(op, given, _POOL, {"input": tuple(x.shape)})
    results = dict(zip(("output", "indices"), out, strict=False)) if isinstance(out, tuple) else {}
    return Seen(problem, {"input": x}, None, results or {"output": out})


def _pool_backward(op: str, given: Given, out: Any) -> Seen:
    x, grad = _input(given), given["grad_output"]
    if op.startswith("adaptive"):
        given = {**given, "output_size": tuple(grad.shape[-int(op[-2]) :])}
    problem = _built(op, given, _POOL, {"input": tuple(x.shape)})
    found = {n: a for n, a in (("input", x), ("indices", given.get("indices"))) if a is not None}
    return Seen(problem, found, grad, {"grad_input": out})


def _mean(given: Given, out: Any) -> Seen | None:
    """adaptive_avg_pool to one cell is written as this very mean: the last axes, backwards."""
    x, axes = given["self"], tuple(given.get("dim") or ())
    rank = len(axes)
    if axes not in ((-1, -2), (-1, -2, -3)) or not given["keepdim"] or given["dtype"] is not None:
        return None
    if x.dim() - rank not in (1, 2):
        return None
    return _pool(f"adaptive_avg_pool{rank}d", {"self": x, "output_size": (1,) * rank}, out)


def _mean_backward(given: Given, out: Any) -> Seen | None:
    """… and its derivative as a division of the expanded gradient."""
    problem, expanded = given["before"], given["self"]
    if not isinstance(problem, PoolProblem) or not problem.op.startswith("adaptive_avg"):
        return None
    if given["other"] != prod(problem.in_size) or expanded.shape != problem.input_shape:
        return None
    one = expanded[(..., *(slice(1),) * problem.rank)]
    return Seen(problem, {"input": expanded}, one, {"grad_input": out})


def _unpool(given: Given, out: Any) -> Seen:
    x, indices = given["self"], given["indices"]
    size = tuple(given["output_size"])
    lead, small = tuple(x.shape[: -len(size)]), tuple(x.shape[-len(size) :])
    problem = IndexProblem(f"max_unpool{len(size)}d", lead, small, size, arrays.dtype_name(x))
    return Seen(problem, {"input": x, "indices": indices}, None, {"output": out})


def _unpool_backward(given: Given, out: Any) -> Seen | None:
    """The derivative of unpooling is a gather with the spatial axes as one."""
    problem, indices = given["before"], given["index"]
    if not isinstance(problem, IndexProblem):
        return None
    small = (*problem.lead, *problem.small)
    dy = given["self"].reshape(problem.output_shape)
    found = {"indices": indices.reshape(small)}
    return Seen(problem, found, dy, {"grad_input": out.reshape(small)})


def _columns(op: str, given: Given, out: Any) -> Seen:
    x = given["self"]
    problem = _built(op, given, _POOL, {"input": tuple(x.shape)})
    return Seen(problem, {"input": x}, None, {"output": out})


def _pad(mode: str, given: Given, out: Any) -> Seen:
    x = given["self"]
    numbers = {"mode": mode, "pad": given["pad" if mode == "constant" else "padding"]}
    numbers |= {"value": given["value"]} if mode == "constant" else {}
    problem = build("pad", {"input": tuple(x.shape)}, numbers, arrays.dtype_name(x))
    return Seen(problem, {"input": x}, None, {"output": out})


def _pad_backward(mode: str, given: Given, out: Any) -> Seen:
    problem = _pad(mode, given, None).problem
    return Seen(problem, {"input": given["self"]}, given["grad_output"], {"grad_input": out})


def _readers() -> dict[str, Callable[[Given, Any], Seen | None]]:
    found: dict[str, Callable[[Given, Any], Seen | None]] = {
        "convolution": _conv,
        "convolution_overrideable": _conv,
        "_convolution": _conv,
        "convolution_backward": _conv_backward,
        "convolution_backward_overrideable": _conv_backward,
        "mean": _mean,
        "div": _mean_backward,
        "gather": _unpool_backward,
        "max_unpool2d": _unpool,
        "max_unpool3d": _unpool,
        "im2col": partial(_columns, "unfold"),
        "col2im": partial(_columns, "fold"),
        "constant_pad_nd": partial(_pad, "constant"),
        "mkldnn_adaptive_avg_pool2d": partial(_pool, "adaptive_avg_pool2d"),
        "mkldnn_adaptive_avg_pool2d_backward": partial(_pool_backward, "adaptive_avg_pool2d"),
    }
    plain = (
        "cudnn_convolution", "miopen_convolution", "miopen_depthwise_convolution",
        "mkldnn_convolution", "_mps_convolution", "_nnpack_spatial_convolution",
        "_conv_depthwise2d", "conv_depthwise3d", "_slow_conv2d_forward", "slow_conv3d_forward",
        "slow_conv_dilated2d", "slow_conv_dilated3d",
    )  # fmt: skip
    turned = (
        "cudnn_convolution_transpose", "miopen_convolution_transpose",
        "_mps_convolution_transpose", "slow_conv_transpose2d", "slow_conv_transpose3d",
    )  # fmt: skip
    found |= {name: partial(_conv, transposed=False) for name in plain}
    found |= {name: partial(_conv, transposed=True) for name in turned}
    for name, transposed in (
        ("_slow_conv2d_backward", False),
        ("mps_convolution_backward", False),
        ("mps_convolution_transpose_backward", True),
    ):
        found[name] = partial(_conv_backward, transposed=transposed)
    for r in (2, 3):
        for op, name in (
            (f"max_pool{r}d", f"max_pool{r}d_with_indices"),
            (f"max_pool{r}d", f"mkldnn_max_pool{r}d"),
            (f"avg_pool{r}d", f"avg_pool{r}d"),
            (f"adaptive_avg_pool{r}d", f"_adaptive_avg_pool{r}d"),
            (f"adaptive_max_pool{r}d", f"adaptive_max_pool{r}d"),
        ):
            found[name] = partial(_pool, op)
            found[f"{name}_backward"] = partial(_pool_backward, op)
    for r in (1, 2, 3):
        for name, mode in (("reflection", "reflect"), ("replication", "replicate")):
            found[f"{name}_pad{r}d"] = partial(_pad, mode)
            found[f"{name}_pad{r}d_backward"] = partial(_pad_backward, mode)
    return {f"aten::{name}": reader for name, reader in found.items()}


#: Operator of aten → what reads it.
READERS = _readers()
