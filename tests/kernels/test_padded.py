"""The padded copy: every tap of every window lies where the table says, in any rank."""

from __future__ import annotations

import numpy as np
import pytest

from refconv.kernels.numba_cpu import padded

# x (N, C, *in), kernel, y's size, stride, padding, dilation.
CASES = [
    ((2, 3, 1, 9, 37), (1, 3, 3), (1, 9, 37), (1, 1, 1), (0, 1, 1), (1, 1, 1)),
    ((1, 2, 1, 8, 40), (1, 3, 7), (1, 4, 20), (1, 2, 2), (0, 1, 3), (1, 1, 1)),
    ((1, 2, 1, 9, 34), (1, 2, 2), (1, 3, 11), (1, 3, 3), (0, 0, 1), (1, 2, 4)),
    ((1, 2, 5, 6, 7), (3, 2, 3), (3, 5, 4), (2, 1, 2), (1, 0, 1), (1, 1, 1)),
    ((1, 1, 1, 3, 2), (1, 3, 3), (1, 9, 20), (1, 1, 2), (0, 5, 30), (1, 1, 1)),
    ((1, 2, 1, 9, 9), (1, 3, 3), (1, 4, 3), (1, 1, 1), (0, -2, -3), (1, 1, 1)),
    ((1, 1, 1, 4, 5), (1, 2, 2), (1, 6, 30), (1, 1, 1), (0, 0, 0), (1, 1, 1)),
    ((3, 2, 1, 6, 8), (1, 3, 3), (1, 4, 6), (1, 1, 1), (0, 0, 0), (1, 1, 1)),
    ((1, 2, 1, 6, 6), (1, 3, 3), (1, 4, 6), (1, 1, 1), (0, 1, 1), (1, 1, 1)),
    ((0, 2, 1, 6, 8), (1, 3, 3), (1, 6, 8), (1, 1, 1), (0, 1, 1), (1, 1, 1)),
]


def _terms(x, kernel, out, stride, padding, dilation):
    """What every window reads, (N, C, *kernel, *out), 0 outside x: by indices."""
    found = np.zeros((*x.shape[:2], *kernel, *out), x.dtype)
    for k in np.ndindex(*kernel):
        for o in np.ndindex(*out):
            i = [o[a] * stride[a] - padding[a] + k[a] * dilation[a] for a in range(3)]
            if all(0 <= i[a] < x.shape[2 + a] for a in range(3)):
                found[(slice(None), slice(None), *k, *o)] = x[(slice(None), slice(None), *i)]
    return found


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_tap_is_where_the_table_says(case, dtype):
    shape, kernel, out, *numbers = case
    x = np.arange(1, 1 + np.prod(shape), dtype=dtype).reshape(shape)
    p = padded.padded(x, kernel, out, *numbers)
    n, c, k, od, oh, ow = np.ogrid[
        : shape[0], : shape[1], : len(p.taps), : out[0], : out[1], : out[2]
    ]
    where = n * p.image + c * p.channel + p.taps[k] + od * p.depth + oh * p.row + ow
    want = _terms(x, kernel, out, *numbers).reshape(*shape[:2], len(p.taps), *out)
    np.testing.assert_array_equal(p.data[where] if where.size else want, want)


def test_where_nothing_is_padded_x_is_not_copied():
    x = np.ones((1, 2, 1, 6, 8), np.float32)
    p = padded.padded(x, (1, 3, 3), (1, 4, 6), (1, 1, 1), (0, 0, 0), (1, 1, 1))
    assert np.shares_memory(p.data, x)


def test_a_channel_is_filled_and_nothing_else():
    """``fill`` writes one channel whole, the room behind its rows included: threads share edges."""
    for case in CASES:
        shape, *rest = case
        _, layout, same = padded.geometry(shape, *rest)
        if same:
            continue
        x = np.ones((1, *shape[1:]), np.float32)
        room = np.full(3 * layout.channel, np.nan, np.float32)
        padded.fill(room, layout.channel, x, 0, layout)
        assert np.isnan(room[: layout.channel]).all()
        assert np.isnan(room[2 * layout.channel :]).all()
        assert not np.isnan(room[layout.channel : 2 * layout.channel]).any()


def test_rows_join_where_no_tap_reaches_past_the_stride():
    def joined(shape, kernel, out, stride):
        copy = padded.geometry(shape, kernel, out, stride, (0, 0, 0), (1, 1, 1))[0]
        return padded.joins(copy, (1, 1, *out))

    assert joined((1, 1, 1, 7, 7), (1, 1, 1), (1, 7, 7), (1, 1, 1))
    assert joined((1, 1, 1, 14, 14), (1, 1, 1), (1, 7, 7), (1, 2, 2))
    assert joined((1, 1, 1, 16, 16), (1, 4, 4), (1, 4, 4), (1, 4, 4))
    assert not joined((1, 1, 1, 7, 7), (1, 3, 3), (1, 5, 5), (1, 1, 1))
    assert not joined((1, 1, 1, 7, 9), (1, 1, 1), (1, 7, 7), (1, 1, 1))
