"""im2col's memory: however large the column matrix would be, a call stays within its workspace."""

import tracemalloc

import numpy as np
import pytest

from refconv.backends import im2col
from refconv.kernels.im2col import conv, pool

MIB = 2**20
N, C, K, SIZE = 4, 3, 8, 256
STEPS = ((1, 1, 1), (0, 1, 1), (1, 1, 1), 1)  # stride, padding, dilation, groups
COLUMNS = N * C * 9 * SIZE * SIZE * 4  # bytes of the whole column matrix in float32


def array(*shape):
    """Ones of float32."""
    return np.ones(shape, np.float32)


X, Y, W = array(N, C, 1, SIZE, SIZE), array(N, K, 1, SIZE, SIZE), array(K, C, 1, 3, 3)
ROWS = np.stack([np.arange(SIZE - 2), np.arange(SIZE - 2) + 3], axis=1)
POOLED = (N, C, 1, SIZE - 2, SIZE - 2)
CALLS = {
    "fprop": (conv.fprop, (array(*Y.shape), X, W, array(0), *STEPS)),
    "dgrad": (conv.dgrad, (array(*X.shape), Y, W, array(0), *STEPS)),
    "wgrad": (conv.wgrad, (array(*W.shape), Y, X, *STEPS)),
    "max_pool": (
        pool.max_pool,
        (array(*POOLED), np.zeros(POOLED, np.int64), X, np.array([[0, 1]]), ROWS, ROWS, (1, 1, 1)),
    ),
}


def peak(name, workspace, monkeypatch):
    """The most that one call held besides its arguments, in bytes."""
    kernel, args = CALLS[name]
    monkeypatch.setattr(im2col, "workspace", workspace)
    tracemalloc.start()
    try:
        im2col.launch(kernel, args)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("mib", [1, 4])
@pytest.mark.parametrize("name", CALLS)
def test_a_call_stays_within_its_workspace(name, mib, monkeypatch):
    """A quarter of a MiB more is for NumPy's small change."""
    assert peak(name, mib * MIB, monkeypatch) <= (mib + 0.25) * MIB < COLUMNS / 4


def test_the_column_matrix_would_be_seen(monkeypatch):
    """The check can fail: with room for it, the whole column matrix is built."""
    assert peak("fprop", 256 * MIB, monkeypatch) > COLUMNS


def test_the_result_does_not_depend_on_it(monkeypatch):
    """Integers: every tiling gives the same sums."""
    results = []
    for workspace in (1, MIB, 256 * MIB):
        kernel, (out, *rest) = CALLS["dgrad"]
        monkeypatch.setattr(im2col, "workspace", workspace)
        small = [out[:1, :, :, :9, :9].copy(), rest[0][:1, :, :, :9, :9].copy(), *rest[1:]]
        im2col.launch(kernel, tuple(small))
        results.append(small[0])
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[1], results[2])
