"""What this machine can do right now: the rates that a convolution's are shares of.

Measured in the run itself, on the run's threads, before and after it: clocks move. The peak is
that of the register tile on operands in the first cache, so it is what the vector units do and no
loop can pass it; the copy is of arrays larger than the caches; a large matrix product is told as a
cross-check, by the faster of NumPy's BLAS and torch's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numba
import numpy as np
import torch
from numba import njit, prange

from ..kernels.numba_cpu import tile, vector
from . import environment
from .records import Ceilings

ROWS, COLUMNS = (6, 4) if vector.REGISTERS >= 32 else (6, 2)
_TILE = tile.panel(ROWS, COLUMNS)
#: Steps of the tile's loop: both operands together fit the first cache.
K = 96
#: Tiles a thread and measurement: milliseconds.
TILES = 20_000
SIDE = 1024
TRIES = 5


@njit(cache=True, error_model="numpy")
def _tiles(a: Any, b: Any, c: Any, item: Any, count: Any) -> None:
    lanes = vector.lanes(c)
    for _ in range(count):
        _TILE(c, item * ROWS * COLUMNS * lanes, COLUMNS * lanes, a, 0, K, b, 0, COLUMNS * lanes,
              K, tile.ZERO, c, 0, lanes)  # fmt: skip


@njit(cache=True, error_model="numpy", parallel=True)
def _multiply(a: Any, b: Any, c: Any, threads: Any, count: Any) -> None:
    for item in prange(threads):
        _tiles(a, b, c, item, count)


@njit(cache=True, error_model="numpy")
def _move(source: Any, target: Any, start: Any, stop: Any) -> None:
    for i in range(np.uint64(start), np.uint64(stop)):
        target[i] = source[i]


@njit(cache=True, error_model="numpy", parallel=True)
def _copy(source: Any, target: Any, threads: Any) -> None:
    for item in prange(threads):
        _move(source, target, source.size * item // threads, source.size * (item + 1) // threads)


@contextmanager
def _own_threads() -> Iterator[int]:
    """Numba's threads, and torch's as they were: starting Numba's OpenMP layer sets the number of
    the whole process.
    """
    before = torch.get_num_threads()
    try:
        yield numba.get_num_threads()
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)


def measure(clock: Callable[[], int] = time.perf_counter_ns, tries: int = TRIES) -> Ceilings:
    """The best of a few tries each; about a second, and two more where nothing is compiled yet.

    Args:
        clock: nanoseconds.
    """
    threads = numba.get_num_threads()
    products: dict[str, Any] = {"torch": _torch_product}
    if threads == environment.cores():  # its BLAS takes every core, whatever the run's threads
        products["numpy"] = np.matmul
    square = np.ones((SIDE, SIDE), np.float32)
    seconds: dict[str, float] = {}
    for name, product in products.items():
        seconds[name] = _best(partial(product, square, square), clock, tries)
    by = min(seconds, key=lambda name: seconds[name])
    return Ceilings(
        copy=copy_rate(clock, tries),
        fma=fma_rate(clock, tries),
        sgemm=2 * SIDE**3 / seconds[by],
        by=by,
        threads=threads,
    )


def fma_rate(clock: Callable[[], int] = time.perf_counter_ns, tries: int = TRIES) -> float:
    """float32 operations per second of the register tile, a multiply-add being two."""
    width = COLUMNS * vector.BYTES // 4
    a, b = np.ones(ROWS * K, np.float32), np.ones(K * width, np.float32)
    with _own_threads() as threads:
        c = np.zeros(threads * ROWS * width, np.float32)
        seconds = _best(lambda: _multiply(a, b, c, threads, TILES), clock, tries)
    return 2 * ROWS * width * K * TILES * threads / seconds


def copy_rate(clock: Callable[[], int] = time.perf_counter_ns, tries: int = TRIES) -> float:
    """Bytes read and written per second by a copy of four times the last cache."""
    source, target = _large(4), _large(4)
    with _own_threads() as threads:
        seconds = _best(lambda: _copy(source, target, threads), clock, tries)
    return 2 * source.nbytes / seconds


class Flush:
    """Empties the caches: a copy larger than them by every thread, so that what a call reads next
    comes from memory.
    """

    def __init__(self) -> None:
        self._source, self._target = _large(), _large()

    def __call__(self) -> None:
        """Empty them now."""
        with _own_threads() as threads:
            _copy(self._source, self._target, threads)


def _large(caches: int = 2) -> np.ndarray:
    return np.ones(caches * environment.last_level_cache() // 4, np.float32)


def _torch_product(a: np.ndarray, b: np.ndarray) -> Any:
    return torch.mm(torch.from_numpy(a), torch.from_numpy(b))


def _best(call: Callable[[], Any], clock: Callable[[], int], tries: int) -> float:
    """Seconds of the fastest of ``tries`` calls, after one that compiles and wakes the threads."""
    call()
    found = []
    for _ in range(tries):
        start = clock()
        call()
        found.append((clock() - start) / 1e9)
    return max(min(found), 1e-9)
