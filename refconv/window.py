"""One-dimensional window arithmetic: where a kernel lands, how often, and what it sees. No imports,
no arrays.

Everything that slides a window (convolution, its transpose, pooling, unfold, padding) is this
arithmetic once per axis. Sizes are in elements. Position arguments (``o``) may be an int or an
integer array: only ``+ - * //``, ``abs`` and comparisons are used, so that the same rule gives one
window, or a table of all of them.
"""

from __future__ import annotations

from typing import Any


def effective_kernel(kernel: int, dilation: int = 1) -> int:
    """Extent of a dilated kernel: ``dilation * (kernel - 1) + 1``.

    Example:
        >>> effective_kernel(3, dilation=2)
        5
    """
    return dilation * (kernel - 1) + 1


def both_sides(padding: int | tuple[int, int]) -> tuple[int, int]:
    """A padding as ``(low, high)``; a single number means the same on both sides."""
    return padding if isinstance(padding, tuple) else (padding, padding)


def out_size(
    size: int,
    kernel: int,
    stride: int = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int = 1,
    *,
    ceil_mode: bool = False,
) -> int:
    """Number of window positions: ``floor((size + padding - effective_kernel) / stride) + 1``.

    With ``ceil_mode`` the division rounds up, but a window may not start in the padding behind the
    input, so the last one is dropped if it would (pooling's rule). The result is 0 or less where no
    window fits.

    Source: torch.nn.Conv2d, torch.nn.MaxPool2d (Shape).

    Example:
        >>> out_size(7, kernel=5, stride=3), out_size(5, 2, 2), out_size(5, 2, 2, ceil_mode=True)
        (1, 2, 3)
    """
    low, high = both_sides(padding)
    room = size + low + high - effective_kernel(kernel, dilation)
    if not ceil_mode:
        return room // stride + 1
    positions = (room + stride - 1) // stride + 1
    if (positions - 1) * stride >= size + low:
        positions -= 1
    return positions


def conv_transpose_out_size(
    size: int,
    kernel: int,
    stride: int = 1,
    padding: int = 0,
    output_padding: int = 0,
    dilation: int = 1,
) -> int:
    """Output size of a transposed convolution: the input size of the convolution that it
    transposes.

    ``(size - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1``. Several
    input sizes of a strided convolution give the same output size; ``output_padding`` says which of
    them is meant.

    Example:
        >>> conv_transpose_out_size(12, kernel=4, stride=2, padding=1)
        24
    """
    return (size - 1) * stride - 2 * padding + effective_kernel(kernel, dilation) + output_padding


