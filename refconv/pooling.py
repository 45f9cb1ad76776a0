"""The pools of torch.nn.functional: maximum, average, power average, adaptive, and unpooling; part
of ``functional``.

Shapes: input ``(N, C, *in)`` or ``(C, *in)``; result ``(N, C, *out)`` or ``(C, *out)``; indices as
    the result.
"""

from __future__ import annotations

import sys
from typing import Any

from . import arrays, checks
from .errors import DtypeError
from .ops import OPS
from .plans import call

Numbers = int | tuple[int, ...] | list[int]
INPUT, INDEXED = ("input",), ("input", "indices")


def max_pool1d(
    input: Any,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    dilation: Numbers = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    backend: str = "auto",
) -> Any:
    """Largest element of each window; NaN wins; with ``return_indices`` also its flat position.

    Source: torch max_pool1d.
    """
    operator = "max_pool" if return_indices else "max_pool_values"
    steps = (kernel_size, stride, padding, dilation, ceil_mode, return_indices)
    return call(operator, _max_arguments, INPUT, (input,), ("max_pool1d", *steps, backend))


def max_pool1d_with_indices(
    input: Any,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    dilation: Numbers = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    backend: str = "auto",
) -> Any:
    """``max_pool1d`` with its indices, whatever ``return_indices`` says (as in torch)."""
    steps = (kernel_size, stride, padding, dilation, ceil_mode, True)
    return call("max_pool", _max_arguments, INPUT, (input,), ("max_pool1d", *steps, backend))


def max_pool2d(
    input: Any,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    dilation: Numbers = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    backend: str = "auto",
) -> Any:
    """Largest element of each window; NaN wins; with ``return_indices`` also its flat position.

    Source: torch max_pool2d.
    """
    operator = "max_pool" if return_indices else "max_pool_values"
    steps = (kernel_size, stride, padding, dilation, ceil_mode, return_indices)
    return call(operator, _max_arguments, INPUT, (input,), ("max_pool2d", *steps, backend))


def max_pool2d_with_indices(
    input: Any,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    dilation: Numbers = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    backend: str = "auto",
) -> Any:
    """``max_pool2d`` with its indices, whatever ``return_indices`` says (as in torch)."""
    steps = (kernel_size, stride, padding, dilation, ceil_mode, True)
    return call("max_pool", _max_arguments, INPUT, (input,), ("max_pool2d", *steps, backend))


def max_pool3d(
    input: Any,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    dilation: Numbers = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    backend: str = "auto",
) -> Any:
    """Largest element of each window; NaN wins; with ``return_indices`` also its flat position.

    Source: torch max_pool3d.
    """
    operator = "max_pool" if return_indices else "max_pool_values"
    steps = (kernel_size, stride, padding, dilation, ceil_mode, return_indices)
    return call(operator, _max_arguments, INPUT, (input,), ("max_pool3d", *steps, backend))


def max_pool3d_with_indices(
    input: Any,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    dilation: Numbers = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    backend: str = "auto",
) -> Any:
    """``max_pool3d`` with its indices, whatever ``return_indices`` says (as in torch)."""
    steps = (kernel_size, stride, padding, dilation, ceil_mode, True)
    return call("max_pool", _max_arguments, INPUT, (input,), ("max_pool3d", *steps, backend))


def avg_pool1d(
    input: Any,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    backend: str = "auto",
) -> Any:
    """Mean of each window.

    Source: torch avg_pool1d.
    """
    steps = (kernel_size, stride, padding, ceil_mode, count_include_pad, None)
    return call("avg_pool", _avg_arguments, INPUT, (input,), ("avg_pool1d", *steps, backend))


def avg_pool2d(
    input: Any,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    backend: str = "auto",
) -> Any:
    """Mean of each window.

    Source: torch avg_pool2d.
    """
    steps = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return call("avg_pool", _avg_arguments, INPUT, (input,), ("avg_pool2d", *steps, backend))


def avg_pool3d(
    input: Any,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    backend: str = "auto",
) -> Any:
    """Mean of each window.

    Source: torch avg_pool3d.
    """
    steps = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return call("avg_pool", _avg_arguments, INPUT, (input,), ("avg_pool3d", *steps, backend))


def lp_pool1d(
    input: Any,
    norm_type: float,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    ceil_mode: bool = False,
    *,
    backend: str = "auto",
) -> Any:
    """Power average of each window: the ``norm_type``-th root of the sum of its powers.

    Source: torch lp_pool1d.
    """
    return _lp("lp_pool1d", input, norm_type, kernel_size, stride, ceil_mode, backend)


