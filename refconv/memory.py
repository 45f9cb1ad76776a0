"""Where arrays lie: addresses, strides, and new ones beside them, the same for torch, NumPy and
CuPy. For backends that take arrays as they are.
"""

from __future__ import annotations

import sys
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from . import arrays, guard
from .errors import UnsupportedError

Size = tuple[int, ...]


def ready(x: Any, shape: Size, written: bool = False) -> tuple[Any, Size]:
    """``x`` as memory that a kernel reads, and its strides, in elements, as an array of ``shape``.

    ``x`` itself, unless no strides describe it: it must be conjugated first, or it has axes that
    ``shape`` merges but that do not lie behind one another. Then it is a copy.

    Raises:
        UnsupportedError: it is ``written``, and what is written to a copy would be lost.
    """
    if arrays.is_torch(x):
        x = x.detach().resolve_conj().resolve_neg()
        found = reshaped(tuple(x.shape), x.stride(), shape)
    elif all(s % x.itemsize == 0 for s in x.strides):
        found = reshaped(x.shape, tuple(s // x.itemsize for s in x.strides), shape)
    else:
        found = None
    if found is not None:
        return x, found
    if written:
        strides = tuple(x.stride()) if arrays.is_torch(x) else x.strides
        raise UnsupportedError(
            f"an output of {tuple(x.shape)} with strides {strides} cannot be written as {shape}; "
            "ask for a contiguous one"
        )
    return x.contiguous() if arrays.is_torch(x) else x.copy(order="C"), contiguous(shape)


def address(x: Any) -> int:
    """Where the first element lies; 0 if there is none."""
    if arrays.is_torch(x):
        return x.data_ptr()
    if not x.size:
        return 0
    return x.ctypes.data if isinstance(x, np.ndarray) else x.data.ptr


def contiguous(shape: Size) -> Size:
    """The strides of a C-contiguous array.

    Example:
        >>> contiguous((2, 3, 4))
        (12, 4, 1)
    """
    return tuple(prod(shape[i + 1 :]) for i in range(len(shape)))


def reshaped(shape: Size, strides: Size, new: Size) -> Size | None:
    """The strides of the same elements as an array of shape ``new``; None if only a copy has them.

    Example:
        >>> reshaped((2, 3, 8), (24, 8, 1), (2, 3, 1, 2, 4))
        (24, 8, 8, 4, 1)
        >>> reshaped((2, 3, 8), (24, 1, 3), (2, 24)) is None
        True
    """
    if prod(shape) == 0:
        return contiguous(new)
    old = [(n, s) for n, s in zip(shape, strides, strict=True) if n > 1]
    found: list[int] = []
    size, stride = 1, 1  # of what is left of the axis that is being split, from the last one on
    for n in reversed(new):
        while (n > 1 and size < n) or size % n:  # merge with the axis before
            if not old:
                return None
            more, s = old.pop()
            if size > 1 and s != size * stride:
                return None
            stride = stride if size > 1 else s
            size *= more
        found.append(stride)
        if n > 1:
            size //= n
            stride *= n
    return tuple(reversed(found))


class Output:
    """An output of a call: plain, or poisoned between guard bands while ``guard.checked()`` is on.

    Args:
        dtype: torch's or NumPy's name.
        like: an array of the library and device that it is for.
        channels_last: the channel is the fastest axis (torch only).
    """

    def __init__(self, shape: Size, dtype: str, like: Any, channels_last: bool) -> None:
        size = prod(shape)
        self._checked = guard.is_checking()
        # As long as the output itself: a kernel that goes too far often does so by a whole plane.
        self._band = band = guard.BAND + min(size, 1 << 20) if self._checked else 0
        self._buffer = flat = new(size + 2 * band, dtype, like)
        if self._checked:
            kind = np.dtype("float32" if dtype == "bfloat16" else dtype)
            fill = guard.poison(kind)
            _ = flat.fill_(fill) if arrays.is_torch(flat) else flat.fill(fill)
            self._want = bytes_of(flat[:band])
            flat = flat[band : band + size]
        self.array = arrays.laid_out(flat, shape, channels_last)

    def verify(self, what: str) -> None:
        """Raise GuardError if a guard band was written to."""
        if not self._checked:
            return
        bands = (("before", self._buffer[: self._band]), ("behind", self._buffer[-self._band :]))
        for side, band in bands:
            if bytes_of(band) != self._want:
                shape = tuple(self.array.shape)
                raise guard.GuardError(f"{what}: wrote {side} its output of shape {shape}")


def new(size: int, dtype: str, like: Any) -> Any:
    """A flat, uninitialised array of ``like``'s library and device."""
    if arrays.is_torch(like):
        return like.new_empty(size, dtype=getattr(sys.modules["torch"], dtype), requires_grad=False)
    return (np if isinstance(like, np.ndarray) else sys.modules["cupy"]).empty(size, dtype)


def bytes_of(x: Any) -> bytes:
    """What the array holds, in the order of its indices."""
    if arrays.is_torch(x):
        return x.detach().cpu().contiguous().view(-1).view(_uint8()).numpy().tobytes()
    return x.tobytes()


def _uint8() -> Any:
    return sys.modules["torch"].uint8


#: Words by which torch, CuPy, NumPy, Numba and the driver say that there is no more memory.
FULL = ("out of memory", "out_of_memory", "can't allocate memory", "unable to allocate")


def is_full(error: BaseException) -> bool:
    """Whether the error means that memory is short, in whichever library's words.

    Example:
        >>> is_full(RuntimeError("CUDA_ERROR_OUT_OF_MEMORY: out of memory"))
        True
    """
    said = str(error).lower()
    return isinstance(error, MemoryError) or any(words in said for words in FULL)


def free(like: Any) -> str:
    """How much memory is free where ``like`` lies, in words: what its library holds but does not
    use included. ``unknown`` where nobody says.
    """
    if arrays.is_torch(like) and like.is_cuda:
        cuda = sys.modules["torch"].cuda
        unused, total = cuda.mem_get_info(like.device)
        unused += cuda.memory_reserved(like.device) - cuda.memory_allocated(like.device)
        return f"{gib(unused)} of {gib(total)} on {like.device}"
    if arrays.is_cupy(like):
        cupy = sys.modules["cupy"]
        with like.device:
            unused, total = cupy.cuda.runtime.memGetInfo()
        unused += cupy.get_default_memory_pool().free_bytes()
        return f"{gib(unused)} of {gib(total)} on cuda:{like.device.id}"
    return f"{gib(found)}" if (found := available()) is not None else "unknown"


def available() -> int | None:
    """Bytes of the machine's own memory that a process may still have; None if nobody says."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    return next((int(kib) << 10 for kib in found), None)


def gib(size: int) -> str:
    """Bytes in words.

    Example:
        >>> gib(3 << 29), gib(5 << 20)
        ('1.50 GiB', '5.0 MiB')
    """
    return f"{size / 2**30:.2f} GiB" if size >= 1 << 30 else f"{size / 2**20:.1f} MiB"
