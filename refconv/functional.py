"""torch.nn.functional's convolution family: its names, argument order, defaults and semantics, plus
``backend``.

Every function takes torch tensors or NumPy arrays and returns the same library on the same device;
torch tensors are differentiable. ``backend`` is ``"auto"``, a backend's name (``"naive"``,
``"im2col"``, ``"numba"``, …) or
``"name:algorithm"``. What torch refuses is refused, with a message that names op, rule, numbers and
shapes.

Shapes, in every docstring: N batch (may be left out), C input channels, K output channels, ``*in``
    and ``*out`` sizes.
"""

from __future__ import annotations

from typing import Any

from . import checks, plans
from .adaptive import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool1d_with_indices,
    adaptive_max_pool2d,
    adaptive_max_pool2d_with_indices,
    adaptive_max_pool3d,
    adaptive_max_pool3d_with_indices,
)
from .ops import OPS
from .pooling import (
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    lp_pool1d,
    lp_pool2d,
    lp_pool3d,
    max_pool1d,
    max_pool1d_with_indices,
    max_pool2d,
    max_pool2d_with_indices,
    max_pool3d,
    max_pool3d_with_indices,
    max_unpool1d,
    max_unpool2d,
    max_unpool3d,
)

Numbers = int | tuple[int, ...] | list[int]
ARRAYS = ("input", "weight", "bias")

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool1d_with_indices",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_with_indices",
    "adaptive_max_pool3d",
    "adaptive_max_pool3d_with_indices",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "fold",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_pool1d",
    "max_pool1d_with_indices",
    "max_pool2d",
    "max_pool2d_with_indices",
    "max_pool3d",
    "max_pool3d_with_indices",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
    "pad",
    "unfold",
]


def conv1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Numbers = 1,
    padding: Numbers | str = 0,
    dilation: Numbers = 1,
    groups: int = 1,
    *,
    backend: str = "auto",
) -> Any:
    """1-D convolution (cross-correlation), as torch's conv1d.

    Shapes: input (N, C, L), weight (K, C/groups, k), bias (K,), result (N, K, out).
    """
    given = (input, weight) if bias is None else (input, weight, bias)
    raw = ("conv1d", stride, padding, dilation, groups, backend)
    return plans.call("conv", _conv_arguments, ARRAYS, given, raw)


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Numbers = 1,
    padding: Numbers | str = 0,
    dilation: Numbers = 1,
    groups: int = 1,
    *,
    backend: str = "auto",
) -> Any:
    """2-D convolution (cross-correlation), as torch's conv2d.

    Shapes: input (N, C, H, W), weight (K, C/groups, kh, kw), bias (K,), result (N, K, *out).

    Example:
        >>> import numpy as np
        >>> conv2d(np.ones((1, 3, 5, 5)), np.ones((2, 3, 3, 3)), stride=2).shape
        (1, 2, 2, 2)
    """
    given = (input, weight) if bias is None else (input, weight, bias)
    raw = ("conv2d", stride, padding, dilation, groups, backend)
    return plans.call("conv", _conv_arguments, ARRAYS, given, raw)


def conv3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Numbers = 1,
    padding: Numbers | str = 0,
    dilation: Numbers = 1,
    groups: int = 1,
    *,
    backend: str = "auto",
) -> Any:
    """3-D convolution (cross-correlation), as torch's conv3d.

    Shapes: input (N, C, D, H, W), weight (K, C/groups, kd, kh, kw), bias (K,), result (N, K, *out).
    """
    given = (input, weight) if bias is None else (input, weight, bias)
    raw = ("conv3d", stride, padding, dilation, groups, backend)
    return plans.call("conv", _conv_arguments, ARRAYS, given, raw)


def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Numbers = 1,
    padding: Numbers = 0,
    output_padding: Numbers = 0,
    groups: int = 1,
    dilation: Numbers = 1,
    *,
    backend: str = "auto",
) -> Any:
    """1-D transposed convolution, as torch's conv_transpose1d.

    Shapes: input (N, C, L), weight (C, K/groups, k), bias (K,), result (N, K, out).
    """
    given = (input, weight) if bias is None else (input, weight, bias)
    raw = ("conv_transpose1d", stride, padding, output_padding, groups, dilation, backend)
    return plans.call("conv", _conv_transpose_arguments, ARRAYS, given, raw)


def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Numbers = 1,
    padding: Numbers = 0,
    output_padding: Numbers = 0,
    groups: int = 1,
    dilation: Numbers = 1,
    *,
    backend: str = "auto",
) -> Any:
    """2-D transposed convolution, as torch's conv_transpose2d.

    Shapes: input (N, C, H, W), weight (C, K/groups, kh, kw), bias (K,), result (N, K, *out).

    Example:
        >>> import numpy as np
        >>> x, w = np.ones((1, 3, 12, 12)), np.ones((3, 2, 4, 4))
        >>> conv_transpose2d(x, w, stride=2, padding=1).shape
        (1, 2, 24, 24)
    """
    given = (input, weight) if bias is None else (input, weight, bias)
    raw = ("conv_transpose2d", stride, padding, output_padding, groups, dilation, backend)
    return plans.call("conv", _conv_transpose_arguments, ARRAYS, given, raw)


