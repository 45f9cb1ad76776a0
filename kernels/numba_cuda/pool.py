"""Pooling windows, computed from an output's position (pool.cuh).

``axis`` is (in, out, kernel, stride, padding, dilation) of one spatial axis, six integers.
``adaptive``: windows divide the input; kernel, stride, padding and dilation do not count.
"""

from numba import cuda


@cuda.jit(device=True)
def window_of(axis, o, adaptive):
    """Start and stop: taps are start, start + dilation, … before stop; maybe none."""
    IN, OUT, K, stride, padding, dilation = axis
    if adaptive:
        return o * IN // OUT, ((o + 1) * IN + OUT - 1) // OUT
    first = o * stride - padding
    stop = min(first + (K - 1) * dilation + 1, IN)
    return first if first >= 0 else first + (-first + dilation - 1) // dilation * dilation, stop


@cuda.jit(device=True)
def extent_of(axis, o, adaptive, count_padding):
    """What the window counts in an average's divisor: its cells, padding included or not, but never
    what lies behind the padding.
    """
    if adaptive or not count_padding:
        start, stop = window_of(axis, o, adaptive)
        return stop - start
    first = o * axis[3] - axis[4]
    return min(first + axis[2], axis[0] + axis[4]) - first


@cuda.jit(device=True)
def divisor_of(d, h, w, od, oh, ow, adaptive, count_padding, divisor):
    """Of an average's window; ``divisor`` is that which is given, or 0."""
    if divisor != 0:
        return divisor
    cells = extent_of(d, od, adaptive, count_padding) * extent_of(h, oh, adaptive, count_padding)
    return cells * extent_of(w, ow, adaptive, count_padding)


@cuda.jit(device=True)
def holders_of(axis, i, adaptive):
    """The outputs start to stop - 1 whose windows hold input position i (no dilation)."""
    IN, OUT, K, stride, padding, _ = axis
    if adaptive:
        return i * OUT // IN, ((i + 1) * OUT + IN - 1) // IN
    behind = i + padding - K
    return 0 if behind < 0 else behind // stride + 1, min((i + padding) // stride + 1, OUT)