def lp_pool2d(
    input: Any,
    norm_type: float,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    ceil_mode: bool = False,
    *,
    backend: str = "auto",
) -> Any:
    """Power average of each window: the ``norm_type``-th root of the sum of its powers.

    Source: torch lp_pool2d.
    """
    return _lp("lp_pool2d", input, norm_type, kernel_size, stride, ceil_mode, backend)


def lp_pool3d(
    input: Any,
    norm_type: float,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    ceil_mode: bool = False,
    *,
    backend: str = "auto",
) -> Any:
    """Power average of each window: the ``norm_type``-th root of the sum of its powers.

    Source: torch lp_pool3d.
    """
    return _lp("lp_pool3d", input, norm_type, kernel_size, stride, ceil_mode, backend)


def max_unpool1d(
    input: Any,
    indices: Any,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    output_size: Any = None,
    *,
    backend: str = "auto",
) -> Any:
    """Each element put back where max pooling found it, zeros elsewhere; the last of equal indices
    wins.

    Source: torch max_unpool1d.
    """
    raw = ("max_unpool1d", kernel_size, stride, padding, output_size, backend)
    return call("max_unpool", _unpool_arguments, INDEXED, (input, indices), raw)


def max_unpool2d(
    input: Any,
    indices: Any,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    output_size: Any = None,
    *,
    backend: str = "auto",
) -> Any:
    """Each element put back where max pooling found it, zeros elsewhere; the last of equal indices
    wins.

    Source: torch max_unpool2d.
    """
    raw = ("max_unpool2d", kernel_size, stride, padding, output_size, backend)
    return call("max_unpool", _unpool_arguments, INDEXED, (input, indices), raw)


def max_unpool3d(
    input: Any,
    indices: Any,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    output_size: Any = None,
    *,
    backend: str = "auto",
) -> Any:
    """Each element put back where max pooling found it, zeros elsewhere; the last of equal indices
    wins.

    Source: torch max_unpool3d.
    """
    raw = ("max_unpool3d", kernel_size, stride, padding, output_size, backend)
    return call("max_unpool", _unpool_arguments, INDEXED, (input, indices), raw)


def _window(op: str, kernel: Any, stride: Any, padding: Any, dilation: Any) -> tuple[Any, ...]:
    """Kernel, stride (the kernel where it is left out), padding and dilation, one number an axis
    each.
    """
    rank = OPS[op].rank
    sizes = checks.numbers(op, "kernel_size", kernel, rank)
    steps = checks.stride_or_kernel(op, stride, sizes)
    pads = checks.numbers(op, "padding", padding, rank)
    return sizes, steps, pads, checks.numbers(op, "dilation", dilation, rank)


def _max_arguments(op, kernel, stride, padding, dilation, ceil_mode, indices, backend):
    window = _window(op, kernel, stride, padding, dilation)
    return op, *window, bool(ceil_mode), True, None, (), backend


def _avg_arguments(op, kernel, stride, padding, ceil_mode, include, divisor, backend):
    window = _window(op, kernel, stride, padding, 1)
    return op, *window, bool(ceil_mode), bool(include), divisor, (), backend


def _lp(op, x, norm, kernel, stride, ceil_mode, backend):
    """As torch composes it: average of powers, times the number of cells, to the 1/norm."""
    lib = sys.modules[arrays.library(op, input=x)]
    if norm in (float("inf"), -float("inf")):  # the limit of the root is the largest, or smallest
        sign = 1 if norm > 0 else -1
        most = op.replace("lp", "max")
        large = sign * lib.abs(x)
        window = (kernel, stride, 0, 1, ceil_mode, False)
        raw = (most, *window, backend)
        return sign * call("max_pool_values", _max_arguments, INPUT, (large,), raw)
    cells = 1
    if OPS[op].rank == 1:  # torch takes no tuple here
        checks.number(op, "kernel_size", kernel)
    for k in checks.numbers(op, "kernel_size", kernel, OPS[op].rank):
        cells *= k
    try:
        powers = x**norm
    except RuntimeError as error:  # torch has no power of this dtype
        raise DtypeError(f"{op}: not defined for {arrays.dtype_name(x)}: {error}") from None
    steps = (kernel, stride, 0, ceil_mode, True, None)
    mean = call("avg_pool", _avg_arguments, INPUT, (powers,), (op, *steps, backend))
    size = lib.abs(mean)
    if hasattr(lib, "relu"):  # torch's relu has slope 0 at 0, which stops the root's infinite slope
        size = lib.relu(size)
    return (lib.sign(mean) * size * cells) ** (1.0 / norm)


def _unpool_arguments(op, kernel, stride, padding, output_size, backend):
    sizes, steps, pads, _ = _window(op, kernel, stride, padding, 1)
    wanted = None if output_size is None else checks.flat(op, "output_size", list(output_size))
    return op, sizes, steps, pads, wanted, backend