def conv_transpose3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Numbers = 1,
    padding: Numbers = 0,
    output_padding: Numbers = 0,
    groups: int = 1,
    dilation: Numbers = 1,
    *,
    backend: str = "auto",
) -> Any:
    """3-D transposed convolution, as torch's conv_transpose3d.

    Shapes: input (N, C, D, H, W), weight (C, K/groups, kd, kh, kw), bias (K,), result (N, K, *out).
    """
    given = (input, weight) if bias is None else (input, weight, bias)
    raw = ("conv_transpose3d", stride, padding, output_padding, groups, dilation, backend)
    return plans.call("conv", _conv_transpose_arguments, ARRAYS, given, raw)


def unfold(
    input: Any,
    kernel_size: Numbers,
    dilation: Numbers = 1,
    padding: Numbers = 0,
    stride: Numbers = 1,
    *,
    backend: str = "auto",
) -> Any:
    """The column matrix of im2col, as torch's unfold.

    Shapes: input (N, C, H, W), result (N, C*kh*kw, positions).

    Example:
        >>> import numpy as np
        >>> unfold(np.ones((1, 3, 5, 5)), 3).shape
        (1, 27, 9)
    """
    raw = ("unfold", kernel_size, dilation, padding, stride, backend)
    return plans.call("unfold", _columns, ("input",), (input,), raw)


def fold(
    input: Any,
    output_size: Numbers,
    kernel_size: Numbers,
    dilation: Numbers = 1,
    padding: Numbers = 0,
    stride: Numbers = 1,
    *,
    backend: str = "auto",
) -> Any:
    """The transpose of ``unfold``: overlapping columns summed back into an image, as torch's fold.

    Shapes: input (N, C*kh*kw, positions), result (N, C, *output_size).
    """
    raw = ("fold", output_size, kernel_size, dilation, padding, stride, backend)
    return plans.call("fold", _fold_arguments, ("input",), (input,), raw)


def pad(
    input: Any,
    pad: tuple[int, ...] | list[int],
    mode: str = "constant",
    value: float | None = None,
    *,
    backend: str = "auto",
) -> Any:
    """Pad the last axes of an array, as torch's pad.

    Args:
        pad: (low, high) for the last axis, then for the one before it, …; negative numbers crop.
        mode: ``constant``, ``reflect``, ``replicate`` or ``circular``.
        value: what the constant mode fills in; None is 0.

    Example:
        >>> import numpy as np
        >>> import refconv.functional as F
        >>> F.pad(np.array([[1.0, 2.0, 3.0]]), (1, 2), "reflect")
        array([[2., 1., 2., 3., 2., 1.]])
    """
    for part in _parts(input, pad):
        input = plans.call(
            "pad", _pad_arguments, ("input",), (input,), ("pad", part, mode, value, backend)
        )
    return input


def _parts(input: Any, pad: Any) -> list[Any]:
    """The padding at once or, where an array has more axes than a kernel, two axes at a time."""
    if getattr(input, "ndim", 0) <= 5:
        return [pad]
    flat = checks.flat("pad", "pad", pad)
    return [[0] * i + flat[i : i + 4] for i in range(0, len(flat), 4)] or [flat]


def _pad_arguments(op, pad, mode, value, backend):
    return checks.flat(op, "pad", pad), mode, value, backend


def _columns(op, kernel, dilation, padding, stride, backend):
    named = {"kernel_size": kernel, "dilation": dilation, "padding": padding, "stride": stride}
    return *(checks.numbers(op, name, value, 2) for name, value in named.items()), backend


def _fold_arguments(op, output_size, *steps):
    return checks.numbers(op, "output_size", output_size, 2), *_columns(op, *steps)


def _conv_arguments(op, stride, padding, dilation, groups, backend):
    rank = OPS[op].rank
    mode = padding if isinstance(padding, str) else ""
    return (
        op,
        checks.numbers(op, "stride", stride, rank),
        (0,) * rank if mode else checks.numbers(op, "padding", padding, rank),
        mode,
        checks.numbers(op, "dilation", dilation, rank),
        (0,) * rank,
        checks.number(op, "groups", groups),
        backend,
    )


def _conv_transpose_arguments(op, stride, padding, output_padding, groups, dilation, backend):
    rank = OPS[op].rank
    return (
        op,
        checks.numbers(op, "stride", stride, rank),
        checks.numbers(op, "padding", padding, rank),
        "",
        checks.numbers(op, "dilation", dilation, rank),
        checks.numbers(op, "output_padding", output_padding, rank),
        checks.number(op, "groups", groups),
        backend,
    )
