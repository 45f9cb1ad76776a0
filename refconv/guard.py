"""Checked runs: outputs arrive poisoned between guard bands, and inputs must leave as they came.

A kernel that forgets an element, writes outside its output or changes an input is found whatever
its numbers are. Switched on for a block of code with ``checked()``; the tests and the harness's
correctness pass use it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

BAND = 64  # elements on either side: a cache line and more for every dtype
_checking: ContextVar[bool] = ContextVar("refconv_checking", default=False)
is_checking = _checking.get  # whether ``checked()`` is on, asked by every call


class GuardError(AssertionError):
    """A kernel broke the contract: it wrote outside its output, or changed an input."""


@contextmanager
def checked() -> Iterator[None]:
    """Poison and guard every output that dispatch allocates inside this block."""
    token = _checking.set(True)
    try:
        yield
    finally:
        _checking.reset(token)


def poison(dtype: np.dtype) -> object:
    """NaN, or for integers a value that no honest sum of small test data gives."""
    if dtype.kind in "fc":
        return np.nan
    return np.iinfo(dtype).min + 1 if dtype.kind == "i" else np.iinfo(dtype).max - 1


class Output:
    """One output array of a kernel: plain, or poisoned between guard bands while ``checked()`` is
    on.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self._buffer: np.ndarray | None = None
        if not _checking.get():
            self.array = np.empty(shape, dtype)
            return
        size = int(np.prod(shape, dtype=np.int64))
        self._buffer = np.full(size + 2 * BAND, poison(dtype), dtype)
        self.array = self._buffer[BAND : BAND + size].reshape(shape)

    def verify(self, what: str) -> None:
        """Raise GuardError if a guard band was written to."""
        if self._buffer is None:
            return
        want = np.full(BAND, poison(self._buffer.dtype), self._buffer.dtype).tobytes()
        for side, band in (("before", self._buffer[:BAND]), ("behind", self._buffer[-BAND:])):
            if band.tobytes() != want:
                raise GuardError(f"{what}: wrote {side} its output of shape {self.array.shape}")


def snapshot(arrays: list[np.ndarray]) -> list[bytes]:
    """What the inputs hold, while ``checked()`` is on; else nothing."""
    return [a.tobytes() for a in arrays] if _checking.get() else []


def verify_unchanged(what: str, arrays: list[np.ndarray], before: list[bytes]) -> None:
    """Raise GuardError if an input differs from its snapshot."""
    for i, (array, bytes_before) in enumerate(zip(arrays, before, strict=False)):
        if array.tobytes() != bytes_before:
            raise GuardError(f"{what}: changed its input {i} of shape {array.shape}")