def same_padding(
    size: int | None, kernel: int, stride: int = 1, dilation: int = 1, *, style: str = "torch"
) -> tuple[int, int]:
    """Zeros ``(low, high)`` that keep the size (stride 1), or make it ``ceil(size / stride)``.

    Args:
        size: cells of the input; with stride 1 the zeros do not depend on it, and it may be None.
        style: ``torch`` (stride 1 only, extra zero at the end), ``tf`` (any stride, extra zero at
            the end),
            ``onnx_upper`` (as ``tf``) or ``onnx_lower`` (extra zero at the start).

    Raises:
        ValueError: torch's style with a stride, an unknown style, or no size with a stride.

    Example:
        >>> same_padding(7, 5, 3, style="tf"), same_padding(None, kernel=4)
        ((2, 2), (1, 2))
    """
    if style not in ("torch", "tf", "onnx_upper", "onnx_lower"):
        raise ValueError(
            f"same_padding: style must be torch, tf, onnx_upper or onnx_lower, got {style!r}"
        )
    if style == "torch" and stride != 1:
        raise ValueError(
            f"same_padding: torch's padding='same' needs stride 1, got {stride}; style='tf' "
            "gives the padding that TensorFlow would use"
        )
    if stride == 1:
        total = dilation * (kernel - 1)
    elif size is None:
        raise ValueError(
            f"same_padding: with stride {stride} the zeros depend on the size: give it"
        )
    else:
        positions = -(-size // stride)
        total = max((positions - 1) * stride + effective_kernel(kernel, dilation) - size, 0)
    small, large = total // 2, total - total // 2
    return (large, small) if style == "onnx_lower" else (small, large)


def pool_window(
    o: Any, size: int, kernel: int, stride: int, padding: int, dilation: int = 1
) -> tuple[Any, Any]:
    """``(start, stop)`` of the in-bounds taps of window ``o``: taps are ``range(start, stop,
    dilation)``.

    A window that starts in the padding begins at its first tap inside the input, as in torch.
    """
    start = o * stride - padding
    stop = start + effective_kernel(kernel, dilation)
    start = start + (-(start // dilation) * dilation) * (start < 0)
    return start, stop - (stop - size) * (stop > size)


def avg_window(
    o: Any, size: int, kernel: int, stride: int, padding: int, count_include_pad: bool = True
) -> tuple[Any, Any, Any]:
    """``(start, stop, extent)`` of averaging window ``o``; the divisor is the product of extents
    over the axes.

    With ``count_include_pad`` the extent counts padding, but never what lies beyond it
    (``ceil_mode`` windows).
    """
    first = o * stride - padding
    last = first + kernel
    last = last - (last - (size + padding)) * (last > size + padding)
    start = first * (first > 0)
    stop = last - (last - size) * (last > size)
    return start, stop, (last - first if count_include_pad else stop - start)


def adaptive_window(o: Any, size: int, out: int) -> tuple[Any, Any]:
    """``(start, stop)`` of adaptive window ``o``: ``floor(o * size / out)`` to ``ceil((o + 1) *
    size / out)``.

    Neighbouring windows overlap, and differ in length, wherever ``out`` does not divide ``size``.
    """
    return o * size // out, -(-(o + 1) * size // out)


def pad_source(o: Any, size: int, low: int, high: int, mode: str) -> Any:
    """Input position that output position ``o`` of a padded axis shows, or -1 for the constant.

    Args:
        low, high: cells added (or, negative, cropped) before and behind.
        mode: ``constant``, ``reflect`` (the edge is not repeated), ``replicate`` (it is),
            ``circular`` (of the image that is left after cropping, as in torch).
    """
    i = o - low
    if mode == "constant":
        return (i + 1) * ((i >= 0) & (i < size)) - 1
    if mode == "reflect":
        i = abs(i)
        return size - 1 - abs(size - 1 - i)
    if mode == "replicate":
        i = i * (i > 0)
        return i - (i - (size - 1)) * (i > size - 1)
    cropped = max(-low, 0)
    return (i - cropped) % (size - cropped - max(-high, 0)) + cropped


def taps_per_output(
    o: Any, size: int, kernel: int, stride: int, padding: int, dilation: int = 1
) -> Any:
    """How many taps of window ``o`` lie inside the input (0 … kernel): the terms of one output
    element, per axis.
    """
    start = o * stride - padding
    before = -(start // dilation) * (start < 0)
    inside = (size - 1 - start) // dilation + 1
    inside = inside - (inside - kernel) * (inside > kernel)
    count = inside - before
    return count * (count > 0)


def taps_per_input(
    i: Any, out: int, kernel: int, stride: int, padding: int, dilation: int = 1
) -> Any:
    """How many windows of ``range(out)`` read input position ``i``: the terms of one dgrad element,
    per axis.
    """
    count = i * 0
    for k in range(kernel):
        reach = i + padding - k * dilation
        count = count + ((reach >= 0) & (reach % stride == 0) & (reach // stride < out))
    return count


def outputs_per_tap(
    k: int, size: int, out: int, stride: int, padding: int, dilation: int = 1
) -> int:
    """How many windows of ``range(out)`` have tap ``k`` inside the input: the terms of one wgrad
    element, per axis.
    """
    offset = k * dilation - padding
    first = max(0, -(offset // stride))
    last = min(out - 1, (size - 1 - offset) // stride)
    return max(0, last - first + 1)
