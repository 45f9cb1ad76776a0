"""Parameters, multiply-accumulates and FLOPs: counted as the loops of kernels/naive meet them.

One multiply-accumulate (MAC) is one product added to a sum; a FLOP count is twice that, since it
counts the product and the addition. A bias is an addition only and is in neither. Two numbers are
in use: with the products by zeros of the padding (what everyone's formula gives), and without.
"""

from __future__ import annotations

from math import prod
from typing import Any

from ..errors import UnsupportedError, UsageError
from ..notation import Problem, input_shape
from ..problem import ConvProblem
from .layers import ANY, Layer, is_module, layers, model


def params(what: Any) -> int:
    """Learnable numbers: weights and biases.

    Args:
        what: a problem, a label, torch code (no input's shape is needed), a list of these, any
            torch module, or a model by name; what a module uses twice counts once.

    Raises:
        UsageError: this is no layer.

    Example:
        >>> params("nn.Conv2d(3,6,5)"), params("nn.Conv2d(1,32,5,1,2)")
        (456, 832)
    """
    if is_module(what):
        return sum(parameter.numel() for parameter in what.parameters())
    if (rows := model(what)) is not None:
        return rows.params
    return sum(layer.params for layer in layers(what))


def macs(what: Any, in_shape: Any = None, *, padding: bool = True) -> int:
    """Multiply-accumulates of a forward pass, of the batch that the input's shape names.

    Of a transposed convolution they are those of the convolution that it transposes: each input
    cell meets every tap of the kernel once.

    Args:
        what: as in ``params``.
        padding: whether products with zeros of the padding count (and, of a transposed
            convolution, those whose place is cropped away).

    Raises:
        UsageError: this is no layer and no model, or the input's shape is missing.
        UnsupportedError: the model has an op whose multiplies are not counted.

    Example:
        >>> macs("nn.Conv2d(1,1,3,padding=1)", "1x5x5")
        225
        >>> macs("nn.Conv2d(1,1,3,padding=1)", "1x5x5", padding=False)
        169
    """
    if (rows := model(what, in_shape)) is not None:
        if rows.uncounted:
            named = ", ".join(rows.uncounted)
            raise UnsupportedError(f"the multiplies of {named} are not counted, so there is no sum")
        return rows.macs if padding else rows.inside
    found = layers(what, in_shape)
    sized = [layer.op for layer in found if not isinstance(layer.op, str)]
    if any(ANY in input_shape(problem) for problem in sized):
        raise UsageError(f"{found[0].text} does not say how large its input is: give in_shape")
    batch = getattr(sized[0], "batch", None) if sized else None
    return sum(_macs(layer, batch, padding) for layer in found)


def flops(what: Any, in_shape: Any = None, *, padding: bool = True) -> int:
    """Twice ``macs``: a multiplication and an addition each. Many papers call a MAC a FLOP.

    Example:
        >>> flops("nn.Conv2d(1,1,3,padding=1)", "1x5x5")
        450
    """
    return 2 * macs(what, in_shape, padding=padding)


def problem_macs(problem: Problem, *, padding: bool = True) -> int:
    """Multiply-accumulates of one problem; 0 for what multiplies nothing (pooling, moves)."""
    if not isinstance(problem, ConvProblem):
        return 0
    if not padding:
        return problem.macs
    # y is the side with one window a cell: the output, or a transposed convolution's input.
    channels = problem.out_channels if problem.transposed else problem.in_channels
    return prod(problem.y_shape) * channels // problem.groups * prod(problem.kernel)


def params_line(problem: ConvProblem) -> str:
    """How the parameters come about: weights of a filter, times filters, plus biases.

    Example:
        >>> from refconv.label import parse
        >>> params_line(parse("conv2d x[1,3,32,32] w[6,3,5,5] b"))
        '75*6+6 = 456'
    """
    filters = problem.out_channels
    weights = prod(problem.weight_shape) // filters
    return f"{weights}*{filters}{f'+{filters}' * problem.bias} = {problem.params:,}"


def macs_line(problem: ConvProblem) -> str:
    """How the multiply-accumulates come about: cells of the output (of a transposed convolution:
    of the input), times products of each.

    Example:
        >>> from refconv.label import parse
        >>> macs_line(parse("conv2d x[1,3,32,32] w[6,3,5,5] b"))
        '6*28*28 cells * 75 = 352,800'
    """
    cells = prod(problem.y_shape)
    total = problem_macs(problem)
    shape = (
        problem.y_shape if problem.batch not in (None, 1) else problem.y_shape[-problem.rank - 1 :]
    )
    each = total // cells if cells else 0
    side = "input cells" if problem.transposed else "cells"
    return f"{'*'.join(map(str, shape))} {side} * {each} = {total:,}"


def _macs(layer: Layer, batch: int | None, padding: bool) -> int:
    if isinstance(layer.op, str):
        return layer.macs * (1 if batch is None else batch)
    return problem_macs(layer.op, padding=padding)
