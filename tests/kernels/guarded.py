"""How kernels are run here: into poisoned memory between guard bands, on so many threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numba
import numpy as np

from refconv.guard import BAND


def run(kernel: Callable[..., None], shape: tuple[int, ...], dtype: Any, *args: Any) -> np.ndarray:
    """The kernel's output, allocated between bands of NaN and filled with NaN before."""
    size = int(np.prod(shape))
    buffer = np.full(size + 2 * BAND, np.nan, dtype)
    y = buffer[BAND : BAND + size].reshape(shape)
    kernel(y, *args)
    assert np.isnan(buffer[:BAND]).all()
    assert np.isnan(buffer[BAND + size :]).all()
    return y


@contextmanager
def threads(count: int) -> Iterator[None]:
    """``count`` threads, or as many as Numba was started with."""
    before = numba.get_num_threads()
    numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))
    try:
        yield
    finally:
        numba.set_num_threads(before)
