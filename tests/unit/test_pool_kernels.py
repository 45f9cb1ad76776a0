"""Pooling and indexed moves compiled for the CPU, against the plain loops: the same bits where
order cannot matter, every output written and nothing else, on one thread and on many.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod

import numpy as np
import pytest

from refconv import dispatch, label
from refconv.guard import BAND
from refconv.kernels.naive import index as plain_index
from refconv.kernels.naive import pool as plain
from refconv.kernels.numba_cpu import index, pool, pool_taps
from refconv.kernels.numba_cpu.pool_windows import BEHIND, FIRST, STRIDE, TAPS, runs

MAX = [
    "max_pool2d x[2,3,9,70] k2",
    "max_pool2d x[1,2,11,75] k3 s2 p1",
    "max_pool2d x[1,2,6,37] k3 s1 p1",
    "max_pool2d x[1,2,13,70] k3 s3 p1 d2",
    "max_pool2d x[1,2,13,35] k4 s4 p1 ceil",
    "max_pool2d x[1,1,21,70] k5,9 s6 p2",
    "max_pool2d x[1,1,9,20] k9 s1 p4",
    "max_pool1d x[2,3,101] k3 s2 ceil",
    "max_pool3d x[1,2,5,6,21] k3 s2 p1 ceil",
    "adaptive_max_pool2d x[2,3,7,7] o1",
    "adaptive_max_pool2d x[1,2,13,40] o5,3",
    "adaptive_max_pool2d x[1,2,3,5] o7,9",
    "adaptive_max_pool3d x[2,2,3,4,5] o1",
    "max_pool2d x[0,3,6,6] k2",
    "adaptive_max_pool2d x[2,3,6,6] o0,2",
]
AVG = [text.replace("max", "avg") for text in MAX if " d2" not in text] + [
    "adaptive_avg_pool2d x[3,20,2,3] o1",
    "adaptive_avg_pool2d x[3,20,1,3] o1",
    "avg_pool2d x[2,3,9,37] k3 s2 p1 exclude_pad ceil",
    "avg_pool2d x[2,3,9,37] k3 s1 p1 div5",
    "avg_pool2d x[1,2,8,9] k2 s3",
]


#: Threads of a call: one, by the loop for small calls; more than there are rows or cores.
THREADS = [1, 3, 50]


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Run on ``count`` threads, however little there is to do."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (pool, index):
            patch.setattr(module, "get_num_threads", lambda: count)
            patch.setattr(module, "SERIAL", -1)
        yield


def _problem(text: str, slot: str):
    problem = label.parse(text)
    (x,), outputs, _, numbers = problem.call(slot)
    return x, outputs, (*dispatch.tables(problem, slot), *numbers)


def _draw(shape: tuple[int, ...], dtype: str, special: bool = False) -> np.ndarray:
    """Small integers with many ties; ``special``: none above 0, many 0 and -0, NaN of both signs,
    and -inf.
    """
    rng = np.random.default_rng(prod(shape))
    x = rng.integers(-3, 4, shape).astype(dtype)
    if special:
        x = np.where(rng.random(shape) < 0.4, np.array(-0.0, dtype), np.minimum(x, 0))
        for value in (np.nan, -np.nan, -np.inf):
            x = np.where(rng.random(shape) < 0.03, np.array(value, dtype), x)
        x[..., -3:] = -np.inf
    return x


def _between_bands(shape: tuple[int, ...], dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """An output full of a value that is no result, and the buffer around it."""
    buffer = np.full(prod(shape) + 2 * BAND, 77, dtype)
    return buffer[BAND:-BAND].reshape(shape), buffer


def _same(kernel, reference, shapes_dtypes, *args) -> None:
    """Both write the same bits, and nothing else."""
    wanted = [np.full(shape, 99, dtype) for shape, dtype in shapes_dtypes]
    reference(*wanted, *args)
    for count in THREADS:
        made = [_between_bands(*each) for each in shapes_dtypes]
        with _threads(count):
            kernel(*(y for y, _ in made), *args)
        for want, (got, buffer) in zip(wanted, made, strict=True):
            assert got.tobytes() == want.tobytes(), f"{count} threads"
            assert (buffer[:BAND] == 77).all()
            assert (buffer[-BAND:] == 77).all()


@pytest.mark.parametrize("text", MAX)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
def test_maxima(text: str, dtype: str) -> None:
    """Ties, zeros of either sign and NaN: the same element wins, with and without its position."""
    shape, (out, _), numbers = _problem(text, "max_pool")
    for special in (False, True)[: 1 + (dtype != "int16")]:
        x = _draw(shape, dtype, special)
        both = [(out, dtype), (out, "int64")]
        _same(pool.max_pool, plain.max_pool, both, x, *numbers)
        _same(pool.max_pool_values, plain.max_pool_values, both[:1], x, *numbers)


@pytest.mark.parametrize("text", AVG)
@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_averages(text: str, dtype: str) -> None:
    """Sums of small integers are exact, so one division gives the same bits."""
    shape, (out,), numbers = _problem(text, "avg_pool")
    _same(pool.avg_pool, plain.avg_pool, [(out, dtype)], _draw(shape, dtype), *numbers)


@pytest.mark.parametrize("text", AVG)
def test_backward_of_averages(text: str) -> None:
    """Multiples of the divisors, whose shares and their sums are exact."""
    shape, (out,), (d, h, w) = _problem(text, "avg_pool")
    dy = _draw(out, "float32")
    dy *= (d[:, 2, None, None] * h[:, 2, None] * w[:, 2]).astype("float32")
    _same(pool.avg_pool_backward, plain.avg_pool_backward, [(shape, "float32")], dy, d, h, w)


def test_complex_averages() -> None:
    shape, (out,), tables = _problem(AVG[1], "avg_pool")
    x = _draw(shape, "complex64") * (1 + 2j)
    y, want = np.empty(out, "complex64"), np.empty(out, "complex64")
    pool.avg_pool(y, x, *tables)
    plain.avg_pool(want, x, *tables)
    np.testing.assert_allclose(y, want, rtol=1e-6)


@pytest.mark.parametrize("planes", [1, 4])
def test_indexed_moves(planes: int) -> None:
    """In the order of s, whichever thread: sums of floats repeat, and the last one stays."""
    rng = np.random.default_rng(planes)
    x = rng.standard_normal((planes, 300)).astype("float32")
    at = rng.integers(0, 40, x.shape)
    _same(index.scatter, plain_index.scatter, [((planes, 50), "float32")], x, at)
    at[:, ::7] = -1
    _same(index.scatter_add, plain_index.scatter_add, [((planes, 50), "float32")], x, at)
    _same(index.gather, plain_index.gather, [(at.shape, "float32")], x[:, :50].copy(), at)


def test_every_stride_and_number_of_taps_has_a_loop() -> None:
    """Strides and windows are those that the loops are written for, and one more of each."""
    for s in range(1, pool_taps.STRIDES + 2):
        for k in range(1, 6):
            text = f"max_pool1d x[1,2,{40 * s + k}] k{k} s{s}"
            shape, (out, _), numbers = _problem(text, "max_pool")
            both = [(out, "float32"), (out, "int64")]
            _same(pool.max_pool, plain.max_pool, both, _draw(shape, "float32"), *numbers)
            _same(
                pool.max_pool_values,
                plain.max_pool_values,
                both[:1],
                _draw(shape, "float32"),
                *numbers,
            )
            shape, (out,), tables = _problem(text.replace("max", "avg"), "avg_pool")
            x = _draw(shape, "float32")
            _same(pool.avg_pool, plain.avg_pool, [(out, "float32")], x, *tables)


def test_runs_of_like_windows() -> None:
    """3 wide, 2 apart, padded by 1: the first window is clipped, and so is the last one."""
    _, _, (_, _, w, _) = _problem("max_pool1d x[1,1,19] k3 s2 p1", "max_pool")
    found = runs(w, 1, 4)
    wanted = {FIRST: [0, 1, 9], BEHIND: [1, 9, 10], STRIDE: [1, 2, 1], TAPS: [2, 3, 2]}
    assert {column: found[:, column].tolist() for column in wanted} == wanted
