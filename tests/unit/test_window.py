"""One-dimensional window arithmetic, judged by counting positions one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refconv import window

GEOMETRY = {
    "size": st.integers(1, 14),
    "kernel": st.integers(1, 6),
    "stride": st.integers(1, 5),
    "padding": st.integers(0, 7),
    "dilation": st.integers(1, 5),
}


def taps(o, size, kernel, stride, padding, dilation):
    """The taps of window ``o`` that lie inside the input, by trying each."""
    at = [o * stride - padding + k * dilation for k in range(kernel)]
    return [i for i in at if 0 <= i < size]


@given(**GEOMETRY)
def test_out_size_counts_positions(size, kernel, stride, padding, dilation):
    """A window fits if its last tap is not beyond the padding."""
    padded, last = size + 2 * padding, dilation * (kernel - 1)
    want = len([start for start in range(0, padded, stride) if start + last < padded])
    assert max(0, window.out_size(size, kernel, stride, padding, dilation)) == want


@given(**GEOMETRY)
def test_ceil_mode_adds_the_window_that_starts_inside(size, kernel, stride, padding, dilation):
    """With ceil_mode a window may reach beyond the padding, but not start behind the input."""
    floor = window.out_size(size, kernel, stride, padding, dilation)
    ceil = window.out_size(size, kernel, stride, padding, dilation, ceil_mode=True)
    if floor >= 1 and padding <= kernel // 2:
        covered = (floor - 1) * stride + dilation * (kernel - 1) + 1 >= size + 2 * padding
        starts_inside = floor * stride < size + padding
        assert ceil == floor + (not covered and starts_inside)


@given(output_padding=st.integers(0, 4), **GEOMETRY)
def test_transposed_size_is_the_inverse(size, kernel, stride, padding, dilation, output_padding):
    """A convolution of the transposed size has ``size`` positions, if output_padding < stride."""
    output_padding %= stride
    big = window.conv_transpose_out_size(size, kernel, stride, padding, output_padding, dilation)
    assert window.out_size(big, kernel, stride, padding, dilation) == size


@given(out=st.integers(1, 9), **GEOMETRY)
def test_pool_windows_are_the_taps_inside(size, kernel, stride, padding, dilation, out):
    """One by one, and all at once as an array."""
    rows = [window.pool_window(o, size, kernel, stride, padding, dilation) for o in range(out)]
    for o, (start, stop) in enumerate(rows):
        assert list(range(start, stop, dilation)) == taps(
            o, size, kernel, stride, padding, dilation
        )
    start, stop = window.pool_window(np.arange(out), size, kernel, stride, padding, dilation)
    assert list(zip(start.tolist(), stop.tolist(), strict=True)) == rows


@given(out=st.integers(1, 9), **GEOMETRY)
def test_term_counts(size, kernel, stride, padding, dilation, out):
    """Terms of an output, of an input's gradient, of a weight's gradient."""
    step = (kernel, stride, padding, dilation)
    windows = [taps(o, size, *step) for o in range(out)]
    assert [window.taps_per_output(o, size, *step) for o in range(out)] == [len(w) for w in windows]
    readers = [sum(i in w for w in windows) for i in range(size)]
    assert window.taps_per_input(np.arange(size), out, *step).tolist() == readers
    for k in range(kernel):
        inside = [0 <= o * stride - padding + k * dilation < size for o in range(out)]
        assert window.outputs_per_tap(k, size, out, stride, padding, dilation) == sum(inside)


@given(size=st.integers(1, 30), out=st.integers(1, 40))
def test_adaptive_windows_cover_everything(size, out):
    """Every input cell is in some window, no window is empty, and the windows move on."""
    rows = [window.adaptive_window(o, size, out) for o in range(out)]
    assert {i for start, stop in rows for i in range(start, stop)} == set(range(size))
    assert all(start < stop for start, stop in rows)
    assert rows == sorted(rows)


@given(include=st.booleans(), **{k: v for k, v in GEOMETRY.items() if k != "dilation"})
def test_averaging_extents(size, kernel, stride, padding, include):
    """The extent counts padding cells, or input cells only; never what is beyond the padding."""
    padding = min(padding, kernel // 2)
    for o in range(window.out_size(size, kernel, stride, padding, ceil_mode=True)):
        start, stop, extent = window.avg_window(o, size, kernel, stride, padding, include)
        cells = [o * stride - padding + k for k in range(kernel)]
        inside = [i for i in cells if 0 <= i < size]
        padded = [i for i in cells if -padding <= i < size + padding]
        assert list(range(start, stop)) == inside
        assert extent == len(padded if include else inside)


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
def test_padding_is_numpys(mode):
    """reflect, replicate (edge) and circular (wrap) as numpy.pad shows them."""
    ours = {"edge": "replicate", "wrap": "circular"}.get(mode, mode)
    for size, low, high in [(5, 2, 3), (4, 3, 0), (1, 0, 0), (3, 0, 2)]:
        want = np.pad(
            np.arange(size),
            (low, high),
            mode,
            **({"constant_values": -1} if mode == "constant" else {}),
        )
        o = np.arange(size + low + high)
        assert window.pad_source(o, size, low, high, ours).tolist() == want.tolist()


def test_same_padding_styles():
    """torch and TensorFlow put the odd zero behind, ONNX lower in front."""
    assert window.same_padding(7, 4) == (1, 2)
    assert window.same_padding(7, 5, 3, style="tf") == (2, 2)
    assert (
        window.same_padding(6, 3, 2, style="tf")
        == window.same_padding(6, 3, 2, style="onnx_upper")
        == (0, 1)
    )
    assert window.same_padding(6, 3, 2, style="onnx_lower") == (1, 0)
    for bad in ({"style": "torch", "stride": 2}, {"style": "keras"}):
        with pytest.raises(ValueError, match="same_padding"):
            window.same_padding(7, 3, **bad)


@given(**GEOMETRY)
def test_tensorflows_same_gives_the_ceiling(size, kernel, stride, padding, dilation):
    """ceil(size / stride) positions, whatever the rest."""
    pads = window.same_padding(size, kernel, stride, dilation, style="tf")
    assert window.out_size(size, kernel, stride, pads, dilation) == -(-size // stride)
